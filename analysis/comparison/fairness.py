"""The fairness ledger: whether the rules of a fair comparison were kept, as far as the database can tell.

A rule is kept ("yes"), broken ("no", and the evidence says by what), or the database does not tell ("unknown").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison.budget import ALONE, EXPECTED
from analysis.comparison.searches import ENOUGH, means, redrawn, repeated, runs_of
from analysis.comparison.spaces import decay_kinds, other_schedules, schedule_in_words, searched
from analysis.comparison.stopping import cut_short, seeds_decided, stopping
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.optimizers import custom_optimizers, described
from analysis.schema import COUNTED, WIDENED, ended_by
from analysis.study import Study
from analysis.text import listing
from analysis.text import outcomes as in_words
from search_spaces.errors import number_of

COLUMNS = ("rule", "requirement", "workload", "kept", "evidence", "problems", "doubts")
REQUIREMENTS = {
    1: "same splits, seeds, schedule, epochs, number of trials and stopping rules; only the search spaces differ",
    2: "selection on validation data; test data in confirmation runs alone",
    3: "winners confirmed on fresh seeds, whose number is decided before, alone on a device",
    4: "optimizers compared over repeated searches",
    5: "cost in epochs, gradient evaluations and seconds",
    6: "every interval says what was resampled",
    7: "diverged, pruned and failed trials are counted",
}
DEFAULT_SEEDS = 10
REPEATED = 4  # the rule that one search breaks
YES, NO, UNKNOWN = "yes", "no", "unknown"
_SHARED = (
    "sampler", "pruner", "schedule", "warmup", "decay", "batch_size", "seed", "amp", "epochs", "trials", "replicates",
    "resplit", "optimizers", "optimizer",
)  # fmt: skip
_DESCRIBED = ("epochs", "versions", "metric_split", "data")
_TOLD = ("purpose", "sampler", "pruner", "seed")
_OUTCOMES = (*COUNTED, "lost", "running")


@dataclass
class Finding:
    """What is known of one rule on one workload: what broke it, what is not known, and what speaks for it."""

    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)

    @property
    def kept(self) -> str:
        """Whether it was kept, as far as the database can tell."""
        return NO if self.problems else UNKNOWN if self.doubts else YES


def fairness(
    contests: Sequence[WorkloadRuns], curves: pd.DataFrame | None = None, histories: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Rules 1 to 7 on every workload, a row each.

    Args:
        contests: Of a campaign.
        curves: See :func:`analysis.comparison.budget.budget_curves`; tells how its intervals were made.
        histories: Of the trials, see :func:`analysis.load.curves`; tells after which epochs they were stopped.

    Returns:
        Columns: ``rule`` (1 to 7), ``requirement``, ``workload``, ``kept`` (yes, no, unknown), ``evidence`` (all that
        follows, and what speaks for it), ``problems`` (what broke it), ``doubts`` (what is not known).
    """
    checks = (_same_budgets, _selection, _confirmation, _repeated, _costs, _intervals, _counts)
    rows = []
    reasons = {
        name: why for one in contests for study in _every(one) for name, why in ended_by(study.attributes).items()
    }
    for contest in contests:
        for rule, check in enumerate(checks, start=1):
            found = check(contest)
            if rule == 1 and histories is not None:
                searches = {label(contest, search): search for search in _every(contest)}
                of_stops = stopping(searches, contest.trials, histories)
                for part, more in zip((found.problems, found.doubts, found.evidence), of_stops, strict=True):
                    part.extend(more)
            if rule == 1:
                names = {label(contest, search): search.name for search in _every(contest)}
                found.problems += cut_short(names, reasons)
            if rule == 6 and curves is not None and found.kept != NO:
                found.evidence.extend(_of_budgets(contest, curves))
            told = ("; ".join(part) for part in (found.problems, found.doubts))
            every = "; ".join([*found.problems, *found.doubts, *found.evidence])
            rows.append((rule, REQUIREMENTS[rule], contest.workload, found.kept, every, *told))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _same_budgets(contest: WorkloadRuns) -> Finding:
    first = contest.studies[0]
    found = Finding()
    found.problems += [_difference(name, contest, lambda s, n=name: s.campaign.get(n)) for name in _SHARED]
    found.problems += [_difference(name, contest, lambda s, n=name: s.attributes.get(n)) for name in _DESCRIBED]
    found.problems += [_difference(name, contest, lambda s, n=name: getattr(s, n)) for name in ("metric", "direction")]
    present = {study.optimizer for study in contest.studies}
    missing = [name for name in first.campaign.get("optimizers", ()) if name not in present]
    if missing:
        found.problems.append(f"no study of {listing(missing)}")
    ended = {label(contest, search): _ended(contest, search) for search in _every(contest)}
    asked = first.campaign.get("trials")
    if len(set(ended.values())) > 1 or (asked is not None and min(ended.values()) < asked):
        told = ", ".join(f"{name} {number}" for name, number in ended.items())
        of_all = "" if asked is None else f", of {asked} asked for"
        found.problems.append(f"trials that ended{of_all}: {told}")
    for replicate in sorted({search.replicate for search in _every(contest)}):
        names = [search.name for search in _every(contest) if search.replicate == replicate]
        used = contest.trials.loc[contest.trials["study"].isin(names), "seed"].dropna()
        if len(seeds := sorted({str(seed) for seed in used})) > 1:
            of = f" of replicate {replicate}" if replicate > 1 else ""
            found.problems.append(f"trials{of} have different seeds: {listing(seeds)}")
    began = given_starts(contest)
    if began and len(began) < len(contest.studies):
        found.problems.append(f"only {listing(began)} began with a configuration that was given")
    elif began:
        found.evidence.append("every optimizer began with a configuration that was given")
    differs, decays = decay_kinds(contest.studies)
    found.problems += [differs, other_schedules(contest.studies)]
    found.problems = [problem for problem in found.problems if problem]
    unknown = [name for name in ("epochs", "versions") if not first.attributes.get(name)]
    if len(contest.trials) and contest.trials["seed"].isna().all():
        unknown.append("seeds of the trials")
    found.doubts += [f"{name} not stored" for name in unknown]
    drawn = "splits and initial weights" if contest.counts_evaluations else "the function's random numbers"
    if first.attributes.get("protocol") == 1 and first.campaign.get("pruner") == "hyperband":
        found.doubts.append("which trials were stopped hung on the names of campaign and optimizer (protocol 1)")
    found.evidence += [
        f"{'trials' if asked is None else number_of(asked, 'trial')} each of {first.epoch_budget}",
        *(f"{name} {first.campaign[name]}" for name in _TOLD if name in first.campaign),
        *([f"schedule {schedule_in_words(first.campaign)}"] if "schedule" in first.campaign else []),
        *([decays] if decays else []),
        *(
            f"{name} is the campaign's own, {described(name, first.campaign)}"
            for name in custom_optimizers(first.campaign)
            if name in present
        ),
        f"{drawn} follow from seed and versions ({_versions(first.attributes)})",
        *_widened(contest),
        "searched: " + ", ".join(f"{study.optimizer} {searched(study)}" for study in contest.studies),
    ]
    return found


