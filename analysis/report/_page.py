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
import pandas as pd
from markupsafe import Markup

from analysis.audit import Flag, shown
from analysis.comparison import FAIRNESS, SCORES, VERSUS, Comparison
from analysis.comparison.answer import decides, seconds_compare
from analysis.comparison.leaderboard import chosen_on
from analysis.comparison.time_to_target import untimed
from analysis.comparison.tuned import SHOWN, Tuned
from analysis.drawn import model_in_words
from analysis.figures import _style
from analysis.figures._looks import look_of
from analysis.figures.comparison import View
from analysis.figures.comparison._base import LEGEND
from analysis.figures.comparison.ranks import tells_apart
from analysis.optimizers import custom_optimizers, described
from analysis.report._answer import broken_rules, export_command, lines, rules_once, without_rules
from analysis.report._atlas import PERCENT, Answered, sections
from analysis.report._atlas import SHOWN as ATLAS_SHOWN
from analysis.report._chapter import Chapter, Options, Picture
from analysis.report._names import ATLAS, WORKLOADS, panel_stems
from analysis.report._tables import Cell, Table, as_table, chosen, space_table
from analysis.schema import CAMPAIGN_RULES, COUNTED, OUTCOMES
from analysis.sensitivity import scales, sentences
from analysis.sensitivity.findings import TABLES
from analysis.sensitivity.importance import LEVEL, MINIMUM_R2
from analysis.sensitivity.outcomes import Outcomes, span
from analysis.study import Study
from analysis.text import cell, command, listing, outcomes
from analysis.winners import winner
from search_spaces.errors import number_of

MAKER = '<meta name="generator" content="SOFIM Studies">'
_CHAPTERS_OPEN = 4
_FIRST = "confirmed"  # the figure of the first screen
_IN_SECONDS = ("batch_seconds_ratio", "seconds_per_step", "step_ratio", "evaluation_ratio")


@dataclass(frozen=True, slots=True)
class Across:
    """What is known of all workloads together."""

    table: pd.DataFrame
    sentences: tuple[str, ...]
    pictures: tuple[Picture, ...]
    compared: Comparison | None
    scores: tuple[Picture, ...]
    tuned: Tuned | None = None  # of a search that chose the optimizer too


@dataclass(frozen=True, slots=True)
class Versus:
    """One workload on which optimizers are compared; ``id`` names its files and its place in the page."""

    id: str
    view: View
    pictures: tuple[Picture, ...]


