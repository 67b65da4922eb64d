"""What every row of OPTIMIZERS must do, as tuning begins with it. A new row is tested for free."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from search_spaces import OF_TRAINING, SEARCH_SPACES
from sofim import OPTIMIZERS
from sofim.contract import CHECKS, Verdict

# Of a row's factory, where others than the defaults of its search space test more.
ARGUMENTS: dict[str, dict[str, object]] = {
    # With refreshes on both sides of an interruption.
    "nystrom-sgd": {"rank": 5, "update_period": 4},
}

# What tuning does not need, and a library's optimizer does not do, with what it raises.
KNOWN = {
    # It keeps attributes that torch's Optimizer.__getstate__ leaves out; state_dict carries all that matters.
    ("lbfgs", "is copied by deepcopy"): "_params",
    ("lbfgs", "is copied by pickle"): "_params",
    # Its line search divides by the learning rate, which is 0 at the end of some.
    ("lbfgs", "runs and resumes under all of torch's schedulers"): "ZeroDivisionError",
    # It goes along g, which in the valley points across it.
    ("sofim-gradient", "descends Rosenbrock's valley"): "after 600 steps",
}


def arguments(key):
    space = SEARCH_SPACES[key]
    chosen = space.arguments(space.default) | ARGUMENTS.get(key, {})
    return {name: value for name, value in chosen.items() if name not in OF_TRAINING}


# Checks that take many steps, which by day are made of our own optimizers alone.
LONG = {
    "converges on a quadratic",
    "converges on logistic regression",
    "descends Rosenbrock's valley",
    "runs and resumes under all of torch's schedulers",
}
OURS = {"sofim", "sofim-gradient", "sofim-tensor", "nystrom-sgd"}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("key", OPTIMIZERS)
def test_row_keeps_the_contract(key, check, nightly):
    if check.name in LONG and not (nightly or key in OURS):
        pytest.skip("with --nightly: a library's")
    outcome = check(OPTIMIZERS[key], arguments(key))
    if (key, check.name) in KNOWN:
        assert outcome.verdict is Verdict.FAIL
        assert not outcome.needed
        assert KNOWN[key, check.name] in outcome.reason
    else:
        assert outcome.verdict is not Verdict.FAIL, f"{outcome.reason}: {outcome.remedy}"


def test_keys_are_the_rows_own():
    assert set(OPTIMIZERS) == set(SEARCH_SPACES)
    assert all(key == spec.key and spec.source for key, spec in OPTIMIZERS.items())
    with pytest.raises(TypeError):
        OPTIMIZERS["new"] = OPTIMIZERS["sofim"]


def test_sgd_has_momentum_and_nesterov_as_an_option():
    x = nn.Parameter(torch.ones(2))
    assert OPTIMIZERS["sgd"].factory([x], lr=0.1).defaults["momentum"] == 0.9
    assert OPTIMIZERS["sgd"].factory([x], lr=0.1, nesterov=True).defaults["nesterov"] is True
    assert OPTIMIZERS["sgd"].factory([x], lr=0.1, momentum=0.5).defaults["momentum"] == 0.5


@pytest.mark.parametrize("key", OPTIMIZERS)
def test_wrong_arguments_are_refused_by_the_usual_exceptions(key):
    factory, params = OPTIMIZERS[key].factory, [nn.Parameter(torch.ones(2))]
    with pytest.raises(ValueError, match=r"lr|learning rate"):
        factory(params, lr=-1e-9)
    with pytest.raises(TypeError):
        factory(params, no_such_argument=1)
    with pytest.raises(ValueError, match="empty parameter list"):
        factory([])
