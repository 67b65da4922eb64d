"""A person's own loop as a trial: what it is given, what becomes of what it yields, and where it goes on."""

from __future__ import annotations

import copy
import json
import math
import pickle
import random
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from search_spaces.errors import UserError
from sofim import OPTIMIZERS
from studies.engine._checkpoints import LocalStore
from studies.training import worker
from studies.training.function_run import FunctionRun
from studies.training.schedules import SCHEDULES
from studies.trials import Assignment
from studies.workloads import Metric, TrainingFunction
from studies.workloads._function import declared

ACCURACY = Metric("accuracy", "maximize")
EPOCHS = 3


class MemoryStore:
    """Checkpoints in memory; trials go on until ``stops``."""

    def __init__(self):
        self.saved, self.stops = {}, False

    def save(self, key, content):
        self.saved[key] = content

    def load(self, key):
        return self.saved.get(key)

    def stop_requested(self):
        return self.stops


@pytest.fixture
def sent(monkeypatch):
    """Runs a training function as a trial, and returns the messages."""

    def run(function, *, store=None, send_seconds=math.inf, send=None, test=False, optimizer="mine", **options):
        module = type(sys)("function_probe")
        module.task = TrainingFunction("task", function, ACCURACY, EPOCHS, test=test)
        monkeypatch.setitem(sys.modules, "function_probe", module)
        monkeypatch.setattr(worker, "SEND_SECONDS", send_seconds)
        monkeypatch.setattr(worker, "_greeted", True)
        worker._workload.cache_clear()
        messages = []
        asked = Assignment(
            "c/w/mine", 0, "function_probe:task", optimizer, {"lr": 0.1}, seed=1, epochs=EPOCHS, test=test,
            checkpoint="one" if store else "",
        )  # fmt: skip
        options = worker.TrainingOptions(optimizers='{"mine": {}}', **options)
        worker.run(asked, options, send or messages.append, store or LocalStore(Path("/nowhere"), "token"))
        return messages

    return run


def yielding(values):
    """A function that yields these."""

    def function(_run):
        yield from values

    return function


def drawn(run):
    """Draws from every global generator, without a seed."""
    for _ in range(run.epochs):
        yield random.random() + np.random.rand() + torch.rand(()).item()  # noqa: NPY002


def test_a_function_that_seeds_nothing_repeats_and_leaves_the_generators_alone(sent):
    random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002
    expected = random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002
    random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002
    first = [record["metric"] for record in sent(drawn)[0]["records"]]
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == expected  # noqa: NPY002
    torch.rand(7)
    assert [record["metric"] for record in sent(drawn)[0]["records"]] == first
    assert len(set(first)) == EPOCHS


def test_a_record_has_what_was_yielded_and_nothing_that_nobody_knows(sent):
    def function(run):
        yield torch.tensor(0.5)
        yield {"accuracy": np.float32(0.25), "loss": 2, "train_loss": 3.0, "test_accuracy": 0.9}
        yield 1

    records = sent(function)[0]["records"]
    assert [record["metric"] for record in records] == [0.5, 0.25, 1.0]
    assert records[0].keys() == {"epoch", "seconds", "metric"}
    assert records[1].keys() == {*records[0], "validation_loss", "train_loss"}  # test data are for confirmation runs


def test_test_data_are_told_in_confirmation_runs_and_must_be_there_if_promised(sent):
    def function(run):
        assert run.test
        for _ in range(run.epochs):
            yield {"accuracy": 0.5, "test_accuracy": 0.4}

    assert sent(function, test=True)[0]["records"][0]["test_metric"] == 0.4
    failure = sent(yielding([0.5]), test=True)[0]["failure"]
    assert "test = True, and it yielded no test_accuracy" in failure


def raises(run):
    yield 0.5
    raise RuntimeError("no more")


