"""What is said of presets, workloads and optimizers.

Tables that load torch when they are imported are read as text; where a row is not written out, they are imported.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from studies.workloads._targets import target_origins

_NOT_WRITTEN_OUT = (LookupError, ValueError, StopIteration)


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """Of a row of ``studies.workloads.WORKLOADS``: metric, target, how that came about, epoch budget."""

    metric: str
    meaning: str
    direction: str
    target: float | None
    epochs: int
    origin: str = ""


def workloads() -> dict[str, WorkloadFacts]:
    """Return the facts of the project's workloads by name, in the order of ``studies.workloads.WORKLOADS``."""
    origins = target_origins()
    return {name: replace(facts, origin=origins.get(name, "")) for name, facts in _without_origins().items()}


def _without_origins() -> dict[str, WorkloadFacts]:
    try:
        return _workloads_as_written()
    except _NOT_WRITTEN_OUT:
        from studies.workloads import WORKLOADS

        rows = WORKLOADS.items()
        return {
            name: WorkloadFacts(row.metric.name, row.metric.meaning, row.metric.direction, row.target, row.epochs)
            for name, row in rows
        }


def _workloads_as_written() -> dict[str, WorkloadFacts]:
    home = _directory("studies") / "workloads"
    table = next(node for node in ast.walk(_parsed(home / "_rows.py")) if isinstance(node, ast.DictComp))
    order = [row.id for row in ast.walk(table.generators[0].iter) if isinstance(row, ast.Name)]
    rows = {}
    for path in home.glob("[!_]*.py"):
        for assigned in _parsed(path).body:
            if isinstance(assigned, ast.Assign) and isinstance(assigned.targets[0], ast.Name):
                for row in _calls(assigned, "Workload"):
                    rows[assigned.targets[0].id] = row
    return dict(_workload(rows[row]) for row in order)


def _workload(row: ast.Call) -> tuple[str, WorkloadFacts]:
    given = _arguments(row, ("name", "load", "model", "loss", "metric", "target", "epochs"))
    metric = given["metric"]
    if not (isinstance(metric, ast.Call) and ast.unparse(metric.func) == "Metric"):
        raise ValueError("a metric that is made elsewhere")
    of = _arguments(metric, ("name", "direction", "function", "split", "finish", "meaning"))
    facts = WorkloadFacts(
        metric=ast.literal_eval(of["name"]),
        meaning=_literal(of, "meaning", ""),
        direction=ast.literal_eval(of["direction"]),
        target=_literal(given, "target", None),
        epochs=_literal(given, "epochs", 10),
    )
    return ast.literal_eval(given["name"]), facts


def presets() -> dict[str, tuple[int, int, int]]:
    """Return how many workloads, optimizers and trials a study each preset has, by name."""
    from studies.campaign.reading import PRESETS

    tables = {name: tomllib.loads(file.read_text(encoding="utf-8")) for name, file in PRESETS.items()}
    return {name: (len(row["workloads"]), len(row["optimizers"]), row["trials"]) for name, row in tables.items()}


def optimizers() -> dict[str, str]:
    """Return paper and implementation of each of ``sofim.OPTIMIZERS``, by key."""
    try:
        rows = _calls(_parsed(_directory("sofim") / "registry.py"), "OptimizerSpec")
        given = [_arguments(row, ("key", "factory")) for row in rows]
        return {ast.literal_eval(row["key"]): _literal(row, "source", "") for row in given}
    except _NOT_WRITTEN_OUT:
        from sofim import OPTIMIZERS

        return {key: row.source for key, row in OPTIMIZERS.items()}


def _directory(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _calls(node: ast.AST, name: str) -> Iterator[ast.Call]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == name:
            yield call


def _arguments(call: ast.Call, positional: Sequence[str]) -> dict[str, ast.expr]:
    """Return the arguments of a call by their names; :exc:`ValueError` where some are not written out."""
    named = {word.arg: word.value for word in call.keywords if word.arg is not None}
    if len(named) < len(call.keywords) or any(isinstance(argument, ast.Starred) for argument in call.args):
        raise ValueError("arguments that are made elsewhere")
    return dict(zip(positional[: len(call.args)], call.args, strict=True)) | named


def _literal(arguments: Mapping[str, ast.expr], name: str, default: Any) -> Any:
    return ast.literal_eval(arguments[name]) if name in arguments else default
