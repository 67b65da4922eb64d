"""The training loop: the same numbers always, for every optimizer what its row asks for, and costs counted honestly."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces import SEARCH_SPACES
from search_spaces.errors import UserError
from sofim.registry import OPTIMIZERS, OptimizerSpec
from studies.training.batches import batch_starts, epoch_batches
from studies.training.run import Run, train
from studies.workloads import WORKLOADS, Data, Metric, Workload, accuracy, load
from tests.reference.plain_training import plain_training

MLP, LOGREG = WORKLOADS["digits-mlp"], WORKLOADS["breast-cancer-logreg"]
SGD = OPTIMIZERS["sgd"]


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def noisy_images(images, generator):
    return images + 0.1 * torch.randn(images.shape, generator=generator)


def dropout_model():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10)
    )


# Everything random at once: dropout, BatchNorm's averages, augmentation.
NOISY = replace(MLP, name="noisy", model=dropout_model, augment=noisy_images)


def default_arguments(key):
    return SEARCH_SPACES[key].arguments(SEARCH_SPACES[key].default)


def numbers(records):
    """All of a run's numbers but the seconds."""
    return [replace(record, seconds=0.0) for record in records]


class TestEveryOptimizer:
    @pytest.mark.parametrize("workload", [MLP, LOGREG], ids=lambda row: row.name)
    @pytest.mark.parametrize("key", OPTIMIZERS)
    def test_learns_with_the_defaults_of_its_search_space(self, key, workload):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            records = list(train(workload, OPTIMIZERS[key], default_arguments(key), 0, 3))
        assert [record.epoch for record in records] == [1, 2, 3]
        assert not records[-1].diverged
        assert records[-1].train_loss < records[0].train_loss
        if workload is MLP:
            assert records[-1].metric > 0.5

    @pytest.mark.parametrize("key", OPTIMIZERS)
    def test_same_arguments_same_numbers_whatever_ran_before(self, key):
        arguments = default_arguments(key)
        torch.manual_seed(98)  # each process has another
        first = numbers(train(NOISY, OPTIMIZERS[key], arguments, 3, 2))
        torch.manual_seed(99)
        torch.rand(7)
        torch.set_num_threads(2)
        try:
            assert numbers(train(NOISY, OPTIMIZERS[key], arguments, 3, 2)) == first
        finally:
            torch.set_num_threads(1)
        assert numbers(train(NOISY, OPTIMIZERS[key], arguments, 4, 2)) != first

    @pytest.mark.nightly(
        by_day=[
            "sofim-cosine+warmup",
            "sgd-constant",
            "adamw-cosine+warmup",
            "lbfgs-constant",
            "nystrom-sgd-cosine+warmup",
            "schedule-free-adamw-cosine+warmup",
            "muon-constant",
            "sofim-tensor-constant",
        ]
    )
    @pytest.mark.slow
    @pytest.mark.parametrize("schedule", ["constant", "cosine+warmup"])
    @pytest.mark.parametrize("key", OPTIMIZERS)
    def test_resumed_run_equals_uninterrupted_one_bit_for_bit(self, key, schedule, tmp_path):
        data = NOISY.load(None)

        def start():
            return Run(NOISY, OPTIMIZERS[key], default_arguments(key), seed=1, budget=4, data=data, schedule=schedule)

        whole = numbers(start().records())
        run, parts = start(), []
        while not run.finished:  # a new process after every epoch
            parts.append(run.next_epoch())
            torch.save(run.state_dict(), tmp_path / "state.pt")
            torch.manual_seed(len(parts))
            run = start()
            run.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert numbers(parts) == whole
        assert [record.seconds for record in parts] == sorted(record.seconds for record in parts)

    @pytest.mark.parametrize("key", OPTIMIZERS)
    def test_weights_and_order_depend_on_the_seed_alone(self, key):
        seen = []

        def watching(images, generator):
            seen.append(images.clone())
            return images

        workload, arguments = replace(MLP, augment=watching), {**default_arguments(key), "batch_size": 100}
        run = Run(workload, OPTIMIZERS[key], arguments, seed=5, budget=1, data=workload.load(None))
        other = Run(MLP, SGD, {"batch_size": 7, "lr": 1.0}, seed=5, budget=9, data=workload.load(None))
        for mine, theirs in zip(run.model.parameters(), other.model.parameters(), strict=True):
            assert torch.equal(mine, theirs)
        run.next_epoch()
        order = [inputs for inputs, _ in epoch_batches(MLP, workload.load(None).train, batch_size=7, seed=5, epoch=0)]
        assert torch.equal(torch.cat(seen), torch.cat(order))

    @pytest.mark.parametrize("key", OPTIMIZERS)
    def test_nothing_global_is_left_changed(self, key):
        torch.manual_seed(0)
        before, gradients = torch.get_rng_state(), torch.is_grad_enabled()
        records = train(NOISY, OPTIMIZERS[key], default_arguments(key), 0, 2)
        next(records)
        assert torch.equal(torch.get_rng_state(), before)
        next(records)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.is_grad_enabled() == gradients

    def test_a_warm_up_of_the_configuration_goes_before_that_of_the_campaign(self):
        arguments = default_arguments("sgd")
        runs = [
            list(train(MLP, SGD, arguments | searched, 0, 2, schedule="linear", warmup=warmup))
            for searched, warmup in (
                ({"schedule.warmup": 0.5}, 0.0),
                ({"schedule.warmup": 0.5}, 0.1),
                ({}, 0.5),
                ({}, 0.1),
            )
        ]
        losses = [[record.train_loss for record in run] for run in runs]
        assert losses[0] == losses[1] == losses[2] != losses[3]

    @pytest.mark.parametrize("key", OPTIMIZERS)
    def test_schedule_multiplies_the_rate_of_every_step(self, key):
        spec, rates = OPTIMIZERS[key], []

        def watching(params, **arguments):
            optimizer = spec.factory(params, **arguments)
            optimizer.register_step_pre_hook(lambda made, *_: rates.append(made.param_groups[0]["lr"]))
            return optimizer

        arguments = {**default_arguments(key), "batch_size": 200, "lr": 0.01}
        list(train(MLP, replace(spec, factory=watching), arguments, 0, 10, schedule="cosine+warmup"))
        steps = 10 * math.ceil(len(MLP.load(None).train) / 200)
        assert len(rates) == steps
        rise = round(0.05 * steps)
        expected = [(step + 1) / rise for step in range(rise)]
        decay = [(1 + math.cos(math.pi * step / (steps - rise))) / 2 for step in range(steps - rise)]
        expected += decay if spec.schedule is None else [1.0] * len(decay)
        np.testing.assert_allclose(rates, 0.01 * np.array(expected), rtol=1e-12)


