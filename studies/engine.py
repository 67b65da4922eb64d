"""The only Ray: a Searcher and a scheduler over the ledger, and the Tuner.

Ray Tune places trials, restarts them when a worker or a node dies, and moves their results. It decides nothing: the
searcher asks the ledger, the scheduler tells it and stops what the ledger says. All studies of a campaign run in one
Tuner with one resource shape, so that workers are used again (mixed shapes with reused workers deadlock) and none idles
while another study ends.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from studies.errors import UserError
from studies.ledger import Ledger
from studies.trials import Assignment
from studies.worker import Message, Setting, run

MAX_RESTARTS = 3  # of a trial whose worker or node died
ANSWER_SECONDS = 10.0  # for a cluster to accept a connection
COLD_SECONDS = 60.0  # how long the first workers wait for the others to start

_QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a CSV, a JSON and a TensorBoard file a trial: 5 s
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # the database is the checkpoint
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True, slots=True)
class Resources:
    """Where trials run.

    Attributes:
        address: of a running Ray cluster to join; ``None``: this machine alone (or the Ray that this process started).
        cpus_per_trial: logical CPUs a trial holds, above 0.
        gpus_per_trial: share of a GPU a trial holds, 0 for none; 0.25 packs four trials on a GPU.
        code: directories or files that the nodes need besides this project, for a user's own workload.
    """

    address: str | None = None
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    code: tuple[Path, ...] = ()


def execute(ledger: Ledger, setting: Setting, resources: Resources) -> None:
    """Runs the campaign until the ledger has nothing left to ask.

    Raises:
        UserError: the cluster cannot be reached, or no node can hold a trial.
        KeyboardInterrupt: Ctrl-C; what ran is still RUNNING in the ledger.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
    logging.getLogger("ray").setLevel(logging.ERROR)
    with _connected(resources), tempfile.TemporaryDirectory(prefix="sofim-") as scratch:
        _check_fits(resources)
        searcher = _LedgerSearcher(ledger, resources)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(searcher.slots())  # so that all workers start at once
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_trainable, setting=setting),
                {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial},
            ),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=_LedgerScheduler(ledger, searcher),
                num_samples=-1,  # until the searcher says that it has finished
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="campaign",
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
            ),
        )
        tuner.fit()


def _trainable(config: dict[str, Any], setting: Setting) -> None:
    run(Assignment(**config["assignment"]), setting, lambda message: tune.report(dict(message)))


def _trial_name(trial: Trial) -> str:
    return str(trial.trial_id)


class _NotSaved:
    """Ray pickles searcher and scheduler for its own restarts; ours have nothing to save: the database has it all."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _LedgerSearcher(_NotSaved, Searcher):
    """Asks the ledger for the next trial, and tells it of trials whose worker died for good."""

    def __init__(self, ledger: Ledger, resources: Resources) -> None:
        super().__init__()
        self._ledger = ledger
        self._resources = resources
        self._slots = (0, -math.inf)  # and when they were counted
        self.assignments: dict[str, Assignment] = {}  # by Ray's trial id, while the ledger has them as running

    def slots(self) -> int:
        """How many trials fit in the cluster at once, counted anew every few seconds since nodes come and go."""
        slots, counted = self._slots
        if time.monotonic() - counted > 5:
            slots = max(1, sum(_slots_of(node, self._resources) for node in _nodes()))
            self._slots = (slots, time.monotonic())
        return slots

    @property
    def full(self) -> bool:
        """Whether every slot has a trial, or there are no more trials."""
        return len(self.assignments) >= self.slots() or self._ledger.finished

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if len(self.assignments) >= self.slots():
            return None  # asking ahead would decide on less knowledge
        assignment = self._ledger.ask()
        if assignment is None:
            return Searcher.FINISHED  # type: ignore[return-value]  # Ray's own annotation forgets it
        self.assignments[trial_id] = assignment
        return {"assignment": asdict(assignment)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        assignment = self.assignments.pop(trial_id, None)
        if assignment is not None:  # the scheduler has not told of its end
            self._ledger.fail(
                assignment, f"the worker died {MAX_RESTARTS + 1} times" if error else "the worker was stopped"
            )

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the database is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the database is the state."""


