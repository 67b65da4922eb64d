"""``sofim export``: recommended configurations, each with what was measured of it."""

from __future__ import annotations

import datetime
import importlib.metadata
import math
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from analysis.optimizers import custom_optimizers
from analysis.schema import ended_by
from search_spaces import BATCH_SIZE, SEARCH_SPACES, WARMUP
from search_spaces.errors import UserError, number_of
from studies.commands.exported import ENDINGS, is_export, print_recommended, printed
from studies.commands.find import campaign_name, existing, without_password
from studies.commands.options import chosen_again, storage_again
from studies.commands.recommended import recommended, stored_space, unreadable_space
from studies.commands.screen import make_console, speaks_unicode, verbatim

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import BaseStorage

    from analysis.defaults import Choice, Estimate, Measured, OptimizerDefaults, Recommendation
    from analysis.load import Study
    from search_spaces import Value

_PORTFOLIO = 8  # members of the portfolio of all optimizers

Document = dict[str, Any]
"""What is exported; only what TOML can hold."""


def export_campaigns(
    campaigns: Sequence[str],
    storage: str,
    *,
    optimizers: tuple[str, ...],
    workloads: tuple[str, ...],
    robust: bool,
    form: str | None,
    out: Path | None,
) -> None:
    """Do what ``sofim export`` says, see there for the options.

    Unless a format is asked for, a file gets what its name ends with, or TOML; who reads it on a terminal gets a table;
    a pipe and another program get TOML.

    Raises:
        UserError: As of :func:`recommended`, or the file cannot be written, or is there and none of an export.
    """
    names = [campaign_name(name) for name in campaigns]
    if out is not None:
        _check_replaceable(out)
    with existing(storage) as opened:
        shown = without_password(storage)
        found = export(opened, shown, names, optimizers=optimizers, workloads=workloads, exact=not robust)
    if form is None:
        form = ENDINGS.get(out.suffix.lower(), "toml") if out else "table" if sys.stdout.isatty() else "toml"
    named = storage_again(storage)
    if form == "table" and out is None:
        print_recommended(found, make_console(), named)
        return
    if out is None:
        # a file that a locale's encoding was written to would be no TOML or JSON: ASCII is, in any
        sys.stdout.write(printed(found, form, ascii_only=not speaks_unicode(sys.stdout), storage=named))
        return
    text = printed(found, form, storage=named)
    _put(out, text)
    verbatim(make_console(), f"Recommended hyperparameters: {out}")


def _check_replaceable(out: Path) -> None:
    """Refuse, before the work, a file that is there and that no export wrote; an empty one is nobody's loss."""
    try:
        foreign = out.is_file() and out.stat().st_size > 0 and not is_export(out)
    except OSError as error:
        raise _unwritable(out, error) from None
    if foreign:
        raise UserError(f"--out {out}: is there and is no export; choose another --out, or remove it first")


def _put(out: Path, text: str) -> None:
    """Write a file whole or not at all; what is no file, such as a pipe, as it comes."""
    partial = None
    try:
        if out.exists() and not out.is_file():
            out.write_text(text, encoding="utf-8")
            return
        place = out.resolve()  # what a link leads to, not the link
        partial = place.with_name(f".{place.name}.{os.getpid()}.partial")  # another process may write there too
        partial.write_text(text, encoding="utf-8")
        partial.replace(place)
    except OSError as error:
        if partial is not None:
            with suppress(OSError):
                partial.unlink()
        raise _unwritable(out, error) from None


def _unwritable(out: Path, error: OSError) -> UserError:
    return UserError(f"--out {out}: cannot be written: {error.strerror or error}")


