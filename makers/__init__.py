"""Jobs: simulate, ingest, average, featurize, train, evaluate, predict.

Here codes and models, which know no database, meet the store, which knows no physics.
"""
