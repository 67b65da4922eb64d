"""Time of one optimizer step: SOFIM against torch's optimizers, the paper's formula as written, and memory traffic.

    python benchmarks/step_time.py [--device cuda] [--seconds 30]
    python benchmarks/step_time.py --rows

All candidates take turns of a millisecond in every round, so that a disturbance hits them alike, and ratios are taken
within a round. Read the ratios; the times are those of this machine at this hour. Where others use the machine too, the
ratio of the best times says most.

With ``--rows`` every optimizer of the table at its space's default instead, and how many numbers it keeps for a
parameter: means over steps, so that what is done now and then is in them. A closure, a graph of the gradients and
Hessian-vector products are of half the squared norm of all parameters, the cheapest loss there is, and in the time.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import random
import statistics
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torchvision

from search_spaces import OF_TRAINING, SEARCH_SPACES
from sofim import OPTIMIZERS, SOFIM, OptimizerSpec
from studies import models

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.nn import Parameter

BASE, FUSED = "SGD momentum, foreach", "SGD momentum, fused"
LENET5 = [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 256), (120,), (84, 120), (84,), (10, 84), (10,)]


def resnet18() -> list[tuple[int, ...]]:
    """Shapes of torchvision's ResNet18 with the CIFAR stem and ten classes: 62 tensors, 11,173,962 parameters."""
    model = torchvision.models.resnet18(num_classes=10)
    model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    return [tuple(param.shape) for param in model.parameters()]


def naive_step(params: list[Parameter]) -> Callable[[], None]:
    """Return the paper's step, line by line: the average, its bias correction, Sherman–Morrison's two terms."""
    lr, beta, rho = 1e-6, 0.9, 0.5
    averages = [torch.zeros_like(param) for param in params]
    count = 0

    @torch.no_grad()
    def step() -> None:
        nonlocal averages, count
        count += 1
        averages = [beta * m + (1 - beta) * param.grad for m, param in zip(averages, params, strict=True)]
        corrected = [m / (1 - beta**count) for m in averages]
        square_norm = sum((m * m).sum() for m in corrected)
        for param, m in zip(params, corrected, strict=True):
            direction = m / rho - m * square_norm / (rho**2 * (1 + square_norm / rho))
            param -= lr * direction

    return step


def candidates(params: list[Parameter]) -> dict[str, Callable[[], object]]:
    lr = 1e-6
    optimizers = {
        "SOFIM": SOFIM(params, lr),
        "SOFIM, foreach=False": SOFIM(params, lr, foreach=False),
        "SOFIM, a block a tensor": SOFIM(params, lr, blocks="tensor"),
        "SOFIM along gradients": SOFIM(params, lr, direction="gradient"),
        BASE: torch.optim.SGD(params, lr, momentum=0.9, foreach=True),
        "SGD momentum, for-loop": torch.optim.SGD(params, lr, momentum=0.9, foreach=False),
        FUSED: torch.optim.SGD(params, lr, momentum=0.9, fused=True),
        "Adam, foreach": torch.optim.Adam(params, lr, foreach=True),
        "Adam, for-loop": torch.optim.Adam(params, lr, foreach=False),
        "Adam, fused": torch.optim.Adam(params, lr, fused=True),
    }
    if params[0].is_cpu:
        optimizers["SOFIM, fused"] = SOFIM(params, lr, fused=True)
    return {name: optimizer.step for name, optimizer in optimizers.items()} | {
        "SOFIM as the paper writes it": naive_step(params)
    }


def traffic(size: int, device: torch.device) -> Callable[[], None]:
    """Two sweeps of `out ← a + b`, six tensors' worth of memory traffic, which is what no SOFIM step can go without.

    It reads the gradient, reads and writes the average; when the norm is known it reads the average, reads and writes
    the parameter. This assumes that the norm is summed in the first sweep and that no tensor stays in a cache between
    the sweeps; where they do stay, as at LeNet5 size, it is measured on tensors that stay, and calls are the true cost.
    """
    first, second, third = (torch.zeros(size, device=device) for _ in range(3))

    def sweeps() -> None:
        torch.add(first, second, out=second)
        torch.add(second, third, out=third)

    return sweeps


def measure(functions: dict[str, Callable[[], object]], device: torch.device, seconds: float) -> dict[str, list[float]]:
    """Seconds a call, one entry a round, every function in every round."""

    def timed(function: Callable[[], object], calls: int) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        for _ in range(calls):
            function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - start) / calls

    for function in functions.values():
        timed(function, 3)
    calls = {name: max(1, round(0.001 / timed(function, 3))) for name, function in functions.items()}
    times: dict[str, list[float]] = {name: [] for name in functions}
    order = random.Random(0)
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(times[BASE]) < 5:
        # In a new order each time: what ran before leaves its mark on caches and allocator.
        for name in order.sample(list(functions), len(functions)):
            times[name].append(timed(functions[name], calls[name]))
    return times


