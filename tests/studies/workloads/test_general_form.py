"""Workloads that are more than rows of tensors: a stream of batches, a loss of the model, an evaluation of its own."""

from __future__ import annotations

import io
import math
import random
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces import SEARCH_SPACES
from search_spaces.errors import UserError
from sofim import OPTIMIZERS
from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import resolve_campaign
from studies.commands.dry_run import estimate
from studies.training.rehearsal import rehearse
from studies.training.run import Run, train
from studies.training.saved import checksum_of, evaluated, exported
from studies.workloads import Data, Metric, Workload, carry, check
from studies.workloads import load as load_data

TEXT = torch.arange(97).repeat(4) * 31 % 7  # letters that follow one another by a rule
WINDOW = 5


def load(directory):
    return {"train": TEXT[:300], "validation": TEXT[300:340], "test": TEXT[340:], "alphabet": "abcdefg"}


def windows(data, n, generator):
    starts = torch.randint(len(data["train"]) - WINDOW, (n, 1), generator=generator)
    return data["train"][starts + torch.arange(WINDOW)]


def model():
    layers = (nn.Embedding(7, 8), nn.Flatten(), nn.Linear(8 * (WINDOW - 1), 16), nn.BatchNorm1d(16), nn.Tanh())
    return nn.Sequential(*layers, nn.Dropout(0.1), nn.Linear(16, 7))


def next_letter(net, batch):
    return nn.functional.cross_entropy(net(batch[:, :-1]), batch[:, -1])


def bits(net, data, split):
    held_out = data[split].unfold(0, WINDOW, 1)
    loss = next_letter(net, held_out).item()
    return {"loss": loss, "bits": loss / math.log(2)}


LETTERS = Workload(
    "letters", load, model, metric=Metric("bits", "minimize"), epochs=3,
    sample=windows, examples=64, objective=next_letter, evaluate=bits,
)  # fmt: skip


def points(data, n, generator):
    return torch.rand(n, 1, generator=generator)


def residual(net, batch):
    """Of u' = u with u(0) = 1."""
    at = batch.requires_grad_()
    value = net(at)
    (slope,) = torch.autograd.grad(value.sum(), at, create_graph=True)
    return (slope - value).square().mean() + (net(torch.zeros(1, 1)) - 1).square().mean()


def error(net, data, split):
    at = torch.linspace(0, 1, 20)[:, None]
    return (net(at) - at.exp()).square().mean().sqrt()


PHYSICS = Workload(
    "physics", model=lambda: nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)), epochs=2,
    metric=Metric("error", "minimize", scale="log"), sample=points, examples=64, objective=residual, evaluate=error,
    has_test=False,
)  # fmt: skip

GUESSES = torch.tensor([0.1, 0.9])  # how often each arm pays


def draw_and_learn(net, batch):
    """REINFORCE: what is pulled is drawn from torch's global generator."""
    choice = torch.distributions.Categorical(logits=net(batch))
    arms = choice.sample()
    reward = torch.bernoulli(GUESSES[arms])
    return -(choice.log_prob(arms) * (reward - 0.5)).mean()


def episodes(net, data, split):
    """Python's, NumPy's and torch's numbers: all are seeded."""
    chance = torch.softmax(net(torch.ones(1, 1)), 1)[0, 1].item()
    return sum(random.random() + np.random.rand() < 2 * chance for _ in range(20)) / 20  # noqa: NPY002


BANDIT = Workload(
    "bandit", model=lambda: nn.Linear(1, 2), epochs=2, metric=Metric("return", "maximize"),
    sample=lambda data, n, generator: torch.ones(n, 1), examples=32, objective=draw_and_learn, evaluate=episodes,
)  # fmt: skip


def rows(directory=None):
    x = torch.linspace(-1, 1, 40)[:, None]
    return Data((x[:20], x[:20] ** 2), (x[20:30], x[20:30] ** 2), (x[30:], x[30:] ** 2))


