"""A user's own workload for the engine's tests: it leaves a note of where it was loaded, and can be told to misbehave.

It is copied to a directory of its own, beside which nothing of this project lies.
"""

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path

import ray
import torch
from torch import nn

from studies.trials import Assignment
from studies.workloads import Data, Metric, Workload, accuracy


def _notes():
    """Beside this file, where the code does not travel."""
    return Path(os.environ.get("PROBE_NOTES") or Path(__file__).parent / "notes")


def _told(name, otherwise):
    """What the test says, in the environment or in a file beside the notes."""
    said = _notes() / name
    return float(os.environ.get(name) or (said.read_text() if said.exists() else otherwise))


def _wait_for_the_others():
    """Until so many trials have begun as are to run at once; far longer than any machine takes, and then no more."""
    until = time.monotonic() + 250
    while (_notes() / "notes.tsv").read_text().count("begin\t") < _told("PROBE_TOGETHER", 0):
        if time.monotonic() > until:
            raise TimeoutError("no others run beside this one")
        time.sleep(0.05)


def _in_a_worker():
    return ray.is_initialized() and ray.get_runtime_context().worker.mode == ray.WORKER_MODE


def _note(what):
    if _in_a_worker():
        import studies

        context = ray.get_runtime_context()
        gpus = ",".join(map(str, context.get_accelerator_ids().get("GPU", [])))
        line = "\t".join([what, context.get_node_id(), str(os.getpid()), gpus, __file__, studies.__file__])
        with (_notes() / "notes.tsv").open("a") as file:
            file.write(f"{line}\t{time.time()}\n")


def _load(_directory):
    _note("load")
    points = torch.rand(300, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    classes = (points.prod(dim=1) > 0).long()
    return Data((points[:200], classes[:200]), (points[200:], classes[200:]))


def _model():
    _note("begin")
    if _in_a_worker():
        _wait_for_the_others()
        time.sleep(_told("PROBE_SECONDS", 0))
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))


def plain():
    """Nothing special."""
    return Workload(
        "xor", _load, _model, nn.functional.cross_entropy, Metric("accuracy", "maximize", accuracy), epochs=3
    )


def staying():
    """Has Ray give a trial no time at all to leave its worker."""

    def load(directory):
        if _in_a_worker():
            os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = "0"  # of this worker, which ends with the campaign
        return _load(directory)

    return Workload(
        "xor", load, _model, nn.functional.cross_entropy, Metric("accuracy", "maximize", accuracy), epochs=3
    )


def raising():
    """Raises in the second trial of every worker."""
    calls = []

    def model():
        calls.append(1)
        if _in_a_worker() and len(calls) == 2:
            raise RuntimeError("the second trial is cursed")
        return _model()

    return Workload(
        "xor", _load, model, nn.functional.cross_entropy, Metric("accuracy", "maximize", accuracy), epochs=3
    )


def dying():
    """Kills its worker once, in the middle of a trial."""
    batches = []

    def loss(outputs, targets):
        batches.append(1)
        if _in_a_worker() and len(batches) > 20:
            marker = _notes() / "died"
            if not marker.exists():
                marker.touch()
                os._exit(9)
        return nn.functional.cross_entropy(outputs, targets)

    return Workload("xor", _load, _model, loss, Metric("accuracy", "maximize", accuracy), epochs=3)


def _held_up(how):
    """In one trial of all, a loss that never returns."""

    def loss(outputs, targets):
        if _in_a_worker():
            try:
                (_notes() / how.__name__).touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                _note("hangs")
                how()
        return nn.functional.cross_entropy(outputs, targets)

    return Workload("xor", _load, _model, loss, Metric("accuracy", "maximize", accuracy), epochs=3)


def hanging():
    """Sleeps for ever in C."""

    def sleep():
        time.sleep(1e6)

    return _held_up(sleep)


def deaf():
    """Hears no signal, and keeps the interpreter to itself."""

    def pause():
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        ctypes.PyDLL(None).pause()

    return _held_up(pause)


def printing():
    """Prints without end."""

    def say():
        while True:
            print("and so on" * 100)

    return _held_up(say)


def _assignment():
    """What trains, which is on the stack of whoever asks; ``None`` elsewhere than in a worker."""
    frame = sys._getframe()
    while frame is not None:
        if isinstance(found := frame.f_locals.get("assignment"), Assignment):
            return found
        frame = frame.f_back
    return None


def _in_one_trial(misbehave):
    """In the second trial of sgd, a loss that misbehaves, however often that begins."""

    def loss(outputs, targets):
        trains = _assignment()
        if trains is not None and (trains.optimizer, trains.number) == ("sgd", 1):
            misbehave()
        return nn.functional.cross_entropy(outputs, targets)

    return Workload("xor", _load, _model, loss, Metric("accuracy", "maximize", accuracy), epochs=3)


def greedy():
    """Takes memory without end, which its process may have 2 GiB more of."""

    def take():
        before, taken = resource.getrlimit(resource.RLIMIT_AS), []
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**31, before[1]))
        try:
            while True:
                taken.append(torch.empty(2**28, dtype=torch.uint8))
        finally:
            taken.clear()
            resource.setrlimit(resource.RLIMIT_AS, before)

    return _in_one_trial(take)


def killed():
    """Is ended by the system, as what takes the last of a machine's memory is."""
    return _in_one_trial(lambda: os.kill(os.getpid(), signal.SIGKILL))


def exiting():
    """Calls exit() in the second trial of every worker."""
    calls = []

    def model():
        calls.append(1)
        if _in_a_worker() and len(calls) == 2:
            raise SystemExit("enough")
        return _model()

    return Workload(
        "xor", _load, model, nn.functional.cross_entropy, Metric("accuracy", "maximize", accuracy), epochs=3
    )


def slow():
    """Epochs of ``PROBE_EPOCH`` seconds in workers, with random numbers in every pass; each leaves a note.

    Where the test leaves a file ``hurry``, they take no longer than they have to.
    """
    seconds = float(os.environ.get("PROBE_EPOCH", "0.4"))

    def finish(value):
        if _in_a_worker():
            time.sleep(0.0 if (_notes() / "hurry").exists() else seconds)
            _note("epoch")
        return value

    def model():
        _note("begin")
        return nn.Sequential(nn.Linear(2, 16), nn.Dropout(0.2), nn.Tanh(), nn.Linear(16, 2))

    metric = Metric("accuracy", "maximize", accuracy, finish=finish)
    return Workload("slow", _load, model, nn.functional.cross_entropy, metric, epochs=6)


def deadly():
    """Kills every worker that trains it."""

    def loss(outputs, targets):
        if _in_a_worker():
            os._exit(9)
        return nn.functional.cross_entropy(outputs, targets)

    return Workload("xor", _load, _model, loss, Metric("accuracy", "maximize", accuracy), epochs=3)
