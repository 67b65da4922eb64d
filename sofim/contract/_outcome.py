"""What a check is, and what it says."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sofim.contract._training import Subject

if TYPE_CHECKING:
    from sofim.registry import OptimizerSpec

_ROOM = Path(__file__).parent
_TORCH = str(Path(torch.__file__).parent)
_LONGEST = 200


class Fault(Exception):
    """The optimizer does not do what the check asks for.

    Args:
        reason: What was seen.
        remedy: What to mend, where that is known better than the check's own remedy says it.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy


class NotApplicable(Exception):
    """The check asks for what this optimizer does not claim to do; its text says why."""


class Verdict(Enum):
    """How a check ended."""

    OK = "OK"
    FAIL = "FAIL"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check says of an optimizer.

    Attributes:
        check: Its name.
        verdict: How it ended.
        needed: Whether tuning relies on it.
        reason: What was seen; why it does not apply; or a number worth knowing.
        remedy: What to mend; empty where it did not fail.
    """

    check: str
    verdict: Verdict
    needed: bool
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One promise of an optimizer.

    Args:
        name: The promise, as the end of a sentence that begins with "it".
        examine: Returns something worth knowing, or nothing; raises `Fault` or `NotApplicable`.
        remedy: What to mend where it is broken.
        needed: Whether tuning relies on it; or says so of a row.
        otherwise: What relies on it, where tuning does not.
        decides: Whether no other check makes sense where this one fails.
    """

    name: str
    examine: Callable[[Subject], str | None]
    remedy: str
    needed: bool | Callable[[OptimizerSpec], bool] = True
    otherwise: str = ""
    decides: bool = False

    def __call__(self, spec: OptimizerSpec, arguments: Mapping[str, object] | None = None) -> Outcome:
        """Examine an optimizer.

        The generators of torch are as they were afterwards. Whatever the optimizer raises is a failure.

        Args:
            spec: The optimizer.
            arguments: Of its factory, in place of its defaults.
        """
        needed = self.needed if isinstance(self.needed, bool) else self.needed(spec)
        with torch.random.fork_rng(devices=[]):
            try:
                note = self.examine(Subject(spec, arguments or {}))
            except NotApplicable as why:
                return Outcome(self.name, Verdict.NOT_APPLICABLE, needed, str(why))
            except Fault as fault:
                return self._failed(needed, str(fault), fault.remedy or self.remedy)
            except Exception as error:
                return self._failed(needed, raised(error), self.remedy)
        return Outcome(self.name, Verdict.OK, needed, note or "")

    def _failed(self, needed: bool, reason: str, remedy: str) -> Outcome:
        matters = "" if needed else f"; tuning does not need it, but {self.otherwise}"
        return Outcome(self.name, Verdict.FAIL, needed, reason, f"{remedy}{matters}")


def raised(error: Exception) -> str:
    """Return an exception as one line, with the line of the optimizer's own code at which it arose.

    Args:
        error: With its traceback.
    """
    text = " ".join(str(error).split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent != _ROOM]
    own = [frame for frame in frames if not frame.filename.startswith((_TORCH, "<"))]
    place = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"raised {type(error).__name__}: {text}{place}"
