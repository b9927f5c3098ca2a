"""Jobs that learn: features, frozen data sets, training, judging, predicting, styles."""