def page(
    chapters: Sequence[Chapter],
    across: Across,
    names: Mapping[str, str],
    compared_on: Sequence[Versus] = (),
    *,
    flags: Sequence[Flag] = (),
    atlas: Answered | None = None,
    files: Sequence[str],
    title: str,
    source: str,
    options: Options,
    now: datetime.datetime,
) -> str:
    """Return the text of ``index.html``.

    Args:
        chapters: Of the studies.
        across: Of all workloads together.
        names: Of the studies' files, by study.
        compared_on: The workloads on which optimizers are compared.
        flags: What speaks against the searches.
        atlas: What the campaign says over several workloads.
        files: Names of the tables that are written.
        title: Of the page.
        source: The storage, without a password.
        options: How everything was computed.
        now: The date on the page.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
    )
    templates = importlib.resources.files("analysis.report") / "templates"
    script, style = ((templates / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    first = chapters[0].study
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
        audit=[(shown(flag), flag.remedy) for flag in flags],
        overview=_overview(chapters, names),
        across=across,
        across_pictures=[_picture(picture, WORKLOADS) for picture in across.pictures],
        optimizers=chosen({"optimizers": across.tuned.table}, {"optimizers": SHOWN}) if across.tuned else [],
        contents=_contents(across, compared_on, chapters, atlas),
        atlas=_atlas(atlas),
        **_first_screen(across, compared_on, names, source),
        score_pictures=[_picture(picture, WORKLOADS) for picture in across.scores],
        score_tables=_score_tables(across.compared) if across.compared and across.scores else [],
        compared_on=[_versus(one) for one in compared_on],
        fairness=_fairness(across.compared) if across.compared else [],
        methods=across.compared.methods if across.compared else "",
        chapters=[_chapter(one, names[one.study.name]) for one in chapters],
        is_open=len(chapters) <= _CHAPTERS_OPEN,
        campaign=_rules(first, pd.concat([one.subject.trials for one in chapters])) if first.own else "",
        custom=_custom(first) if first.own and across.compared is None else "",
        protocol=first.attributes.get("protocol") if first.own else None,
    )


def _contents(
    across: Across, compared_on: Sequence[Versus], chapters: Sequence[Chapter], atlas: Answered | None
) -> list[dict[str, str]]:
    """Return the links at the top of the page."""
    found = [("answer", "Which optimizer?")] if compared_on else []
    found += [("in-short", "In short"), ("studies", "Studies")]
    found += [(one.id, f"On {one.view.contest.workload}") for one in compared_on]
    found += [("scores", "Across workloads")] if across.compared and across.scores else []
    found += [("atlas", "Answers over workloads")] if atlas else []
    found += [("fairness", "Was it fair?")] if across.compared else []
    found += [("across", "Sensitivity across workloads")] if across.pictures else []
    found += [("chapters", "Each study")] if chapters else []
    return [{"id": name, "text": text} for name, text in [*found, ("method", "How this was computed")]]


def _first_screen(
    across: Across, compared_on: Sequence[Versus], names: Mapping[str, str], source: str
) -> dict[str, object]:
    """Return what the answer of the page shows, and what of the verdict is left to be said in a list."""
    compared = across.compared
    if compared is None:
        verdict = across.tuned.sentences if across.tuned else []
        nothing = {"answers": [], "answer": "", "reading": "", "broken": [], "export": "", "untimed": []}
        return {**nothing, "verdict": verdict}
    campaign = str(compared.contests[0].studies[0].campaign["name"])
    rules = compared.tables["fairness"]
    return {
        "answers": [
            {
                "workload": one.view.contest.workload,
                "decides": decides(one.view.contest),
                "better": one.view.better,
                "confirmed": bool(one.view.contest.confirmed()),
                "statistic": " or ".join(dict.fromkeys(one.view.rows("leaderboard")["statistic"].dropna())),
                "confirm": command("confirm", campaign),
                "chosen_on": chosen_on(one.view.rows("leaderboard")),
                "lines": lines(compared, one.view.contest.workload, names),
                "picture": next((_picture(each, one.id) for each in one.pictures if each.key == _FIRST), None),
            }
            for one in compared_on
        ],
        "reading": _reading(compared_on),
        "answer": compared.answer,
        "broken": broken_rules(rules),
        "export": export_command(campaign, source),
        "untimed": [f"{workload} do not compare: {why}" for workload, why in untimed(compared.contests)],
        "verdict": without_rules(compared.sentences, rules),
    }


def _reading(compared_on: Sequence[Versus]) -> str:
    """Return how the figures of the answer are read, once where that is the same on all workloads."""
    captions = {one.view.contest.workload: p.caption for one in compared_on for p in one.pictures if p.key == _FIRST}
    if len(set(captions.values())) < 2:
        return next(iter(captions.values()), "")
    return " ".join(f"{workload}: {caption}" for workload, caption in captions.items())


def _atlas(made: Answered | None) -> list[dict[str, object]]:
    """Return the answers over several workloads with their tables and figures."""
    if made is None:
        return []
    columns = {name: columns for name, columns in ATLAS_SHOWN.items() if name in made.tables}
    tables = {table.name: table for table in chosen(made.tables, columns, percent=PERCENT)}
    return sections(made, tables, {picture.key: _picture(picture, ATLAS) for picture in made.pictures})


def _fairness(compared: Comparison) -> list[Table]:
    tables = compared.tables | {"fairness": rules_once(compared.tables["fairness"])}
    return chosen(tables, FAIRNESS)


def _score_tables(compared: Comparison) -> list[Table]:
    """Return the tables on all workloads, without seconds that do not compare and a critical difference of nothing."""
    scores, ranks = compared.tables["profile_score"], compared.tables["ranks"]
    scores = scores[(scores["axis"] != "seconds") | scores["comparable"].astype(bool)]
    if not tells_apart(ranks):
        ranks = ranks.drop(columns=["critical_difference", "behind_best"])
    return chosen(compared.tables | {"profile_score": scores, "ranks": ranks}, SCORES)


def printable(text: str) -> str:
    """Return text in a line, without characters that a terminal or a page takes for commands."""
    return " ".join(str(_printable(text)).split())


def _rules(study: Study, trials: pd.DataFrame) -> str:
    """Return how a campaign searched, as far as it is stored: a search that its time ends has no number of trials."""
    fields = study.campaign
    drawn = model_in_words(fields.get("sampler"), trials)
    number, budget = fields.get("trials"), fields.get("budget")
    seconds = budget.get("seconds") if isinstance(budget, Mapping) else None
    ended = trials.loc[trials["outcome"].isin(COUNTED), "study"].value_counts()
    fewer = isinstance(number, int) and bool((ended < number).any())
    told = [f"{number_of(number, 'trial')} a study{' asked for' if fewer else ''}"] if isinstance(number, int) else []
    told += [f"a budget of {seconds:g} s"] if isinstance(seconds, int | float) else []
    told += [f"{name} {fields[name]}" for name in CAMPAIGN_RULES if name in fields]
    said = "; ".join(part for part in (", ".join(told), drawn) if part)
    return f"Campaign {fields['name']}{': ' if said else ''}{said}."


def _custom(study: Study) -> str:
    """Return where optimizers of a person's own come from, for a page without the methods, which tell that."""
    fields = study.campaign
    told = [f"{name} ({described(name, fields)})" for name in custom_optimizers(fields)]
    return f"Optimizers of its own: {listing(told)}." if told else ""


