"""``sofim check`` as an author of an optimizer uses it."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from search_spaces import SEARCH_SPACES
from sofim.contract import CHECKS
from studies.cli import main

MINE = """
import torch
from sofim import OptimizerSpec

class Heavy(torch.optim.Optimizer):
    def __init__(self, params, lr=0.05, momentum=0.9):
        if not lr >= 0:
            raise ValueError("lr")
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                if param.grad.is_sparse:
                    raise RuntimeError("sparse")
                average = self.state[param].setdefault("average", torch.zeros_like(param))
                average.mul_(group["momentum"]).add_(param.grad)
                param.sub_(average * group["lr"])
        return loss

def demanding(params, *, lr):
    return Heavy(params, lr)

def empty_handed(params, lr=0.1):
    return [lr]

spec = OptimizerSpec("heavy", Heavy)
needy = OptimizerSpec("needy", demanding)
empty = OptimizerSpec("empty", empty_handed)
modes = OptimizerSpec("modes", Heavy, has_modes=True)
number = 3
"""
RESUMES = "resumes bit for bit from its state_dict"


@pytest.fixture
def check(tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Return the command, in a directory with a file of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments: str, mine: str = MINE) -> tuple[int, str, str]:
        monkeypatch.delitem(sys.modules, "mine", raising=False)
        (tmp_path / "mine.py").write_text(mine)
        with pytest.raises(SystemExit) as end:
            main(["check", *arguments])
        return end.value.code, *capsys.readouterr()

    yield run
    sys.modules.pop("mine", None)


def lines(out: str) -> dict[str, str]:
    """Return what is printed of each check on its line, by its name."""
    told = [line.strip() for line in out.splitlines()]
    return {
        check.name: " ".join(line.removeprefix(check.name).split())
        for check in CHECKS
        for line in told
        if line.startswith(f"{check.name}  ")
    }


@pytest.mark.slow
def test_an_optimizer_without_faults_passes_with_a_line_for_each_check(check):
    code, out, err = check("mine:spec")
    assert (code, err) == (0, "")
    told = lines(out)
    assert set(told) == {check.name for check in CHECKS}
    assert not any("FAIL" in text for text in told.values())
    assert told["is made as its row says"] == "OK Heavy"
    assert told["gives back its training weights after an evaluation"].startswith("not applicable has no train()")
    assert "its state is 1 times the parameters" in told["runs on a network of 99,000 parameters"]
    assert "mine:spec: all that tuning needs is there." in out


@pytest.mark.slow
def test_a_fault_that_tuning_minds_fails_the_command_and_says_what_to_mend(check):
    broken = MINE.replace(
        "self.state[param].setdefault", "self.__dict__.setdefault(f'average{id(param)}', {}).setdefault"
    )
    code, out, _ = check("mine:spec", mine=broken)
    assert code == 1
    told = lines(out)[RESUMES]
    assert told.startswith("FAIL a run that goes on from its state_dict")
    assert "keep all that step() reads in self.state[parameter]" in told
    assert "mine:spec: 1 check that tuning needs failed" in out


@pytest.mark.slow
def test_a_fault_that_tuning_does_not_mind_is_told_and_passes(check):
    code, out, _ = check("mine:spec", mine=MINE.replace("param.sub_(average", "param.grad.mul_(2); param.sub_(average"))
    assert code == 0
    assert "tuning does not need it, but what logs or clips gradients" in lines(out)["leaves gradients as they are"]
    assert "all that tuning needs is there; of what others rely on, 1 check failed." in out


@pytest.mark.slow
def test_a_row_of_the_table_is_checked_as_tuning_begins_with_it(check):
    code, out, _ = check("sgd")
    assert code == 0
    default = SEARCH_SPACES["sgd"].default
    assert out.startswith(f"sgd: lr={default['lr']}, momentum={default['momentum']}")


@pytest.mark.slow
def test_a_campaign_says_which_and_with_what(check, tmp_path):
    (tmp_path / "mine.toml").write_text(
        'name = "x"\nworkloads = ["digits-mlp"]\noptimizers = ["sgd"]\ntrials = 5\n[search_space.sgd]\nlr = 0.125\n'
    )
    code, out, _ = check("--campaign", "mine.toml")
    assert code == 0
    assert out.startswith("sgd: lr=0.125, ")


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ([], "which optimizer? one of sofim, sgd"),
        (["sdg"], "unknown optimizer 'sdg'"),
        (["nowhere:spec"], "nowhere"),
        (["mine:other"], "other"),
        (["mine:number"], "of type int"),
        (["mine:needy"], "mine:needy: raised TypeError: demanding() missing 1 required keyword-only argument: 'lr'"),
        (["mine:empty"], "mine:empty: it is no torch.optim.Optimizer but of type list"),
        (["mine:modes"], "set has_modes=False in its row"),
        (["sgd", "--campaign", "nowhere.toml"], "nowhere.toml"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(check, typed, says):
    code, _, err = check(*typed)
    assert code == 2
    assert err.count("\n") == 1
    assert says in err
