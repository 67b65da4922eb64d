"""What one worker does with one assignment: train, and send what it learns in few messages.

No Ray and no Optuna here: the engine hands in ``send``.
"""

from __future__ import annotations

import pickle
import platform
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Protocol, TypedDict

from search_spaces.errors import UserError
from studies.modules import also_look_in
from studies.training.allowance import affinity
from studies.training.contention import Neighbours
from studies.trials import Assignment

if TYPE_CHECKING:
    from studies.training.run import Run

SEND_SECONDS = 0.25  # epochs that take less share a message: each costs a round trip through one loop

_greeted = False  # whether this process has sent its first message, an empty one that says that it has started

End = Literal["complete", "diverged", "failed", "interrupted"]


class Message(TypedDict):
    """What a worker sends.

    Attributes:
        records: one mapping an epoch, in order: the fields of :class:`studies.training.run.Record`. A trial that
            goes on from a checkpoint sends those of the epochs before it again.
        device: on which the trial runs.
        end: how the trial ended, or ``None`` while it goes on; ``"interrupted"``: it stopped because it was to.
        failure: why, when it failed.
        busy_seconds: wall time since the trial began that went into training, evaluation and loading.
        saved: whether a checkpoint has all that the trial has done.
        resumed: epochs that it had from a checkpoint.
        checkpoint_failure: why its last checkpoint could not be written.
        exclusive: whether a confirmation run is alone on its device; the engine adds it.
        other_cores: how many cores other programs kept busy while a confirmation run ran.
        cores: how many the machine has.
    """

    records: list[dict[str, float]]
    device: str
    end: End | None
    failure: str | None
    busy_seconds: float
    saved: NotRequired[bool]
    resumed: NotRequired[int]
    checkpoint_failure: NotRequired[str]
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
        checkpoint_every: epochs between two checkpoints; 0: none.
        modules: directories where a person's modules are found, after those where the worker itself looks.
        carried: workloads of which no file can be imported, by name, pickled.
    """

    schedule: str = "constant"
    amp: bool = False
    data_directory: Path | None = None
    use_gpu: bool = False
    checkpoint_every: int = 1
    modules: tuple[str, ...] = ()
    carried: tuple[tuple[str, bytes], ...] = ()


class Vault(Protocol):
    """Where checkpoints are, and whether the driver wants trials to stop: what a worker may ask for beside sending."""

    def save(self, key: str, content: bytes) -> None:
        """Keeps a checkpoint instead of an earlier one; raises ``OSError`` if it cannot."""

    def load(self, key: str) -> bytes | None:
        """The checkpoint, ``None`` where there is none."""

    def stopping(self) -> bool:
        """Whether trials are to end with the epoch that they are at."""


class NoVault:
    """Keeps nothing."""

    def save(self, key: str, content: bytes) -> None:
        """Nothing is kept."""

    def load(self, key: str) -> bytes | None:
        """There is none."""
        return None

    def stopping(self) -> bool:
        """Never."""
        return False


def run(assignment: Assignment, setting: Setting, send: Callable[[Message], None], vault: Vault | None = None) -> None:
    """Trains ``assignment`` and sends records as they come; never raises but what ``send`` raises.

    It goes on from its checkpoint, if it has one. With what it sends it saves one, if that is due: epochs that take
    less than a quarter of a second share a checkpoint as they share a message.

    Args:
        assignment: what to train.
        setting: of the campaign.
        send: takes a :class:`Message`; may raise to stop the trial.
        vault: where checkpoints are.
    """
    global _greeted
    device, shown = _device(setting.use_gpu)
    if not _greeted:
        _warm_up()
        send(Message(records=[], device=shown, end=None, failure=None, busy_seconds=0.0))
        _greeted = True
    neighbours = Neighbours() if assignment.confirmation else None  # of trials of the search nobody asks
    trial = _Trial(assignment, setting, device, vault or NoVault())
    sent = time.monotonic()
    end: End | None = None
    while end is None:
        end = trial.advance()
        if end is None and time.monotonic() - sent > SEND_SECONDS:
            end = trial.save_if_due()
            if end is None:
                send(trial.message(shown, None))
                sent = time.monotonic()
    if device == "cuda":
        trial.close()
        _leave_the_gpu()
    last = trial.message(shown, end)
    if neighbours is not None:
        last |= {"other_cores": round(neighbours.cores(), 3), "cores": len(affinity())}
    send(last)


class _Trial:
    """A training run on its way, what of it has not been sent, and what of it has been saved."""

    def __init__(self, assignment: Assignment, setting: Setting, device: str, vault: Vault) -> None:
        self._assignment, self._setting, self._device, self._vault = assignment, setting, device, vault
        self._run: Run | None = None
        self._all: list[dict[str, float]] = []  # records
        self._sent = 0
        self._saved = 0  # epoch of the last checkpoint
        self._resumed = 0
        self._busy = 0.0
        self._failure: str | None = None
        self._not_saved: str | None = None  # why

    def advance(self) -> End | None:
        """Trains an epoch; says how the trial ended, if it did. Whatever the user's code raises ends it."""
        began = time.monotonic()
        try:
            if self._run is None:
                self._run = self._begin()
            if self._run.finished:
                return "complete"
            record = self._run.next_epoch()
        # whatever the user's model or data raises, or that it calls exit(): this trial fails, the others go on
        except (Exception, SystemExit) as error:
            self._failure = _describe(error)
            return "failed"
        finally:
            self._busy += time.monotonic() - began
        fields = asdict(record)
        self._all.append({name: entry for name, entry in fields.items() if name != "diverged" and entry is not None})
        if record.diverged:
            return "diverged"
        return "complete" if self._run.finished else None

    def _begin(self) -> Run:
        """The run, as far as its checkpoint has it."""
        content = self._vault.load(self._assignment.checkpoint) if self._assignment.checkpoint else None
        if content is not None:
            from studies.training.checkpoints import restore

            run = self._new_run()
            found = restore(run, content, self._identity())
            if found is not None:
                self._all, self._busy = found.records, found.busy_seconds
                self._saved = self._resumed = run.epoch
                return run
        return self._new_run()

    def _new_run(self) -> Run:
        import torch

        from sofim import OPTIMIZERS
        from studies.training.run import Run

        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)
        one, setting = self._assignment, self._setting
        workload, data = _workload(one.workload, setting)
        return Run(
            workload, OPTIMIZERS[one.optimizer], one.arguments, seed=one.seed, budget=one.epochs, data=data,
            schedule=setting.schedule, device=self._device, amp=setting.amp, test=one.test,
        )  # fmt: skip

    def _identity(self) -> dict[str, object]:
        """What a checkpoint must agree in with the trial that is to go on from it."""
        one = self._assignment
        return {
            "workload": one.workload, "optimizer": one.optimizer, "arguments": one.arguments, "seed": one.seed,
            "epochs": one.epochs, "test": one.test, "schedule": self._setting.schedule, "device": self._device,
        }  # fmt: skip

    def save_if_due(self) -> End | None:
        """Saves the state if that is due, or if trials are to stop; says whether this one does."""
        assert self._run is not None
        stopping = self._vault.stopping()
        every = self._setting.checkpoint_every
        due = self._run.epoch - self._saved >= every
        if self._assignment.checkpoint and every and (due or (stopping and self._run.epoch > self._saved)):
            from studies.training.checkpoints import snapshot

            try:
                content = snapshot(self._run, self._identity(), self._all, self._busy)
                self._vault.save(self._assignment.checkpoint, content)
                self._saved, self._not_saved = self._run.epoch, None
            # the trial is worth more than its checkpoint: a full disk, a model with a state that cannot be saved
            except Exception as error:
                self._not_saved = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return "interrupted" if stopping else None

    def message(self, device: str, end: End | None) -> Message:
        """What has not been sent."""
        found = Message(
            records=self._all[self._sent :], device=device, end=end, failure=self._failure, busy_seconds=self._busy
        )
        self._sent = len(self._all)
        found["saved"] = self._saved == self._sent
        if self._resumed:
            found["resumed"] = self._resumed
        if self._not_saved is not None:
            found["checkpoint_failure"] = self._not_saved
        return found

    def close(self) -> None:
        """Lets go of the run's memory."""
        self._run = None


def _leave_the_gpu() -> None:
    """Gives back the memory that torch keeps for the next tensors: other trials may share the GPU."""
    import torch

    torch.cuda.empty_cache()


def _warm_up() -> None:
    """Imports what the first optimizer of a process imports, two seconds' worth, before any trial is on the clock."""
    import torch

    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


@cache
def _workload(name: str, setting: Setting) -> tuple[Any, Any]:
    """The workload and its data: once a process, however many trials it runs."""
    from studies.workloads import carry, load, resolve

    also_look_in(setting.modules)
    for key, content in setting.carried:
        carry(key, pickle.loads(content))
    workload = resolve(name)
    return workload, load(workload, setting.data_directory)


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
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
