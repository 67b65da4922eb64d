"""One study's chapter: its findings and pictures, made in a process of its own."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.figures import Drawn, Subject, of_each
from analysis.figures._style import Files, files, style
from analysis.figures.comparison import View
from analysis.schema import PROTOCOL
from analysis.sensitivity.analyse import analyse
from analysis.sensitivity.findings import Findings
from analysis.sensitivity.outcomes import METHODS, Method
from analysis.study import Study
from analysis.text import command
from search_spaces import ANY


@dataclass(frozen=True, slots=True)
class Options:
    """How a report is computed.

    Attributes:
        seed: Of everything random; the same seed gives the same report.
        method: How pruned and diverged trials get values, see :mod:`analysis.sensitivity.outcomes`.
        num_refits: Bootstrap draws behind every interval.
        workers: Processes; ``None`` for as many as there are processors.
        about: The optimizer that the answers over several workloads are about; ``None``: the campaign's first.
        page_only: Write one file, the page, which has every figure in it, and no files of figures and tables.
    """

    seed: int = 0
    method: Method = METHODS[0]
    num_refits: int = 20
    workers: int | None = None
    about: str | None = None
    page_only: bool = False

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {self.seed}")
        if self.num_refits < 2:
            raise ValueError(f"num_refits must be at least 2, not {self.num_refits}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as files: ``panels`` are names, each with its files."""

    key: str
    title: str
    caption: str
    panels: tuple[tuple[str, Files], ...]


@dataclass(frozen=True, slots=True)
class Chapter:
    """A study, what is known of it, and the pictures of that."""

    subject: Subject
    pictures: tuple[Picture, ...]

    @property
    def study(self) -> Study:
        """The study."""
        return self.subject.study

    @property
    def findings(self) -> Findings:
        """What is known of it."""
        return self.subject.findings


def chapter(
    study: Study,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    options: Options,
    threads: int,
    measured: pd.DataFrame | None = None,
) -> Chapter:
    """Analyse and draw one study.

    Args:
        study: The study.
        trials: Its trials, and its curves, as :mod:`analysis.load` gives them.
        curves: See ``trials``.
        options: How.
        threads: For the refits; the result does not depend on it.
        measured: Its runs of the default and of the path from there, as `analysis.load.ablation_runs` gives them.
    """
    findings = examined(study, trials, curves, options, threads, measured)
    subject = Subject(study, trials, findings, options.num_refits)
    with style():
        drawn = ((key, draw(subject)) for key, draw in of_each("study").items())
        return Chapter(subject, tuple(pictures(drawn, options)))


def examined(
    study: Study,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    options: Options,
    threads: int,
    measured: pd.DataFrame | None = None,
) -> Findings:
    """Return what a chapter says, without its pictures; arguments as of `chapter`."""
    with threadpool_limits(1):  # sums of several threads depend on how many there are
        return analyse(
            list(study.parameters.values()),
            trials,
            curves,
            direction=study.direction,
            rng=generator(options.seed, "study"),
            method=options.method,
            scale=study.scale,
            metric=study.metric,
            measured=measured,
            ablation_command=_ablation_command(study),
            num_refits=options.num_refits,
            workers=threads,
            study=study.name,
            coordinates=study.optimizer in ("sofim", "sofim-gradient", "sofim-tensor"),
        )


def _ablation_command(study: Study) -> str:
    can_be_added_to = study.own and study.attributes.get("protocol") == PROTOCOL and study.optimizer != ANY
    return command("confirm", str(study.campaign["name"]), "--ablation") if can_be_added_to else ""


def versus(view: View, options: Options) -> tuple[Picture, ...]:
    """Return the pictures of one workload of a comparison."""
    with style():
        return tuple(pictures(((key, draw(view)) for key, draw in of_each("workload").items()), options))


def generator(seed: int, purpose: Literal["study", "comparison", "atlas"]) -> np.random.Generator:
    """Return a new generator for one study, for a comparison, or for an atlas.

    What is found of a study depends neither on other studies nor on what it is called.
    """
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def pictures(drawn: Iterable[tuple[str, Drawn | None]], options: Options) -> list[Picture]:
    """Return figures as files, those that there is nothing to show of left out; within `style`."""
    return [
        Picture(
            key,
            one.title,
            one.caption,
            tuple((panel.name, files(panel.figure, page_only=options.page_only)) for panel in one.panels),
        )
        for key, one in drawn
        if one is not None
    ]