class TestAgainstThePlainLoop:
    @pytest.mark.parametrize("batch_size", [16, 100, 5000])
    def test_same_numbers(self, batch_size):
        def make(params):
            return torch.optim.SGD(params, lr=0.1, momentum=0.9)

        plain = plain_training(MLP, make, batch_size, seed=2, num_epochs=3)
        ours = train(MLP, SGD, {"lr": 0.1, "momentum": 0.9, "batch_size": batch_size}, 2, 3)
        for record, (train_loss, validation_loss, metric) in zip(ours, plain, strict=True):
            assert record.train_loss == pytest.approx(train_loss, rel=1e-5)
            assert record.validation_loss == pytest.approx(validation_loss, rel=1e-5)
            assert record.metric == pytest.approx(metric, rel=1e-12)

    def test_sgd_learns_the_digits(self):
        *_, last = train(MLP, SGD, {"lr": 0.05, "momentum": 0.9, "batch_size": 64}, 0, 5)
        assert last.metric > 0.9


class TestBatches:
    def test_every_batch_size_cuts_the_same_order_and_keeps_every_example(self):
        split = MLP.load(None).train
        whole = torch.cat([inputs for inputs, _ in epoch_batches(MLP, split, batch_size=10**6, seed=0, epoch=0)])
        for batch_size in (1, 32, 100):
            batches = list(epoch_batches(MLP, split, batch_size=batch_size, seed=0, epoch=0))
            assert torch.equal(torch.cat([inputs for inputs, _ in batches]), whole)
            assert all(len(inputs) == batch_size for inputs, _ in batches[:-1])
        assert sorted(map(tuple, whole.flatten(1).tolist())) == sorted(map(tuple, split.inputs.flatten(1).tolist()))

    def test_orders_of_epochs_and_seeds_differ(self):
        split = MLP.load(None).train
        orders = {
            tuple(targets.tolist())
            for seed in (0, 1)
            for epoch in (0, 1)
            for _, targets in epoch_batches(MLP, split, batch_size=10**6, seed=seed, epoch=epoch)
        }
        assert len(orders) == 4

    def test_inputs_stay_with_their_targets_in_small_pieces(self, monkeypatch):
        monkeypatch.setattr("studies.training.batches._GATHERED_BYTES", 1000)
        x = torch.arange(100.0)[:, None]
        split = Data((x, x), (x, x)).train
        for inputs, targets in epoch_batches(MLP, split, batch_size=7, seed=0, epoch=0):
            assert torch.equal(inputs, targets)

    def test_a_last_single_example_joins_the_batch_before(self):
        assert batch_starts(9, 4) == [0, 4]
        assert batch_starts(10, 4) == [0, 4, 8]
        assert batch_starts(3, 1) == [0, 1, 2]
        assert batch_starts(1, 4) == [0]


