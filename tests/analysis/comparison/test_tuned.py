"""What a search over several optimizers says of them: how far each came, and what two configurations show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.tuned import tuned
from analysis.study import Study

NAME = "t/w/any"


def study(direction: str = "maximize", **attributes: Any) -> Study:
    campaign = {"name": "t", "workloads": ["w"], "optimizers": ["sgd", "adam", "lbfgs"]}
    return Study(1, NAME, campaign, "w", "any", "accuracy", direction, attributes)


def trials(*rows: tuple[str, float | str]) -> pd.DataFrame:
    """Trials of an optimizer, each with its value, or how it ended without one."""
    return pd.DataFrame(
        {
            "study": NAME,
            "number": range(len(rows)),
            "outcome": ["complete" if isinstance(end, float) else end for _, end in rows],
            "value": [end if isinstance(end, float) else np.nan for _, end in rows],
            "params": [{"optimizer": optimizer, f"{optimizer}.lr": 0.1} for optimizer, _ in rows],
        }
    )


def runs(of: dict[int, Sequence[float | str]], column: str = "test_metric") -> pd.DataFrame:
    """Confirmation runs by the number of the trial."""
    rows = [(number, end, seed) for number, ends in of.items() for seed, end in enumerate(ends)]
    frame = pd.DataFrame(
        {
            "study": NAME,
            "number": range(len(rows)),
            "confirms": pd.array([number for number, _, _ in rows], "Int64"),
            "seed": [seed for _, _, seed in rows],
            "outcome": ["complete" if isinstance(end, float) else end for _, end, _ in rows],
            "value": [end if isinstance(end, float) else np.nan for _, end, _ in rows],
        }
    )
    frame[column] = frame["value"]
    return frame


TWO = trials(("sgd", 0.8), ("adam", 0.9), ("adam", 0.85), ("sgd", "pruned"), ("adam", "lost"), ("lbfgs", "diverged"))


def test_the_table_has_every_optimizer_with_its_best_and_the_trials_it_got():
    table = tuned(study(), TWO, runs({1: [0.5, 0.6, 0.7], 0: [0.1, "diverged", 0.3]})).table.set_index("optimizer")
    assert list(table.index) == ["adam", "sgd", "lbfgs"]
    assert table["rank"].tolist() == [1, 2, -1]
    assert table["trials"].tolist() == [2, 2, 1], "what is asked again is no trial of its own"
    assert table["complete"].tolist() == [2, 1, 0]
    assert table["test"].tolist()[:2] == pytest.approx([0.6, 0.2])
    assert table["runs_broken"].tolist() == [0, 1, 0]
    assert table["params"].tolist() == [{"lr": 0.1}, {"lr": 0.1}, {}]
    assert table.loc["adam", "test_low"] < 0.6 < table.loc["adam", "test_high"]


@pytest.mark.parametrize(
    ("searched", "words"),
    [
        (trials(("sgd", 0.8)), "One trial was run, of sgd, so nothing was compared"),
        (trials(("sgd", 0.8), ("sgd", 0.9)), "sgd alone was tried, so no optimizer was compared with another."),
        (trials(("sgd", 0.8), ("adam", "pruned")), "(adam), so sgd was compared with none."),
        (trials(("sgd", "failed"), ("adam", "pruned")), "No trial ran its whole budget, so nothing was found."),
        (TWO, "the two were not run on enough fresh seeds to be told apart (1 and 0 runs came through, 0 of each"),
    ],
)
def test_what_was_not_compared_is_said(searched, words):
    said = tuned(study(), searched, runs({1: [0.5]})).sentences
    assert words in said[0]
    assert "better" not in " ".join(said)


GOOD, BAD, BETWEEN = [0.91, 0.92, 0.93], [0.51, 0.52, 0.53], [0.4, 0.9, 0.7]


@pytest.mark.parametrize(
    ("direction", "first", "second", "words"),
    [
        ("maximize", GOOD, BAD, "this configuration of adam is better than that of sgd."),
        ("maximize", BAD, GOOD, "of sgd is better than that of adam, though the search had it the other way round."),
        ("minimize", BAD, GOOD, "this configuration of sgd is better than that of adam."),
        ("minimize", GOOD, BAD, "of adam is better than that of sgd, though the search had it the other way round."),
        ("maximize", GOOD, BETWEEN, "no difference between these two could be shown."),
        ("maximize", [0.9, 0.9, 0.9], [0.8, 0.8, 0.8], "no difference between these two could be shown."),
        ("maximize", [*GOOD, "diverged"], BAD, "1 of adam's runs broke, so no verdict."),
        ("maximize", GOOD, [*BAD, "failed", "failed"], "2 of sgd's runs broke, so no verdict."),
    ],
)
def test_two_configurations_are_told_apart_by_an_interval_or_not_at_all(direction, first, second, words):
    # of more is better the winner of the search is adam's trial 1, else sgd's 0, and adam's 2 the next
    adam, sgd = (first, second) if direction == "maximize" else (second, first)
    said = tuned(study(direction), TWO, runs({1 if direction == "maximize" else 2: adam, 0: sgd}))
    assert said.sentences[0].endswith(words)
    assert said.sentences[1].startswith("This is of two configurations that one search found, not of the optimizers")


def test_seeds_that_one_alone_was_run_on_are_in_no_difference():
    [said, _] = tuned(study(), TWO, runs({1: [*GOOD, 0.0], 0: BAD})).sentences
    assert said.startswith("On 3 fresh seeds, test accuracy, adam against sgd: difference of the means 0.4 [")


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_a_seed_on_which_one_gave_no_number_is_in_no_difference(lost):
    confirmed = runs({1: [*GOOD, lost], 0: [*BAD, 0.0]})
    [said, _] = tuned(study(), TWO, confirmed).sentences
    assert said.startswith("On 3 fresh seeds, test accuracy, adam against sgd: difference of the means 0.4 [")


def test_a_metric_over_decades_is_told_as_a_ratio():
    searched = trials(("sgd", 1e-8), ("adam", 1e-3))
    confirmed = runs({0: [1e-8, 2e-8, 3e-8], 1: [1e-3, 2e-3, 3e-3]}, column="test_loss")
    [said, _] = tuned(study("minimize", metric_split="train", metric_scale="log"), searched, confirmed).sentences
    assert "training accuracy, sgd against adam: ratio of the geometric means 1e-05 [" in said
    assert said.endswith("this configuration of sgd is better than that of adam.")


@pytest.mark.slow
def test_equal_configurations_are_told_apart_in_at_most_the_share_that_is_told(nightly):
    """Of three seeds each, where an interval of the normal distribution would tell them apart in a fifth of all."""
    rng = np.random.default_rng(0)
    told, pairs = 0, 400 if nightly else 120
    for _ in range(pairs):
        drawn = rng.normal(0.5, 0.1, (2, 3)).tolist()
        told += "is better" in tuned(study(), TWO, runs({1: drawn[0], 0: drawn[1]})).sentences[0]
    assert told / pairs < 0.05 + 2 * (0.05 * 0.95 / pairs) ** 0.5


def test_what_cannot_be_is_in_no_interval():
    accuracies = tuned(study(), trials(("sgd", 0.99)), runs({0: [1.0, 1.0, 0.98]})).table.iloc[0]
    assert accuracies["test"] < accuracies["test_high"] <= 1.0
    gaps = runs({0: [1e-4, 1e-3, 5e-3]}, column="test_loss")
    found = tuned(study("minimize", metric_split="train", metric_scale="log"), trials(("sgd", 1e-4)), gaps).table.iloc[
        0
    ]
    assert 0 < found["validation_low"] < found["validation"] < found["validation_high"]


def test_two_that_came_equally_far_have_no_order():
    tie = trials(("sgd", 1.0), ("adam", 1.0))
    assert tuned(study(), tie, runs({})).sentences[0].startswith("sgd and adam came equally far; ")
    said = tuned(study(), tie, runs({0: [0.5, 0.51, 0.52], 1: [0.9, 0.91, 0.92]})).sentences[0]
    assert said.endswith("this configuration of adam is better than that of sgd.")


def test_a_seed_that_was_run_again_is_no_second_seed():
    again = runs({1: [0.900, 0.901, 0.902], 0: [0.897, 0.898, 0.899]}).assign(seed=7)
    said = tuned(study(), trials(("sgd", 0.8), ("adam", 0.9)), again).sentences[0]
    assert "1 of each on the same seeds; at least 2 are needed" in said


def test_an_end_beyond_floats_is_infinite():
    decades = study("minimize", metric_split="train", metric_scale="log")
    said = tuned(decades, trials(("sgd", 1e-8), ("adam", 1e-3)), runs({0: [1e-60, 1e6], 1: [1e-3, 1e-3]})).sentences[0]
    assert "no difference between these two could be shown" in said