def _widened(contest: WorkloadRuns) -> list[str]:
    """Return which ranges were widened while trials ran: the earlier ones were drawn from less."""
    told = []
    for search in _every(contest):
        listed = search.attributes.get(WIDENED)
        for one in listed if isinstance(listed, list) else []:
            low, high, lower, higher = (f"{end:g}" for end in (*one["from"], *one["to"]))
            ranges = f"from [{low}, {high}] to [{lower}, {higher}]"
            told.append(f"{one['parameter']} of {label(contest, search)} widened {ranges} after {one['after']} trials")
    return told


def label(contest: WorkloadRuns, search: Study) -> str:
    """Return the optimizer of a search, and which search it is where there are several."""
    several = any(search in every and len(every) > 1 for every in contest.searches.values())
    return f"{search.optimizer} (search {search.replicate})" if several else search.optimizer


def _every(contest: WorkloadRuns) -> list[Study]:
    return [search for study in contest.studies for search in contest.searches_of(study)]


def given_starts(contest: WorkloadRuns) -> list[str]:
    """Return the optimizers whose search began with a configuration that somebody gave (``launch --from``)."""
    starts = contest.studies[0].campaign.get("starts")
    if not isinstance(starts, Mapping):
        return []
    return [study.optimizer for study in contest.studies if contest.workload in starts.get(study.optimizer, {})]


def _difference(name: str, contest: WorkloadRuns, value: object) -> str:
    """Return what differs between the studies of a workload, or an empty text."""
    assert callable(value)
    told = {study.optimizer: value(study) for study in contest.studies}
    if len({repr(entry) for entry in told.values()}) < 2:
        return ""
    return f"{name} differ: " + ", ".join(f"{optimizer} {entry}" for optimizer, entry in told.items())


def _versions(attributes: Mapping[str, Any]) -> str:
    versions = attributes.get("versions") or {}
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or "not stored"


def _ended(contest: WorkloadRuns, study: Study) -> int:
    own = contest.trials[contest.trials["study"] == study.name]
    return int(own["outcome"].isin(COUNTED).sum())


