"""Both readers of the database see the same, of every kind of trial that there can be."""

from __future__ import annotations

import math
import threading
import time
from datetime import datetime, timedelta

import optuna
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from analysis import _frames
from analysis._optuna import OptunaReader
from analysis.load import curves, open_reader, read, studies, study, trials
from analysis.study import Frames
from benchmarks.load import STUDY, build
from studies.storage.database import close_storage, open_storage
from tests.support.fake_campaign import end, make, open_ledger, play, record

ONE = {"workloads": ["digits-mlp"], "optimizers": ["sofim"]}
NOON = datetime(2026, 3, 1, 12)
NAN = math.nan
SPACE = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
    "momentum": FloatDistribution(0.0, 0.9, step=0.1),
    "layers": IntDistribution(1, 8),
    "width": IntDistribution(4, 512, log=True),
    "kind": CategoricalDistribution(["relu", "tanh", 3, 0.5, True, None]),
}


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/trials.db"


@pytest.fixture
def opened(url):
    storage = open_storage(url)
    yield storage
    close_storage(storage)


def by_optuna(storage, name):
    """The frames of one study by Optuna's reader, whatever the storage is."""
    found = study(storage, name)
    reader = OptunaReader(storage, [found.study_id])
    entries = _frames.index(reader, {found.study_id: found})
    return Frames(_frames.trial_frame(reader, entries), _frames.curve_frame(reader, entries), pd.DataFrame())


def assert_same(left: Frames, right: Frames) -> None:
    """Equal, down to the types of what stands in the dictionaries."""
    for a, b in ((left.trials, right.trials), (left.curves, right.curves)):
        pd.testing.assert_frame_equal(a, b)
    assert left.trials["params"].map(repr_sorted).tolist() == right.trials["params"].map(repr_sorted).tolist()


def repr_sorted(params):
    return sorted((name, repr(value)) for name, value in params.items())


def fill(storage, name="foreign", direction="minimize") -> None:
    """A study of another program, with trials in every state and every odd number."""
    made = optuna.create_study(storage=storage, study_name=name, direction=direction)
    full = {"lr": 0.1, "dropout": 0.25, "momentum": 0.3, "layers": 3, "width": 64, "kind": "tanh"}
    listed = [
        {"value": 0.5, "params": full, "intermediate_values": {1: 0.7, 2: 0.5}},
        {"value": math.inf, "params": {"lr": 1e-4}, "intermediate_values": {1: math.inf, 2: -math.inf, 7: NAN}},
        {"value": -math.inf, "params": {"lr": 1.0, "kind": None}},
        {"state": TrialState.PRUNED, "params": {"kind": True}, "intermediate_values": {3: 0.9}, "value": 0.9},
        {"state": TrialState.PRUNED, "params": {"kind": 3}, "user_attrs": {"diverged": True}},
        {"state": TrialState.FAIL, "params": {"kind": 0.5, "width": 4}, "user_attrs": {"failure": "out of memory"}},
        {"state": TrialState.FAIL, "user_attrs": {"failure": "driver lost", "history": "none", "seconds": "many"}},
        {"state": TrialState.WAITING, "system_attrs": {"fixed_params": {"lr": 0.1}}},
        {"state": TrialState.RUNNING, "params": {"layers": 8}, "intermediate_values": {1: 0.25}},
    ]
    for fields in listed:
        distributions = {name: SPACE[name] for name in fields.get("params", {})}
        trial = create_trial(distributions=distributions, **fields)
        # not the present moment, which would differ from one storage to the next; only the first has both
        trial.datetime_start = NOON
        trial.datetime_complete = NOON + timedelta(seconds=90) if fields is listed[0] else None
        storage.create_new_trial(made._study_id, template_trial=trial)


@pytest.mark.slow
def test_a_database_and_other_storages_give_the_same_frames(opened, tmp_path):
    others = [InMemoryStorage(), JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))]
    frames = []
    for storage in (opened, *others):
        fill(storage)
        frames.append(read(storage, [study(storage, "foreign")]))
    for other in (*frames[1:], by_optuna(opened, "foreign")):
        assert_same(frames[0], other)


def test_what_stands_in_the_frames_of_another_programs_study(opened):
    fill(opened)
    found = study(opened, "foreign")
    frames = read(opened, [found])
    rows = frames.trials
    assert rows["number"].tolist() == list(range(9))
    assert rows["outcome"].tolist() == [
        "complete", "complete", "complete", "pruned", "diverged", "failed", "failed", "running", "running",
    ]  # fmt: skip
    assert rows["value"].tolist()[:4] == [0.5, math.inf, -math.inf, 0.9]
    assert rows["value"][4:].isna().all()
    assert rows["seconds"][0] == 90.0
    assert rows["seconds"][1:].isna().all()
    assert rows["gradient_evaluations"].isna().all()
    assert rows["failure"][5] == "out of memory"
    first = rows["params"][0]
    assert first == {"lr": 0.1, "dropout": 0.25, "momentum": 0.3, "layers": 3, "width": 64, "kind": "tanh"}
    assert [type(value) for value in first.values()] == [float, float, float, int, int, str]
    assert rows["params"][2] == {"lr": 1.0, "kind": None}
    assert rows["params"][3] == {"kind": True}
    assert rows["params"][6] == {}
    points = [[int(n), int(e), v] for n, e, v in frames.curves[["number", "epoch", "value"]].to_numpy().tolist()]
    assert repr(points) == repr(
        [[0, 1, 0.7], [0, 2, 0.5], [1, 1, math.inf], [1, 2, -math.inf], [1, 7, NAN], [3, 3, 0.9], [8, 1, 0.25]]
    )
    assert frames.curves[["seconds", "train_loss"]].isna().all(axis=None)
    assert frames.confirmations.empty


