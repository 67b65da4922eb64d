"""What a GPU is for: checks and measurements of optimizers, training and the engine on a CUDA device.

    python benchmarks/gpu.py --data DIR                 # one card, at most eight minutes
    python benchmarks/gpu.py --device cpu --quick       # the same on a CPU, as a smoke test of this script

Checks end in OK or FAIL, measurements in numbers; the table comes last, and the exit code is 1 if anything failed. What
the time does not suffice for is left out and said. CIFAR-10 is looked for in DIR (`sofim data` says in which format);
without it, random images of its shape are trained on, whose times are the same.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from step_time import BASE, LENET5, machine, measure, print_table, resnet18, traffic
from torch import nn

from sofim import OPTIMIZERS, SOFIM, sofim_update
from studies.data import Data, Split
from studies.training.run import train
from studies.workloads import WORKLOADS, Workload, load

ROOT = Path(__file__).resolve().parents[1]
MINUTES = 8.0


@dataclass
class Bench:
    """What the parts share.

    Attributes:
        device: Where to compute.
        data: Directory of CIFAR-10's files; `None`: random images.
        quick: Few steps and small models, to try the script.
        ends: When no further part begins, on the clock of `time.monotonic`.
        rows: What was found: part, result, and whether that is as it must be (`None`: a measurement).
    """

    device: torch.device
    data: Path | None
    quick: bool
    ends: float
    rows: list[tuple[str, str, bool | None]] = field(default_factory=list)

    def note(self, part: str, result: str, ok: bool | None = None) -> None:
        """Keep and print a result."""
        self.rows.append((part, result, ok))
        print(f"  {part}: {result}{'' if ok is None else '  OK' if ok else '  FAIL'}", flush=True)

    @property
    def cuda(self) -> bool:
        """Return whether this is a GPU."""
        return self.device.type == "cuda"

    def seconds(self, function: Callable[[], object]) -> float:
        """Return how long a call takes, the device's work included."""
        self.wait()
        began = time.perf_counter()
        function()
        self.wait()
        return time.perf_counter() - began

    def wait(self) -> None:
        """Wait for the device."""
        if self.cuda:
            torch.cuda.synchronize(self.device)


def shapes(bench: Bench) -> dict[str, list[tuple[int, ...]]]:
    return {"LeNet5": LENET5} if bench.quick else {"ResNet18": resnet18(), "LeNet5": LENET5}


def parameters(sizes: list[tuple[int, ...]], device: torch.device, dtype: torch.dtype = torch.float32):
    """Return parameters with gradients, the same on every device."""
    numbers = torch.Generator().manual_seed(0)
    params = [nn.Parameter((0.1 * torch.randn(size, generator=numbers)).to(device, dtype)) for size in sizes]
    for param in params:
        param.grad = torch.randn(param.shape, generator=numbers).to(device, dtype)
    return params


def forms(bench: Bench) -> dict[str, dict[str, object]]:
    """Return the ways in which SOFIM can be asked to step, by name, those that this version has."""
    asked = {
        "SOFIM": {},
        "SOFIM, for-loop": {"foreach": False},
        "SOFIM, fused": {"fused": True},
        "SOFIM, gradient": {"direction": "gradient"},
        "SOFIM, a block a tensor": {"blocks": "tensor"},
    }
    there = {}
    for name, options in asked.items():
        try:
            SOFIM([nn.Parameter(torch.ones(2, device=bench.device))], 0.1, **options)
            there[name] = options
        except (TypeError, ValueError, RuntimeError) as error:
            result = f"not there: {error}".splitlines()[0]
            if (name, result, None) not in bench.rows:
                bench.note(name, result)
    return there


