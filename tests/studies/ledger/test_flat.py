"""The ledger's form: final classes with strategies handed in, none of which reaches into another."""

from __future__ import annotations

import ast
from pathlib import Path

LEDGER = Path(__file__).parents[3] / "studies" / "ledger"
TREES = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(LEDGER.glob("*.py"))}
OPTUNAS = {"_trial_id", "_study_id"}  # ids of frozen trials and studies, which have no public name
CLASSES = [node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def test_no_class_touches_private_members_of_another():
    touched = [
        f"{name}:{node.lineno} {ast.unparse(node)}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in OPTUNAS
        and ast.unparse(node.value) not in ("self", "cls")
    ]
    assert not touched


def test_a_class_inherits_nothing_private():
    """A budget is a rule, whose methods do nothing: there is no other heir."""
    ours = {node.name: node for node in CLASSES}
    heirs = {base.id for node in CLASSES for base in node.bases if isinstance(base, ast.Name) and base.id in ours}
    assert heirs == {"Rule"}
    assert "self._" not in ast.unparse(ours["Rule"])
