"""How sensitive a metric is to hyperparameters: mathematics on frames and arrays, every generator explicit."""