def step_without_waiting(bench: Bench) -> None:
    """Step without making the host wait for the device."""
    for name, options in forms(bench).items():
        params = parameters(LENET5, bench.device)
        optimizer = SOFIM(params, 1e-3, **options)
        optimizer.step()  # which makes the state, and compiles what is compiled
        if not bench.cuda:
            bench.note(f"no synchronization, {name}", "a CPU has none")
            continue
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(3):
                optimizer.step()
            bench.note(f"no synchronization, {name}", "3 steps", True)
        except RuntimeError as error:
            bench.note(f"no synchronization, {name}", str(error).splitlines()[0], False)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def step_times(bench: Bench) -> None:
    """Time a step against SGD's and Adam's, fused and not."""
    ways = forms(bench)
    for title, sizes in shapes(bench).items():
        params = parameters(sizes, bench.device)
        optimizers = {
            **{name: SOFIM(params, 1e-6, **options) for name, options in ways.items()},
            BASE: torch.optim.SGD(params, 1e-6, momentum=0.9, foreach=True),
            "SGD momentum, fused": torch.optim.SGD(params, 1e-6, momentum=0.9, fused=True),
            "Adam, foreach": torch.optim.Adam(params, 1e-6, foreach=True),
            "Adam, fused": torch.optim.Adam(params, 1e-6, fused=True),
        }
        size = sum(param.numel() for param in params)
        functions = {name: optimizer.step for name, optimizer in optimizers.items()}
        functions["memory traffic bound"] = traffic(size, bench.device)
        times = measure(functions, bench.device, 1.0 if bench.quick else 8.0)
        print_table(f"{title}, {len(params)} tensors, {size:,} parameters, float32", times, size)
        fused = "SGD momentum, fused"
        for name in ways:
            ratio = statistics.median(a / b for a, b in zip(times[name], times[fused], strict=True))
            bench.note(f"step of {name}, {title}", f"{ratio:.2f} × SGD fused")


def same_as_cpu(bench: Bench) -> None:
    """Twenty steps give what they give on the CPU, to rounding."""
    for name, options in forms(bench).items():
        for dtype, tolerance in ((torch.float32, 2e-5), (torch.float64, 1e-13)):
            results = []
            for device in (bench.device, torch.device("cpu")):
                params = parameters(LENET5, device, dtype)
                optimizer = SOFIM(params, 0.1, rho=0.5, weight_decay=1e-3, **options)
                for _ in range(20):
                    optimizer.step()
                results.append(torch.cat([param.detach().cpu().flatten() for param in params]))
            apart = float((results[0] - results[1]).norm() / results[1].norm())
            bench.note(f"as on the CPU, {name}, {dtype}"[:60], f"relative difference {apart:.1e}", apart < tolerance)


def precisions(bench: Bench) -> None:
    """bfloat16, channels-last and GradScaler train as float32 does."""
    reference = trained(bench, lambda model: model)
    ways: dict[str, dict[str, object]] = {
        "autocast to bfloat16": {"autocast": torch.bfloat16},
        "bfloat16 weights": {"change": lambda model: model.to(torch.bfloat16), "dtype": torch.bfloat16},
        "channels-last": {"change": lambda model: model.to(memory_format=torch.channels_last)},
        "GradScaler, float16": {"autocast": torch.float16, "scaled": True},
    }
    for name, options in ways.items():
        change = options.pop("change", lambda model: model)
        loss = trained(bench, change, **options)
        bench.note(name, f"loss {loss:.3f}, float32 {reference:.3f}", abs(loss - reference) < 0.1 * reference + 0.05)


