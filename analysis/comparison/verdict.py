"""What may be concluded, in plain sentences: every one is read off an interval of a table."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.comparison.aggregate import behind_best, studies_missing, takes_part
from analysis.comparison.fairness import REPEATED
from analysis.comparison.inclusion import TOO_SMALL
from analysis.comparison.pairwise import BETTER, NOT_SHOWN, WORSE, between
from analysis.comparison.power import what_is_found
from analysis.comparison.searches import ENOUGH, RUNS, SEARCHES, unit
from analysis.comparison.stopping import workloads_added
from analysis.comparison.time_to_target import why_not_comparable
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.intervals import FEW
from analysis.study import Study
from analysis.text import estimate, listing, number, percent, times
from search_spaces.errors import number_of

SUBJECT = "sofim"  # the optimizer that this project asks about

Tables = Mapping[str, pd.DataFrame]


def sentences(contests: Sequence[WorkloadRuns], tables: Tables) -> list[str]:
    """Return the verdict, the most important first.

    Args:
        contests: Of a campaign.
        tables: Of the comparison, by name.
    """
    if not contests:
        return ["There are no studies to compare."]
    said = [*_inclusions(tables), *_basis(tables["comparisons"]), *_subject(contests, tables)]
    said += _across(contests, tables)
    for contest in contests:
        said.extend(_workload(contest, tables))
    return [*said, *_reservations(contests, tables)]


def _basis(pairs: pd.DataFrame) -> list[str]:
    """Return of what the comparison tells: of optimizers, or of the configurations that one search each has found."""
    once = pairs[pairs["unit"] == RUNS]
    if not len(once):
        return []
    numbers = once[["searches_a", "searches_b"]].to_numpy()
    fewest, most = int(numbers.min()), int(numbers.max())
    often = "one search was" if most <= 1 else f"{fewest if fewest == most else f'{fewest} to {most}'} searches were"
    where = "" if len(once) == len(pairs) else f" on {listing(list(dict.fromkeys(once['workload'])))}"
    return [
        f"The winner{'s' if most > 1 else ''} of {often} confirmed{where}, and another would have found other "
        "configurations: what is said of configurations says nothing of the optimizers. "
        f"It takes {ENOUGH} searches of each (replicates = {ENOUGH})."
    ]


def _subject(contests: Sequence[WorkloadRuns], tables: Tables) -> list[str]:
    """Return the question of the project, answered over all workloads at once where searches were repeated."""
    pairs = tables["comparisons"]
    rivals = list(dict.fromkeys(s.optimizer for c in contests for s in c.studies if s.optimizer != SUBJECT))
    said = []
    for rival in rivals:
        rows = {c.workload: between(pairs, c.workload, SUBJECT, rival) for c in contests}
        known = {
            workload: row
            for workload, row in rows.items()
            if row is not None and row["unit"] != RUNS and not row["cancelled"]  # told as an inclusion
        }
        if not known:
            continue
        by_verdict = {
            word: [workload for workload, row in known.items() if row["verdict"] == word]
            for word in (BETTER, WORSE, NOT_SHOWN)
        }
        if len(by_verdict[NOT_SHOWN]) == len(known):
            said.append(f"No difference between {SUBJECT} and {rival} could be shown on {listing(list(known))}.")
            continue
        parts = [f"{word} on {listing(where)}" for word, where in by_verdict.items() if where]
        said.append(f"{SUBJECT} against {rival}: {', '.join(parts)}.")
    return said


def _workload(contest: WorkloadRuns, tables: Tables) -> list[str]:
    confirmed = contest.confirmed()
    if not confirmed:
        return [_unconfirmed(contest)]
    if not len(contest.runs[contest.runs["outcome"] == "complete"]):
        return [f"{contest.workload}: every confirmation run diverged or failed, so nothing can be compared."]
    board = tables["leaderboard"]
    own = board[(board["workload"] == contest.workload) & (board["runs"] > 0)]
    top = own.iloc[0]
    leaders = own.loc[own["rank"] == top["rank"], "optimizer"].tolist()
    data = "test" if contest.data == "test" else "validation"
    value = estimate(top[data], top[f"{data}_low"], top[f"{data}_high"])
    have = f"{leaders[0]} has" if len(leaders) == 1 else f"{listing(leaders)} have"
    of = "best" if unit(contest) != RUNS else f"configuration{'s' * (len(leaders) > 1)} with the best"
    said = [f"{contest.workload}: {have} the {of} {contest.label}, {value} ({top['over']})."]
    said.extend(_against_the_best(contest, str(top["optimizer"]), tables["comparisons"]))
    said.extend(_division(contest, tables["variance"]))
    if not _all_fruitless(contest):
        said.extend(what_is_found(contest, tables))
    said.extend(_speed(contest, tables["time_to_target"], tables["time_ratios"]))
    return said


def _unconfirmed(contest: WorkloadRuns) -> str:
    if all(contest.hopeless(study) for study in contest.studies):
        return f"{contest.workload}: no trial of any optimizer was complete, so there is no winner to confirm."
    return (
        f"{contest.workload}: no winner was confirmed, and tuning alone cannot tell optimizers apart; "
        "confirm the winners on fresh seeds."
    )


def _against_the_best(contest: WorkloadRuns, best: str, pairs: pd.DataFrame) -> list[str]:
    """Return who is told apart from the one with the best value, and who is not: optimizers, then configurations."""
    found: dict[tuple[bool, str], list[str]] = {}
    for study in contest.confirmed():
        row = between(pairs, contest.workload, best, study.optimizer) if study.optimizer != best else None
        of_runs = row is not None and row["unit"] == RUNS
        if row is None or (row["cancelled"] and not of_runs):  # told as an inclusion
            continue
        said = str(row["configurations"] if of_runs else row["verdict"])
        open_still = ", which runs that broke leave open" if said == NOT_SHOWN and _excludes_none(row) else ""
        found.setdefault((of_runs, said), []).append(f"{study.optimizer} ({told(row)}{open_still})")
    on = f"on {contest.workload}"
    told_apart = [
        ((False, BETTER), f"{best} is better than {{}} {on}."),
        ((False, NOT_SHOWN), f"No difference is shown between {best} and {{}} {on}."),
        ((True, BETTER), f"The configuration found for {best} is better {on} than that found for {{}}."),
        (
            (True, NOT_SHOWN),
            f"No difference is shown {on} between the configuration found for {best} and that for {{}}.",
        ),
    ]
    return [words.format(listing(found[key])) for key, words in told_apart if key in found]


def _excludes_none(row: pd.Series) -> bool:
    """Return whether the interval of a pair excludes that there is no difference."""
    nothing = 1.0 if row["scale"] == "log" else 0.0
    return bool(row["gain_low"] > nothing or row["gain_high"] < nothing)


def told(row: Mapping[Hashable, Any] | pd.Series) -> str:
    """Return a row's gain in words: signed in units of the metric, or how many times on a logarithmic scale.

    >>> told({"gain": 0.01, "gain_low": 0.002, "gain_high": 0.018, "scale": "linear"})
    'gain 0.010 [0.002, 0.018]'
    >>> told({"gain": 4.0, "gain_low": 2.0, "gain_high": 8.0, "scale": "log"})
    '4.0 times better [2.0, 8.0]'
    >>> told({"gain": 1e-12, "gain_low": 1e-300, "gain_high": 1e9, "scale": "log"})
    'over 1e9 times worse [1e-9, over 1e9]'
    """
    if math.isnan(row["gain_low"]):
        return "no interval"
    if row["scale"] == "linear":
        return f"gain {estimate(row['gain'], row['gain_low'], row['gain_high'])}"
    gain, low, high = (float(row[name]) for name in ("gain", "gain_low", "gain_high"))
    worse = gain < 1
    ends = (1 / gain, 1 / high, math.inf if low == 0 else 1 / low) if worse else (gain, low, high)
    middle, _, interval = times(*ends).partition(" [")
    return f"{middle} times {'worse' if worse else 'better'} [{interval}"


def _division(contest: WorkloadRuns, table: pd.DataFrame) -> list[str]:
    """Return how the variance divides into searches and seeds, over all optimizers of a workload."""
    own = table[table["workload"] == contest.workload]
    if not len(own):
        return []
    row = own.iloc[-1]  # that of all optimizers, where there are several
    if math.isnan(row["share_searches"]):
        return []
    unit = " of the logarithm" if row["scale"] == "log" else ""
    return [
        f"On {contest.workload} another search moves {contest.label} by a standard deviation{unit} of "
        f"{row['sd_searches']:.2g}, another seed by {row['sd_seeds']:.2g}: {100 * row['share_searches']:.0f} % of the "
        f"variance of a run is the search's ({row['searches']} searches, {row['runs']} runs)."
    ]


def _speed(contest: WorkloadRuns, times: pd.DataFrame, ratios: pd.DataFrame) -> list[str]:
    own = times[(times["workload"] == contest.workload) & (times["axis"] == "seconds")]
    if not len(own):
        return [
            f"Times to a target are not told on {contest.workload}, which has none: give one in the campaign, "
            f'[targets] "{contest.workload}" = …'
        ]
    split = "training" if contest.data == "train" else "validation"
    goal = f"the target {contest.metric} {number(own['target'].iloc[0])} on {split} data of {contest.workload}"
    never = own.loc[own["median"] == math.inf, "optimizer"].tolist()
    arrived = own[own["median"] < math.inf].sort_values("median", kind="stable")
    said = []
    if len(arrived) and bool(own["comparable"].all()):
        median = float(arrived["median"].iloc[0])
        first = arrived.loc[arrived["median"] == median, "optimizer"].tolist()
        verb = "has" if len(first) == 1 else "have"
        of = "" if (own["unit"] == SEARCHES).all() else "of the configurations found, "
        one = f"{of}{listing(first)} {verb} the least median time to {goal}, {number(median)} s."
        said.append(one[0].upper() + one[1:] if of else one)
        said.extend(_slower(contest.workload, str(first[0]), never, ratios))
    elif not len(arrived):
        units = "searches" if (own["unit"] == SEARCHES).all() else "runs"
        counts = [f"{row['optimizer']} in {row['reached']} of {row['runs']} runs" for row in own.to_dict("records")]
        said.append(
            f"No optimizer reaches {goal} in half of its {units} ({listing(counts)}): which one is sooner is not told."
        )
    else:
        why = why_not_comparable(contest, contest.confirmed())
        said.append(f"Seconds on {contest.workload} do not compare: {why}.")
    seldom = own[own["share_high"] < 0.5] if len(arrived) else own.iloc[:0]
    if len(seldom):
        shown = [
            f"{row['optimizer']} ({row['reached']} of {row['runs']}: "
            f"{percent(row['share'], row['share_low'], row['share_high'])})"
            for row in seldom.to_dict("records")
        ]
        said.append(f"Fewer than half of the runs of {listing(shown)} reach {goal}.")
    return said


def _slower(workload: str, first: str, never: Sequence[str], ratios: pd.DataFrame) -> list[str]:
    """Who is slower than ``first`` in seconds, who is faster on average, and of whom neither is shown.

    Of those who ``never`` arrive the last is not told.
    """
    faster: list[str] = []
    own = ratios[(ratios["workload"] == workload) & (ratios["axis"] == "seconds")]
    slower: list[str] = []
    unclear: list[str] = []
    for row in own.to_dict("records"):
        numbers = [row[name] for name in ("restricted_ratio", "restricted_low", "restricted_high")]
        if row["a"] == first:
            other, middle, high, low = row["b"], *(1 / value for value in numbers)
        elif row["b"] == first:
            other, middle, low, high = row["a"], *numbers
        else:
            continue
        if low > 1:
            slower.append(f"{other} ({times(middle, low, high)})")
        elif high < 1:
            faster.append(f"{other} ({times(middle, low, high)})")
        elif other not in never and not math.isnan(middle):  # who arrives seldom may have had less time to be slower in
            unclear.append(f"{other} ({times(middle, low, high)})")
    what = f"to the target on {workload} (ratio of mean times, counted to the end of the smaller budget)"
    said = [f"{listing(slower)} took longer than {first} {what}."] if slower else []
    said += [f"On average {listing(faster)} took less time than {first} {what}."] if faster else []
    return [*said, f"Not shown to take longer than {first} {what}: {listing(unclear)}."] if unclear else said


def _across(contests: Sequence[WorkloadRuns], tables: Tables) -> list[str]:
    inside, outside = takes_part(contests)
    if len(contests) < 2:
        return []
    said = []
    if outside:
        said.append(f"Not every optimizer was confirmed on {listing(outside)}: left out across workloads.")
    if len(inside) < 2:
        return said
    ranks = tables["ranks"]
    if len(ranks) and ranks.iloc[0]["possible"]:
        first = ranks.iloc[0]
        behind = behind_best(ranks)
        result = (
            f"behind it beyond the critical difference: {listing(behind)}" if behind else "nobody is shown behind it"
        )
        caution = f" ({first['warning']})" if first["warning"] else ""
        said.append(f"Best mean rank: {first['best']}, {first['mean_rank']:.2f}; {result}{caution}.")
    return said


def _inclusions(tables: Tables) -> list[str]:
    said = []
    for row in tables["inclusion"].to_dict("records"):
        if row["verdict"] == TOO_SMALL:
            turned = between(tables["comparisons"], row["workload"], row["smaller"], row["larger"])
            shown = "" if turned is None else f" ({row['smaller']}: {told(turned)})"
            said.append(
                f"{row['larger']} contains {row['smaller']} ({row['limit']}) and yet loses to it on {row['workload']}"
                f"{shown}: its search was too small, or its range too narrow, so that this says nothing against "
                f"{row['larger']}."
            )
    return said


def _reservations(contests: Sequence[WorkloadRuns], tables: Tables) -> list[str]:
    """Return what a reader must know before believing the rest."""
    said = []
    wordless = [
        f"{contest.workload}: {without} of {number_of(len(contest.runs), 'run')} gave no {contest.label}"
        for contest in contests
        if contest.data == "test"
        and (without := int((contest.runs["broken"] & (contest.runs["outcome"] == "complete")).sum()))
    ]
    if wordless:
        said.append(f"Runs that ended without a test value count as broken: {listing(wordless)}.")
    few = [
        f"{study.optimizer} on {contest.workload} ({len(contest.of(study))})"
        for contest in contests
        for study in contest.confirmed()
        if len(contest.of(study)) < FEW
    ]
    if few:
        said.append(f"Fewer than {FEW} seeds, so that intervals rest on little: {listing(few)}.")
    broken = [_broken(contest, study) for contest in contests for study in contest.confirmed()]
    if any(broken):
        said.append(f"Confirmation runs that broke count as the worst: {listing([text for text in broken if text])}.")
    fruitless = [text for contest in contests for text in _all_fruitless(contest)]
    if fruitless:
        said.append(f"Searches without a complete trial count as the worst run: {listing(fruitless)}.")
    hopeless = [f"{s.optimizer} on {c.workload}" for c in contests for s in c.studies if c.hopeless(s)]
    if hopeless:
        said.append(f"Without a complete trial, and so last: {listing(hopeless)}.")
    missing = [
        f"{optimizer} on {workload}"
        for workload, optimizer in studies_missing(contests)
        if any(c.workload == workload and c.confirmed() for c in contests)
    ]
    if missing:
        said.append(f"Not confirmed, and so not compared: {listing(missing)}.")
    said.extend(workloads_added(contests))
    rules = tables["fairness"]
    said.extend(
        f"Rule {row['rule']} was not kept on {row['workload']}: {row['problems']}."
        for row in rules[(rules["kept"] == "no") & (rules["rule"] != REPEATED)].to_dict("records")
    )
    return said


def _all_fruitless(contest: WorkloadRuns) -> list[str]:
    return [text for study in contest.confirmed() if (text := _fruitless(contest, study))]


def _fruitless(contest: WorkloadRuns, study: Study) -> str:
    """Return of how many searches of an optimizer nothing could be confirmed, where searches are compared."""
    every = contest.searches_of(study)
    lost = sum(map(contest.fruitless, every)) if unit(contest) == SEARCHES else 0
    return f"{lost} of {len(every)} of {study.optimizer} on {contest.workload}" if lost else ""


def _broken(contest: WorkloadRuns, study: Study) -> str:
    runs = contest.of(study)
    lost = int(runs["broken"].sum())
    return f"{lost} of {len(runs)} of {study.optimizer} on {contest.workload}" if lost else ""