SQUARE = Workload(
    "square", rows, lambda: nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)), nn.functional.mse_loss,
    Metric("error", "minimize", nn.functional.l1_loss), epochs=2,
)  # fmt: skip
MIXED = {
    "stream with a loss": replace(
        SQUARE, sample=lambda data, n, generator: (x := torch.rand(n, 1, generator=generator), x**2), examples=30
    ),
    "rows with an objective": replace(
        SQUARE, loss=None, objective=lambda net, batch: nn.functional.mse_loss(net(batch[0]), batch[1])
    ),
    "rows with an evaluation": replace(
        SQUARE,
        metric=Metric("error", "minimize"),
        evaluate=lambda net, data, split: nn.functional.mse_loss(net(data.validation.inputs), data.validation.targets),
    ),
}
GENERAL = {"letters": LETTERS, "physics": PHYSICS, "bandit": BANDIT, **MIXED}


def run_of(workload, key, batch_size=8, **more):
    arguments = SEARCH_SPACES[key].arguments(SEARCH_SPACES[key].default) | {"batch_size": batch_size}
    data = check(workload, test=more.get("test"))
    return Run(workload, OPTIMIZERS[key], arguments, seed=4, budget=workload.epochs, data=data, **more)


def told(records):
    """Records without their seconds, NaN equal to itself."""
    return [{k: repr(v) for k, v in asdict(record).items() if k != "seconds"} for record in records]


@pytest.mark.parametrize("name", GENERAL)
def test_every_optimizer_takes_steps_on_every_form(name):
    workload = GENERAL[name]
    data = check(workload)
    rehearse(workload, data, SEARCH_SPACES)
    assert all(math.isfinite(record.metric) for record in run_of(workload, "sofim").records())


@pytest.mark.parametrize("key", ["sofim", "lbfgs", "adahessian", "nystrom-sgd", "schedule-free-adamw"])
@pytest.mark.parametrize("name", ["letters", "physics", "bandit"])
def test_a_run_that_goes_on_gives_the_same_numbers_bit_for_bit(name, key):
    workload = replace(GENERAL[name], epochs=3)
    whole = list(run_of(workload, key).records())
    first = run_of(workload, key)
    begun = [first.next_epoch()]
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    torch.rand(3)  # what runs in between
    file.seek(0)
    second = run_of(workload, key)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert told([*begun, *second.records()]) == told(whole)


def test_an_epoch_is_its_examples_and_each_has_its_own():
    seen = []

    def noted(data, n, generator):
        seen.append((n, *windows(data, n, generator)[:, 0].tolist()))
        return windows(data, n, generator)

    workload = replace(LETTERS, sample=noted, examples=30)
    run = run_of(workload, "sgd", batch_size=8)
    seen.clear()
    run.next_epoch()
    assert [n for n, *_ in seen] == [8, 8, 8]
    first = list(seen)
    run.next_epoch()
    assert seen[3:] != first
    large = run_of(workload, "sgd", batch_size=1000)
    seen.clear()
    large.next_epoch()
    assert [n for n, *_ in seen] == [30]


def test_a_closure_sees_the_same_batch_again():
    batches = []

    def noted(net, batch):
        batches.append(batch)
        return next_letter(net, batch)

    run = run_of(replace(LETTERS, objective=noted, examples=8), "lbfgs")
    batches.clear()
    run.next_epoch()
    assert len(batches) > 1
    assert all(batch is batches[0] for batch in batches)


def test_evaluation_has_the_same_random_numbers_in_every_epoch_and_others_for_the_test():
    drawn = []

    def noisy(net, data, split):
        assert not net.training
        assert not torch.is_grad_enabled()
        drawn.append((split, random.random(), np.random.rand(), torch.rand(1).item()))  # noqa: NPY002
        return 1.0 / len(drawn)  # better each time

    workload = replace(PHYSICS, evaluate=lambda net, data, split: 0.5)
    run = Run(
        replace(workload, evaluate=noisy), OPTIMIZERS["sgd"], {"lr": 0.01, "batch_size": 8},
        seed=0, budget=2, data=None, test=True,
    )  # fmt: skip
    records = list(run.records())
    assert [split for split, *_ in drawn] == ["validation", "test"] * 2
    assert drawn[0] == drawn[2]
    assert drawn[1] == drawn[3]
    assert not set(drawn[0]) & set(drawn[1])
    assert [record.test_metric for record in records] == [1 / 2, 1 / 4]
    assert all(record.validation_loss is None and record.test_loss is None for record in records)


