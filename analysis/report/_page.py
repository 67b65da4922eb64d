"""The page: what is said, in which order, and how numbers are written."""

from __future__ import annotations

import base64
import datetime
import hashlib
import html
import importlib.metadata
import importlib.resources
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from analysis.comparison import Comparison
from analysis.figures import _style
from analysis.figures.comparison import View
from analysis.load import ParameterInfo, Study
from analysis.report._chapter import Chapter, Options, Picture
from analysis.report._names import WORKLOADS, panel_stems
from analysis.sensitivity import sentences
from analysis.sensitivity.importance import LEVEL, MINIMUM_R2
from analysis.winners import winner

MAKER = '<meta name="generator" content="SOFIM Studies">'
_ROWS_SHOWN = 60
_CHAPTERS_OPEN = 4
_OUTCOMES = ("complete", "pruned", "diverged", "failed", "lost", "running")
_PERCENT = {"first_order", "total_order", "share", "share_of_range", "predicted_share"}
_SPACES = "search_spaces"
_ALERTS = ("no", "search too small")
_SHOWN = ("importance", "interactions", "robustness", "local", "tunability", "ablation", "quality")


@dataclass(frozen=True, slots=True)
class Across:
    """What is known of all workloads together."""

    table: pd.DataFrame
    sentences: tuple[str, ...]
    pictures: tuple[Picture, ...]
    compared: Comparison | None
    scores: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Versus:
    """One workload on which optimizers are compared; ``id`` names its files and its place in the page."""

    id: str
    view: View
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: what is read, and what it is sorted by."""

    text: str
    key: float | str
    number: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page; ``more`` rows are only in the file ``name``.csv; ``alerts`` are rows to be seen."""

    name: str
    columns: list[str]
    rows: list[list[Cell]]
    more: int = 0
    alerts: frozenset[int] = frozenset()


def page(
    chapters: Sequence[Chapter],
    across: Across,
    names: Mapping[str, str],
    compared_on: Sequence[Versus] = (),
    *,
    files: Sequence[str],
    title: str,
    source: str,
    options: Options,
    now: datetime.datetime,
) -> str:
    """The text of ``index.html``.

    Args:
        chapters: of the studies.
        across: of all workloads together.
        names: of the studies' files, by study.
        compared_on: the workloads on which optimizers are compared.
        files: names of the tables that are written.
        title: of the page.
        source: the storage, without a password.
        options: how everything was computed.
        now: the date on the page.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
    )
    templates = importlib.resources.files("analysis.report") / "templates"
    script, style = ((templates / name).read_text(encoding="utf-8") for name in ("sort.js", "page.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("index.html.j2").render(
        maker=Markup(MAKER),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        style=Markup(style),
        files=files,
        title=title,
        source=source,
        options=options,
        written=f"{now:%Y-%m-%d %H:%M %Z}".strip(),
        version=importlib.metadata.version("sofim-studies"),
        level=round(100 * LEVEL),
        minimum_r2=MINIMUM_R2,
        overview=_overview(chapters, names),
        across=across,
        across_pictures=[_picture(picture, WORKLOADS) for picture in across.pictures],
        verdict=across.compared.sentences if across.compared else [],
        score_pictures=[_picture(picture, WORKLOADS) for picture in across.scores],
        score_tables=_chosen(across.compared.tables, _SCORES) if across.compared and across.scores else [],
        compared_on=[_versus(one) for one in compared_on],
        fairness=_chosen(across.compared.tables, _FAIRNESS) if across.compared else [],
        methods=across.compared.methods if across.compared else "",
        chapters=[_chapter(one, names[one.study.name]) for one in chapters],
        is_open=len(chapters) <= _CHAPTERS_OPEN,
        campaign=chapters[0].study.campaign if chapters[0].study.own else {},
        protocol=chapters[0].study.attributes.get("protocol") if chapters[0].study.own else None,
    )


def _printable(value: object) -> object:
    """What is filled in, without characters that a page may not hold; line breaks stay."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in value)


def heading(study: Study) -> str:
    """A study as a reader knows it: optimizer and workload, or the name that another program gave it."""
    return f"{study.optimizer} on {study.workload}" if study.own else study.name