@pytest.mark.parametrize(
    ("function", "end", "epochs", "said"),
    [
        (yielding([0.1, 0.2]), "failed", 2, "it ended after 2 of 3 epochs"),
        (yielding([0.1] * 9), "complete", 3, None),
        (yielding([0.1, math.nan, 0.2]), "diverged", 2, None),
        (yielding([0.1, {"accuracy": 0.1, "loss": math.inf}]), "diverged", 2, None),
        (yielding([{"accuracy": math.nan, "loss": 1.0}]), "failed", 0, "NaN in epoch 1 though its loss is"),
        (yielding([{"acuracy": 0.1}]), "failed", 0, "'acuracy'.*did you mean accuracy"),
        (yielding([{"loss": 0.1}]), "failed", 0, "epoch 1 has no accuracy, its metric"),
        (yielding(["much"]), "failed", 0, "accuracy that it yielded in epoch 1 is of type str, not a number"),
        (yielding([None]), "failed", 0, "of type None, not a number"),
        (yielding([True]), "failed", 0, "of type bool, not a number"),
        (raises, "failed", 1, "test_function_run.py.*RuntimeError: no more"),
    ],
)
def test_each_way_to_end_has_its_state_and_says_why(sent, function, end, epochs, said):
    (message,) = sent(function)
    assert (message["end"], len(message["records"])) == (end, epochs)
    if said is None:
        assert message["failure"] is None
    else:
        import re

        assert re.search(said, message["failure"], re.DOTALL), message["failure"]


def test_the_function_is_closed_when_the_trial_is_stopped_and_at_the_end_of_its_budget(sent):
    closed = []

    def function(run):
        try:
            while True:
                yield 0.5
        finally:
            closed.append(random.random())
            raise RuntimeError("of the closing: it changes nothing")

    def send(_message):
        raise SystemExit  # as Ray does where a trial is pruned

    with pytest.raises(SystemExit):
        sent(function, send_seconds=0.0, send=send)
    assert len(closed) == 1
    (message,) = sent(function)
    assert message["end"] == "complete"
    assert len(closed) == 2


# -- the optimizer that is tuned --------------------------------------------------------------------------------------


def trained(run, rates, **options):
    model = nn.Linear(2, 1)
    optimizer = run.optimizer(model, **options)
    for _ in range(run.epochs):
        for _ in range(4):
            optimizer.zero_grad()
            model(torch.ones(3, 2)).pow(2).mean().backward()
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
        yield 0.5


def test_the_optimizer_follows_the_schedule_step_by_step(sent):
    rates = []
    sent(partial(trained, rates=rates, steps_per_epoch=4), optimizer="sgd", schedule="cosine")
    assert rates == [0.1 * SCHEDULES["cosine"](step, 12) for step in range(12)]


@pytest.mark.parametrize(
    ("options", "loop", "said"),
    [
        ({"schedule": "cosine"}, partial(trained, rates=[]), "the campaign's schedule is cosine"),
        ({"warmup": 0.1}, partial(trained, rates=[]), "constant with a warm-up of 0.1"),
        ({"schedule": "linear"}, partial(trained, rates=[], steps_per_epoch=5), "4 steps were taken in 1 epoch"),
        ({}, yielding([0.5] * 3), "never called run.optimizer"),
    ],
)
def test_a_comparison_of_optimizers_that_would_not_be_one_is_refused(sent, options, loop, said):
    (message,) = sent(loop, optimizer="sgd", **options)
    assert said in message["failure"]


def test_a_scheduler_of_the_loop_beside_that_of_the_campaign_is_refused(sent):
    def function(run):
        model = nn.Linear(2, 1)
        optimizer = run.optimizer(model, steps_per_epoch=1)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        for _ in range(run.epochs):
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            scheduler.step()
            yield 0.5

    assert "something else sets the learning rate" in sent(function, optimizer="sgd", schedule="linear")[0]["failure"]


def test_a_search_space_without_an_optimizer_makes_none(sent):
    assert "mine is a search space without an optimizer" in sent(partial(trained, rates=[]))[0]["failure"]


# -- going on ---------------------------------------------------------------------------------------------------------


def with_state(run, begun=None):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=run.configuration["lr"])
    state = run.resume()
    if begun is not None:
        begun.append(run.epoch)
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    for _ in range(run.epoch, run.epochs):
        optimizer.zero_grad()
        loss = model(torch.rand(8, 2)).pow(2).mean()
        loss.backward()
        optimizer.step()
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        yield {"accuracy": loss.item() + random.random(), "state": state}


def stopped_after_one(sent, function, store):
    store.stops = True
    (message,) = sent(function, store=store, send_seconds=-1.0)
    store.stops = False
    assert (message["end"], len(message["records"])) == ("interrupted", 1)
    return message


def test_a_function_that_yields_its_state_goes_on_from_it_bit_for_bit(sent):
    whole = [record["metric"] for record in sent(with_state)[0]["records"]]
    store, begun = MemoryStore(), []
    assert stopped_after_one(sent, partial(with_state, begun=begun), store)["saved"]
    (message,) = sent(partial(with_state, begun=begun), store=store)
    assert [record["metric"] for record in message["records"]] == whole
    assert (begun, message["facts"]["resumed"]) == ([0, 1], 1)


