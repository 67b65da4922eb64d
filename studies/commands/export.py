"""``sofim export``: recommended configurations, as a document for programs or as lines of Python."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from search_spaces import BATCH_SIZE, WARMUP
from search_spaces.errors import UserError, number_of
from studies.commands.find import campaign_name, existing, without_password
from studies.commands.python_line import code_line
from studies.commands.recommended import recommended, stored_space, unreadable_space
from studies.commands.screen import make_console, speaks_unicode, verbatim

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import BaseStorage

    from analysis.defaults import Choice, Estimate, OptimizerDefaults, Recommendation
    from analysis.load import Study
    from search_spaces import Value

FORMATS = ("toml", "json", "python", "yaml")
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
    form: str,
    out: Path | None,
) -> None:
    """Do what ``sofim export`` says, see there for the options.

    Raises:
        UserError: As of :func:`recommended`, or the file cannot be written.
    """
    names = [campaign_name(name) for name in campaigns]
    with existing(storage) as opened:
        shown = without_password(storage)
        found = export(opened, shown, names, optimizers=optimizers, workloads=workloads, exact=not robust)
    if out is None:
        # a file that a locale's encoding was written to would be no TOML or JSON: ASCII is, in any
        sys.stdout.write(printed(found, form, ascii_only=not speaks_unicode(sys.stdout)))
        return
    text = printed(found, form)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror or error}") from None
    verbatim(make_console(), f"Recommended hyperparameters: {out}")


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

    Regrets are of evaluation runs where ``sofim evaluate`` has run every recommendation on every workload that has a
    study of its optimizer, and otherwise of surrogates.

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
    from analysis.defaults import Evaluated, portfolio_of_all, recommend
    from analysis.load import evaluations

    found = recommended(storage, shown, campaigns, optimizers=optimizers, workloads=workloads, exact=exact)
    every, frames = found.every, found.frames
    configurations = {own.optimizer: [one.params for one in own.workloads.values()] for own in every}
    judged = [surrogate for surrogate in found.surrogates if surrogate.study.optimizer in configurations]
    runs = Evaluated(evaluations(storage, found.studies))
    seeds = runs.seeds(judged, configurations)
    measured = runs if seeds else None
    if seeds:
        every = recommend(found.surrogates, frames.trials, frames.confirmations, exact=exact, measured=measured)
    by_pair = {(study.optimizer, study.workload): study for study in found.studies}
    moment = now or datetime.datetime.now().astimezone()
    return {
        "made": {
            "by": " ".join(["sofim export", *campaigns, *["--winner"] * exact]),
            "version": importlib.metadata.version("sofim-studies"),
            "date": moment.date().isoformat(),
            "regrets": f"of runs on {seeds} fresh seeds" if seeds else "of surrogates",
        },
        "campaigns": {study.campaign["name"]: _rules(study) for study in reversed(found.studies)},
        "portfolio": [_choice(choice) for choice in portfolio_of_all(found.surrogates, every, _PORTFOLIO, measured)],
        "optimizers": {defaults.optimizer: _defaults(defaults, by_pair) for defaults in every},
    }


def _rules(study: Study) -> Document:
    """Return what of a campaign its numbers depend on."""
    campaign = study.campaign
    kept = ("trials", "sampler", "pruner", "schedule", "warmup", "seed", "amp")
    return {
        **{name: campaign[name] for name in kept if name in campaign},
        "protocol": study.attributes.get("protocol", 0),
        "versions": dict(study.attributes.get("versions") or {}),
    }


def _defaults(defaults: OptimizerDefaults, studies: Mapping[tuple[str, str], Study]) -> Document:
    chosen = defaults.default.source
    expected = _estimate("regret", defaults.expected)
    return {
        "default": {
            **_entry(chosen, studies[chosen.optimizer, chosen.workload]),
            "mean_regret": _short(defaults.default.regret),
            "left_out": {
                **expected,
                "workloads": {
                    name: {"from": one.source.workload}
                    | ({"regret": _short(one.regret)} if math.isfinite(one.regret) else {})
                    for name, one in defaults.left_out.items()
                },
            },
            "notes": [*defaults.notes, *chosen.notes],
        },
        "portfolio": [_choice(choice) for choice in defaults.portfolio],
        "workloads": {
            name: {**_entry(one, studies[one.optimizer, name]), "notes": list(one.notes)}
            for name, one in defaults.workloads.items()
        },
    }


def _choice(choice: Choice) -> Document:
    source = choice.source
    return {"optimizer": source.optimizer, "workload": source.workload, "mean_regret": _short(choice.regret)}


def _entry(one: Recommendation, study: Study) -> Document:
    """Return a configuration, as it is stored and as arguments, and its evidence."""
    arguments = _arguments(one, study)
    batch_size, warmup = arguments.pop(BATCH_SIZE), arguments.pop(WARMUP, None)
    return {
        "from": one.workload,
        "batch_size": batch_size,
        **({} if warmup is None else {"warmup": warmup}),
        "arguments": {name: _plain(value) for name, value in arguments.items() if value is not None},
        "params": {name: _plain(value) for name, value in one.params.items()},
        "evidence": {
            "campaign": study.campaign["name"],
            "kind": one.kind,
            "metric": one.metric,
            "direction": one.direction,
            "data": "training" if study.attributes.get("metric_split") == "train" else "validation",
            "trials": one.trials,
            "seeds": one.seeds,
            **_estimate("predicted", one.predicted),
            **_estimate("winner_confirmed", one.confirmed),
        },
    }


def _arguments(one: Recommendation, study: Study) -> dict[str, object]:
    try:
        return dict(stored_space(study).arguments(cast("Mapping[str, Value]", one.params)))
    except (UserError, KeyError, TypeError) as error:
        raise unreadable_space(study, error) from None


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _estimate(name: str, estimate: Estimate) -> Document:
    """Return a number and its interval, as far as they are known: TOML and JSON have no NaN."""
    middle, low, high = estimate
    found = {name: _short(middle)} if math.isfinite(middle) else {}
    return {**found, f"{name}_interval": [_short(low), _short(high)]} if math.isfinite(low + high) else found


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def printed(document: Document, form: str, *, ascii_only: bool = False) -> str:
    """Return the document in a format; a newline at the end.

    Args:
        document: What is recommended.
        form: One of :data:`FORMATS`.
        ascii_only: Write all other characters as the format's escapes, which read as the same values.
    """
    if form == "json":
        return json.dumps(document, indent=2, ensure_ascii=ascii_only) + "\n"
    if form == "yaml":
        import yaml

        return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=not ascii_only))
    if form == "toml":
        import tomli_w

        text = tomli_w.dumps(document)  # of basic strings alone, keys included, which take escapes anywhere
        return "".join(map(_toml_escape, text)) if ascii_only else text
    if form == "python":
        text = "\n".join(_lines(document)) + "\n"
        return text.encode("ascii", "backslashreplace").decode() if ascii_only else text
    raise UserError(f"--format {form}: must be one of {', '.join(FORMATS)}")


def _toml_escape(character: str) -> str:
    code = ord(character)
    return character if code < 128 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _lines(document: Document) -> Iterator[str]:
    """Yield a line of code for each configuration, with where it comes from; every line runs, given a ``model``."""
    made = document["made"]
    yield f"# {made['by']}, {made['date']}"
    imports: list[str] = []
    body: list[str] = []
    for optimizer, defaults in document["optimizers"].items():
        several = len(defaults["workloads"]) > 1
        entries = [("all workloads", defaults["default"])] if several else []
        for where, entry in [*entries, *defaults["workloads"].items()]:
            imported, _, line = code_line(optimizer, _as_python(entry["arguments"])).partition("\n\n")
            imports.append(imported)
            body += ["", f"# {optimizer}, {where}: {_evidence(entry)}", *(f"# {note}" for note in entry["notes"])]
            body.append(f"batch_size, optimizer = {entry['batch_size']}, {line}")
    yield from sorted(set(imports))
    yield from body


def _evidence(entry: Document) -> str:
    told = entry["evidence"]
    said = f"{told['kind']} of {number_of(told['trials'], 'trial')} of {told['campaign']}"
    if "winner_confirmed" in told:
        value = f"{told['winner_confirmed']:.4g}"
        if "winner_confirmed_interval" in told:
            value += " [{:.4g}, {:.4g}]".format(*told["winner_confirmed_interval"])
        said += (
            f"; its winner's {told['metric']} on {told['data']} data {value} over {number_of(told['seeds'], 'seed')}"
        )
    if "left_out" in entry and "regret" in entry["left_out"]:
        said += f"; regret on a workload left out {entry['left_out']['regret']:.2g}"
    return said


def _as_python(arguments: Mapping[str, object]) -> dict[str, object]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
