"""What the note on a study says: what it is, how far, its best configuration, and what to type next."""

from __future__ import annotations

import datetime
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from analysis.comparison.searches import level
from analysis.comparison.workload_runs import WorkloadRuns
from analysis.intervals import FEW
from analysis.load import Study
from analysis.notes import code, markdown
from analysis.report import folder, is_of, is_report
from analysis.schema import CAMPAIGN_RULES, TEST_PREFIX
from analysis.text import estimate, format_params, number
from analysis.winners import winner
from search_spaces import ANY, configuration_key
from search_spaces.errors import number_of

_OUTCOMES = ("complete", "pruned", "diverged", "failed", "running")


@dataclass(frozen=True, slots=True)
class NoteContext:
    """Where notes are shown, which what they tell to type depends on.

    Attributes:
        option: What a command needs to find the storage, such as ``("--storage", "sqlite:///other.db")``.
        reports: The directory in which ``sofim report`` puts reports.
        address: Under which the dashboard serves that directory.
        program: What a command begins with.
    """

    option: Sequence[str] = ()
    reports: Path = Path("reports")
    address: str = "/reports"
    program: Sequence[str] = ("sofim",)

    def report(self, campaign: str) -> tuple[str, datetime.datetime] | None:
        """Return a link to the report on a campaign and when it was made; ``None`` where there is none."""
        index = self.reports / folder(campaign) / "index.html"
        try:
            if not is_report(index) or is_of(index, campaign) is False:
                return None
            made = index.stat().st_mtime
        except OSError:
            return None
        link = f"{self.address}/{quote(folder(campaign))}/index.html"
        return link, datetime.datetime.fromtimestamp(made).astimezone()

    def command(self, *words: str) -> str:
        """Return a command as one types it, as code."""
        return code(shlex.join([*self.program, *words, *self.option]))


def search_note(
    study: Study, trials: pd.DataFrame, runs: pd.DataFrame, contest: WorkloadRuns | None, context: NoteContext
) -> str:
    """Return the note on a study in which an optimizer was tuned, as Markdown.

    Args:
        study: Which.
        trials: Of it; columns of :func:`analysis.load.trials`.
        runs: Confirmation runs of its winners; columns of :func:`analysis.load.confirmations`.
        contest: The comparison on its workload; ``None`` where nothing of that is confirmed.
        context: Where it is shown.
    """
    best = winner(study, trials)
    again = f", search number {study.replicate} of the same" if study.replicate > 1 else ""
    lines = [
        f"**{markdown(study.optimizer)}** on **{markdown(study.workload)}** in campaign "
        f"**{markdown(str(study.campaign['name']))}**{again}: {_metric(study)}, {study.better}.",
        "",
        f"- Search: {_how(study)}",
        f"- Trials: {_how_far(study, trials)}",
    ]
    if best is None:
        lines.append("- Best so far: no trial ran its whole budget yet")
    else:
        trial = f"[trial {best['number']}](/dashboard/studies/{study.study_id}/trials?numbers={best['number']})"
        lines.append(
            f"- Best so far: {_metric(study)} **{number(float(best['value']))}** in {trial}; "
            "chosen by the search, so good for choosing and too good to expect"
        )
    lines += [f"- On fresh seeds: {_confirmed(study, best, runs, contest)}", ""]
    if best is not None:
        lines += ["| hyperparameter | best so far |", "|---|---|"]
        lines += [f"| {markdown(name)} | {markdown(_value(value))} |" for name, value in best["params"].items()]
        lines.append("")
    # a search that chose the optimizer too says what it found itself
    return "\n".join([*lines, *_next(study, context, exportable=best is not None and study.optimizer != ANY)])


def confirmation_note(study: Study, runs: pd.DataFrame, study_id: int) -> str:
    """Return the note on the study that holds the confirmation runs of another.

    Args:
        study: Whose winners were run again.
        runs: Columns of :func:`analysis.load.confirmations`.
        study_id: Of ``study``.
    """
    kept = runs[runs["outcome"] != "lost"]
    is_tested = any(str(name).startswith(TEST_PREFIX) and column.notna().any() for name, column in kept.items())
    return "\n".join(
        [
            f"The winners of [{markdown(study.name)}](/dashboard/studies/{study_id}/note), trained again on fresh "
            f"seeds{' and tested' if is_tested else ''}: no search saw these seeds or test data.",
            "",
            f"- Runs: {_counts(kept) or 'none yet'}",
            *(f"- Trial {trial:.0f}, {_reached(study, own)}" for trial, own in kept.groupby("confirms")),
        ]
    )


