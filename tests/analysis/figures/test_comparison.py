"""Figures of a comparison: all of them draw, whatever is missing, and show what the tables say."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from analysis.figures import Drawn, of_each
from analysis.figures._looks import looks
from analysis.figures._style import style, svg
from analysis.figures.comparison import View
from tests.analysis.comparison.test_compare import campaign, values
from tests.support.made_campaign import Made, made


def drawn(found: Made) -> dict[str, Drawn]:
    comparison = found.compare()
    with style():
        pictures = {key: draw(View(comparison.contests[0], comparison)) for key, draw in of_each("workload").items()}
        return pictures | {key: draw(comparison) for key, draw in of_each("campaign").items()}


def text(picture: Drawn, panel: str = "") -> str:
    with style():
        return svg(next(one.figure for one in picture.panels if one.name == panel))


@pytest.fixture(scope="module")
def pictures() -> dict[str, Drawn]:
    return drawn(campaign())


@pytest.mark.slow
def test_a_confirmed_campaign_has_every_figure(pictures) -> None:
    assert all(picture is not None for picture in pictures.values()), pictures
    panels = {f"{quantity}-{axis}" for quantity in ("train_loss", "validation_loss", "metric")
              for axis in ("epochs", "gradient_evaluations", "seconds")}  # fmt: skip
    assert {panel.name for panel in pictures["convergence"].panels} == panels | {"legend"}
    for picture in pictures.values():
        assert len(picture.caption) > 100
        for panel in picture.panels:
            with style():
                assert svg(panel.figure).startswith("<?xml")


@pytest.mark.slow
def test_optimizers_look_the_same_everywhere_and_not_by_colour_alone(pictures) -> None:
    for key, panel in (
        ("confirmed", ""),
        ("convergence", "metric-epochs"),
        ("convergence", "legend"),
        ("budget", ""),
        ("scores", ""),
    ):
        drawing = text(pictures[key], panel)
        for optimizer in ("sofim", "sgd", "adam"):
            assert looks([optimizer])[optimizer].colour in drawing, f"{optimizer} in {key}"


@pytest.mark.slow
def test_runs_that_broke_are_shown_and_told(pictures) -> None:
    assert "runs that broke" in pictures["confirmed"].caption
    assert "9 of 10" not in text(pictures["time-to-target"], "epochs")
    assert re.search(r">0 of 10<", text(pictures["time-to-target"], "epochs")), "adam never gets there"


USUAL = {"confirmed", "convergence", "time-to-target", "budget"}
TWO = {"confirmed", "differences"}
CASES: Mapping[str, tuple[Made, set[str]]] = {
    "nothing confirmed": (made({"u": {"sofim": [], "sgd": []}}), {"budget"}),
    "a single seed": (made({"u": {"sofim": [0.5], "sgd": [0.6]}}, targets={"u": 0.4}), USUAL),
    "a single optimizer": (made({"u": {"sofim": values(0.5)}}, targets={"u": 0.4}), USUAL),
    "all diverged": (made({"u": {"sofim": ["diverged"] * 3, "sgd": ["diverged"] * 3}}), {"budget"}),
    "all equal": (made({"u": {"sofim": [0.5] * 4, "sgd": [0.5] * 4}}, targets={"u": 0.4}), USUAL),
    "a loss": (made({"u": {"sofim": values(0.5), "sgd": values(0.7)}}, direction="minimize"), TWO),
    "no test data": (made({"u": {"sofim": values(0.5), "sgd": values(0.7)}}, test=False), TWO),
    "another's names": (made({"<w>&$": {"my:own_$": values(0.5), "--><b>": values(0.7)}}), TWO),
}  # fmt: skip


@pytest.mark.nightly(by_day=["nothing confirmed", "a single seed", "all diverged"])
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_whatever_is_missing_the_rest_is_drawn(case: str) -> None:
    found, expected = CASES[case]
    pictures = drawn(found)
    assert expected <= {key for key, picture in pictures.items() if picture is not None}
    for picture in pictures.values():
        for panel in picture.panels[:2] if picture is not None else ():  # the others differ by their quantity alone
            with style():
                drawing = svg(panel.figure)
            assert "<b>" not in drawing
            assert "NaN" not in drawing


@pytest.mark.slow
def test_which_side_is_better_is_said() -> None:
    more, less = (
        made({"u": {"sofim": values(0.5), "sgd": values(0.7)}}, direction=d) for d in ("maximize", "minimize")
    )
    assert "(right: the first is better)" in text(drawn(more)["differences"])
    assert "(right: the first is better)" in text(drawn(less)["differences"])
