"""Studies of other programs: the report means what Optuna means, and drops, moves and renames nothing in silence."""

from __future__ import annotations

import math
import random
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from analysis.load import curves, study, trials
from analysis.report import Options, examined
from analysis.report._chapter import chapter
from analysis.sensitivity.findings import Findings
from analysis.sensitivity.sentences import headline
from analysis.winners import winner
from studies.cli import main
from studies.storage.database import close_storage, open_storage

UNIT = FloatDistribution(0.0, 1.0)
FEW = Options(num_refits=4)


def new_study(storage: optuna.storages.BaseStorage | None = None, **options) -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=1)
    return optuna.create_study(study_name="theirs", storage=storage, sampler=sampler, **options)


def bowl(trial: optuna.Trial) -> float:
    return (trial.suggest_float("x", 0.0, 1.0) - 0.3) ** 2 + 0.3 * trial.suggest_float("y", 0.0, 1.0)


def look(made: optuna.Study) -> Findings:
    found = study(made._storage, made.study_name)
    return examined(found, trials(made._storage, [found]), curves(made._storage, [found]), FEW, 1)


def best(made: optuna.Study) -> int | None:
    """The best trial by the report."""
    found = study(made._storage, made.study_name)
    row = winner(found, trials(made._storage, [found]))
    return None if row is None else int(row["number"])


VALUE = st.sampled_from([-math.inf, -1.0, 0.0, 2.0, 1e308, math.inf])
CONSTRAINTS = st.sampled_from(
    [{}, {"constraints": [-1.0]}, {"constraints": [0.0, 0.5]}, {"constraints": None}, {"constraints:a": 1e-9},
     {"constraints": [0.0], "constraints:b": 0.0}, {"constraints:a/b": -1.0, "constraints:c": math.inf}]
)  # fmt: skip
STATE = st.sampled_from([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED])


ROWS = st.lists(st.tuples(VALUE, CONSTRAINTS, STATE), max_size=6)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(rows=ROWS, direction=st.sampled_from(["minimize", "maximize"]))
def test_the_best_trial_is_optunas(rows, direction) -> None:
    made = new_study(direction=direction)
    for value, constraints, state in rows:
        made.add_trial(create_trial(value=value, system_attrs=constraints, state=state))
    try:
        expected = made.best_trial.number
    except ValueError:  # none is complete and feasible
        expected = None
    assert best(made) == expected


