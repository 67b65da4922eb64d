"""How the comparison was made, as a paragraph for a paper, with this campaign's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.comparison.budget import ALONE, EXPECTED
from analysis.comparison.cost import batch_sentences
from analysis.comparison.fairness import given_starts
from analysis.comparison.searches import ENOUGH, repeated
from analysis.comparison.spaces import schedule_in_words, searched
from analysis.comparison.stopping import workloads_added
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.drawn import drawn_counts, model_in_words
from analysis.intervals import DRAWS
from analysis.optimizers import described
from analysis.schema import COUNTED, ended_by
from analysis.study import Study
from analysis.text import listing, number
from search_spaces.errors import number_of
from search_spaces.pruners import PRUNERS
from search_spaces.samplers import SAMPLERS


def methods(contests: Sequence[WorkloadRuns], tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the paragraph, as Markdown.

    Args:
        contests: Of a campaign.
        tables: Of the comparison, by name.
    """
    if not contests:
        return "## Methods\n\nThere are no studies.\n"
    paragraphs = [
        _tuning(contests, tables),
        _confirming(contests, tables),
        " ".join(batch_sentences(tables["cost"])),
        _statistics(contests, tables),
        _budgets(tables),
        _departures(contests, tables),
    ]
    return "## Methods\n\n" + "\n\n".join(text for text in paragraphs if text) + "\n"


def _alike(contests: Sequence[WorkloadRuns]) -> str:
    """Return what the seed made alike: of a training function what it draws, in the order in which it does."""
    if all(contest.counts_evaluations for contest in contests):
        return "Data splits, initial weights, data order"
    return "The seeds of what a training function draws"


def _tuning(contests: Sequence[WorkloadRuns], tables: Mapping[str, pd.DataFrame]) -> str:
    studies = [study for contest in contests for study in contest.studies]
    campaign = studies[0].campaign
    optimizers = list(dict.fromkeys(study.optimizer for study in studies))
    first = {study.optimizer: study for study in reversed(studies)}
    trials = pd.concat([contest.trials for contest in contests])
    ended = trials.loc[trials["outcome"].isin(COUNTED), "study"].value_counts()
    searches = [search for contest in contests for study in contest.studies for search in contest.searches_of(study)]
    budget, early = _budget(int(campaign.get("trials", 0)), searches, ended)
    counts = sorted({len(contest.searches_of(study)) for contest in contests for study in contest.studies})
    between = "" if len(counts) == 1 else f"{counts[0]} to "
    often = f"in {between}{number_of(counts[-1], 'search', 'searches')}, each " if counts[-1] > 1 else ""
    further = "; each further search has a seed of its own" if often else ""
    spaces = "; ".join(f"{name}: {searched(first[name])}" for name in optimizers)
    same = "were the same for all optimizers" if _kept(tables, 1) else "were to be the same for all optimizers"
    only = "only the search spaces differed" if _kept(tables, 1) else "the search spaces were"
    starts = [name for contest in contests for name in given_starts(contest)]
    given = listing(list(dict.fromkeys(starts)))
    begun = f" The searches of {given} began with given configurations." if starts else ""
    epochs = ", ".join(f"{c.workload} ({c.studies[0].epoch_budget})" for c in contests)
    sampler = _drawing(campaign.get("sampler"), trials)
    stopping = PRUNERS.get(str(campaign.get("pruner")))
    pruner = "" if stopping is None else stopping.in_words
    chosen = listing(list(dict.fromkeys(f"{contest.metric} on {_selected_on(contest)} data" for contest in contests)))
    return (
        f"We compared {listing(optimizers)} on {number_of(len(contests), 'workload')}: {epochs}. "
        f"{_implementations([first[name] for name in optimizers])}Each optimizer was "
        f"tuned on each workload {often}with {budget} by {sampler}, "
        f"{pruner} ({number_of(int(ended.sum()), 'trial')} ended in all). {early}{_alike(contests)}, the "
        f"learning-rate schedule ({schedule_in_words(campaign)}) and the epoch budget {same} (seed "
        f"{campaign.get('seed', 'unknown')}{further}); {only} ({spaces}).{begun} "
        f"Configurations were selected by {chosen}. The rules of the comparison are those of protocol "
        f"{_protocol(studies)}."
    )


