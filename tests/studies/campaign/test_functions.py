"""Campaigns of training functions: what their files say, and what is refused before any trial."""

from __future__ import annotations

import sys
import tomllib

import pytest

from search_spaces import from_dict
from search_spaces.errors import UserError
from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import custom_tables, resolve_campaign
from studies.commands.confirm import without_test
from studies.commands.tuning import _plan
from studies.commands.tuning._plan import DEFAULT
from studies.workloads import Metric, TrainingFunction

LR = {"low": 1e-3, "high": 1.0, "log": True, "default": 0.1}


def loop(run):
    yield from [0.5] * run.epochs


@pytest.fixture(autouse=True)
def mine(monkeypatch):
    """The person's module, with a training function, what is none, and one that serves closures."""
    module = type(sys)("mine_functions")
    metric = Metric("accuracy", "maximize")
    module.loop = loop
    module.task = TrainingFunction("task", loop, metric, epochs=3)
    module.serving = TrainingFunction("serving", loop, metric, epochs=3, serves=("needs_closure",))
    module.no_run = TrainingFunction("no-run", (lambda: (yield 0.5)), metric, epochs=3)
    monkeypatch.setitem(sys.modules, "mine_functions", module)
    return module


def plan(workload="mine_functions:task", optimizers=("mine",), overrides=None, **fields):
    space = {"mine": {"lr": LR, "hidden": {"choices": [8, 16]}, "layers": 2}}
    base = {"name": "c", "workloads": [workload], "optimizers": list(optimizers), "trials": 30, "search_space": space}
    return CampaignPlan.of({**base, **fields}, overrides)


def test_a_search_space_needs_no_optimizer_and_no_batch_size():
    resolved = resolve_campaign(plan())
    (study,) = resolved.study_plans()
    assert study.space.arguments(study.space.default) == {"lr": 0.1, "hidden": 8, "layers": 2}
    assert (study.metric, study.direction, study.epochs) == ("accuracy", "maximize", 3)
    assert custom_tables(resolved.campaign) == {"mine": {}}
    assert any("nothing of it is run before" in note for note in resolved.notes)
    stored = resolved.plan.stored()
    again = CampaignPlan.from_stored(stored)
    assert again.stored() == stored
    assert from_dict(stored["spaces"]["mine"]).of_function


def test_it_stands_beside_optimizers_and_may_be_left_out():
    resolved = resolve_campaign(plan(optimizers=("sgd", "mine", "adamw")))
    assert [study.optimizer for study in resolved.study_plans()] == ["sgd", "mine", "adamw"]
    assert plan(optimizers=("sgd", "mine"), overrides={"optimizers": ("sgd",)}).campaign.search_space == {}
    assert plan(optimizers=("sgd", "mine"), overrides={"optimizers": ("mine",)}).campaign.optimizers == ("mine",)


