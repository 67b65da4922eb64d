"""Options of the command line that several commands have."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from search_spaces.errors import UserError
from studies.called import DEFAULT_STORAGE, STORAGE_VARIABLE, place_named, place_to_write, storage_named
from studies.commands.screen import make_console, say
from studies.loggers import KINDS, Target, targets_of
from studies.modules import factory_named
from studies.storage.durability import STORAGE_TIMEOUT, Durability, Waiting
from studies.storage.url import hide_password
from studies.trials import Resources

SMALLEST_SHARE = 0.01  # of a CPU or GPU: more than a hundred trials on one is a slip of the fingers

_F = TypeVar("_F", bound=Callable[..., Any])


class _Place(click.Path):
    """A file or a directory; an empty name, as of a variable of the shell that is not set, is none."""

    def __init__(self, *, written: bool = False, **more: Any) -> None:
        super().__init__(path_type=Path, **more)
        self._check = place_to_write if written else place_named

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        self._check(param.opts[0] if param else "", value)
        return super().convert(value, param, ctx)


DIRECTORY, FILE = _Place(file_okay=False), _Place(dir_okay=False)
OUT_DIRECTORY, OUT_FILE = _Place(file_okay=False, written=True), _Place(dir_okay=False, written=True)


def storage_option(command: _F) -> _F:
    """Add ``--storage``."""
    return click.option(
        "--storage",
        envvar=STORAGE_VARIABLE,
        default=DEFAULT_STORAGE,
        show_default=True,
        show_envvar=True,
        metavar="URL",
        help="Database that holds the trials.",
    )(command)


def data_option(command: _F) -> _F:
    """Add ``--data``, an absolute path or ``None``."""
    return click.option(
        "--data",
        type=DIRECTORY,
        callback=lambda _context, _parameter, directory: directory and directory.resolve(),
        metavar="DIR",
        help="Where data sets are.",
    )(command)


def seeds_option(default: int | None, meaning: str) -> Callable[[_F], _F]:
    """Return what adds ``--seeds``, a number of fresh seeds."""
    return click.option(
        "--seeds", type=click.IntRange(1, 10_000), default=default, show_default=default is not None, help=meaning
    )


def custom_optimizers_option(command: _F) -> _F:
    """Add ``--optimizer``, the paths of rows that are one's own; the command gets ``custom``."""
    return click.option(
        "--optimizer",
        "custom",
        multiple=True,
        callback=_are_paths,
        metavar="MODULE:SPEC",
        help="Your own optimizer beside these, a sofim.OptimizerSpec; may be repeated.",
    )(command)


def _are_paths(_context: click.Context, _parameter: click.Parameter, paths: tuple[str, ...]) -> tuple[str, ...]:
    for path in paths:
        if factory_named(path) is None:
            raise UserError(
                f"--optimizer {path}: must be of the form module:spec; --optimizers chooses among those that are known"
            )
    return paths


def save_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--save`` and ``--save-optimizer``; the command gets an absolute path or ``None``, and the other."""

    @functools.wraps(command)
    def with_place(*, save: Path | None, save_optimizer: bool, **others: Any) -> Any:
        if save is None and save_optimizer:
            raise UserError("--save-optimizer: says what is saved beside the weights; give a directory with --save")
        return command(save=save and save.absolute(), save_optimizer=save_optimizer, **others)

    return _with_options(
        with_place,
        click.option("--save-optimizer", is_flag=True, help="The optimizer's state too, for torch.load."),
        click.option(
            "--save",
            type=OUT_DIRECTORY,
            metavar="DIR",
            help="Train the best confirmation run once more, and save its weights there (safetensors).",
        ),
    )


def _log_option(command: _F) -> _F:
    """Add ``--log``; the command gets ``logs``."""
    return click.option(
        "--log",
        "logs",
        multiple=True,
        callback=_are_logs,
        metavar="KIND:WHERE",
        help=f"Show each trial there too: {', '.join(f'{name}:{kind.place}' for name, kind in KINDS.items())}; "
        "may be repeated.",
    )(command)


def _are_logs(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[Target, ...]:
    return targets_of(texts)


def recommendation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``CAMPAIGN...``, ``--storage``, and which recommendations are meant."""
    return _with_options(
        command,
        click.option(
            "--robust/--winner",
            default=True,
            show_default=True,
            help="The configuration whose neighbourhood is best, rounded; or the best trial as it was.",
        ),
        click.option(
            "--workload", "workloads", multiple=True, metavar="KEY", help="On this one alone; may be repeated."
        ),
        click.option(
            "--optimizer", "optimizers", multiple=True, metavar="KEY", help="Of this one alone; may be repeated."
        ),
        storage_option,
        click.argument("campaigns", nargs=-1, required=True, metavar="CAMPAIGN..."),
    )


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add how a command with ``--storage`` runs trials: where, what is done against loss, where else they are shown.

    The command gets ``resources``, ``durability`` and ``logs``.
    """
    return _with_resources(
        command,
        click.option(
            "--gpus-per-trial",
            type=float,
            default=0.0,
            show_default=True,
            metavar="X",
            help="Share of a GPU for each trial; 0.25: four trials on a GPU.",
        ),
        click.option(
            "--cpus-per-trial", type=float, default=1.0, show_default=True, metavar="X", help="CPUs for each trial."
        ),
    )


def whole_run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add where runs are placed, alone on a device unless somebody says otherwise, as :func:`run_options` does.

    The command gets ``like_tuning`` too: whether nobody says anything of GPUs.
    """
    return _with_resources(
        command,
        click.option(
            "--gpus-per-trial",
            type=float,
            metavar="X",
            help="Default: 1 if the winners were tuned on GPUs, else 0.",
        ),
        click.option(
            "--cpus-per-trial",
            type=float,
            metavar="X",
            help="Default: what leaves each run alone on its device, for its time.",
        ),
        alone=True,
    )