def _selection(contest: WorkloadRuns) -> Finding:
    found = Finding()
    tested = int(contest.trials["tested"].sum())
    if tested:
        found.problems.append(f"{number_of(tested, 'tuning trial')} measured on test data")
    for study in _every(contest):
        for number, runs in contest.former.get(study.name, {}).items():
            found.problems.append(
                f"trial {number} of {label(contest, study)} was confirmed ({number_of(runs, 'run')}) and then "
                "overtaken: its confirmation was seen before the search ended"
            )
    split = str(contest.studies[0].attributes.get("metric_split", "validation"))
    if split == "train":
        found.evidence.append(
            f"winners chosen by {contest.metric} on training data, which is the aim of this workload: it is of the "
            "optimization itself and claims nothing of generalization"
        )
    else:
        found.evidence.append(f"winners chosen by {contest.metric} on {split} data")
    if not tested:
        found.evidence.append("no tuning trial has a test value")
    return found


def _confirmation(contest: WorkloadRuns) -> Finding:
    found = Finding()
    used: set[Any] = {contest.studies[0].campaign.get("seed"), *contest.trials["seed"].dropna().astype(int)}
    seeds: dict[str, list[int]] = {}
    by_replicate: dict[int, dict[str, set[int]]] = {}
    for search in _every(contest):
        runs = runs_of(contest, search)
        name = label(contest, search)
        if not len(runs) and contest.fruitless(search):
            found.evidence.append(f"{name} has no complete trial to confirm")
            continue
        if not len(runs):
            found.problems.append(f"{name} was not confirmed")
            continue
        seeds[name] = [int(seed) for seed in runs["seed"].dropna()]
        by_replicate.setdefault(search.replicate, {})[name] = set(seeds[name])
        found.evidence.append(f"{name} {number_of(len(runs), 'seed')}")
    for of_replicate in by_replicate.values():
        found.problems += _differing_seeds(of_replicate)
    if any(len(set(own)) < len(own) for own in seeds.values()):
        found.problems.append("a seed was run twice")
    if len(contest.studies) > 1:
        named = [(label(contest, search), search) for search in _every(contest)]
        for part, more in zip((found.problems, found.doubts), seeds_decided(named, seeds), strict=True):
            part += more
    if chosen := sorted(used & {seed for own in seeds.values() for seed in own}):
        found.problems.append(f"the campaign's seed {chosen[0]} is among them")
    if len(contest.runs):
        _same_rules(contest, found)
        _alone(contest, found)
        if contest.runs["study"].value_counts().min() < DEFAULT_SEEDS and not repeated(contest):
            found.evidence.append(f"fewer than the usual {DEFAULT_SEEDS} seeds")
    return found


def _differing_seeds(seeds: Mapping[str, set[int]]) -> list[str]:
    """Return what differs between the seeds of one replicate's winners, by their names; nothing where none does."""
    most = max(seeds.values(), key=len)
    if any(not own <= most for own in seeds.values()):
        return ["the seeds differ between optimizers"]
    few = [(name, len(own)) for name, own in seeds.items() if own != most]
    return [f"{name} was run on {number} of the {len(most)} seeds of the others" for name, number in few]


def _repeated(contest: WorkloadRuns) -> Finding:
    """Whether what is said of optimizers is over searches, with their numbers."""
    confirmed = contest.confirmed()
    numbers = {study.optimizer: len(means(contest, study)) for study in confirmed}
    if len({study.optimizer for study in contest.studies}) < 2:
        return Finding(evidence=["one optimizer, which is compared with none"])
    told = f"searches that are confirmed: {', '.join(f'{name} {number}' for name, number in numbers.items()) or 'none'}"
    if numbers and min(numbers.values()) >= ENOUGH:
        return Finding(evidence=[told])
    if confirmed and all(redrawn(contest, study) is not None for study in confirmed):
        how = "independent trials, none stopped, the runners-up confirmed: another search is told from these trials"
        return Finding(evidence=[f"{told}; {how}"])
    return Finding(problems=[f"{told}, of {ENOUGH} each that a verdict on optimizers takes"])


def _same_rules(contest: WorkloadRuns, found: Finding) -> None:
    """Whether the runs were made as the trials were, and of what is known to be the winners."""
    for search in _every(contest):
        tuned, confirmed = (_versions(attributes) for attributes in (search.attributes, search.confirmation))
        if search.confirmation.get("versions") and tuned != confirmed:
            found.problems.append(f"{label(contest, search)} was tuned with {tuned} and confirmed with {confirmed}")
        if other := search.confirmed_on_others():
            found.problems.append(f"{label(contest, search)} was confirmed on other data ({listing(other)})")
    for study in contest.confirmed():
        budget, runs = study.attributes.get("epochs"), contest.of(study)
        complete = runs.loc[runs["outcome"] == "complete", "number"]
        own = contest.curves[(contest.curves["study"] == study.name) & contest.curves["number"].isin(complete)]
        lengths = sorted({int(last) for last in own.groupby("number")["epoch"].max()})
        if budget is not None and lengths and lengths != [budget]:
            told = listing([str(length) for length in lengths])
            found.problems.append(f"complete runs of {study.optimizer} have {told} epochs, its trials {budget}")
    if contest.runs["confirms"].isna().any():
        found.doubts.append("whose configurations were run is not stored")
    if contest.runs["seed"].isna().any():
        found.doubts.append("the seeds of some runs are not known")


