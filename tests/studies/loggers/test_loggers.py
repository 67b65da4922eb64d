"""Logs of trials: what a person sees there is what the database has, and no log ever costs a trial."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest

from search_spaces.errors import UserError
from studies.loggers import KINDS, Logging, _logging, targets_of
from studies.loggers._targets import Kind
from studies.storage.database import close_storage
from tests.support.fake_campaign import campaign, open_ledger, play

ROOT = Path(__file__).parents[3]
ONE = {"workloads": ["digits-mlp"], "optimizers": ["sgd"]}
OF_LIBRARIES = pytest.mark.filterwarnings("ignore")  # that a library is told of by its own libraries
ACCURACY = "accuracy"
OUTCOMES = [0.5, ("pruned", 0.25), "diverged", "failed: ValueError: no luck"]


def run_all(url: str, *logs: str, outcomes: list[Any] = OUTCOMES, **changes: Any) -> list[str]:
    """Plays a campaign of one study, told to logs; returns what was said."""
    said: list[str] = []
    made = campaign(**ONE, trials=len(outcomes), **changes)
    with Logging(targets_of(logs), said.append) as logging, open_ledger(url, made) as ledger:
        ledger.listen(logging)
        play(ledger, {"digits-mlp/sgd": outcomes})
    return said


def trials_in(url: str, study: str = "fake/digits-mlp/sgd") -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.RDBStorage(url)
    try:
        return optuna.load_study(study_name=study, storage=storage).trials
    finally:
        close_storage(storage)


def events(folder: Path) -> list[Any]:
    """All summaries of a run, as TensorBoard would read them."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob("events.out.tfevents.*"), key=lambda file: file.stat().st_mtime_ns):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack("Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            found += [(event.step, value) for value in event.summary.value]
            data = data[16 + length :]
    return found


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    return [(v.tag, step, v.simple_value) for step, v in events(folder) if v.WhichOneof("value") == "simple_value"]


def texts(folder: Path) -> dict[str, str]:
    return {
        v.tag.partition("/")[0]: v.tensor.string_val[0].decode()
        for _, v in events(folder) if v.metadata.plugin_data.plugin_name == "text"
    }  # fmt: skip


def hparams(folder: Path) -> tuple[dict[str, Any], list[int]]:
    """Hyperparameters of a run, and how it ended, as often as it did."""
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    found, ends = {}, []
    for _, value in events(folder):
        if value.metadata.plugin_data.plugin_name == "hparams":
            data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
            for name, entry in data.session_start_info.hparams.items():
                found[name] = getattr(entry, entry.WhichOneof("kind"))
            if data.HasField("session_end_info"):
                ends.append(data.session_end_info.status)
    return found, ends


def test_tensorboard_has_each_trial_as_the_database_has_it(toy, tmp_path):
    said = run_all(toy, f"tensorboard:{tmp_path / 'runs'}")
    assert said == []
    trials = trials_in(toy)
    assert len(trials) == len(OUTCOMES)
    for trial, outcome in zip(trials, ["complete", "pruned", "diverged", "failed"], strict=True):
        folder = tmp_path / "runs" / "fake/digits-mlp/sgd" / f"trial-{trial.number}"
        known, ends = hparams(folder)
        assert known == {**trial.params, "workload": "digits-mlp", "optimizer": "sgd"}
        assert ends == [2 if outcome == "failed" else 1]  # FAILURE, SUCCESS
        assert texts(folder)["outcome"] == outcome
        history = trial.user_attrs["history"]
        points = {(tag, step) for tag, step, _ in scalars(folder) if step}
        assert points == {(tag, epoch) for tag in history if tag != "epoch" for epoch in history["epoch"]}
        told = [value for tag, _, value in scalars(folder) if tag == "value"]
        assert told == ([] if trial.value is None else [pytest.approx(trial.value)])
    assert "no luck" in texts(folder)["failure"]


@pytest.fixture
def toy(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'trials.db'}"


KILLED = """
import os, sys
from studies.loggers import Logging, targets_of
from tests.studies.loggers.test_loggers import ONE
from tests.support.fake_campaign import campaign, open_ledger, play, record

with Logging(targets_of(sys.argv[2:]), print) as logging, open_ledger(sys.argv[1], campaign(**ONE, trials=3)) as ledger:
    ledger.listen(logging)
    play(ledger, {"digits-mlp/sgd": [0.5]})
    trial = ledger.ask()
    ledger.report(trial, record(1, 0.25, 0.5))
    ledger.report(trial, record(1, 0.25, 0.5))  # its worker died, and it began again on another
    ledger.flush()
    for log in logging._logs:
        while log._queue.qsize() or log._written < log._entries:
            pass
    os._exit(9)
"""


