"""Figures: who can tell the colours apart, and where values lie on an axis."""

from __future__ import annotations

import math
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest

from analysis.figures import Subject, of_each
from analysis.figures._axis import ticks
from analysis.figures._looks import PALETTE, look_of, looks
from analysis.figures._style import label, style
from analysis.parameters import ParameterInfo
from analysis.sensitivity import scales
from analysis.sensitivity.findings import Findings
from analysis.study import Study
from sofim import OPTIMIZERS
from tests.support.made_campaign import study

MODERN = ("sofim", "sgd", "nadamw", "muon", "soap", "schedule-free-adamw", "lion", "prodigy")

# Machado, Oliveira and Fernandes (2009), severity 1: linear RGB as dichromats see it.
SIGHT = {
    "everybody": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868],
                            [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968],
                              [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779],
                            [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def lab(colour: str, sight: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of a colour as somebody sees it."""
    rgb = np.array(mpl.colors.to_rgb(colour))
    linear = np.clip(sight @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    x, y, z = (
        math.copysign(abs(v) ** (1 / 3), v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz / [0.9505, 1, 1.089]
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
def test_everybody_can_tell_the_colours_apart(sight: str) -> None:
    """Differences of 10 in L*a*b* are seen at a glance."""
    for one, two in combinations(PALETTE, 2):
        assert np.linalg.norm(lab(one, SIGHT[sight]) - lab(two, SIGHT[sight])) > 10, f"{one} and {two}"


def test_no_two_optimizers_of_a_campaign_look_alike_in_dots_or_in_lines() -> None:
    own = [f"my-own-{number}" for number in range(8)]
    found = looks([*MODERN, *OPTIMIZERS, *own])
    assert len({(look.colour, look.marker) for look in found.values()}) == len(found)
    assert len({(look.colour, look.dashes) for look in found.values()}) == len(found)
    for few in (MODERN, ("sofim", "sgd", "adam", "mine"), ("mine", "yours", "lion", "<b>"), own):
        assert len({look.colour for look in looks(few).values()}) == len(few), "as many colours as there are"


def test_the_look_hangs_neither_on_order_nor_on_the_campaign() -> None:
    names = ["sofim", "mine", "yours", "sgd", "λ"]
    assert looks(names) == looks(names[::-1])
    assert looks(["sgd", "adam"])["sgd"] == looks(names)["sgd"]
    studies = [study("u", name, name=campaign, optimizers=names) for name in names for campaign in ("one", "another")]
    assert {(one.optimizer, look_of(one)) for one in studies} == set(looks(names).items())


@pytest.mark.parametrize("shade", PALETTE)
@pytest.mark.parametrize("paper", ["#f6f8fa", "#181d24"])
def test_every_colour_is_seen_on_both_papers(shade: str, paper: str) -> None:
    """Contrast as WCAG counts it; lines and dots want about 2 at least."""

    def luminance(colour: str) -> float:
        rgb = np.array(mpl.colors.to_rgb(colour))
        return float([0.2126, 0.7152, 0.0722] @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4))

    dark, light = sorted((luminance(shade), luminance(paper)))
    assert (light + 0.05) / (dark + 0.05) > 2


@pytest.mark.parametrize(
    ("parameter", "labels"),
    [
        (ParameterInfo("lr", "float", 1e-7, 1e-2, log=True), ["10⁻⁷", "10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³", "0.01"]),
        (ParameterInfo("lr", "float", 0.1, 2.0, log=True), ["0.1", "0.2", "0.5", "1", "2"]),
        (ParameterInfo("momentum", "float", 0.5, 0.995, one_minus=True), ["0.5", "0.9", "0.99"]),
        (ParameterInfo("batch_size", "int", 16, 256, log=True), ["16", "32", "64", "128", "256"]),
        (ParameterInfo("layers", "int", 1, 3), ["1", "2", "3"]),
        (ParameterInfo("dropout", "float", 0.0, 0.5), ["0", "0.15", "0.3", "0.45"]),
        (ParameterInfo("kind", "categorical", math.nan, math.nan, choices=("a", None, 3)), ["a", "None", "3"]),
        (ParameterInfo("narrow", "float", 3.0, 3.4, log=True), ["3", "3.4"]),
        (ParameterInfo("big", "float", 1e-12, 1e12, log=True), ["10⁻¹²", "10⁻⁷", "0.01", "1000", "10⁸"]),
    ],
)
def test_ticks_are_round_values_where_they_belong(parameter: ParameterInfo, labels: list[str]) -> None:
    places, written = ticks(parameter)
    assert written == labels
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)
    if parameter.kind != "categorical":
        superscript = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
        for place, text in zip(places, written, strict=True):
            value = float(f"1e{text[2:].translate(superscript)}" if text[2:3] in "⁻⁰¹²³⁴⁵⁶⁷⁸⁹" and text[2:] else text)
            assert float(str(scales.decode(parameter, place))) == pytest.approx(value)


def test_drawing_leaves_the_settings_of_others_alone() -> None:
    before = dict(mpl.rcParams)
    with style():
        assert mpl.rcParams["svg.fonttype"] == "none"
    assert dict(mpl.rcParams) == before


def test_a_label_is_short_and_printable() -> None:
    assert label("a\x00b") == "a�b"
    assert label("x" * 100) == "x" * 12 + "…" + "x" * 11
    assert len({label(f"/a/directory/with/a/long/name/{n}") for n in range(60)}) == 60
    assert label("x" * 24) == "x" * 24
    assert label("学" * 20, 10) == "学" * 2 + "…" + "学" * 2
    assert label("") == ""


@pytest.mark.parametrize("key", of_each("study"))
def test_a_figure_of_nothing_is_no_figure(key: str) -> None:
    import pandas as pd

    study = Study(0, "s", {}, "", "", "value", "minimize", {})
    trials = pd.DataFrame(columns=["study", "number", "outcome", "value", "params"])
    with style():
        assert of_each("study")[key](Subject(study, trials, Findings("s"), 4)) is None
