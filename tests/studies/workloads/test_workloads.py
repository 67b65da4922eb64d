"""The table of workloads: every row complete, its model what it says, its data checked before any trial."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces.errors import UserError
from sofim.registry import OPTIMIZERS
from studies.data import DATASETS
from studies.models import LeNet5, ResNet9
from studies.training.run import train
from studies.workloads import WORKLOADS, Data, Metric, Workload, accuracy, check
from studies.workloads import breast_cancer_logreg as logreg
from tests.reference.published_formats import write

EMBEDDED = [
    "breast-cancer-logreg",
    "breast-cancer-regression",
    "digits-mlp",
    "digits-lenet5",
    "digits-vit",
    "digits-autoencoder",
    "shakespeare-plays",
]
GENERAL = ["shakespeare-gpt", "poisson-pinn", "cartpole-reinforce"]
PAPER = ["cifar10-lenet5", "cifar10-resnet18", "cifar100-resnet9", "svhn-resnet9"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOFIM_CACHE", str(tmp_path / "cache"))


def num_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


class TestTable:
    def test_holds_what_the_project_promises(self):
        assert list(WORKLOADS) == [*EMBEDDED, *GENERAL, "fashion-lenet5", *PAPER]

    @pytest.mark.parametrize("name", WORKLOADS)
    def test_row_is_complete(self, name):
        row = WORKLOADS[name]
        assert row.name == name
        if row.sample is None:
            assert row.dataset in DATASETS
            assert row.source.startswith(DATASETS[row.dataset].source)
        assert row.source
        assert row.licence
        assert row.epochs >= 1
        assert row.target is not None
        assert row.kind in ("image", "table", "text", "autoencoder", "physics", "reinforcement")
        assert row.metric.direction == ("maximize" if row.metric.name in ("accuracy", "mean_return") else "minimize")

    @pytest.mark.parametrize(
        ("name", "num"),
        [
            ("breast-cancer-logreg", 31),
            ("breast-cancer-regression", 20 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10),
            ("digits-vit", 160 + 512 + 2 * 8_544 + 394),
            ("digits-autoencoder", 37_896),
            ("digits-mlp", 64 * 64 + 64 + 64 * 10 + 10),
            ("shakespeare-gpt", 112_577),
            ("poisson-pinn", 3 * 32 + 33 * 32 + 33),
            ("cartpole-reinforce", 5 * 32 + 33),
            ("fashion-lenet5", 61_706),  # LeCun's, with all connections between the convolutions
            ("cifar10-lenet5", 62_006),
            ("cifar10-resnet18", 11_173_962),
            ("cifar100-resnet9", 6_621_540),
            ("svhn-resnet9", 6_575_370),
        ],
    )
    def test_number_of_parameters(self, name, num):
        assert num_parameters(WORKLOADS[name].model()) == num

    def test_resnet18_has_the_cifar_stem(self):
        model = WORKLOADS["cifar10-resnet18"].model().eval()
        assert model.conv1.kernel_size == (3, 3)
        assert model.conv1.stride == (1, 1)
        with torch.no_grad():
            features = model.layer1(model.maxpool(model.relu(model.bn1(model.conv1(torch.zeros(1, 3, 32, 32))))))
        assert features.shape == (1, 64, 32, 32)  # nothing is thrown away before the first residual block

    def test_resnet9_shapes_on_the_way(self):
        model = ResNet9(10).eval()
        shapes, images = [], torch.zeros(2, 3, 32, 32)
        for layer in model.features:
            images = layer(images)
            shapes.append(tuple(images.shape[1:]))
        assert shapes == [
            (64, 32, 32), (128, 16, 16), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 4, 4), (512, 1, 1), (512,),
        ]  # fmt: skip

    def test_lenet5_refuses_images_that_are_too_small(self):
        with pytest.raises(ValueError, match="too small"):
            LeNet5(channels=1, size=8, num_classes=10, padding=2)

    def test_svhn_and_fashion_are_not_mirrored_and_cifar_is(self):
        mirrored = [name for name, row in WORKLOADS.items() if getattr(row.augment, "flip", False)]
        assert mirrored == ["cifar10-lenet5", "cifar10-resnet18", "cifar100-resnet9"]

    @pytest.mark.parametrize("name", EMBEDDED)
    def test_embedded_rows_pass_their_check_and_leave_the_generator_alone(self, name):
        before = torch.get_rng_state()
        data = check(WORKLOADS[name], test=True)
        assert torch.equal(torch.get_rng_state(), before)
        assert len(data.test()) > 50

    @pytest.mark.parametrize("name", ["digits-mlp", "digits-lenet5"])
    def test_digits_are_standardized(self, name):
        images = WORKLOADS[name].load(None).train.inputs
        assert images.mean().item() == pytest.approx(0, abs=0.01)
        if name == "digits-mlp":
            assert images.std().item() == pytest.approx(1, abs=0.01)

    def test_cifar_lenet5_loads_the_small_files_and_trains_an_epoch(self, tmp_path):
        self.train_on_small_files("cifar10-lenet5", tmp_path, num_per_batch=20)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["cifar100-resnet9", "svhn-resnet9"])
    def test_resnet9_trains_an_epoch_on_small_files(self, name, tmp_path):
        self.train_on_small_files(name, tmp_path, num_train=20, num_test=4)

    @pytest.mark.slow
    def test_resnet18_trains_an_epoch_on_small_files(self, tmp_path):
        self.train_on_small_files("cifar10-resnet18", tmp_path, num_per_batch=4, num_test=4)

    def train_on_small_files(self, name, directory, **sizes):
        workload = WORKLOADS[name]
        write(workload.dataset, directory, **sizes)
        data = check(workload, directory)
        arguments = {"lr": 0.01, "batch_size": 8}
        records = list(train(workload, OPTIMIZERS["sgd"], arguments, 0, 1, data=data, test=True))
        assert math.isfinite(records[-1].train_loss)
        assert records[-1].train_loss < 3 * math.log(100)
        assert 0 <= records[-1].metric <= 1
        assert 0 <= records[-1].test_metric <= 1

    @pytest.mark.parametrize("name", ["fashion-lenet5", *PAPER])
    def test_missing_data_are_one_line_before_any_trial(self, name, tmp_path, monkeypatch):
        dataset = WORKLOADS[name].dataset
        monkeypatch.setitem(DATASETS, dataset, replace(DATASETS[dataset], system=()))
        with pytest.raises(UserError) as caught:
            check(WORKLOADS[name], tmp_path)
        message = str(caught.value)
        assert "\n" not in message
        for part in (dataset, str(tmp_path), f"sofim data {dataset} --download --data {tmp_path}"):
            assert part in message


class TestLogisticRegression:
    def test_optimum_is_scikit_learn_s_to_1e_10(self):
        from sklearn.linear_model import LogisticRegression

        train = logreg.BREAST_CANCER_LOGREG.load(None).train
        inputs, targets = train.inputs.numpy(), train.targets.numpy()
        model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(inputs, targets)
        theirs = logreg.objective(np.append(model.coef_[0], model.intercept_[0]), inputs, targets)
        assert logreg.optimum() == pytest.approx(theirs, abs=1e-10)

    def test_no_direction_leads_below_the_optimum(self):
        train = logreg.BREAST_CANCER_LOGREG.load(None).train
        inputs, targets = train.inputs.numpy(), train.targets.numpy()
        weights = logreg._solve()["weights"]
        rng = np.random.default_rng(0)
        for scale in (1e-5, 1e-2, 1.0):
            for _ in range(20):
                step = scale * rng.standard_normal(len(weights))
                assert logreg.objective(weights + step, inputs, targets) >= logreg.optimum() - 1e-15

    def test_a_model_with_the_optimal_weights_has_no_gap(self):
        workload = logreg.BREAST_CANCER_LOGREG
        train, weights = workload.load(None).train, torch.from_numpy(logreg._solve()["weights"])
        model = workload.model()
        with torch.no_grad():
            model.weight.copy_(weights[None, :-1])
            model.bias.copy_(weights[-1:])
            objective = workload.loss(model(train.inputs), train.targets) + workload.penalty(model)
        assert workload.metric.finish(objective.item()) < 1e-12

    def test_lbfgs_gets_there_and_the_metric_says_so(self):
        workload = logreg.BREAST_CANCER_LOGREG
        arguments = {
            "lr": 1.0, "max_iter": 50, "tolerance_grad": 1e-12, "tolerance_change": 0.0,
            "line_search_fn": "strong_wolfe", "batch_size": 1000,
        }  # fmt: skip
        records = list(train(workload, OPTIMIZERS["lbfgs"], arguments, 0, 3))
        assert 0 <= records[-1].metric < 1e-10

    def test_data_are_standardized_by_the_training_examples(self):
        train = logreg.BREAST_CANCER_LOGREG.load(None).train
        assert train.inputs.dtype == torch.float64
        torch.testing.assert_close(train.inputs.mean(dim=0), torch.zeros(30, dtype=torch.float64))
        torch.testing.assert_close(train.inputs.std(dim=0, correction=0), torch.ones(30, dtype=torch.float64))


GOOD = {
    "name": "own",
    "load": lambda directory: None,
    "model": lambda: nn.Linear(1, 1),
    "loss": nn.functional.mse_loss,
    "metric": Metric("error", "minimize"),
}


class TestConstruction:
    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"name": "a/b"}, ValueError, "name of a workload"),
            ({"name": ""}, ValueError, "name of a workload"),
            ({"name": "a\n"}, ValueError, "name of a workload"),
            ({"name": 3}, ValueError, "name of a workload"),
            ({"load": None}, TypeError, "load is a function, not NoneType"),
            ({"model": nn.Linear(1, 1)}, TypeError, "model is a function that makes a new model"),
            ({"model": 3}, TypeError, "model is a function, not int"),
            ({"loss": "mse"}, TypeError, "loss is a function, not str"),
            ({"metric": accuracy}, TypeError, "metric is a Metric, not function"),
            ({"epochs": 0}, ValueError, "epochs is a whole number from 1, not 0"),
            ({"epochs": 1.5}, ValueError, "epochs is a whole number"),
            ({"epochs": True}, ValueError, "epochs is a whole number"),
            ({"target": math.nan}, ValueError, "target is a finite number"),
            ({"augment": 1}, TypeError, "augment is a function, not int"),
            ({"kind": "two words"}, ValueError, "name of a kind of workload"),
        ],
    )
    def test_wrong_fields_are_named(self, change, error, words):
        with pytest.raises(error, match=re.escape(words)):
            Workload(**{**GOOD, **change})

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("m", "up"), "direction"),
            (("m", "maximize", None, "test"), "split"),
            (("", "maximize"), "name of a metric"),
            *[
                (("m", "maximize", None, "validation", None, "", "linear", bounds), r"bounds are \(least, most\)")
                for bounds in [(1.0, 0.0), (0.0, math.inf), (0, 1, 2), ("0", "1"), 1.0]
            ],
        ],
    )
    def test_wrong_metrics_are_named(self, arguments, words):
        with pytest.raises(ValueError, match=words):
            Metric(*arguments)

    def test_better(self):
        assert Metric("a", "maximize").is_better(2, 1)
        assert Metric("a", "minimize").is_better(1, 2)
        for direction in ("maximize", "minimize"):
            assert not Metric("a", direction).is_better(1, 1)
            assert not Metric("a", direction).is_better(math.nan, 1)


class TestCheck:
    """Every function of a workload is tried once, and what is wrong points at the line it was written on."""

    data = Data((torch.randn(8, 1), torch.randn(8, 1)), (torch.randn(8, 1), torch.randn(8, 1)))

    def workload(self, **change):
        return Workload(**{**GOOD, "load": lambda directory: self.data, **change})

    def test_a_good_one_passes(self):
        assert check(self.workload()) is self.data

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"load": lambda directory: None}, "load returned nothing (None), not a Data"),
            ({"load": lambda directory: 1 / 0}, "load raised ZeroDivisionError: division by zero"),
            ({"load": lambda: None}, "load raised TypeError"),
            ({"model": lambda: 3}, "model returned a value of type int, not a torch.nn.Module"),
            ({"model": lambda: nn.Flatten()}, "no parameters to train"),
            ({"model": lambda: nn.Linear(2, 1)}, "model raised RuntimeError"),
            ({"loss": lambda o, t: 1.0}, "loss returned a value of type float, not a tensor"),
            (
                {"loss": lambda o, t: (o - t) ** 2},
                "loss returned a tensor of shape [4, 1], not its mean over the batch",
            ),
            ({"loss": lambda o, t: o.detach().mean()}, "does not depend on the model's parameters"),
            ({"loss": lambda o, t: o.mean() * math.nan}, "loss of a freshly initialized model is nan"),
            ({"prepare": lambda x: x.nothing}, "prepare raised AttributeError"),
            ({"augment": lambda x: x}, "augment raised TypeError"),
            ({"penalty": lambda model: 3}, "penalty returned a value of type int"),
            ({"metric": Metric("m", "minimize", lambda o, t: t.mean() / 0 * 0)}, "metric m of a freshly initialized"),
            ({"metric": Metric("m", "minimize", lambda o, t: o.exit())}, "metric m raised AttributeError"),
            ({"metric": Metric("m", "minimize", lambda o, t: None)}, "metric m returned nothing (None)"),
        ],
    )
    def test_errors_point_at_the_user_s_line(self, change, words):
        with pytest.raises(UserError) as caught:
            check(self.workload(**change))
        message = str(caught.value)
        assert words in message
        assert message.startswith("workload own: ")
        assert re.search(re.escape(Path(__file__).name) + r":\d+\)$", message)

    def test_missing_test_data_matter_to_confirmation_alone(self):
        assert check(self.workload()) is self.data
        with pytest.raises(UserError, match="no test data"):
            check(self.workload(), test=True)


def test_accuracy_is_exact():
    outputs = torch.zeros(7, 3)
    outputs[torch.arange(7), torch.tensor([0, 1, 2, 0, 1, 2, 0])] = 1
    assert accuracy(outputs, torch.tensor([0, 1, 2, 1, 0, 0, 1])).item() == 3 / 7


@pytest.mark.parametrize("name", ["epoch", "seconds", "gradient_evaluations", "train_loss", "validation_loss"])
def test_a_metric_cannot_take_the_name_of_another_column_of_the_history(name):
    with pytest.raises(ValueError, match="a trial's history has a column of that name"):
        Metric(name, "minimize")