def test_a_function_without_a_state_begins_again_and_gives_the_same(sent):
    whole = [record["metric"] for record in sent(drawn)[0]["records"]]
    store = MemoryStore()
    message = stopped_after_one(sent, drawn, store)
    assert not message["saved"]
    assert "checkpoint_failure" not in message["facts"]
    (message,) = sent(drawn, store=store)
    assert [record["metric"] for record in message["records"]] == whole


def test_a_state_that_is_no_plain_data_is_told_and_one_that_is_not_taken_up_fails(sent):
    def odd(run):
        for _ in range(run.epochs):
            yield {"accuracy": 0.5, "state": {"path": Path("x")}}

    message = stopped_after_one(sent, odd, MemoryStore())
    assert "holds more than tensors, numbers" in message["facts"]["checkpoint_failure"]

    def deaf(run):
        for _ in range(run.epochs):
            yield {"accuracy": 0.5, "state": {"epoch": 1}}

    store = MemoryStore()
    stopped_after_one(sent, deaf, store)
    assert "it did not call run.resume()" in sent(deaf, store=store)[0]["failure"]


def test_a_declaration_says_what_it_refuses():
    with pytest.raises(ValueError, match="epochs is a whole number"):
        TrainingFunction("task", drawn, ACCURACY, 0)
    with pytest.raises(ValueError, match="serves is a tuple of some of needs_closure"):
        TrainingFunction("task", drawn, ACCURACY, 1, serves=("closure",))
    with pytest.raises(ValueError, match="finish"):
        TrainingFunction("task", drawn, Metric("rmse", "minimize", finish=math.sqrt), 1)


def test_a_row_of_the_table_is_what_the_loop_gets():
    task = TrainingFunction("task", partial(trained, rates=[]), ACCURACY, EPOCHS)
    arguments = {"lr": 0.1, "batch_size": 8}
    run = FunctionRun(task, OPTIMIZERS["adamw"], arguments, seed=0, budget=1, of_optimizer=True)
    assert run.next_epoch().metric == 0.5
    with pytest.raises(UserError, match=r"run.optimizer: the campaign's schedule is linear"):
        FunctionRun(
            task, OPTIMIZERS["adamw"], arguments, seed=0, budget=1, of_optimizer=True, schedule="linear"
        ).next_epoch()


def _as_loops_do(config):
    return [
        lambda: config["batch_size"],
        lambda: config.get("batch_size"),
        lambda: config.pop("batch_size"),
        lambda: config.setdefault("batch_size", 64),
        lambda: dict([config.popitem()])["batch_size"],
        lambda: dict(config)["batch_size"],
        lambda: {**config}["batch_size"],
        lambda: dict(**config)["batch_size"],
        lambda: (config | {"more": 1})["batch_size"],
        lambda: ({"more": 1} | config)["batch_size"],
        lambda: config.copy()["batch_size"],
        lambda: copy.deepcopy(config)["batch_size"],
        lambda: copy.copy(config)["batch_size"],
        lambda: pickle.loads(pickle.dumps(config))["batch_size"],
        lambda: json.loads(json.dumps(config))["batch_size"],
        lambda: dict(config.items())["batch_size"],
        lambda: list(config.values())[1],
        lambda: {name: config[name] for name in config}["batch_size"],
        lambda: SimpleNamespace(**config).batch_size,
        lambda: yaml.unsafe_load(yaml.dump(config))["batch_size"],
    ]


def test_a_batch_size_that_nobody_fixed_must_be_read_in_whatever_way():
    def run(function, **options):
        task = TrainingFunction("task", function, ACCURACY, EPOCHS)
        arguments = {"lr": 0.1, "batch_size": 8}
        options = {"of_optimizer": True, "chosen_batch_size": True} | options
        return FunctionRun(task, OPTIMIZERS["sgd"], arguments, seed=0, budget=1, **options).next_epoch().metric

    def reading(at):
        def function(run):
            run.optimizer(nn.Linear(1, 1))
            assert _as_loops_do(run.configuration)[at]() == 8
            yield 0.5

        return function

    for at in range(len(_as_loops_do({}))):
        assert run(reading(at)) == 0.5, at

    def deaf(run):
        run.optimizer(nn.Linear(1, 1))
        assert run.configuration["lr"] == 0.1
        assert "batch_size" in run.configuration
        assert len(run.configuration) == 2
        yield 0.5

    with pytest.raises(UserError, match=r'never read run.configuration\["batch_size"\].* \(batch_size = 32\)'):
        run(deaf)
    assert run(deaf, chosen_batch_size=False) == 0.5, "a person has fixed it"