def export(
    storage: BaseStorage,
    shown: str,
    campaigns: Sequence[str],
    *,
    optimizers: Sequence[str] = (),
    workloads: Sequence[str] = (),
    exact: bool = False,
    now: datetime.datetime | None = None,
) -> Document:
    """Return what campaigns recommend, as a document.

    Regrets of an optimizer are of runs where ``sofim evaluate`` has run its every recommendation on every workload that
    has a study of it (a winner's confirmation runs count on its own workload), and otherwise of surrogates.

    Args:
        storage: As of :func:`recommended`, and so are the others.
        shown: Likewise.
        campaigns: Likewise.
        optimizers: Likewise.
        workloads: Likewise.
        exact: Likewise.
        now: The date in it; by default now.

    Returns:
        ``made`` (by what, when), ``campaigns`` (their rules, by name), ``portfolio`` (what to try in turn, whatever the
        optimizer), and ``optimizers``: by key, ``default``, ``portfolio`` and ``workloads``.

    Raises:
        UserError: As of :func:`recommended`.
    """
    from analysis.defaults import portfolio_of_all

    found = recommended(storage, shown, campaigns, optimizers=optimizers, workloads=workloads, exact=exact)
    every, runs = found.every, found.runs
    by_pair = {(study.optimizer, study.workload): study for study in found.studies}
    moment = now or datetime.datetime.now().astimezone()
    return {
        "made": {
            "by": shlex.join(
                ["sofim", "export", *campaigns, *chosen_again(optimizers, workloads), *["--winner"] * exact]
            ),
            "version": importlib.metadata.version("sofim-studies"),
            "date": moment.date().isoformat(),
            "regrets": _regrets(every),
        },
        "campaigns": {study.campaign["name"]: _rules(study) for study in reversed(found.studies)},
        "portfolio": [_choice(choice) for choice in portfolio_of_all(found.surrogates, every, _PORTFOLIO, runs)],
        "optimizers": {defaults.optimizer: _defaults(defaults, by_pair) for defaults in every},
    }


def _custom(study: Study) -> Document:
    """Return what a campaign says of an optimizer of a person's own, under the key that it has in its file."""
    table = custom_optimizers(study.campaign).get(study.optimizer)
    return {} if table is None else {"optimizer": dict(table)}


def _regrets(every: Sequence[OptimizerDefaults]) -> str:
    """Return what the regrets are of, in words."""
    ran = [one for one in every if one.seeds]
    if not ran:
        return "of surrogates"
    by_seeds: dict[int, list[str]] = {}
    for one in sorted(ran, key=lambda one: -one.seeds):
        by_seeds.setdefault(one.seeds, []).append(one.optimizer)
    told = [(number_of(seeds, "fresh seed"), names) for seeds, names in by_seeds.items()]
    if len(ran) == len(every):
        last = told.pop()[0]
        parts = [f"on {seeds} for {', '.join(names)}" for seeds, names in told]
        return "of runs " + "; ".join([*parts, f"on {last} for the others" if parts else f"on {last}"])
    parts = [f"on {seeds} for {', '.join(names)}" for seeds, names in told]
    return f"of runs {'; '.join(parts)}; partly of surrogates for the others"


def _rules(study: Study) -> Document:
    """Return what of a campaign its numbers depend on."""
    campaign = study.campaign
    kept = ("trials", "sampler", "pruner", "schedule", "warmup", "seed", "amp")
    return {
        **{name: campaign[name] for name in kept if name in campaign},
        **({"ended_by": ended} if (ended := ended_by(study.attributes)) else {}),
        "protocol": study.attributes.get("protocol", 0),
        "versions": dict(study.attributes.get("versions") or {}),
    }


def _defaults(defaults: OptimizerDefaults, studies: Mapping[tuple[str, str], Study]) -> Document:
    chosen = defaults.default.source
    expected = _estimate("regret", defaults.expected)
    measured = defaults.default.measured
    elsewhere = {
        name: {"metric": defaults.workloads[name].metric, **_runs(runs, defaults.workloads[name].scale)}
        for name, runs in measured.items()
        if name != chosen.workload
    }
    return {
        **_custom(studies[chosen.optimizer, chosen.workload]),
        "default": {
            **_entry(chosen, studies[chosen.optimizer, chosen.workload]),
            "mean_regret": float(defaults.default.regret),
            "left_out": {
                **expected,
                "workloads": {
                    name: {"from": one.source.workload}
                    | ({"regret": float(one.regret)} if math.isfinite(one.regret) else {})
                    for name, one in defaults.left_out.items()
                },
            },
            **({"elsewhere": elsewhere} if elsewhere else {}),
            "notes": [
                *defaults.notes,
                *(note for note in chosen.notes if note not in defaults.notes),
                *_unknown(studies[chosen.optimizer, chosen.workload]),
            ],
        },
        "portfolio": [_choice(choice) for choice in defaults.portfolio],
        "workloads": {
            name: {
                **_entry(one, studies[one.optimizer, name]),
                "notes": [*one.notes, *_unknown(studies[one.optimizer, name])],
            }
            for name, one in defaults.workloads.items()
        },
    }


