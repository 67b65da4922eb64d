"""When trials, searches and confirmations ended, and whether what they had shown by then could decide that.

Trials of all optimizers are to be stopped at the same epochs, read off where they were stopped; searches end with their
last trial; winners are confirmed on the number of seeds that was asked for first; and workloads are chosen before the
winners on any of them can be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from analysis.comparison.workload_runs import WorkloadRuns
from analysis.schema import CONFIRMED_ELSEWHERE, SEEDS_ASKED, seeds_begun
from analysis.study import Study
from analysis.text import listing
from search_spaces.errors import number_of
from search_spaces.pruners import PRUNERS


def stopping(
    searches: Mapping[str, Study], trials: pd.DataFrame, curves: pd.DataFrame
) -> tuple[list[str], list[str], list[str]]:
    """Return what breaks the rule that a trial's number and values alone decide where it is stopped, doubts, evidence.

    Each trial that was stopped is held against the epochs after which the campaign's pruner may stop a trial of its
    number, where that is known: in studies of the first protocol the bracket of a trial hung on names.

    Args:
        searches: Of a workload, by what they are called.
        trials: Of them, and perhaps of others; columns of :func:`analysis.load.trials`.
        curves: Of the trials; columns of :func:`analysis.load.curves`.
    """
    pruned = trials.loc[trials["outcome"] == "pruned", ["study", "number"]]
    last = curves.groupby(["study", "number"])["epoch"].max().rename("epoch")
    stopped = pruned.join(last, on=["study", "number"])
    problems, doubts, told = [], [], []
    for name, study in searches.items():
        own = stopped[stopped["study"] == study.name]
        known = own.dropna().astype({"epoch": int})
        if len(own) > len(known):
            doubts.append(
                f"after which epoch {number_of(len(own) - len(known), 'trial')} of {name} stopped: not stored"
            )
        rule = _rule(study)
        elsewhere = [
            f"trial {number} after epoch {epoch}"
            for number, epoch in zip(known["number"], known["epoch"], strict=True)
            if rule is not None and epoch not in rule(int(number))
        ]
        if elsewhere:
            more = f" and {number_of(len(elsewhere) - 3, 'trial')} more" if len(elsewhere) > 3 else ""
            shown = listing(elsewhere[:3]) if not more else ", ".join(elsewhere[:3]) + more
            problems.append(f"{study.campaign.get('pruner')} stops no such trial there, {name} stopped {shown}")
        counts = sorted(Counter(known["epoch"]).items())
        if counts:
            told.append(f"{name} {', '.join(f'{count} after epoch {epoch}' for epoch, count in counts)}")
    kept = not problems and all(_rule(study) is not None for study in searches.values())
    head = "stopped where the pruner may, as the numbers of the trials say: " if kept else "stopped: "
    return problems, doubts, [head + "; ".join(told)] if told else []


def _rule(study: Study) -> Callable[[int], Sequence[int]] | None:
    """Return what tells of a trial's number the epochs after which it may be stopped; ``None`` where nothing does."""
    name, epochs = str(study.campaign.get("pruner")), study.attributes.get("epochs")
    stops = PRUNERS[name].stops if name in PRUNERS else None
    if stops is None or not isinstance(epochs, int) or (name == "hyperband" and study.attributes.get("protocol") == 1):
        return None
    return lambda number: stops(number, epochs)


def cut_short(names: Mapping[str, str], reasons: Mapping[str, str]) -> list[str]:
    """Return what ended searches before their last trial, a phrase a reason.

    Args:
        names: Of their studies, by what they are called in words.
        reasons: By the name of a study.
    """
    cut: dict[str, list[str]] = {}
    for label, name in names.items():
        if name in reasons:
            cut.setdefault(reasons[name], []).append(label)
    return [f"{listing(labels)} ended before the last trial: {reason}" for reason, labels in cut.items()]


def seeds_decided(
    searches: Sequence[tuple[str, Study]], seeds: Mapping[str, Sequence[int]]
) -> tuple[list[str], list[str]]:
    """Return whether seeds were added to those on which winners could be compared, and whose runs are not all there.

    What is not all there is a doubt: who stops when a report pleases has not decided the number before.

    Args:
        searches: Of a workload, each with what it is called.
        seeds: Of the runs of each winner, by what its search is called; without those that were not confirmed.
    """
    grown, short = [], []
    for name, search in searches:
        asked, ended = search.confirmation.get(SEEDS_ASKED), len(set(seeds.get(name, ())))
        if not isinstance(asked, Mapping) or not ended:
            continue
        numbers = seeds_begun(asked, ended)
        if len(numbers) > 1:
            grown.append(", then ".join(map(str, numbers)))
        if ended < numbers[-1]:
            short.append(f"{name} was run on {ended} of the {numbers[-1]} seeds that were asked for")
    told = "; ".join(dict.fromkeys(grown))
    return [f"seeds were added when runs on fewer could be read ({told})"] if grown else [], short


def workloads_added(contests: Sequence[WorkloadRuns]) -> list[str]:
    """Return a sentence on workloads whose searches began when the winners on others could be compared; none without.

    Args:
        contests: Of a campaign.
    """
    told = []
    for contest in contests:
        searches = (search for study in contest.studies for search in contest.searches_of(study))
        before = [search.attributes.get(CONFIRMED_ELSEWHERE, ()) for search in searches]
        if all(before):
            told.append(f"{contest.workload} (on {min(map(len, before))})")
    if not told or len(contests) < 2:
        return []
    return [
        f"Added once winners on other workloads could be compared: {listing(told)}. An interval of a mean over "
        "workloads is for workloads that were chosen before that."
    ]