@pytest.mark.parametrize("name", ["letters", "bandit", "noise"])
def test_what_is_evaluated_does_not_change_the_run(name):
    def noisy(net, batch):
        return nn.functional.mse_loss(net(batch[0] + 0.1 * torch.randn_like(batch[0])), batch[1])

    noise = replace(SQUARE, loss=None, objective=noisy, metric=Metric("error", "minimize"))
    workload = {**GENERAL, "noise": noise}[name]
    plain, tested = (list(run_of(workload, "sofim", test=test).records()) for test in (False, True))
    assert any(record.test_metric is not None for record in tested)
    assert told(plain) == told(replace(record, test_loss=None, test_metric=None) for record in tested)


def test_a_metric_that_is_the_loss_is_both():
    workload = replace(
        LETTERS, metric=Metric("loss", "minimize"), evaluate=lambda *given: {"loss": bits(*given)["loss"]}
    )
    [record, *_] = run_of(workload, "sgd").records()
    assert record.metric == record.validation_loss


def test_a_loss_that_an_evaluation_does_not_tell_stays_untold_where_it_diverges():
    run, values = run_of(LETTERS, "sgd"), iter([0.5, math.inf])
    run.workload = replace(LETTERS, evaluate=lambda model, data, split: next(values))
    assert [(record.validation_loss, record.diverged) for record in run.records()] == [(None, False), (None, True)]


def test_a_stream_with_a_loss_has_targets_of_any_shape():
    def windows_of(data, n, generator):
        batch = windows(data, n, generator)
        return batch[:, :-1], batch[:, 1:].flatten()

    net = replace(
        LETTERS, objective=None, loss=nn.functional.cross_entropy, sample=windows_of,
        model=lambda: nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 7), nn.Flatten(0, 1)),
        evaluate=lambda model, data, split: model(data[split][None]).mean() ** 2,
    )  # fmt: skip
    assert all(math.isfinite(record.metric) for record in run_of(net, "sgd").records())
    with pytest.raises(
        UserError, match=r"sample returned no \(inputs, targets\), which a loss is of; or give objective"
    ):
        check(replace(net, sample=windows))


def test_the_loss_that_an_evaluation_tells_is_recorded():
    [record, *_] = run_of(LETTERS, "sgd", test=True).records()
    assert record.metric == pytest.approx(record.validation_loss / math.log(2))
    assert record.test_metric == pytest.approx(record.test_loss / math.log(2))


@pytest.mark.parametrize("name", GENERAL)
def test_half_precision_and_a_saved_model_do_what_a_run_does(name):
    run = run_of(GENERAL[name], "schedule-free-adamw", amp=True)
    [*_, last] = run.records()
    weights, _ = exported(run, optimizer_state=False)
    metric, data = {"name": run.workload.metric.name, "split": "validation"}, load_data(run.workload, None)
    model = evaluated({"metric": metric, "on_gpu": False, "amp": True}, weights, run.workload, data)
    assert model.value == last.metric
    assert (model.test is None) == (name == "physics")