def trained(
    bench: Bench,
    change: Callable[[nn.Module], nn.Module],
    *,
    dtype: torch.dtype = torch.float32,
    autocast: torch.dtype | None = None,
    scaled: bool = False,
) -> float:
    """Return the loss of a LeNet5 that SOFIM has trained for some steps on one batch."""
    torch.manual_seed(0)
    workload = WORKLOADS["cifar10-lenet5"]
    model = change(workload.model().to(bench.device))
    images = torch.randn(256, 3, 32, 32, generator=torch.Generator().manual_seed(1)).to(bench.device, dtype)
    labels = (torch.arange(256) % 10).to(bench.device)
    optimizer = SOFIM(model.parameters(), 0.5, rho=0.5)
    scaler = torch.amp.GradScaler(bench.device.type, enabled=scaled)
    for _ in range(10 if bench.quick else 60):
        optimizer.zero_grad()
        with torch.autocast(bench.device.type, autocast or torch.bfloat16, enabled=autocast is not None):
            loss = nn.functional.cross_entropy(model(images), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    return loss.item()


def images_of(bench: Bench, workload: Workload, *, examples: int | None = None) -> Data:
    """Return CIFAR-10, or random images of a workload's shape."""
    if bench.data is not None and workload.dataset == "cifar10" and examples is None:
        return load(workload, bench.data)
    numbers = torch.Generator().manual_seed(0)
    classes = workload.model()(workload.prepare(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))).shape[1]

    def split(size: int) -> Split:
        pixels = torch.randint(0, 256, (size, 3, 32, 32), dtype=torch.uint8, generator=numbers)
        return Split(pixels, torch.randint(0, classes, (size,), generator=numbers))

    size = examples or 45_000
    return Data(split(size), split(max(2, size // 9)))


def epochs(bench: Bench) -> None:
    """Seconds an epoch of the paper's workloads, evaluation apart, in bfloat16 and in float32."""
    names = ["cifar10-lenet5", "cifar10-resnet18", "cifar100-resnet9", "svhn-resnet9"]
    arguments = {"batch_size": 128, "lr": 0.1}
    for name in names[:1] if bench.quick else names:
        workload = WORKLOADS[name]
        data = images_of(bench, workload, examples=1_000 if bench.quick else None)
        for amp in (False, True) if bench.cuda else (False,):
            row = OPTIMIZERS["sofim"]
            records = train(workload, row, arguments, 0, 2, data=data, device=bench.device, amp=amp)
            first, second = (record.seconds for record in records)
            told = f"{second - first:.2f} s ({len(data.train):,} images; the first epoch {first:.2f} s)"
            bench.note(f"an epoch of {name}{', bfloat16' if amp else ''}", told)


_OWN = '''"""Workloads of the check: one that asks for more memory than there is, and one beside it."""

import os

import ray
import torch
from studies.data import Data, Split
from studies.workloads import Metric, Workload


def _data(directory=None):
    numbers = torch.Generator().manual_seed(0)
    inputs = torch.randn(20_000, 64, generator=numbers)
    targets = (inputs.sum(dim=1) > 0).long()
    return Data(Split(inputs[:18_000], targets[:18_000]), Split(inputs[18_000:], targets[18_000:]))


def _model():
    if torch.cuda.is_available():
        with open(os.environ["SOFIM_BENCH_LOG"], "a") as log:
            print(os.getpid(), torch.cuda.memory_allocated(), torch.cuda.memory_reserved(), file=log)
    return torch.nn.Sequential(torch.nn.Linear(64, 4_096), torch.nn.ReLU(), torch.nn.Linear(4_096, 2))


def _hungry(outputs, targets):
    if ray.is_initialized():  # a first look at the workload, before any trial, is to find nothing
        torch.empty(10**14, dtype=torch.uint8, device=outputs.device)
    return torch.nn.functional.cross_entropy(outputs, targets)


def _accuracy(outputs, targets):
    return (outputs.argmax(dim=1) == targets).double().mean()


def neighbour():
    loss = torch.nn.functional.cross_entropy
    return Workload("neighbour", _data, _model, loss, Metric("accuracy", "maximize", _accuracy), epochs=3)


def hungry():
    return Workload("hungry", _data, _model, _hungry, Metric("accuracy", "maximize", _accuracy), epochs=3)
'''


def launched(bench: Bench, directory: Path, campaign: dict[str, object], at_once: int) -> tuple[str, float]:
    """Run a campaign through Ray; return the database and the seconds of its trials, first start to last end."""
    file, database = directory / f"{campaign['name']}.toml", directory / f"{campaign['name']}.db"
    file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in campaign.items()))
    share = ["--gpus-per-trial", f"{1 / at_once:g}"] if bench.cuda else []
    cpus = ["--cpus-per-trial", f"{min(1.0, (os.cpu_count() or 1) / at_once):.3g}"]
    data = [] if bench.data is None else ["--data", str(bench.data)]
    storage = f"sqlite:///{database}"
    command = [sys.executable, "-m", "studies.cli", "launch", str(file), "--storage", storage, *share, *cpus, *data]
    path = os.pathsep.join(filter(None, [str(ROOT), str(directory), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "SOFIM_BENCH_LOG": str(directory / "memory.txt")}
    done = subprocess.run(command, env=environment, cwd=directory, capture_output=True, text=True)
    trials = [trial for study in studies_in(storage) for trial in study.trials if trial.datetime_complete is not None]
    if done.returncode not in (0, 2) or not trials:  # 2: every trial of an optimizer failed, which may be the subject
        raise RuntimeError(
            f"launch ended with {done.returncode}: {' '.join((done.stdout + done.stderr)[-400:].split())}"
        )
    began = min(trial.datetime_complete.timestamp() - trial.user_attrs.get("busy_seconds", 0.0) for trial in trials)
    return storage, max(trial.datetime_complete.timestamp() for trial in trials) - began


def studies_in(storage: str) -> Iterator[object]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in optuna.get_all_study_names(storage):
        yield optuna.load_study(study_name=name, storage=storage)


def trials_a_minute(bench: Bench) -> None:
    """Trials a minute at 1, 2, 4 and 8 trials a GPU, through Ray: two epochs each, none stopped."""
    names = ["digits-lenet5"] if bench.data is None or not bench.cuda else ["cifar10-lenet5", "cifar10-resnet18"]
    for name in names:
        base = None
        for at_once in (1, 2) if bench.quick or not bench.cuda else (1, 2, 4, 8):
            if time.monotonic() > bench.ends:
                bench.note(f"{name}, {at_once} trials at once", "left out: the time is over")
                continue
            trials = max(2, at_once) if name == "cifar10-resnet18" else 2 * at_once
            campaign = {
                "name": f"pace-{at_once}", "workloads": [name], "optimizers": ["sofim"], "trials": trials,
                "epochs": 2, "sampler": "random", "pruner": "none", "batch_size": 128, "amp": bench.cuda,
            }  # fmt: skip
            with tempfile.TemporaryDirectory() as directory:
                _, seconds = launched(bench, Path(directory), campaign, at_once)
            pace = 60 * trials / seconds
            base = base or pace
            bench.note(f"{name}, {at_once} trials at once", f"{pace:.1f} trials a minute ({pace / base:.2f} ×)")


def out_of_memory(bench: Bench) -> None:
    """Tell a trial without memory as a FAIL that names it, leave its neighbours undisturbed, give memory back."""
    values = {}
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "gpu_check.py").write_text(_OWN)
        for name, workloads in (
            ("alone", ["gpu_check:neighbour"]),
            ("beside", ["gpu_check:neighbour", "gpu_check:hungry"]),
        ):
            campaign = {
                "name": name, "workloads": workloads, "optimizers": ["sofim"], "trials": 4, "sampler": "random",
                "pruner": "none", "batch_size": 512,
            }  # fmt: skip
            storage, _ = launched(bench, place, campaign, 2)
            by_workload = {study.user_attrs["workload"]: study.trials for study in studies_in(storage)}
            values[name] = [trial.value for trial in by_workload["gpu_check:neighbour"]]
            failures = {str(t.user_attrs.get("failure", "")) for t in by_workload.get("gpu_check:hungry", [])}
            states = {trial.state.name for trial in by_workload.get("gpu_check:hungry", [])}
        word = "out of memory" if bench.cuda else "memory"
        told = next(iter(failures), "").strip().splitlines()
        named = states == {"FAIL"} and all(word in failure for failure in failures)
        bench.note("out of memory", f"{sorted(states)}: {told[-1][:70] if told else ''}", named)
        apart = max(abs(a - b) for a, b in zip(values["alone"], values["beside"], strict=True))
        bench.note("the neighbours' values", f"{apart:.1g} apart", apart == 0 if not bench.cuda else apart < 1e-3)
        log = place / "memory.txt"
        if log.exists():
            allocated = [int(line.split()[1]) for line in log.read_text().splitlines()]
            most = max(allocated) / 2**20
            bench.note("memory that the last trial left", f"{most:.1f} MiB at most, {len(allocated)} trials", most < 64)


def many_at_once(bench: Bench) -> None:
    """K LeNet5 trained at once by `torch.func.vmap`, against one after the other and K processes."""
    steps = 5 if bench.quick else 40
    images = torch.randn(128, 3, 32, 32, generator=torch.Generator().manual_seed(1)).to(bench.device)
    labels = (torch.arange(128) % 10).to(bench.device)
    net = WORKLOADS["cifar10-lenet5"].model().to(bench.device)

    def loss_of(params: dict[str, torch.Tensor]) -> torch.Tensor:
        return nn.functional.cross_entropy(torch.func.functional_call(net, params, (images,)), labels)

    def step(params: dict[str, torch.Tensor], averages: dict[str, torch.Tensor], rho: torch.Tensor, count: int):
        grads = torch.func.grad(loss_of)(params)
        names = list(params)
        new, kept = sofim_update(
            [params[n] for n in names], [grads[n] for n in names], [averages[n] for n in names], count,
            lr=0.1, beta=0.9, rho=rho,
        )  # fmt: skip
        return dict(zip(names, new, strict=True)), dict(zip(names, kept, strict=True))

    def together(count: int) -> None:
        many = {n: p.detach().expand(count, *p.shape).contiguous() for n, p in net.named_parameters()}
        averages = {n: torch.zeros_like(p) for n, p in many.items()}
        rho = torch.logspace(-2, 1, count, device=bench.device)
        for number in range(1, steps + 1):
            many, averages = torch.vmap(step, in_dims=(0, 0, 0, None))(many, averages, rho, number)

    together(1)
    alone = bench.seconds(lambda: together(1))
    for count in (2, 4) if bench.quick else (2, 4, 8, 16):
        at_once = bench.seconds(lambda count=count: together(count))
        processes = side_by_side(bench, count, steps)
        told = f"{count * alone / at_once:.2f} × one after the other; {count} processes {processes:.2f} × one process"
        bench.note(f"{count} models at once by vmap", told)


def side_by_side(bench: Bench, count: int, steps: int) -> float:
    """Return by how much more K processes do than one, each in its own loop, the start not counted."""
    code = (
        "import sys, time, torch\n"
        "from sofim import SOFIM\n"
        "from studies.workloads import WORKLOADS\n"
        "torch.set_num_threads(1)\n"
        f"device = torch.device({str(bench.device)!r})\n"
        "net = WORKLOADS['cifar10-lenet5'].model().to(device)\n"
        "images, labels = torch.randn(128, 3, 32, 32, device=device), (torch.arange(128) % 10).to(device)\n"
        "optimizer = SOFIM(net.parameters(), 0.1)\n"
        "def steps(count):\n"
        "    for _ in range(count):\n"
        "        optimizer.zero_grad()\n"
        "        torch.nn.functional.cross_entropy(net(images), labels).backward()\n"
        "        optimizer.step()\n"
        "    torch.cuda.synchronize() if device.type == 'cuda' else None\n"
        "steps(3)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "began = time.perf_counter()\n"
        f"steps({steps})\n"
        "print(time.perf_counter() - began, flush=True)\n"
    )
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    seconds = {}
    for number in (1, count):
        running = [
            subprocess.Popen(
                [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
            for _ in range(number)
        ]  # fmt: skip
        for process in running:
            process.stdout.readline()
        for process in running:
            process.stdin.write("\n")
            process.stdin.flush()
        seconds[number] = max(float(process.communicate()[0]) for process in running)
    return count * seconds[1] / seconds[count]


PARTS = (
    step_without_waiting, same_as_cpu, precisions, out_of_memory, trials_a_minute, step_times, epochs, many_at_once,
)  # fmt: skip
"""In this order: what can fail comes before what is only measured."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda or cpu (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="directory with CIFAR-10's files")
    parser.add_argument("--quick", action="store_true", help="few steps, small models")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="no part begins later (default: %(default)s)")
    parser.add_argument("--only", choices=[part.__name__ for part in PARTS], nargs="+", help="these parts alone")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is there; --device cpu tries the script")
    torch.set_num_threads(1)
    began = time.monotonic()
    # what was begun may take its time: the last part begins a minute before the end
    data = None if options.data is None else options.data.absolute()
    bench = Bench(device, data, options.quick, began + 60 * (options.minutes - 1))
    print(machine(device))
    for part in PARTS:
        if options.only and part.__name__ not in options.only:
            continue
        print(f"\n{part.__doc__.splitlines()[0]}  [{time.monotonic() - began:.0f} s]", flush=True)
        if time.monotonic() > bench.ends:
            bench.note(part.__name__, "left out: the time is over")
            continue
        try:
            part(bench)
        except Exception as error:  # the other parts are worth the minutes
            traceback.print_exc()
            bench.note(
                part.__name__, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", False
            )
    print(f"\n{machine(device)}; {time.monotonic() - began:.0f} s\n")
    print(f"| {'':44} | {'':70} |    |\n|{'-' * 46}|{'-' * 72}|----|")
    for name, result, ok in bench.rows:
        print(f"| {name[:44]:44} | {result[:70]:70} | {'' if ok is None else 'OK' if ok else 'FAIL':4} |")
    return int(any(ok is False for _, _, ok in bench.rows))


if __name__ == "__main__":
    sys.exit(main())
