"""All that is known about one study, from its trials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.parameters import ParameterInfo
from analysis.sensitivity import ablation, dependence, robustness, scales, sentences, tunability
from analysis.sensitivity.eligibility import MINIMUM_TRIALS, obstacle, usable, within
from analysis.sensitivity.findings import IMPORTANCE, INTERACTIONS, QUALITY, Findings
from analysis.sensitivity.importance import (
    MINIMUM_R2,
    Importance,
    Refit,
    error_among_good,
    importance,
    refits,
    score,
)
from analysis.sensitivity.outcomes import Floats, Method, Outcomes, constant, loss_unit, outcomes

GOOD_QUANTILE = 0.25
NEAR = 5.0  # percent of loss that counts as near the best


def analyse(
    parameters: Sequence[ParameterInfo],
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    direction: str,
    rng: np.random.Generator,
    method: Method = "rank",
    num_refits: int = 20,
    workers: int = 1,
    study: str | None = None,
    coordinates: bool = True,
) -> Findings:
    """Analyse one study.

    Args:
        parameters: how each was searched.
        trials: of this study, columns as :mod:`analysis.load` gives them (``study``, ``number``, ``outcome``,
            ``value``, ``params``). Their order does not matter.
        curves: columns ``study`` (others' rows are ignored), ``number``, ``epoch``, ``value``.
        direction: ``"maximize"`` or ``"minimize"``.
        rng: everything random comes from it.
        method: how pruned and diverged trials get values, see :mod:`analysis.sensitivity.outcomes`.
        num_refits: bootstrap draws.
        workers: threads; the result does not depend on them.
        study: its name; by default that of the trials.
        coordinates: whether lr and rho, where they are there, are SOFIM's.
    """
    findings = Findings(study if study is not None else str(trials["study"].iloc[0]) if len(trials) else "")
    findings.parameters = {parameter.name: parameter for parameter in parameters}
    if "study" in curves.columns:
        curves = curves[curves["study"].isin(trials["study"].unique())]
    trials, outside = within(parameters, trials, direction)
    used = outcomes(trials, curves, direction=direction, method=method)
    findings.used = used
    findings.remarks = [*used.remarks, *outside]
    findings.sentences.extend([used.sentence, *findings.remarks])
    chosen, points, left_out = usable(parameters, used)
    findings.sentences.extend(left_out)
    reason = obstacle(trials, used, len(chosen))
    if outside and not len(trials):
        reason = "no trial lies in the searched ranges"
    if reason is not None:
        findings.sentences.insert(0, f"No conclusion can be drawn: {reason}.")
        return findings
    fitted = refits(points, used.goodness, rng, num_refits=num_refits, workers=workers)
    over_all = _importance(findings, fitted, used.goodness, chosen, "all", method)
    findings.put("partial_dependence", dependence.partial_dependence(fitted, chosen, used.sign))
    _divergence(findings, points, used, chosen, rng)
    if not findings.conclusive:
        return findings
    if over_all is not None:
        _regions(findings, points, used, trials, curves, over_all, chosen, rng, num_refits, workers, direction, method)
        _maps(findings, fitted, chosen, over_all, used.sign, coordinates)
    _around_best(findings, fitted, points, used, chosen, rng)
    return findings


def _importance(
    findings: Findings,
    fitted: Sequence[Refit],
    goodness: Floats,
    parameters: Sequence[ParameterInfo],
    region: str,
    method: str,
) -> Importance | None:
    """Put the rows of one region; ``None`` for a single parameter, of which shares say nothing."""
    r2 = score(fitted, goodness)
    conclusive = bool(r2 >= MINIMUM_R2)
    if region == "all":
        findings.conclusive = conclusive
    shares = importance(fitted, goodness)
    line = (region, method, len(goodness), r2, conclusive, shares.noise_first, shares.noise_total)
    findings.put("quality", pd.DataFrame([line], columns=list(QUALITY)))
    if len(parameters) == 1:
        findings.sentences.insert(0, sentences.single(parameters[0].name, r2, conclusive))
        return None
    names = [parameter.name for parameter in parameters]
    rows = [(name, *shares.first[:, j], *shares.total[:, j], region) for j, name in enumerate(names)]
    findings.put("importance", pd.DataFrame(rows, columns=list(IMPORTANCE)))
    if region == "all":
        pairs = [(names[j], names[k], *share) for (j, k), share in shares.pairs.items()]
        pairs.sort(key=lambda row: -row[2])
        findings.put("interactions", pd.DataFrame(pairs, columns=list(INTERACTIONS)))
    findings.sentences[0:0] = sentences.importance(names, shares, r2, conclusive, region)
    return shares


def _regions(
    findings: Findings,
    points: Floats,
    used: Outcomes,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    over_all: Importance,
    parameters: Sequence[ParameterInfo],
    rng: np.random.Generator,
    num_refits: int,
    workers: int,
    direction: str,
    method: Method,
) -> None:
    """Importance where it is good, and by the other way of valuing stopped trials."""
    # All that is worse than the best quarter counts as equally bad: what is left to explain is who gets into it, and
    # what varies inside. The uniform measure stays, which cutting the trials away would not allow.
    edge = float(np.quantile(used.goodness, 1 - GOOD_QUANTILE))
    capped = np.maximum(used.goodness, edge)
    head = findings.sentences
    findings.sentences = []
    if not constant(capped):
        fitted = refits(points, capped, rng, num_refits=num_refits, workers=workers)
        _importance(findings, fitted, capped, parameters, "good", method)
    else:
        findings.sentences.append("The best quarter of the trials are all equally good: nothing to explain among them.")
    findings.sentences = head + findings.sentences
    if not used.trials["outcome"].isin(["pruned", "diverged"]).any():
        return
    other: Method = "highest-common-epoch" if method == "rank" else "rank"
    again = outcomes(trials, curves, direction=direction, method=other)
    values = again.goodness
    other_points = scales.encode(parameters, list(again.trials["params"]))
    if len(values) < MINIMUM_TRIALS or constant(values):
        findings.sentences.append(f"Valued by {other}, too few trials differ to compare the two ways.")
        return
    fitted = refits(other_points, values, rng, num_refits=num_refits, workers=workers)
    r2, shares = score(fitted, values), importance(fitted, values)
    line = ("all", other, len(values), r2, bool(r2 >= MINIMUM_R2), shares.noise_first, shares.noise_total)
    findings.put("quality", pd.DataFrame([line], columns=list(QUALITY)))
    names = [parameter.name for parameter in parameters]
    findings.sentences.append(sentences.choice(names, over_all, shares, r2, method, other))


def _maps(
    findings: Findings,
    fitted: Sequence[Refit],
    parameters: Sequence[ParameterInfo],
    over_all: Importance,
    sign: float,
    coordinates: bool,
) -> None:
    j, k = max(over_all.pairs, key=lambda pair: over_all.pairs[pair][0])
    findings.put("map", dependence.pair_map(fitted, parameters, j, k, sign))
    names = [parameter.name for parameter in parameters]
    if not coordinates or "lr" not in names or "rho" not in names:
        return
    rate, rho = names.index("lr"), names.index("rho")
    findings.coordinates = dependence.effective_coordinates(fitted, parameters, rate, rho)
    if findings.coordinates is not None:
        findings.put("coordinates_map", dependence.pair_map(fitted, parameters, rate, rho, sign))
        findings.sentences.append(sentences.coordinates(findings.coordinates))


def _divergence(
    findings: Findings,
    points: Floats,
    used: Outcomes,
    parameters: Sequence[ParameterInfo],
    rng: np.random.Generator,
) -> None:
    share, table = robustness.divergence(points, used.failed, parameters, rng)
    findings.diverged = (float(used.failed.mean()), share)
    findings.put("divergence", table)
    if used.failed.any():
        findings.sentences.append(sentences.divergence(findings.diverged, used.causes, mapped=len(table) > 0))


def _around_best(
    findings: Findings,
    fitted: Sequence[Refit],
    points: Floats,
    used: Outcomes,
    parameters: Sequence[ParameterInfo],
    rng: np.random.Generator,
) -> None:
    if used.best is None:
        return
    best = points[used.best]
    unit, meaning = loss_unit(used.goodness[used.ordinary])
    error = error_among_good(fitted, used.goodness)
    table = robustness.robustness(fitted, parameters, best, unit, error)
    findings.put("robustness", table)
    findings.put("local", robustness.local_sensitivity(fitted, parameters, best, unit))
    resolved = set(table.loc[table["resolved"].astype(bool), "loss_percent"])
    if NEAR in resolved:
        findings.near_best = robustness.share_near_best(fitted, best, unit, rng, NEAR)
    if resolved:
        findings.sentences.extend(sentences.robust(table, findings.near_best, meaning, findings.parameters))
        findings.sentences.extend(_ridge(findings, fitted, parameters, best, unit, error))
    if NEAR not in resolved:
        findings.sentences.append(sentences.unresolved(error, NEAR, unit, meaning))
    for parameter, at in zip(parameters, best, strict=True):
        if np.isnan(at):
            findings.sentences.append(f"{parameter.name} is inactive in the best configuration.")
    missing = [parameter.name for parameter in parameters if parameter.default is None]
    if missing:
        findings.sentences.append(
            f"Without a default ({', '.join(missing)}), tunability and the path from the default cannot be told."
        )
        return
    default = np.array([scales.position(parameter, parameter.default) for parameter in parameters])
    if np.isnan(default).any():
        findings.sentences.append("A default is none of the choices: tunability cannot be told.")
        return
    gains = tunability.tunability(fitted, parameters, default, points, unit, rng)
    findings.put("tunability", gains)
    findings.put("ablation", ablation.ablation(fitted, parameters, default, best, used.sign))
    findings.sentences.append(sentences.tunable(gains))


def _ridge(
    findings: Findings,
    fitted: Sequence[Refit],
    parameters: Sequence[ParameterInfo],
    best: Floats,
    unit: float,
    error: float,
) -> list[str]:
    if findings.coordinates is None:
        return []
    names = [parameter.name for parameter in parameters]
    rates = names.index("lr"), names.index("rho")
    if np.isnan(best[list(rates)]).any():
        return []
    table = robustness.along_ridge(fitted, parameters, best, unit, error, rates)
    findings.put("robustness", table)
    return [sentences.ridge(table, parameters[rates[1]])]
