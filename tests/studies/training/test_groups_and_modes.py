"""What the training loop makes of a row's parameter groups, and of an optimizer that is evaluated in another mode."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from analysis.load import studies
from search_spaces import SEARCH_SPACES
from search_spaces.errors import UserError
from sofim.registry import OPTIMIZERS, OptimizerSpec
from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import resolve_campaign
from studies.ledger import open_search
from studies.storage.database import close_storage, open_storage
from studies.training import modes
from studies.training.batches import evaluate
from studies.training.run import Run, train
from studies.workloads import WORKLOADS, Metric

MLP, LENET, LOGREG = (WORKLOADS[name] for name in ("digits-mlp", "digits-lenet5", "breast-cancer-logreg"))
SCHEDULE_FREE = OPTIMIZERS["schedule-free-adamw"]
# After these few steps the average is far from where the gradients are taken.
ARGUMENTS = {"lr": 0.2, "betas": (0.3, 0.999), "weight_decay": 0.0, "batch_size": 64}


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def normalized():
    """Three layers with BatchNorm, and dropout."""
    layers = [module for _ in range(3) for module in (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Dropout(0.2), nn.Linear(64, 10))


NORMALIZED = replace(MLP, name="normalized", model=normalized)


def made(workload, spec, arguments, **options):
    options = {"seed": 0, "budget": 4, "data": workload.load(None), **options}
    return Run(workload, spec, arguments, **options)


def default_arguments(key):
    return SEARCH_SPACES[key].arguments(SEARCH_SPACES[key].default)


def state_of(run):
    return {name: entry.clone() for name, entry in run.model.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


class TestModes:
    @pytest.mark.slow
    def test_batch_norm_is_estimated_anew_without_which_the_metric_is_wrong(self, monkeypatch):
        run = made(NORMALIZED, SCHEDULE_FREE, ARGUMENTS)
        _, record = run.next_epoch(), run.next_epoch()
        monkeypatch.setattr(modes, "estimate_averages", lambda model, batches: None)
        _, stale, *_ = train(NORMALIZED, SCHEDULE_FREE, ARGUMENTS, 0, 4)
        monkeypatch.undo()
        assert stale.train_loss == record.train_loss, "only the evaluation differs"

        # The truth, by hand: the averaged weights, and the mean of all training batches.
        optimizer = run.optimizer
        optimizer.eval()
        exact = torch.optim.swa_utils.AveragedModel(run.model).module
        torch.optim.swa_utils.update_bn([(NORMALIZED.load(None).train.inputs,)], exact)
        loss, metric = evaluate(NORMALIZED, exact, NORMALIZED.load(None).validation, amp=False)
        assert record.validation_loss == pytest.approx(loss, rel=0.1)
        assert record.metric == pytest.approx(metric, abs=0.01)
        assert stale.validation_loss > 2 * loss
        assert stale.metric < metric - 0.05

    def test_what_is_evaluated_is_what_a_person_exports(self):
        run = made(NORMALIZED, SCHEDULE_FREE, ARGUMENTS)
        record = run.next_epoch()
        trained = state_of(run)
        with run.evaluated():
            exported = normalized()
            exported.load_state_dict(run.model.state_dict())
        loss, metric = evaluate(NORMALIZED, exported, NORMALIZED.load(None).validation, amp=False)
        assert (loss, metric) == (record.validation_loss, record.metric)
        assert_same(state_of(run), trained)
        assert not torch.equal(exported[1].weight, trained["1.weight"])

    @pytest.mark.slow
    def test_training_does_not_depend_on_how_often_it_is_evaluated(self):
        seldom, often = (made(NORMALIZED, SCHEDULE_FREE, ARGUMENTS) for _ in range(2))
        for _ in range(3):
            first = seldom.next_epoch()
            for _ in range(2):
                with often.evaluated():
                    pass
            assert replace(often.next_epoch(), seconds=0.0) == replace(first, seconds=0.0)
            assert_same(state_of(often), state_of(seldom))

    def test_a_state_goes_on_whatever_mode_it_was_taken_in(self):
        run = made(NORMALIZED, SCHEDULE_FREE, ARGUMENTS)
        run.next_epoch()
        run.optimizer.eval()  # by somebody who looks at it from outside
        other = made(NORMALIZED, SCHEDULE_FREE, ARGUMENTS)
        other.load_state_dict(torch.load(saved(run), weights_only=True))
        assert replace(other.next_epoch(), seconds=0.0) == replace(run.next_epoch(), seconds=0.0)

    def test_every_split_is_measured_in_the_same_mode(self):
        seen = []

        class Watched(OPTIMIZERS["sgd"].factory.func):
            mode = "train"

            def train(self):
                self.mode = "train"

            def eval(self):
                self.mode = "eval"

        def loss_function(outputs, targets):
            seen.append((torch.is_grad_enabled(), run.optimizer.mode))
            return nn.functional.cross_entropy(outputs, targets)

        spec = OptimizerSpec("watched", Watched, has_modes=True)
        workload = replace(MLP, loss=loss_function, metric=Metric("loss", "minimize", split="train"))
        run = made(workload, spec, {"lr": 0.1, "batch_size": 500}, test=True)
        run.next_epoch()
        run.next_epoch()
        assert set(seen) == {(True, "train"), (False, "eval")}
        assert run.optimizer.mode == "train"

    def test_averages_that_a_model_keeps_fixed_stay_fixed(self):
        class Fixed(nn.Sequential):
            def train(self, mode=True):
                super().train(mode)
                self[2].eval()
                return self

        workload = replace(NORMALIZED, model=lambda: Fixed(*normalized()))
        run = made(workload, SCHEDULE_FREE, ARGUMENTS)
        run.next_epoch()
        with run.evaluated():
            assert torch.equal(run.model[2].running_mean, torch.zeros(64))


class TestScheduleOfItsOwn:
    @pytest.mark.slow
    def test_a_decay_is_not_applied_and_a_warm_up_is(self):
        def losses(schedule, warmup=0.0):
            records = train(MLP, SCHEDULE_FREE, ARGUMENTS, 0, 2, schedule=schedule, warmup=warmup)
            return [record.validation_loss for record in records]

        constant = losses("constant")
        assert losses("cosine") == losses("linear") == constant
        assert losses("cosine", 0.1) == losses("constant", 0.1) != constant
        assert losses("cosine+warmup") == losses("constant+warmup") != constant

    def test_the_person_and_the_study_are_told(self, tmp_path):
        fields = {
            "name": "mine",
            "workloads": ["digits-mlp"],
            "optimizers": ["sgd", "schedule-free-adamw"],
            "trials": 2,
        }
        url = f"sqlite:///{tmp_path}/x.db"
        resolved = resolve_campaign(CampaignPlan.of({**fields, "schedule": "cosine"}))
        assert [note for note in resolved.notes if "cosine" in note] == [
            "schedule-free-adamw: schedule constant in place of cosine, which its method replaces; a warm-up it has as "
            "all others."
        ]
        with open_search(url, resolved.plan.stored(), resolved.study_plans(), {}):
            pass
        storage = open_storage(url, create=False)
        stored = {study.optimizer: study.attributes.get("schedule") for study in studies(storage, "mine")}
        close_storage(storage)
        assert stored == {"sgd": None, "schedule-free-adamw": "constant"}
        constant = resolve_campaign(CampaignPlan.of({**fields, "schedule": "constant"}))
        assert [plan.schedule for plan in constant.study_plans()] == [None, None]


def saved(run):
    buffer = io.BytesIO()
    torch.save(run.state_dict(), buffer)
    buffer.seek(0)
    return buffer


def names_by_kind(workload):
    model = workload.model()
    names = {id(param): name for name, param in model.named_parameters()}
    groups = OPTIMIZERS["muon"].groups(model)
    return {group["use_muon"]: {names[id(param)] for param in group["params"]} for group in groups}


class TestGroups:
    def test_muon_has_the_hidden_matrices_and_adamw_the_rest(self):
        found = names_by_kind(LENET)
        assert found[True] == {"features.3.weight", "classifier.0.weight", "classifier.2.weight"}
        assert {"features.0.weight", "classifier.4.weight", "features.3.bias"} <= found[False]
        assert names_by_kind(MLP)[True] == {"1.weight"}
        assert names_by_kind(LOGREG).keys() == {False}

    def test_tables_and_frozen_layers_are_no_hidden_matrices(self):
        class Language(nn.Module):
            def __init__(self):
                super().__init__()
                self.places = nn.Parameter(torch.zeros(1, 9, 8))  # a vector for each place
                self.table, self.inner, self.frozen = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 8)
                self.head = nn.Linear(8, 20, bias=False)
                self.head.weight = self.table.weight
                self.frozen.requires_grad_(False)

        model = Language()
        muon, adamw = OPTIMIZERS["muon"].groups(model)
        assert [id(param) for param in muon["params"]] == [id(model.inner.weight)]
        assert {id(p) for p in adamw["params"]} == {id(model.places), id(model.table.weight), id(model.inner.bias)}

    @pytest.mark.parametrize("key", ["sgd", "muon", "schedule-free-adamw"])
    def test_frozen_parameters_are_in_no_group(self, key):
        def half_frozen():
            model = MLP.model()
            model[1].requires_grad_(False)
            return model

        run = made(replace(MLP, model=half_frozen), OPTIMIZERS[key], default_arguments(key))
        before = state_of(run)
        run.next_epoch()
        assert torch.equal(run.model[1].weight, before["1.weight"])
        assert not torch.equal(run.model[3].weight, before["3.weight"])
        trained = [param for group in run.optimizer.param_groups for param in group["params"]]
        assert {id(param) for param in trained} == {id(param) for param in run.model[3].parameters()}

    @pytest.mark.parametrize(
        ("groups", "words"),
        [
            (lambda model: [{"params": [model[1].weight]}], "leaves out 1.bias and 2 more"),
            (lambda model: [{"params": model.parameters()}, {"params": model[3].bias}], "more than once: 3.bias"),
            (lambda model: [{"params": [*model.parameters(), nn.Parameter(torch.ones(1))]}], "has not: 1 parameter"),
            (lambda model: model.parameters(), r"raised TypeError: .* \(.*test_groups_and_modes.py"),
            (lambda model: model.no_such_layer, r"raised AttributeError: .*no_such_layer.*test_groups_and_modes.py"),
            (lambda model: None, "raised TypeError"),
        ],
    )
    def test_groups_that_are_not_each_parameter_once_are_one_line(self, groups, words):
        spec = OptimizerSpec("mine", torch.optim.SGD, groups=groups)
        with pytest.raises(UserError, match=f"^optimizer mine: its function of parameter groups .*{words}") as found:
            made(MLP, spec, {"lr": 0.1, "batch_size": 64})
        assert "\n" not in str(found.value)

    def test_every_group_follows_the_schedule_from_its_own_rate(self):
        rates = []

        def watching(groups, **arguments):
            optimizer = torch.optim.SGD(groups, **arguments)
            optimizer.register_step_pre_hook(lambda made, *_: rates.append([g["lr"] for g in made.param_groups]))
            return optimizer

        def groups(model):
            return [{"params": model[3].parameters()}, {"params": model[1].parameters(), "lr": 0.01, "momentum": 0.5}]

        spec = OptimizerSpec("mine", watching, groups=groups)
        list(train(MLP, spec, {"lr": 0.1, "batch_size": 200}, 0, 3, schedule="cosine"))
        for step, (first, second) in enumerate(rates):
            factor = (1 + math.cos(math.pi * step / len(rates))) / 2
            assert (first, second) == pytest.approx((0.1 * factor, 0.01 * factor))

    @pytest.mark.slow
    def test_both_rates_of_muon_follow_the_schedule(self):
        """Of the real library: what a step changes grows with the factor, for Muon's weights and for AdamW's."""
        moved = {}
        for warmup in (0.0, 0.5):  # in its first step, of two, a warm-up of one step has the full rate; of four, a half
            run = made(
                LENET, OPTIMIZERS["muon"], default_arguments("muon") | {"batch_size": 700}, warmup=warmup, budget=2
            )
            before = state_of(run)
            run.optimizer.register_step_post_hook(
                lambda optimizer, *_, run=run, before=before, warmup=warmup: moved.setdefault(
                    warmup, {name: (entry - before[name]).norm() for name, entry in state_of(run).items()}
                )
            )
            run.next_epoch()
        for name, whole in moved[0.0].items():
            assert moved[0.5][name] / whole == pytest.approx(1 / run_rising_steps(), rel=0.02), name

    def test_a_group_without_a_rate_cannot_follow_a_schedule(self):
        def without(params, **arguments):
            optimizer = torch.optim.SGD(params, **arguments)
            optimizer.param_groups[0]["lr"] = None
            return optimizer

        spec = OptimizerSpec("mine", without)
        with pytest.raises(UserError, match=r'group 1 of its 1 parameter group has no learning rate lr .*"constant"'):
            made(MLP, spec, {"lr": 0.1, "batch_size": 64}, schedule="cosine")
        made(MLP, spec, {"lr": 0.1, "batch_size": 64})


def run_rising_steps():
    steps_per_epoch = math.ceil(len(LENET.load(None).train) / 700)
    return max(1, round(0.5 * 2 * steps_per_epoch))