def test_what_needs_data_is_asked_of_data():
    carry("__main__:letters", replace(LETTERS, examples=20))
    plan = {"name": "mine", "workloads": ["__main__:letters"], "optimizers": ["sgd"], "trials": 1}
    resolved = resolve_campaign(CampaignPlan.of({**plan, "resplit": True}), rehearsed=False)
    [study] = resolved.study_plans()
    assert study.split is None  # a stream is no choice of rows
    assert "letters: resplit does not draw its data again" in " ".join(resolved.notes)
    assert not resolved.untested
    assert "batch_size of sgd is 20, the number of training examples of an epoch." in "".join(resolved.notes)
    assert estimate(resolved)[0].seconds_per_trial > 0
    changed = {**load(None), "validation": TEXT[301:341]}
    assert checksum_of(LETTERS, load(None)) == checksum_of(LETTERS, load(None)) != checksum_of(LETTERS, changed)
    assert checksum_of(PHYSICS, None) == ""


@pytest.mark.parametrize(
    ("leaf", "other"),
    [
        (torch.tensor(2.0), torch.tensor(3.0)),
        (torch.arange(8)[::8], torch.arange(8, 16)[::8]),
        (torch.ones(3, 2).T, torch.zeros(3, 2).T),
        (torch.tensor([True]), torch.tensor([False])),
        (torch.tensor([1j]).conj(), torch.tensor([1j])),
        (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16) * 2),
        (torch.eye(2).to_sparse_coo(), torch.eye(2).flip(0).to_sparse_coo()),
        (torch.ones(2, requires_grad=True), torch.zeros(2, requires_grad=True)),
        (np.ones((2, 2))[:, ::2], np.zeros((2, 2))[:, ::2]),
        (np.float32(1.0), np.float32(2.0)),
        (np.array(["a"]), np.array(["b"])),
    ],
)
def test_whatever_array_is_among_the_data_tells_them_from_others(leaf, other):
    mixed = [{"x": torch.ones(2), "more": (one, "ab", torch.zeros(0))} for one in (leaf, leaf, other)]
    alike, again, changed = (checksum_of(LETTERS, data) for data in mixed)
    assert alike == again != changed != ""


def unlike(data, n, generator):
    return torch.rand(n, 1)


