"""The hyperparameters that ship with the package: read, used, and made by the command that says so."""

from __future__ import annotations

import lzma
import math
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from sofim import OPTIMIZERS, SOFIM, OptimizerSpec, recommended
from sofim.recommended import shipped

ROOT = Path(__file__).parents[2]


def test_what_ships_is_what_the_arguments_of_its_optimizer_are() -> None:
    for optimizer, own in shipped()["optimizers"].items():
        for workload in (None, *own["workloads"]):
            found = recommended(optimizer, workload)
            OPTIMIZERS[optimizer].factory(torch.nn.Linear(2, 1).parameters(), **found.arguments)
            assert found.batch_size >= 1
            assert (found.schedule, found.warmup) == (
                "cosine" if optimizer != "schedule-free-adamw" else "constant",
                0.05,
            )
            known = {"mean", "geometric_mean", "median"} & set(found.evidence)
            assert bool(known) == (found.evidence["seeds"] > found.evidence.get("diverged", 0))
            ends = [found.evidence.get("predicted", 0.0), *found.evidence.get("predicted_interval", [])]
            if found.evidence["metric"] == "accuracy":
                assert max(ends) <= 1
            assert min(ends) >= 0
            assert found.workload == (workload or found.workload) in own["workloads"]
            assert found.evidence["metric"] == own["workloads"][found.workload]["evidence"]["metric"]
            assert found.left_out.keys() <= ({"regret", "regret_interval"} if workload is None else set())
    assert set(shipped()["optimizers"]) == set(OPTIMIZERS), "of every optimizer something is recommended"


def test_sofim_is_recommended_on_a_transformer_and_on_what_nobody_has_tuned() -> None:
    SOFIM(torch.nn.Linear(2, 1).parameters(), **recommended("sofim").arguments)
    assert recommended("sofim", workload="digits-vit").evidence["campaign"] == "atlas"
    assert recommended("sofim").evidence["seeds"] >= 3
    low, high = recommended("sofim").left_out["regret_interval"]
    assert 0 <= low <= recommended("sofim").left_out["regret"] <= high
    assert (
        shipped()["made"]["regrets"] == "of runs on 3 fresh seeds for sofim, sgd, adamw; on 1 fresh seed for the others"
    )


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match=r"nothing is recommended of 'sofin', only of sofim, "):
        recommended("sofin")
    with pytest.raises(KeyError, match=r"nothing is recommended on 'cifar', only on breast-cancer-logreg, "):
        recommended("sofim", "cifar")


def test_of_what_nobody_measured_nothing_is_recommended(monkeypatch) -> None:
    rows = {**OPTIMIZERS, "newest": OptimizerSpec("newest", torch.optim.SGD, source="arXiv 1")}
    monkeypatch.setattr(sys.modules["sofim.recommended"], "OPTIMIZERS", rows)
    with pytest.raises(KeyError, match=r"nothing was measured of newest yet.*\(arXiv 1\)\. Measured are sofim, "):
        recommended("newest")


@pytest.mark.nightly
@pytest.mark.slow
def test_the_file_is_made_from_the_shipped_database_by_its_command_alone(tmp_path: Path, capsys) -> None:
    from studies.cli import main

    database = lzma.decompress((ROOT / "docs" / "atlas" / "atlas.db.xz").read_bytes())
    (tmp_path / "sofim.db").write_bytes(database)
    by = shipped()["made"]["by"].split()
    assert by[:2] == ["sofim", "export"]
    with pytest.raises(SystemExit) as end:
        main([*by[1:], "--storage", f"sqlite:///{tmp_path}/sofim.db"])
    assert not end.value.code
    remade = tomllib.loads(capsys.readouterr().out)
    same(remade, {**shipped(), "made": remade["made"]})
    assert {**remade["made"], "date": ""} == {**shipped()["made"], "date": ""}


def same(one: Any, other: Any, where: str = "") -> None:
    """Equal but for the last digits of what was computed, which another processor may round otherwise."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert list(one) == list(other), where
        for key, value in one.items():
            same(value, other[key], f"{where}.{key}")
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other), where
        for place, (first, second) in enumerate(zip(one, other, strict=True)):
            same(first, second, f"{where}[{place}]")
    elif isinstance(one, float) and isinstance(other, float):
        assert math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-9), (where, one, other)
    else:
        assert one == other, where
