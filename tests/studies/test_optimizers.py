"""Optimizers of a person's own: looked up, stored as data, read where they are not installed, carried and sent."""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import SearchSpace
from search_spaces.errors import UserError
from sofim import OPTIMIZERS, OptimizerSpec
from studies.campaign.extension import differences, join
from studies.campaign.plan import CampaignPlan
from studies.campaign.reading import load_file, name_in_file
from studies.commands.find import _launched
from studies.commands.tuning._tuned import code_lines
from studies.ledger.winner import ConfirmedWinner
from studies.optimizers import check_made, code_of, listed, resolve
from studies.workloads import _pickled, content
from tests.support.own_optimizer import CAMPAIGN, MINE

LR = {"low": 1e-4, "high": 1e-1, "log": True, "default": 1e-2}
ABSENT = {"gone": {"factory": "nobody_has_this:Gone", "arguments": {"betas": ["beta1", 0.9]}}}
FIELDS: dict[str, Any] = {
    "name": "c",
    "workloads": ["digits-mlp"],
    "optimizers": ["sgd", "gone"],
    "trials": 3,
    "optimizer": ABSENT,
    "search_space": {"gone": {"lr": LR, "beta1": 0.5}},
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A person's directory with an optimizer in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "own.toml").write_text(CAMPAIGN)
    yield tmp_path
    sys.modules.pop("mine", None)


def test_a_table_is_a_row_and_counts_the_passes_that_its_kind_takes(home: Path) -> None:
    table: dict[str, Any] = {"factory": "mine:Signed", "groups": "mine:signed", "has_modes": True}
    row = resolve("signed", {"signed": table})
    assert (row.key, row.factory.__name__, row.groups.__name__) == ("signed", "Signed", "signed")  # type: ignore[attr-defined, union-attr]
    assert (row.has_modes, row.needs_closure, row.evaluations_per_step) == (True, False, 1)
    kinds = ({"needs_closure": True}, {"needs_create_graph": True}, {"needs_closure": True, "evaluations_per_step": 3})
    table = {"factory": "mine:Signed", "has_modes": True, "schedule": "constant", "needs_hessian": True}
    CampaignPlan.of({**FIELDS, "optimizers": ["sgd"], "optimizer": {"signed": table}, "search_space": {}})
    assert (resolve("signed", {"signed": table}).schedule, resolve("signed", {"signed": table}).needs_hessian) == (
        "constant", True,
    )  # fmt: skip
    rows = [resolve("signed", {"signed": {"factory": "mine:Signed", **kind}}) for kind in kinds]
    assert [one.evaluations_per_step for one in rows] == [0, 2, 3]
    by_path, by_key = resolve("mine:spec"), resolve("signed-row", {"signed-row": {"spec": "mine:spec"}})
    assert by_path == by_key
    assert isinstance(by_key.space, SearchSpace)
    assert by_key.space.arguments(by_key.space.default) == {"lr": 1e-2, "beta1": 0.9, "batch_size": 64}
    assert resolve("sgd") is OPTIMIZERS["sgd"]
    with pytest.raises(UserError, match=r"unknown optimizer 'sined': known are .*; did you mean signed\?$"):
        resolve("sined", {"signed": table})


def test_a_campaign_is_read_where_its_optimizer_is_not(home: Path) -> None:
    plan = CampaignPlan.of(FIELDS)
    assert plan.spaces["gone"].arguments({"lr": 0.1}) == {"lr": 0.1, "betas": (0.5, 0.9), "batch_size": 64}
    assert CampaignPlan.from_stored(plan.stored()).stored() == plan.stored()
    row = CampaignPlan.of({**FIELDS, "optimizers": ["sgd"]}, {"optimizer": {"signed-row": {"spec": "mine:spec"}}})
    assert row.campaign.optimizers == ("sgd", "signed-row")
    (home / "mine.py").unlink()
    del sys.modules["mine"]
    again = CampaignPlan.from_stored(row.stored())
    assert again.stored() == row.stored()
    assert again.spaces["signed-row"].default == {"lr": 1e-2, "beta1": 0.9, "batch_size": 64}
    (home / "row.toml").write_text(
        CAMPAIGN.split("[search_space", maxsplit=1)[0].replace("factory", "spec").replace("arguments", "#")
    )
    assert name_in_file(home / "row.toml") == "own"
    with pytest.raises(UserError, match="there is no module mine in"):
        load_file(home / "row.toml")
    assert "mine" not in sys.modules


def test_a_campaign_that_defines_none_is_stored_as_before_there_were_any() -> None:
    plain = {key: FIELDS[key] for key in ("name", "workloads", "trials")} | {"optimizers": ["sgd"]}
    assert "optimizer" not in CampaignPlan.of(plain).stored()


def test_one_is_added_to_a_campaign_and_not_changed_in_it(home: Path) -> None:
    before = CampaignPlan.of({**FIELDS, "optimizers": ["sgd"], "optimizer": {}, "search_space": {}}).stored()
    joined, different = join(before, CampaignPlan.of(FIELDS).stored())
    assert not different
    assert joined["optimizers"] == ["sgd", "gone"]
    assert CampaignPlan.from_stored(joined).campaign.optimizer == ABSENT
    other = CampaignPlan.of({**FIELDS, "optimizer": {"gone": {**ABSENT["gone"], "has_modes": True}}}).stored()
    assert differences(CampaignPlan.of(FIELDS).stored(), other) == ["optimizer of gone changed"]


def test_with_few_trials_the_note_says_how_its_parameters_are_searched() -> None:
    from studies.campaign.resolve import campaign_notes

    table = {"lr": LR, "eps": LR}
    fields = {"optimizers": ["gone"], "optimizer": {"gone": {"factory": "a:b"}}, "search_space": {"gone": table}}
    [note] = campaign_notes(CampaignPlan.of({**FIELDS, **fields}))
    assert "eps, batch_size of gone; a range" in note
    assert note.endswith("searches one of them, of your own optimizers rank = 1 beside it.")


def test_a_row_that_lies_in_no_module_is_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pickled, "_carried", {})
    row = OptimizerSpec("in-a-cell", lambda params, lr: torch.optim.SGD(params, lr=lr), space={"lr": LR})
    names, tables = listed(["sgd", row, OPTIMIZERS["adam"]])
    assert names == ("sgd", "in-a-cell", "adam")
    assert tables == {"in-a-cell": {"spec": "__main__:in_a_cell"}}
    assert resolve("in-a-cell", tables).factory is row.factory
    sent = content("__main__:in_a_cell", "optimizer")
    assert sent is not None
    assert isinstance(pickle.loads(sent).factory([torch.zeros(1, requires_grad=True)], lr=0.1), torch.optim.SGD)
    for wrong, message in (
        ([row, row], "optimizers: two have the key in-a-cell"),
        ([torch.optim.SGD], "optimizers: SGD is no optimizer's key"),
        ([3], "optimizers: of type int is no optimizer's key"),
        ([OptimizerSpec("sgd", torch.optim.SGD)], "sgd is an optimizer of the project's own"),
    ):
        with pytest.raises(UserError, match=message):
            listed(wrong)


