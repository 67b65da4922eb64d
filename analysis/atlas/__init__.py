"""What a campaign over several workloads says of one optimizer: where it does well, and with which settings.

All searches of an optimizer on a workload are taken as one, since one alone is small: their trials are fitted together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.atlas import coordinates, defaults, kinds, seconds, sensitivities, steps
from analysis.comparison import Comparison
from analysis.comparison.stopping import workloads_added
from analysis.defaults import Evaluated, SurrogateStudy, ran, recommend
from analysis.schema import COUNTED
from analysis.study import Frames
from analysis.text import listing
from search_spaces.errors import UserError, number_of, suggestion

__all__ = ["Answer", "Atlas", "atlas", "reference_of"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one question, ``tables`` and ``figures`` are names of what shows it."""

    id: str
    question: str
    sentences: tuple[str, ...]
    tables: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Atlas:
    """What a campaign over several workloads says of one optimizer.

    Attributes:
        optimizer: That the questions are about.
        rests_on: What the answers rest on, in a sentence.
        answers: In the order of the page.
        tables: By the name of their file, each described where it is computed.
    """

    optimizer: str
    rests_on: str
    answers: tuple[Answer, ...]
    tables: Mapping[str, pd.DataFrame]


def reference_of(compared: Comparison, wanted: str | None = None) -> str:
    """Return the optimizer that questions are about: the wanted one, else the campaign's first.

    Raises:
        UserError: The campaign does not have it.
    """
    there = list(dict.fromkeys(study.optimizer for contest in compared.contests for study in contest.studies))
    if wanted is not None and wanted not in there:
        raise UserError(f"--about {wanted}: the campaign has {', '.join(there)}{suggestion(wanted, there)}")
    listed = compared.contests[0].studies[0].campaign.get("optimizers", there)
    return wanted or next((str(name) for name in listed if name in there), there[0])


def atlas(
    compared: Comparison,
    surrogates: Sequence[SurrogateStudy],
    frames: Frames,
    evaluations: pd.DataFrame,
    optimizer: str,
    rng: np.random.Generator,
) -> Atlas:
    """Return the answers to the questions that a person has before trying an optimizer.

    Args:
        compared: The campaign's comparison, of two workloads at least.
        surrogates: Of all its studies, see :mod:`analysis.defaults.pooled`.
        frames: Pooled ones.
        evaluations: As :func:`analysis.load.evaluations` gives them.
        optimizer: That the questions are about, see `reference_of`.
        rng: Everything random comes from it.
    """
    contests, tables = compared.contests, compared.tables
    of_trials = frames.trials, frames.confirmations
    evaluated = Evaluated(evaluations)
    every = recommend(surrogates, *of_trials, measured=evaluated)
    known = ran(surrogates, *of_trials, evaluated)
    profiles, intervals = coordinates.profiles(surrogates, rng)
    one_value = coordinates.shared(profiles, surrogates)
    shares = coordinates.explained(surrogates)
    factors = steps.steps(surrogates, rng)
    by_kind = kinds.by_kind(contests, tables["comparisons"], optimizer)
    roles = sensitivities.sensitivities(surrogates)
    against = sensitivities.versus(roles, optimizer)
    clock = seconds.seconds_to_target(contests, tables["time_to_target"], tables["time_ratios"], optimizer)
    regrets = defaults.left_out_regrets(every)
    mine = next((one for one in every if one.optimizer == optimizer), None)
    typed = defaults.against_typed(mine, surrogates, known)
    of_rho = [
        *coordinates.sentences(one_value, intervals, shares, optimizer),
        *steps.sentences(factors, optimizer),
    ]
    answers = (
        Answer(
            "rho",
            f"Which ρ for {optimizer}, and is it the same everywhere?",
            tuple(of_rho) or (f"{optimizer} has no ρ and η/ρ that were both searched on a log scale.",),
            ("rho_steps", "rho_intervals", "rho_shared", "rho_explained"),
            ("steps", "rho"),
        ),
        Answer(
            "beyond-images",
            f"Does {optimizer} do well beyond images?",
            (*kinds.sentences(by_kind), *workloads_added(contests)),
            ("by_kind",),
        ),
        Answer(
            "how-sensitive",
            f"How sensitive is {optimizer} to its settings?",
            tuple(sensitivities.sentences(roles, against, optimizer)),
            ("sensitivity", "sensitivity_versus"),
            ("widths",),
        ),
        Answer(
            "wall-clock",
            f"How long does {optimizer} take?",
            tuple(seconds.sentences(clock, contests, optimizer)),
            ("seconds_to_target",),
        ),
        Answer(
            "defaults",
            "What is a default worth on a workload that nobody has tuned?",
            tuple(defaults.sentences(regrets, typed, optimizer, len(contests))),
            ("default_regrets", "as_typed"),
        ),
    )
    return Atlas(
        optimizer,
        _rests_on(compared, frames),
        answers,
        {
            "rho_profiles": profiles,
            "rho_intervals": intervals,
            "rho_shared": one_value,
            "rho_explained": shares,
            "rho_steps": factors,
            "by_kind": by_kind,
            "sensitivity": roles,
            "sensitivity_versus": against,
            "seconds_to_target": clock,
            "default_regrets": regrets,
            "as_typed": typed,
        },
    )


def _rests_on(compared: Comparison, frames: Frames) -> str:
    contests = compared.contests
    by_kind: dict[str, list[str]] = {}
    for contest in contests:
        by_kind.setdefault(kinds.kind_of(contest), []).append(contest.workload)
    names = list(dict.fromkeys(study.optimizer for contest in contests for study in contest.studies))
    searches = sum(len(contest.searches_of(study)) for contest in contests for study in contest.studies)
    runs = sum(len(contest.runs) for contest in contests)
    trials = int(frames.trials["outcome"].isin(COUNTED).sum())
    listed = "; ".join(f"{kind}: {listing(own)}" for kind, own in by_kind.items())
    return (
        f"{number_of(len(contests), 'workload')} ({listed}), {number_of(len(names), 'optimizer')} ({listing(names)}), "
        f"{number_of(searches, 'search', 'searches')} with {number_of(trials, 'trial')}, and "
        f"{number_of(runs, 'confirmation run')} of their winners on fresh seeds."
    )