def _with_resources(
    command: Callable[..., Any], *shares: Callable[[Any], Any], alone: bool = False
) -> Callable[..., Any]:
    @functools.wraps(command)
    def with_resources(
        *,
        address: str | None,
        cpus: int | None,
        gpus: int | None,
        cpus_per_trial: float | None,
        gpus_per_trial: float | None,
        **others: Any,
    ) -> Any:
        check_shares(cpus_per_trial, gpus_per_trial)
        check_place(address, cpus, gpus)
        if alone:
            others["like_tuning"] = gpus_per_trial is None
        resources = Resources(address, cpus_per_trial, gpus_per_trial or 0.0, cpus=cpus, gpus=gpus)
        return command(resources=resources, **others)

    return _with_options(
        _durability_options(_log_option(with_resources)),
        *shares,
        click.option(
            "--gpus",
            type=click.IntRange(0),
            metavar="N",
            help="GPUs of this machine to use, at most; default: all that this process may use.",
        ),
        click.option(
            "--cpus",
            type=click.IntRange(1),
            metavar="N",
            help="CPUs of this machine to use, at most; default: all that this process may use.",
        ),
        click.option(
            "--address", metavar="ADDR", help="Ray cluster to join ('auto', or host:port); default: this machine."
        ),
    )


def _with_options(command: Callable[..., Any], *options: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return the command with options, which help shows from the last to the first."""
    for option in options:
        command = option(command)
    return command


def check_shares(cpus_per_trial: float | None, gpus_per_trial: float | None) -> None:
    """Refuse shares of a machine that no trial can have."""
    cpus, gpus = 1.0 if cpus_per_trial is None else cpus_per_trial, gpus_per_trial or 0.0
    if not SMALLEST_SHARE <= cpus < math.inf:
        raise UserError(f"--cpus-per-trial {cpus:g}: must be a number from {SMALLEST_SHARE:g}")
    if not (gpus == 0 or SMALLEST_SHARE <= gpus <= 1):
        raise UserError(
            f"--gpus-per-trial {gpus:g}: must be 0, or a share of a GPU from {SMALLEST_SHARE:g} to 1: "
            "a trial trains on one GPU at most, and several GPUs run several trials"
        )


def check_place(address: str | None, cpus: int | None, gpus: int | None) -> None:
    """Refuse to limit what another program has started."""
    for option, number in (("--cpus", cpus), ("--gpus", gpus)):
        if address is not None and number is not None:
            raise UserError(
                f"{option} {number}: limits this machine, and with --address the nodes say what they have; leave it "
                f"out, or start them with: ray start --num{option[1:]}={number}"
            )


def _durability_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what is done against loss, to a command with ``--storage``, which gets ``durability``."""

    @functools.wraps(command)
    def with_durability(
        *,
        storage: str,
        storage_timeout: float,
        checkpoint_every: int,
        checkpoints: Path | None,
        wait: bool,
        trial_timeout: float | None,
        **others: Any,
    ) -> Any:
        durability = Durability.of(
            storage,
            timeout=storage_timeout,
            directory=checkpoints,
            every=checkpoint_every,
            waiting=Waiting(wait, lambda line: say(make_console(), line)),
            trial_timeout=trial_timeout,
        )
        return command(storage=storage, durability=durability, **others)

    return _with_options(
        with_durability,
        click.option(
            "--trial-timeout",
            callback=in_seconds,
            metavar="TIME",
            help="A trial that hangs or takes longer fails, and its worker ends: 1h, 10min, 90s. Default: none.",
        ),
        click.option(
            "--wait",
            is_flag=True,
            help="Where another driver runs the campaign, wait until it ends, and go on; for one that is silent, on "
            "another machine, every run waits a minute.",
        ),
        click.option(
            "--storage-timeout",
            type=float,
            default=STORAGE_TIMEOUT,
            show_default=True,
            metavar="SECONDS",
            help="How long the database may be away before the run ends; until then results wait in memory.",
        ),
        click.option(
            "--checkpoint-every",
            type=int,
            default=1,
            show_default=True,
            metavar="EPOCHS",
            help="Save a trial every so many epochs, to go on from there if its worker, node or driver dies; 0: never.",
        ),
        click.option(
            "--checkpoints",
            type=OUT_DIRECTORY,
            metavar="DIR",
            help="Directory of what is saved of running trials; default: beside an SQLite file, else in the cache.",
        ),
    )


def in_seconds(_context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of a time."""
    if value is None:
        return None
    from studies.commands.budget import parse_time

    return parse_time(parameter.opts[0], value)


def storage_again(storage: str) -> list[str]:
    """Return what names the storage on the next command line: nothing where it is the usual one."""
    return storage_named(storage, hide_password(storage))


def chosen_again(optimizers: Iterable[str], workloads: Iterable[str]) -> list[str]:
    """Return what names optimizers and workloads on the next command line, one by one.

    >>> chosen_again(["sgd"], [])
    ['--optimizer', 'sgd']
    """
    return [part for key in optimizers for part in ("--optimizer", key)] + [
        part for key in workloads for part in ("--workload", key)
    ]


def split(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Return the parts of ``a,b``."""
    return None if value is None else tuple(part.strip() for part in value.split(",") if part.strip())
