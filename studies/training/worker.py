"""What one worker does with one assignment: train, and send what it learns in few messages.

No Ray and no Optuna here: the engine hands in ``send``.
"""

from __future__ import annotations

import json
import math
import pickle
import platform
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

from search_spaces.errors import UserError
from studies.modules import also_look_in
from studies.training.allowance import affinity
from studies.training.contention import CpuContention
from studies.trials import Assignment

if TYPE_CHECKING:
    from studies.training.running import Running
    from studies.workloads._pickled import Kind

SEND_SECONDS = 0.25  # epochs that take less share a message: each costs a round trip through one loop

_greeted = False  # whether this process has sent its first message, an empty one that says that it has started

End = Literal["complete", "diverged", "failed", "interrupted"]


class Message(TypedDict):
    """What a worker sends.

    Attributes:
        records: One mapping an epoch, in order: the fields of :class:`studies.training.run.Record`. A trial that
            goes on from a checkpoint sends those of the epochs before it again.
        end: How the trial ended, or ``None`` while it goes on; ``"interrupted"``: it stopped because it was to.
        failure: Why, when it failed.
        saved: Whether a checkpoint has all that the trial has done.
        facts: What else there is to say of the run: user attributes of the trial, by their names in the database.
            ``device``: On which it runs; ``busy_seconds``: wall time since the trial began that went into training,
            evaluation and loading; ``resumed``: epochs that it had from a checkpoint; ``checkpoint_failure``: why its
            last checkpoint could not be written; of confirmation runs ``exclusive``: whether it is alone on its
            device, ``other_cores``: how many of the machine's ``cores`` other programs kept busy meanwhile.
    """

    records: list[dict[str, float]]
    end: End | None
    failure: str | None
    saved: bool
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What all trials of a campaign share.

    Attributes:
        schedule: Of the learning rate.
        warmup: Share of all steps in which it rises, but for trials that have a warm-up of their own.
        amp: Whether to train in bfloat16 where that is safe (GPUs).
        data_directory: Where the nodes have the data; ``None``: the usual places.
        use_gpu: Whether trials were given a share of a GPU.
        checkpoint_every: Epochs between two checkpoints; 0: none.
        modules: Directories where a person's modules are found, after those where the worker itself looks.
        carried: What of a person's own no file can be imported of: workload or optimizer, its name, and it, pickled.
        optimizers: The tables of the campaign's own optimizers by name, as JSON.
    """

    schedule: str = "constant"
    warmup: float = 0.0
    amp: bool = False
    data_directory: Path | None = None
    use_gpu: bool = False
    checkpoint_every: int = 1
    modules: tuple[str, ...] = ()
    carried: tuple[tuple[Kind, str, bytes], ...] = ()
    optimizers: str = "{}"


class CheckpointStore(Protocol):
    """Where checkpoints are, and whether the driver wants trials to stop: what a worker may ask for beside sending."""

    def save(self, key: str, content: bytes) -> None:
        """Put a checkpoint in the place of an earlier one; raise ``OSError`` if that fails."""

    def load(self, key: str) -> bytes | None:
        """Return the checkpoint, or ``None`` where there is none."""

    def stop_requested(self) -> bool:
        """Return whether trials are to end with the epoch that they are at."""


def run(
    assignment: Assignment,
    options: TrainingOptions,
    send: Callable[[Message], None],
    store: CheckpointStore,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Train ``assignment`` and send records as they come; never raise but what ``send`` raises.

    It goes on from its checkpoint, if it has one. With what it sends it saves one, if that is due: epochs that take
    less than a quarter of a second share a checkpoint as they share a message.

    Args:
        assignment: What to train.
        options: Of the campaign.
        send: Takes a :class:`Message`; may raise to stop the trial.
        store: Where checkpoints are.
        facts: What the caller knows of the run; joins those that are sent.
    """
    global _greeted
    device, device_name = _device(options.use_gpu)
    if not _greeted:
        _warm_up()
        send(Message(records=[], end=None, failure=None, saved=False, facts={}))
        _greeted = True
    contention = CpuContention() if assignment.confirmation else None  # of trials of the search nobody asks
    trial = _Trial(assignment, options, device, store, {"device": device_name, **facts})
    sent = time.monotonic()
    end: End | None = None
    try:
        while end is None:
            end = trial.advance()
            if end is None and time.monotonic() - sent > SEND_SECONDS:
                end = trial.save_if_due()
                if end is None:
                    send(trial.message(None))  # which raises where the trial is to stop
                    sent = time.monotonic()
    finally:
        trial.close()
    if device == "cuda":
        trial.free_gpu()
    if contention is not None:
        trial.facts |= {"other_cores": round(contention.other_cores(), 3), "cores": len(affinity())}
    send(trial.message(end))


