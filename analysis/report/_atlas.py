"""The atlas of a report: its part of the page, its files, and the page of answers for a person in a hurry."""

from __future__ import annotations

import datetime
import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2
import joblib
import numpy as np
import pandas as pd
from markupsafe import Markup
from optuna.storages import BaseStorage

from analysis.atlas import Atlas, atlas
from analysis.atlas.steps import SHARES
from analysis.comparison import Comparison
from analysis.defaults import SEED, pooled, surrogate_study
from analysis.figures import of_each
from analysis.figures._style import style
from analysis.figures.comparison._base import looks_in
from analysis.load import evaluations
from analysis.notes import markdown as escaped
from analysis.report._chapter import Options, Picture, generator, pictures
from analysis.study import Frames, Study

SHOWN = {
    "rho_shared": "optimizer coordinate verdict value low high workloads",
    "rho_intervals": "optimizer workload coordinate loss_percent best low high outer_low outer_high trials why_not",
    "rho_steps": "optimizer workload factor with_rho ratio lr rho rho_counts c trials why_not",
    "rho_explained": "optimizer workload of_all ratio knee both original",
    "by_kind": "kind baseline workloads better worse undecided",
    "sensitivity": "role optimizer workload total_order stands_out width unit loss_percent",
    "sensitivity_versus": "role baseline workloads wider narrower untold",
    "seconds_to_target": "workload optimizer target reached runs median ratio verdict",
    "default_regrets": "optimizer tried regret workloads of measured_by",
    "as_typed": "baseline workload default_from gain verdict",
}
"""Columns that the page has room for, by table."""
PERCENT = {
    "rho_steps": SHARES,
    "rho_explained": ("of_all", "ratio", "knee", "both", "original"),
    "sensitivity": ("total_order",),
}
PAGES = ("answers.html", "answers.md")


@dataclass(frozen=True, slots=True)
class Answered:
    """An atlas, and its figures."""

    atlas: Atlas
    pictures: tuple[Picture, ...]

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """As files hold them: names in a row instead of tuples."""
        return {name: table.map(_in_a_row) for name, table in self.atlas.tables.items()}


def _in_a_row(value: object) -> object:
    if not isinstance(value, tuple):
        return value
    return "; ".join(": ".join(entry) if isinstance(entry, tuple) else str(entry) for entry in value)


def answered(
    storage: BaseStorage,
    studies: Sequence[Study],
    frames: Frames,
    compared: Comparison,
    about: str,
    options: Options,
    parallel: joblib.Parallel,
) -> Answered | None:
    """Return the atlas of a campaign; ``None`` of one workload, beyond which nothing can be said.

    Args:
        storage: For the evaluation runs.
        studies: All of the campaign, replicates included.
        frames: Of these.
        compared: Likewise.
        about: The optimizer that the questions are about.
        options: How.
        parallel: Fits the surrogates.
    """
    if len(compared.contests) < 2:
        return None
    firsts, whole = pooled(studies, frames)
    surrogates = list(
        parallel(
            joblib.delayed(surrogate_study)(
                study, whole.trials, whole.curves, np.random.default_rng(SEED), num_refits=options.num_refits
            )
            for study in firsts
        )
    )
    rng = generator(options.seed, "atlas")
    made = atlas(compared, surrogates, whole, evaluations(storage, firsts), about, rng)
    with style():
        drawn = pictures(((key, draw(made, looks_in(compared))) for key, draw in of_each("atlas").items()), options)
    return Answered(made, tuple(drawn))


def answers_html(made: Atlas, title: str, now: datetime.datetime, maker: Markup) -> str:
    """Return the page of answers."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    css = (importlib.resources.files("analysis.report") / "templates" / "page.css").read_text(encoding="utf-8")
    return environment.get_template("answers.html.j2").render(
        atlas=made, title=title, written=f"{now:%Y-%m-%d %H:%M %Z}".strip(), maker=maker, style=Markup(css)
    )


def answers_markdown(made: Atlas, title: str) -> str:
    """Return the same as Markdown."""
    parts = [f"# {escaped(title)} Answers", f"Rests on {escaped(made.rests_on)} The whole: [report](index.html)."]
    for one in made.answers:
        parts += [f"## {escaped(one.question)}", "\n".join(f"- {escaped(said)}" for said in one.sentences)]
    return "\n\n".join(parts) + "\n"


def sections(made: Answered, tables: Mapping[str, object], drawn: Mapping[str, object]) -> list[dict[str, object]]:
    """Return the answers as the page shows them: with tables and figures, by their names."""
    return [
        {
            "id": f"atlas-{one.id}",
            "question": one.question,
            "sentences": one.sentences,
            "tables": [tables[name] for name in one.tables if name in tables],
            "pictures": [drawn[key] for key in one.figures if key in drawn],
        }
        for one in made.atlas.answers
    ]
