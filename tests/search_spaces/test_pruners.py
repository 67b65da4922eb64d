"""What stops a trial: its number and values, and those of the trials before it."""

from __future__ import annotations

import math
from collections import Counter

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.pruners import HyperbandPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState, create_trial

from search_spaces.pruners import PRUNERS, Pruner, hyperband_sequence

EPOCHS = 10
optuna.logging.set_verbosity(optuna.logging.WARNING)
# Whole numbers, with ties: their medians are exact whatever the sign.
VALUES = st.integers(-8, 8).map(float)
CURVES = st.lists(st.lists(VALUES, min_size=EPOCHS, max_size=EPOCHS), min_size=1, max_size=20)


def play(pruner, curves, *, order=None, direction="minimize", name=None, restart=None) -> list[int]:
    """Return after how many epochs each trial ended; ``order`` says which trial comes to its next epoch."""
    study = optuna.create_study(direction=direction, pruner=pruner, study_name=name)
    order = [number for number in range(len(curves)) for _ in range(EPOCHS)] if order is None else order
    trials = [study.ask() for _ in curves]
    epochs, stopped = [0] * len(curves), set()
    for moment, number in enumerate(order):
        if moment == restart:
            study, trials = again(study)
        if number in stopped or epochs[number] == EPOCHS:
            continue
        epochs[number] += 1
        value = curves[number][epochs[number] - 1]
        trials[number].report(value, epochs[number])
        if epochs[number] == EPOCHS:
            study.tell(trials[number], 0.0)
        elif trials[number].should_prune():
            stopped.add(number)
            study.tell(trials[number], state=TrialState.PRUNED)
    return epochs


def again(study):
    """Return the study made again of what is kept of its trials, under another name."""
    other = optuna.create_study(direction=study.direction, pruner=study.pruner)
    for trial in study.get_trials():
        kept = {"intermediate_values": trial.intermediate_values, "system_attrs": trial.system_attrs}
        other.add_trial(create_trial(state=trial.state, value=trial.value, **kept))
    return other, [optuna.trial.Trial(other, trial._trial_id) for trial in other.get_trials()]


@st.composite
def campaigns(draw):
    """Curves, and an order in which several workers come to their epochs."""
    curves = draw(CURVES)
    order = [number for number in range(len(curves)) for _ in range(EPOCHS)]
    return curves, draw(st.permutations(order)) if len(curves) < 6 else order


@pytest.mark.slow
@pytest.mark.parametrize("pruner", PRUNERS)
@given(campaigns(), st.text("abcxyz", min_size=1, max_size=9), st.integers(0, 200))
def test_neither_a_name_nor_a_restart_nor_the_sign_changes_what_stops(pruner, campaign, name, moment):
    curves, order = campaign
    make = PRUNERS[pruner].make
    told = play(make(EPOCHS), curves, order=order, name="a")
    assert play(make(EPOCHS), curves, order=order, name=name) == told
    assert play(make(EPOCHS), curves, order=order, restart=moment) == told
    flipped = [[-value for value in curve] for curve in curves]
    assert play(make(EPOCHS), flipped, order=order, direction="maximize") == told


@pytest.mark.parametrize("pruner", ["asha", "hyperband", "first-epoch", "none"])
@given(CURVES, st.sampled_from([math.exp, lambda x: 3 * x - 100, lambda x: x**3]))
def test_the_order_of_values_alone_decides(pruner, curves, scale):
    make = PRUNERS[pruner].make
    assert play(make(EPOCHS), [[scale(x) for x in curve] for curve in curves]) == play(make(EPOCHS), curves)


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["asha", "first-epoch"])
@given(CURVES, st.lists(st.sampled_from([math.nan, math.inf]), min_size=1, max_size=5), st.booleans())
def test_what_is_no_number_or_infinite_is_worse_than_all_else(pruner, curves, bad, maximize):
    """It stops as soon as anything better was there, and stops nobody at the first look who had passed without it.

    Later it may: who passes beside it for the first time may be better then.
    """
    sign, direction = (-1, "maximize") if maximize else (1, "minimize")
    good = [[sign * value for value in curve] for curve in curves]
    worst = [[sign * value] * EPOCHS for value in bad]
    alone = play(PRUNERS[pruner].make(EPOCHS), good, direction=direction)
    after = play(PRUNERS[pruner].make(EPOCHS), worst + good, direction=direction)[len(worst) :]
    assert all(epochs > 1 for epochs, before in zip(after, alone, strict=True) if before > 1)
    assert play(PRUNERS[pruner].make(EPOCHS), good * 3 + worst, direction=direction)[3 * len(good) :] == [1] * len(bad)


