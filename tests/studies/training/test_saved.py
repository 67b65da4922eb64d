"""A model that was saved: the weights that are evaluated, the same numbers again, and a line for each mistake."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from search_spaces.errors import UserError
from sofim import OPTIMIZERS
from studies import load_model
from studies.engine._checkpoints import LocalStore
from studies.storage.durability import Checkpoints
from studies.training import worker
from studies.training.run import Record, train
from studies.training.saved import check_free, check_model, checksum_of, evaluated, write
from studies.trials import Assignment
from studies.workloads import WORKLOADS, Data, Metric, Workload, accuracy

EPOCHS = 4
ARGUMENTS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.3, "momentum": 0.9},
    "schedule-free-adamw": {"lr": 0.03},
    "lbfgs": {"lr": 0.5},
}


class Tied(nn.Module):
    """BatchNorm and dropout, and two layers that share their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.out = nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2)
        self.second = nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.dropout = nn.Dropout(0.1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.out(self.dropout(torch.tanh(self.second(self.norm(self.first(inputs))))))


def data(seed: int = 0) -> Data:
    points = torch.rand(300, 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    classes = (points.prod(dim=1) > 0).long()
    return Data((points[:150], classes[:150]), (points[150:220], classes[150:220]), (points[220:], classes[220:]))


def workload(model: Callable[[], nn.Module] = Tied, seed: int = 0, metric: str = "accuracy") -> Workload:
    return Workload(
        "probe", lambda _: data(seed), model, nn.functional.cross_entropy, Metric(metric, "maximize", accuracy)
    )


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A person's module, whose workload a test may change."""
    module: Any = type(sys)("saved_probe")
    module.factory = workload
    monkeypatch.setitem(sys.modules, "saved_probe", module)
    monkeypatch.setattr(worker, "SEND_SECONDS", 0.0)  # a checkpoint an epoch
    worker._workload.cache_clear()
    return module


def assignment(optimizer: str, checkpoint: str = "") -> Assignment:
    arguments = {**ARGUMENTS[optimizer], "batch_size": 30}
    return Assignment("c/p/o", 0, "saved_probe:factory", optimizer, arguments, 3, EPOCHS, checkpoint=checkpoint)


def again(optimizer: str, epoch: int, store: LocalStore, checkpoint: str = "") -> worker.Trained:
    options = worker.TrainingOptions()
    return worker.train_again(assignment(optimizer, checkpoint), options, epoch, store, optimizer_state=True)


def recorded(optimizer: str) -> list[Record]:
    made = assignment(optimizer)
    return list(train(workload(), OPTIMIZERS[optimizer], made.arguments, made.seed, EPOCHS, test=True))


def described(optimizer: str, epoch: int) -> dict[str, Any]:
    made = asdict(assignment(optimizer))
    metric = {"name": "accuracy", "split": "validation"}
    return {**made, "split": None, "amp": False, "on_gpu": False, "epoch": epoch, "metric": metric}


def save(directory: Path, optimizer: str, epoch: int, made: worker.Trained) -> None:
    """As the command does."""
    description = described(optimizer, epoch)
    model = evaluated(description, made.weights, workload(), data())
    description["metric"] |= {"value": model.value, "test": model.test}
    write(directory, {**description, "data": checksum_of(workload(), data())}, made.weights, made.optimizer)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ARGUMENTS)
def test_a_run_once_more_gives_the_metric_of_its_epoch_to_the_last_digit(tmp_path, mine, optimizer):
    records = recorded(optimizer)
    best = max(records, key=lambda record: (record.metric, -record.epoch))
    made = again(optimizer, best.epoch, LocalStore(tmp_path, "token"))
    assert (made.failure, made.metric) == (None, best.metric)
    save(tmp_path / "model", optimizer, best.epoch, made)
    loaded = load_model(tmp_path / "model")
    assert (loaded.value, loaded.test) == (best.metric, best.test_metric)
    assert f"epoch {best.epoch} of {EPOCHS}: validation accuracy {best.metric!r}, test accuracy" in str(loaded)
    assert not loaded.model.training
    kept = safetensors.torch.load(made.weights)
    assert {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"} < set(kept)
    state = torch.load(tmp_path / "model" / "optimizer.pt", weights_only=True)
    OPTIMIZERS[optimizer].factory(list(Tied().parameters()), **ARGUMENTS[optimizer]).load_state_dict(state)


@pytest.mark.parametrize("optimizer", ["sgd", "schedule-free-adamw"])
def test_after_its_worker_died_it_goes_on_to_the_same_bytes(tmp_path, mine, optimizer):
    batches: list[int] = []
    last: list[int] = []  # a batch at which the worker dies

    class Dies(BaseException):
        pass

    def prepare(inputs: torch.Tensor) -> torch.Tensor:
        batches.append(1)
        if len(batches) in last:
            raise Dies
        return inputs

    plain = workload()
    mine.factory = lambda: Workload("probe", plain.load, plain.model, plain.loss, plain.metric, prepare=prepare)
    whole = again(optimizer, EPOCHS, LocalStore(tmp_path, "token"))
    needed = len(batches)
    last.append(needed + 3 * needed // 4)  # in the last epochs
    store = LocalStore(tmp_path, "token", Checkpoints(tmp_path))
    with pytest.raises(Dies):
        again(optimizer, EPOCHS, store, "saving/1")
    before = len(batches)
    rest = again(optimizer, EPOCHS, store, "saving/1")
    assert 0 < len(batches) - before <= needed / 2, "the first epochs are not trained again"
    assert (rest.weights, rest.metric) == (whole.weights, whole.metric)


def test_what_is_changed_since_is_named_in_one_line(tmp_path, mine):
    place = tmp_path / "model"
    save(place, "sgd", 2, again("sgd", 2, LocalStore(tmp_path, "token")))
    whole = {name: (place / name).read_bytes() for name in ("model.safetensors", "model.json")}

    def refused(directory: Path, **more: Any) -> str:
        with pytest.raises(UserError) as caught:
            load_model(directory, **more)
        said = str(caught.value)
        assert "\n" not in said
        return said

    assert f"{tmp_path / 'other'}: has no model that sofim saved" in refused(tmp_path / "other")
    (place / "model.safetensors").write_bytes(whole["model.safetensors"][:-1] + b"x")
    assert "model.safetensors: is not the file that model.json describes, its checksum differs" in refused(place)
    (place / "model.safetensors").write_bytes(whole["model.safetensors"])
    for broken in (b"{", b"[]", b'{"format": "sofim-studies model 1"}'):
        (place / "model.json").write_bytes(broken)
        assert "model.json: is not as sofim wrote it" in refused(place)
    (place / "model.json").write_bytes(whole["model.json"])
    for other, said in (
        (workload(model=lambda: nn.Linear(2, 2)), "its model is not the one whose weights were saved"),
        (workload(seed=1), "its data are not those that the model was evaluated on"),
        (workload(metric="share"), "its metric is share, and the model was saved by accuracy"),
    ):
        mine.factory = lambda other=other: other
        assert f"workload probe: {said}" in refused(place)
    del mine.factory
    assert "has no factory" in refused(place)
    (place / "model.json").write_bytes(whole["model.json"].replace(b"saved_probe:factory", b"__main__:xor"))
    assert refused(place).endswith(f"give it here too: studies.load_model({str(place)!r}, workload=xor)")
    elsewhere = load_model(place, workload=workload)
    assert elsewhere.value == json.loads(whole["model.json"])["metric"]["value"]


def test_the_script_tells_a_mistake_in_one_line(tmp_path, mine, capsys, monkeypatch):
    place = tmp_path / "model"
    save(place, "sgd", 2, again("sgd", 2, LocalStore(tmp_path, "token")))
    script = (place / "load.py").read_text()
    assert script.count("\n") <= 5
    plain = workload()

    def missing(directory: Path | None) -> Data:
        raise FileNotFoundError(f"no points in {directory}")

    def told() -> str:
        exec(compile(script, "load.py", "exec"), {"__file__": str(place / "load.py")})
        return capsys.readouterr().out

    def refused() -> str:
        with pytest.raises(SystemExit) as ended:
            told()
        said = capsys.readouterr()
        assert (ended.value.code, said.out, said.err.count("\n")) == (2, "", 1)
        return said.err.removeprefix(f"{place / 'load.py'}: ")

    monkeypatch.setattr(sys, "argv", ["load.py"])
    assert told().startswith("saved_probe:factory, sgd, seed 3, epoch 2 of 4: validation accuracy 0.")
    mine.factory = lambda: replace(plain, load=missing)
    assert refused().startswith("workload probe: load raised FileNotFoundError: no points in None (")
    sys.argv.append("there")
    assert refused().startswith("workload probe: load raised FileNotFoundError: no points in there (")
    mine.factory = lambda: workload(model=lambda: nn.Linear(2, 2, bias=missing))  # type: ignore[arg-type]
    assert "workload probe: " in refused()
    del mine.factory
    assert refused().startswith("workload saved_probe:factory: ")


def test_a_workload_whose_loss_counts_otherwise_now_is_told_by_both_numbers(tmp_path, mine):
    save(tmp_path / "model", "sgd", 2, again("sgd", 2, LocalStore(tmp_path, "token")))
    before = load_model(tmp_path / "model").value
    plain = workload()
    mine.factory = lambda: Workload(
        "probe", plain.load, plain.model, plain.loss, plain.metric, prepare=lambda x: -3 * x
    )
    now = load_model(tmp_path / "model")
    assert now.value != before
    assert f"validation accuracy {now.value!r} ({before!r} when it was saved)" in str(now)


def test_what_cannot_be_saved_is_refused_before_anything_is_trained(tmp_path, mine):
    class Holding(nn.Linear):
        def get_extra_state(self) -> object:
            return {"calls": 1}

    with pytest.raises(UserError, match="its model keeps _extra_state in its state, of type dict"):
        check_model(workload(model=lambda: Holding(2, 2)))
    (tmp_path / "load.py").write_text("mine = 1\n")
    with pytest.raises(UserError, match=r"has a file load\.py that sofim did not write"):
        check_free(tmp_path)
    save(tmp_path / "model", "sgd", 1, again("sgd", 1, LocalStore(tmp_path, "token")))
    assert (tmp_path / "model" / "optimizer.pt").exists()
    check_free(tmp_path / "model")  # an earlier model is replaced
    made = again("sgd", 1, LocalStore(tmp_path, "token"))
    save(tmp_path / "model", "sgd", 1, replace(made, optimizer=None))
    assert not (tmp_path / "model" / "optimizer.pt").exists(), "that would be another run's"
    assert load_model(tmp_path / "model").value == made.metric


def test_a_run_that_fails_now_says_why(tmp_path, mine):
    def fails() -> nn.Module:
        raise ValueError("no such layer")

    mine.factory = lambda: workload(model=fails)
    made = again("sgd", 1, LocalStore(tmp_path, "token"))
    assert made.failure is not None
    assert made.failure.endswith("ValueError: no such layer")
    assert made.weights == b""


@pytest.mark.parametrize(
    "model",
    [
        lambda: nn.ParameterDict({"w": nn.Parameter(torch.eye(2, dtype=torch.complex128))}),
        lambda: nn.ParameterDict({"w": nn.Parameter(torch.eye(2).to_sparse())}),
    ],
    ids=["complex", "sparse"],
)
def test_a_model_that_safetensors_does_not_take_is_refused_in_a_line(model):
    with pytest.raises(UserError, match=r"^workload digits-mlp: its model cannot be saved .*; leave out --save$"):
        check_model(replace(WORKLOADS["digits-mlp"], model=model))


def test_a_model_whose_shapes_come_with_the_data_can_be_saved():
    check_model(replace(WORKLOADS["digits-mlp"], model=lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(10))))


def test_data_on_another_device_have_the_splits_that_they_had():
    pair = torch.zeros(4, 2), torch.zeros(4)
    assert not Data(pair, pair).on("meta").has_test
    assert Data(pair, pair, pair).on("meta").has_test