def killed_and_gone_on(url: str, *logs: str) -> list[str]:
    """A driver is killed with a trial running; the next one goes on, and one more finds nothing to do."""
    done = subprocess.run([sys.executable, "-c", KILLED, url, *logs], cwd=ROOT, timeout=240, check=False)
    assert done.returncode == 9
    said: list[str] = []
    for outcomes in [[0.75, 0.5], []]:
        with (
            Logging(targets_of(logs), said.append) as logging,
            open_ledger(url, campaign(**ONE, trials=3)) as ledger,
        ):
            ledger.listen(logging)
            play(ledger, {"digits-mlp/sgd": outcomes})
    return said


@pytest.mark.slow
def test_a_driver_that_goes_on_doubles_nothing_and_ends_what_was_open(toy, tmp_path):
    assert killed_and_gone_on(toy, f"tensorboard:{tmp_path / 'runs'}") == []
    study = tmp_path / "runs" / "fake/digits-mlp/sgd"
    assert sorted(folder.name for folder in study.iterdir()) == ["trial-0", "trial-1", "trial-2", "trial-3"]
    outcomes = [texts(study / f"trial-{number}")["outcome"] for number in range(4)]
    assert outcomes == ["complete", "interrupted", "complete", "complete"]
    for folder in study.iterdir():
        assert len(hparams(folder)[1]) == 1
        points = [(tag, step) for tag, step, _ in scalars(folder)]
        assert len(points) == len(set(points))
    assert hparams(study / "trial-2")[0]["retry_of"] == "1"
    assert texts(study / "trial-1")["failure"] == "driver lost"


@pytest.mark.slow
def test_another_campaign_of_the_same_name_has_runs_of_its_own(tmp_path):
    for database in ("a", "b"):
        run_all(f"sqlite:///{tmp_path / database}.db", f"tensorboard:{tmp_path / 'runs'}", outcomes=[0.5])
    folders = list((tmp_path / "runs" / "fake/digits-mlp/sgd").iterdir())
    assert len(folders) == 2
    assert all(len(hparams(folder)[1]) == 1 for folder in folders)


def test_a_log_that_fails_is_one_warning_and_no_trial_is_lost(toy, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "fake").write_text("in the way")
    said = run_all(toy, f"tensorboard:{tmp_path / 'runs'}")
    warning, missing = said
    assert "File exists" in warning or "Not a directory" in warning
    assert "11 entries are missing there" in missing
    assert [trial.state.name for trial in trials_in(toy)] == ["COMPLETE", "PRUNED", "PRUNED", "FAIL"]


