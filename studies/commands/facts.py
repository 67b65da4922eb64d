"""What is said of presets, workloads and optimizers; rows that load torch when they are run are read as text."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """Of a row of ``studies.workloads.WORKLOADS``: its metric, its target and its epoch budget."""

    metric: str
    meaning: str
    direction: str
    target: float | None
    epochs: int


def workloads() -> dict[str, WorkloadFacts]:
    """Return the facts of the project's workloads by name, in the order of ``studies.workloads.WORKLOADS``."""
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
    fields = _literals(row)
    [metric] = _calls(row, "Metric")
    name, direction = (ast.literal_eval(argument) for argument in metric.args[:2])
    facts = WorkloadFacts(name, _literals(metric).get("meaning", ""), direction, fields.get("target"), fields["epochs"])
    return fields["name"], facts


def presets() -> dict[str, tuple[int, int, int]]:
    """Return how many workloads, optimizers and trials a study each preset has, by name."""
    from studies.campaign.reading import PRESETS

    tables = {name: tomllib.loads(file.read_text(encoding="utf-8")) for name, file in PRESETS.items()}
    return {name: (len(row["workloads"]), len(row["optimizers"]), row["trials"]) for name, row in tables.items()}


def optimizers() -> dict[str, str]:
    """Return paper and implementation of each of ``sofim.OPTIMIZERS``, by key."""
    rows = _calls(_parsed(_directory("sofim") / "registry.py"), "OptimizerSpec")
    return {ast.literal_eval(row.args[0]): _literals(row)["source"] for row in rows}


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


def _literals(call: ast.Call) -> dict[str, Any]:
    """Return the keyword arguments that are written out."""
    return {word.arg: word.value.value for word in call.keywords if word.arg and isinstance(word.value, ast.Constant)}