def test_constraints_are_read_alike_by_sql_and_by_optuna(tmp_path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/t.db")
    made = new_study(storage)
    for attributes in ({}, {"constraints": [-1.0, 0.0]}, {"constraints": [0.5]}, {"constraints": [math.nan]}):
        made.add_trial(create_trial(value=1.0, system_attrs=attributes))
    made.add_trial(create_trial(value=1.0, system_attrs={"constraints:%_a": 3.0, "constraintsX": [9.0]}))
    made.add_trial(create_trial(state=TrialState.PRUNED, system_attrs={"constraints": [2.0]}))
    made.add_trial(create_trial(state=TrialState.FAIL, system_attrs={"constraints": [2.0]}))
    expected = ["complete", "complete", "infeasible", "infeasible", "infeasible", "infeasible", "failed"]
    assert trials(storage, [study(storage, "theirs")])["outcome"].tolist() == expected
    copied = optuna.storages.InMemoryStorage()
    optuna.copy_study(from_study_name="theirs", from_storage=storage, to_storage=copied)
    assert trials(copied, [study(copied, "theirs")])["outcome"].tolist() == expected
    close_storage(storage)


def test_a_study_without_a_feasible_trial_has_no_best_one() -> None:
    made = new_study()
    made.optimize(lambda trial: (bowl(trial), trial.set_constraint("no", 1.0))[0], n_trials=25)
    found = look(made)
    assert best(made) is None
    assert found.sentences[0] == "No conclusion can be drawn: all 25 trials that ended are infeasible."
    assert "the others" not in " ".join(found.remarks)  # there are none


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("bad", [1, 25])
def test_infinite_values_are_compared_with_others_where_there_are_any(bad: int, direction: str) -> None:
    made = new_study(direction=direction)
    sign = 1 if direction == "minimize" else -1
    made.optimize(lambda trial: sign * (math.inf if trial.number < bad else bowl(trial)), n_trials=25)
    [said] = [remark for remark in look(made).remarks if "infinitely bad" in remark]
    assert said == (
        f"{bad} complete {'trial is' if bad == 1 else 'trials are'} infinitely bad ({sign * math.inf:g})"
        f"{', and counted as the worst of the others' if bad == 1 else ''}."
    )


def enqueued(configurations: list[dict[str, float]]) -> optuna.Study:
    made = new_study()
    for configuration in configurations:
        made.enqueue_trial(configuration)
    made.optimize(bowl, n_trials=50)
    return made


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Fixed parameter")
def test_trials_outside_the_range_are_left_out_of_the_space_and_counted() -> None:
    found = look(enqueued([{"x": float(5 + place)} for place in range(10)]))
    said = "10 trials have values outside the searched range (x = 5 to 14, searched from 0 to 1) and are left out here."
    assert said in found.sentences
    assert said in headline(found)
    assert found.used is not None
    assert len(found.used.trials) == 40
    assert max(params["x"] for params in found.used.trials["params"]) <= 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Fixed parameter")
def test_a_best_trial_outside_the_range_is_the_best_and_is_named() -> None:
    made = new_study()
    made.enqueue_trial({"x": -2.0})
    made.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0) + 0.1 * trial.suggest_float("y", 0, 1), n_trials=50)
    found = look(made)
    assert best(made) == made.best_trial.number == 0
    assert any("the best trial, 0, is one of them" in text for text in found.remarks)
    assert (found.robustness["best"].map(float) >= 0).all(), "what is told of the space is around the best in it"


@pytest.mark.filterwarnings("ignore:Fixed parameter")
def test_a_study_of_which_all_lies_outside_says_so() -> None:
    made = new_study()
    for place in range(25):
        made.enqueue_trial({"x": 2.0 + place})
    made.optimize(bowl, n_trials=25)
    assert look(made).sentences[0] == "No conclusion can be drawn: no trial lies in the searched ranges."


def test_a_parameter_that_is_a_number_and_a_category_is_left_out_and_named() -> None:
    made = new_study()
    draw = random.Random(1)
    for place in range(60):
        y = draw.random()
        x, kind = (draw.random(), UNIT) if place % 2 else ("a", CategoricalDistribution(["a", "b"]))
        params, distributions = {"x": x, "y": y}, {"x": kind, "y": UNIT}
        made.add_trial(create_trial(value=y, params=params, distributions=distributions))
    assert "x is a number in some trials and a category in others, and is left out." in look(made).sentences


@pytest.mark.slow
def test_choices_of_any_type_are_told_apart() -> None:
    choices = [None, True, 1, "1", 1.0, "", math.nan, "None"]
    made = new_study()

    def objective(trial: optuna.Trial) -> float:
        return choices.index(trial.suggest_categorical("c", choices)) + 0.1 * trial.suggest_float("y", 0, 1)

    made.optimize(objective, n_trials=80)
    found = look(made)
    assert not found.remarks
    rows = found.partial_dependence[found.partial_dependence["parameter"] == "c"]
    assert [repr(value) for value in rows["value"]] == [repr(choice) for choice in choices]


@pytest.mark.slow
def test_lr_and_rho_of_another_optimizer_are_not_those_of_sofim() -> None:
    made = new_study()

    def objective(trial: optuna.Trial) -> float:
        rate, rho = (trial.suggest_float(name, 1e-4, 1.0, log=True) for name in ("lr", "rho"))
        return math.log10(rate) ** 2 + math.log10(rho)

    made.optimize(objective, n_trials=60)
    found = look(made)
    assert found.conclusive
    assert found.coordinates is None