# -- functions that report from a callback ----------------------------------------------------------------------------


class Trainer:
    """Owns the loop, as trainers of libraries do, and calls back."""

    def __init__(self, callback):
        self.callback, self.ended = callback, False

    def fit(self, epochs):
        try:
            for _ in range(epochs):
                self.callback(random.random() + np.random.rand() + torch.rand(()).item())  # noqa: NPY002
        except Exception:  # a library that takes what is raised for a fault of its own
            self.ended = "fault"
        finally:
            self.ended = self.ended or True


def test_a_function_that_reports_gives_what_it_would_if_it_yielded(sent):
    random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002
    expected = random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002
    random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002
    (message,) = sent(lambda run: Trainer(run.report).fit(run.epochs))
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == expected  # noqa: NPY002
    assert message["end"] == "complete"
    yielded = [record["metric"] for record in sent(drawn)[0]["records"]]
    assert [record["metric"] for record in message["records"]] == yielded


def test_a_trainer_is_ended_where_its_trial_is_and_what_it_raises_is_the_trials(sent):
    trainers = []

    def endless(run):
        trainers.append(Trainer(run.report))
        trainers[0].fit(10**9)

    def send(_message):
        raise SystemExit

    before = threading.active_count()
    with pytest.raises(SystemExit):
        sent(endless, send_seconds=0.0, send=send)
    assert trainers[0].ended is True
    assert threading.active_count() == before
    assert "it ended after 1 of 3 epochs" in sent(lambda run: Trainer(run.report).fit(1))[0]["failure"]
    assert "ZeroDivisionError" in sent(lambda run: 1 / 0)[0]["failure"]
    assert "the function has a yield" in sent(both)[0]["failure"]


def test_a_function_that_takes_its_end_for_a_fault_ends_all_the_same(sent):
    tries = []

    def deaf(run):
        while len(tries) < 3:
            try:
                run.report(0.5)
            except BaseException as error:  # as a trainer that survives all does
                tries.append(error)

    def send(_message):
        raise SystemExit

    with pytest.raises(SystemExit):
        sent(deaf, send_seconds=0.0, send=send)
    assert len(tries) == 3


@pytest.mark.nightly
@pytest.mark.slow
def test_no_trial_begins_while_the_last_ones_function_still_ends(sent):
    """Both would draw from the same generators, and the next trial's values would not be those of its seed."""
    drew = []

    def slow_to_end(run):
        try:
            run.report(0.5)
            run.report(0.5)
        finally:
            until = time.monotonic() + 11
            while time.monotonic() < until:
                drew.append(random.random())
                time.sleep(0.01)

    def send(_message):
        raise SystemExit

    with pytest.raises(SystemExit):
        sent(slow_to_end, send_seconds=0.0, send=send)
    count = len(drew)
    time.sleep(0.1)
    assert len(drew) == count


def both(run):
    run.report(0.5)
    yield 0.5


def test_layers_that_are_unfrozen_follow_the_schedule_from_there(sent):
    rates = []

    def gradually(run):
        first, second = nn.Linear(1, 2), nn.Linear(2, 1)
        optimizer = run.optimizer(second, steps_per_epoch=1)
        for epoch in range(run.epochs):
            if epoch == 1:
                optimizer.add_param_group({"params": first.parameters()})
            second(first(torch.ones(1, 1))).sum().backward()
            optimizer.step()
            rates.append([group["lr"] for group in optimizer.param_groups])
            yield 1.0

    assert all(not row.get("failure") for row in sent(gradually, optimizer="sgd", schedule="cosine"))
    assert [len(set(each)) for each in rates] == [1] * len(rates), "all groups have the rate of the schedule"
    assert [len(each) for each in rates][:2] == [1, 2]


def test_a_whole_number_beyond_floats_is_infinite(sent):
    def enormous(run):
        yield -(10**400)

    assert "Overflow" not in str(sent(enormous))


def test_what_a_partial_or_an_object_is_called():
    class Loop:
        def __call__(self, run):
            yield 1.0

    def train(run, width):
        yield 1.0

    assert declared(partial(train, width=2), "accuracy", "maximize", 3).name == "train"
    assert declared(Loop(), "accuracy", "maximize", 3).name == "Loop"
    with pytest.raises(UserError, match="train is a training function: give metric and epochs too"):
        declared(partial(train, width=2), None, None, None)
