"""Trials that go on from a checkpoint: the same numbers to the last bit, no code from the file, and no file left."""

from __future__ import annotations

import io
import os
import pickle
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from search_spaces import SEARCH_SPACES
from search_spaces.errors import UserError
from sofim import OPTIMIZERS
from studies.engine._checkpoints import LocalStore
from studies.ledger import Ledger, open_search
from studies.storage.durability import Checkpoints, Durability
from studies.training import worker
from studies.training.checkpoints import restore, snapshot
from studies.trials import Assignment
from studies.workloads import Data, Metric, Workload, accuracy
from tests.studies.ledger.test_ledger_edges import CAMPAIGN, plan, record, work, work_off

KEY = "folder/0"
EPOCHS = 5


def load(_directory: Path | None) -> Data:
    points = torch.rand(120, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    classes = (points.prod(dim=1) > 0).long()
    return Data((points[:80], classes[:80]), (points[80:100], classes[80:100]), (points[100:], classes[100:]))


def model() -> nn.Module:
    """All that has a state: weights, running averages, and random numbers in every pass."""
    return nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.3), nn.Linear(16, 2))


def noisy(inputs: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
    return inputs + 0.05 * torch.randn(inputs.shape, generator=noise)


def workload() -> Workload:
    metric = Metric("accuracy", "maximize", accuracy)
    return Workload("probe", load, model, nn.functional.cross_entropy, metric, epochs=EPOCHS, augment=noisy)


class Killed(BaseException):
    """What ends the process."""


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "folder", "token", Checkpoints(tmp_path))


@pytest.fixture
def train(monkeypatch, store):
    """Runs a trial of an optimizer, and dies after so many messages; returns what the driver has heard."""
    module = type(sys)("checkpoint_probe")
    module.factory = workload
    monkeypatch.setitem(sys.modules, "checkpoint_probe", module)
    monkeypatch.setattr(worker, "_greeted", True)
    monkeypatch.setattr(worker, "SEND_SECONDS", -1.0)
    worker._workload.cache_clear()

    def run(optimizer: str, *, dies_after: int | None = None, key: str = KEY, **changes: object) -> list[dict]:
        space = SEARCH_SPACES[optimizer]
        fields = {
            "study": "s", "number": 0, "workload": "checkpoint_probe:factory", "optimizer": optimizer,
            "arguments": space.arguments(space.default) | {"batch_size": 16}, "seed": 3, "epochs": EPOCHS,
            "confirmation": True, "test": True, "checkpoint": key,
        }  # fmt: skip
        every = changes.pop("every", 1)
        schedule = changes.pop("schedule", "cosine+warmup")
        heard: list[dict] = []

        def send(message: dict) -> None:
            heard.append(message)
            if len(heard) == dies_after:
                raise Killed

        options = worker.TrainingOptions(schedule=schedule, checkpoint_every=every)
        try:
            worker.run(Assignment(**(fields | changes)), options, send, store)
        except Killed:
            torch.manual_seed(12345)  # the next process begins with other random numbers
        return heard

    return run


def numbers(messages: list[dict]) -> list[dict[str, float]]:
    records = [record for message in messages for record in message["records"]]
    return [{name: entry for name, entry in one.items() if name != "seconds"} for one in records]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_trial_that_goes_on_gives_the_same_numbers_bit_for_bit(train, optimizer):
    """Killed twice, each time on the way of another epoch; weights, averages, dropout, noise, probes and schedule."""
    whole = numbers(train(optimizer, key=""))
    assert [one["epoch"] for one in whole] == list(range(1, EPOCHS + 1))
    train(optimizer, dies_after=1)
    second = train(optimizer, dies_after=2)
    assert second[0]["facts"]["resumed"] == 1
    third = train(optimizer)
    assert third[0]["facts"]["resumed"] == 3
    assert numbers(third) == whole  # epochs that it had done are told again, to a driver that may be another
    assert third[-1]["end"] == "complete"


def test_time_that_was_spent_counts(train):
    first = train("sgd", dies_after=2)
    [again, *_] = train("sgd")
    spent = first[-1]["records"][-1]["seconds"]
    assert again["records"][1]["seconds"] == spent
    assert again["records"][2]["seconds"] > spent
    assert again["facts"]["busy_seconds"] > first[-1]["facts"]["busy_seconds"]


@pytest.mark.parametrize(("every", "resumed"), [(1, 3), (2, 2), (4, 0)])
def test_an_option_sets_how_often(train, every, resumed):
    train("sgd", every=every, dies_after=3)
    [first, *_] = train("sgd", every=every)
    assert first["facts"].get("resumed", 0) == resumed


