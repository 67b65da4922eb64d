"""The ledger where things go wrong: databases that refuse, drivers that die anywhere, other programs, odd spaces."""

from __future__ import annotations

import math
import re
import shutil
import sqlite3
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import orm

from analysis.load import read, studies
from analysis.winners import finished
from search_spaces import SEARCH_SPACES, SearchSpace
from search_spaces.errors import UserError
from studies.campaign.plan import StudyPlan
from studies.ledger import Ledger, open_confirmation, open_evaluation, open_search, opening
from studies.storage import lease as _lease
from studies.storage import rdb as _rdb
from studies.storage import writer as _writer
from studies.storage.database import close_storage
from studies.storage.durability import Checkpoints, Durability
from studies.trials import Assignment

CAMPAIGN = {"name": "c", "workloads": ["w"], "optimizers": ["sofim"], "trials": 12, "seed": 0}
STUDY = "c/w/sofim"


def plan(space: SearchSpace | None = None, **changes: object) -> StudyPlan:
    chosen = space or SEARCH_SPACES["sofim"]
    fields: dict[str, object] = {
        "name": f"c/w/{chosen.optimizer}",
        "workload": "w",
        "optimizer": chosen.optimizer,
        "metric": "accuracy",
        "direction": "maximize",
        "metric_split": "validation",
        "epochs": 3,
        "trials": 12,
        "sampler": "random",
        "pruner": "none",
        "seed": 0,
        "space": chosen,
    }
    return StudyPlan(**(fields | changes))  # type: ignore[arg-type]


def record(epoch: int, metric: float) -> dict[str, float]:
    return {"epoch": epoch, "seconds": 0.1 * epoch, "gradient_evaluations": epoch, "train_loss": 1.0, "metric": metric}


def work(ledger: Ledger, assignment: Assignment, metric: float = 0.5) -> None:
    for epoch in range(1, assignment.epochs + 1):
        if ledger.report(assignment, record(epoch, metric + epoch / 100)):
            ledger.end(assignment, "pruned", {})
            return
    ledger.end(assignment, "complete", {})


def work_off(ledger: Ledger) -> None:
    while (assignment := ledger.ask()) is not None:
        work(ledger, assignment)


def trials_of(url: str, study: str = STUDY) -> list[FrozenTrial]:
    storage = optuna.storages.RDBStorage(url)
    try:
        return optuna.load_study(study_name=study, storage=storage).trials
    finally:
        close_storage(storage)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/trials.db"


# ---------------------------------------------------------------------------------------- a database that refuses


def refusing(monkeypatch: pytest.MonkeyPatch, when: Callable[[int], bool], message: str = "disk is full") -> None:
    """Lets the writes whose number (from 0) ``when`` picks fail as a database would, after half of their work."""
    whole = _rdb.write_in_one_transaction
    calls = 0

    def write(session: orm.Session, batch: Mapping, ids: dict) -> dict:
        nonlocal calls
        calls += bool(batch)
        found = whole(session, batch, ids)
        if batch and when(calls - 1):
            session.flush()
            raise sa.exc.OperationalError("INSERT", {}, Exception(message))
        return found

    monkeypatch.setattr(_rdb, "write_in_one_transaction", write)


@pytest.mark.slow
def test_a_database_that_refuses_for_a_while_loses_nothing(url, monkeypatch):
    monkeypatch.setattr(_writer, "FIRST_PAUSE_SECONDS", 0.01)
    refusing(monkeypatch, lambda call: call % 3 != 2)
    with open_search(url, CAMPAIGN, [plan()], {}) as ledger:
        while (assignment := ledger.ask()) is not None:
            work(ledger, assignment)
            ledger.flush()
    trials = trials_of(url)
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 12
    assert all(set(t.intermediate_values) == {1, 2, 3} for t in trials)


@pytest.mark.slow
def test_a_database_that_refuses_for_good_ends_the_run_in_one_line_and_the_next_driver_goes_on(url, monkeypatch):
    def run() -> None:
        with open_search(url, CAMPAIGN, [plan()], {}, durability=Durability(storage_timeout=0.0)) as ledger:
            while (assignment := ledger.ask()) is not None:
                work(ledger, assignment)
                ledger.flush()

    with pytest.MonkeyPatch.context() as patch:
        refusing(patch, lambda call: call >= 4, "database or disk is full")
        with pytest.raises(UserError) as raised:
            run()
    assert str(raised.value).startswith(f"storage '{url}' refuses: database or disk is full; ")
    assert "\n" not in str(raised.value)
    assert not [t.name for t in threading.enumerate() if t.name in ("trial-writer",)]
    assert [t.state for t in trials_of(url)] == [TrialState.COMPLETE] * 4
    run()  # the lease was given back
    assert [t.state for t in trials_of(url)] == [TrialState.COMPLETE] * 12


