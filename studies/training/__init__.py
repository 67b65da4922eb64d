"""Training: one run of one configuration, its checkpoints, and the worker that trains it."""