def test_epochs_that_share_a_message_share_a_checkpoint(train, monkeypatch, store):
    """Of a trial whose epochs take a hundredth of a second, saving each would be what it spends its time on."""
    saved = []
    monkeypatch.setattr(LocalStore, "save", lambda _self, key, _content: saved.append(key))
    monkeypatch.setattr(worker, "SEND_SECONDS", 60.0)
    [message] = train("sgd")
    assert len(message["records"]) == EPOCHS
    assert saved == []


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 4},
        {"optimizer": "adam"},
        {"arguments": {"lr": 0.2, "batch_size": 16}},
        {"epochs": EPOCHS + 1},
        {"schedule": "constant"},
        {"test": False},
    ],
    ids=str,
)
def test_the_checkpoint_of_another_run_is_not_gone_on_from(train, other):
    train("sgd", dies_after=2)
    optimizer = str(other.pop("optimizer", "sgd"))
    fresh = train(optimizer, **other)
    assert "resumed" not in fresh[0]["facts"]
    assert numbers(fresh) == numbers(train(optimizer, key="", **other))


def test_a_torn_checkpoint_is_begun_anew_without_a_word(train, tmp_path):
    whole = numbers(train("sofim", key=""))
    train("sofim", dies_after=2)
    path = tmp_path / "folder" / "0.pt"
    content = path.read_bytes()
    for torn in (content[: len(content) // 2], b"", b"PK\x03\x04 nonsense", content[:-1]):
        path.write_bytes(torn)
        again = train("sofim", dies_after=None)
        assert numbers(again) == whole


class Malicious:
    """Executed by whoever unpickles it without care."""

    def __reduce__(self):
        return (os.mkdir, (os.environ["MALICE"],))


@pytest.mark.parametrize("write", [pickle.dumps, lambda found: _torch_bytes(found)], ids=["pickle", "torch"])
def test_no_code_in_a_checkpoint_is_executed(train, tmp_path, monkeypatch, write):
    monkeypatch.setenv("MALICE", str(tmp_path / "executed"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "0.pt").write_bytes(write({"format": 1, "run": Malicious()}))
    assert train("sgd")[-1]["end"] == "complete"
    assert not (tmp_path / "executed").exists()


def _torch_bytes(found: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(found, buffer)
    return buffer.getvalue()


def test_a_model_that_was_changed_meanwhile_begins_anew(train, monkeypatch):
    train("sgd", dies_after=2)
    monkeypatch.setattr(sys.modules[__name__], "model", lambda: nn.Linear(2, 2))
    worker._workload.cache_clear()
    monkeypatch.setattr(sys.modules["checkpoint_probe"], "factory", workload)
    again = train("sgd")
    assert "resumed" not in again[0]["facts"]
    assert again[-1]["end"] == "complete"


def test_a_checkpoint_that_cannot_be_written_costs_no_trial_and_is_told(train, tmp_path):
    (tmp_path / "folder").write_text("a file where the directory should be")
    messages = train("sgd")
    assert messages[-1]["end"] == "complete"
    assert messages[-1]["facts"]["checkpoint_failure"]
    assert not messages[0]["saved"]


class Holding(nn.Linear):
    """A module with a state that no file can hold."""

    def get_extra_state(self):
        return threading.Lock()

    def set_extra_state(self, state):
        """Nothing."""


def test_a_model_whose_state_cannot_be_saved_is_trained_all_the_same(train, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "model", lambda: Holding(2, 2))
    messages = train("sgd")
    assert messages[-1]["end"] == "complete"
    assert "pickle" in messages[-1]["facts"]["checkpoint_failure"]


def test_a_trial_that_is_to_stop_ends_its_epoch_is_saved_and_goes_on_later(train, store):
    """Also where the option would have it saved more seldom."""
    whole = numbers(train("sofim", key=""))
    store.open()
    store.request_stop()
    [stopped] = train("sofim", every=4)
    assert (stopped["end"], len(stopped["records"]), stopped["saved"]) == ("interrupted", 1, True)
    store.close()
    again = train("sofim", every=4)
    assert again[0]["facts"]["resumed"] == 1
    assert numbers(again) == whole


# ------------------------------------------------------------------------------------------------ files


def test_a_process_that_is_killed_while_it_saves_leaves_the_earlier_one(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("f/7", b"first")

    def killed(_self: Path, _target: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            checkpoints.save("f/7", b"second")
    assert checkpoints.load("f/7") == b"first"
    checkpoints.remove("f/7")
    assert list((tmp_path / "f").iterdir()) == []  # what it had begun too
    assert checkpoints.load("f/7") is None


def keeping(directory: Path) -> Durability:
    return Durability(checkpoints=Checkpoints(directory / "kept"))


def begin(ledger: Ledger, directory: Path) -> Assignment:
    """Asks for a trial, whose worker saves it after its first epoch."""
    assignment = ledger.ask()
    ledger.report(assignment, record(1, 0.5))
    Checkpoints(directory / "kept").save(assignment.checkpoint, b"state")
    return assignment


def kept(directory: Path) -> set[str]:
    return {path.stem for path in (directory / "kept").rglob("*.pt")}


@pytest.mark.slow
@pytest.mark.parametrize("end", ["complete", "pruned", "diverged", "failed"])
def test_a_checkpoint_is_removed_when_the_end_of_its_trial_is_in_the_database(every_storage, tmp_path, end):
    with open_search(every_storage, CAMPAIGN, [plan()], {}, durability=keeping(tmp_path)) as ledger:
        assignment, other = begin(ledger, tmp_path), begin(ledger, tmp_path)
        assert kept(tmp_path) == {"0", "1"}
        ledger.end(assignment, end, failure="broke" if end == "failed" else None)
        ledger.flush()
        ledger.ask()
        ledger.flush()  # of a later batch: what comes after the first is done
        assert kept(tmp_path) == {"1"}
        work(ledger, other)
        work_off(ledger)
    assert kept(tmp_path) == set()
    with open_search(every_storage, CAMPAIGN, [plan()], {}, durability=keeping(tmp_path)) as ledger:
        work_off(ledger)
    assert not (tmp_path / "kept").exists()


@pytest.mark.slow
def test_a_trial_that_is_asked_again_is_called_by_its_first_attempt(every_storage, tmp_path):
    """Lost with its driver, interrupted by Ctrl-C, lost again: the checkpoint is one."""
    names = []
    for _ in range(3):
        with open_search(every_storage, CAMPAIGN, [plan()], {}, durability=keeping(tmp_path)) as ledger:
            names.append(begin(ledger, tmp_path).checkpoint)
        assert kept(tmp_path) == {"0"}
    assert len(set(names)) == 1
    with open_search(every_storage, CAMPAIGN, [plan()], {}, durability=keeping(tmp_path)) as ledger:
        work_off(ledger)
    assert not (tmp_path / "kept").exists()


@pytest.mark.slow
def test_a_campaign_of_the_same_name_in_another_database_has_checkpoints_of_its_own(tmp_path):
    first, second = (f"sqlite:///{tmp_path}/{name}.db" for name in "ab")
    names = []
    for url in (first, second):
        with open_search(url, CAMPAIGN, [plan()], {}, durability=keeping(tmp_path)) as ledger:
            names.append(begin(ledger, tmp_path).checkpoint)
    assert names[0] != names[1]


def test_what_a_dead_driver_left_of_trials_that_count_is_swept_away(every_storage, tmp_path):
    with open_search(every_storage, CAMPAIGN, [plan()], {}, durability=keeping(tmp_path)) as ledger:
        done = begin(ledger, tmp_path)
        work(ledger, done)
    Checkpoints(tmp_path / "kept").save(done.checkpoint, b"killed before it was removed")
    with open_search(every_storage, CAMPAIGN, [plan()], {}, durability=keeping(tmp_path)):
        assert kept(tmp_path) == set()


@pytest.mark.parametrize(
    ("storage", "place"),
    [
        ("sqlite:///sofim.db", "sofim.db.checkpoints"),
        ("sqlite:////data/a.db?timeout=3", "/data/a.db.checkpoints"),
        ("journal:///runs/sofim.log", "runs/sofim.log.checkpoints"),
        ("postgresql+psycopg://me:secret@host/name", "cache/checkpoints"),
    ],
)
def test_where_checkpoints_are_by_default(monkeypatch, tmp_path, storage, place):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOFIM_CACHE", str(tmp_path / "cache"))
    found = Durability.of(storage, timeout=1, directory=None, every=1)
    assert found.checkpoints.directory == tmp_path / place


def test_snapshots_hold_what_the_issue_of_resuming_needs_and_nothing_foreign():
    """Model, optimizer, random states, epoch; schedule and data order follow from the epoch and the seed."""
    from studies.training.run import Run

    run = Run(workload(), OPTIMIZERS["sofim"], {"lr": 0.1, "batch_size": 8}, seed=0, budget=2, data=load(None))
    run.next_epoch()
    content = snapshot(run, {"a": 1}, [], 0.0)
    found = torch.load(io.BytesIO(content), weights_only=True)["run"]
    assert {"model", "optimizer", "random_states", "epoch"} <= set(found)
    assert restore(run, content, {"a": 2}) is None
    with pytest.raises(UserError, match="--checkpoint-every -1"):
        Durability.of("sqlite:///x.db", timeout=1, directory=None, every=-1)
