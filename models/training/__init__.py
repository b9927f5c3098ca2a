"""Training of networks: one loop for all of them, the same when it is killed and started again."""
