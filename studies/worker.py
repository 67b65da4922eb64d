"""What one worker does with one assignment: train, and send what it learns in few messages.

No Ray and no Optuna here: the engine hands in ``send``.
"""

from __future__ import annotations

import platform
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import psutil

from studies.errors import UserError
from studies.neighbours import Neighbours
from studies.trials import Assignment

SEND_SECONDS = 0.25  # epochs that take less share a message: each costs a round trip through one loop

_greeted = False  # whether this process has sent its first message, an empty one that says that it has started

End = Literal["complete", "diverged", "failed"]


class Message(TypedDict):
    """What a worker sends.

    Attributes:
        records: one mapping an epoch, in order: the fields of :class:`studies.training.Record`.
        device: on which the trial runs.
        end: how the trial ended, or ``None`` while it goes on.
        failure: why, when it failed.
        busy_seconds: wall time since the trial began that went into training, evaluation and loading.
        exclusive: whether a confirmation run is alone on its device; the engine adds it.
        other_cores: how many cores other programs kept busy while a confirmation run ran.
        cores: how many the machine has.
    """

    records: list[dict[str, float]]
    device: str
    end: End | None
    failure: str | None
    busy_seconds: float
    exclusive: NotRequired[bool]
    other_cores: NotRequired[float]
    cores: NotRequired[int]


@dataclass(frozen=True, slots=True)
class Setting:
    """What all trials of a campaign share.

    Attributes:
        schedule: of the learning rate.
        amp: whether to train in bfloat16 where that is safe (GPUs).
        data_directory: where the nodes have the data; ``None``: the usual places.
        use_gpu: whether trials were given a share of a GPU.
    """

    schedule: str = "constant"
    amp: bool = False
    data_directory: Path | None = None
    use_gpu: bool = False


def run(assignment: Assignment, setting: Setting, send: Callable[[Message], None]) -> None:
    """Trains ``assignment`` and sends records as they come; never raises but what ``send`` raises.

    Args:
        assignment: what to train.
        setting: of the campaign.
        send: takes a :class:`Message`; may raise to stop the trial.
    """
    global _greeted
    device, shown = _device(setting.use_gpu)
    if not _greeted:
        _warm_up()
        send(Message(records=[], device=shown, end=None, failure=None, busy_seconds=0.0))
        _greeted = True
    outbox: list[dict[str, float]] = []
    sent = time.monotonic()
    end: End = "complete"
    failure = None
    records = _train(assignment, setting, device)
    neighbours = Neighbours() if assignment.confirmation else None  # of trials of the search nobody asks
    busy = 0.0
    while True:
        began = time.monotonic()
        try:
            record = next(records)
        except StopIteration:
            break
        # whatever the user's model or data raises, or that it calls exit(): this trial fails, the others go on
        except (Exception, SystemExit) as error:
            end, failure = "failed", _describe(error)
            break
        busy += time.monotonic() - began
        fields = asdict(record)
        outbox.append({name: value for name, value in fields.items() if name != "diverged" and value is not None})
        if record.diverged:
            end = "diverged"
            break
        if time.monotonic() - sent > SEND_SECONDS and record.epoch < assignment.epochs:
            send(Message(records=outbox, device=shown, end=None, failure=None, busy_seconds=busy))
            outbox, sent = [], time.monotonic()
    records.close()
    if device == "cuda":
        _leave_the_gpu()
    last = Message(records=outbox, device=shown, end=end, failure=failure, busy_seconds=busy)
    if neighbours is not None:
        last |= {"other_cores": round(neighbours.cores(), 3), "cores": psutil.cpu_count() or 1}
    send(last)


def _leave_the_gpu() -> None:
    """Gives back the memory that torch keeps for the next tensors: other trials may share the GPU."""
    import torch

    torch.cuda.empty_cache()


def _train(assignment: Assignment, setting: Setting, device: str) -> Generator[Any]:
    import torch

    from sofim import OPTIMIZERS
    from studies.training import train

    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    workload, data = _workload(assignment.workload, setting.data_directory)
    yield from train(
        workload,
        OPTIMIZERS[assignment.optimizer],
        assignment.arguments,
        assignment.seed,
        assignment.epochs,
        data=data,
        schedule=setting.schedule,
        device=device,
        amp=setting.amp,
        test=assignment.test,
    )


def _warm_up() -> None:
    """Imports what the first optimizer of a process imports, two seconds' worth, before any trial is on the clock."""
    import torch

    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


@cache
def _workload(name: str, data_directory: Path | None) -> tuple[Any, Any]:
    """The workload and its data: once a process, however many trials it runs."""
    from studies.workloads import resolve

    workload = resolve(name)
    return workload, workload.load(data_directory)


def _describe(error: BaseException) -> str:
    import torch

    if isinstance(error, torch.cuda.OutOfMemoryError):
        return f"CUDA out of memory: {error}"
    if isinstance(error, UserError):
        return str(error)
    return "".join(traceback.format_exception(error)).strip()


@cache
def _device(use_gpu: bool) -> tuple[str, str]:
    """The device in torch's words and in a person's."""
    import torch

    if use_gpu and torch.cuda.is_available():
        return "cuda", torch.cuda.get_device_name()
    return "cpu", f"CPU {_cpu_name()}"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
