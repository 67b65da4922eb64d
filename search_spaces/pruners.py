"""Pruners: who stops bad trials early. A pruner is one row of one table.

Whether a trial stops depends on its number, its values and those of the trials before it, and on nothing else: the
same for every optimizer, workload, campaign and storage, whatever they are called. No pruner of the table limits what
a sampler learns from, as Optuna's own Hyperband does: it tells the sampler of the trials of one bracket alone, so that
TPE begins to learn as many times as there are brackets, and it draws brackets from a hash of the study's name.

Optuna is imported late, because the command line reads this table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

FACTOR = 3
"""Of as many trials that come to a rung one goes on, and the next rung is so many times as many epochs away."""


@dataclass(frozen=True, slots=True)
class Pruner:
    """Who stops bad trials early.

    Args:
        in_words: How a search with it was made, as a report says it.
        make: ``epochs -> BasePruner`` for trials of at most ``epochs`` epochs, which are its steps, from 1.
        stops: ``(number, epochs) -> epochs`` after which it may stop the trial of that number, in order; ``None``:
            after any.
    """

    in_words: str
    make: Callable[[int], BasePruner]
    stops: Callable[[int, int], Sequence[int]] | None = None


def _hyperband(epochs: int) -> BasePruner:
    """Return Hyperband (Li et al. 2018) with brackets that are dealt out by the trials' numbers."""
    from search_spaces._stopping import Brackets

    return Brackets(hyperband_sequence(epochs), FACTOR)


def _asha(_epochs: int) -> BasePruner:
    """Return asynchronous successive halving (Li et al. 2020): rungs after 1, 3, 9, … epochs."""
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=FACTOR)


def _first_epoch(_epochs: int) -> BasePruner:
    """Return the asynchronous form of "one epoch, then the best three" (Egele et al. 2023, arXiv 2307.15422)."""
    from search_spaces._stopping import BestSoFar

    return BestSoFar(step=1, best=3)


def _median(_epochs: int) -> BasePruner:
    """Return the median rule (Golovin et al. 2017)."""
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=5, n_warmup_steps=1)


def _none(_epochs: int) -> BasePruner:
    """Return what never stops a trial."""
    from optuna.pruners import NopPruner

    return NopPruner()


def hyperband_sequence(epochs: int) -> tuple[int, ...]:
    """Return the brackets of as many trials in a row as make a whole; trial *i* has entry *i* modulo its length.

    Bracket *s* has its first rung after 3ˢ epochs, of at most ``epochs``. Hyperband gives bracket *s* of *n*
    ⌈n · 3ᵏ / (k + 1)⌉ trials, k = n − 1 − s, so that each costs about the same. They are dealt out evenly: every
    beginning of the sequence has each bracket's share to within one trial.

    >>> hyperband_sequence(9)
    (0, 1, 0, 2, 0, 1, 0, 2, 0, 1, 0, 1, 0, 2, 0, 1, 0)
    """
    number = 1
    while FACTOR**number <= epochs:
        number += 1
    shares = [-(-number * FACTOR**k // (k + 1)) for k in reversed(range(number))]
    whole, dealt, sequence = sum(shares), [0] * number, []
    for trial in range(1, whole + 1):
        # who lacks most; of several the bracket that stops earliest
        bracket = max(range(number), key=lambda s: (trial * shares[s] - whole * dealt[s], -s))
        dealt[bracket] += 1
        sequence.append(bracket)
    return tuple(sequence)


def rungs(epochs: int, bracket: int = 0) -> list[int]:
    """Return the epochs after which successive halving stops trials of ``epochs`` epochs.

    >>> rungs(20), rungs(20, bracket=1)
    ([1, 3, 9], [3, 9])
    """
    found, rung = [], FACTOR**bracket
    while rung < epochs:
        found.append(rung)
        rung *= FACTOR
    return found


def _rungs_of(number: int, epochs: int) -> list[int]:
    sequence = hyperband_sequence(epochs)
    return rungs(epochs, sequence[number % len(sequence)])


PRUNERS: dict[str, Pruner] = {
    "asha": Pruner(
        "with successive halving stopping unpromising trials early", _asha, lambda _number, epochs: rungs(epochs)
    ),
    "hyperband": Pruner("with Hyperband stopping unpromising trials early", _hyperband, _rungs_of),
    "first-epoch": Pruner(
        "with trials stopped after one epoch that were not among the best three by then",
        _first_epoch,
        lambda _number, _epochs: (1,),
    ),
    "median": Pruner("with the median rule stopping unpromising trials early", _median),
    "none": Pruner("without early stopping", _none, lambda _number, _epochs: ()),
}
"""By the name that campaigns give them."""
