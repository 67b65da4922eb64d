"""How far apart optimizers must be for a comparison over searches to show it, on a workload of a finished campaign."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.comparison.inclusion import UNTESTED
from analysis.comparison.pairwise import NOT_SHOWN
from analysis.comparison.searches import SEARCHES, units
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.intervals import CHANCE, found_apart, resolution
from analysis.metric_scale import factor
from analysis.text import rounded_up, two_digits
from search_spaces.errors import number_of

ONE_SIDED = "Of two of which one contains the other, it is found where the larger is the better."


def what_is_found(contest: WorkloadRuns, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return how far apart optimizers must be to be told apart, where some were not; the same of twice the searches.

    It is found at least so often: where other pairs are told apart, Holm's correction is of fewer. Where runs broke, or
    most searches tie, a difference takes more than Welch's t, and nothing is said.

    Args:
        contest: Of a workload.
        tables: ``comparisons``, ``inclusion`` and ``variance`` of the campaign.
    """
    pairs, variances = tables["comparisons"], tables["variance"]
    own = pairs[(pairs["workload"] == contest.workload) & (pairs["unit"] == SEARCHES)]
    own = own[(own["verdict"] == NOT_SHOWN) & (own["cancelled"] == "")]
    variances = variances[variances["workload"] == contest.workload]
    if not len(own) or not len(variances) or contest.runs["broken"].any():
        return []
    row = variances.iloc[-1]  # of all optimizers
    scatter = math.sqrt(row["variance_searches"] + row["variance_seeds"] * row["searches"] / row["runs"])
    step = resolution(np.concatenate([units(contest, study) for study in contest.confirmed()]))
    if math.isnan(row["share_searches"]) or not scatter > step / 2:
        return []
    searches, compared = int(own[["searches_a", "searches_b"]].to_numpy().min()), int(pairs["p"].notna().sum())
    few, many = (scatter * found_apart(number, compared) for number in (searches, 2 * searches))
    said = (
        f"If all optimizers scatter so, {_told(contest, few)} in {contest.label} is found in at least "
        f"{100 * CHANCE:.0f} % of campaigns with {searches} searches of each, {_told(contest, many)} with "
        f"{2 * searches} ({number_of(compared, 'pair')} compared)."
    )
    values = _values(contest)
    if contest.scale == "log":
        ends = np.log(np.maximum([values.min(), values.max()], contest.floor))
        widest, kind = float(np.ptp(ends)), "a factor of "
    else:
        widest, kind = float(np.ptp(values)), ""
    if few > 2 * widest:
        said += f" No two of these runs are further apart than {kind}{_rounded(contest, widest)}."
    if _contain_one_another(contest, own, tables["inclusion"]):
        said += f" {ONE_SIDED}"
    return [said]


def _rounded(contest: WorkloadRuns, apart: float) -> str:
    """Return a difference in units of the scale of comparison, or the factor that it is, rounded up to two digits."""
    if contest.scale != "log":
        return two_digits(rounded_up(apart))
    times = factor(apart)  # of one near 1 the digits that count are those behind it
    return f"{1 + rounded_up(times - 1):.10g}" if times < 2 else two_digits(rounded_up(times))


def _told(contest: WorkloadRuns, apart: float) -> str:
    if contest.scale == "log":
        return f"a factor of {_rounded(contest, apart)}"
    lowest, highest = contest.confirmed()[0].bounds(_values(contest))
    return "no possible difference" if apart > highest - lowest else f"a difference of {_rounded(contest, apart)}"


def _values(contest: WorkloadRuns) -> pd.Series:
    values: pd.Series = contest.runs["test" if contest.data == "test" else "validation"].dropna()
    return values


def _contain_one_another(contest: WorkloadRuns, pairs: pd.DataFrame, inclusion: pd.DataFrame) -> bool:
    """Return whether of any of the pairs one optimizer contains the other as both were searched."""
    known = inclusion[(inclusion["workload"] == contest.workload) & (inclusion["verdict"] != UNTESTED)]
    nested = {frozenset(pair) for pair in known[["larger", "smaller"]].to_numpy().tolist()}
    return any(frozenset(pair) in nested for pair in pairs[["a", "b"]].to_numpy().tolist())