def _alone(contest: WorkloadRuns, found: Finding) -> None:
    shared = contest.runs["exclusive"]
    if (~shared.fillna(True)).any():
        found.problems.append(f"{number_of(int((~shared.fillna(True)).sum()), 'run')} shared a device")
    elif shared.isna().any():
        found.doubts.append("whether all ran alone on a device is not known")
    else:
        found.evidence.append("each alone on a device among this campaign's runs")
    crowded = int(contest.crowded().sum())
    if crowded:
        most = contest.runs.loc[contest.crowded(), "other_cores"].max()
        cores = int(contest.runs["cores"].max())
        found.problems.append(
            f"{number_of(crowded, 'run')} beside other programs, which kept up to {most:.1f} of "
            f"{number_of(cores, 'core')} busy"
        )
    elif contest.runs["other_cores"].isna().any():
        found.doubts.append("what other programs ran meanwhile is not stored")
    else:
        found.evidence.append(f"other programs kept at most {contest.runs['other_cores'].max():.1f} cores busy")
    devices = sorted({str(device) for device in contest.runs["device"].dropna()})
    if len(devices) > 1:
        found.problems.append(f"the devices differ: {listing(devices)}")
    elif devices:
        found.evidence.append(f"device {devices[0]}")


def _costs(contest: WorkloadRuns) -> Finding:
    trained = contest.runs[contest.runs["outcome"] == "complete"]
    which = "confirmation run" if len(trained) else "trial"
    if not len(trained):
        trained = contest.trials[contest.trials["outcome"] == "complete"]
    if not len(trained):
        return Finding(doubts=["nothing ran to its end"])
    costs = trained[["seconds", "gradient_evaluations"][: 1 + contest.counts_evaluations]].to_numpy(np.float64)
    without = int((~np.isfinite(costs) | (costs <= 0)).any(axis=1).sum())
    doubts = [] if contest.counts_evaluations else ["a training function does not count gradient evaluations"]
    told = f"{number_of(len(trained), which)} that ended, with epochs{'' if doubts else ', evaluations'} and seconds"
    return Finding([f"{number_of(without, which)} without a cost"] if without else [], doubts, [told])


def _intervals(contest: WorkloadRuns) -> Finding:
    confirmed = contest.confirmed()
    if not confirmed:
        return Finding(problems=["no confirmation runs, so there are no intervals"])
    single = [study.optimizer for study in confirmed if len(contest.of(study)) < 2]
    unit = "searches" if repeated(contest) else "runs of one configuration each"
    again = contest.studies[0].resplit
    return Finding(
        problems=[f"a single run and so no interval: {listing(single)}"] if single else [],
        evidence=[
            f"means and their differences: Student's and Welch's t over {unit}",
            "differences Holm-corrected over the pairs of all workloads",
            f"who took longer: delta method on restricted means over {unit}, Holm-corrected likewise",
            f"ratios of medians, scores and ranks: bootstrap of {unit} within the workload",
            "one split of the data: no interval is over splits" if not again else "each search on a split of its own",
        ],
    )


def _of_budgets(contest: WorkloadRuns, curves: pd.DataFrame) -> list[str]:
    own = curves[curves["study"].isin([study.name for study in contest.studies])]
    means = {EXPECTED: "bootstrap of trials", ALONE: "none, the search was made once"}
    return [
        f"performance after k trials ({method}): {means.get(str(method), 'Student t over the replicates')}"
        for method in dict.fromkeys(own["method"])
    ]


def _counts(contest: WorkloadRuns) -> Finding:
    found = Finding()
    for study in _every(contest):
        own = contest.trials[contest.trials["study"] == study.name]
        if (gaps := int(own["number"].max()) + 1 - len(own) if len(own) else 0) > 0:
            found.problems.append(f"{number_of(gaps, 'trial')} of {label(contest, study)} missing from the database")
        found.evidence.append(f"{label(contest, study)}: {_tally(own)}{_run_tally(contest, study)}")
    return found


def _tally(rows: pd.DataFrame) -> str:
    return in_words(Counter(rows["outcome"]), _OUTCOMES) or "no trials"


def _run_tally(contest: WorkloadRuns, study: Study) -> str:
    runs = runs_of(contest, study)
    told = [_tally(runs)] if len(runs) else []
    if contest.lost.get(study.name):
        told.append(f"{contest.lost[study.name]} lost and asked again")
    if former := sum(contest.former.get(study.name, {}).values()):
        told.append(f"{former} of former winners, not counted")
    return f" (confirmation: {'; '.join(told)})" if told else ""