class Quadratic(nn.Module):
    """Outputs its one weight for every input."""

    def __init__(self, start=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(start))

    def forward(self, inputs):
        return self.weight * torch.ones(len(inputs))


def quadratic_workload(start=1.0, **fields):
    """½ w², whatever the data; SGD with lr > 2 diverges geometrically."""
    x = torch.zeros(40), torch.zeros(40)
    return Workload(
        "quadratic",
        lambda _: Data(x, x, x),
        lambda: Quadratic(start),
        lambda outputs, targets: 0.5 * ((outputs - targets) ** 2).mean(),
        fields.pop("metric", Metric("loss", "minimize")),
        **fields,
    )


class TestDivergence:
    def test_explosion_ends_the_run_at_once(self):
        # Each step multiplies w by −9: ½, 40.5, 3280 > 1000. The third of the ten batches shows it.
        records = list(train(quadratic_workload(), SGD, {"lr": 10.0, "momentum": 0.0, "batch_size": 4}, 0, 5))
        (record,) = records
        assert record.diverged
        assert record.epoch == 1
        assert record.gradient_evaluations == 3
        assert record.train_loss == pytest.approx(0.5 * 81**2)
        assert math.isnan(record.validation_loss)
        assert math.isnan(record.metric)

    def test_explosion_is_relative_to_the_first_loss_also_in_later_epochs(self):
        workload = quadratic_workload(start=1000.0)  # begins at half a million
        arguments = {"lr": 2.5, "momentum": 0.0, "batch_size": 40}  # × −1.5 a step, × 2.25 the loss
        records = list(train(workload, SGD, arguments, 0, 50))
        steps = math.ceil(math.log(1000) / math.log(2.25))
        assert records[-1].diverged
        assert records[-1].epoch == steps + 1
        assert not any(record.diverged for record in records[:-1])

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_loss_that_is_not_finite(self, value):
        calls = []

        def loss(outputs, targets):
            calls.append(1)
            return outputs.mean() * (value if len(calls) == 4 else 1.0)

        workload = replace(quadratic_workload(), loss=loss)
        records = list(train(workload, SGD, {"lr": 0.0, "batch_size": 4}, 0, 5))
        assert len(records) == 1
        assert records[0].diverged
        assert len(calls) == 4
        assert records[0].gradient_evaluations == 4

    def test_validation_loss_that_is_not_finite(self):
        x, bad = (torch.zeros(4), torch.zeros(4)), (torch.zeros(4), torch.full((4,), math.inf))
        workload = replace(quadratic_workload(), load=lambda _: Data(x, bad))
        (record,) = train(workload, SGD, {"lr": 0.1, "batch_size": 4}, 0, 5)
        assert record.diverged
        assert math.isnan(record.metric)
        assert math.isfinite(record.train_loss)

    def test_a_metric_that_is_not_a_number_is_the_user_s_mistake(self):
        workload = quadratic_workload(
            metric=Metric("bad", "minimize", lambda outputs, targets: outputs.mean() * math.nan)
        )
        with pytest.raises(UserError, match="metric bad is NaN though its loss is finite"):
            list(train(workload, SGD, {"lr": 0.1, "batch_size": 4}, 0, 5))

    def test_a_diverged_run_stays_ended_when_it_is_resumed(self):
        workload = quadratic_workload()

        def start():
            arguments = {"lr": 10.0, "momentum": 0.0, "batch_size": 4}
            return Run(workload, SGD, arguments, seed=0, budget=5, data=workload.load(None))

        run, resumed = start(), start()
        assert run.next_epoch().diverged
        resumed.load_state_dict(run.state_dict())
        assert resumed.finished
        assert list(resumed.records()) == []

    def test_large_but_falling_losses_are_no_divergence(self):
        records = list(train(quadratic_workload(start=1e6), SGD, {"lr": 0.1, "batch_size": 4}, 0, 3))
        assert not records[-1].diverged


