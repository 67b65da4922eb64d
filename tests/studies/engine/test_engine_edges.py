"""The engine where things go wrong: other clusters, full disks, Ctrl-C anywhere, code that exits, workers given up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.utils import flatten_dict

from search_spaces.errors import UserError
from studies.engine import Resources, _callbacks, _cluster
from studies.engine._callbacks import LedgerScheduler, LedgerSearcher, result_of
from studies.engine._checkpoints import LocalStore
from studies.engine._losses import died
from studies.engine._signals import SignalGuard
from studies.ledger import OutOfTimeError, open_search
from studies.storage import rdb
from studies.training import worker
from studies.trials import Assignment
from tests.studies.ledger.test_ledger_edges import CAMPAIGN, plan
from tests.support import probe_home
from tests.support.probe_home import called, settle

# -------- the callbacks, with neither Ray nor ledger


@dataclass
class Ray:
    """What the callbacks use of Ray's controller, and of its trials."""

    trials: list[Trial] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)

    def get_live_trials(self) -> set[Trial]:
        return set(self.trials)

    def get_trial(self, trial_id: str) -> Trial | None:
        return next((trial for trial in self.trials if trial.trial_id == trial_id), None)

    def _schedule_trial_train(self, trial: Trial) -> None:
        self.trained.append(trial.trial_id)

    def start(self, searcher: LedgerSearcher, trial_id: str, status: str = Trial.RUNNING) -> Trial:
        config = searcher.suggest(trial_id)
        assert isinstance(config, dict)
        trial = Trial("probe", trial_id=trial_id, stub=True)
        trial.status = status
        self.trials.append(trial)
        return trial


@dataclass
class FakeLedger:
    trials: int
    refuses: Exception | None = None
    late: Exception | None = None
    asked: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)
    interrupted: list[int] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.asked >= self.trials

    def ask(self) -> Assignment | None:
        if self.refuses is not None:
            raise self.refuses
        if self.finished:
            return None
        self.asked += 1
        return Assignment("s", self.asked - 1, "w", "sgd", {}, 0, 3)

    def look(self) -> None:
        if self.late is not None:
            raise self.late

    def end(self, assignment: Assignment, outcome: str, _facts: object = None, *, failure: str | None = None) -> None:
        if outcome == "failed":
            self.failed.append((assignment.number, failure))
        else:
            assert outcome == "interrupted"
            self.interrupted.append(assignment.number)


def greeting() -> dict[str, Any]:
    return result_of(worker.Message(records=[], end=None, failure=None, saved=False, facts={}))


@pytest.fixture
def engine(monkeypatch):
    def build(
        trials: int, slots: int, timeout: float | None = None
    ) -> tuple[Ray, FakeLedger, LedgerSearcher, LedgerScheduler]:
        monkeypatch.setattr(_callbacks, "living_nodes", lambda: [{"CPU": float(slots)}])
        ledger, guard = FakeLedger(trials), SignalGuard()
        searcher = LedgerSearcher(ledger, Resources(), guard)  # type: ignore[arg-type]
        scheduler = LedgerScheduler(ledger, searcher, guard, timeout=timeout)  # type: ignore[arg-type]
        return Ray(), ledger, searcher, scheduler

    return build


def test_first_workers_wait_for_each_other_and_then_all_train_once(engine):
    ray, _, searcher, scheduler = engine(trials=10, slots=3)
    trials = [ray.start(searcher, name) for name in "abc"]
    for trial in trials[:2]:
        assert scheduler.on_trial_result(ray, trial, greeting()) == TrialScheduler.NOOP
        scheduler.choose_trial_to_run(ray)
        assert ray.trained == []
    scheduler.on_trial_result(ray, trials[2], greeting())
    scheduler.choose_trial_to_run(ray)
    scheduler.choose_trial_to_run(ray)
    assert sorted(ray.trained) == ["a", "b", "c"]
    assert scheduler.on_trial_result(ray, trials[0], greeting()) == TrialScheduler.CONTINUE