def evaluation_note(study: Study, runs: pd.DataFrame, study_id: int) -> str:
    """Return the note on the study that holds the evaluation runs of another.

    Args:
        study: On whose workload they were run.
        runs: Columns of :func:`analysis.load.evaluations`.
        study_id: Of ``study``.
    """
    kept = runs[runs["outcome"] != "lost"]
    given = [configuration_key(point) for point in kept["evaluates"]]
    shown = {key: format_params(point) for key, point in zip(given, kept["evaluates"], strict=True)}
    return "\n".join(
        [
            f"What several workloads recommend for **{markdown(study.optimizer)}**, trained on fresh seeds on the "
            f"workload of [{markdown(study.name)}](/dashboard/studies/{study_id}/note): `sofim export` takes its "
            "regrets from these runs.",
            "",
            f"- Runs: {_counts(kept) or 'none yet'}",
            *(
                f"- {code(shown[point])}, {_reached(study, own)}"
                for point, own in kept.groupby(pd.Series(given, kept.index, object), sort=False)
            ),
        ]
    )


def _split(study: Study) -> str:
    return "training" if study.attributes.get("metric_split") == "train" else "validation"


def _metric(study: Study) -> str:
    return f"{_split(study)} {markdown(study.metric)}"


def _how(study: Study) -> str:
    fields = study.campaign
    named = [f"{name} {markdown(str(fields[name]))}" for name in CAMPAIGN_RULES if name in fields]
    if (epochs := study.attributes.get("epochs")) is not None:
        told = number_of(epochs, "epoch") if isinstance(epochs, int) else f"{epochs} epochs"
        named.append(f"{markdown(told)} a trial")
    return ", ".join(named)


def _how_far(study: Study, trials: pd.DataFrame) -> str:
    kept = trials[trials["outcome"] != "lost"]  # these are asked again
    asked = study.campaign.get("trials")
    of_all = "" if asked is None else f" of {asked}"  # time ends a search that has no number
    counts = _counts(kept)
    return f"{int((kept['outcome'] != 'running').sum())}{of_all} ended" + (f" ({counts})" if counts else "")


def _counts(trials: pd.DataFrame) -> str:
    counts = trials["outcome"].value_counts()
    return ", ".join(f"{counts[name]} {name}" for name in _OUTCOMES if name in counts)


def _confirmed(study: Study, best: pd.Series | None, runs: pd.DataFrame, contest: WorkloadRuns | None) -> str:
    """Return what its winner of today gave on fresh seeds, with the numbers of the report."""
    if contest is None or best is None or not len(contest.of(study)):
        return "no run of this winner has ended yet" if (runs["outcome"] != "lost").any() else "not confirmed yet"
    values, broken = contest.values(study), int(contest.of(study)["broken"].sum())
    reached = level(contest, study)
    parts = [
        f"{reached.statistic} of {number_of(len(values), 'run')}",
        "95 % over seeds"
        if not math.isnan(reached.low)
        else "too few for an interval"
        if len(values) < 2
        else "all equal, which leaves no interval"
        if len(set(values.tolist())) == 1
        else "too far apart for an interval",
        f"{broken} broke and count{'s' * (broken == 1)} with the worst value of the workload" if broken else "",
        "few" if len(values) < FEW else "",
    ]
    told = (
        f"{markdown(contest.label)} **{markdown(estimate(reached.value, reached.low, reached.high))}**"
        if len(values)
        else "not known"
    )
    return f"{told} ({', '.join(filter(None, parts))})"


def _reached(study: Study, runs: pd.DataFrame) -> str:
    """Return what runs of one configuration reached."""
    complete = runs[runs["outcome"] == "complete"]
    told = [f"{_metric(study)} {_spread(complete['value'])}"]
    if "test_metric" in complete and complete["test_metric"].notna().any():
        # a metric of the training objective has no counterpart on test data: its loss stands there
        name = "test loss" if _split(study) == "training" else f"test {markdown(study.metric)}"
        told.append(f"{name} {_spread(complete['test_metric'])}")
    values = f"{', '.join(told)} (mean ± standard deviation)" if len(complete) else "no values yet"
    return f"{number_of(len(complete), 'run')} that came through: {values}"


def _spread(values: pd.Series[float]) -> str:
    known = values.dropna()
    if known.empty:
        return "not known"
    middle = number(float(known.mean()))
    deviation = 0.0 if (known == known.iloc[0]).all() else float(known.std(ddof=1))  # equal ones deviate by rounding
    return middle if len(known) == 1 else f"{middle} ± {deviation:.2g}"


def _value(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _next(study: Study, context: NoteContext, *, exportable: bool) -> Iterator[str]:
    name = str(study.campaign["name"])
    if exportable:
        only = ("--optimizer", study.optimizer, "--workload", study.workload)
        yield f"- To export the configuration: {context.command('export', name, *only)}"
    yield f"- To report how sensitive it is, and which is better: {context.command('report', name)}"
    if (made := context.report(name)) is None:
        yield f"- No report is in {code(str(context.reports / folder(name)))} yet"
    else:
        yield f"- [The report on {markdown(name)}]({made[0]}), made {made[1]:%Y-%m-%d %H:%M}"