@pytest.mark.slow
def test_a_campaign_of_every_outcome_is_the_same_by_both_readers(url, opened):
    outcomes = [0.5, ("pruned", 0.25), "diverged", "failed: ValueError: no"]
    made = make(url, {"digits-mlp/sofim": [*outcomes, "running"]}, trials=7, **ONE)  # "running" when its driver left
    with open_ledger(url, made) as ledger:
        again = ledger.ask()  # asked again
        for epoch, value in ((1, 0.2), (2, NAN), (3, 0.9), (4, math.inf)):
            ledger.report(again, record(epoch, value, seconds=float(epoch)) | {"train_loss": value})
        end(ledger, again, 0.1, seconds=5.0)
        play(ledger, {"digits-mlp/sofim": ["running"]})
        ledger.flush()
        [ours] = studies(opened)
        frames = read(opened, [ours])
        assert_same(frames, by_optuna(opened, ours.name))
    assert frames.trials["outcome"].tolist() == [
        "complete", "pruned", "diverged", "failed", "lost", "complete", "running",
    ]  # fmt: skip
    curve = frames.curves[frames.curves["number"] == 5]
    assert curve["epoch"].tolist() == [1, 2, 3, 4]
    assert repr(curve["value"].tolist()) == "[0.2, nan, 0.9, nan]", "a metric that is no number is in the history alone"
    assert repr(curve["train_loss"].tolist()) == "[0.2, nan, 0.9, nan]"
    assert curve["seconds"].tolist() == [1.0, 2.0, 3.0, 4.0]
    running = frames.curves[frames.curves["number"] == 6]
    assert running["value"].tolist() == [0.5]
    assert running["seconds"].isna().all(), "the history comes with the end"
    assert 3 not in set(frames.curves["number"]), "it failed before its first epoch"


def test_frames_of_several_studies_keep_the_order_that_was_asked_for(url, opened):
    make(url, {"digits-mlp/sofim": [0.1, 0.2], "digits-mlp/sgd": [0.3, 0.4]}, workloads=["digits-mlp"])
    frames = read(opened, studies(opened)[::-1])
    assert frames.trials["study"].tolist() == ["fake/digits-mlp/sgd"] * 2 + ["fake/digits-mlp/sofim"] * 2
    assert frames.trials["value"].tolist() == [0.3, 0.4, 0.1, 0.2]
    assert frames.curves["value"].tolist() == [0.3, 0.4, 0.1, 0.2]


def test_no_study_no_trial_and_no_epoch_are_frames_without_rows(opened):
    optuna.create_study(storage=opened, study_name="empty")
    for of in ([], [study(opened, "empty")]):
        frames = read(opened, of)
        assert len(frames.trials) == len(frames.curves) == len(frames.confirmations) == 0
        assert list(frames.curves.columns) == [
            "study", "number", "epoch", "value", "seconds", "gradient_evaluations", "train_loss", "validation_loss",
        ]  # fmt: skip
        assert frames.trials.dtypes["value"] == frames.curves.dtypes["value"] == "float64"
        assert frames.trials.dtypes["number"] == frames.curves.dtypes["epoch"] == "int64"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    storage = open_storage(f"sqlite:///{tmp_path_factory.mktemp('shared')}/trials.db")
    yield storage
    close_storage(storage)


DRAWN = {
    "lr": st.floats(1e-4, 1.0),
    "layers": st.integers(1, 8),
    "width": st.integers(4, 512),
    "kind": st.sampled_from(["relu", "tanh", 3, 0.5, True, None]),
}
TRIAL = st.fixed_dictionaries(
    {
        "state": st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]),
        "value": st.floats(allow_nan=False),
        "params": st.fixed_dictionaries({}, optional=DRAWN),
        "intermediate_values": st.dictionaries(st.integers(0, 100), st.floats(), max_size=3),
    }
)


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(listed=st.lists(TRIAL, max_size=3))
def test_readers_agree_on_whatever_a_study_can_hold(shared, listed):
    made = optuna.create_study(storage=shared)
    for fields in listed:
        distributions = {name: SPACE[name] for name in fields["params"]}
        value = None if fields["state"] == TrialState.FAIL else fields["value"]
        made.add_trial(create_trial(distributions=distributions, **{**fields, "value": value}))
    assert_same(read(shared, [study(shared, made.study_name)]), by_optuna(shared, made.study_name))
    assert (
        study(shared, made.study_name).parameters
        == study(optuna.storages.get_storage(shared), made.study_name).parameters
    )


