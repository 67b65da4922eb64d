"""All that is known about one study, from its trials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.metric_scale import Scale, scale_of
from analysis.parameters import ParameterInfo
from analysis.sensitivity import ablation, dependence, robustness, scales, sentences, tunability
from analysis.sensitivity.eligibility import MINIMUM_TRIALS, obstacle, usable, within
from analysis.sensitivity.findings import IMPORTANCE, INTERACTIONS, QUALITY, TABLES, Findings
from analysis.sensitivity.fit import Fit
from analysis.sensitivity.importance import (
    EVEN,
    MINIMUM_R2,
    Importance,
    Refit,
    error_limit,
    guessed,
    importance,
    refits,
    score,
    score_of_space,
)
from analysis.sensitivity.outcomes import METHODS, Floats, Method, constant, outcomes

GOOD_QUANTILE = 0.25
GUESSED = 0.5  # beside the spread of the values, what stopped runs may be guessed to gain in an even search
NEAR = 5.0  # percent of loss that counts as near the best


def analyse(
    parameters: Sequence[ParameterInfo],
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    direction: str,
    rng: np.random.Generator,
    method: Method = METHODS[0],
    scale: Scale | None = None,
    metric: str = "value",
    num_refits: int = 20,
    workers: int = 1,
    study: str | None = None,
    coordinates: bool = True,
    measured: pd.DataFrame | None = None,
    ablation_command: str = "",
) -> Findings:
    """Analyse one study.

    Args:
        parameters: How each was searched.
        trials: Of this study, columns as :mod:`analysis.load` gives them (``study``, ``number``, ``outcome``,
            ``value``, ``params``). Their order does not matter.
        curves: Columns ``study`` (others' rows are ignored), ``number``, ``epoch``, ``value``.
        direction: ``"maximize"`` or ``"minimize"``.
        rng: Everything random comes from it.
        method: How pruned and diverged trials get values, see :mod:`analysis.sensitivity.outcomes`.
        scale: Of the metric; ``None``: what its values look like, see `analysis.metric_scale.scale_of`.
        metric: Its name, for sentences.
        num_refits: Bootstrap draws.
        workers: Threads; the result does not depend on them.
        study: Its name; by default that of the trials.
        coordinates: Whether lr and rho, where they are there, are SOFIM's.
        measured: Of this study, what was run of the default and the path from there, see
            `analysis.sensitivity.ablation.measured`; ``None`` where nothing was.
        ablation_command: What runs these; empty where nothing can be added to the study.
    """
    findings = Findings(study if study is not None else str(trials["study"].iloc[0]) if len(trials) else "")
    findings.ablation_command = ablation_command
    findings.parameters = {parameter.name: parameter for parameter in parameters}
    if "study" in curves.columns:
        curves = curves[curves["study"].isin(trials["study"].unique())]
    findings.nothing_better = _default_is_best(parameters, trials, direction)
    trials, outside = within(parameters, trials, direction)
    ended = trials.loc[trials["outcome"] == "complete", "value"].to_numpy(np.float64)
    told = scale_of(scale, ended, direction)
    used = outcomes(trials, curves, direction=direction, method=method, scale=told)
    findings.used, findings.metric = used, metric
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
    fit = Fit(chosen, points, used, fitted, rng, num_refits, workers)
    over_all = _importance(findings, fit, fitted, used.goodness, "all", method)
    for name, table in TABLES.items():
        if table.compute is not None:
            findings.put(name, table.compute(fit))
    _divergence(findings, fit)
    if not score(fitted, used.goodness) >= MINIMUM_R2:
        if used.best is not None:
            findings.put("robustness", robustness.untold(chosen, points[used.best]))
        return findings
    if over_all is not None and findings.conclusive:
        _good_region(findings, fit, method)
        _other_method(findings, fit, over_all, trials, curves, direction, method)
        _maps(findings, fit, over_all, coordinates)
    _around_best(findings, fit, measured)
    return findings


def _default_is_best(parameters: Sequence[ParameterInfo], trials: pd.DataFrame, direction: str) -> bool:
    """Return whether the default of all parameters is, or shares, the best of all complete trials."""
    complete = trials[trials["outcome"] == "complete"]
    best = complete["value"].max() if direction == "maximize" else complete["value"].min()
    return any(
        all(ablation.same(params.get(one.name, one.default), one.default) for one in parameters)
        for params in complete.loc[complete["value"] == best, "params"]
    )


def _importance(
    findings: Findings, fit: Fit, fitted: Sequence[Refit], goodness: Floats, region: str, method: str
) -> Importance | None:
    """Put the rows of one region; return ``None`` for a single parameter, of which shares say nothing."""
    r2 = score_of_space(fitted, goodness)
    shares = importance(fitted, goodness, fit.used.imputed)
    names, enough = fit.names, bool(r2 >= MINIMUM_R2)
    conclusive = enough and (len(names) == 1 or bool(shares.stands_out.any()))
    if region == "all":
        findings.conclusive = conclusive
        findings.even = fitted[0].even >= EVEN and guessed(fitted, goodness, fit.used.imputed) < GUESSED
    _put_quality(findings, region, method, len(goodness), r2, shares, conclusive)
    if len(names) == 1:
        findings.sentences.insert(0, sentences.single(names[0], r2, conclusive))
        return None
    out = shares.stands_out & conclusive
    rows = [(name, *shares.first[:, j], *shares.total[:, j], out[j], region) for j, name in enumerate(names)]
    findings.put("importance", pd.DataFrame(rows, columns=list(IMPORTANCE)))
    if region == "all":
        pairs = [(names[j], names[k], *share) for (j, k), share in shares.pairs.items()]
        pairs.sort(key=lambda row: -row[2])
        findings.put("interactions", pd.DataFrame(pairs, columns=list(INTERACTIONS)))
    findings.sentences[0:0] = sentences.importance(names, shares, r2, enough, region, findings.even)
    return shares


def _put_quality(
    findings: Findings, region: str, method: str, trials: int, r2: float, shares: Importance, conclusive: bool
) -> None:
    line = (region, method, trials, r2, conclusive, shares.noise_first, shares.noise_total)
    findings.put("quality", pd.DataFrame([line], columns=list(QUALITY)))


def _good_region(findings: Findings, fit: Fit, method: Method) -> None:
    """Put importance where it is good."""
    # All that is worse than the best quarter counts as equally bad: what is left to explain is who gets into it, and
    # what varies inside. The uniform measure stays, which cutting the trials away would not allow.
    goodness = fit.used.goodness
    capped = np.maximum(goodness, float(np.quantile(goodness, 1 - GOOD_QUANTILE)))
    head = findings.sentences
    findings.sentences = []
    if not constant(capped):
        _importance(findings, fit, fit.again(fit.points, capped), capped, "good", method)
    else:
        findings.sentences.append("The best quarter of the trials are all equally good: nothing to explain among them.")
    findings.sentences = head + findings.sentences


def _other_method(
    findings: Findings,
    fit: Fit,
    over_all: Importance,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    direction: str,
    method: Method,
) -> None:
    """Put importance by the other way of valuing stopped trials."""
    if not fit.used.trials["outcome"].isin(["pruned", "diverged"]).any():
        return
    other = next(one for one in METHODS if one != method)
    again = outcomes(trials, curves, direction=direction, method=other, scale=fit.used.scale)
    values = again.goodness
    if len(values) < MINIMUM_TRIALS or constant(values):
        findings.sentences.append(f"Valued by {other}, too few trials differ to compare the two ways.")
        return
    fitted = fit.again(scales.encode(fit.parameters, list(again.trials["params"])), values)
    r2, shares = score_of_space(fitted, values), importance(fitted, values, again.imputed)
    _put_quality(findings, "all", other, len(values), r2, shares, bool(r2 >= MINIMUM_R2))
    findings.sentences.append(sentences.choice(fit.names, over_all, shares, r2, method, other))


def _maps(findings: Findings, fit: Fit, over_all: Importance, coordinates: bool) -> None:
    fitted, parameters, in_metric = fit.fitted, fit.parameters, fit.used.metric
    j, k = max(over_all.pairs, key=lambda pair: over_all.pairs[pair][0])
    findings.put("map", dependence.pair_map(fitted, parameters, j, k, in_metric))
    if not coordinates or not {"lr", "rho"} <= {*fit.names}:
        return
    rate, rho = fit.names.index("lr"), fit.names.index("rho")
    findings.coordinates = dependence.effective_coordinates(fitted, parameters, rate, rho)
    if findings.coordinates is not None:
        findings.put("coordinates_map", dependence.pair_map(fitted, parameters, rate, rho, in_metric))
        findings.sentences.append(sentences.coordinates(findings.coordinates))


def _divergence(findings: Findings, fit: Fit) -> None:
    used = fit.used
    share, table = robustness.divergence(fit.points, used.failed, fit.parameters, fit.rng)
    findings.diverged = (float(used.failed.mean()), share)
    findings.put("divergence", table)
    if used.failed.any():
        findings.sentences.append(sentences.divergence(findings.diverged, used.causes, mapped=len(table) > 0))


def _around_best(findings: Findings, fit: Fit, measured: pd.DataFrame | None) -> None:
    fitted, parameters, used = fit.fitted, fit.parameters, fit.used
    if used.best is None:
        return
    best = fit.points[used.best]
    unit, meaning = used.loss_unit
    error = error_limit(fitted, used.goodness)
    table = robustness.robustness(fitted, parameters, best, unit, error, used.metric)
    findings.put("robustness", table)
    findings.put("local", robustness.local_sensitivity(fitted, parameters, best, unit))
    resolved = set(table.loc[table["resolved"].astype(bool), "loss_percent"])
    if NEAR in resolved:
        findings.near_best = robustness.share_near_best(fitted, best, unit, fit.rng, NEAR)
    if resolved:
        findings.sentences.extend(sentences.robust(findings, table, meaning))
        findings.sentences.extend(_ridge(findings, fit, best, unit, error))
    if NEAR not in resolved:
        findings.sentences.append(sentences.unresolved(error, NEAR, unit, meaning, used.scale))
    for parameter, at in zip(parameters, best, strict=True):
        if np.isnan(at):
            findings.sentences.append(f"{parameter.name} is inactive in the best configuration.")
    _from_default(findings, fit, used.best, measured)


def _from_default(findings: Findings, fit: Fit, best: int, measured: pd.DataFrame | None) -> None:
    """Put the default and the path from there to the best trial (a row of the used ones), as far as they were run."""
    fitted, parameters, used = fit.fitted, fit.parameters, fit.used
    missing = [parameter.name for parameter in parameters if parameter.default is None]
    if missing:
        findings.sentences.append(
            f"Without a default ({', '.join(missing)}), tunability and the path from the default cannot be told."
        )
        return
    default = np.array([scales.position(parameter, parameter.default) for parameter in parameters])
    if not np.isfinite(default).all():
        findings.sentences.append("A default is none of the choices: tunability cannot be told.")
        return
    changes = ablation.path(fitted, parameters, default, fit.points[best])
    number = int(used.trials["number"].iloc[best])
    table = ablation.planned(changes)
    gain = (float("nan"),) * 3
    if measured is not None and len(measured):
        run = ablation.measured(measured, number, used.sign, used.scale)
        table = run if len(run) else table
        gain = ablation.whole_gain(measured, number, used.sign, used.scale)
    findings.put("ablation", table)
    unit = used.loss_unit[0] if used.scale == "linear" else float("nan")
    findings.put("tunability", tunability.tunability(gain, unit))
    findings.sentences.append(sentences.tunable(findings, table, gain, used.scale))


def _ridge(findings: Findings, fit: Fit, best: Floats, unit: float, error: float) -> list[str]:
    if findings.coordinates is None:
        return []
    rates = fit.names.index("lr"), fit.names.index("rho")
    if np.isnan(best[list(rates)]).any():
        return []
    table = robustness.along_ridge(fit.fitted, fit.parameters, best, unit, error, fit.used.metric, rates)
    findings.put("robustness", table)
    return [sentences.ridge(table, fit.parameters[rates[1]])]