def test_a_second_ctrl_c_waits_until_what_is_told_is_told():
    """In the middle of it, a trial would be neither running nor ended."""
    told = []

    def tell() -> None:
        with SignalGuard() as guard:
            os.kill(os.getpid(), signal.SIGINT)
            assert guard.stopping
            with guard.deferring_signals():
                os.kill(os.getpid(), signal.SIGINT)
                told.append("all of it")
            told.append("behind it")

    with pytest.raises(KeyboardInterrupt):
        tell()
    assert told == ["all of it"]


def test_fewer_trials_than_slots_do_not_wait_for_others(engine):
    ray, _, searcher, scheduler = engine(trials=2, slots=64)
    for name in "ab":
        scheduler.on_trial_result(ray, ray.start(searcher, name), greeting())
    scheduler.choose_trial_to_run(ray)
    assert sorted(ray.trained) == ["a", "b"]


def test_a_waiting_worker_that_dies_is_replaced_and_both_train_once(engine):
    ray, _, searcher, scheduler = engine(trials=10, slots=2)
    lost, other = (ray.start(searcher, name) for name in "ab")
    scheduler.on_trial_result(ray, lost, greeting())
    scheduler.on_trial_error(ray, lost)
    searcher.on_trial_complete("a", error=True)
    lost.status = Trial.ERROR
    scheduler.on_trial_result(ray, other, greeting())
    scheduler.choose_trial_to_run(ray)
    assert ray.trained == []
    scheduler.on_trial_result(ray, ray.start(searcher, "c"), greeting())
    assert searcher.assignments["c"].number == 0
    scheduler.choose_trial_to_run(ray)
    assert sorted(ray.trained) == ["b", "c"]


def test_a_trial_whose_workers_all_die_fails_in_the_end_and_holds_up_nobody(engine):
    ray, ledger, searcher, scheduler = engine(trials=2, slots=2)
    scheduler.on_trial_result(ray, ray.start(searcher, "a"), greeting())
    for name in ("b", "b2", "b3", "b4"):
        lost = ray.start(searcher, name)
        assert searcher.assignments[name].number == 1
        scheduler.on_trial_result(ray, lost, greeting())
        scheduler.on_trial_error(ray, lost)
        searcher.on_trial_complete(name, error=True)
        lost.status = Trial.ERROR
    assert searcher.suggest("c") is None
    scheduler.choose_trial_to_run(ray)
    assert ray.trained == ["a"]
    assert ledger.failed == [(1, died(4))]


def test_the_search_is_not_over_before_what_it_might_have_to_begin_again_is(engine):
    ray, ledger, searcher, _ = engine(trials=1, slots=8)
    ray.start(searcher, "a")
    assert searcher.suggest("b") is None
    searcher.on_trial_complete("a", error=True)
    ray.start(searcher, "c")
    assert searcher.assignments["c"].number == 0
    del searcher.assignments["c"]  # as the scheduler does when it ends
    assert searcher.suggest("d") == LedgerSearcher.FINISHED
    assert ledger.failed == []


class Worker:
    """Stands for the handle of one."""


def test_a_trial_has_its_time_from_when_it_begins_on_its_worker_and_is_not_begun_again(engine, monkeypatch):
    """Neither a worker's start counts, nor that it waits for others, nor that the driver stood still meanwhile."""
    ray, ledger, searcher, scheduler = engine(trials=3, slots=2, timeout=10.0)
    begun, killed, hear = time.monotonic(), [], scheduler.on_trial_result
    monkeypatch.setattr(_callbacks.ray, "kill", lambda actor, no_restart: killed.append(actor))

    def after(seconds: float) -> None:
        monkeypatch.setattr(_callbacks.time, "monotonic", lambda: begun + seconds)
        scheduler.choose_trial_to_run(ray)

    first, second = (ray.start(searcher, name) for name in "ab")
    workers = Worker(), Worker()
    for trial, made in zip((first, second), workers, strict=True):
        trial.temporary_state.ray_actor = made
    hear(ray, first, greeting())
    for seconds in range(0, 40, 4):
        after(seconds)  # the second is still importing
    hear(ray, second, greeting())
    after(40)
    after(44)
    assert ray.trained == ["a", "b"]
    after(52)  # nobody looked for eight seconds
    after(53)
    assert killed == []
    end = worker.Message(records=[], end="diverged", failure=None, saved=False, facts={})
    ledger.end = lambda assignment, outcome, *_, failure=None: ledger.failed.append((assignment.number, failure))
    hear(ray, first, result_of(end))
    first.status = Trial.TERMINATED
    third = ray.start(searcher, "c")
    third.temporary_state.ray_actor = workers[0]  # used again
    after(57)
    after(60)
    after(63)
    assert (ledger.failed, killed) == ([(0, None), (1, "timed out after 10 s")], [workers[1]])
    searcher.on_trial_complete("b", error=True)  # as Ray tells of it
    second.status = Trial.ERROR
    after(66)
    after(69)
    assert ledger.failed[2:] == [(2, "timed out after 10 s")]
    assert searcher.suggest("d") == LedgerSearcher.FINISHED


