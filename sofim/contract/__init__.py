"""What every optimizer must do to be tuned, and what others rely on: one table of checks.

The project's tests run it over `sofim.OPTIMIZERS`, and ``sofim check`` over an optimizer of one's own. Each check
trains small models in memory; no check needs arguments, as the learning rate is searched where it matters.

>>> from sofim import OPTIMIZERS
>>> from sofim.contract import CHECKS, Verdict
>>> [outcome] = [check(OPTIMIZERS["sgd"]) for check in CHECKS if check.name.startswith("resumes")]
>>> outcome.verdict is Verdict.OK
True
"""

from sofim.contract._outcome import Check, Outcome, Verdict
from sofim.contract._table import CHECKS, MADE, examine
from sofim.contract._training import advance

__all__ = ["CHECKS", "MADE", "Check", "Outcome", "Verdict", "advance", "examine"]
