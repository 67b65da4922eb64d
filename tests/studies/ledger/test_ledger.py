"""The ledger against a real SQLite file: exact numbers of trials, whatever happens, and Optuna's own reader agrees."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from scipy.stats import binom

from analysis.load import read, studies
from search_spaces import SEARCH_SPACES, ConditionalSpace
from search_spaces.errors import UserError
from studies.campaign.plan import StudyPlan
from studies.ledger import Ledger, open_search, opening
from studies.storage import lease
from studies.storage.database import close_storage, open_storage
from studies.storage.durability import Durability, Waiting
from studies.trials import Assignment

CAMPAIGN = {"name": "c", "workloads": ["w"], "optimizers": ["sofim"], "trials": 12, "seed": 0}


def plan(optimizer: str = "sofim", **changes: object) -> StudyPlan:
    fields = {
        "name": f"c/w/{optimizer}",
        "workload": "w",
        "optimizer": optimizer,
        "metric": "accuracy",
        "direction": "maximize",
        "metric_split": "validation",
        "epochs": 9,
        "trials": 12,
        "sampler": "tpe",
        "pruner": "none",
        "seed": 0,
        "space": SEARCH_SPACES[optimizer],
    }
    return StudyPlan(**(fields | changes))


def record(epoch: int, metric: float, seconds: float = 0.1) -> dict[str, float]:
    return {
        "epoch": epoch,
        "seconds": seconds * epoch,
        "gradient_evaluations": 10 * epoch,
        "train_loss": 1.0,
        "validation_loss": 1.0,
        "metric": metric,
    }


def quality(assignment: Assignment) -> float:
    return -abs(math.log10(float(assignment.arguments["lr"]) / 0.3))


def work(ledger: Ledger, assignment: Assignment, value: float | None = None) -> None:
    value = quality(assignment) if value is None else value
    for epoch in range(1, assignment.epochs + 1):
        if ledger.report(assignment, record(epoch, value + epoch / 100)):
            ledger.end(assignment, "pruned", {"device": "cpu"})
            return
    ledger.end(assignment, "complete", {"device": "cpu"})


def work_off(ledger: Ledger) -> None:
    while (assignment := ledger.ask()) is not None:
        work(ledger, assignment)


_OPENED: list[optuna.storages.BaseStorage] = []


def study_of(url: str, name: str = "c/w/sofim") -> optuna.Study:
    _OPENED.append(open_storage(url))
    return optuna.load_study(study_name=name, storage=_OPENED[-1])


@pytest.fixture(autouse=True)
def _give_connections_back():
    yield
    while _OPENED:
        close_storage(_OPENED.pop())


@pytest.fixture
def url(tmp_path):
    """Of SQLite: ``test_every_storage_holds_the_same``, and ``test_contract.py`` is about what differs."""
    return f"sqlite:///{tmp_path}/ledger.db"


def test_what_optuna_reads_back_is_what_was_told(every_storage):
    with open_search(every_storage, CAMPAIGN, [plan(trials=3)], {"torch": "x"}) as ledger:
        work_off(ledger)
    study = study_of(every_storage)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 3
    trial = study.trials[1]
    assert set(trial.params) == {"lr", "rho", "beta", "weight_decay", "batch_size"}
    assert set(trial.intermediate_values) == set(range(1, 10))
    assert trial.value == max(trial.intermediate_values.values())
    assert trial.user_attrs["seconds"] == pytest.approx(0.9)
    assert trial.user_attrs["gradient_evaluations"] == 90
    assert trial.user_attrs["device"] == "cpu"
    assert trial.user_attrs["seed"] == 0
    history = trial.user_attrs["history"]
    assert set(history) == {"epoch", "seconds", "gradient_evaluations", "train_loss", "validation_loss", "accuracy"}
    assert history["epoch"] == list(range(1, 10))
    assert study.direction.name == "MAXIMIZE"
    assert {"campaign", "protocol", "workload", "optimizer", "metric", "versions"} <= set(study.user_attrs)
    assert study.metric_names == ["accuracy"]


@pytest.mark.slow
def test_what_some_epochs_alone_tell_stands_at_theirs(url):
    losses = {1: None, 2: 0.5, 3: None}
    with open_search(url, CAMPAIGN, [plan(trials=1)], {}) as ledger:
        assignment = ledger.ask()
        for number, loss in losses.items():
            told = {**record(number, 0.4), "validation_loss": loss, "train_loss": None}
            ledger.report(assignment, {name: entry for name, entry in told.items() if entry is not None})
        ledger.end(assignment, "complete", {})
    trial = study_of(url).trials[0]
    assert trial.user_attrs["history"]["validation_loss"] == [None, 0.5, None]
    assert "train_loss" not in trial.user_attrs["history"], "nobody told it"
    curves = read(_OPENED[-1], studies(_OPENED[-1])).curves
    assert curves.dropna(subset=["validation_loss"])["epoch"].tolist() == [2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "chosen"),
    [
        (SEARCH_SPACES["sgd"], True),
        (SEARCH_SPACES["sgd"].fitted(1), True),  # its default, which nobody asked for
        (SEARCH_SPACES["sgd"].override({"batch_size": 32}), False),
        (ConditionalSpace({"sgd": SEARCH_SPACES["sgd"].override({"batch_size": 32})}), False),
        (ConditionalSpace({"sgd": SEARCH_SPACES["sgd"]}), False),  # sofim tune has no place to fix it
    ],
)
def test_a_trial_says_whether_anybody_fixed_its_batch_size(url, space, chosen):
    with open_search(url, CAMPAIGN, [plan("sgd", space=space)], {}) as ledger:
        asked = ledger.ask()
    assert asked.chosen_batch_size == chosen


def test_momentum_is_stored_as_beta_and_searched_as_one_minus_beta(url):
    with open_search(url, CAMPAIGN | {"trials": 100}, [plan(trials=100, sampler="random")], {}) as ledger:
        work_off(ledger)
    betas = [t.params["beta"] for t in study_of(url).trials]
    low, high = (getattr(study_of(url).trials[0].distributions["beta"], end) for end in ("low", "high"))
    assert all(low <= beta <= high for beta in betas)
    # log-uniform in 1 - beta: as many trials above the geometric middle as below; uniform in beta would put most below
    middle = 1 - math.sqrt((1 - low) * (1 - high))
    assert binom.ppf(1e-4, 100, 0.5) <= sum(beta > middle for beta in betas) <= binom.ppf(1 - 1e-4, 100, 0.5)


def test_running_trials_and_their_latest_value_are_visible_while_they_run(url):
    with open_search(url, CAMPAIGN, [plan()], {}) as ledger:
        assignment = ledger.ask()
        ledger.report(assignment, record(1, 0.5))
        ledger.report(assignment, record(2, 0.6))
        ledger.flush()
        trial = study_of(url).trials[0]
        assert trial.state == TrialState.RUNNING
        assert trial.intermediate_values == {1: 0.5, 2: 0.6}
        assert trial.params["lr"] == assignment.arguments["lr"]


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["hyperband", "asha", "first-epoch", "median"])
def test_the_result_that_stops_a_trial_is_recorded(url, pruner):
    """Each trial is worse than all before it, so that every pruner stops some."""
    with open_search(url, CAMPAIGN, [plan(trials=40, pruner=pruner, sampler="random")], {}) as ledger:
        while (assignment := ledger.ask()) is not None:
            work(ledger, assignment, value=-float(assignment.number))
    trials = study_of(url).trials
    pruned = [t for t in trials if t.state == TrialState.PRUNED]
    assert len(trials) == 40
    assert pruned
    for trial in pruned:
        last = max(trial.intermediate_values)
        assert trial.value == trial.intermediate_values[last]
        assert trial.user_attrs["history"]["epoch"][-1] == last
        assert trial.user_attrs["diverged"] is False


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["asha", "hyperband", "first-epoch"])
def test_what_is_called_how_changes_nothing_in_what_stops(pruner, tmp_path):
    """The same values by the trials' numbers, in two campaigns of two optimizers."""
    epochs = set()
    for name in ("c", "another-name"):
        campaign = {**CAMPAIGN, "name": name, "trials": 20}
        plans = [
            plan(optimizer, name=f"{name}/w/{optimizer}", trials=20, pruner=pruner, sampler="random")
            for optimizer in ("sofim", "sgd")
        ]
        url = f"sqlite:///{tmp_path}/{name}.db"
        with open_search(url, campaign, plans, {}) as ledger:
            while (assignment := ledger.ask()) is not None:
                work(ledger, assignment, value=math.sin(assignment.number**2))
        epochs |= {tuple(t.last_step for t in study_of(url, study.name).trials) for study in plans}
    assert len(epochs) == 1
    assert len(set(*epochs)) > 1  # some stop


