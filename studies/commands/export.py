"""``sofim export``: recommended configurations, as a document for programs or as lines of Python."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from search_spaces.errors import UserError
from studies.called import command_line
from studies.commands.python_line import code_line

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from analysis.defaults import Choice, Estimate, OptimizerDefaults, Recommendation
    from analysis.load import Study
    from search_spaces import SearchSpace, Value

FORMATS = ("toml", "json", "python", "yaml")
_PORTFOLIO = 8  # members of the portfolio of all optimizers
_SEED = 0

Document = dict[str, Any]
"""What is exported; only what TOML can hold."""

Evaluate = Callable[[Sequence["Study"], Sequence["Recommendation"]], None]
"""Is called with the studies, and with all that is recommended on their workloads."""


def export(
    storage: BaseStorage,
    shown: str,
    campaigns: Sequence[str],
    *,
    optimizers: Sequence[str] = (),
    workloads: Sequence[str] = (),
    exact: bool = False,
    evaluate: Evaluate | None = None,
    now: datetime.datetime | None = None,
) -> Document:
    """What campaigns recommend.

    Args:
        storage: Optuna's, with the campaigns.
        shown: the storage as a reader may see it.
        campaigns: their names; no two of them may have a study of the same optimizer on the same workload.
        optimizers: of these alone; all without any.
        workloads: likewise.
        exact: the best trials as they were, instead of robust configurations.
        evaluate: runs every recommendation on every workload that has a study of its optimizer, or what of that is
            not in the storage yet; regrets are then of these runs, and otherwise of surrogates.
        now: the date in it; by default now.

    Returns:
        ``made`` (by what, when), ``campaigns`` (their rules, by name), ``portfolio`` (what to try in turn, whatever the
        optimizer), and ``optimizers``: by key, ``default``, ``portfolio`` and ``workloads``.

    Raises:
        UserError: a campaign, an optimizer or a workload is not there, or nothing can be recommended.
    """
    import joblib
    import numpy as np

    from analysis.defaults import Evaluated, portfolio_of_all, recommend, surrogate_study
    from analysis.load import check_protocols, evaluations, read
    from analysis.pool import pool
    from search_spaces.errors import UserError
    from studies.training.allowance import cpus

    found = _studies(storage, shown, campaigns, optimizers, workloads)
    check_protocols(found)
    frames = read(storage, found)
    with pool(min(cpus(), len(found))) as parallel:
        surrogates = parallel(
            joblib.delayed(surrogate_study)(study, frames.trials, frames.curves, np.random.default_rng(_SEED))
            for study in found
        )
    every = recommend(surrogates, frames.trials, frames.confirmations, exact=exact)
    if not every:
        raise UserError(
            f"no trial of {', '.join(campaigns)} ran its whole budget, so there is nothing to recommend; "
            f"see how they ended with: {command_line('status', campaigns[0])}"
        )
    measured, regrets = None, "of surrogates"
    if evaluate is not None:
        evaluate(found, [one for defaults in every for one in defaults.workloads.values()])
        measured = Evaluated(evaluations(storage, found))
        configurations = {own.optimizer: [one.params for one in own.workloads.values()] for own in every}
        judged = [surrogate for surrogate in surrogates if surrogate.study.optimizer in configurations]
        regrets = f"of runs on {measured.seeds(judged, configurations)} fresh seeds"
        every = recommend(surrogates, frames.trials, frames.confirmations, exact=exact, measured=measured)
    by_pair = {(study.optimizer, study.workload): study for study in found}
    moment = now or datetime.datetime.now().astimezone()
    options = [*["--winner"] * exact, *["--evaluate"] * (measured is not None)]
    return {
        "made": {
            "by": " ".join(["sofim export", *campaigns, *options]),
            "version": importlib.metadata.version("sofim-studies"),
            "date": moment.date().isoformat(),
            "regrets": regrets,
        },
        "campaigns": {study.campaign["name"]: _rules(study) for study in reversed(found)},
        "portfolio": [_choice(choice) for choice in portfolio_of_all(surrogates, every, _PORTFOLIO, measured)],
        "optimizers": {defaults.optimizer: _defaults(defaults, by_pair) for defaults in every},
    }


def _studies(
    storage: BaseStorage, shown: str, campaigns: Sequence[str], optimizers: Sequence[str], workloads: Sequence[str]
) -> list[Study]:
    from analysis.load import campaigns as campaigns_in
    from analysis.load import studies
    from search_spaces import ANY
    from search_spaces.errors import suggestion

    there = campaigns_in(storage)
    found: list[Study] = []
    for name in dict.fromkeys(campaigns):
        own = studies(storage, name)
        if not own:
            listed = f"there are: {', '.join(there)}" if there else "there is none"
            raise UserError(f"no campaign '{name}' in {shown}; {listed}{suggestion(name, there)}")
        if any(study.optimizer == ANY for study in own):
            raise UserError(
                f"campaign '{name}' was made by sofim tune, which prints what it found; to see it again: "
                f"{command_line('tune', own[0].workload, '--name', name)} with the budget it had"
            )
        found += own
    for what, wanted, known in (
        ("optimizer", optimizers, [study.optimizer for study in found]),
        ("workload", workloads, [study.workload for study in found]),
    ):
        for name in wanted:
            if name not in known:
                every = ", ".join(dict.fromkeys(known))
                raise UserError(f"--{what} {name}: {', '.join(campaigns)} has only {every}{suggestion(name, known)}")
    found = [
        study
        for study in found
        if (not optimizers or study.optimizer in optimizers) and (not workloads or study.workload in workloads)
    ]
    pairs = [(study.optimizer, study.workload) for study in found]
    twice = next((pair for pair in pairs if pairs.count(pair) > 1), None)
    if twice:
        raise UserError(
            f"two of the campaigns have a study of {twice[0]} on {twice[1]}; export them one by one, or leave one out"
        )
    return found


def _rules(study: Study) -> Document:
    """What of a campaign its numbers depend on."""
    campaign = study.campaign
    kept = ("trials", "sampler", "pruner", "schedule", "seed", "amp")
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
    """A configuration, as it is stored and as arguments, and its evidence."""
    arguments = _arguments(one, study)
    batch_size = arguments.pop("batch_size")
    return {
        "from": one.workload,
        "batch_size": batch_size,
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
        raise _unreadable(study, error) from None


def stored_space(study: Study) -> SearchSpace:
    """The search space of a study, as it was stored.

    Raises:
        UserError: it was stored by another version.
    """
    from search_spaces import from_dict

    space = study.attributes.get("search_space")
    try:
        if not isinstance(space, Mapping):
            raise UserError(f"study '{study.name}' stores no search space")
        return from_dict(space)
    except (UserError, KeyError, TypeError) as error:
        raise _unreadable(study, error) from None


def _unreadable(study: Study, error: Exception) -> UserError:
    return UserError(
        f"study '{study.name}': its search space cannot be read ({error}); was it stored by another version?"
    )


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _estimate(name: str, estimate: Estimate) -> Document:
    """A number and its interval, as far as they are known: TOML and JSON have no NaN."""
    middle, low, high = estimate
    found = {name: _short(middle)} if math.isfinite(middle) else {}
    return {**found, f"{name}_interval": [_short(low), _short(high)]} if math.isfinite(low + high) else found


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def printed(document: Document, form: str, *, ascii_only: bool = False) -> str:
    """The document in a format; a newline at the end.

    Args:
        document: what is recommended.
        form: toml, json, python or yaml.
        ascii_only: write all other characters as the format's escapes, which read as the same values.
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
    """A line of code for each configuration, with where it comes from; every line runs, given a ``model``."""
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
    from search_spaces.errors import number_of

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
