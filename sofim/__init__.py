"""SOFIM and the optimizers it is compared with."""

from sofim._nadamw import NAdamW
from sofim._nystrom_sgd import NystromSGD
from sofim._sofim import SOFIM
from sofim._sophia import Sophia
from sofim._update import sofim_update
from sofim.recommended import Recommended, recommended
from sofim.registry import OPTIMIZERS, OptimizerSpec

__all__ = [
    "OPTIMIZERS",
    "SOFIM",
    "NAdamW",
    "NystromSGD",
    "OptimizerSpec",
    "Recommended",
    "Sophia",
    "recommended",
    "sofim_update",
]