def test_a_diverged_trial_is_pruned_marked_and_infeasible(url):
    with open_search(url, CAMPAIGN, [plan()], {}) as ledger:
        assignment = ledger.ask()
        ledger.report(assignment, record(1, 0.4))
        ledger.report(assignment, record(2, math.nan))
        ledger.end(assignment, "diverged", {"device": "cpu"})
    trial = study_of(url).trials[0]
    assert trial.state == TrialState.PRUNED
    assert trial.user_attrs["diverged"] is True
    assert trial.user_attrs["history"]["accuracy"] == [0.4, None]
    assert trial.intermediate_values == {1: 0.4}
    assert trial.constraints == {"diverged": 1.0}


@pytest.mark.nightly(by_day=["tpe"])
@pytest.mark.slow
@pytest.mark.parametrize("sampler", [pytest.param("tpe", marks=pytest.mark.slow), "cmaes"])
def test_samplers_learn_to_avoid_what_diverges(tmp_path, sampler):
    """Above lr = 0.1 everything diverges, below it all is equal: later trials must go there less often.

    Five searches are judged together: half of the range diverges, and one that learns nothing has so few later trials
    there in one of a thousand tests.
    """

    def diverging(ledger: Ledger, trials: int) -> int:
        diverged = 0
        for _ in range(trials):
            assignment = ledger.ask()
            if float(assignment.arguments["lr"]) > 0.1:
                diverged += 1
                ledger.end(assignment, "diverged", {"device": "cpu"})
            else:
                ledger.report(assignment, record(1, 0.5 + 0.01 * math.sin(1e4 * float(assignment.arguments["lr"]))))
                ledger.end(assignment, "complete", {"device": "cpu"})
        return diverged

    rate = SEARCH_SPACES["sofim"].declared["lr"]
    assert rate.low * rate.high == pytest.approx(0.1**2), "half of the range, on its scale"
    searches, late = 5, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for seed in range(searches):
            searched = plan(trials=60, sampler=sampler, epochs=1, seed=seed)
            with open_search(f"sqlite:///{tmp_path}/{seed}.db", CAMPAIGN, [searched], {}) as ledger:
                diverging(ledger, 40)
                late += diverging(ledger, 20)
    assert late < binom.ppf(0.001, 20 * searches, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_trial_i_has_the_same_configuration_whatever_the_concurrency(tmp_path, sampler):
    found = []
    for slots in (1, 4):
        url = f"sqlite:///{tmp_path}/{slots}.db"
        with open_search(url, CAMPAIGN, [plan(trials=12, sampler=sampler)], {}) as ledger:
            while not ledger.finished:
                batch = [a for a in (ledger.ask() for _ in range(slots)) if a is not None]
                for assignment in reversed(batch):
                    work(ledger, assignment)
        found.append([t.params for t in study_of(url).trials])
    assert found[0] == found[1]
    assert len({tuple(p.values()) for p in found[0]}) == 12


@pytest.mark.parametrize(("sampler", "first"), [("tpe", True), ("cmaes", True), ("random", False), ("qmc", False)])
def test_samplers_that_learn_begin_with_the_default(url, sampler, first):
    """And those whose trials must be independent draws do not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        with open_search(url, CAMPAIGN, [plan(sampler=sampler)], {}) as ledger:
            arguments = [ledger.ask().arguments for _ in range(2)]
    space = SEARCH_SPACES["sofim"]
    default = space.arguments(space.default)
    assert (arguments[0] == pytest.approx(default)) is first
    assert arguments[1] != pytest.approx(default)


@pytest.mark.slow
def test_quasi_random_configurations_survive_a_restart(tmp_path):
    def run(url: str, stops: list[int]) -> list[dict[str, object]]:
        for stop in stops:
            with open_search(url, CAMPAIGN, [plan(sampler="qmc")], {}) as ledger:
                for _ in range(stop):
                    work(ledger, ledger.ask())
        return [t.params for t in study_of(url).trials]

    assert run(f"sqlite:///{tmp_path}/a.db", [12]) == run(f"sqlite:///{tmp_path}/b.db", [5, 4, 3])


def test_quasi_random_points_fill_the_space_more_evenly_than_random_ones():
    from scipy.stats import qmc

    from search_spaces.samplers import random_point, sobol_point

    for seed in range(20):
        quasi, plain = ([point(seed, i, 4) for i in range(64)] for point in (sobol_point, random_point))
        assert qmc.discrepancy(quasi) < qmc.discrepancy(plain), seed


@pytest.mark.slow
def test_studies_are_interleaved(url):
    with open_search(url, CAMPAIGN, [plan("sofim"), plan("sgd"), plan("adam")], {}) as ledger:
        order = [ledger.ask().optimizer for _ in range(9)]
    assert [set(order[i : i + 3]) for i in (0, 3, 6)] == [{"sofim", "sgd", "adam"}] * 3


@pytest.mark.slow
def test_an_interrupted_campaign_is_continued_to_the_exact_number(url):
    with open_search(url, CAMPAIGN, [plan()], {}) as ledger:
        for _ in range(5):
            work(ledger, ledger.ask())
        lost = [ledger.ask(), ledger.ask()]
    assert [t.state for t in study_of(url).trials].count(TrialState.RUNNING) == 0
    with open_search(url, CAMPAIGN, [plan()], {}) as ledger:
        work_off(ledger)
        assert [tally.done for tally in ledger.tallies()] == [12]
    trials = study_of(url).trials
    finished = [t for t in trials if t.state == TrialState.COMPLETE]
    assert len(finished) == 12
    assert len(trials) == 14
    again = {t.user_attrs["retry_of"]: t for t in finished if "retry_of" in t.user_attrs}
    assert set(again) == {a.number for a in lost}
    for number, trial in again.items():
        assert trial.params == trials[number].params
        assert trials[number].user_attrs["failure"] == "interrupted"


@pytest.mark.nightly(by_day=["sqlite"])
@pytest.mark.slow
def test_a_killed_driver_loses_nothing(every_storage, tmp_path):
    """kill -9 in the middle of a campaign, several times; then exactly the asked number is there, and none twice."""
    script = tmp_path / "driver.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys, time
            sys.path[:0] = {[str(Path.cwd())]!r}
            from tests.studies.ledger.test_ledger import CAMPAIGN, open_search, plan, work
            with open_search({every_storage!r}, CAMPAIGN, [plan()], {{}}) as ledger:
                done = 0
                while (assignment := ledger.ask()) is not None:
                    work(ledger, assignment)
                    done += 1
                    time.sleep(0.05 if done < 4 else 5)  # a busy machine kills late, and some trials are to be left
                    print(assignment.number, flush=True)
            """
        )
    )
    for trials_before_kill in (2, 3, 1):
        driver = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
        for _ in range(trials_before_kill):
            assert driver.stdout.readline()
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        driver.stdout.close()
    with open_search(every_storage, CAMPAIGN, [plan()], {}) as ledger:
        work_off(ledger)
    trials = study_of(every_storage).trials
    origins = [t.user_attrs.get("retry_of", t.number) for t in trials if t.state == TrialState.COMPLETE]
    assert len(origins) == 12
    assert len(set(origins)) == 12
    assert not [t for t in trials if t.state == TrialState.RUNNING]
    assert {t.user_attrs.get("failure") for t in trials if t.state == TrialState.FAIL} <= {"driver lost"}