def test_a_worker_that_never_starts_is_waited_for_no_longer_than_a_minute(engine, monkeypatch):
    ray, _, searcher, scheduler = engine(trials=10, slots=2)
    first, second = (ray.start(searcher, name) for name in "ab")
    second.status = Trial.PENDING
    scheduler.on_trial_result(ray, first, greeting())
    now = time.monotonic()
    monkeypatch.setattr(_callbacks.time, "monotonic", lambda: now + _callbacks.COLD_SECONDS + 1)
    assert scheduler.choose_trial_to_run(ray) is second
    assert ray.trained == ["a"]


def test_a_free_worker_gets_the_trial_that_has_none_unless_the_other_waited_long(engine, monkeypatch):
    """Ray gives up the worker that starts for a trial when that trial is given another."""
    ray, _, searcher, scheduler = engine(trials=10, slots=2)
    ray.start(searcher, "a", Trial.PENDING)
    begun = time.monotonic()
    for minutes, name, expected in ((0.0, "b", "b"), (0.9, "c", "c"), (1.1, "d", "a")):
        monkeypatch.setattr(_callbacks.time, "monotonic", lambda now=begun + 60 * minutes: now)
        short = ray.start(searcher, name, Trial.PENDING)
        assert scheduler.choose_trial_to_run(ray).trial_id == expected
        searcher.on_trial_complete(name)
        short.status = Trial.TERMINATED


def test_a_trial_that_ray_gave_up_without_a_word_begins_again(engine):
    ray, ledger, searcher, scheduler = engine(trials=10, slots=1)
    trial = ray.start(searcher, "a")
    scheduler.choose_trial_to_run(ray)
    assert searcher.suggest("b") is None
    trial.status = Trial.ERROR
    ray.start(searcher, "b")
    assert searcher.assignments["b"].number == 0
    assert ledger.failed == []


def test_what_the_ledger_raises_in_a_callback_comes_out_as_it_was(engine):
    _, ledger, searcher, _ = engine(trials=1, slots=1)
    ledger.refuses = UserError("the disk is full")

    def loop() -> None:
        with searcher._guard:
            try:
                searcher.suggest("a")
            except UserError as error:  # as Ray does
                raise RuntimeError(f"Traceback ...\n{error!r}") from None

    with pytest.raises(UserError, match=r"^the disk is full$"):
        loop()


def test_what_ray_swallows_comes_out_at_the_next_step(engine):
    ray, ledger, searcher, scheduler = engine(trials=1, slots=1)
    ledger.refuses = UserError("the disk is full")
    with pytest.raises(UserError):
        searcher.suggest("a")
    with pytest.raises(UserError, match="the disk is full"):
        scheduler.choose_trial_to_run(ray)