def _choice(choice: Choice) -> Document:
    source = choice.source
    named = {"optimizer": source.optimizer, "workload": source.workload, "mean_regret": float(choice.regret)}
    return named | ({"notes": choice.losses} if choice.losses else {})


def _entry(one: Recommendation, study: Study) -> Document:
    """Return a configuration, as it is stored and as arguments, and its evidence."""
    arguments = _arguments(one, study)
    of_function = (study.attributes.get("search_space") or {}).get("of_function")  # all are arguments of that
    size, warmup = (None, None) if of_function else (arguments.pop(BATCH_SIZE), arguments.pop(WARMUP, None))
    return {
        "from": one.workload,
        **({} if size is None else {"batch_size": size}),
        **({} if warmup is None else {"warmup": warmup}),
        **({"schedule": study.attributes["schedule"]} if study.attributes.get("schedule") else {}),
        **({} if _unknown(study) else {"arguments": _all_plain(arguments)}),
        "params": {name: _plain(value) for name, value in one.params.items()},
        "evidence": {
            "campaign": study.campaign["name"],
            "kind": one.kind,
            "metric": one.metric,
            "direction": one.direction,
            "data": "training" if study.attributes.get("metric_split") == "train" else "validation",
            "trials": one.trials,
            "searches": one.searches,
            **_runs(one.measured, one.scale),
            **_estimate("predicted", one.predicted),
            **_estimate("winner_confirmed", one.winner_measured.mean),
            **(
                {"winner": {"params": _all_plain(one.winner), **_runs(one.winner_measured, one.scale)}}
                if one.winner is not None
                else {}
            ),
        },
    }


def _runs(measured: Measured, scale: str) -> Document:
    """Return what runs of one configuration on fresh seeds gave; no numbers where there are none."""
    if not measured.runs:
        return {"seeds": 0}
    broken = {name: getattr(measured, name) for name in ("diverged", "failed", "collapsed")}
    ends = {"median": measured.median, "worst": measured.worst}
    return {
        "seeds": measured.runs,
        **_estimate("geometric_mean" if scale == "log" else "mean", measured.mean),
        **{name: float(value) for name, value in ends.items() if math.isfinite(value)},
        **broken,
    }


def _all_plain(params: Mapping[str, object]) -> Document:
    return {name: _plain(value) for name, value in params.items() if value is not None}


def _unknown(study: Study) -> list[str]:
    """Return a note where this version does not know how values become the optimizer's arguments."""
    space = study.attributes.get("search_space")
    stored = isinstance(space, Mapping) and ("arguments" in space or space.get("file") is not None)
    if stored or study.optimizer in SEARCH_SPACES:
        return []
    return [f"this version knows no optimizer {study.optimizer}: params are what was searched, and no arguments follow"]


def _arguments(one: Recommendation, study: Study) -> dict[str, object]:
    if _unknown(study):
        return {**study.fixed, **one.params}
    try:
        return dict(stored_space(study).arguments(cast("Mapping[str, Value]", one.params)))
    except (UserError, KeyError, TypeError) as error:
        raise unreadable_space(study, error) from None


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _estimate(name: str, estimate: Estimate) -> Document:
    """Return a number and its interval, as far as they are known: TOML and JSON have no NaN."""
    middle, low, high = estimate
    found = {name: float(middle)} if math.isfinite(middle) else {}
    return {**found, f"{name}_interval": [float(low), float(high)]} if math.isfinite(low + high) else found
