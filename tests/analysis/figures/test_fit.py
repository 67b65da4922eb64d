"""What is written in figures can be read: whatever it says and however much there is of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

import numpy as np
import optuna
import pytest
from matplotlib.figure import Figure

from analysis.figures import Drawn, of_each
from analysis.figures._base import Subject
from analysis.figures._fit import cut, fit, overlaps
from analysis.figures._style import canvas, style
from analysis.figures.comparison import View
from analysis.load import study as study_called
from analysis.load import trials as trials_of
from analysis.report import Options
from analysis.report._chapter import examined
from studies.storage.database import close_storage, open_storage
from tests.analysis.comparison.test_compare import values
from tests.support.made_campaign import made
from tests.support.report_studies import make, ridge

BACKBONES = [
    "resnet50-imagenet-pretrained", "efficientnet-b4-noisy-student", "vit-base-patch16-224-in21k", "no", "学" * 12,
]  # fmt: skip
LONG = "learning_rate_of_the_decoder_without_warm_up"
FEW = Options(num_refits=4, workers=1)


def unreadable(figure: Figure) -> list[str]:
    """What cannot be read of a figure, as the files have it."""
    with style():
        fit(figure)
        figure.draw_without_rendering()
        found = [
            f"labels of {which} overlap: {[label.get_text() for label in axis.get_ticklabels()]}"
            for axes in figure.axes
            for which, axis in (("x", axes.xaxis), ("y", axes.yaxis))
            if overlaps(figure, axis)
        ]
        return found + [f"cut: {text.get_text()}" for text in cut(figure)]


def assert_readable(drawn: Mapping[str, Drawn | None]) -> None:
    pictures = [(key, panel) for key, picture in drawn.items() if picture is not None for panel in picture.panels]
    problems = {f"{key} {panel.name}": unreadable(panel.figure) for key, panel in pictures}
    assert not {key: said for key, said in problems.items() if said}


@pytest.fixture(scope="module")
def subjects(tmp_path_factory) -> Iterator[dict[str, Subject]]:
    """Studies of another program with much to write, and one of SOFIM, which has figures of its own."""
    url = f"sqlite:///{tmp_path_factory.mktemp('db')}/trials.db"
    storage = optuna.storages.RDBStorage(url)

    def search(name: str, objective: object, metric: str = "") -> None:
        study = optuna.create_study(study_name=name, storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
        if metric:
            storage.set_study_system_attr(study._study_id, "study:metric_names", [metric])
        study.optimize(objective, n_trials=60)

    def long(trial: optuna.Trial) -> float:
        backbone = trial.suggest_categorical("backbone", BACKBONES)
        rate = trial.suggest_float(LONG, 1e-12, 1e12, log=True)
        trial.suggest_float("another_name_that_is_rather_long", 1234567.0, 1234568.0)
        return BACKBONES.index(backbone) / 3 + abs(math.log10(rate)) / 10

    def many(trial: optuna.Trial) -> float:
        kind = trial.suggest_categorical("kind", [f"kind-number-{number}" for number in range(40)])
        size = trial.suggest_categorical("size", [2**power for power in range(20, 32)])
        return 1e-9 * (int(kind.rpartition("-")[2]) + math.log2(size))

    def decades(trial: optuna.Trial) -> float:
        return 10.0 ** (20 * trial.suggest_float("x", 0, 1) - 10) + trial.suggest_int("n" * 60, 0, 1_000_000)

    search("long", long, "a_metric_whose_name_is_rather_long")
    search("many", many)
    search("decades", decades)
    close_storage(storage)
    make(url, ridge, trials=60, workloads=["digits-mlp"], optimizers=["sofim"])
    opened = open_storage(url, create=False)
    try:
        yield {name: _subject(opened, name) for name in ("long", "many", "decades", "fake/digits-mlp/sofim")}
    finally:
        close_storage(opened)


def _subject(storage: optuna.storages.BaseStorage, name: str) -> Subject:
    from analysis.load import curves

    study = study_called(storage, name)
    trials = trials_of(storage, [study])
    findings = examined(study, trials, curves(storage, [study]), FEW, 1)
    return Subject(study, trials, findings, FEW.num_refits)


@pytest.mark.nightly(by_day=["long"])
@pytest.mark.slow
@pytest.mark.parametrize("name", ["long", "many", "decades", "fake/digits-mlp/sofim"])
def test_every_figure_of_a_study_can_be_read(subjects: Mapping[str, Subject], name: str) -> None:
    with style():
        drawn = {key: draw(subjects[name]) for key, draw in of_each("study").items()}
    assert sum(picture is not None for picture in drawn.values()) >= 2, "there is something to look at"
    assert_readable(drawn)


def _runs(scale: float) -> dict[str, list[float]]:
    names = ["sofim", "my_package.my_module:my_optimizer", "lbfgs", "an-optimizer-of-a-long-name", "w" * 64, "adam"]
    return {name: [scale * value * 10.0 ** (2 * place) for value in values(0.5)] for place, name in enumerate(names)}


@pytest.mark.nightly(by_day=["1.0"])
@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_every_figure_of_a_comparison_can_be_read(scale: float) -> None:
    found = made({"a.module:workload_" + "u" * 30: _runs(scale), "v": _runs(scale)}, direction="minimize")
    comparison = found.compare()
    with style():
        drawn = {key: draw(View(comparison.contests[0], comparison)) for key, draw in of_each("workload").items()}
        drawn |= {key: draw(comparison) for key, draw in of_each("campaign").items()}
    assert_readable(drawn)


NAMES = {
    "long": BACKBONES,
    "many": [f"kind-{number}" for number in range(40)],
    "without a place to break": ["x" * 24, "y" * 24, "z" * 24, "w" * 24],
    "numbers": [f"{2**power}" for power in range(20, 50)],
    "two": ["no", "yes"],
}


@pytest.mark.nightly(by_day=["x-long", "y-many"])
@pytest.mark.slow
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("which", ["x", "y"])
def test_names_on_an_axis_are_read_one_by_one(names: list[str], which: str) -> None:
    with style():
        figure, axes = canvas(2.0)
        places = [(place + 0.5) / len(names) for place in range(len(names))]
        (axes.set_xticks if which == "x" else axes.set_yticks)(places, names)
        axes.set_xlabel("a label of an axis that is by far too long for a figure of four inches, and has no reason")
    assert not unreadable(figure)
    shown = [label.get_text() for label in (axes.get_xticklabels() if which == "x" else axes.get_yticklabels())]
    assert {"".join(label.split()) for label in shown} <= {"".join(name.split()) for name in names}
    assert len(shown) >= (2 if names[0].isdecimal() else len(names) / 4)


@pytest.mark.parametrize(("low", "high"), list(itertools.pairwise([-7.5e-3, 2.5e-3, 1e-2, 1.0, 1e3, 1e9])))
def test_numbers_on_an_axis_are_read_one_by_one(low: float, high: float) -> None:
    with style():
        figure, axes = canvas(2.0, width=1.6)
        axes.plot(np.linspace(low, high, 5), [0, 1, 2, 3, 4])
    assert not unreadable(figure)
    assert len(axes.get_xticks()) >= 2


def test_what_fits_stays_as_it_is() -> None:
    with style():
        figure, axes = canvas(2.0)
        axes.set_xticks([0.25, 0.75], ["relu", "tanh"])
        before = tuple(figure.get_size_inches())
        fit(figure)
    assert tuple(figure.get_size_inches()) == before
    assert [label.get_text() for label in axes.get_xticklabels()] == ["relu", "tanh"]