class Hanging:
    """A server that takes a call and never answers."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __getattr__(self, name: str) -> Any:
        return lambda *_: threading.Event().wait()


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(_logging, "CLOSING_SECONDS", 1.5)
    monkeypatch.setattr(_logging, "OPENING_SECONDS", 0.5)
    monkeypatch.setitem(KINDS, "hanging", Kind("PLACE", "sys", Hanging, lambda _: None))
    return


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_log_that_hangs_holds_up_neither_the_driver_nor_the_others(toy, tmp_path):
    began = time.monotonic()
    said = run_all(toy, "hanging:there", f"tensorboard:{tmp_path / 'runs'}", outcomes=[0.5] * 10)
    assert time.monotonic() - began < 60, "it does not wait for ever"
    missing = "30 entries are missing there (it had 1.5 s to write them at the end, and has not)"
    assert said == [f"--log hanging:there: {missing}; the database has them."]
    assert len(trials_in(toy)) == 10
    outcomes = [texts(folder)["outcome"] for folder in (tmp_path / "runs").rglob("trial-*")]
    assert outcomes == ["complete"] * 10


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_what_waits_for_a_log_is_bounded(toy, monkeypatch):
    monkeypatch.setattr(_logging, "MOST_WAITING", 5)
    assert run_all(toy, "hanging:there", outcomes=[0.5] * 10) == [
        "--log hanging:there: it does not keep up; trials go on, and the log lacks what it does not take.",
        "--log hanging:there: 30 entries are missing there (it does not keep up); the database has them.",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_library_is_named_with_its_extra(kind, monkeypatch):
    monkeypatch.setattr("studies.loggers._targets.find_spec", lambda _: None)
    with pytest.raises(UserError, match=rf"^--log {kind}:x: .* is not installed; .*sofim-studies\[{kind}\]'$"):
        targets_of([f"{kind}:x"])


def expected(url: str) -> dict[int, tuple[str, dict[str, str], set[tuple[str, int]]]]:
    """Of each trial in the database, by number: its outcome, parameters, and points of curves."""
    found = {}
    for trial in trials_in(url):
        outcome = "interrupted" if "failure" in trial.user_attrs else "complete"
        names = (ACCURACY, "seconds", "gradient_evaluations", "train_loss", "validation_loss")
        points = {(name, epoch) for name in names for epoch in trial.intermediate_values}
        found[trial.number] = outcome, {name: str(value) for name, value in trial.params.items()}, points
    return found


@OF_LIBRARIES
def test_mlflow_has_each_trial_once_as_the_database_has_it(toy, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert killed_and_gone_on(toy, f"mlflow:{uri}") == []
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("fake/digits-mlp/sgd")
    runs = {int(run.data.tags["sofim.trial"]): run for run in client.search_runs([experiment.experiment_id])}
    found = {}
    for number, run in runs.items():
        names = [name for name in run.data.metrics if name != "value"]
        points = [(name, one.step) for name in names for one in client.get_metric_history(run.info.run_id, name)]
        assert len(points) == len(set(points))
        found[number] = run.data.tags["sofim.outcome"], run.data.params, set(points)
    assert found == expected(toy)
    states = [runs[number].info.status for number in range(4)]
    assert states == ["FINISHED", "KILLED", "FINISHED", "FINISHED"]
    assert runs[2].data.tags["sofim.retry_of"] == "1"
    assert runs[1].data.tags["sofim.failure"] == "driver lost"


@OF_LIBRARIES
def test_a_server_that_is_away_is_one_warning(toy, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as silent:  # takes a call, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(_logging, "CLOSING_SECONDS", 1.0)
        [missing] = run_all(toy, f"mlflow:http://me:s3cret@127.0.0.1:{silent.getsockname()[1]}")
    assert re.fullmatch(
        r"--log mlflow:http://me:\*\*\*@127.*: 11 entries are missing there \(it had 1 s .*\); the database has them\.",
        missing,
    )
    assert len(trials_in(toy)) == 4


@OF_LIBRARIES
def test_trackio_has_each_trial_once_as_the_database_has_it(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip("trackio")
    assert killed_and_gone_on(toy, "trackio:mine") == []
    [database] = (tmp_path / "trackio").glob("*.db")
    with closing(sqlite3.connect(database)) as opened:
        configs = dict(opened.execute("SELECT run_name, config FROM configs"))
        rows = list(opened.execute("SELECT run_name, step, metrics FROM metrics"))
    found = {}
    for name, config in configs.items():
        known = json.loads(config)
        points = [(key, step) for run, step, metrics in rows if run == name for key in json.loads(metrics)]
        assert len(points) == len(set(points))
        params = {key: str(known[key]) for key in trials_in(toy)[0].params}
        kept = {point for point in points if point[0] not in ("begun", "value")}
        found[int(name.rpartition(" ")[2])] = known["outcome"], params, kept
    assert found == expected(toy)


def wandb_records(file: Path) -> Iterator[Any]:
    """The records of a run that W&B keeps offline: LevelDB's log format behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # what is too short for a header is left free
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # the only part, the last part
            yield Record.FromString(whole)
            whole = b""


@OF_LIBRARIES
def test_wandb_has_each_trial_once_as_the_database_has_it(toy, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    assert killed_and_gone_on(toy, "wandb:mine") == []
    outcomes, configs, points, keys = {}, {}, {}, {}
    for file in sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb")):
        for one in wandb_records(file):
            if one.HasField("run"):
                number = int(one.run.display_name.rpartition(" ")[2])
                assert (one.run.run_group, one.run.project) == ("fake/digits-mlp/sgd", "mine")
                assert keys.setdefault(number, one.run.run_id) == one.run.run_id
                configs.setdefault(number, {}).update({i.key: json.loads(i.value_json) for i in one.run.config.update})
            for item in one.summary.update:
                if (item.key or item.nested_key[0]) == "outcome":
                    outcomes.setdefault(number, []).append(json.loads(item.value_json))
            for item in one.history.item:
                if not (item.key or item.nested_key[0]).startswith("_"):
                    points.setdefault(number, []).append((item.key or item.nested_key[0], one.history.step.num))
    known = expected(toy)
    assert sorted(keys) == sorted(known)
    for number, (outcome, params, wanted) in known.items():
        assert outcomes[number][-1] == outcome
        assert {name: str(configs[number][name]) for name in params} == params
        at = points.get(number, [])
        assert len(at) == len(set(at))
        # what its process had in memory when the driver was killed is lost
        assert set(at) == wanted or (outcome == "interrupted" and set(at) < wanted)
