"""SOFIM and the optimizers it is compared with."""

from sofim._nystrom_sgd import NystromSGD
from sofim._sofim import SOFIM
from sofim._update import sofim_update
from sofim.recommended import Recommended, recommended
from sofim.registry import OPTIMIZERS, OptimizerSpec

__all__ = ["OPTIMIZERS", "SOFIM", "NystromSGD", "OptimizerSpec", "Recommended", "recommended", "sofim_update"]
