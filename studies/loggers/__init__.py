"""Where else trials are told of: TensorBoard, MLflow, Weights & Biases, trackio; from the driver alone.

The database is the truth, and what is here follows it: in threads of its own, so that no trial and no driver waits.
"""

from studies.loggers._logging import Logging
from studies.loggers._targets import KINDS, Target, targets_of

__all__ = ["KINDS", "Logging", "Target", "targets_of"]