@given(campaigns())
def test_asha_is_optunas_successive_halving(campaign):
    curves, order = campaign
    twin = SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    assert play(PRUNERS["asha"].make(EPOCHS), curves, order=order) == play(twin, curves, order=order)


class NumberedHyperband(HyperbandPruner):
    """Optuna's, with our brackets."""

    def _get_bracket_id(self, study, trial):
        sequence = hyperband_sequence(EPOCHS)
        return sequence[trial.number % len(sequence)]


@pytest.mark.slow
@given(campaigns())
def test_hyperband_is_optunas_but_for_the_brackets(campaign):
    curves, order = campaign
    twin = NumberedHyperband(min_resource=1, max_resource=EPOCHS, reduction_factor=3)
    assert play(PRUNERS["hyperband"].make(EPOCHS), curves, order=order) == play(twin, curves, order=order)


@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 9, 20, 27, 81, 243])
def test_brackets_have_the_shares_that_hyperband_gives_them_in_every_beginning(epochs):
    optunas = HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)
    if epochs != 243:  # there Optuna's own count is one too few: log(243, 3) is a little less than 5
        optunas._try_initialization(optuna.create_study())
        assert [count for _, count in sorted(Counter(hyperband_sequence(epochs)).items())] == (
            optunas._trial_allocation_budgets
        )
    sequence = hyperband_sequence(epochs)
    whole = Counter(sequence)
    for length in range(len(sequence) + 1):
        dealt = Counter(sequence[:length])
        assert all(abs(dealt[s] - length * whole[s] / len(sequence)) < 1 for s in whole)


@pytest.mark.slow
@given(CURVES)
def test_first_epoch_always_has_the_best_three_run_to_the_end(curves):
    told = play(PRUNERS["first-epoch"].make(EPOCHS), curves)
    for count in range(1, len(curves) + 1):
        best = sorted(curve[0] for curve in curves[:count])[:3]
        for curve, epochs in zip(curves[:count], told, strict=False):
            assert epochs in (1, EPOCHS)
            if curve[0] < best[-1]:
                assert epochs == EPOCHS
    for number, epochs in enumerate(told):  # and nobody who was not among them when judged
        better = sum(curve[0] < curves[number][0] for curve in curves[:number])
        assert epochs == (EPOCHS if better < 3 else 1)


@pytest.mark.parametrize("pruner", PRUNERS)
def test_the_sampler_sees_every_trial(pruner):
    """Optuna's Hyperband shows a sampler the trials of one bracket."""
    seen = []

    class Spy(optuna.samplers.RandomSampler):
        def sample_independent(self, study, trial, name, distribution):
            seen.append(len(study.get_trials(deepcopy=False)))
            return super().sample_independent(study, trial, name, distribution)

    study = optuna.create_study(sampler=Spy(seed=0), pruner=PRUNERS[pruner].make(EPOCHS))
    for _ in range(20):
        trial = study.ask()
        trial.report(trial.suggest_float("x", 0, 1), 1)
        study.tell(trial, 0.0)
    assert seen == list(range(1, 21))


def test_a_new_pruner_is_one_row(monkeypatch):
    from studies.campaign.model import Campaign

    monkeypatch.setitem(PRUNERS, "brave", Pruner("bravely", PRUNERS["none"].make))
    fields = {"name": "c", "workloads": ["digits-mlp"], "optimizers": ["sgd"], "trials": 3}
    assert Campaign(**fields, pruner="brave").pruner == "brave"
