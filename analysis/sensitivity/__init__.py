"""How sensitive a metric is to hyperparameters: mathematics on frames and arrays, nothing drawn, every generator explicit."""