@pytest.mark.slow
def test_pruning_goes_on_after_a_restart_as_without_one(tmp_path):
    """Rungs are in the database: with a sampler that does not learn, a restart changes no decision."""

    def run(url: str, stops: list[int]) -> list[TrialState]:
        for stop in stops:
            with open_search(url, CAMPAIGN, [plan(trials=30, pruner="hyperband", sampler="random")], {}) as ledger:
                for _ in range(stop):
                    work(ledger, ledger.ask())
        return [t.state for t in study_of(url).trials]

    whole = run(f"sqlite:///{tmp_path}/a.db", [30])
    assert TrialState.PRUNED in whole
    assert run(f"sqlite:///{tmp_path}/b.db", [11, 7, 12]) == whole


@pytest.mark.slow
def test_a_failed_trial_counts_and_ten_in_a_row_stop_the_study(url):
    with open_search(url, CAMPAIGN | {"trials": 30}, [plan(trials=30), plan("sgd", trials=30)], {}) as ledger:
        failed = 0
        while (assignment := ledger.ask()) is not None:
            if assignment.optimizer == "sofim":
                failed += 1
                ledger.end(assignment, "failed", failure="Traceback ...\nRuntimeError: no")
            else:
                work(ledger, assignment)
        sofim, sgd = ledger.tallies()
    assert failed == 10
    assert sofim.stopped is not None
    assert "10 failures in a row" in sofim.stopped
    assert "RuntimeError: no" in sofim.stopped
    assert (sgd.done, sgd.stopped) == (30, None)
    trial = study_of(url).trials[0]
    assert trial.state == TrialState.FAIL
    assert "RuntimeError: no" in trial.user_attrs["failure"]


