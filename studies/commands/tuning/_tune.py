"""The search and its confirmation, one after the other on the same machines."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console

from analysis.text import about, format_duration, format_value
from search_spaces.errors import UserError, number_of
from studies.called import from_python, place_to_write
from studies.campaign.resolve import user_code
from studies.commands.budget import parse_budget, parse_time
from studies.commands.options import check_place, check_shares
from studies.commands.save import check_directories, save_best
from studies.commands.screen import make_console, say, verbatim, working
from studies.commands.tuning._found import tuned_of
from studies.commands.tuning._plan import DEFAULT, Search, resolve_campaign, with_metric
from studies.commands.tuning._tuned import Tuned, in_words, outcomes
from studies.commands.work import logged, versions, work_off
from studies.loggers import Target, targets_of
from studies.storage.durability import STORAGE_TIMEOUT, Durability, Waiting
from studies.trials import Resources

if TYPE_CHECKING:
    from sofim import OptimizerSpec
    from studies.ledger import Clock, ConfirmedWinner, Ledger, SearchBudget
    from studies.trials import Tally
    from studies.workloads import Metric, TrainingFunction, Workload

SEEDS = 10
"""Fresh seeds of the winner where nobody asks for another number."""

_TIMES_THE_QUICKEST = 8  # what a budget should have room for: some trials, and the confirmation of one


@from_python()
def tune(
    workload: str | Workload | TrainingFunction | Callable[..., Any],
    *,
    budget: str | int | timedelta,
    optimizers: str | Sequence[str | OptimizerSpec] = DEFAULT,
    search_space: Mapping[str, object] | None = None,
    metric: str | Metric | None = None,
    direction: str | None = None,
    name: str | None = None,
    storage: str = "sqlite:///sofim.db",
    seed: int = 0,
    data: Path | None = None,
    epochs: int | None = None,
    schedule: str = "constant",
    seeds: int = SEEDS,
    address: str | None = None,
    cpus_per_trial: float = 1.0,
    gpus_per_trial: float = 0.0,
    cpus: int | None = None,
    gpus: int | None = None,
    console: Console | None = None,
    began: float | None = None,
    storage_timeout: float = STORAGE_TIMEOUT,
    checkpoints: Path | None = None,
    checkpoint_every: int = 1,
    save: str | Path | None = None,
    save_optimizer: bool = False,
    trial_timeout: str | timedelta | None = None,
    log: Sequence[str] = (),
    wait: bool = False,
) -> Tuned:
    """Find the best optimizer for a workload and its configuration, within a budget, and confirm it on fresh seeds.

    The search is in the storage while it runs: the same call goes on after an interruption, and one with another budget
    goes on from there. A budget of time includes the confirmation and the time of earlier calls.

    Args:
        workload: Key in ``studies.workloads.WORKLOADS``, or ``"package.module:factory"`` for one's own, or the function
            itself, in a notebook say; or a training function (a generator that yields a metric an epoch, see
            `studies.workloads.TrainingFunction`), which needs ``metric`` and ``epochs`` if it is given as it is.
        budget: A time (``"1h"``, ``"30min"``, ``"90s"``, a timedelta), or a number of trials.
        optimizers: Keys of ``sofim.OPTIMIZERS``, in a sequence or separated by commas; ``"all"`` for all of them; among
            them one's own, ``"module:spec"`` or a ``sofim.OptimizerSpec`` with its search space.
            By default those of the portfolio that ships (``sofim.recommended``), SOFIM, SGD and AdamW: each optimizer
            costs a trial before the search knows which to prefer.
        search_space: Of a training function's own hyperparameters, in place of optimizers: a table of each, as in a
            campaign's file, or a fixed value.
        metric: That a training function yields, if it is given as it is: its name, or a `studies.workloads.Metric`.
        direction: ``"maximize"`` or ``"minimize"``, beside a metric's name.
        name: Of the search in the storage; one is made of the workload's by default.
        storage: Database URL.
        seed: Of configurations, initial weights and data order in the search.
        data: Directory of the data sets; ``None`` for the usual places.
        epochs: Epoch budget of a trial, instead of the workload's own.
        schedule: Of the learning rate, key in ``studies.training.schedules.SCHEDULES``. Take what you will train with:
            which optimizer is ahead may change where the rate decays.
        seeds: Fresh seeds of the confirmation; where time runs out there are fewer, but three.
        address: Of a Ray cluster to join; ``None`` for this machine.
        cpus_per_trial: Logical CPUs of a trial in the search. Confirmation runs are alone on a device.
        gpus_per_trial: Share of a GPU of a trial in the search, at most 1: a trial trains on one GPU.
        cpus: Of this machine, at most; ``None`` for all that this process may use.
        gpus: The same of GPUs.
        console: Where progress is shown; standard output by default.
        began: When the budget of time began to run, in the seconds of ``time.monotonic``; by default now.
        storage_timeout: Seconds that the storage may be away before the search ends.
        checkpoints: Directory for those of trials that run; by default beside an SQLite file, else in the cache.
        checkpoint_every: Epochs between two checkpoints of a trial; 0 for none.
        save: Directory for the weights of the winner's best confirmation run, which is trained once more for them when
            the budget is spent; `studies.load_model` reads it.
        save_optimizer: Whether the optimizer's state is written there too.
        trial_timeout: A time (``"10min"``, a timedelta) after which a trial that has not ended fails, confirmation runs
            too; ``None`` for none.
        log: Where else trials are told of: ``tensorboard:DIR``, ``mlflow:URI``, ``wandb:PROJECT``, ``trackio:PROJECT``.
        wait: Whether to wait until another driver of this search ends; for one that is silent, on another machine,
            every call waits a minute.

    Raises:
        UserError: Something that was asked for makes no sense, the user's code does not work, the storage or the
            cluster cannot be used, or the budget is too short for anything.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
    """
    check_shares(cpus_per_trial, gpus_per_trial)
    check_place(address, cpus, gpus)
    shown = make_console() if console is None else console
    return tune_within(
        with_metric(workload, metric, direction, epochs),
        budget,
        storage,
        Resources(address, cpus_per_trial, gpus_per_trial, cpus=cpus, gpus=gpus),
        Durability.of(
            storage,
            timeout=storage_timeout,
            directory=None if checkpoints is None else place_to_write("checkpoints", checkpoints),
            every=checkpoint_every,
            waiting=Waiting(wait, partial(say, shown)),
            trial_timeout=None if trial_timeout is None else parse_time("trial_timeout", trial_timeout),
        ),
        optimizers=optimizers,
        name=name,
        seed=seed,
        data=None if data is None else data.resolve(),
        epochs=epochs,
        schedule=schedule,
        seeds=seeds,
        console=shown,
        began=began,
        save=None if save is None else place_to_write("save", save),
        save_optimizer=save_optimizer,
        logs=targets_of([log] if isinstance(log, str) else log),
        search_space=search_space,
        # to save it may fail, and then nothing is returned
        show=lambda found: None if save is None else verbatim(shown, str(found)),
    )


def tune_within(
    workload: str | Workload | TrainingFunction | Callable[..., Any],
    budget: str | int | timedelta,
    storage: str,
    resources: Resources,
    durability: Durability,
    *,
    optimizers: str | Sequence[str | OptimizerSpec],
    name: str | None,
    seed: int,
    data: Path | None,
    epochs: int | None,
    schedule: str,
    seeds: int,
    console: Console,
    began: float | None,
    save: Path | None = None,
    save_optimizer: bool = False,
    logs: Sequence[Target] = (),
    search_space: Mapping[str, object] | None = None,
    show: Callable[[Tuned], None],
) -> Tuned:
    """Do what :func:`tune` does, see there for the arguments; ``show`` hears of what was found before it is saved."""
    from studies.ledger import Clock

    clock = Clock() if began is None else Clock(began=began)
    with working(console, f"Reading {workload} and its data ..."):
        search = resolve_campaign(
            workload,
            parse_budget(budget),
            optimizers,
            name=name,
            seed=seed,
            epochs=epochs,
            schedule=schedule,
            seeds=seeds,
            data_directory=data,
            search_space=search_space,
        )
    if search.budget.seconds is not None:
        clock.budget = search.budget.seconds
    if save is not None:
        check_directories(search.resolved, save)
    with _Machines(search, console, logs) as machines:
        tally, ended, room_for_two = _search(search, storage, clock, machines, resources, durability)
        top = 2 if room_for_two else 1
        found = _confirm(search, storage, clock, machines, resources.for_one_run_alone(), durability, top)
        tuned = tuned_of(search, storage, found, tally, ended, clock.spent())
        show(tuned)
        if save is not None:
            save_best(
                [search.plan()], {(search.workload, found.optimizer): save}, search.resolved, storage,
                resources.for_one_run_alone(), durability, console, optimizer_state=save_optimizer,
                confirms=found.number,
            )  # fmt: skip
    return tuned


class _Machines:
    """Ray, started when it is first needed and kept for what comes next. A context manager."""

    def __init__(self, search: Search, console: Console, logs: Sequence[Target]) -> None:
        self._search, self.console, self._logs = search, console, logs
        self._session = ExitStack()
        self._running = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._session.close()

    def logged(self, open_ledger: Callable[[], Ledger]) -> AbstractContextManager[Ledger]:
        """Return the ledger as a context manager, its trials told to the logs too."""
        return logged(open_ledger, self._logs, self.console)

    def work_off(self, ledger: Ledger, resources: Resources) -> None:
        """Run all that ``ledger`` has to ask for, on view; a run that does not end in time is ended with Ray."""
        from studies.engine import session
        from studies.ledger import OutOfTimeError

        resolved = self._search.resolved
        if not self._running:
            self._session.enter_context(session(replace(resources, code=user_code(resolved)), self.say, ledger.shown))
            self._running = True
        try:
            work_off(ledger, resolved, resources, self.console)
        except OutOfTimeError:
            self._session.close()
            self._running = False

    def say(self, sentence: str) -> None:
        """Print a line."""
        say(self.console, sentence)


def _search(
    search: Search, storage: str, clock: Clock, machines: _Machines, resources: Resources, durability: Durability
) -> tuple[Tally, str, bool]:
    """Search until the budget is spent.

    Returns:
        How the trials ended, why there are no more, and whether there is time to confirm the runner-up too.
    """
    from studies.ledger import SearchBudget, open_search

    plan, budget = search.plan(), SearchBudget(clock, search.seeds)
    opened = partial(open_search, storage, search.stored(), [plan], versions(), durability=durability, budget=budget)
    with machines.logged(opened) as ledger:
        [tally] = ledger.tallies()
        if not ledger.finished:
            for note in search.notes if not tally.done else ():  # what was begun keeps its search space
                machines.say(note)
            before = f", {format_duration(clock.before)} of it spent" if clock.limited and clock.before else ""
            there = (
                f"; {number_of(tally.done, 'trial')} {'is' if tally.done == 1 else 'are'} there" if tally.done else ""
            )
            machines.say(f"Tuning {search.workload}, budget {search.budget}{before}{there}: {search.what}.")
            machines.work_off(ledger, resources)
        [tally] = ledger.tallies()
        if not ledger.finished or budget.reason is None:
            raise RuntimeError(f"the search of {plan.name} came to a stop without an end")
        if tally.best is None:
            raise _nothing(search, ledger, budget, tally)
        found = f"best {tally.metric} {format_value(tally.best)} in the search"
        machines.say(f"After {in_words(outcomes(tally))} the search is over: {budget.reason}; {found}.")
        return tally, budget.reason, budget.has_room_for_two


def _nothing(search: Search, ledger: Ledger, budget: SearchBudget, tally: Tally) -> UserError:
    """Return the error for a search in which no trial ran its whole budget."""
    from studies.ledger.counting import last_failure
    from studies.training.failures import reason_of

    clock = budget.clock
    failure = last_failure(ledger.stored_trials(tally.study)) if tally.failed else None
    if failure is not None:
        return UserError(
            f"workload {search.workload}: no trial ran its whole budget, {tally.failed} of {tally.done} failed, "
            f"the last: {reason_of(failure)}; mend that and give another --name"
        )
    if tally.diverged == tally.done > 0:
        return UserError(
            f"workload {search.workload}: none of {in_words(outcomes(tally))} ran its whole budget, which a larger one "
            f"does not mend; {search.narrower}, under another --name"
        )
    if not clock.limited:
        return UserError(
            f"workload {search.workload}: none of {in_words(outcomes(tally))} ran its whole budget; "
            "give a larger --budget"
        )
    quickest = budget.quickest_seconds
    takes = "not even an epoch ended" if quickest is None else f"the quickest takes {about(quickest)}"
    enough = max(2 * clock.budget, _TIMES_THE_QUICKEST * (quickest or 0.0) + 30)
    remedy = "a larger --budget" if quickest is None else f"--budget {math.ceil(enough / 60)}min or more"
    epochs = number_of(search.plan().epochs, "epoch")
    return UserError(
        f"budget {search.budget}: too short, no trial ran its {epochs} in it ({takes}); "
        f"give {remedy}, or fewer --epochs under another --name"
    )


def _confirm(
    search: Search,
    storage: str,
    clock: Clock,
    machines: _Machines,
    resources: Resources,
    durability: Durability,
    top: int,
) -> ConfirmedWinner:
    """Run the winner on fresh seeds, and with ``top`` 2 the best of the next best optimizer; or what is left of it."""
    from studies.ledger import ConfirmationBudget, confirmed_winner, open_confirmation

    opened = partial(
        open_confirmation, storage, search.stored(), [search.plan()], versions(), seeds=search.seeds, top=top,
        durability=durability, budget=ConfirmationBudget(clock, search.seeds), of_each=True,
    )  # fmt: skip
    with machines.logged(opened) as ledger:
        for note in ledger.notes:
            machines.say(note)
        if not ledger.finished:
            winner = confirmed_winner(ledger)
            machines.say(
                f"Confirming {winner.optimizer} (trial {winner.number}){_and_second(ledger, search)} on "
                f"{number_of(search.seeds, 'fresh seed')}, "
                "one run at a time on a device, whole budgets, no pruner."
            )
            machines.work_off(ledger, resources)
        return confirmed_winner(ledger)


def _and_second(ledger: Ledger, search: Search) -> str:
    """Return the runner-up, in words, where there is one."""
    if len(ledger.winners) == 1:
        return ""
    second = ledger.winners[1]
    return f" and the runner-up, {search.plan().space.optimizer_of(second.params)} (trial {second.number}),"