def test_a_clock_that_has_run_out_ends_it_while_trials_train(engine):
    ray, ledger, searcher, scheduler = engine(trials=1, slots=1)
    scheduler.on_trial_result(ray, ray.start(searcher, "a"), greeting())
    scheduler.choose_trial_to_run(ray)
    ledger.late = OutOfTimeError()

    def loop() -> None:
        with searcher._guard, suppress(OutOfTimeError):  # as Ray might
            scheduler.choose_trial_to_run(ray)

    with pytest.raises(OutOfTimeError):
        loop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_the_end_of_a_step_and_a_second_one_does_not(engine, number):
    ray, _, _, scheduler = engine(trials=1, slots=1)
    before = signal.getsignal(number)
    reached = []

    def loop(interrupts: int, steps: int) -> None:
        with scheduler._guard:
            for _ in range(interrupts):
                os.kill(os.getpid(), number)
                reached.append("the rest of the step")
            for _ in range(steps):
                scheduler.choose_trial_to_run(ray)
                reached.append("another step")

    with pytest.raises(KeyboardInterrupt):
        loop(interrupts=1, steps=2)
    assert reached == ["the rest of the step"]
    assert signal.getsignal(number) is before
    reached.clear()
    with pytest.raises(KeyboardInterrupt):
        loop(interrupts=1, steps=0)  # it is noted still
    assert reached == []


def test_an_interrupt_in_the_last_step_is_not_forgotten():
    with pytest.raises(KeyboardInterrupt), SignalGuard():
        os.kill(os.getpid(), signal.SIGINT)


def test_a_new_fact_of_a_run_reaches_the_database_and_no_line_between_names_it(tmp_path, monkeypatch):
    """A worker or the engine says it; who wants to read it lists it in ``analysis``."""
    monkeypatch.setattr(_callbacks, "living_nodes", lambda: [{"CPU": 1.0}])
    url, ray, guard = f"sqlite:///{tmp_path}/trials.db", Ray(), SignalGuard()
    own = plan(name="c/digits-mlp/sofim", workload="digits-mlp", epochs=1, trials=1)
    with open_search(url, CAMPAIGN, [own], {}) as ledger:
        searcher = LedgerSearcher(ledger, Resources(), guard)
        scheduler, trial = LedgerScheduler(ledger, searcher, guard), ray.start(searcher, "a")

        def send(message: worker.Message) -> None:
            scheduler.on_trial_result(ray, trial, flatten_dict(result_of(message)))  # as Tune does

        store = LocalStore(tmp_path, "token")
        worker.run(searcher.assignments["a"], worker.TrainingOptions(), send, store, {"toy": 7})
    [stored] = optuna.load_study(study_name=own.name, storage=url).trials
    assert stored.user_attrs["toy"] == 7
    assert stored.user_attrs["device"].startswith("CPU")


# -------- nodes and shapes


@pytest.mark.parametrize(
    ("node", "resources", "slots"),
    [
        ({"CPU": 4.0}, Resources(), 4),
        ({"CPU": 4.0}, Resources(cpus_per_trial=0.5), 8),
        ({"CPU": 4.0}, Resources(cpus_per_trial=0.3), 13),
        ({"CPU": 16.0, "GPU": 2.0}, Resources(gpus_per_trial=0.25), 8),
        ({"CPU": 16.0, "GPU": 2.0}, Resources(gpus_per_trial=0.3), 6),  # three on each: a share lies on one GPU
        ({"CPU": 16.0, "GPU": 4.0}, Resources(gpus_per_trial=2.0), 2),
        ({"CPU": 3.0, "GPU": 8.0}, Resources(gpus_per_trial=1.0), 3),
        ({"CPU": 16.0}, Resources(gpus_per_trial=1.0), 0),
        ({"memory": 1.0}, Resources(), 0),
    ],
)
def test_how_many_trials_a_node_holds(node, resources, slots):
    assert _cluster.slots_of(node, resources) == slots


def test_a_shape_that_fits_on_no_one_node_is_refused(monkeypatch):
    monkeypatch.setattr(_cluster, "living_nodes", lambda: [{"CPU": 1.0, "GPU": 4.0}, {"CPU": 16.0}])
    _cluster.check_fits(Resources(cpus_per_trial=1, gpus_per_trial=1))
    with pytest.raises(UserError, match="--cpus-per-trial 4 --gpus-per-trial 1: no node has both"):
        _cluster.check_fits(Resources(cpus_per_trial=4, gpus_per_trial=1))