EVIL = ["a.b/c\\d", "<script>alert(1)</script>", "参数", "\x1b[31mred\x07", "line\nbreak", "$x^2$ %s{0}", ""]


@pytest.mark.slow
def test_names_command_neither_the_terminal_nor_the_page(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    name = "../theirs <b>\x1b[31m/名"
    storage = optuna.storages.RDBStorage("sqlite:///their.db")
    made = optuna.create_study(study_name=name, storage=storage)
    draw = random.Random(1)
    for _ in range(15):
        params = {evil: draw.random() for evil in EVIL}
        value = sum(place * params[evil] for place, evil in enumerate(EVIL))
        made.add_trial(create_trial(value=value, params=params, distributions=dict.fromkeys(EVIL, UNIT)))
    close_storage(storage)
    with pytest.raises(SystemExit) as end:
        main(["report", "--study", name, "--storage", "sqlite:///their.db"])
    assert end.value.code in (0, None)
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    [folder] = Path("reports").iterdir()
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "\x1b" not in page
    assert "<script>alert" not in page


@pytest.mark.slow
def test_every_objective_has_a_report_of_its_own(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    storage = optuna.storages.RDBStorage("sqlite:///their.db")
    made = optuna.create_study(study_name="two", storage=storage, directions=["minimize", "maximize"])
    for loss, gain in ((0.5, 1.0), (0.25, 3.0), (0.75, 2.0)):
        made.add_trial(create_trial(values=[loss, gain]))
    close_storage(storage)
    told = []
    for objective in ("0", "1"):
        with pytest.raises(SystemExit) as end:
            main(["report", "--study", "two", "--objective", objective, "--storage", "sqlite:///their.db"])
        assert end.value.code in (0, None)
        lines = capsys.readouterr().out.splitlines()
        told += [line.removeprefix("Report: ") for line in lines if line.startswith("Report: ")]
    first, second = (Path(path).read_text(encoding="utf-8") for path in told)
    assert "Best complete trial: 1." in first
    assert "values[0] (lower is better)" in first
    assert "two, objective 1 (values[1])" in second
    assert "values[1] (higher is better)" in second


@pytest.mark.nightly(by_day=["wide", "infinite"])
@pytest.mark.slow
@pytest.mark.parametrize("case", ["wide", "narrow", "pruned", "infinite", "largest", "nothing"])
def test_figures_are_drawn_of_anything(case: str) -> None:
    made = new_study()

    def objective(trial: optuna.Trial) -> float:
        wide = {"wide": (1e-300, 1e300), "narrow": (1.0, 1.0 + 1e-10)}.get(case, (1e-3, 1.0))
        x, y = trial.suggest_float("x", *wide, log=True), trial.suggest_float("y", 1e15, 1e15 + 1)
        at = (math.log(x) - math.log(wide[0])) / (math.log(wide[1]) - math.log(wide[0]))
        value = (at - 0.3) ** 2 + 0.3 * (y - 1e15)
        for epoch in range(3):
            trial.report((math.inf, math.nan, value)[(trial.number + epoch) % 3], epoch)
        if case == "pruned" or trial.number % 9 == 8:
            raise optuna.TrialPruned
        return {"infinite": math.inf, "largest": 1.7e308 * (1 - 2 * at)}.get(case, value)

    made.optimize(objective, n_trials=0 if case == "nothing" else 45)
    found = study(made._storage, "theirs")
    one = chapter(found, trials(made._storage, [found]), curves(made._storage, [found]), FEW, 1)
    assert one.findings.sentences
    assert all(files.png.startswith(b"\x89PNG") for picture in one.pictures for _, files in picture.panels)
    assert bool(one.pictures) == (case in ("wide", "narrow", "pruned"))
