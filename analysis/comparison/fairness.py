"""The fairness ledger: whether the rules of a fair comparison were kept, as far as the database can tell.

A rule is kept ("yes"), broken ("no", and the evidence says by what), or the database does not tell ("unknown").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.comparison.contest import COUNTED, Contest
from analysis.comparison.words import count, listing
from analysis.load import ParameterInfo, Study
from analysis.sensitivity.scales import decades

COLUMNS = ("rule", "requirement", "workload", "kept", "evidence")
SPACES = ("optimizer", "parameter", "kind", "scale", "low", "high", "choices", "default", "decades")
REQUIREMENTS = {
    1: "same splits, seeds, schedule, epochs and number of trials; only the search spaces differ",
    2: "selection on validation data; test data in confirmation runs alone",
    3: "winners confirmed on fresh seeds, alone on a device",
    4: "cost in epochs, gradient evaluations and seconds",
    5: "every interval says what was resampled",
    6: "diverged, pruned and failed trials are counted",
}
DEFAULT_SEEDS = 10
YES, NO, UNKNOWN = "yes", "no", "unknown"
_SHARED = ("sampler", "pruner", "schedule", "seed", "amp", "epochs", "trials", "optimizers")
_TOLD = ("sampler", "pruner", "schedule", "seed")
_OUTCOMES = (*COUNTED, "lost", "running")

Finding = tuple[str, str]
"""Kept, and the evidence."""


def fairness(contests: Sequence[Contest]) -> pd.DataFrame:
    """Rules 1 to 6 on every workload, a row each.

    Returns:
        Columns: ``rule`` (1 to 6), ``requirement``, ``workload``, ``kept`` (yes, no, unknown), ``evidence``.
    """
    checks = (_same_budgets, _selection, _confirmation, _costs, _intervals, _counts)
    rows = [
        (rule, REQUIREMENTS[rule], contest.workload, *check(contest))
        for contest in contests
        for rule, check in enumerate(checks, start=1)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _judge(problems: Sequence[str], doubts: Sequence[str], evidence: Sequence[str]) -> Finding:
    kept = NO if problems else UNKNOWN if doubts else YES
    return kept, "; ".join([*problems, *doubts, *evidence])


def _same_budgets(contest: Contest) -> Finding:
    first = contest.studies[0]
    problems = [_difference(name, contest, lambda s, n=name: s.campaign.get(n)) for name in _SHARED]
    problems.append(_difference("epochs of a trial", contest, lambda s: s.attributes.get("epochs")))
    problems.append(_difference("versions", contest, lambda s: s.attributes.get("versions")))
    present = {study.optimizer for study in contest.studies}
    missing = [name for name in first.campaign.get("optimizers", ()) if name not in present]
    if missing:
        problems.append(f"no study of {listing(missing)}")
    ended = {study.optimizer: _ended(contest, study) for study in contest.studies}
    asked = first.campaign.get("trials")
    if len(set(ended.values())) > 1 or (asked is not None and min(ended.values()) < asked):
        told = ", ".join(f"{name} {number}" for name, number in ended.items())
        problems.append(f"trials that ended, of {asked} asked for: {told}")
    seeds = sorted({str(seed) for seed in contest.trials["seed"].dropna()})
    if len(seeds) > 1:
        problems.append(f"trials have different seeds: {listing(seeds)}")
    evidence = [
        f"{asked} trials each of {first.attributes.get('epochs', 'unknown')} epochs",
        *(f"{name} {first.campaign[name]}" for name in _TOLD if name in first.campaign),
        f"splits and initial weights follow from seed and versions ({_versions(first)})",
        "searched: " + ", ".join(f"{study.optimizer} {volume(study.parameters)}" for study in contest.studies),
    ]
    return _judge([problem for problem in problems if problem], [], evidence)


def _difference(name: str, contest: Contest, value: object) -> str:
    """What differs between the studies of a workload, or an empty text."""
    assert callable(value)
    told = {study.optimizer: value(study) for study in contest.studies}
    if len({repr(entry) for entry in told.values()}) < 2:
        return ""
    return f"{name} differ: " + ", ".join(f"{optimizer} {entry}" for optimizer, entry in told.items())


def _versions(study: Study) -> str:
    versions = study.attributes.get("versions") or {}
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or "not stored"


def _ended(contest: Contest, study: Study) -> int:
    own = contest.trials[contest.trials["study"] == study.name]
    return int(own["outcome"].isin(COUNTED).sum())


def _selection(contest: Contest) -> Finding:
    tested = int(contest.trials["tested"].sum())
    problems = [f"{count(tested, 'tuning trial')} measured on test data"] if tested else []
    split = str(contest.studies[0].attributes.get("metric_split", "validation"))
    chosen = f"winners chosen by {contest.metric} on {'training' if split == 'train' else split} data"
    return _judge(problems, [], [chosen] if tested else [chosen, "no tuning trial has a test value"])


def _confirmation(contest: Contest) -> Finding:
    problems: list[str] = []
    doubts: list[str] = []
    evidence: list[str] = []
    used = contest.studies[0].campaign.get("seed")
    seeds: dict[str, list[int]] = {}
    for study in contest.studies:
        runs = contest.of(study)
        if not len(runs):
            reason = "has no complete trial to confirm" if contest.hopeless(study) else "was not confirmed"
            (evidence if contest.hopeless(study) else problems).append(f"{study.optimizer} {reason}")
            continue
        seeds[study.optimizer] = [int(seed) for seed in runs["seed"].dropna()]
        evidence.append(f"{study.optimizer} {count(len(runs), 'seed')}")
    everyone = {frozenset(own) for own in seeds.values()}
    if len(everyone) > 1:
        problems.append("the seeds differ between optimizers")
    if any(len(set(own)) < len(own) for own in seeds.values()):
        problems.append("a seed was run twice")
    if any(used in own for own in seeds.values()):
        problems.append(f"the campaign's seed {used} is among them")
    if len(contest.runs):
        if contest.runs["seed"].isna().any():
            doubts.append("the seeds of some runs are not known")
        shared = contest.runs["exclusive"]
        if (~shared.fillna(True)).any():
            problems.append(f"{count(int((~shared.fillna(True)).sum()), 'run')} shared a device")
        elif shared.isna().any():
            doubts.append("whether all ran alone on a device is not known")
        else:
            evidence.append("all alone on a device")
        devices = sorted({str(device) for device in contest.runs["device"].dropna()})
        if len(devices) > 1:
            problems.append(f"the devices differ: {listing(devices)}")
        elif devices:
            evidence.append(f"device {devices[0]}")
        fewest = int(contest.runs["study"].value_counts().min())
        if fewest < DEFAULT_SEEDS:
            evidence.append(f"fewer than the usual {DEFAULT_SEEDS} seeds")
    return _judge(problems, doubts, evidence)


def _costs(contest: Contest) -> Finding:
    trained = contest.runs[contest.runs["outcome"] == "complete"]
    which = "confirmation run"
    if not len(trained):
        trained, which = contest.trials[contest.trials["outcome"] == "complete"], "trial"
    if not len(trained):
        return UNKNOWN, "nothing ran to its end"
    costs = trained[["seconds", "gradient_evaluations"]].to_numpy(np.float64)
    without = int((~np.isfinite(costs) | (costs <= 0)).any(axis=1).sum())
    problems = [f"{count(without, which)} without a cost"] if without else []
    return _judge(problems, [], [f"{count(len(trained), which)} that ended, with epochs, evaluations and seconds"])


def _intervals(contest: Contest) -> Finding:
    confirmed = contest.confirmed()
    if not confirmed:
        return NO, "no confirmation runs, so there are no intervals"
    single = [study.optimizer for study in confirmed if len(contest.of(study)) < 2]
    problems = [f"a single run and so no interval: {listing(single)}"] if single else []
    evidence = [
        "means and their differences: Student's and Welch's t over runs",
        "differences Holm-corrected over pairs",
        "ratios of times, scores and ranks: bootstrap of runs within the workload",
        "expected best of k: bootstrap of trials",
    ]
    return _judge(problems, [], evidence)


def _counts(contest: Contest) -> Finding:
    problems, evidence = [], []
    for study in contest.studies:
        own = contest.trials[contest.trials["study"] == study.name]
        gaps = int(own["number"].max()) + 1 - len(own) if len(own) else 0
        if gaps > 0:
            problems.append(f"{count(gaps, 'trial')} of {study.optimizer} missing from the database")
        evidence.append(f"{study.optimizer}: {_tally(own['outcome'])}{_run_tally(contest, study)}")
    return _judge(problems, [], evidence)


def _tally(outcomes: pd.Series) -> str:
    numbers = [(word, int((outcomes == word).sum())) for word in _OUTCOMES]
    return ", ".join(f"{number} {word}" for word, number in numbers if number) or "no trials"


def _run_tally(contest: Contest, study: Study) -> str:
    runs = contest.of(study)
    return f" (confirmation: {_tally(runs['outcome'])})" if len(runs) else ""


def volume(parameters: Mapping[str, ParameterInfo]) -> str:
    """The size of a search space: how many decades its logarithmic ranges span together, and its other choices.

    Volumes of different spaces have different units, so each factor is told on its own.
    """
    total = sum(width for p in parameters.values() if not math.isnan(width := decades(p)))
    others = [p for p in parameters.values() if math.isnan(decades(p))]
    factors = [f"{total:.1f} decades"] if len(others) < len(parameters) else []
    factors += [count(len(p.choices), f"{p.name} choice") for p in others if p.kind == "categorical"]
    factors += [f"{p.name} {p.low:g} to {p.high:g}" for p in others if p.kind != "categorical"]
    return f"{count(len(parameters), 'parameter')} ({' × '.join(factors)})" if factors else "nothing"


def _scale(parameter: ParameterInfo) -> str:
    if parameter.kind == "categorical":
        return "choice"
    return "log" if parameter.log else "log(1 - value)" if parameter.one_minus else "linear"


def search_spaces(studies: Sequence[Study]) -> pd.DataFrame:
    """What was searched, of each optimizer: the only thing that may differ.

    Returns:
        One row a parameter (of the optimizer's first study). Columns: ``optimizer``, ``parameter``, ``kind`` (float,
        int, categorical), ``scale`` (log, log(1 - value), linear, choice), ``low``, ``high`` (NaN for a choice),
        ``choices`` (as text), ``default``, ``decades`` (width of a logarithmic range; NaN otherwise).
    """
    first = {study.optimizer: study for study in reversed(studies)}
    rows = []
    for optimizer in dict.fromkeys(study.optimizer for study in studies):
        for p in first[optimizer].parameters.values():
            choices = ", ".join(map(str, p.choices))
            rows.append((optimizer, p.name, p.kind, _scale(p), p.low, p.high, choices, p.default, decades(p)))
    frame = pd.DataFrame(rows, columns=list(SPACES))
    frame["default"] = pd.Series([row[7] for row in rows], dtype=object)
    return frame