def _printable(value: object) -> object:
    """Return what is filled in, without characters that a page may not hold; line breaks stay."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in value)


def heading(study: Study) -> str:
    """Return a study as a reader knows it: optimizer and workload, or the name that another program gave it."""
    if not study.own:
        return study.title
    replicate = f", replicate {study.replicate}" if study.replicate > 1 else ""
    return f"{study.optimizer} on {study.workload}{replicate}"


def _chapter(one: Chapter, name: str) -> dict[str, object]:
    study, findings = one.study, one.findings
    tables = []
    for key, kind in TABLES.items():
        table = findings.tables[key].drop(columns="study")
        if kind.shown and len(table):
            tables.append(as_table(key, table, study.parameters, kind.percent))
    return {
        "id": name,
        "heading": heading(study),
        "name": study.name,
        "chip": look_of(one.study).chip,
        "own": study.own,
        "headline": sentences.headline(findings),
        "sentences": findings.sentences,
        "pictures": [_picture(picture, name) for picture in one.pictures],
        "tables": tables,
        "space": space_table(study),
        "failures": _failures(one.subject.trials),
        "best": _best(one),
    }


def _versus(one: Versus) -> dict[str, object]:
    contest = one.view.contest
    tables = {name: one.view.rows(name) for name in VERSUS if "workload" in one.view.comparison.tables[name].columns}
    # the winners' hyperparameters are in the answer
    tables["leaderboard"] = tables["leaderboard"].drop(columns="params")
    if not len(contest.runs):
        tables = {"leaderboard": tables["leaderboard"]}
    else:
        for name in ("cost", "time_to_target"):  # what does not compare is not shown
            tables[name] = tables[name].drop(columns="comparable")
    if len(contest.runs) and not seconds_compare(contest):
        tables["leaderboard"] = tables["leaderboard"].drop(columns="seconds_to_target")
        tables["cost"] = tables["cost"].drop(columns=[c for c in tables["cost"] if c in _IN_SECONDS])
        tables["time_to_target"] = tables["time_to_target"][tables["time_to_target"]["axis"] != "seconds"]
    titles = {
        "validation": contest.studies[0].tuned_metric,
        "test": f"test {contest.metric}",
        "tuned": contest.tuned_label,
        "gradient_evaluations_per_step": "gradient evaluations per step (until it converged)",
        "step_ratio": "seconds of a step, ratio",
        "evaluation_ratio": "seconds of a gradient evaluation, ratio",
    }
    return {
        "id": one.id,
        "workload": contest.workload,
        "label": contest.label,
        "better": one.view.better,
        "runs": len(contest.runs),
        "pictures": [_picture(picture, one.id) for picture in one.pictures if picture.key != _FIRST],
        "tables": chosen(tables, VERSUS, titles),
    }


def _picture(picture: Picture, name: str) -> dict[str, object]:
    panels = []
    for stem, (panel, drawing) in zip(panel_stems(name, picture), picture.panels, strict=True):
        described = html.escape(str(_printable(f"{picture.title}{f': {panel}' if panel else ''}")), quote=True)
        inline = _style.inline(drawing.svg, stem.replace(".", "-"), described)
        panels.append({"stem": stem, "svg": Markup(inline), "legend": panel == LEGEND})
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
                "chip": look_of(one.study).chip,
                "best": Cell(_told_apart(best.value, one.findings.used), best.value, number=True),
                "metric": f"{one.study.metric} ({one.study.better})",
                "outcomes": outcomes(counts, OUTCOMES) or "no trial yet",
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
    known = one.study.parameters
    params = (f"{name} = {scales.written(known[name], value)}" for name, value in row["params"].items())
    return Best(float(row["value"]), int(row["number"]), ", ".join(params))


def _told_apart(value: float, used: Outcomes | None) -> str:
    """Return a value of the metric, with the digits that tell it from the others."""
    if used is not None and math.isfinite(value) and used.ordinary.any():
        texts = (cell(value), *(f"{value:.{number}g}" for number in range(4, 17)))
        near = span(used.goodness[used.ordinary]) / 200
        return next((text for text in texts if abs(float(text) - value) <= near), repr(value))
    return cell(value)


def _failures(trials: pd.DataFrame) -> list[dict[str, object]]:
    """Return failures by their last line, with one whole traceback each."""
    failed = trials[(trials["outcome"] == "failed")]
    found: dict[str, dict[str, object]] = {}
    for row in failed.to_dict("records"):
        text = str(row["failure"]) if isinstance(row["failure"], str) else "no reason is stored"
        lines = [line for line in text.strip().splitlines() if line.strip()]
        last = lines[-1].strip() if lines else "no reason is stored"
        entry = found.setdefault(last, {"last": last, "count": 0, "text": text, "number": row["number"]})
        entry["count"] = int(str(entry["count"])) + 1
    return list(found.values())
