"""The whole comparison of a campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.comparison import aggregate, verdict
from analysis.comparison.answer import answer, in_a_sentence
from analysis.comparison.budget import budget_curves
from analysis.comparison.convergence import convergence
from analysis.comparison.cost import cost
from analysis.comparison.fairness import fairness
from analysis.comparison.inclusion import inclusion
from analysis.comparison.leaderboard import confirmed
from analysis.comparison.methods import methods
from analysis.comparison.pairwise import comparisons
from analysis.comparison.searches import variance
from analysis.comparison.spaces import search_spaces
from analysis.comparison.time_to_target import time_to_target
from analysis.comparison.workload_runs import WorkloadRuns, contests
from analysis.study import Frames, Study

VERSUS = {
    "leaderboard": "optimizer runs test validation tuned epochs_to_target gradient_evaluations_to_target "
    "seconds_to_target trials complete pruned diverged failed params",
    "comparisons": "a b gain probability_of_improvement verdict configurations cancelled unit",
    "variance": "optimizer searches runs sd_searches sd_seeds share_searches",
    "time_to_target": "optimizer axis target reached runs share median ratio restricted_ratio comparable",
    "cost": "optimizer batch_size batch_steps_ratio batch_seconds_ratio seconds_per_step step_ratio "
    "gradient_evaluations_per_step evaluation_ratio comparable",
    "inclusion": "larger smaller gain verdict limit",
}
"""What a page has room for of the tables of one workload, in its order: columns by the name of the table."""
SCORES = {
    "aggregate": "optimizer iqm workloads runs",
    "improvement": "a b probability_of_improvement workloads",
    "profile_score": "axis optimizer score workloads comparable",
    "ranks": "optimizer mean_rank workloads critical_difference friedman_p behind_best",
}
"""The same of the tables of all workloads together."""
FAIRNESS = {
    "fairness": "rule requirement workload kept evidence",
    "search_spaces": "optimizer parameter kind scale low high choices default not_searched",
}
"""The same of the tables on fairness."""
ENDS = {
    "iqm": ("low", "high"),
    "score": ("low", "high"),
    "mean_rank": ("low", "high"),
    "median": ("low", "high"),
    "probability_of_improvement": ("probability_low", "probability_high"),
}
"""Columns with the ends of an interval, where they are not called after their estimate."""


@dataclass(frozen=True)
class Comparison:
    """What is known about a campaign.

    Attributes:
        tables: By the name of their CSV file. Columns are described where they are computed: ``leaderboard``,
            ``convergence``, ``time_to_target``, ``time_ratios`` (all pairs), ``budget_curve``, ``comparisons``,
            ``aggregate``, ``improvement``, ``performance_profile``, ``profile_score``, ``ranks``, ``inclusion``,
            ``variance``, ``cost``, ``fairness``, ``search_spaces`` and ``answer``, each in the module of that name or
            subject. All are there, some without rows where there is nothing to tell.
        sentences: The verdict, the most important first.
        methods: A paragraph for a paper, in Markdown.
        contests: What all of it was computed from, one a workload.
        answer: The table ``answer`` in a sentence.
    """

    tables: dict[str, pd.DataFrame]
    sentences: list[str]
    methods: str
    contests: list[WorkloadRuns] = field(default_factory=list)
    answer: str = ""


def compare(
    studies: Sequence[Study],
    frames: Frames,
    confirmed_curves: pd.DataFrame,
    rng: np.random.Generator,
    replicates: Mapping[str, Sequence[pd.DataFrame]] | None = None,
) -> Comparison:
    """Compare the optimizers of a campaign.

    Args:
        studies: Of one campaign, replicates included where there are any.
        frames: Of these studies; see :func:`analysis.load.read`. The order of rows does not matter.
        confirmed_curves: ``analysis.load.curves(storage, studies, confirmed=True)``.
        rng: Of all bootstraps. One that is made anew from the same seed gives the same tables.
        replicates: By study, the trials of it and of its replicates, where ``studies`` are first searches alone; see
            :func:`analysis.comparison.budget.budget_curves`.

    Raises:
        UserError: The studies are of several protocols, or two are the same search of an optimizer on a workload.
    """
    found = contests(studies, frames.trials, frames.confirmations, confirmed_curves)
    for_times, for_budgets, for_scores, for_profiles, for_ranks = rng.spawn(5)
    times, ratios = time_to_target(found, for_times)
    profile, score = aggregate.profiles(found, for_profiles)
    pairs = comparisons(found)
    budgets = budget_curves(found, for_budgets, replicates)
    tables = {
        "leaderboard": confirmed(found, times),
        "convergence": convergence(found),
        "time_to_target": times,
        "time_ratios": ratios,
        "budget_curve": budgets,
        "comparisons": pairs,
        "aggregate": aggregate.aggregate(found, for_scores),
        "improvement": aggregate.improvement(found),
        "performance_profile": profile,
        "profile_score": score,
        "ranks": aggregate.ranks(found, for_ranks),
        "inclusion": inclusion(found, pairs),
        "variance": variance(found),
        "cost": cost(found),
        "fairness": fairness(found, budgets, frames.curves),
        "search_spaces": search_spaces(studies),
    }
    tables["answer"] = answer(found, tables, replicates)
    short = in_a_sentence(tables["answer"], pairs, tables["ranks"])
    notes = [note for note in dict.fromkeys(study.data_note for study in studies) if note]
    return Comparison(tables, [*verdict.sentences(found, tables), *notes], methods(found, tables), found, short)
