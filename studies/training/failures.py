"""Why trials failed, for the screen: an optimizer whose every trial breaks should not have to be looked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache

from analysis.schema import MAX_FAILURES_IN_A_ROW
from studies.trials import Failing, Tally

_LONGEST = 200
_MOST_REASONS = 3  # of an optimizer in a study: a message may have another number in it each time


class FailureCount:
    """Tells which optimizers of a study have only failed so far, and why."""

    def __init__(self) -> None:
        self._failures: dict[str, Counter[str]] = {}
        self._others: set[str] = set()  # optimizers that have done something else

    def add(self, optimizer: str, failure: str | None) -> None:
        """Count a trial that ended: ``failure`` is what broke it, a line or a traceback, ``None`` if nothing did."""
        if failure is None:
            self._others.add(optimizer)
            self._failures.pop(optimizer, None)
        elif optimizer not in self._others:
            self._failures.setdefault(optimizer, Counter())[failure] += 1

    def failing(self) -> tuple[Failing, ...]:
        """Return one for each optimizer and reason, first come first."""
        found = []
        for optimizer, failures in self._failures.items():
            reasons: Counter[str] = Counter()
            for failure, count in failures.items():
                reasons[reason_of(failure)] += count
            first = list(reasons.items())[:_MOST_REASONS]
            found += [Failing(optimizer, count, failures.total(), reason) for reason, count in first]
        return tuple(found)


@lru_cache(maxsize=1000)
def reason_of(failure: str) -> str:
    r"""Return the error of a printed traceback in one line, with the place in the person's own code if it has one.

    >>> reason_of('Traceback (most recent call last):\n  File "/home/me/mine.py", line 7, in f\n    x\nValueError: no')
    'ValueError: no (/home/me/mine.py:7)'
    >>> reason_of("its worker died 4 times")
    'its worker died 4 times'
    """
    from studies.workloads.user_errors import place_in  # late: it brings torch along

    said = failure.strip().splitlines()
    frames = [i for i, line in enumerate(said) if line.startswith('  File "')]
    if frames:
        said = said[frames[-1] + 1 :]
        while said and said[0].startswith("    "):  # the line of code, and what is underlined in it
            said = said[1:]
    elif said and said[0].startswith("Traceback"):
        said = said[-1:]
    text = " ".join(" ".join(said).split()) or "?"
    return (text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…") + place_in(failure)


def failing_lines(tallies: Sequence[Tally]) -> list[str]:
    """Return a line for each optimizer of a study whose every trial failed, as yet or in the end, and each reason."""
    return [line for _, line in failing(tallies)]


def failing(tallies: Sequence[Tally]) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Yield what tells a line from others, however often it comes to be true again, and the line."""
    for tally in tallies:
        if tally.stopped is not None:
            continue  # which says why
        so_far = "" if tally.asked_for is not None and not tally.missing else " so far"
        for one in tally.failing:
            yield (
                (tally.study, one.optimizer, one.reason),
                f"{tally.study}: every {tally.runs.removesuffix('s')} of {one.optimizer} failed{so_far}, "
                f"{one.count} of {one.trials} with {one.reason}",
            )


def too_many_failures(failure: str) -> str:
    """Return why a study is stopped, in one line, from the ``failure`` (a line or a traceback) of its last trial."""
    return f"{MAX_FAILURES_IN_A_ROW} failures in a row, the last: {reason_of(failure)}"