@dataclass(frozen=True, slots=True)
class Trained:
    """What is kept of a run that was trained once more, up to one of its epochs.

    Attributes:
        device: On which it ran, in a person's words.
        on_gpu: Whether that is a GPU.
        weights: Those that are evaluated, as ``studies.training.saved.exported`` has them.
        optimizer: The optimizer's state, if it was asked for.
        metric: On validation data, after that epoch.
        failure: Why there is nothing of it.
    """

    device: str = ""
    on_gpu: bool = False
    weights: bytes = b""
    optimizer: bytes | None = None
    metric: float = math.nan
    failure: str | None = None


def train_again(
    assignment: Assignment, options: TrainingOptions, epoch: int, store: CheckpointStore, *, optimizer_state: bool
) -> Trained:
    """Train ``assignment`` up to ``epoch``, and return what the model is then; raise nothing that its code raises.

    It goes on from its checkpoint, if it has one.

    Args:
        assignment: What was trained before.
        options: Of the campaign.
        epoch: From 1; the schedule spans the whole budget all the same.
        store: Where checkpoints are.
        optimizer_state: Whether the optimizer's state is wanted too.
    """
    device, name = _device(options.use_gpu)
    trial = _Trial(assignment, options, device, store, {})
    return trial.up_to(epoch, Trained(name, device == "cuda"), optimizer_state=optimizer_state)