def test_its_lack_of_test_data_leaves_those_of_other_workloads(mine):
    asked = plan(optimizers=("sgd",), search_space={}, workloads=["digits-mlp", "mine_functions:task"])
    resolved = resolve_campaign(asked, test=True)
    assert {study.workload: study.tested for study in resolved.study_plans()} == {
        "digits-mlp": True,
        "mine_functions:task": False,
    }
    assert without_test(resolved) == " Without test data: mine_functions:task."
    assert (
        without_test(resolve_campaign(plan(workload="digits-mlp", optimizers=("sgd",), search_space={}), test=True))
        == ""
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"workload": "digits-mlp"}, "'mine' is an unknown optimizer"),
        ({"workloads": ["mine_functions:task", "digits-mlp"]}, "mine is no optimizer that is known, .*digits-mlp is"),
        ({"optimizers": ["mine", "sgdd"]}, "'sgdd' is an unknown optimizer.*did you mean sgd"),
        ({"search_space": {"mine": {"lr": LR}, "sgdd": {"lr": LR}}}, "sgdd is an unknown optimizer"),
        ({"schedule": "cosine"}, "schedule = 'cosine': mine is a search space without an optimizer"),
        ({"warmup": 0.1}, "warmup = 0.1: mine is"),
        ({"warmup": [0.0, 0.1]}, r"warmup = \[0.0, 0.1\]: mine is"),
        ({"amp": True}, "amp = true: mine_functions:task is a training function"),
        ({"resplit": True}, "resplit = true: mine_functions:task is a training function"),
        ({"search_space": {"mine": {"lr": [0.1, 1.0]}}}, "lr = .* says neither its scale nor its default"),
        ({"optimizers": ["any"], "search_space": {"any": {"lr": LR}}}, "the word has another meaning"),
        (
            {"optimizers": ["sgd", "lbfgs", "adahessian"], "search_space": {}},
            r"lbfgs needs optimizer.step\(closure\), ",
        ),
        ({"optimizers": ["sgd", "lbfgs"], "search_space": {}}, "--optimizers sgd; or have the loop do it"),
        ({"workload": "mine_functions:loop"}, "loop is a training function, of which metric and epochs must be known"),
        ({"workload": "mine_functions:no_run"}, "its function must take one argument"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(fields, said):
    with pytest.raises(UserError, match=said) as refused:
        resolve_campaign(plan(**fields))
    assert "\n" not in str(refused.value)


def test_a_search_space_called_nearly_as_an_optimizer_is_told_before_it_runs():
    near = plan(optimizers=("sgd", "sofin"), search_space={"sofin": {"lr": LR}})
    said = "sofin: no optimizer is called so, only a search space; did you mean sofim?"
    assert said in resolve_campaign(near).notes
    own = plan(
        optimizers=("myopt", "myop"),
        search_space={"myopt": {"lr": LR}, "myop": {"lr": LR}},
        optimizer={"myopt": {"factory": "torch.optim:SGD"}},
    )
    assert "did you mean myopt?" in " ".join(resolve_campaign(own).notes), "one's own too"
    assert "no optimizer" not in " ".join(
        resolve_campaign(plan(optimizers=("sgd", "mine"), search_space={"mine": {"lr": LR}})).notes
    )


def test_a_loop_that_serves_closures_is_compared_with_lbfgs():
    resolved = resolve_campaign(plan("mine_functions:serving", ("sgd", "lbfgs"), search_space={}))
    assert [study.optimizer for study in resolved.study_plans()] == ["sgd", "lbfgs"]


def test_a_campaign_file_says_it_in_toml():
    text = """
    name = "c"
    workloads = ["mine_functions:task"]
    optimizers = ["mine"]
    trials = 3
    [search_space.mine]
    lr = { low = 1e-3, high = 1.0, log = true, default = 0.1 }
    """
    assert list(CampaignPlan.of(tomllib.loads(text)).spaces["mine"].declared) == ["lr"]


@pytest.mark.parametrize(
    ("workload", "asked", "said"),
    [
        (loop, {}, "loop is a training function: give metric and epochs too"),
        (loop, {"metric": "accuracy"}, "give epochs too"),
        (loop, {"metric": "accuracy", "epochs": 3}, 'say direction = "maximize"'),
        (loop, {"metric": Metric("a", "minimize"), "direction": "minimize", "epochs": 3}, "the Metric says it"),
        (loop, {"metric": "loss of it", "direction": "minimize", "epochs": 3}, "the name of a metric is"),
        ("digits-mlp", {"metric": "accuracy"}, "is for a plain function; a workload has its metric"),
        (
            TrainingFunction("task", loop, Metric("a", "minimize"), 3),
            {"metric": "err"},
            "a TrainingFunction has its metric: leave it out",
        ),
    ],
)
def test_tune_says_what_it_must_know_of_a_plain_function(workload, asked, said):
    known = {"metric": None, "direction": None, "epochs": None}
    with pytest.raises(UserError, match=said):
        _plan.with_metric(workload, **{**known, **asked})


@pytest.mark.parametrize(
    ("workload", "space", "optimizers", "said"),
    [
        ("digits-mlp", {"lr": LR}, DEFAULT, "digits-mlp is no training function"),
        ("mine_functions:task", {"lr": LR}, "sgd", "stands in the place of optimizers"),
        ("mine_functions:task", {}, DEFAULT, "must be a table"),
        ("mine_functions:task", {"narrow": {"lr": LR}, "wide": {"lr": LR}}, DEFAULT, "tune takes one space"),
        ("mine_functions:task", {"lr": 0.1}, DEFAULT, "every parameter of configuration is fixed"),
    ],
)
def test_tune_refuses_a_search_space_of_nobody(workload, space, optimizers, said):
    from studies.commands.budget import parse_budget

    with pytest.raises(UserError, match=said):
        _plan.resolve_campaign(
            workload, parse_budget(3), optimizers, name=None, seed=0, epochs=None, seeds=3, data_directory=None,
            search_space=space,
        )  # fmt: skip