def _chapter(one: Chapter, name: str) -> dict[str, object]:
    study, findings = one.study, one.findings
    tables = []
    for key in _SHOWN:
        table = findings.tables[key].drop(columns="study")
        if len(table):
            tables.append(_table(key, table))
    return {
        "id": name,
        "heading": heading(study),
        "name": study.name,
        "colour": one.subject.colour,
        "own": study.own,
        "headline": sentences.headline(findings),
        "sentences": findings.sentences,
        "pictures": [_picture(picture, name) for picture in one.pictures],
        "tables": tables,
        "space": _space(study),
        "failures": _failures(one.subject.trials),
        "best": _best(one),
    }


_VERSUS = {
    "leaderboard": "optimizer runs test validation tuned epochs_to_target gradient_evaluations_to_target "
    "seconds_to_target trials complete pruned diverged failed params",
    "comparisons": "a b difference probability_of_improvement verdict",
    "time_to_target": "optimizer axis target reached runs median ratio restricted_ratio comparable",
    "cost": "optimizer batch_size seconds_per_step step_ratio gradient_evaluations_per_step "
    "evaluation_ratio comparable",
    "inclusion": "larger smaller difference verdict limit",
}
_SCORES = {
    "aggregate": "optimizer iqm workloads runs",
    "profile_score": "axis optimizer score workloads comparable",
    "ranks": "optimizer mean_rank workloads critical_difference friedman_p behind_best",
}
_FAIRNESS = {
    "fairness": "rule requirement workload kept evidence",
    "search_spaces": "optimizer parameter kind scale low high choices default",
}
_ENDS = {
    "iqm": ("low", "high"),
    "score": ("low", "high"),
    "mean_rank": ("low", "high"),
    "median": ("low", "high"),
    "probability_of_improvement": ("probability_low", "probability_high"),
}


def _versus(one: Versus) -> dict[str, object]:
    contest = one.view.contest
    tables = {name: one.view.rows(name) for name in _VERSUS if "workload" in one.view.comparison.tables[name].columns}
    if not len(contest.runs):
        tables = {"leaderboard": tables["leaderboard"]}
    return {
        "id": one.id,
        "workload": contest.workload,
        "label": contest.label,
        "better": one.view.better,
        "runs": len(contest.runs),
        "pictures": [_picture(picture, one.id) for picture in one.pictures],
        "tables": _chosen(tables, _VERSUS),
    }


def _chosen(tables: Mapping[str, pd.DataFrame], wanted: Mapping[str, str]) -> list[Table]:
    """Those columns that a page has room for; the files have all."""
    found = []
    for name, columns in wanted.items():
        if name not in tables or not len(tables[name]):
            continue
        table = tables[name].copy()
        for column in columns.split():
            for end, own in zip(("_low", "_high"), _ENDS.get(column, ()), strict=False):
                if own in table:
                    table[column + end] = table[own]
        kept = [c for c in columns.split() if c in table and not table[c].isna().all()]
        ends = [f"{c}{end}" for c in kept for end in ("_low", "_high") if f"{c}{end}" in table]
        found.append(_table(name, table[[*kept, *ends]]))
    return found


def _picture(picture: Picture, name: str) -> dict[str, object]:
    panels = []
    for stem, (panel, drawing, _) in zip(panel_stems(name, picture), picture.panels, strict=True):
        described = html.escape(str(_printable(f"{picture.title}{f': {panel}' if panel else ''}")), quote=True)
        inline = _style.inline(drawing, stem.replace(".", "-"), described)
        panels.append({"stem": stem, "svg": Markup(inline)})
    return {"title": picture.title, "caption": picture.caption, "panels": panels}


def _overview(chapters: Sequence[Chapter], names: Mapping[str, str]) -> list[dict[str, object]]:
    rows = []
    for one in chapters:
        counts = Counter(one.subject.trials["outcome"])
        best = _best(one)
        quality = one.findings.tables["quality"]
        r2 = float(quality["r2"].iloc[0]) if len(quality) else math.nan
        rows.append(
            {
                "id": names[one.study.name],
                "heading": heading(one.study),
                "colour": one.subject.colour,
                "best": Cell(digits(best.value), best.value, number=True),
                "metric": f"{one.study.metric} ({one.study.better})",
                "outcomes": ", ".join(f"{counts[kind]} {kind}" for kind in _OUTCOMES if counts[kind]) or "no trial yet",
                "trials": sum(counts.values()),
                "r2": Cell("–" if math.isnan(r2) else f"{r2:.2f}", r2, number=True),
                "conclusive": one.findings.conclusive,
            }
        )
    return rows