def test_whoever_has_gpus_and_asks_for_none_is_told_so(monkeypatch):
    monkeypatch.setattr(_cluster, "living_nodes", lambda: [{"CPU": 1.0, "GPU": 1.0}, {"CPU": 16.0}])
    assert "not on the 1 GPU there: --gpus-per-trial 1" in (_cluster.idle_gpus(Resources()) or "")
    assert _cluster.idle_gpus(Resources(gpus_per_trial=0.25)) is None
    assert _cluster.idle_gpus(Resources().for_one_run_alone()) is None, "winners are confirmed where they were tuned"
    monkeypatch.setattr(_cluster, "living_nodes", lambda: [{"CPU": 16.0}])
    assert _cluster.idle_gpus(Resources()) is None


def test_what_the_users_code_imports_from_beside_itself_travels_with_it(tmp_path, monkeypatch):
    home, elsewhere, target = (tmp_path / name for name in ("home", "elsewhere", "target"))
    for directory in (home / "packed_layers" / "deep", elsewhere, target):
        directory.mkdir(parents=True)
    (home / "packed_workload.py").write_text("import packed_helper, packed_foreign\nfrom packed_layers.deep import X\n")
    (home / "packed_helper.py").touch()
    (home / "unused.py").touch()
    (home / "packed_layers" / "deep" / "__init__.py").write_text("from ..width import X\n")
    (home / "packed_layers" / "width.py").write_text("X = 1\n")
    (elsewhere / "packed_foreign.py").touch()
    for directory in (home, elsewhere):
        monkeypatch.syspath_prepend(directory)
    __import__("packed_workload")
    _cluster._pack(target, (home / "packed_workload.py", home / "packed_layers"))
    assert {path.name for path in target.iterdir()} == {
        *("sofim", "search_spaces", "analysis", "studies"),
        *("packed_workload.py", "packed_helper.py", "packed_layers"),
    }
    packed = {path.relative_to(target).as_posix() for path in (target / "packed_layers").rglob("*.py")}
    assert packed == {"packed_layers/width.py", "packed_layers/deep/__init__.py"}


def test_an_installed_module_does_not_bring_along_all_that_is_installed(tmp_path):
    source = Path(pytest.__file__).parent
    _cluster._pack(tmp_path, (source,))
    assert {path.name for path in tmp_path.iterdir()} == {"sofim", "search_spaces", "analysis", "studies", "pytest"}


@pytest.mark.slow
def test_workers_need_not_import_the_ledger():
    """It would cost each of them 50 MiB and a second."""
    code = "import sys, studies.engine._run; sys.exit('optuna' in sys.modules or 'sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -------- for real

PLAIN = "probe_workload:plain"


@pytest.fixture
def home(tmp_path):
    return settle(tmp_path, PLAIN, trials=4)


@pytest.mark.cluster
def test_a_full_disk_ends_a_campaign_in_one_line_and_loses_nothing_that_was_written(home, one_ray, monkeypatch):
    whole, writes = rdb.write_in_one_transaction, count(1)

    def write(*arguments: Any) -> Any:
        if next(writes) > 3:
            raise sqlalchemy.exc.OperationalError("INSERT", {}, Exception("database or disk is full"))
        return whole(*arguments)

    monkeypatch.setattr(rdb, "write_in_one_transaction", write)
    one_ray.use(home)
    (home / "notes" / "PROBE_SECONDS").write_text("0.5")
    options = ("--trials", "10", "--storage-timeout", "0", "--cpus-per-trial", "2")
    done = called(home, "launch", "probe.toml", *options)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(
        "sofim: storage 'sqlite:///sofim.db' refuses: database or disk is full; mend that and run the same command"
    )
    assert done.stderr.count("\n") == 1
    trials = probe_home.trials_of(home, f"{PLAIN}/sofim")  # on a busy machine the other study has not begun
    assert trials
    assert all(t.state in (TrialState.RUNNING, TrialState.COMPLETE) for t in trials)