class _LedgerScheduler(_NotSaved, FIFOScheduler):
    """Tells the ledger what workers send, and stops the trials that it says."""

    def __init__(self, ledger: Ledger, searcher: _LedgerSearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ledger = ledger
        self._searcher = searcher
        self._assignments = searcher.assignments
        self._held: list[Trial] | None = []  # trials that wait for other workers; None once all have started
        self._began = time.monotonic()

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        if self._held and time.monotonic() - self._began > COLD_SECONDS:
            self._release(tune_controller)
        return super().choose_trial_to_run(tune_controller)

    def _hold(self, tune_controller: Any, trial: Trial) -> str:
        """A worker has started. It waits until the others have too.

        Otherwise, when trials are shorter than a worker's start, the first worker ends its trial and is given the
        trial whose own worker is still starting; Ray then gives that worker up, starts one for the next trial, and so
        on: a machine of many cores would run one trial at a time.
        """
        if self._held is None:
            return str(TrialScheduler.CONTINUE)
        self._held.append(trial)
        if self._searcher.full and len(self._held) >= len(self._assignments):
            self._release(tune_controller)
        return str(TrialScheduler.NOOP)

    def _release(self, tune_controller: Any) -> None:
        held, self._held = self._held or [], None
        for trial in held:
            tune_controller._schedule_trial_train(trial)  # no public way leads on from NOOP

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        assignment = self._assignments.get(trial.trial_id)
        if assignment is None:  # it has ended; this is Ray's repetition of the last result
            return str(TrialScheduler.CONTINUE)
        message = cast("Message", result)
        if message["end"] is None and not message["records"]:
            return self._hold(tune_controller, trial)
        facts = {"device": message["device"], "busy_seconds": message["busy_seconds"]}
        for record in message["records"]:
            if self._ledger.report(assignment, record):
                del self._assignments[trial.trial_id]
                self._ledger.prune(assignment, facts)
                return str(TrialScheduler.STOP)
        if message["end"] is None:
            return str(TrialScheduler.CONTINUE)
        del self._assignments[trial.trial_id]
        if message["end"] == "complete":
            self._ledger.complete(assignment, facts)
        elif message["end"] == "diverged":
            self._ledger.diverge(assignment, facts)
        else:
            self._ledger.fail(assignment, message["failure"] or "unknown", facts)
        return str(TrialScheduler.STOP)


@contextmanager
def _connected(resources: Resources) -> Iterator[None]:
    """Ray, started or joined; what was started here is stopped here."""
    if ray.is_initialized():
        yield
        return
    _check_answers(resources.address)
    with tempfile.TemporaryDirectory(prefix="sofim-code-") as code:
        try:
            if resources.address is None:
                ray.init(
                    include_dashboard=False,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    object_store_memory=200 * 2**20,  # messages only; data are memory-mapped files
                )
            else:
                ray.init(
                    resources.address,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    runtime_env={"working_dir": str(_pack(Path(code), resources.code))},
                )
        except (ConnectionError, ValueError, TimeoutError) as error:
            raise _no_answer(resources.address, str(error).splitlines()[0]) from None
        try:
            yield
        finally:
            ray.shutdown()


def _check_answers(address: str | None) -> None:
    """Refuses an address at which nothing listens: Ray would try again for minutes, with a line each time."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # this machine, or "auto"
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_answer(address, getattr(error, "strerror", None) or str(error)) from None


def _no_answer(address: str | None, reason: str) -> UserError:
    return UserError(f"--address {address}: no Ray cluster answers there ({reason}); start one with: ray start --head")


def _pack(target: Path, extra: tuple[Path, ...]) -> Path:
    """Copies the project's packages and the user's code to ``target``, which travels to the nodes."""
    import search_spaces
    import sofim
    import studies

    packages = [Path(module.__file__).parent for module in (sofim, search_spaces, studies) if module.__file__]
    for source in (*packages, *extra):
        if source.is_dir():
            shutil.copytree(source, target / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / source.name)
    return target


def _check_fits(resources: Resources) -> None:
    """Refuses a shape that no node can hold: Ray would wait for ever."""
    nodes = _nodes()
    for name, option, wanted in (
        ("CPU", "--cpus-per-trial", resources.cpus_per_trial),
        ("GPU", "--gpus-per-trial", resources.gpus_per_trial),
    ):
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if wanted > most:
            raise UserError(f"{option} {wanted:g}: no node has more than {most:g} {name}s; ask for at most that")


def _nodes() -> list[dict[str, float]]:
    """The resources of every node that lives."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _slots_of(node: dict[str, float], resources: Resources) -> int:
    """How many trials fit on a node at once; a trial's share of a GPU lies on one GPU."""
    slots = math.floor(node.get("CPU", 0.0) / resources.cpus_per_trial + 1e-9)
    if resources.gpus_per_trial:
        gpus = node.get("GPU", 0.0)
        share = resources.gpus_per_trial
        slots = min(slots, math.floor((gpus * math.floor(1 / share + 1e-9)) if share < 1 else gpus / share))
    return slots
