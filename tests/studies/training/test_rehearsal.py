"""What cannot work is refused before any trial, in the person's words; what works is not."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from search_spaces import SEARCH_SPACES
from search_spaces.errors import UserError
from sofim import OPTIMIZERS
from studies.training.rehearsal import rehearse
from studies.training.run import train
from studies.workloads import Data, Metric, Workload, accuracy, check, load

POINTS = torch.rand(200, 2, generator=torch.Generator().manual_seed(0))
CLASSES = (POINTS[:, 0] > 0.5).long()
WORDS = torch.randint(0, 10, (200, 3), generator=torch.Generator().manual_seed(0))
VALUES = POINTS[:, 0].clone()
NAN = math.nan


def at(place, value, of=POINTS):
    """A copy with another value there."""
    changed = of.clone()
    changed[place] = value
    return changed


def data(inputs=POINTS, targets=CLASSES, **parts):
    """150 examples to train on, the others for validation and for tests, unless ``parts`` say otherwise."""
    found = {"x": inputs[150:], "y": targets[150:], "test_x": inputs[150:], "test_y": targets[150:], **parts}
    return lambda directory: Data(
        (inputs[:150], targets[:150]), (found["x"], found["y"]), (found["test_x"], found["test_y"])
    )


def cross_entropy(outputs, targets):
    return functional.cross_entropy(outputs, targets)


def squared(outputs, targets):
    return functional.mse_loss(outputs.squeeze(1), targets)


DATA = data()


def own(load=DATA, model=lambda: nn.Linear(2, 2), loss=cross_entropy, metric=accuracy, **more):
    return Workload("own", load, model, loss, Metric("metric", "maximize", metric), epochs=1, **more)


def regression(load, loss=squared, **more):
    return own(load, lambda: nn.Linear(2, 1), loss, squared, **more)


def embedding(load, **options):
    return own(load, lambda: nn.Sequential(nn.Embedding(10, 4, **options), nn.Flatten(), nn.Linear(12, 2)))


class Through(nn.Module):
    """A layer, and a function before and after it."""

    def __init__(self, before=lambda points: points, after=lambda outputs: outputs):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.before, self.after = before, after

    def forward(self, points):
        return self.after(self.layer(self.before(points)))


class Once(torch.autograd.Function):
    """Has a derivative, and no second one."""

    @staticmethod
    def forward(ctx, outputs):
        return outputs * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient * 2


def frozen_part():
    model = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    return model


def of_numpy():
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(np.random.default_rng().random((2, 2))))
    return model


def correlation(outputs, targets):
    outputs, targets = outputs.squeeze(1) - outputs.mean(), targets - targets.mean()
    return 1 - (outputs * targets).sum() / (outputs.norm() * targets.norm())


MADE = nn.Linear(2, 2)

WORKS = {
    "plain": own(),
    "a missing value that the model replaces": own(
        data(at(17, NAN)), lambda: Through(before=torch.nan_to_num)
    ),
    "an ignored class": own(data(targets=at(140, -100, CLASSES))),
    "data and model in double precision": own(data(POINTS.double()), lambda: nn.Linear(2, 2).double()),
    "embedded words": embedding(data(WORDS)),
    "frozen parameters": own(model=frozen_part),
    "batch norm": own(model=lambda: nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(), nn.Linear(2, 2))),
    "augmentation in place": own(augment=lambda x, g: x.add_(torch.rand(x.shape, generator=g))),
    "a loss of the batch as a whole": regression(data(targets=VALUES), correlation),
    "data made in inference mode": own(torch.inference_mode()(data())),
    "one row for all": own(data(POINTS[:1].expand(200, 2))),
    "one example": own(lambda directory: Data((POINTS[:1], CLASSES[:1]), (POINTS[:1], CLASSES[:1]))),
    "batch norm of two examples": own(
        lambda directory: Data((POINTS[:2], CLASSES[:2]), (POINTS[:1], CLASSES[:1])),
        lambda: nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)),
    ),
}  # fmt: skip

FAILS = {
    "a missing input": (own(data(at(17, NAN))), "the loss of training example 17 is nan: its inputs or targets are"),
    "an infinite input": (own(data(at((140, 1), math.inf))), "training example 140 is nan"),
    "a missing input of validation": (own(data(at(190, NAN))), "the inputs of example 40 are not finite"),
    "one behind those that are tried first": (
        own(data(x=at(130, NAN), y=CLASSES)), "the loss of validation example 130 is nan",
    ),
    "a missing target": (regression(data(targets=at(17, NAN, VALUES))), "the loss of training example 17 is nan"),
    "a missing value in the gradient alone": (
        own(data(at(17, NAN)), lambda: Through(after=lambda o: torch.where(torch.isnan(o), torch.zeros_like(o), o))),
        "the gradient of training example 17 is not finite",
    ),
    "a value that overflows": (regression(data(at(99, 1e30), VALUES)), "the loss of training example 99 is inf"),
    "a class that there is not": (own(data(targets=at(140, 7, CLASSES))), "example 140 raised IndexError: Target 7"),
    "and of validation": (own(data(y=at(130, 7, CLASSES), x=POINTS)), "validation example 130 raised IndexError"),
    "a negative class": (own(data(targets=at(140, -1, CLASSES))), "training example 140 raised IndexError: Target -1"),
    "no class at all": (own(data(targets=torch.full((200,), -100))), "loss of a freshly initialized model is nan"),
    "a word that there is not": (embedding(data(at((140, 1), 10, WORDS))), "training example 140 raised IndexError"),
    "other targets of validation": (own(data(y=CLASSES[150:].float())), "loss of validation data raised RuntimeError"),
    "other inputs of validation": (own(data(x=POINTS[150:].double())), "model raised RuntimeError"),
    "other targets of tests": (own(data(test_y=CLASSES[150:].float())), "loss of test data raised RuntimeError"),
    "a missing input of tests": (own(data(test_x=at(130, NAN), test_y=CLASSES)), "test example 130 is nan"),
    "double precision of data alone": (own(data(POINTS.double())), "model raised RuntimeError: mat1 and mat2"),
    "the same model again": (own(model=lambda: MADE), "model returned the same parameters twice"),
    "weights of another generator": (own(model=of_numpy), "two models of one seed begin with different weight"),
    "inputs changed by the model": (own(model=lambda: Through(lambda x: x.sub_(0.5))), "evaluation changes the inputs"),
    "inputs changed by prepare": (own(prepare=lambda x: x.sub_(0.5)), "evaluation changes the inputs in place"),
    "targets changed by the loss": (
        regression(data(targets=VALUES), lambda o, t: squared(o, t.sub_(1))), "evaluation changes the targets in place",
    ),
    "no second derivative": (
        own(model=lambda: Through(after=Once.apply)), "two steps with adahessian raised RuntimeError",
    ),
    "sparse gradients": (embedding(data(WORDS), sparse=True), "two steps with sofim raised RuntimeError: SOFIM does"),
    "a complex loss": (own(loss=lambda o, t: cross_entropy(o, t) + 0j), "loss returned a complex number"),
    "a complex metric": (own(metric=lambda o, t: o.mean() + 0j), "metric metric returned a complex number"),
    "batch norm of one example": (
        own(
            lambda directory: Data((POINTS[:1], CLASSES[:1]), (POINTS[:1], CLASSES[:1])),
            lambda: nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)),
        ),
        "model raised ValueError: Expected more than 1 value per channel",
    ),
    "a model for one batch size": (own(model=lambda: Through(lambda x: x.view(64, 2))), "model raised RuntimeError"),
    "inputs with a graph": (own(lambda d: data(nn.Linear(2, 2)(POINTS))(d)), "the inputs of a Split carry an autograd"),
    "inputs that want a gradient": (
        own(lambda d: data(POINTS.clone().requires_grad_())(d)), "the inputs of a Split carry an autograd graph",
    ),
    "targets with a graph": (
        regression(lambda d: data(targets=nn.Linear(2, 1)(POINTS).squeeze(1))(d)), "the targets of a Split carry an",
    ),
    "sparse data": (
        own(lambda d: Data((POINTS.to_sparse(), CLASSES), (POINTS, CLASSES))), "the inputs of a Split are dense",
    ),
    "lists": (own(lambda d: Data((POINTS.tolist(), CLASSES), (POINTS, CLASSES))), "tensors, not list; torch.as_tensor"),
}  # fmt: skip


def rehearsed(workload):
    data = check(workload, test=None)
    rehearse(workload, data, SEARCH_SPACES, test=data.has_test)


@pytest.mark.parametrize("name", WORKS)
def test_what_works_is_not_refused(name):
    before = torch.get_rng_state()
    rehearsed(WORKS[name])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", FAILS)
def test_what_cannot_work_is_one_line_that_names_the_persons_file(name):
    workload, words = FAILS[name]
    with pytest.raises(UserError) as caught:
        rehearsed(workload)
    message = str(caught.value)
    assert message.startswith("workload own: ")
    assert words in message
    assert "\n" not in message
    assert re.search(rf"\({re.escape(__file__)}:\d+\)(; |$)", message)


def test_what_one_optimizer_cannot_do_names_those_that_can():
    with pytest.raises(UserError, match=r"; leave that out: --optimizers sofim,sgd,adam,adamw,lbfgs,muon\b"):
        rehearsed(FAILS["no second derivative"][0])
    workload = FAILS["no second derivative"][0]
    rehearse(workload, check(workload), {key: SEARCH_SPACES[key] for key in ("sofim", "sgd", "lbfgs")})


def test_batches_of_one_are_tried_where_the_search_may_draw_them():
    workload = own(model=lambda: nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)))
    spaces = {"sgd": SEARCH_SPACES["sgd"].override({"batch_size": [1, 8]})}
    with pytest.raises(UserError, match=r"one example, as batch_size = 1 in \[search_space.sgd\] allows, with sgd"):
        rehearse(workload, check(workload), spaces)


def test_data_drawn_without_a_seed_are_the_same_wherever_they_are_read():
    def drawn(directory):
        points = torch.rand(20, 2) + torch.from_numpy(np.random.rand(20, 2)).float()  # noqa: NPY002
        return Data((points, CLASSES[:20]), (points, CLASSES[:20]))

    workload = own(drawn)
    first = load(workload, None)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    assert torch.equal(load(workload, None).train.inputs, first.train.inputs)
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002
    [record] = train(workload, OPTIMIZERS["sgd"], {"lr": 0.1, "batch_size": 8}, 0, 1)
    [again] = train(workload, OPTIMIZERS["sgd"], {"lr": 0.1, "batch_size": 8}, 0, 1)
    assert record.train_loss == again.train_loss


def test_messages_point_at_the_line_of_a_workload_whose_functions_are_a_librarys(tmp_path: Path):
    source = "import torch\nfrom torch import nn\nfrom studies.workloads import *\nimport studies.workloads as w\n"
    file = tmp_path / "mine.py"
    file.write_text(
        f"{source}x = torch.ones(8, 2), torch.full((8,), 9)\n"
        "def own(load):\n"
        "    return w.Workload('own', load, nn.Flatten, nn.functional.cross_entropy, w.Metric('e', 'minimize'))\n"
    )
    names: dict[str, object] = {}
    exec(compile(file.read_text(), str(file), "exec"), names)
    workload = names["own"](lambda directory: Data(names["x"], names["x"]))
    with pytest.raises(UserError, match=re.escape(f"no parameters to train ({file}:7)")):
        check(workload)
