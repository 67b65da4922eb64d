"""Studies to report on: a campaign whose metric is known, and what other programs leave."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import IO, Any

import optuna
import pytest
from matplotlib.figure import Figure
from optuna.trial import TrialState

from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import ResolvedCampaign
from studies.ledger import open_confirmation
from studies.workloads import WORKLOADS
from tests.support.fake_campaign import Outcome, campaign, end, open_ledger, record

Judge = Callable[[str, str, int, Mapping[str, Any]], Outcome]
"""(workload, optimizer, number, arguments of the optimizer) to how its trial ends."""


def draw_nothing(monkeypatch: pytest.MonkeyPatch, *but: str) -> None:
    """From now on the files of figures are empty, ``but`` those of these kinds: they take longer than all else."""
    whole = Figure.savefig

    def save(figure: Figure, file: IO[bytes], *, format: str, **options: Any) -> None:
        if format in but:
            whole(figure, file, format=format, **options)
        else:
            file.write(b'<svg viewBox="0 0 1 1"></svg>' if format == "svg" else b"")

    monkeypatch.setattr(Figure, "savefig", save)


def draw_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the command draws figures for screens alone, and in this very process."""
    draw_nothing(monkeypatch, "svg")
    monkeypatch.setattr("studies.training.allowance.cpus", lambda: 1)


def make(url: str, judge: Judge, *, trials: int, **changes: Any) -> CampaignPlan:
    """A campaign at ``url`` whose trials ended as ``judge`` says of their configurations."""
    made = campaign(trials=trials, **changes)
    with open_ledger(url, made) as ledger:
        while (assignment := ledger.ask()) is not None:
            outcome = judge(assignment.workload, assignment.optimizer, assignment.number, assignment.arguments)
            end(ledger, assignment, outcome)
    return made


def confirm(url: str, made: CampaignPlan, *, seeds: int = 5, shared: str = "") -> None:
    """Confirmation runs of its winners, worse than while tuning by up to 0.02; those of ``shared`` shared a device."""
    resolved = ResolvedCampaign(made, {name: WORKLOADS[name] for name in made.campaign.workloads})
    with open_confirmation(url, made.stored(), resolved.study_plans(), {"torch": "x"}, seeds=seeds) as ledger:
        while (assignment := ledger.ask()) is not None:
            sign = 1 if WORKLOADS[assignment.workload].metric.direction == "maximize" else -1
            best = (0.9 if sign > 0 else 1.1) - sign * (assignment.seed % 200) / 1e4
            for epoch in (1, 2, 3):
                value = best - sign * 0.1 * (3 - epoch)
                tests = {"test_metric": value - sign * 0.01, "test_loss": 1.0}
                ledger.report(
                    assignment, record(epoch, value, 0.5 * epoch) | tests | {"gradient_evaluations": 10 * epoch}
                )
            ledger.end(assignment, "complete", {"device": "cpu", "exclusive": assignment.optimizer != shared})


def ridge(workload: str, optimizer: str, number: int, params: Mapping[str, Any]) -> Outcome:
    """As SOFIM's algebra has it: a function of lr/rho (of lr for others), best at 1 on digits, 30 times that beside it.

    Far above the best it diverges, and every fifth of the rest is pruned. On the second workload, whose metric is
    minimized, the values are turned around.
    """
    rate = math.log10(params["lr"] / params.get("rho", 0.1))
    off = rate - (0.0 if workload == "digits-mlp" else 1.5)
    if off > 3:
        return "diverged"
    value = 0.9 - 0.04 * off**2
    if workload != "digits-mlp":
        value = 2.0 - value
    return ("pruned", value) if number % 5 == 4 else value


def plain_study(storage: str, name: str, num_trials: int = 40, **names: str) -> optuna.Study:
    """A study as any program makes one: a float, an integer, a category, and one that only some trials have."""
    x, units, kind = (names.get(key, key) for key in ("x", "units", "kind"))
    study = optuna.create_study(study_name=name, storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        at = trial.suggest_float(x, 1e-3, 1.0, log=True)
        number = trial.suggest_int(units, 1, 8)
        activation = trial.suggest_categorical(kind, ["relu", "tanh", None])
        leak = trial.suggest_float("leak", 0.0, 1.0) if activation == "relu" else 0.0
        value = 1.0 + math.log10(at) ** 2 + 0.1 * number + leak
        trial.report(10.0, 0)
        trial.report(1.5 * value, 1)
        if trial.number % 6 == 5:
            raise optuna.TrialPruned
        return value

    study.optimize(objective, n_trials=num_trials)
    return study


def broken_trial(study: optuna.Study, why: str) -> None:
    """One more trial, that failed."""
    attributes = {"failure": why}
    study.add_trial(optuna.create_trial(state=TrialState.FAIL, user_attrs=attributes))