def _budget(asked_for: int, searches: Sequence[Study], ended: pd.Series[int]) -> tuple[str, str]:
    """Return with how many trials was searched, and a sentence on why these were fewer than asked for, if it is known.

    Args:
        asked_for: Trials of each search.
        searches: All of them.
        ended: Trials that ended, by the search's name.
    """
    counts = [int(ended.get(search.name, 0)) for search in searches]
    if min(counts) >= asked_for:
        return f"a budget of {number_of(asked_for, 'trial')}", ""
    most = number_of(max(counts), "trial")
    ran = most if min(counts) == max(counts) else f"{min(counts)} to {most}"
    reasons = {why for search in searches for why in ended_by(search.attributes).values()}
    early = f"Searches ended before their last trial: {'; '.join(sorted(reasons))}. " if reasons else ""
    return f"{ran}, of {asked_for} asked for,", early


def _implementations(studies: Sequence[Study]) -> str:
    """Return where each optimizer comes from, as far as a row or the campaign says."""
    told = [
        f"{study.optimizer} ({place})" for study in studies if (place := described(study.optimizer, study.campaign))
    ]
    return (
        f"They are {'; '.join(told)}. "
        if len(told) == len(studies)
        else f"Of these {'; '.join(told)}. "
        if told
        else ""
    )


def _drawing(sampler: object, trials: pd.DataFrame) -> str:
    """Return who drew the trials: a sampler that learns is named for what its model drew alone."""
    row = SAMPLERS.get(str(sampler))
    if row is None:
        return "a sampler that is not stored"
    if not row.learns:
        return row.in_words
    counts, told = drawn_counts(trials), model_in_words(sampler, trials)
    if counts is not None and not counts["model"].any():
        return f"random draws (the campaign names {row.in_words}; {told})" if told else row.in_words
    return f"{row.in_words} ({told})"


def _protocol(studies: Sequence[Study]) -> str:
    return listing(list(dict.fromkeys(str(study.attributes.get("protocol", "unknown")) for study in studies)))


def _selected_on(contest: WorkloadRuns) -> str:
    return "training" if contest.data == "train" else "validation"


def _confirming(contests: Sequence[WorkloadRuns], tables: Mapping[str, pd.DataFrame]) -> str:
    runs = pd.concat([contest.runs for contest in contests])
    if not len(runs):
        return "The winners were not confirmed: nothing below tuning can be said about their differences."
    per_search = runs.groupby(["study", "search"], dropna=False).size()
    least, most = int(per_search.min()), int(per_search.max())
    seeds = number_of(most, "fresh seed") if least == most else f"{least} to {most} fresh seeds"
    alone = runs["exclusive"]
    where = (
        "each run alone on its device as far as the campaign goes"
        if alone.fillna(False).all()
        else "some runs sharing a device, so that seconds do not compare"
        if (~alone.fillna(True)).any()
        else "though it is not known whether each ran alone on its device"
    )
    devices = sorted({str(device) for device in runs["device"].dropna()})
    on = f" ({listing(devices)})" if devices else ""
    crowded = sum(int(contest.crowded().sum()) for contest in contests)
    if crowded:
        where += f", {crowded} of them beside other programs that kept the other cores busy"
    elif runs["other_cores"].isna().any():
        where += " (what other programs ran is not known)"
    broken = int(runs["broken"].sum())
    tested = [contest.workload for contest in contests if contest.data == "test"]
    others = [f"{contest.label} on {contest.workload}" for contest in contests if contest.data != "test"]
    by = [f"the test metric at the epoch that validation chose on {listing(tested)}"] if tested else []
    by += [f"the best {other}" for other in others]
    alone_there = "; test data were used in these runs alone" if runs["test"].notna().any() and _kept(tables, 2) else ""
    measured = f"Optimizers are compared by {listing(by)}{alone_there}."
    hopeless = any(contest.hopeless(study) for contest in contests for study in contest.studies)
    of_each = "each search that has one" if hopeless else "each search"
    return (
        f"The best configuration of {of_each} was retrained on {seeds} with the whole epoch budget, {where}{on}. "
        f"{measured} Of {number_of(len(runs), 'run')}, {broken} diverged or failed; such a run counts as worse than "
        "any other, and in means as the median of complete runs after their first epoch, or as the worst in the end if "
        "that is worse."
    )