class _Trial:
    """A training run on its way, what of it has not been sent, and what of it has been saved."""

    def __init__(
        self,
        assignment: Assignment,
        options: TrainingOptions,
        device: str,
        store: CheckpointStore,
        facts: dict[str, Any],
    ) -> None:
        self._assignment, self._options, self._device, self._store = assignment, options, device, store
        self.facts = facts
        self._run: Running | None = None
        self._records: list[dict[str, float]] = []
        self._sent = 0  # of these
        self._saved = 0  # epoch of the last checkpoint
        self._busy_seconds = 0.0
        self._failure: str | None = None

    def advance(self) -> End | None:
        """Train an epoch; return how the trial ended, if it did. Whatever the user's code raises ends it."""
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
            self._busy_seconds += time.monotonic() - began
        fields = asdict(record)
        self._records.append({n: entry for n, entry in fields.items() if n != "diverged" and entry is not None})
        if record.diverged:
            return "diverged"
        return "complete" if self._run.finished else None

    def _begin(self) -> Running:
        """Return the run, as far as its checkpoint has it."""
        content = self._store.load(self._assignment.checkpoint) if self._assignment.checkpoint else None
        if content is not None:
            from studies.training.checkpoints import restore

            run = self._new_run()
            done = restore(run, content, self._identity())
            if done is not None:
                self._records, self._busy_seconds = done.records, done.busy_seconds
                self._saved = self.facts["resumed"] = run.epoch
                return run
        return self._new_run()

    def _new_run(self) -> Running:
        import torch

        from studies.optimizers import resolve
        from studies.workloads import TrainingFunction

        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)
        assignment, options = self._assignment, self._options
        tables = json.loads(options.optimizers)
        workload, data = _workload(assignment.workload, options, assignment.split)
        row = resolve(assignment.optimizer, tables)
        if isinstance(workload, TrainingFunction):
            from studies.training.function_run import FunctionRun

            return FunctionRun(
                workload, row, assignment.arguments, seed=assignment.seed, budget=assignment.epochs,
                of_optimizer=tables.get(assignment.optimizer) != {}, schedule=options.schedule, warmup=options.warmup,
                device=self._device, test=assignment.test, chosen_batch_size=assignment.chosen_batch_size,
            )  # fmt: skip
        from studies.training.run import Run

        return Run(
            workload, row, assignment.arguments, seed=assignment.seed, budget=assignment.epochs, data=data,
            schedule=options.schedule, warmup=options.warmup, device=self._device, amp=options.amp,
            test=assignment.test,
        )  # fmt: skip

    def _identity(self) -> dict[str, object]:
        """Return what a checkpoint must agree in with the trial that is to go on from it."""
        names = ("workload", "optimizer", "arguments", "seed", "epochs", "test", "split")
        shared = {"schedule": self._options.schedule, "warmup": self._options.warmup, "device": self._device}
        return {name: getattr(self._assignment, name) for name in names} | shared

    def save_if_due(self) -> End | None:
        """Save the state if that is due, or if trials are to stop; return whether this one does."""
        assert self._run is not None
        stopping = self._store.stop_requested()
        every = self._options.checkpoint_every
        every = every if self._run.resumable else 0
        due = self._run.epoch - self._saved >= every
        if self._assignment.checkpoint and every and (due or (stopping and self._run.epoch > self._saved)):
            from studies.training.checkpoints import snapshot

            try:
                content = snapshot(self._run, self._identity(), self._records, self._busy_seconds)
                self._store.save(self._assignment.checkpoint, content)
                self._saved = self._run.epoch
                self.facts.pop("checkpoint_failure", None)
            # the trial is worth more than its checkpoint: a full disk, a model with a state that cannot be saved
            except Exception as error:
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                self.facts["checkpoint_failure"] = reason
        return "interrupted" if stopping else None

    def up_to(self, epoch: int, trained: Trained, *, optimizer_state: bool) -> Trained:
        """Train up to an epoch; return ``trained`` with what the model is then, or why it is nothing."""
        from studies.training.run import Run
        from studies.training.saved import exported

        saved = time.monotonic()
        while self._run is None or self._run.epoch < epoch:
            end = self.advance()
            if end == "failed":
                return replace(trained, failure=self._failure)
            assert self._run is not None
            if end == "diverged":
                return replace(trained, failure=f"it diverged in epoch {self._run.epoch}")
            if self._run.epoch < epoch and time.monotonic() - saved > SEND_SECONDS:
                self.save_if_due()
                saved = time.monotonic()
        assert isinstance(self._run, Run)  # a training function's model is refused before
        try:
            weights, optimizer = exported(self._run, optimizer_state=optimizer_state)
        except UserError as error:
            return replace(trained, failure=str(error))
        return replace(trained, weights=weights, optimizer=optimizer, metric=self._records[-1]["metric"])

    def message(self, end: End | None) -> Message:
        """Return what has not been sent."""
        records, self._sent = self._records[self._sent :], len(self._records)
        return Message(
            records=records,
            end=end,
            failure=self._failure,
            saved=self._saved == self._sent,
            facts={**self.facts, "busy_seconds": self._busy_seconds},
        )

    def close(self) -> None:
        """Have the run give back what it holds."""
        if self._run is not None:
            self._run.close()

    def free_gpu(self) -> None:
        """Give back the run's memory, and what torch keeps for the next tensors: other trials may share the GPU."""
        import torch

        self._run = None
        torch.cuda.empty_cache()


def _warm_up() -> None:
    """Import what the first optimizer of a process imports, two seconds' worth, before any trial is on the clock."""
    import torch

    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


@cache
def _workload(name: str, options: TrainingOptions, split: int | None) -> tuple[Any, Any]:
    """Return the workload and its data, drawn by ``split``: once a process, however many trials it runs."""
    from studies.workloads import TrainingFunction, carry, load, resolve

    also_look_in(options.modules)
    for kind, key, content in options.carried:
        carry(key, pickle.loads(content), kind)
    workload = resolve(name)
    return workload, None if isinstance(workload, TrainingFunction) else load(workload, options.data_directory, split)


def _describe(error: BaseException) -> str:
    import torch

    if isinstance(error, torch.cuda.OutOfMemoryError):
        return f"CUDA out of memory: {error}"
    if isinstance(error, UserError):
        return str(error)
    return "".join(traceback.format_exception(error)).strip()


@cache
def _device(use_gpu: bool) -> tuple[str, str]:
    """Return the device in torch's words and in a person's."""
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