def test_what_lies_in_the_person_s_directory_is_sent_and_what_is_installed_is_not(home: Path) -> None:
    (home / "deep").mkdir()
    (home / "deep" / "__init__.py").write_text("from torch.optim import SGD\n")
    for path in ("mine:Signed", "deep:SGD", "torch.optim:Adam"):
        resolve("own", {"own": {"factory": path}})
    found = [*code_of({"factory": "mine:Signed", "groups": "torch.optim:Adam"}), *code_of({"factory": "deep:SGD"})]
    assert found == [home / "mine.py", home / "deep"]
    del sys.modules["deep"]


def test_a_row_is_made_with_the_groups_of_the_model_and_must_have_a_learning_rate() -> None:
    seen: list[object] = []

    def groups(model: torch.nn.Module) -> list[dict[str, Any]]:
        seen.append(model)
        return [{"params": [parameter], "lr": 0.1} for parameter in model.parameters()]

    def without(parameters: Any, lr: float) -> torch.optim.Optimizer:
        made = torch.optim.SGD(parameters, lr=lr)
        made.param_groups[0]["lr"] = None
        return made

    model = torch.nn.Linear(2, 1)
    check_made(OptimizerSpec("own", torch.optim.SGD, groups=groups), model, {"lr": 0.1, "batch_size": 3})
    assert seen == [model]
    with pytest.raises(UserError, match=r"^optimizer own: its parameter groups have lr = None, which the schedule"):
        check_made(OptimizerSpec("own", without), model, {"lr": 0.1})


def test_a_search_that_ones_own_wins_ends_with_its_line(home: Path) -> None:
    for key, table in (("signed", {"factory": "mine:Signed"}), ("signed-row", {"spec": "mine:spec"})):
        found = ConfirmedWinner(0, key, {}, {"lr": 0.5, "batch_size": 8}, tuned=0.1)
        made = "mine.Signed" if key == "signed" else "mine.spec.factory"
        assert code_lines(found, {key: table}, of_function=False).splitlines()[:4] == [
            "import mine", "", f"optimizer = {made}(model.parameters(), lr=0.5)", "batch_size = 8"
        ]  # fmt: skip


def test_the_remedy_for_a_search_with_ones_own_names_it() -> None:
    stored = {"name": "c", "workloads": ["digits-mlp"], "budget": {"trials": 3}, "optimizers": ["signed-row", "sgd"]}
    for path, remedy in (
        ("mine:spec", "sofim tune digits-mlp --name c --budget 3 --optimizers mine:spec,sgd"),
        ("__main__:spec", "studies.tune('digits-mlp', optimizers=[spec, 'sgd'], name='c', budget='3')"),
    ):
        with pytest.raises(UserError, match=re.escape(f"goes on with it: {remedy}")):
            _launched({**stored, "optimizer": {"signed-row": {"spec": path}}}, "sqlite:///sofim.db")
