"""A table and a figure are added by one module and one row."""

from __future__ import annotations

import datetime

import pandas as pd
import pytest

from analysis import report
from analysis.figures import FIGURES, Drawn, Panel, _style
from analysis.figures._base import FigureKind
from analysis.load import studies
from analysis.sensitivity.findings import TABLES, Table
from studies.storage.database import close_storage, open_storage
from tests.support.report_studies import make, ridge

pytestmark = pytest.mark.slow
NOW = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)


def toy_table(fit):
    return pd.DataFrame({"parameter": fit.names, "toy_share": 0.25})


def toy_figure(subject):
    figure, axes = _style.canvas(1.0)
    axes.plot([0, 1])
    return Drawn("A toy", f"Drawn of {subject.study.name}.", [Panel("", figure)])


def test_a_row_each_adds_a_table_and_a_figure(tmp_path, monkeypatch):
    monkeypatch.setitem(
        TABLES, "toy", Table(("parameter", "toy_share"), shown=True, percent=("toy_share",), compute=toy_table)
    )
    monkeypatch.setitem(FIGURES, "toy", FigureKind("study", toy_figure))
    make(f"sqlite:///{tmp_path}/db", ridge, trials=40, workloads=["digits-mlp"], optimizers=["sofim"])
    storage = open_storage(f"sqlite:///{tmp_path}/db", create=False)
    [study] = studies(storage)
    few = report.Options(num_refits=2, workers=1)
    report.write(storage, [study], tmp_path / "out", title="T", source="db", together=False, options=few, now=NOW)
    close_storage(storage)
    table = pd.read_csv(tmp_path / "out" / "tables" / "toy.csv")
    assert list(table.columns) == ["study", "parameter", "toy_share"]
    assert len(table)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "toy share, %" in page
    assert "A toy" in page
    assert (tmp_path / "out" / "figures" / "digits-mlp-sofim-toy.svg").exists()