def test_a_driver_that_could_not_open_its_books_leaves_the_lease(url, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:

        def broken(*_: object, **__: object) -> None:
            raise optuna.exceptions.StorageInternalError("database is locked")

        patch.setattr(optuna.storages.RDBStorage, "get_all_trials", broken)
        with pytest.raises(UserError, match="refuses: database is locked"):
            open_search(url, CAMPAIGN, [plan()], {})
    assert not [t.name for t in threading.enumerate() if t.name in ("trial-writer",)]
    open_search(url, CAMPAIGN, [plan()], {}).close()


def test_a_heartbeat_that_is_refused_is_not_the_last(url, monkeypatch):
    monkeypatch.setattr(_writer, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(_writer, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(_writer, "FLUSH_SECONDS", 0.0)
    whole = _lease.Lease.renew
    beats: list[int] = []
    heard_again = threading.Event()

    def sometimes(self: _lease.Lease, batch: int, session: orm.Session | None = None) -> bool:
        beats.append(batch)
        if len(beats) == 1:
            raise sa.exc.OperationalError("UPDATE", {}, Exception("database is locked"))
        heard_again.set()
        return whole(self, batch, session)

    monkeypatch.setattr(_lease.Lease, "renew", sometimes)
    with open_search(url, CAMPAIGN, [plan()], {}):
        assert heard_again.wait(20)
    assert beats[:2] == [1, 1]


# ------------------------------------------------------------------------------------------ a driver that dies anywhere


@pytest.fixture
def snapshots(tmp_path, monkeypatch):
    """Copies of the database as a killed driver could leave it: one after each of its transactions."""
    found: list[Path] = []

    def keep(database: str) -> None:
        found.append(tmp_path / f"snapshot-{len(found)}.db")
        shutil.copy(database, found[-1])

    whole = _writer.TrialWriter._write
    describe = optuna.storages.RDBStorage.set_study_user_attr

    def write(self: _writer.TrialWriter, batch: Mapping, again: bool) -> None:
        whole(self, batch, again)
        if batch:
            keep(self._storage.engine.url.database)

    def attribute(self: optuna.storages.RDBStorage, study_id: int, key: str, value: object) -> None:
        describe(self, study_id, key, value)
        keep(self.engine.url.database)

    monkeypatch.setattr(_writer, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(_writer.TrialWriter, "_write", write)
    monkeypatch.setattr(optuna.storages.RDBStorage, "set_study_user_attr", attribute)
    monkeypatch.setattr(_lease, "alive", lambda _holder: False)  # the drivers of the copies are dead
    return found


def settled(trials: list[FrozenTrial]) -> list[tuple[object, ...]]:
    """The configurations that count, each as often as it does."""
    counted = [t for t in trials if t.user_attrs.get("failure") not in ("driver lost", "interrupted")]
    return sorted(tuple(sorted(t.params.items())) for t in counted)


def overlapping(url: str, stop_after: int | None = None) -> None:
    """Works with three trials at once, in an order that is not theirs, on two studies of three trials each."""
    campaign = CAMPAIGN | {"trials": 3}
    ended = 0
    with open_search(url, campaign, [plan(trials=3), plan(SEARCH_SPACES["sgd"], trials=3)], {}) as ledger:
        running: list[Assignment] = []
        while not ledger.finished or running:
            while len(running) < 3 and (assignment := ledger.ask()) is not None:
                running.append(assignment)
                ledger.flush()
            work(ledger, running.pop(len(running) // 2))
            ledger.flush()
            ended += 1
            if ended == stop_after:
                return


@pytest.mark.nightly(by_day=["True"])
@pytest.mark.slow
@pytest.mark.parametrize("interrupted", [False, True])
def test_wherever_a_driver_dies_the_next_one_ends_with_exactly_the_same_configurations(
    url, tmp_path, snapshots, interrupted, nightly
):
    """Also when the driver that went on dies too, and when Ctrl-C came between."""
    overlapping(url, stop_after=2 if interrupted else None)
    if interrupted:
        overlapping(url)
    studies = (STUDY, "c/w/sgd")
    whole = [settled(trials_of(url, study)) for study in studies]
    assert [len(configurations) for configurations in whole] == [3, 3]
    first_deaths = list(snapshots)
    assert len(first_deaths) > 15
    for death in first_deaths[-6:] if interrupted else first_deaths[:: 2 if nightly else 4]:
        snapshots.clear()
        shutil.copy(death, tmp_path / "again.db")
        overlapping(f"sqlite:///{tmp_path}/again.db")
        second_deaths = snapshots[len(snapshots) // 2 : len(snapshots) // 2 + 1]
        for database in (tmp_path / "again.db", *second_deaths):
            again = f"sqlite:///{database}"
            overlapping(again)
            found = [trials_of(again, study) for study in studies]
            assert [settled(trials) for trials in found] == whole, death.name
            for trials in found:
                assert [t.number for t in trials] == list(range(len(trials)))
                assert all(t.state.is_finished() for t in trials)
                origins = [t.user_attrs.get("retry_of", t.number) for t in trials if t.state == TrialState.COMPLETE]
                assert len(set(origins)) == len(origins) == 3


# ---------------------------------------------------------------------------------------------------- other programs


def test_a_trial_that_another_program_queued_is_refused_in_one_line(url):
    open_search(url, CAMPAIGN, [plan()], {}).close()
    storage = optuna.storages.RDBStorage(url)
    optuna.load_study(study_name=STUDY, storage=storage).enqueue_trial({"lr": 0.1})
    close_storage(storage)
    with pytest.raises(UserError, match=r"another program queued trial 0 of study 'c/w/sofim'.*--name"):
        open_search(url, CAMPAIGN, [plan()], {})


def test_a_trial_that_another_program_added_meanwhile_ends_the_run_in_one_line(url):
    ledger = open_search(url, CAMPAIGN, [plan()], {})
    storage = optuna.storages.RDBStorage(url)
    optuna.load_study(study_name=STUDY, storage=storage).ask()
    close_storage(storage)
    work(ledger, ledger.ask())
    with pytest.raises(UserError, match="another program adds trials"):
        ledger.close()


def test_a_trial_that_another_driver_closed_meanwhile_is_not_overwritten(url):
    ledger = open_search(url, CAMPAIGN, [plan()], {})
    assignment = ledger.ask()
    ledger.flush()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database, database:
        database.execute("UPDATE trials SET state = 'FAIL'")
    work(ledger, assignment)
    with pytest.raises(UserError, match="another program ended trial 0"):
        ledger.close()
    assert trials_of(url)[0].state == TrialState.FAIL


def test_two_drivers_that_begin_at_once_are_told_apart(url, monkeypatch):
    monkeypatch.setattr(opening, "find_study", lambda _storage, _name: None)  # both looked before either had written
    with open_search(url, CAMPAIGN, [plan()], {}):
        monkeypatch.setattr(opening.Opening, "check", lambda _self, _names, **_: [])
        with pytest.raises(UserError, match="another driver has this moment begun campaign 'c'"):
            open_search(url, CAMPAIGN, [plan()], {})


@pytest.mark.slow
@pytest.mark.parametrize("number", [*range(8), 11, 18, 19])
def test_of_two_drivers_that_begin_together_one_runs_and_its_campaign_alone_is_stored(url, monkeypatch, number):
    """Whichever of the first driver's calls of the storage the second one comes before."""
    other = CAMPAIGN | {"trials": 7, "epochs": 5}
    kind, begun, left, calls = _rdb.Rdb, [], number, 0

    def before(name: str) -> None:
        whole = getattr(kind, name)

        def call(self: object, *given: object, **named: object) -> object:
            nonlocal left, calls
            calls += 1
            if left == 0 and not begun:
                begun.append(None)
                with suppress(UserError):
                    begun[0] = open_search(url, other, [plan(trials=7, epochs=5)], {})
            left -= 1
            return whole(self, *given, **named)

        monkeypatch.setattr(kind, name, call)

    for name in ("get_all_studies", "create_new_study", "read", "exchange", "set_study_user_attr"):
        before(name)
    first = None
    try:
        with suppress(UserError):
            first = open_search(url, CAMPAIGN, [plan()], {})
        assert begun, f"the first had opened after {calls} calls"
        [running] = [ledger for ledger in (first, begun[0]) if ledger is not None]
        asked = running.ask()
        [stored] = [found.user_attrs for found in running._storage.get_all_studies()]
        assert stored["campaign"] == (other if running is begun[0] else CAMPAIGN)
        assert asked.epochs == stored["epochs"] == (5 if running is begun[0] else 3)
        running.end(asked, "complete", {})
    finally:
        for ledger in (first, *begun):
            if ledger is not None:
                ledger.close()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"metric": "loss"}, "metric was accuracy, is loss"),
        ({"direction": "minimize"}, "direction was maximize, is minimize"),
        ({"metric_split": "train", "epochs": 4}, "metric split was validation, is train; epochs was 3, is 4"),
        ({"metric_scale": "log"}, "metric scale was linear, is log"),
    ],
)
def test_a_study_whose_workload_measures_something_else_now_is_not_gone_on_with(url, changed, said):
    plans = [plan(), plan(SEARCH_SPACES["sgd"])]
    with open_search(url, CAMPAIGN, plans, {}) as ledger:
        work(ledger, ledger.ask())
    for place, one in enumerate(plans):
        other = [replace(made, **changed) if made is one else made for made in plans]
        refusal = re.escape(
            f"the workload of study '{one.name}' was changed since that was begun ({said}); change it back"
        )
        with pytest.raises(UserError, match=f"{refusal}, or give this campaign another name with --name$"):
            open_search(url, CAMPAIGN, other, {})
        with pytest.raises(UserError, match=f"{refusal}, or search again, under another name: .*launch c --name NAME"):
            open_confirmation(url, CAMPAIGN, other, {}, seeds=3, anyway=True)
        with pytest.raises(UserError, match=f"{refusal}, or search again"):
            open_evaluation(url, CAMPAIGN, other[place:], {}, candidates={}, seeds=3)
    extended = CAMPAIGN | {"trials": 13}
    with pytest.raises(UserError, match="the workload of study"):
        open_search(url, extended, [replace(made, trials=13, **changed) for made in plans], {}, extend=True)


def test_a_study_that_does_not_say_what_it_measured_is_gone_on_with_and_keeps_its_target(url):
    with open_search(url, CAMPAIGN, [plan(target=0.9)], {}) as ledger:
        work(ledger, ledger.ask())
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database, database:
        for name in ("epochs", "metric_split", "metric_scale"):
            database.execute("DELETE FROM study_user_attributes WHERE key = ?", (name,))
    open_search(url, CAMPAIGN, [plan(target=0.8, epochs=4, metric_split="train", metric_scale="log")], {}).close()
    storage = optuna.storages.RDBStorage(url)
    assert storage.get_study_user_attrs(1)["target"] == 0.9
    close_storage(storage)


# ------------------------------------------------------------------------------------------------- failures in a row


@pytest.mark.parametrize(
    ("outcomes", "order", "stopped"),
    [
        ("cfffffffffff", [5, *range(1, 5), 0, *range(6, 12)], True),  # by their ends no ten follow each other
        ("fffffcffffff", [*range(5), *range(6, 12), 5], False),  # by their ends eleven do
        ("fffffiffffff", [*range(5), *range(6, 12), 5], True),  # an interrupted one is asked for under another number
        ("fffffdfffff", range(11), False),
    ],
)
def test_ten_failures_in_a_row_are_the_same_for_the_driver_the_next_status_and_confirm(url, outcomes, order, stopped):
    """Trials are counted in the order in which they were asked for, whichever ends first."""
    from studies.commands.status import tallies

    campaign = CAMPAIGN | {"trials": 30}
    plans = [plan(trials=30, epochs=1)]
    words = {"f": "failed", "d": "diverged", "i": "interrupted"}
    with open_search(url, campaign, plans, {}) as ledger:
        asked = [ledger.ask() for _ in outcomes]
        for number in order:
            if outcomes[number] == "c":
                work(ledger, asked[number])
            else:
                ledger.end(asked[number], words[outcomes[number]], failure=f"ValueError: {number}")
        ledger.flush()
        reasons = [ledger.tallies()[0].stopped, tallies(ledger._storage, "c")[1][0].stopped]
        assert ledger.finished is stopped
    with open_search(url, campaign, plans, {}) as ledger:
        reasons.append(ledger.tallies()[0].stopped)
        reasons.append(tallies(ledger._storage, "c")[1][0].stopped)
        frame = read(ledger._storage, studies(ledger._storage)).trials
        assert finished(studies(ledger._storage)[0], frame) is stopped
    last = [number for number, outcome in enumerate(outcomes) if outcome == "f"][9]
    said = f"10 failures in a row, the last: ValueError: {last}" if stopped else None
    assert reasons == [said] * 4
    if "c" in outcomes:
        with nullcontext() if stopped else pytest.raises(UserError, match=r"not finished: 18 of 30 trials are missing"):
            open_confirmation(url, campaign, plans, {}, seeds=3).close()


# --------------------------------------------------------------------------------------------------- samplers, spaces


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["gp", "cmaes"])
@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_search_that_begins_with_divergence_does_not_take_it_for_the_best(url, sampler, direction, sign):
    """Of what diverged, a sampler that learns from values is told nothing, or a value that it knows and not the best.

    That is so after each trial and for any order of them; what a sampler makes of it depends on its random numbers and,
    of one that optimizes as it draws, on the last bits of the machine.
    """
    outcomes = [None, None, None, 0.7, None, 0.3, None, 0.9, None]
    searched = plan(sampler=sampler, direction=direction, epochs=1)
    for stops in ([len(outcomes)], [2, 2, 5]):  # with restarts, too
        address = url.replace("trials.db", f"{len(stops)}.db")
        left, ended = iter(outcomes), []
        for stop in stops:
            with open_search(address, CAMPAIGN, [searched], {}) as ledger:
                for _ in range(stop):
                    ended.append(next(left))
                    if ended[-1] is None:
                        ledger.end(ledger.ask(), "diverged", {})
                    else:
                        work(ledger, ledger.ask(), sign * ended[-1])
                    study = ledger.studies[STUDY].source.study
                    told = [trial.value for trial in study.trials]
                    known = [value for value, outcome in zip(told, ended, strict=True) if outcome is not None]
                    assert len(known) == sum(outcome is not None for outcome in ended)
                    assert None not in known
                    for value, outcome in zip(told, ended, strict=True):
                        if outcome is None and value is not None:
                            assert value in known
                            assert len(known) == 1 or sign * value > min(sign * other for other in known)
                    if known:
                        assert study.best_value == (min(known) if sign > 0 else max(known))


@pytest.mark.parametrize("sampler", ["gp", "cmaes"])
@pytest.mark.parametrize(("direction", "worst"), [("minimize", 0.7), ("maximize", 0.3)])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_samplers_that_learn_from_values_are_told_the_worst_known_one_of_what_diverged(url, sampler, direction, worst):
    searched = plan(sampler=sampler, direction=direction, epochs=1)

    def told(ledger: Ledger) -> list[float | None]:
        return [t.value for t in ledger.studies[STUDY].source.study.trials]

    with open_search(url, CAMPAIGN, [searched], {}) as ledger:
        for metric in (None, 0.29, 0.69, None):
            if metric is None:
                ledger.end(ledger.ask(), "diverged", {})
            else:
                work(ledger, ledger.ask(), metric)
        assert told(ledger) == [None, pytest.approx(0.3), pytest.approx(0.7), pytest.approx(worst)]
        before = told(ledger)
    with open_search(url, CAMPAIGN, [searched], {}) as ledger:
        assert told(ledger) == before, "a restart tells nothing else, though it knows more by then"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_cma_es_goes_on_from_its_state_whichever_trial_holds_it(url):
    """Also when that trial diverged: generations never go back, and the state in the database grows on."""

    def run(trials: int) -> None:
        with open_search(url, CAMPAIGN, [plan(trials=90, sampler="cmaes", epochs=1)], {}) as ledger:
            for _ in range(trials):
                assignment = ledger.ask()
                if assignment.number % 2:
                    ledger.end(assignment, "diverged", {})
                else:
                    work(ledger, assignment, -abs(math.log10(float(assignment.arguments["lr"]) / 0.3)))

    generations = []
    for _ in range(6):
        run(15)
        generations = [t.system_attrs.get("cma:generation", 0) for t in trials_of(url)]
        assert generations == sorted(generations)
    states = [t.number for t in trials_of(url) if "cma:optimizer:0" in t.system_attrs]
    assert any(number % 2 for number in states), "no diverged trial held the state: this shows nothing"
    assert generations[-1] >= 6


def test_a_category_among_numbers_does_not_warn_with_every_trial(url, capfd):
    optuna.logging.enable_default_handler()
    with open_search(url, CAMPAIGN, [plan(SEARCH_SPACES["lbfgs"], sampler="cmaes")], {}) as ledger:
        work_off(ledger)
    assert capfd.readouterr().err == ""


SPACES = {
    **SEARCH_SPACES,
    "sofim, effective": SEARCH_SPACES["sofim"].override({"parameterization": "effective"}),
    "sofim, fixed": SEARCH_SPACES["sofim"].override({"beta": 0.9, "batch_size": 64}),
    "sofim, narrow": SEARCH_SPACES["sofim"].override({"beta": [0.9, 0.9000001], "lr": [0.3, 0.30000001]}),
    "sofim, one left": SEARCH_SPACES["sofim"].override({"beta": 0.0, "batch_size": 64, "rho": 1, "weight_decay": 0}),
    "sgd, both": SEARCH_SPACES["sgd"].override({"nesterov": [False, True]}),
    "lbfgs, one choice": SEARCH_SPACES["lbfgs"].override({"line_search_fn": ["none"]}),
}


@pytest.mark.nightly(
    by_day=[
        "sofim-tpe",
        "sgd-tpe",
        "lbfgs-tpe",
        "sofim-tensor-tpe",
        "sofim, effective-tpe",
        "sofim, narrow-qmc",
        "sofim, narrow-cmaes",
        "sofim, one left-cmaes",
    ]
)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sampler"),
    [(name, "tpe") for name in SPACES]
    + [(name, sampler) for name in ("lbfgs", "sofim, narrow", "sofim, one left") for sampler in ("qmc", "cmaes")],
)
def test_every_space_survives_restarts_in_the_middle(url, name, sampler):
    """What a restart reads, it can search on with and ask again, to the last bit."""
    space = SPACES[name]
    asked: dict[int, dict[str, object]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for _ in range(4):
            with open_search(url, CAMPAIGN, [plan(space, sampler=sampler, trials=16, epochs=1)], {}) as ledger:
                for _ in range(4):
                    assignment = ledger.ask()
                    asked[assignment.number] = assignment.arguments
                    work(ledger, assignment, float(assignment.number))
                lost = ledger.ask()
                if lost is not None:
                    asked[lost.number] = lost.arguments
    trials = trials_of(url, f"c/w/{space.optimizer}")
    assert sum(t.state == TrialState.COMPLETE for t in trials) == 16
    assert sum(t.state == TrialState.FAIL for t in trials) == 3
    for trial in trials:
        assert set(trial.params) == set(space.parameters)
        assert space.arguments(trial.params) == asked[trial.number]
        for parameter, distribution in trial.distributions.items():
            assert distribution == space.stored_distributions()[parameter]
            assert distribution._contains(distribution.to_internal_repr(trial.params[parameter]))
        if "retry_of" in trial.user_attrs:
            assert trial.params == trials[trial.user_attrs["retry_of"]].params


def test_a_space_file_that_goes_away_while_the_campaign_runs_ends_it_in_one_line(url, tmp_path):
    from search_spaces import configured, from_dict

    file = tmp_path / "mine.py"
    file.write_text(
        "from search_spaces import Parameter, SearchSpace\n"
        "SPACE = SearchSpace(optimizer='sgd', declared={\n"
        "    'lr': Parameter.log(1e-3, 1.0, default=0.1, reason='Mine.'),\n"
        "    'batch_size': Parameter.integer(32, 128, default=64, reason='Mine.'),\n"
        "})\n"
    )
    space = from_dict(configured("sgd", {"file": str(file)}).to_dict())
    with open_search(url, CAMPAIGN, [plan(space)], {}) as ledger:
        work(ledger, ledger.ask())
        file.unlink()
        with pytest.raises(UserError, match=r"study c/w/sgd: .*mine\.py"):
            ledger.ask()
    trials = trials_of(url, "c/w/sgd")
    assert [t.state for t in trials] == [TrialState.COMPLETE]


def test_checkpoints_follow_a_driver_that_keeps_them_elsewhere(tmp_path):
    def opened(place: str) -> Ledger:
        kept = Durability(checkpoints=Checkpoints(tmp_path / place))
        return open_search(f"sqlite:///{tmp_path}/t.db", CAMPAIGN, [plan(trials=1)], {}, durability=kept)

    with opened("first") as ledger:
        begun = ledger.ask()
        assert begun is not None
        Checkpoints(tmp_path / "first").save(begun.checkpoint, b"half")
    with opened("second") as ledger:
        again = ledger.ask()
        assert again is not None
        assert Checkpoints(tmp_path / "second").load(again.checkpoint) == b"half"
        assert not (tmp_path / "first").exists()
        work(ledger, again)
    assert not (tmp_path / "second").exists()