def print_table(title: str, times: dict[str, list[float]], size: int) -> None:
    bound = "memory traffic bound"
    bandwidth = 6 * 4 * size / statistics.median(times[bound]) / 1e9
    print(f"\n{title}: {len(times[BASE])} rounds, medians; bound at {bandwidth:.0f} GB/s\n")
    columns = ("ms a step", "× SGD foreach", "× SGD fused", "(of best times)", "× bound")
    print(f"| {'':30} | {' | '.join(columns)} |")
    print(f"|{'-' * 32}|{'|'.join('-' * (len(column) + 1) + ':' for column in columns)}|")
    for name, own in sorted(times.items(), key=lambda item: statistics.median(item[1])):
        to_base, to_fused, to_bound = (
            statistics.median(a / b for a, b in zip(own, times[other], strict=True)) for other in (BASE, FUSED, bound)
        )
        ratios = (to_base, to_fused, min(own) / min(times[FUSED]), to_bound)
        cells = (f"{ratio:{len(column)}.2f}" for ratio, column in zip(ratios, columns[1:], strict=True))
        print(f"| {name:30} | {statistics.median(own) * 1e3:9.4f} | {' | '.join(cells)} |")


def stepper(spec: OptimizerSpec, model: torch.nn.Module) -> tuple[Callable[[], object], torch.optim.Optimizer]:
    """Return a step of a row of the table, with all that it needs but the gradient, and the optimizer."""
    params = list(model.parameters())
    grads = [torch.randn_like(param) for param in params]
    space = SEARCH_SPACES[spec.key]
    arguments = {name: value for name, value in space.arguments(space.default).items() if name not in OF_TRAINING}
    optimizer = spec.factory(params if spec.groups is None else spec.groups(model), **arguments | {"lr": 1e-6})
    if spec.has_modes:
        optimizer.train()

    def loss() -> torch.Tensor:
        return sum(param.square().sum() for param in params) / 2

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    def step() -> None:
        if spec.needs_closure:
            optimizer.step(closure)
            return
        if spec.needs_hessian and optimizer.refresh_due:
            optimizer.refresh(loss())
        if spec.needs_create_graph:
            optimizer.zero_grad()
            torch.autograd.backward(loss(), create_graph=True)
        else:
            for param, grad in zip(params, grads, strict=True):
                param.grad = grad
        optimizer.step()
        optimizer.zero_grad()

    return step, optimizer


def kept(value: object) -> int:
    """Return how many numbers there are in the tensors of a state."""
    if isinstance(value, torch.Tensor):
        return value.numel()
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return sum(kept(entry) for entry in entries)


def print_rows(title: str, model: torch.nn.Module, steps: int, rounds: int = 3) -> None:
    """Print time and state of every row of the table on a model's parameters; ratios are within a round."""
    size = sum(param.numel() for param in model.parameters())
    warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph=True")
    made = {key: stepper(spec, copy.deepcopy(model)) for key, spec in OPTIMIZERS.items()}
    times: dict[str, list[float]] = {key: [] for key in made}
    order = random.Random(0)
    for _ in range(rounds):
        for key in order.sample(list(made), len(made)):
            step, _ = made[key]
            step()
            start = time.perf_counter()
            for _ in range(steps):
                step()
            times[key].append((time.perf_counter() - start) / steps)
    print(f"\n{title}, {size:,} parameters, float32, {rounds} rounds of {steps} steps, medians\n")
    print(f"| {'':20} | {'ms a step':>10} | {'× sgd':>7} | {'numbers kept a parameter':>24} |")
    print(f"|{'-' * 22}|{'-' * 11}:|{'-' * 8}:|{'-' * 25}:|")
    for key, (_, optimizer) in made.items():
        ratio = statistics.median(own / of_sgd for own, of_sgd in zip(times[key], times["sgd"], strict=True))
        state = kept(optimizer.state_dict()["state"]) / size
        print(f"| {key:20} | {statistics.median(times[key]) * 1e3:10.3f} | {ratio:7.1f} | {state:24.2f} |", flush=True)


def machine(device: torch.device) -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    parts = [cpu or platform.machine(), f"{os.cpu_count()} cores", f"torch {torch.__version__}", "threads=1"]
    if device.type == "cuda":
        parts.append(torch.cuda.get_device_name(device))
    return ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=25.0, help="a table (default: %(default)s)")
    parser.add_argument("--rows", action="store_true", help="every optimizer of the table instead")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(machine(device))
    if arguments.rows:
        lenet5 = models.LeNet5(channels=1, size=28, num_classes=10, padding=0)
        for title, model, steps in (("ResNet18", models.resnet18(10), 10), ("LeNet5", lenet5, 200)):
            print_rows(title, model.to(device), steps)
        return
    for title, shapes in (("ResNet18", resnet18()), ("LeNet5", LENET5)):
        params = [torch.nn.Parameter(0.1 * torch.randn(shape, device=device)) for shape in shapes]
        for param in params:
            param.grad = torch.randn_like(param)
        size = sum(param.numel() for param in params)
        functions = candidates(params) | {"memory traffic bound": traffic(size, device)}
        times = measure(functions, device, arguments.seconds)
        print_table(f"{title}, {len(params)} tensors, {size:,} parameters, float32", times, size)


if __name__ == "__main__":
    main()
