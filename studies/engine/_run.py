"""One Tuner run over the ledger."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune.experiment import Trial

from studies.engine._callbacks import LedgerScheduler, LedgerSearcher, result_of
from studies.engine._checkpoints import CheckpointAccess, checkpoint_access
from studies.engine._cluster import WORKER_ENVIRONMENT, alone_here, check_fits, connected, idle_gpus, settled
from studies.engine._joining import kept_here_alone
from studies.engine._local import temporary_directory
from studies.engine._signals import SignalGuard
from studies.training.worker import TrainingOptions, run
from studies.trials import Assignment, Resources

if TYPE_CHECKING:  # not in workers, which import this module: the ledger would cost each 50 MiB and a second
    from studies.ledger import Ledger

_QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a CSV, a JSON and a TensorBoard file a trial: 5 s
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # the database is the checkpoint
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # a traceback of each worker that died
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_PENDING = "TUNE_MAX_PENDING_TRIALS_PG"
_LOUDNESS = {
    "ray": logging.ERROR,
    "ray.tune": logging.CRITICAL,  # workers that died: their trials begin again
}


@contextmanager
def session(resources: Resources, say: Callable[[str], None] = lambda _line: None, storage: str = "") -> Iterator[None]:
    """Start Ray for several runs of :func:`execute`, which otherwise start and stop it each.

    Args:
        resources: Where they run.
        say: Takes a line that the person should read.
        storage: URL of what is written; where other machines would not find it, a line says so.

    Raises:
        UserError: Ray does not start, or the cluster cannot be joined.
    """
    joins = resources.address is not None and not ray.is_initialized()
    with quiet(), connected(resources, say):
        if joins and (warning := kept_here_alone(storage)) is not None:
            say(warning)
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Ray quiet and out of our way; then it is as it was, for what a person's notebook does with it next."""
    wanted = _QUIET | WORKER_ENVIRONMENT
    environment = {name: os.environ.get(name) for name in (*wanted, _PENDING)}
    loggers = {logging.getLogger(name): level for name, level in _LOUDNESS.items()}
    levels = {logger: logger.level for logger in loggers}
    try:
        for logger, level in loggers.items():
            logger.setLevel(level)
        os.environ.update({name: os.environ.get(name, value) for name, value in wanted.items()})
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
        for variable, value in environment.items():
            os.environ.pop(variable, None)
            if value is not None:
                os.environ[variable] = value


def execute(
    ledger: Ledger,
    options: TrainingOptions,
    resources: Resources,
    say: Callable[[str], None] = lambda _line: None,
    begun: Callable[[], None] = lambda: None,
) -> None:
    """Run the campaign until the ledger has nothing left to ask.

    Args:
        ledger: Of the campaign.
        options: What its trials share.
        resources: Where they run.
        say: Takes a line that the person should read.
        begun: Is called when workers have started, and training begins.

    Raises:
        UserError: Ray does not start, the cluster cannot be joined, or no node can hold a trial.
        KeyboardInterrupt: Ctrl-C, or SIGTERM. After the first, trials that run have ended their epoch and are told as
            interrupted; after a second, what ran is still RUNNING in the ledger.
    """
    with (
        quiet(),
        connected(resources, say),
        temporary_directory() as scratch,
        checkpoint_access(
            ledger.durability.checkpoints if ledger.durability.every else None,
            ledger.folder,
            distant=resources.address is not None,
        ) as access,
    ):
        if idle := idle_gpus(resources):
            say(idle)
        resources = settled(resources)
        check_fits(resources)
        assert resources.cpus_per_trial is not None
        guard = SignalGuard(access.local.request_stop, say)
        searcher = LedgerSearcher(ledger, resources, guard)
        os.environ[_PENDING] = str(searcher.slots())  # so that all workers start at once
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_trainable, options=options, resources=resources, access=access),
                {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial},
            ),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=LedgerScheduler(ledger, searcher, guard, begun, ledger.durability.trial_timeout),
                num_samples=-1,  # until the searcher says that it has finished
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="campaign",
                storage_path=str(scratch),
                verbose=0,
            ),
        )
        with guard:
            tuner.fit()


def _trainable(
    config: dict[str, Any], options: TrainingOptions, resources: Resources, access: CheckpointAccess
) -> None:
    assignment = Assignment(**config["assignment"])
    # of trials of the search nobody asks; their times are not compared
    facts = {"exclusive": alone_here(resources)} if assignment.confirmation else {}
    run(assignment, options, lambda message: tune.report(result_of(message)), access.store(), facts)


def _trial_name(trial: Trial) -> str:
    return str(trial.trial_id)
