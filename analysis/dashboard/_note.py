"""What the note on a study says: what it is, how far, its best configuration, and what to type next."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from analysis.comparison.contest import Contest
from analysis.comparison.intervals import FEW, mean
from analysis.comparison.words import count, estimate, number
from analysis.load import Study
from analysis.notes import code, markdown
from analysis.report import is_report, slug
from analysis.winners import winner
from search_spaces import ANY
from search_spaces.errors import number_of

_OUTCOMES = ("complete", "pruned", "diverged", "failed", "running")


@dataclass(frozen=True, slots=True)
class Setting:
    """Where notes are shown, which what they tell to type depends on.

    Attributes:
        option: what a command needs to find the storage, such as ``("--storage", "sqlite:///other.db")``.
        reports: the directory in which ``sofim report`` puts reports.
        address: under which the dashboard serves that directory.
        program: what a command begins with.
    """

    option: Sequence[str] = ()
    reports: Path = Path("reports")
    address: str = "/reports"
    program: Sequence[str] = ("sofim",)

    def report(self, campaign: str) -> tuple[str, datetime.datetime] | None:
        """Link to the report on a campaign and when it was made; ``None`` where there is none."""
        index = self.reports / slug(campaign) / "index.html"
        try:
            if not is_report(index):
                return None
            made = index.stat().st_mtime
        except OSError:
            return None
        moment = datetime.datetime.fromtimestamp(made).astimezone()
        return f"{self.address}/{quote(slug(campaign))}/index.html", moment

    def command(self, *words: str) -> str:
        """A command as one types it."""
        return shlex.join([*self.program, *words, *self.option])


def search_note(
    study: Study, trials: pd.DataFrame, runs: pd.DataFrame, contest: Contest | None, setting: Setting
) -> str:
    """The note on a study in which an optimizer was tuned, as Markdown.

    Args:
        study: which.
        trials: of it; columns of :func:`analysis.load.trials`.
        runs: confirmation runs of its winners; columns of :func:`analysis.load.confirmations`.
        contest: the comparison on its workload; ``None`` where nothing of that is confirmed.
        setting: where it is shown.
    """
    best = winner(study, trials)
    return "\n".join(
        [
            _what(study),
            "",
            f"- Search: {_how(study)}",
            f"- Trials: {_how_far(study, trials)}",
            f"- Best so far: {_best(study, best)}",
            *_confirmed(study, best, runs, contest),
            "",
            *([] if best is None else [*_configuration(best["params"]), ""]),
            # a search that chose the optimizer too says what it found itself
            *_next(study, setting, exportable=best is not None and study.optimizer != ANY),
        ]
    )


def confirmation_note(study: Study, runs: pd.DataFrame, study_id: int) -> str:
    """The note on the study that holds the confirmation runs of another.

    Args:
        study: whose winners were run again.
        runs: columns of :func:`analysis.load.confirmations`.
        study_id: of ``study``.
    """
    kept = runs[runs["outcome"] != "lost"]
    winners = sorted({int(one) for one in kept["confirms"].dropna()})
    lines = [
        f"The winners of [{markdown(study.name)}](/dashboard/studies/{study_id}/note), trained again on fresh seeds "
        "and tested: nothing was chosen on these seeds or on test data.",
        "",
        f"- Runs: {_counts(kept) or 'none yet'}",
    ]
    for confirmed in winners:
        own = kept[(kept["confirms"] == confirmed) & (kept["outcome"] == "complete")]
        values = [f"{_metric(study)} {_spread(own['value'])}"]
        if "test_metric" in own and own["test_metric"].notna().any():
            # a metric of the training objective has no counterpart on test data: its loss stands there
            name = "test loss" if _split(study) == "training" else f"test {markdown(study.metric)}"
            values.append(f"{name} {_spread(own['test_metric'])}")
        told = f"{', '.join(values)} (mean ± standard deviation)" if len(own) else "no values yet"
        lines.append(f"- Trial {confirmed}, {count(len(own), 'run')} that came through: {told}")
    return "\n".join(lines)


def evaluation_note(study: Study, runs: pd.DataFrame, study_id: int) -> str:
    """The note on the study that holds the evaluation runs of another.

    Args:
        study: on whose workload they were run.
        runs: columns of :func:`analysis.load.evaluations`.
        study_id: of ``study``.
    """
    kept = runs[runs["outcome"] != "lost"]
    lines = [
        f"What several workloads recommend for **{markdown(study.optimizer)}**, trained on fresh seeds on the workload "
        f"of [{markdown(study.name)}](/dashboard/studies/{study_id}/note): `sofim export --evaluate` takes its regrets "
        "from these runs.",
        "",
        f"- Runs: {_counts(kept) or 'none yet'}",
    ]
    given = [", ".join(f"{name}={_value(value)}" for name, value in one.items()) for one in kept["evaluates"]]
    for configuration, own in kept.groupby(given, sort=False):
        values = own.loc[own["outcome"] == "complete", "value"]
        told = f"{_metric(study)} {_spread(values)} (mean ± standard deviation)" if len(values) else "no values yet"
        lines.append(f"- {code(str(configuration))}, {count(len(values), 'run')} that came through: {told}")
    return "\n".join(lines)


def _what(study: Study) -> str:
    again = f", search number {study.replicate} of the same" if study.replicate > 1 else ""
    return (
        f"**{markdown(study.optimizer)}** on **{markdown(study.workload)}** in campaign "
        f"**{markdown(str(study.campaign['name']))}**{again}: {_metric(study)}, {study.better}."
    )


def _split(study: Study) -> str:
    return "training" if study.attributes.get("metric_split") == "train" else "validation"


def _metric(study: Study) -> str:
    return f"{_split(study)} {markdown(study.metric)}"


def _how(study: Study) -> str:
    fields = study.campaign
    named = [
        f"{name} {markdown(str(fields[name]))}" for name in ("sampler", "pruner", "schedule", "seed") if name in fields
    ]
    epochs = study.attributes.get("epochs")
    return ", ".join([*named, *([f"{markdown(_epochs(epochs))} a trial"] if epochs is not None else [])])


def _epochs(stored: object) -> str:
    return number_of(stored, "epoch") if isinstance(stored, int) else f"{stored} epochs"


def _counts(trials: pd.DataFrame) -> str:
    found = trials["outcome"].value_counts()
    return ", ".join(f"{found[name]} {name}" for name in _OUTCOMES if name in found)


def _how_far(study: Study, trials: pd.DataFrame) -> str:
    kept = trials[trials["outcome"] != "lost"]  # these are asked again
    asked = study.campaign.get("trials")
    ended = int((kept["outcome"] != "running").sum())
    of_all = "" if asked is None else f" of {asked}"  # time ends a search that has no number
    return f"{ended}{of_all} ended" + (f" ({told})" if (told := _counts(kept)) else "")


def _best(study: Study, best: pd.Series | None) -> str:
    if best is None:
        return "no trial ran its whole budget yet"
    at = f"/dashboard/studies/{study.study_id}/trials?numbers={best['number']}"
    return (
        f"{_metric(study)} **{number(float(best['value']))}** in [trial {best['number']}]({at}); "
        "chosen by the search, so good for choosing and too good to expect"
    )


def _confirmed(study: Study, best: pd.Series | None, runs: pd.DataFrame, contest: Contest | None) -> list[str]:
    """What its winner of today gave on fresh seeds, a line, with the numbers of the report."""
    if contest is None or best is None or not len(contest.of(study)):
        if (runs["outcome"] != "lost").any():
            return ["- On fresh seeds: no run of this winner has ended yet"]
        return ["- On fresh seeds: not confirmed yet"]
    values = contest.values(study)
    own = contest.of(study)
    broken = int(own["broken"].sum())
    parts = [f"mean of {count(len(values), 'run')}"]
    if len(values) > 1:
        parts.append("95 % by Student's t")
    if broken:
        parts.append(f"{broken} broke and count with the worst value of the workload")
    if len(values) < FEW:
        parts.append("few")
    told = "not known" if not len(values) else f"{markdown(contest.label)} **{markdown(estimate(*mean(values)))}**"
    return [f"- On fresh seeds: {told} ({', '.join(parts)})"]


def _spread(values: pd.Series[float]) -> str:
    known = values.dropna()
    if known.empty:
        return "not known"
    mean_of_them = number(float(known.mean()))
    deviation = 0.0 if (known == known.iloc[0]).all() else float(known.std(ddof=1))  # equal ones deviate by rounding
    return mean_of_them if len(known) == 1 else f"{mean_of_them} ± {deviation:.2g}"


def _configuration(params: Mapping[str, object]) -> list[str]:
    rows = [f"| {markdown(name)} | {markdown(_value(value))} |" for name, value in params.items()]
    return ["| hyperparameter | best so far |", "|---|---|", *rows]


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _next(study: Study, setting: Setting, *, exportable: bool) -> list[str]:
    name = str(study.campaign["name"])
    lines = []
    if exportable:
        only = ("--optimizer", study.optimizer, "--workload", study.workload)
        lines.append(f"- To export the configuration: {code(setting.command('export', name, *only))}")
    lines.append(f"- To report how sensitive it is, and which is better: {code(setting.command('report', name))}")
    made = setting.report(name)
    if made is None:
        return [*lines, f"- No report is in {code(str(setting.reports / slug(name)))} yet"]
    link, moment = made
    return [*lines, f"- [The report on {markdown(name)}]({link}), made {moment:%Y-%m-%d %H:%M}"]