def test_a_trial_that_ends_between_two_queries_is_running_throughout(url, opened):
    with open_ledger(url, make(url, {}, trials=3, **ONE)) as ledger:
        assignment = ledger.ask()
        ledger.report(assignment, record(1, 0.4, seconds=1.0))
        ledger.flush()
        [ours] = studies(opened)
        reader = open_reader(opened, [ours.study_id])
        entries = _frames.index(reader, {ours.study_id: ours})
        end(ledger, assignment, 0.6)
        play(ledger, {"digits-mlp/sofim": [0.7]})
        ledger.flush()
        [row] = _frames.trial_frame(reader, entries).to_dict("records")
        assert (row["outcome"], row["seconds"], row["gradient_evaluations"]) == ("running", 0.0, 0.0)
        assert math.isnan(row["value"])
        curve = _frames.curve_frame(reader, entries)
        assert curve["value"].tolist() == [0.4]
        assert curve["seconds"].isna().all()
        assert trials(opened, [ours])["outcome"].tolist() == ["complete", "complete"]


@pytest.mark.slow
def test_reading_while_a_driver_writes_sees_whole_trials_and_never_fewer(url, opened):
    made = make(url, {}, trials=12, **ONE)
    outcomes = [0.5, ("pruned", 0.25), "diverged", 0.75] * 3
    errors: list[BaseException] = []

    reading = threading.Event()
    reading.set()
    counts: list[int] = []

    def drive() -> None:
        try:
            with open_ledger(url, made) as ledger:
                for outcome in outcomes:
                    play(ledger, {"digits-mlp/sofim": [outcome]})
                    ledger.flush()  # a transaction a trial
                    looks = len(counts)
                    while reading.is_set() and len(counts) < looks + 2:  # the first may have begun before
                        time.sleep(0.001)
        except BaseException as error:
            errors.append(error)

    [ours] = studies(opened)
    driver = threading.Thread(target=drive)
    driver.start()
    try:
        while driver.is_alive():
            frames = read(opened, [ours])
            ended = frames.trials[frames.trials["outcome"] != "running"]
            expected = ["pruned" if isinstance(o, tuple) else o if isinstance(o, str) else "complete" for o in outcomes]
            assert ended["outcome"].tolist() == expected[: len(ended)]
            assert (ended["seconds"] == 0.5).all()
            assert ended.loc[ended["outcome"] != "diverged", "value"].notna().all()
            assert ended["params"].map(len).eq(5).all()
            with_history = frames.curves[frames.curves["seconds"].notna()]
            assert with_history["number"].tolist() == ended["number"].tolist()
            counts.append(len(ended))
    finally:
        reading.clear()
        driver.join()
    assert not errors
    assert counts == sorted(counts)
    assert set(counts) >= set(range(1, 13)), "each trial was seen before the next one"
    assert len(trials(opened, [ours])) == 12


@pytest.mark.slow
def test_the_number_of_queries_does_not_grow_with_the_trials(opened):
    queries: list[str] = []
    sa.event.listen(opened.engine, "before_cursor_execute", lambda *event: queries.append(event[2]))
    counts = []
    for number, size in enumerate((1, 50)):
        made = optuna.create_study(storage=opened, study_name=f"study {number}")
        for _ in range(size):
            made.add_trial(create_trial(value=1.0, intermediate_values={1: 1.0}))
        found = study(opened, made.study_name)
        queries.clear()
        trials(opened, [found])
        curves(opened, [found])
        counts.append(len(queries))
    assert counts == [8, 8], "trials, values, params, constraints, attributes; trials, points, histories"


@pytest.mark.slow
def test_the_benchmarks_database_is_what_a_campaign_leaves(url, opened):
    build(url, trials=100, epochs=4)
    frames = read(opened, [study(opened, STUDY)])
    assert_same(frames, by_optuna(opened, STUDY))
    counts = frames.trials["outcome"].value_counts()
    assert set(counts.index) == {"complete", "pruned", "diverged", "failed"}
    assert len(frames.curves) == counts["complete"] * 4 + counts["pruned"] * 2 + counts["diverged"]
    assert frames.curves.notna().all(axis=None)
    assert study(opened, STUDY).parameters["beta"].one_minus


@pytest.mark.slow
def test_postgresql_gives_what_sqlite_gives(opened, postgres):
    url = postgres.new_database()
    storage = open_storage(url)
    for one in (opened, storage):
        fill(one)
    left, right = (read(one, [study(one, "foreign")]) for one in (opened, storage))
    assert_same(left, right)
    assert_same(right, by_optuna(storage, "foreign"))
    assert study(opened, "foreign").parameters == study(storage, "foreign").parameters
    make(url, {"digits-mlp/sofim": [0.5, ("pruned", 0.25), "diverged", "failed: no"]}, trials=4, **ONE)
    [ours] = studies(storage)
    frames = read(storage, [ours])
    assert_same(frames, by_optuna(storage, ours.name))
    assert frames.trials["outcome"].tolist() == ["complete", "pruned", "diverged", "failed"]
    assert frames.curves["train_loss"].tolist() == [1.0, 1.0, 1.0]
    close_storage(storage)