class Counting(torch.optim.SGD):
    """Stands for an optimizer that refreshes a Hessian every third step at 5 evaluations."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)
        self.steps = 0
        self.losses = []

    @property
    def refresh_due(self):
        return self.steps % 3 == 0

    def refresh(self, loss):
        (parameter,) = self.param_groups[0]["params"]
        assert parameter.grad is None
        (gradient,) = torch.autograd.grad(loss, parameter, create_graph=True)
        torch.autograd.grad(gradient, parameter, retain_graph=True)
        self.losses.append(loss.item())
        return 5

    def step(self, closure=None):
        assert closure is None
        self.steps += 1
        return super().step()


class TestWhatTheRowAsksFor:
    def test_gradients(self):
        *_, last = train(quadratic_workload(), SGD, {"lr": 0.1, "batch_size": 4}, 0, 2)
        assert last.gradient_evaluations == 20

    def test_closure_calls_are_counted_not_steps(self):
        arguments = {"lr": 0.01, "max_iter": 3, "tolerance_change": 0.0, "tolerance_grad": 0.0, "batch_size": 4}
        *_, last = train(quadratic_workload(), OPTIMIZERS["lbfgs"], arguments, 0, 2)
        assert last.gradient_evaluations == 2 * 10 * 3

    def test_refresh_comes_when_due_before_backward_and_is_counted_without_the_penalty(self):
        made = []

        def factory(params, **arguments):
            made.append(Counting(params, **arguments))
            return made[0]

        spec = OptimizerSpec("counting", factory, needs_hessian=True)
        workload = quadratic_workload(penalty=lambda model: 100 * model.weight.abs())
        *_, last = train(workload, spec, {"lr": 1e-6, "batch_size": 4}, 0, 1)
        assert last.gradient_evaluations == 10 + 4 * 5
        assert made[0].losses == pytest.approx([0.5] * 4, rel=1e-2)
        assert last.train_loss == pytest.approx(100.5, rel=1e-3)

    def test_graph_is_created_and_gradients_are_dropped_after_the_step(self):
        graphs = []

        class Graphs(torch.optim.SGD):
            def step(self, closure=None):
                graphs.append(self.param_groups[0]["params"][0].grad.grad_fn is not None)
                return super().step()

        spec = OptimizerSpec("graphs", Graphs, needs_create_graph=True, evaluations_per_step=2)
        workload = quadratic_workload()
        run = Run(workload, spec, {"lr": 0.1, "batch_size": 4}, seed=0, budget=1, data=workload.load(None))
        assert run.next_epoch().gradient_evaluations == 20
        assert graphs == [True] * 10
        assert all(parameter.grad is None for parameter in run.model.parameters())


class TestRecords:
    def test_seconds_are_those_of_training_alone(self, monkeypatch):
        now = [0.0]
        monkeypatch.setattr("studies.training.run.time", SimpleNamespace(perf_counter=lambda: now[0]))

        class Slow(Quadratic):
            def forward(self, inputs):
                now[0] += 1.0 if self.training else 1000.0
                return super().forward(inputs)

        def slow_metric(outputs, targets):
            now[0] += 1000.0
            return outputs.mean()

        def slow_load(_directory):
            now[0] += 1000.0
            return quadratic_workload().load(None)

        workload = replace(
            quadratic_workload(metric=Metric("slow", "minimize", slow_metric)),
            load=slow_load,
            model=lambda: Slow(1.0),
        )
        records = train(workload, SGD, {"lr": 0.1, "batch_size": 20}, 0, 2)
        first = next(records)
        now[0] += 1000.0  # the consumer's time is not the run's either
        second = next(records)
        assert (first.seconds, second.seconds) == (2.0, 4.0), "two steps an epoch"

    def test_metric_of_the_training_objective_holds_the_penalty(self):
        workload = quadratic_workload(
            metric=Metric("objective", "minimize", split="train", finish=lambda value: 10 * value),
            penalty=lambda model: 3 * model.weight,
        )
        (record,) = train(workload, SGD, {"lr": 0.0, "batch_size": 40}, 0, 1)
        assert record.metric == pytest.approx(35)
        assert record.train_loss == pytest.approx(3.5)
        assert record.validation_loss == pytest.approx(0.5)

    def test_evaluation_averages_over_examples_not_over_pieces(self, monkeypatch):
        monkeypatch.setattr("studies.training.batches._EVALUATED_BYTES", {"cpu": 3 * 64 * 4})
        few = replace(MLP, load=lambda directory: MLP.load(directory))
        pieces = next(train(few, SGD, {"lr": 0.1, "batch_size": 64}, 0, 1))
        monkeypatch.undo()
        whole = next(train(few, SGD, {"lr": 0.1, "batch_size": 64}, 0, 1))
        assert pieces.metric == pytest.approx(whole.metric, rel=1e-12)
        assert pieces.validation_loss == pytest.approx(whole.validation_loss, rel=1e-5)

    def test_the_model_is_evaluated_in_evaluation_mode(self):
        modes = []

        class Watching(nn.Linear):
            def forward(self, inputs):
                modes.append((self.training, torch.is_grad_enabled()))
                return super().forward(inputs)

        workload = replace(MLP, model=lambda: nn.Sequential(nn.Flatten(), Watching(64, 10)))
        list(train(workload, SGD, {"lr": 0.1, "batch_size": 5000}, 0, 2))
        assert modes == [(True, True), (False, False)] * 2

    def test_amp_trains_nearly_as_well(self):
        *_, full = train(MLP, SGD, {"lr": 0.05, "batch_size": 64}, 0, 4)
        *_, half = train(MLP, SGD, {"lr": 0.05, "batch_size": 64}, 0, 4, amp=True)
        assert half.train_loss != full.train_loss
        assert half.metric == pytest.approx(full.metric, abs=0.03)


class TestTestData:
    """Test data decide nothing and are read by confirmation runs alone."""

    def test_not_read_while_tuning(self):
        x = torch.zeros(4), torch.zeros(4)
        workload = replace(quadratic_workload(), load=lambda _: Data(x, x, lambda: pytest.fail("read")))
        records = list(train(workload, SGD, {"lr": 0.1, "batch_size": 4}, 0, 2))
        assert records[-1].test_metric is None
        assert records[-1].test_loss is None

    def test_computed_at_the_epoch_that_validation_chose(self):
        validation = iter([0.3, 0.5, 0.5, 0.4, 0.6])
        train_x, validation_x, test_x = torch.zeros(4), torch.zeros(3), torch.zeros(2)

        def metric(outputs, targets):
            return torch.tensor(next(validation)) if len(outputs) == 3 else outputs.double().mean()

        data = Data((train_x, train_x), (validation_x, validation_x), (test_x, test_x))
        workload = replace(quadratic_workload(metric=Metric("m", "maximize", metric)), load=lambda _: data)
        records = list(train(workload, SGD, {"lr": 0.5, "momentum": 0.0, "batch_size": 4}, 0, 5, test=True))
        chosen = [record.test_metric for record in records]
        assert chosen == pytest.approx(
            [0.5, 0.25, None, None, 0.5**5]
        )  # w halves with every epoch; ties keep the first
        assert records[1].test_loss == pytest.approx(0.5 * 0.25**2)

    def test_does_not_change_the_run(self):
        arguments = {"lr": 0.1, "batch_size": 64}
        plain = numbers(train(NOISY, SGD, arguments, 0, 3))
        confirmed = numbers(train(NOISY, SGD, arguments, 0, 3, test=True))
        assert confirmed[0].test_metric is not None
        assert [replace(record, test_loss=None, test_metric=None) for record in confirmed] == plain

    def test_best_epoch_survives_a_resume(self):
        data = MLP.load(None)

        def start():
            return Run(MLP, SGD, {"lr": 0.1, "batch_size": 64}, seed=0, budget=6, data=data, test=True)

        whole, run, parts = numbers(start().records()), start(), []
        while not run.finished:
            parts.append(run.next_epoch())
            state = run.state_dict()
            run = start()
            run.load_state_dict(state)
        assert numbers(parts) == whole


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"budget": 0}, "budget"),
            ({"budget": 1.5}, "budget"),
            ({"seed": -1}, "seed"),
            ({"schedule": "straight"}, "no schedule 'straight'; there are: constant, cosine, linear"),
            ({"warmup": 1.0}, "warmup is a share of the steps from 0 to below 1, not 1.0"),
            ({"schedule": "cosine+warmup", "warmup": 0.1}, "has a warm-up of 0.05"),
            ({"configuration": {"lr": 0.1}}, "batch_size is a whole number from 1, not None"),
            ({"configuration": {"lr": 0.1, "batch_size": 0}}, "batch_size"),
            ({"configuration": {"lr": 0.1, "batch_size": 2.0}}, "batch_size"),
            ({"configuration": {"lr": -0.1, "batch_size": 2}}, "learning rate"),
        ],
    )
    def test_bad_arguments_are_refused_before_the_first_step(self, change, words):
        arguments = {"configuration": {"lr": 0.1, "batch_size": 4}, "seed": 0, "budget": 1, **change}
        with pytest.raises(ValueError, match=words):
            train(quadratic_workload(), SGD, **arguments)

    @pytest.mark.parametrize(
        "change",
        [
            {"seed": 1},
            {"budget": 3},
            {"schedule": "cosine"},
            {"amp": True},
            {"configuration": {"batch_size": 8, "lr": 1.0}},
        ],
    )
    def test_state_of_another_run_is_refused(self, change):
        workload = quadratic_workload()
        own = {"configuration": {"batch_size": 4, "lr": 1.0}, "seed": 0, "budget": 2}

        def start(**arguments):
            return Run(workload, SGD, **arguments, data=workload.load(None))

        with pytest.raises(ValueError, match="another run"):
            start(**own).load_state_dict(start(**{**own, **change}).state_dict())


def test_metric_of_accuracy_is_a_fraction_of_the_validation_examples():
    (record,) = train(MLP, SGD, {"lr": 0.1, "batch_size": 64}, 0, 1)
    num = len(MLP.load(None).validation)
    assert record.metric * num == pytest.approx(round(record.metric * num), abs=1e-9)
    assert MLP.metric.function is accuracy


@pytest.mark.parametrize("key", OPTIMIZERS)
def test_every_optimizer_trains_convolutions_whose_memory_is_that_of_a_gpu(key, monkeypatch):
    first = Run._initial_model

    def as_on_a_gpu(self, *, channels_last):
        model = first(self, channels_last=channels_last)
        return model.to(memory_format=torch.channels_last) if channels_last else model

    monkeypatch.setattr(Run, "_initial_model", as_on_a_gpu)
    arguments = SEARCH_SPACES[key].arguments(SEARCH_SPACES[key].default)
    train_on = load(WORKLOADS["digits-lenet5"], None).train
    few = train_on.inputs[:64], train_on.targets[:64]
    [record] = train(WORKLOADS["digits-lenet5"], OPTIMIZERS[key], arguments, 0, 1, data=Data(few, few))
    assert math.isfinite(record.train_loss)