def test_epochs_heard_twice_count_once(url):
    with open_search(url, CAMPAIGN, [plan(trials=1, epochs=3)], {}) as ledger:
        assignment = ledger.ask()
        for epoch, value in ((1, 0.1), (2, 0.2), (1, 0.9), (2, 0.9), (3, 0.3)):
            ledger.report(assignment, record(epoch, value))
        ledger.end(assignment, "complete", {"device": "cpu"})
    trial = study_of(url).trials[0]
    assert trial.intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}
    assert trial.user_attrs["history"]["accuracy"] == [0.1, 0.2, 0.3]


def test_a_metric_that_was_never_finite_is_a_failure_that_says_so(url):
    with open_search(url, CAMPAIGN, [plan(trials=1, epochs=1)], {}) as ledger:
        assignment = ledger.ask()
        ledger.report(assignment, record(1, math.inf))
        ledger.end(assignment, "complete", {"device": "cpu"})
    trial = study_of(url).trials[0]
    assert trial.state == TrialState.FAIL
    assert "'accuracy' was never a finite number" in trial.user_attrs["failure"]


def test_a_second_driver_is_refused_while_the_first_lives(url):
    with open_search(url, CAMPAIGN, [plan()], {}), pytest.raises(UserError, match=f"process {os.getpid()}"):
        open_search(url, CAMPAIGN, [plan()], {})
    open_search(url, CAMPAIGN, [plan()], {}).close()