def _statistics(contests: Sequence[WorkloadRuns], tables: Mapping[str, pd.DataFrame]) -> str:
    if not any(len(contest.runs) for contest in contests):
        return ""
    pairs = len(tables["comparisons"])
    targets = tables["time_to_target"].drop_duplicates("workload")
    origins = {contest.workload: contest.studies[0].target_origin for contest in contests}
    told = ", ".join(
        f"{row['workload']} {number(row['target'])} ({origins.get(row['workload']) or row['target_source']})"
        for row in targets.to_dict("records")
    )
    over_searches = all(repeated(contest) for contest in contests if contest.confirmed())
    unit = "searches" if over_searches else "runs of the one configuration that each search found"
    whose = (
        "Optimizers are compared over their searches, each by the mean of its winner's runs"
        if over_searches
        else f"Optimizers that were not each searched {ENOUGH} times are not called different; of them the two "
        "configurations that were found are compared by their runs"
    )
    scales = [contest.workload for contest in contests if contest.scale == "log"]
    logs = f", as logarithms on {listing(scales)}" if scales else ""
    times = (
        f" Times are counted to a target value of the metric ({told}), the median over {unit}, with runs that did not "
        "arrive as infinite; whether one is slower is judged by the ratio of restricted mean times (Royston and Parmar "
        "2013; delta method, Holm-corrected), and targets are held fixed in every bootstrap."
        if told
        else ""
    )
    return (
        f"{whose}{logs}. Intervals of 95 % are Student's t over these. A difference is told only if Welch's t interval "
        f"excludes zero after Holm's correction over {number_of(pairs, 'comparison')}, values that tie counting with "
        "the variance of a coin between two steps of the metric, and with broken runs only if the interval of the "
        "probability of improvement leaves out one half too; that probability is the Mann-Whitney statistic with "
        "a score interval. An optimizer that contains another and loses to it is told to have been searched too "
        f"little.{times} Ratios of medians, normalized scores (interquartile mean, every workload weighing the same, "
        "the normalization held fixed; Agarwal et al. 2021), performance profiles (Dolan and Moré 2002; integrated "
        f"from 1 to 4 as in AlgoPerf) and ranks have intervals of {DRAWS} bootstrap draws of the {unit} within each "
        "workload; those of scores hold 95 % together. "
        "Probabilities of improvement averaged over workloads (Agarwal et al. 2021) have a score interval too, "
        "both with the largest variance that they can have (Birnbaum and Klose 1957). "
        "Mean ranks are judged by Friedman's test and Nemenyi's critical difference (Demšar 2006)."
    )


def _budgets(tables: Mapping[str, pd.DataFrame]) -> str:
    ways = set(tables["budget_curve"]["method"])
    said = []
    if EXPECTED in ways:
        said.append(
            "Performance after k trials is the exact expectation of the best of k of N trials drawn without "
            "replacement (Dodge et al. 2019)."
        )
    repeated = sorted(ways - {EXPECTED, ALONE})
    if repeated:
        said.append(
            f"Performance after k trials is the {listing(repeated)} of the search, which differ in configurations, "
            "initial weights and data order, with Student t intervals over them."
        )
    return " ".join(said)


def _departures(contests: Sequence[WorkloadRuns], tables: Mapping[str, pd.DataFrame]) -> str:
    rules = tables["fairness"].to_dict("records")
    broken = [f"Rule {row['rule']} on {row['workload']}: {row['problems']}." for row in rules if row["problems"]]
    unknown = [f"Rule {row['rule']} on {row['workload']}: {row['doubts']}." for row in rules if row["doubts"]]
    said = [f"Rules of a fair comparison that were not kept: {' '.join(broken)}"] if broken else []
    said += [f"Not known: {' '.join(unknown)}"] if unknown else []
    said += workloads_added(contests)
    return "\n\n".join(said)


def _kept(tables: Mapping[str, pd.DataFrame], rule: int) -> bool:
    rules = tables["fairness"]
    return not (rules.loc[rules["rule"] == rule, "kept"] == "no").any()
