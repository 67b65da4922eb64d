"""The line of code for each optimizer runs, makes what the study trained with, and trains."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from search_spaces import SEARCH_SPACES
from search_spaces.errors import UserError
from sofim import OPTIMIZERS, OptimizerSpec
from studies.commands.python_line import code_line, needs_of_a_loop


def made(optimizer: str, arguments: dict[str, Any], **options: Any) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """What the line gives in an empty namespace, as a person types it."""
    imports, _, expression = code_line(optimizer, arguments, **options).partition("\n\n")
    assert all(line.startswith("from ") for line in imports.splitlines())
    assert "\n" not in expression
    namespace: dict[str, Any] = {"model": torch.nn.Linear(3, 2)}
    exec(imports, namespace)
    return namespace["model"], eval(expression, namespace)


@pytest.mark.filterwarnings("ignore:.*create_graph")  # the gradients are cleared after each step
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_line_makes_the_optimizer_and_it_trains(optimizer: str) -> None:
    space, spec = SEARCH_SPACES[optimizer], OPTIMIZERS[optimizer]
    arguments = space.arguments(space.default)
    model, found = made(optimizer, arguments)
    del arguments["batch_size"]
    same = spec.factory(model.parameters() if spec.groups is None else spec.groups(model), **arguments)
    assert type(found) is type(same)
    assert {key: found.param_groups[0].get(key) for key in arguments} == {
        key: same.param_groups[0].get(key) for key in arguments
    }

    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(16, 3, generator=generator), torch.randn(16, 2, generator=generator)

    def loss() -> torch.Tensor:
        return torch.nn.functional.mse_loss(model(inputs), targets)

    def closure() -> float:
        found.zero_grad()
        value = loss()
        torch.autograd.backward(value)
        return value.item()

    before = loss().item()
    for _ in range(3):
        if spec.needs_closure:
            found.step(closure)
            continue
        found.zero_grad()
        value = loss()
        if spec.needs_hessian:
            found.refresh(value)
        torch.autograd.backward(value, create_graph=spec.needs_create_graph)
        found.step()
        found.zero_grad(set_to_none=True)
    assert loss().item() < before


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_the_factory_adds_to_the_class_is_written_out(optimizer: str) -> None:
    factory = OPTIMIZERS[optimizer].factory
    preset = factory.keywords if isinstance(factory, partial) else {}
    line = code_line(optimizer, {"lr": 0.25})
    for key, value in preset.items():
        assert f"{key}={value!r}" in line
    assert len(made(optimizer, {"lr": 0.25})[1].param_groups) == 1


def test_numbers_are_whole_or_rounded_and_every_argument_is_python() -> None:
    arguments = {"lr": 0.123456789, "betas": (0.987654321, 0.5), "batch_size": 32}
    assert code_line("adam", arguments) == (
        "from torch.optim import Adam\n\nAdam(model.parameters(), lr=0.123456789, betas=(0.987654321, 0.5))"
    )
    assert "lr=0.1235, betas=(0.9877, 0.5))" in code_line("adam", arguments, digits=4)
    lbfgs = {"lr": 1.0, "line_search_fn": None, "max_iter": 4, "history_size": 10}
    assert code_line("lbfgs", lbfgs).endswith(
        "(model.parameters(), lr=1.0, line_search_fn=None, max_iter=4, history_size=10)"
    )
    assert "line_search_fn='strong_wolfe'" in code_line("lbfgs", lbfgs | {"line_search_fn": "strong_wolfe"})
    assert code_line("adahessian", {"lr": 1e-3}).startswith("from sofim.factories import adahessian\n\nadahessian(")
    assert code_line("muon", {}) == "from sofim.factories import muon, muon_groups\n\nmuon(muon_groups(model))"


def test_the_line_of_ones_own_imports_its_module_and_nothing_is_imported_for_it() -> None:
    arguments = {"lr": 0.5, "betas": (0.9, 0.99), "batch_size": 8}
    table = {"factory": "gone.deep:Lion", "groups": "gone:split"}
    assert code_line("lion", arguments, table=table) == (
        "import gone.deep\nimport gone\n\ngone.deep.Lion(gone.split(model), lr=0.5, betas=(0.9, 0.99))"
    )
    assert code_line("mine", arguments, table={"spec": "gone:spec"}) == (
        "import gone\n\ngone.spec.factory(model.parameters(), lr=0.5, betas=(0.9, 0.99))"
    )
    assert code_line("mine", arguments, table={"spec": "__main__:mine"}).startswith(
        "# mine: the sofim.OptimizerSpec that"
    )
    # of a row that this process has imported, more is known
    row = OptimizerSpec("mine", torch.optim.SGD, needs_closure=True, has_modes=True)
    assert [word in " ".join(needs_of_a_loop(row)) for word in ("step(closure)", "optimizer.eval()")] == [True, True]
    assert "step(closure)" in " ".join(needs_of_a_loop({"factory": "gone:Slow", "needs_closure": True}))
    row = replace(row, groups=lambda model: [{"params": list(model.parameters())}])
    line = code_line("mine", {"lr": 0.5}, table={"spec": "gone:spec"}, row=row)
    assert line.endswith("gone.spec.factory(gone.spec.groups(model), lr=0.5)")


def test_an_unknown_optimizer_is_a_mistake_in_one_line() -> None:
    with pytest.raises(UserError, match=r"unknown optimizer 'adma': known are .*; did you mean adam"):
        code_line("adma", {})