@dataclass(frozen=True, slots=True)
class Best:
    """The best complete trial; no number before the first."""

    value: float = math.nan
    number: int | None = None
    params: str = ""


def _best(one: Chapter) -> Best:
    row = winner(one.study, one.subject.trials)
    if row is None:
        return Best()
    return Best(float(row["value"]), int(row["number"]), digits(row["params"]))


def _space(study: Study) -> Table:
    rows = [
        [
            Cell(info.name, info.name, number=False),
            Cell(*_range(info), number=False),
            Cell(_scale(info), _scale(info), number=False),
            Cell("–" if info.default is None else _range_end(info.default), str(info.default), number=False),
        ]
        for info in study.parameters.values()
    ]
    return Table("search space", ["parameter", "range", "scale", "default"], rows)


def _range(info: ParameterInfo) -> tuple[str, str]:
    if info.kind == "categorical":
        text = ", ".join(str(choice) for choice in info.choices)
    else:
        text = f"{_range_end(info.low)} to {_range_end(info.high)}"
    return text, text


def _range_end(value: object) -> str:
    """An end of a range, or a default: 0.9999 is not 1."""
    return f"{value:.6g}" if isinstance(value, float) and math.isfinite(value) else digits(value)


def _scale(info: ParameterInfo) -> str:
    if info.kind == "categorical":
        return "choice"
    scale = "log" if info.log else "log of 1 − value" if info.one_minus else "linear"
    return f"{scale}, whole numbers" if info.kind == "int" else scale


def _failures(trials: pd.DataFrame) -> list[dict[str, object]]:
    """Failures by their last line, with one whole traceback each."""
    failed = trials[(trials["outcome"] == "failed")]
    found: dict[str, dict[str, object]] = {}
    for row in failed.to_dict("records"):
        text = str(row["failure"]) if isinstance(row["failure"], str) else "no reason is stored"
        lines = [line for line in text.strip().splitlines() if line.strip()]
        last = lines[-1].strip() if lines else "no reason is stored"
        entry = found.setdefault(last, {"last": last, "count": 0, "text": text, "number": row["number"]})
        entry["count"] = int(str(entry["count"])) + 1
    return list(found.values())


def _table(name: str, table: pd.DataFrame) -> Table:
    """A frame as a table: columns ``x``, ``x_low`` and ``x_high`` become one, written as ``x [low, high]``."""
    columns = [str(column) for column in table.columns]
    ends = {f"{column}{end}" for column in columns for end in ("_low", "_high") if f"{column}_low" in columns}
    shown = [column for column in columns if column not in ends or column in ("low", "high")]
    rows = []
    for record in table.head(_ROWS_SHOWN).to_dict("records"):
        cells = []
        for column in shown:
            value = record[column]
            unit = _percent if column in _PERCENT else _range_end if name == _SPACES else digits
            text = unit(value)
            if f"{column}_low" in columns and text != "–" and not pd.isna(record[f"{column}_low"]):
                text = f"{text} [{unit(record[f'{column}_low'])}, {unit(record[f'{column}_high'])}]"
            numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            cells.append(Cell(text, float(value) if numeric else str(value), number=numeric))
        rows.append(cells)
    titles = [f"{column.replace('_', ' ')}{', %' if column in _PERCENT else ''}" for column in shown]
    bad = [
        str(record.get("kept", record.get("verdict", ""))) in _ALERTS
        for record in table.head(_ROWS_SHOWN).to_dict("records")
    ]
    alerts = frozenset(place for place, alert in enumerate(bad) if alert)
    return Table(name, titles, rows, max(0, len(table) - _ROWS_SHOWN), alerts)


def _percent(value: object) -> str:
    return f"{100 * float(str(value)):.0f}" if value is not None and not pd.isna(float(str(value))) else "–"


def digits(value: object) -> str:
    """A value with as many digits as a reader needs.

    >>> [digits(v) for v in (0.123456, 12345.678, 64, None, float("nan"), "relu", True)]
    ['0.123', '12346', '64', '–', '–', 'relu', 'yes']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {sentences.number(entry)}" for name, entry in value.items())
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, float):
        return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
    return str(value)