def second_time_otherwise(net, data, split, calls=[]):  # noqa: B006
    calls.append(split)
    return 1.0 * len(calls)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sample": unlike}, "sample returned different batches for the same seed; draw from the generator"),
        ({"sample": lambda data, n, generator: [1, 2]}, "sample returned a value of type int, in a batch, not tensors"),
        ({"sample": lambda data, n, generator: None}, "sample returned nothing (None), not tensors"),
        ({"sample": lambda data, n, generator: ()}, "sample returned no tensors"),
        ({"sample": lambda data, n: None}, "sample raised TypeError"),
        (
            {"sample": lambda data, n, generator: torch.rand(n, 1, generator=generator, requires_grad=True) * 2},
            "sample returned a tensor with an autograd graph",
        ),
        ({"sample": lambda data, n, generator: points(data, 5, generator)}, "same batch when 4 and when 64 examples"),
        ({"objective": lambda net, batch: 0 * net(batch).mean()}, "its objective is exactly zero for all"),
        (
            {"has_test": True, "evaluate": lambda net, data, split: {"validation": 1.0}[split]},
            "evaluate on test (which has_test=False leaves out) raised KeyError: 'test'",
        ),
        ({"objective": lambda net, batch: 3.0}, "objective returned a value of type float, not a tensor"),
        ({"objective": lambda net, batch: net(batch)}, "objective returned a tensor of shape [4, 1], not its mean"),
        ({"objective": lambda net, batch: net(batch).mean() * math.nan}, "objective of a freshly initialized model is"),
        ({"objective": lambda net, batch: batch.mean()}, "the objective does not depend on the model's parameters"),
        (
            {"objective": lambda net, batch: net(batch).mean() * random.random()},
            "for the same model, batch and seed; draw from torch's global generator alone",
        ),
        ({"objective": lambda net, batch: net.nothing}, "objective raised AttributeError"),
        ({"evaluate": lambda net, data, split: None}, "evaluate returned nothing (None); it returns the metric as a"),
        ({"evaluate": lambda net, data, split: {"loss": 1.0}}, "evaluate returned a mapping with 'loss'; it returns"),
        ({"evaluate": lambda net, data, split: {"error": "no"}}, "evaluate returned str for 'error'; it returns"),
        ({"evaluate": lambda net, data, split: torch.ones(2)}, "evaluate returned a tensor of shape [2]; it returns"),
        ({"evaluate": lambda net, data, split: math.nan}, "metric error that evaluate returns on validation for a new"),
        ({"evaluate": lambda net, data: 1.0}, "evaluate on validation raised TypeError"),
        ({"evaluate": second_time_otherwise}, "evaluate returned 1.0 and then 2.0 for the same model"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_function(change, words):
    with pytest.raises(UserError) as caught:
        check(replace(PHYSICS, **change))
    message = str(caught.value)
    assert words in message
    assert message.startswith("workload physics: ")
    assert re.search(re.escape(Path(__file__).name) + r":\d+\)$", message)


@pytest.mark.parametrize(
    ("of", "change", "words"),
    [
        (SQUARE, {"loss": None}, "loss is a function, not NoneType"),
        (SQUARE, {"load": None}, "load is a function, not NoneType"),
        (SQUARE, {"objective": next_letter}, "loss and objective are two training losses"),
        (SQUARE, {"examples": 3}, "examples is of sample"),
        (SQUARE, {"has_test": False}, "has_test is of evaluate"),
        (SQUARE, {"evaluate": error}, "metric.function and evaluate both compute the metric"),
        (PHYSICS, {"examples": None}, "examples, of which sample makes an epoch, is a whole number from 1, not None"),
        (PHYSICS, {"evaluate": None}, "load is a function, not NoneType"),
        (PHYSICS, {"metric": Metric("e", "minimize", split="train")}, "metric.split 'train' is of Data.train"),
        (PHYSICS, {"metric": Metric("e", "minimize", finish=math.sqrt)}, "metric.finish and evaluate both compute"),
        (PHYSICS, {"augment": points}, "augment is of rows of Data.train"),
        (PHYSICS, {"prepare": torch.sqrt}, "prepare has no inputs where sample makes batches for an objective"),
        (PHYSICS, {"evaluate": 1.0}, "evaluate is a function, not float"),
    ],
)
def test_fields_that_contradict_each_other_are_named(of, change, words):
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        replace(of, **change)


def test_data_and_tests_that_are_missing_are_named():
    with pytest.raises(UserError, match=r"load returned a value of type dict, not a Data, .* without evaluate needs"):
        check(replace(LETTERS, evaluate=None, metric=Metric("bits", "minimize")))
    with pytest.raises(UserError, match="no test data; have evaluate do 'test' too, without has_test, to confirm"):
        check(PHYSICS, test=True)
    with pytest.raises(UserError, match=r"evaluate on test .* raised KeyError: 'test'"):
        check(replace(LETTERS, load=lambda directory: {k: v for k, v in load(None).items() if k != "test"}), test=True)


def test_an_optimizer_that_needs_what_an_objective_cannot_is_named_with_those_that_can():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, gradient):
            return gradient * 2

    workload = replace(PHYSICS, objective=lambda net, batch: Once.apply(net(batch)).square().mean())
    data = check(workload)
    with pytest.raises(
        UserError, match=r"two steps with adahessian raised RuntimeError: .*--optimizers sgd,adam"
    ) as no:
        rehearse(workload, data, {key: SEARCH_SPACES[key] for key in ("sgd", "adam", "adahessian")})
    assert "workload physics" in str(no.value)
    last = replace(PHYSICS, objective=lambda net, batch: Once.apply(net(batch).square().mean()))
    for of in (workload, last):
        for key in ("adahessian", "sophia", "nystrom-sgd"):
            with pytest.raises(UserError, match=f"two steps with {key} raised RuntimeError: .*once_differentiable"):
                rehearse(of, data, {"sgd": SEARCH_SPACES["sgd"], key: SEARCH_SPACES[key]})
    assert [r.epoch for r in train(workload, OPTIMIZERS["sgd"], {"lr": 0.1, "batch_size": 8}, 0, 1, data=data)] == [1]