def test_another_configuration_under_the_same_name_is_refused(url):
    with open_search(url, CAMPAIGN, [plan()], {}) as ledger:
        work(ledger, ledger.ask())
    with pytest.raises(UserError, match=r"trials was 12, is 20.*--name"):
        open_search(url, CAMPAIGN | {"trials": 20}, [plan("adam", trials=20), plan(trials=20)], {})
    # also with studies that the storage does not have yet; and the refused ones leave nothing behind
    with pytest.raises(UserError, match=r"trials was 12, is 20.*--name"):
        open_search(url, CAMPAIGN | {"trials": 20}, [plan("adam", trials=20)], {})
    assert optuna.get_all_study_names(study_of(url)._storage) == ["c/w/sofim"]


@pytest.mark.slow
def test_a_configuration_that_never_ran_a_trial_binds_nobody(url):
    open_search(url, CAMPAIGN, [plan(), plan("adam")], {}).close()
    with open_search(url, CAMPAIGN | {"trials": 3}, [plan(trials=3)], {}) as ledger:
        work_off(ledger)
    study = study_of(url)
    assert len(study.trials) == 3
    assert study.user_attrs["campaign"]["trials"] == 3
    assert optuna.get_all_study_names(study._storage) == ["c/w/sofim"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_driver_that_is_refused_before_its_first_trial_leaves_nothing(tmp_path, kind, monkeypatch):
    url = f"{kind}:///{tmp_path}/trials"

    def refused(then: Callable[[Ledger], object] = lambda _: None) -> list[str]:
        with suppress(UserError), open_search(url, CAMPAIGN, [plan(), plan("sgd")], {}) as ledger:
            then(ledger)
            raise UserError("no node has more than 2 CPUs")
        storage = open_storage(url, create=False)
        names = [study.study_name for study in storage.get_all_studies()]
        close_storage(storage)
        return names

    def lose_the_lease(_: Ledger) -> None:
        storage = open_storage(url)
        storage.set_study_user_attr(storage.get_study_id_from_name("c/w/sofim"), "driver", None)
        close_storage(storage)

    assert refused() == []
    first = open_search(url, CAMPAIGN, [plan()], {})
    monkeypatch.setattr("studies.storage.lease.time.sleep", lambda _: first.__exit__(UserError, None, None))
    waits = Durability(waiting=Waiting(for_the_living=True))
    with pytest.raises(UserError, match=r"has taken it back; give the same command again$"):
        open_search(url, CAMPAIGN, [plan()], {}, durability=waits)
    monkeypatch.undo()
    assert refused(lose_the_lease) == ["c/w/sofim", "c/w/sgd"], "they may be another driver's by now"
    assert refused(lambda ledger: ledger.ask()) == ["c/w/sofim", "c/w/sgd"]


def test_a_configuration_that_a_living_driver_opened_is_refused_even_without_a_trial(url):
    with (
        open_search(url, CAMPAIGN, [plan("adam"), plan()], {}),
        pytest.raises(UserError, match="another configuration"),
    ):
        open_search(url, CAMPAIGN | {"trials": 20}, [plan(trials=20)], {})


@pytest.mark.slow
@pytest.mark.parametrize("written", [0, 1, 5, 8])
def test_a_driver_that_died_while_it_described_a_study_hinders_nobody(every_storage, written):
    """A reader does not see the study yet, and the next driver describes it anew."""
    from analysis.load import studies

    _OPENED.append(open_storage(every_storage))
    kind = type(_OPENED[-1])
    whole = kind.set_study_user_attr
    left = written

    def dying(self: optuna.storages.BaseStorage, study_id: int, key: str, value: object) -> None:
        nonlocal left
        if left == 0 and key != "driver":
            raise KeyboardInterrupt
        left -= key != "driver"
        whole(self, study_id, key, value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "set_study_user_attr", dying)
        patch.setattr(opening, "release", lambda held, *_: lease._held.discard(held._token))  # what the dead give back
        with pytest.raises(KeyboardInterrupt):
            open_search(every_storage, CAMPAIGN, [plan()], {})
    study = study_of(every_storage)
    assert len(study.user_attrs) == written + 1, "its lease is there"
    assert studies(study._storage) == []
    with open_search(every_storage, CAMPAIGN | {"trials": 3}, [plan(trials=3)], {"torch": "x"}) as ledger:
        work_off(ledger)
    study = study_of(every_storage)
    assert study.user_attrs["campaign"]["trials"] == 3
    assert len(study.trials) == 3
    assert [found.name for found in studies(study._storage)] == ["c/w/sofim"]


def test_a_study_of_somebody_else_is_refused(url):
    _OPENED.append(open_storage(url))
    study = optuna.create_study(study_name="c/w/sofim", storage=_OPENED[-1])
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(UserError, match="no campaign made"):
        open_search(url, CAMPAIGN, [plan()], {})


@pytest.mark.slow
def test_every_storage_holds_the_same(every_storage, tmp_path):
    """One transaction a batch against public calls one by one, which a journal file takes."""
    other = (
        f"sqlite:///{tmp_path}/other.db" if every_storage.startswith("journal") else f"journal:///{tmp_path}/other.log"
    )
    for place in (every_storage, other):
        with open_search(place, CAMPAIGN, [plan(sampler="random", pruner="hyperband")], {}) as ledger:
            work_off(ledger)
    for a, b in zip(study_of(every_storage).trials, study_of(other).trials, strict=True):
        assert (a.number, a.state, a.params, a.distributions) == (b.number, b.state, b.params, b.distributions)
        assert (a.value, a.intermediate_values, a.user_attrs) == (b.value, b.intermediate_values, b.user_attrs)
        assert a.system_attrs == b.system_attrs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: "sqlite:///" + str(d / "none" / "x.db"), "there is no directory"),
        (lambda d: "sqlite:///" + str(d), "is a directory"),
        (lambda d: "sqlite://", "lives in memory"),
        (lambda d: "not a url", "is not a database URL"),
        (
            lambda d: (d / "text").write_text("hello there, not a database") and f"sqlite:///{d}/text",
            "is not an SQLite",
        ),
        (lambda d: "mysql+nodriver://u:secret@h/x", r"u:\*\*\*@h.*driver"),
    ],
)
def test_a_storage_that_cannot_be_opened_says_why(tmp_path, make, message):
    with pytest.raises(UserError, match=message):
        open_storage(make(tmp_path))
