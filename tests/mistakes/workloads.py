"""Mistakes in workloads of one's own."""

from __future__ import annotations

from typing import Any

from tests.mistakes.mistake import Mistake

MINE = """\
import torch
from torch import nn
from studies.workloads import Data, Metric, Workload, accuracy

def load(directory):
    points = torch.rand(90, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    classes = (points.prod(dim=1) > 0).long()
    return Data((points[:60], classes[:60]), (points[60:], classes[60:]))

def net():
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))

METRIC = Metric("accuracy", "maximize", accuracy)

def made(**changes):
    fields = {"load": load, "model": net, "loss": nn.functional.cross_entropy, "metric": METRIC, "epochs": 2}
    return Workload("xor", **{**fields, **changes})

"""
"""A module with all that a workload needs; a row adds what makes one, and a mistake."""


def own(
    id: str, code: str, says: str, *, typed: str = "launch quickstart --workload mine:xor", **changes: Any
) -> Mistake:
    """A mistake in ``mine.py``, which ends with ``code`` and makes its workload by ``xor``."""
    return Mistake(id=id, typed=typed, files={"mine.py": MINE + code}, says=says, **changes)


MAKES = "def xor():\n    return made("

ROWS = [
    # more than rows of tensors
    own(
        "a stream without its length",
        f"{MAKES}sample=lambda data, n, generator: data.train.inputs[:n])\n",
        (
            "workload mine:xor: xor() raised ValueError: examples, of which sample makes an epoch, is a whole number "
            "from 1, not None ({here}/mine.py:17)"
        ),
    ),
    own(
        "a stream that is not the seed's",
        "def sample(data, n, generator):\n    rows = torch.randint(60, (n,))\n"
        f"    return data.train.inputs[rows], data.train.targets[rows]\n{MAKES}sample=sample, examples=60)\n",
        (
            "workload xor: sample returned different batches for the same seed; draw from the generator that it is "
            "given alone, and change neither data nor anything else ({here}/mine.py:19)"
        ),
    ),
    own(
        "an evaluation of a computed metric",
        f"{MAKES}evaluate=lambda model, data, split: 1.0)\n",
        (
            "workload mine:xor: xor() raised ValueError: metric.function and evaluate both compute the metric; leave "
            "one out ({here}/mine.py:17)"
        ),
    ),
    # found and made
    Mistake(
        id="a module that is not there",
        typed="launch quickstart --workload nope:xor",
        says="workload nope:xor: there is no module nope in {here} or elsewhere on Python's path",
    ),
    Mistake(
        id="a package that is not there",
        typed="launch quickstart --workload nope.deep:xor",
        says="workload nope.deep:xor: there is no module nope in {here} or elsewhere on Python's path",
    ),
    Mistake(
        id="no form of a name",
        typed="launch quickstart --workload 'my file.py:xor'",
        says=(
            "workloads = ['my file.py:xor']: 'my file.py:xor' is unknown: known are {workloads}, and "
            "package.module:factory for your own"
        ),
    ),
    own(
        "a factory that is not there",
        "def xro():\n    return made()\n",
        "workload mine:xor: {here}/mine.py has no xor; did you mean xro?",
    ),
    own(
        "a module that imports what is not there",
        "import nothing_of_that_name\n",
        (
            "workload mine:xor: importing mine raised ModuleNotFoundError: No module named "
            "'nothing_of_that_name' ({here}/mine.py:19)"
        ),
    ),
    own(
        "a module that is no Python",
        "def xor(:\n",
        "workload mine:xor: importing mine raised SyntaxError: invalid syntax (mine.py, line 19) ({here}/mine.py:19)",
    ),
    own(
        "a module that raises",
        "raise RuntimeError('no\\nluck')\n",
        "workload mine:xor: importing mine raised RuntimeError: no luck ({here}/mine.py:19)",
    ),
    own(
        "a module that ends Python",
        "raise SystemExit(0)\n",
        "workload mine:xor: importing mine raised SystemExit: 0 ({here}/mine.py:19)",
    ),
    own(
        "a factory that is a number",
        "xor = 3\n",
        "workload mine:xor: xor in {here}/mine.py is of type int, not a function",
    ),
    own(
        "a factory that raises",
        "def xor():\n    return 1 / 0\n",
        "workload mine:xor: xor() raised ZeroDivisionError: division by zero ({here}/mine.py:20)",
    ),
    own(
        "a factory that wants arguments",
        "def xor(epochs):\n    return made()\n",
        (
            "workload mine:xor: xor() raised TypeError: xor() missing 1 required positional argument: 'epochs' "
            "({here}/mine.py:19)"
        ),
    ),
    own(
        "a factory that returns nothing",
        "def xor():\n    made()\n",
        "workload mine:xor: xor() returned NoneType, not a studies.workloads.Workload ({here}/mine.py:19)",
    ),
    own(
        "a factory that returns a model",
        "def xor():\n    return net()\n",
        "workload mine:xor: xor() returned Sequential, not a studies.workloads.Workload ({here}/mine.py:19)",
    ),
    own(
        "a name that is taken",
        "def xor():\n    return Workload('digits-mlp', load, net, nn.functional.cross_entropy, METRIC)\n",
        "workload mine:xor: the name digits-mlp belongs to the project's own; choose another ({here}/mine.py:19)",
    ),
    own(
        "epochs that are none",
        f"{MAKES}epochs=0)\n",
        "workload mine:xor: xor() raised ValueError: epochs is a whole number from 1, not 0 ({here}/mine.py:17)",
    ),
    own(
        "a model that is made already",
        f"{MAKES}model=net())\n",
        (
            "workload mine:xor: xor() raised TypeError: model is a function that makes a new model, not a "
            "model (lambda: MyNet() is one) ({here}/mine.py:17)"
        ),
    ),
    # data
    own(
        "data that cannot be loaded",
        f"{MAKES}load=lambda directory: open('nowhere'))\n",
        (
            "workload xor: load raised FileNotFoundError: [Errno 2] No such file or directory: 'nowhere' "
            "({here}/mine.py:20)"
        ),
    ),
    own(
        "data that are no data",
        f"{MAKES}load=lambda directory: [1, 2, 3])\n",
        "workload xor: load returned a value of type list, not a Data ({here}/mine.py:20)",
    ),
    own(
        "data without an example",
        f"{MAKES}load=lambda directory: Data((torch.ones(0, 2), torch.ones(0)), (torch.ones(5, 2), torch.ones(5))))\n",
        "workload xor: load raised ValueError: a Split has no examples ({here}/mine.py:20)",
    ),
    own(
        "more inputs than targets",
        f"{MAKES}load=lambda directory: Data((torch.ones(5, 2), torch.ones(4)), (torch.ones(5, 2), torch.ones(5))))\n",
        "workload xor: load raised ValueError: a Split has 5 inputs but 4 targets ({here}/mine.py:20)",
    ),
    Mistake(
        id="no test data to confirm on",
        typed="launch quickstart --workload mine:xor --confirm",
        files={"mine.py": f"{MINE}{MAKES})\n"},
        says="workload xor has no test data; give its Data a third split to confirm winners on it",
    ),
    own(
        "data with an autograd graph",
        f"""
def features(directory):
    points = net()(torch.rand(90, 2))
    return Data((points[:60], points[:60]), (points[60:], points[60:]))

{MAKES}load=features)
""",
        (
            "workload xor: load raised ValueError: the inputs of a Split carry an autograd graph, which the first step "
            "would use up; compute them under torch.no_grad(), or .detach() them ({here}/mine.py:22)"
        ),
    ),
    own(
        "data with a missing value",
        f"""
def missing(directory):
    data = load(directory)
    data.train.inputs[50, 1] = torch.nan
    return data

{MAKES}load=missing)
""",
        (
            "workload xor: the loss of training example 50 is nan: its inputs or targets are not finite "
            "({here}/mine.py:20)"
        ),
    ),
    own(
        "data with a class that there is not",
        f"""
def beyond(directory):
    data = load(directory)
    data.train.targets[50] = 2
    return data

{MAKES}load=beyond)
""",
        (
            "workload xor: computing training example 50 raised IndexError: Target 2 is out of bounds. "
            "({here}/mine.py:17)"
        ),
    ),
    Mistake(
        id="a file with the name of a module of Python",
        typed="launch quickstart --workload types:xor",
        files={"types.py": "def xor(): ..."},
        says=(
            "workload types:xor: {here}/types.py has the name of a module of Python, which is imported instead; "
            "rename it"
        ),
    ),
    Mistake(
        id="a workload of a notebook",
        typed="launch quickstart --workload __main__:nobody_defined",
        says=(
            "workload __main__:nobody_defined: was defined in a notebook or a script, and this process has no "
            "nobody_defined; run its definition in this one and call studies.tune again, or move it to a file, "
            "mine.py, and name it mine:nobody_defined"
        ),
    ),
    # model, loss and metric
    own(
        "a model that is made once",
        f"ONE = net()\n\n{MAKES}model=lambda: ONE)\n",
        (
            "workload xor: model returned the same parameters twice, so that a trial would go on with those that "
            "another has trained; make a new model in each call ({here}/mine.py:22)"
        ),
    ),
    own(
        "a model that changes its inputs",
        f"""
class Shifts(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs.sub_(0.5))

{MAKES}model=lambda: Shifts(2, 2))
""",
        (
            "workload xor: evaluation changes the inputs in place, so that every epoch would see others; compute new "
            "tensors in model, prepare and loss (x = x - 1 for x -= 1) ({here}/mine.py:25)"
        ),
    ),
    own(
        "a model without a second derivative",
        f"""
class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, outputs):
        return outputs * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient * 2

{MAKES}loss=lambda outputs, targets: nn.functional.cross_entropy(Twice.apply(outputs), targets))
""",
        (
            "workload xor: two steps with adahessian raised RuntimeError: <any> ({here}/mine.py:<any>); "
            "leave that out: --optimizers sgd"
        ),
        typed="launch quickstart --workload mine:xor --optimizers sgd,adahessian",
    ),
    own(
        "a model that is none",
        f"{MAKES}model=lambda: 3)\n",
        "workload xor: model returned a value of type int, not a torch.nn.Module ({here}/mine.py:20)",
    ),
    own(
        "a model without parameters",
        f"{MAKES}model=nn.Flatten)\n",
        "workload xor: the model has no parameters to train ({here}/mine.py:17)",
    ),
    own(
        "a model of another width",
        f"{MAKES}model=lambda: nn.Linear(3, 2))\n",
        (
            "workload xor: model raised RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x2 and 3x2) "
            "({here}/mine.py:20)"
        ),
    ),
    own(
        "a loss that is a number",
        f"{MAKES}loss=lambda outputs, targets: 0.5)\n",
        "workload xor: loss returned a value of type float, not a tensor ({here}/mine.py:20)",
    ),
    own(
        "a loss for each example",
        f"{MAKES}loss=lambda outputs, targets: outputs.sum(dim=1))\n",
        "workload xor: loss returned a tensor of shape [4], not its mean over the batch ({here}/mine.py:20)",
    ),
    own(
        "a loss that is no number from the start",
        f"{MAKES}loss=lambda outputs, targets: outputs.mean() * torch.nan)\n",
        "workload xor: loss of a freshly initialized model is nan ({here}/mine.py:20)",
    ),
    own(
        "a loss that forgets the model",
        f"{MAKES}loss=lambda outputs, targets: outputs.detach().mean())\n",
        "workload xor: the loss does not depend on the model's parameters ({here}/mine.py:20)",
    ),
    own(
        "a loss whose gradient fails",
        f"""
class Broken(torch.autograd.Function):
    @staticmethod
    def forward(ctx, outputs):
        return outputs.mean()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("no gradient")

{MAKES}loss=lambda outputs, targets: Broken.apply(outputs))
""",
        "workload xor: the gradient of its loss raised RuntimeError: no gradient ({here}/mine.py:27)",
    ),
    own(
        "a metric that raises",
        f"{MAKES}metric=Metric('share', 'maximize', lambda outputs, targets: outputs[7]))\n",
        (
            "workload xor: metric share raised IndexError: index 7 is out of bounds for dimension 0 with size "
            "4 ({here}/mine.py:20)"
        ),
    ),
    own(
        "a metric that is a number",
        f"{MAKES}metric=Metric('share', 'maximize', lambda outputs, targets: 0.5))\n",
        "workload xor: metric share returned a value of type float, not a tensor ({here}/mine.py:20)",
    ),
    own(
        "a metric that is not a number",
        f"{MAKES}metric=Metric('share', 'maximize', lambda outputs, targets: outputs.mean() * torch.nan))\n",
        "workload xor: metric share of a freshly initialized model is nan ({here}/mine.py:20)",
    ),
    own(
        "a metric that is not a number on validation data",
        f"""
def distance(outputs, targets):
    return (outputs.mean() - targets.mean()).abs()

def missing(directory):
    targets = torch.ones(90)
    targets[60:] = torch.nan
    return Data((torch.ones(60, 2), targets[:60]), (torch.ones(30, 2), targets[60:]))

def loss(outputs, targets):
    return outputs.square().mean()

{MAKES}load=missing, loss=loss, metric=Metric("distance", "minimize", distance))
""",
        "workload xor: metric distance of a freshly initialized model on validation data is nan ({here}/mine.py:20)",
    ),
    own(
        "a metric that ends as none",
        f"{MAKES}metric=Metric('share', 'maximize', accuracy, finish=lambda value: float('nan')))\n",
        "workload xor: finish of metric share returned nan for <any> ({here}/mine.py:20)",
    ),
    own(
        "a metric whose end raises",
        f"{MAKES}metric=Metric('share', 'maximize', accuracy, finish=lambda value: 1 / 0))\n",
        "workload xor: finish of metric share raised ZeroDivisionError: division by zero ({here}/mine.py:20)",
    ),
    own(
        "a metric whose end is nothing",
        f"{MAKES}metric=Metric('share', 'maximize', accuracy, finish=lambda value: None))\n",
        "workload xor: finish of metric share returned nothing (None), not a number ({here}/mine.py:20)",
    ),
    own(
        "a direction that is none",
        f"{MAKES}metric=Metric('share', 'up', accuracy))\n",
        (
            "workload mine:xor: xor() raised ValueError: a metric's direction is 'maximize' or 'minimize', not "
            "'up' ({here}/mine.py:20)"
        ),
    ),
    Mistake(
        id="an own workload to tune that raises",
        typed="tune mine:xor --budget 10",
        files={"mine.py": f"{MINE}def xor():\n    raise KeyError('xor')\n"},
        says="workload mine:xor: xor() raised KeyError: 'xor' ({here}/mine.py:20)",
    ),
    own(
        "a training that raises",
        f"""
import sys

class Homely(nn.Linear):
    def forward(self, inputs):
        if "default_worker" in getattr(sys.modules["__main__"], "__file__", ""):
            raise RuntimeError("not in this process")
        return super().forward(inputs)

{MAKES}model=lambda: Homely(2, 2))
""",
        (
            "campaign 'quickstart': all of its 3 trials failed, the last: RuntimeError: not in this process "
            "({here}/mine.py:25); mend that and run it under another name with --name"
        ),
        typed="launch quickstart --workload mine:xor --optimizers sgd --trials 3 --cpus-per-trial 2",
        cluster="joined",
        storage="empty",
        leaves="studies",
        prints=True,
    ),
]
