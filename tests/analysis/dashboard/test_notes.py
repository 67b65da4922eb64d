"""What the dashboard shows on studies: the text of notes, figures with the report's numbers, and nothing stored."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.storages import RDBStorage
from optuna_dashboard import get_note, save_note

from analysis.dashboard import AnnotatedStorage, Annotation, AnnotationService, NoteContext
from analysis.dashboard import _plots as plots
from analysis.dashboard._note import confirmation_note, evaluation_note, search_note
from analysis.dashboard._service import CONVERGENCE, IMPORTANCE, _is_due
from analysis.dashboard._storage import overlaid
from analysis.load import Study, curves, studies, trials
from analysis.notes import ABOUT, SENSITIVITY, code, markdown
from analysis.report import Options, examined
from analysis.text import estimate
from studies.storage.database import close_storage, open_storage
from tests.support import report_studies
from tests.support.fake_campaign import make
from tests.support.made_campaign import made

EVIL = "<img src=x onerror=alert(1)> *`|$x$ [a](http://b)"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sofim.db"


@pytest.fixture
def storage(url: str) -> Iterator[RDBStorage]:
    opened = open_storage(url)
    assert isinstance(opened, RDBStorage)
    yield opened
    close_storage(opened)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def service(storage: RDBStorage, tmp_path: Path, said: list[str]) -> Iterator[AnnotationService]:
    with closing(AnnotationService(storage, NoteContext((), tmp_path / "reports"), said.append)) as opened:
        yield opened


def note_of(service: AnnotationService, study_id: int) -> str:
    shown = service.annotation(study_id)
    assert shown is not None
    return shown.note


def figure_of(service: AnnotationService, study_id: int, name: str) -> dict[str, Any]:
    shown = service.annotation(study_id)
    assert shown is not None
    figure: dict[str, Any] = json.loads(shown.plots[name], parse_constant=pytest.fail)
    return figure


# ------------------------------------------------------------------ sections of a note


def test_sections_are_replaced_where_they_are_and_the_rest_of_a_note_stays() -> None:
    note = SENSITIVITY.merged("Ask Ada.", "- lr matters")
    note = ABOUT.merged(note, "first")
    note = ABOUT.merged(f"{note}\nBelow.\n", r"second \1")
    note = SENSITIVITY.merged(note, "- beta matters")
    assert note == (
        f"Ask Ada.\n\n{SENSITIVITY.begin}\n\n- beta matters\n\n{SENSITIVITY.end}\n\n"
        f"{ABOUT.begin}\n\nsecond \\1\n\n{ABOUT.end}\n\nBelow.\n"
    )
    assert ABOUT.merged("", "alone") == f"{ABOUT.holding('alone')}\n"


def test_code_is_closed_by_nothing_in_it() -> None:
    assert code("a\n```b") == "```` a ```b ````"


# ------------------------------------------------------------------ the text


@pytest.mark.slow
def test_a_note_says_what_the_study_is_and_what_to_type(url: str, service: AnnotationService) -> None:
    outcomes = [0.5, 0.75, "diverged", ("pruned", 0.1), "failed: oops"]
    make(url, {"digits-mlp/sofim": outcomes, "digits-mlp/sgd": ["failed: oops"]}, trials=9, pruner="hyperband")
    service.refresh()
    note = note_of(service, 1)
    for expected in (
        "**sofim** on **digits-mlp** in campaign **fake**: validation accuracy, higher is better.",
        "- Search: sampler random, pruner hyperband, schedule constant, seed 0, 20 epochs a trial",
        "- Trials: 5 of 9 ended (2 complete, 1 pruned, 1 diverged, 1 failed)",
        "- Best so far: validation accuracy **0.75** in [trial 1](/dashboard/studies/1/trials?numbers=1)",
        "- On fresh seeds: not confirmed yet",
        "`sofim export fake --optimizer sofim --workload digits-mlp`",
        "`sofim report fake`",
        "- No report is in",
        "| batch\\_size | ",
    ):
        assert expected in note
    without = note_of(service, 2)
    assert "- Best so far: no trial ran its whole budget yet" in without
    assert "sofim export" not in without
    assert "lower is better" in note_of(service, 3)


def test_commands_find_the_storage_and_the_report_is_linked(tmp_path: Path) -> None:
    campaign = made({"digits-mlp": {"sofim": ()}}, name="made")
    (study,) = campaign.studies
    context = NoteContext(("--storage", "sqlite:///my other.db"), tmp_path)
    told = search_note(study, campaign.trials, campaign.confirmations, None, context)
    assert "`sofim report made --storage 'sqlite:///my other.db'`" in told
    assert "[The report" not in told
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "index.html").write_text("somebody's page")
    assert context.report("made") is None
    maker = '<meta name="generator" content="SOFIM Studies">'
    (tmp_path / "made" / "index.html").write_text(f"{maker}<title>made!: how sensitive?</title>")
    assert context.report("made") is None, "it is on another"
    (tmp_path / "made" / "index.html").write_text(maker)
    told = search_note(study, campaign.trials, campaign.confirmations, None, context)
    assert "- [The report on made](/reports/made/index.html), made 20" in told


@pytest.mark.slow
def test_the_winner_on_fresh_seeds_has_the_reports_interval() -> None:
    campaign = made({"w": {"sofim": (0.8, 0.9, "diverged"), "sgd": (0.7,)}})
    (contest,) = campaign.contests()
    sofim, sgd = campaign.studies

    def line(study: Any) -> str:
        told = search_note(study, campaign.trials, campaign.confirmations, contest, NoteContext())
        return next(row for row in told.splitlines() if row.startswith("- On fresh seeds"))

    table = campaign.compare().tables["leaderboard"].set_index("optimizer").loc["sofim"]
    words = markdown(estimate(table["test"], table["test_low"], table["test_high"]))
    assert f"test accuracy **{words}**" in line(sofim)
    assert "(mean of 3 runs, 95 % over seeds, 1 broke and counts with the worst value of the workload, few)" in line(
        sofim
    )
    assert "test accuracy **0.7** (mean of 1 run, too few for an interval, few)" in line(sgd)
    told = confirmation_note(sofim, campaign.confirmations[campaign.confirmations["study"] == sofim.name], 7)
    assert "](/dashboard/studies/7/note), trained again on fresh seeds and tested: " in told
    untested = campaign.confirmations.assign(test_metric=math.nan, test_loss=math.nan)
    assert "trained again on fresh seeds: no search saw" in confirmation_note(sofim, untested, 7)
    assert "- Runs: 2 complete, 1 diverged" in told
    assert "2 runs that came through: validation accuracy 0.85 ± 0.071, test accuracy 0.85 ± 0.071" in told


def test_nothing_from_outside_is_markup(storage: RDBStorage, service: AnnotationService) -> None:
    evil_study(storage)
    service.refresh([1])
    note = note_of(service, 1)
    beside_code = re.sub("`` .*? ``", "", note)
    assert "<" not in beside_code
    assert "](http" not in beside_code.replace("\\](", "")
    assert "\\$x\\$" in beside_code
    drawn = json.dumps(figure_of(service, 1, CONVERGENCE))
    assert "<img" not in drawn
    assert "&lt;img" in drawn


def evil_study(storage: RDBStorage, num_trials: int = 3) -> optuna.Study:
    """A study that claims to be a campaign's, and whose every name is markup."""
    study = optuna.create_study(storage=storage, study_name=f"{EVIL}/{EVIL}/{EVIL}", direction="maximize")
    facts = {"workload": EVIL, "optimizer": EVIL, "metric": EVIL, "epochs": EVIL, "protocol": 1}
    campaign = {"name": EVIL, "workloads": [EVIL], "optimizers": [EVIL], "trials": 3, "sampler": EVIL}
    for name, value in {"campaign": campaign, **facts}.items():
        study.set_user_attr(name, value)
    for number in range(num_trials):
        trial = study.ask(
            {EVIL: optuna.distributions.FloatDistribution(0, 1), "x": optuna.distributions.FloatDistribution(0, 1)}
        )
        trial.report(trial.params[EVIL], 1)
        study.tell(trial, trial.params[EVIL] + 0.1 * number)
    return study


# ------------------------------------------------------------------ laid over, not stored


def test_what_is_laid_over_joins_what_is_stored_and_keeps_its_version() -> None:
    stored = {"dashboard:note_ver": 7, "dashboard:note_str:0": "Ask A", "dashboard:note_str:1": "da.", "other": [1]}
    shown = overlaid(stored, Annotation("text", {"plot": "{}"}))
    assert shown == {
        "dashboard:note_ver": 7,
        "dashboard:note_str:0": f"Ask Ada.\n\n{ABOUT.holding('text')}\n",
        "dashboard:plot_data:plot:0": "{}",
        "other": [1],
    }
    assert stored["dashboard:note_str:0"] == "Ask A"
    assert overlaid({}, Annotation("text"))["dashboard:note_ver"] == 0
    assert overlaid(stored, Annotation()) == stored


def test_a_storage_shows_more_and_stores_no_more(storage: RDBStorage) -> None:
    studies_made = [optuna.create_study(storage=storage, study_name=name) for name in ("a", "b")]
    over = AnnotatedStorage(storage, {1: Annotation("text")}.get)
    first, second = over.get_all_studies()
    assert first.system_attrs["dashboard:note_str:0"].startswith(ABOUT.begin)
    assert second.system_attrs == {}
    assert over.get_study_system_attrs(1) == {}  # the dashboard edits what is stored
    loaded = optuna.load_study(study_name="a", storage=over)
    save_note(loaded, "x" * 5000)
    save_note(loaded, "shorter")
    assert get_note(studies_made[0]) == "shorter"
    (first, _) = over.get_all_studies()
    assert first.system_attrs["dashboard:note_str:0"] == f"shorter\n\n{ABOUT.holding('text')}\n"
    assert first.system_attrs["dashboard:note_ver"] == 2


@pytest.mark.slow
def test_a_look_reads_and_writes_nothing(
    url: str, storage: RDBStorage, tmp_path: Path, service: AnnotationService
) -> None:
    make(url, {"digits-mlp/sofim": [0.5]}, trials=1)
    file = tmp_path / "sofim.db"
    before = hashlib.sha256(file.read_bytes()).digest()
    service.refresh([1])
    AnnotatedStorage(storage, service.annotation).get_all_studies()
    assert hashlib.sha256(file.read_bytes()).digest() == before


@pytest.mark.slow
def test_every_study_of_a_campaign_has_a_note_and_no_other_study_has(
    url: str, storage: RDBStorage, service: AnnotationService
) -> None:
    report_studies.plain_study(storage, "foreign", num_trials=2)
    campaign = report_studies.make(url, report_studies.ridge, trials=3, workloads=["digits-mlp"], replicates=2)
    report_studies.confirm(url, campaign, seeds=2)
    service.refresh()
    notes = {
        study.study_name: shown.note if (shown := service.annotation(study._study_id)) else None
        for study in storage.get_all_studies()
    }
    assert notes.pop("foreign") is None
    assert sorted(notes) == [
        f"fake/digits-mlp/{optimizer}{end}"
        for optimizer in ("sgd", "sofim")
        for end in ("", "/confirm", "/replicate-2", "/replicate-2/confirm")
    ]
    assert all(notes.values())
    assert "search number 2 of the same" in (notes["fake/digits-mlp/sgd/replicate-2"] or "")
    assert "(mean of 2 runs, 95 % over seeds, few)" in (notes["fake/digits-mlp/sgd"] or "")
    assert "- Runs: 2 complete" in (notes["fake/digits-mlp/sgd/confirm"] or "")


@pytest.mark.slow
def test_notes_are_written_anew_when_something_changed(url: str, tmp_path: Path, service: AnnotationService) -> None:
    make(url, {"digits-mlp/sofim": [0.5]}, trials=2)
    service.refresh()
    before = service.annotation(1)
    service.refresh()
    assert service.annotation(1) is before
    make(url, {"digits-mlp/sofim": [0.75]}, trials=2)
    service.refresh()
    assert "**0.75**" in note_of(service, 1)
    (tmp_path / "reports" / "fake").mkdir(parents=True)
    (tmp_path / "reports" / "fake" / "index.html").write_text('<meta name="generator" content="SOFIM Studies">')
    service.refresh()
    assert "[The report on fake](/reports/fake/index.html)" in note_of(service, 1)


@pytest.mark.slow
def test_the_first_page_waits_for_its_plots_and_no_other_for_what_never_comes(
    url: str, service: AnnotationService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.dashboard._service.FIRST_WAIT_SECONDS", 250.0)  # a busy machine refreshes late
    make(url, {"digits-mlp/sofim": [0.5]}, trials=1)
    service.touch(1)
    assert figure_of(service, 1, CONVERGENCE)["data"]
    service.touch(99)  # of no campaign: not waited for
    assert service.annotation(99) is None


@pytest.mark.slow
def test_what_is_shown_is_not_read_again_before_its_time_is_over(
    url: str, service: AnnotationService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.dashboard._service.TIME_TO_LIVE_SECONDS", 250.0)
    monkeypatch.setattr("analysis.dashboard._service.FIRST_WAIT_SECONDS", 250.0)
    make(url, {"digits-mlp/sofim": [0.5]}, trials=2)
    service.touch(1)
    before = service.annotation(1)
    make(url, {"digits-mlp/sofim": [0.75]}, trials=2)
    service.touch(1)
    assert service.annotation(1) == before


def test_a_database_that_does_not_answer_is_said_once(
    monkeypatch: pytest.MonkeyPatch, service: AnnotationService, said: list[str]
) -> None:
    monkeypatch.setattr("analysis.dashboard._service.studies", lambda *_, **__: 1 / 0)
    for _ in range(3):
        service.touch(1)
    assert said == ["notes and plots are not up to date (ZeroDivisionError: division by zero); they are tried again"]


@pytest.mark.slow
def test_what_cannot_be_written_keeps_no_other_campaign_from_its_notes(
    url: str, service: AnnotationService, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        make(url, {"digits-mlp/sofim": [0.5]}, trials=1, name=name, workloads=["digits-mlp"], optimizers=["sofim"])

    def fail(study: Study, *others: Any) -> str:
        if study.campaign["name"] == "first":
            raise KeyError("odd")
        return search_note(study, *others)

    monkeypatch.setattr("analysis.dashboard._service.search_note", fail)
    for _ in range(2):
        service.refresh()
    assert said == ["notes and plots are not up to date (KeyError: 'odd'); they are tried again"]
    assert service.annotation(1) is None
    assert "campaign **second**" in note_of(service, 2)
    monkeypatch.undo()
    service.refresh()
    assert "campaign **first**" in note_of(service, 1)


# ------------------------------------------------------------------ figures


def test_convergence_shows_the_best_trials_and_a_band_of_the_confirmation_runs() -> None:
    campaign = made({"w": {"sofim": [0.8 + number / 100 for number in range(8)]}})
    (study,) = campaign.studies
    epochs = pd.DataFrame(
        [(study.name, trial, epoch, value) for trial in range(3) for epoch, value in ((1, trial / 10), (2, math.nan))],
        columns=["study", "number", "epoch", "value"],
    )
    bands = campaign.compare().tables["convergence"]
    band = bands[(bands["axis"] == "epochs") & (bands["quantity"] == "metric")]
    figure = plots.convergence(study, campaign.trials, epochs, band)
    lines = {trace["name"]: trace for trace in figure["data"]}
    assert list(lines)[:2] == ["trials 1, 0, the next", "trial 2, the best"]
    assert lines["trial 2, the best"]["y"] == [0.2, None]
    assert lines["fresh seeds, median of 8 runs"]["y"] == pytest.approx(band["median"].tolist())
    ends = lines["interval for that median"]["y"]
    assert ends == pytest.approx([*band["low"], *band["high"][::-1]])
    nothing = plots.convergence(study, campaign.trials.iloc[:0], epochs, band.iloc[:0])
    assert "No trial ran its whole budget yet." in nothing["layout"]["annotations"][0]["text"]


@pytest.mark.nightly
@pytest.mark.slow
def test_importances_are_those_of_the_report(url: str, storage: RDBStorage, service: AnnotationService) -> None:
    report_studies.make(url, report_studies.ridge, trials=60, workloads=["digits-mlp"], optimizers=["sgd"])
    (study,) = studies(storage)
    service.refresh([1])
    assert "Being computed" in figure_of(service, 1, IMPORTANCE)["layout"]["annotations"][0]["text"]
    service._processes.shutdown()  # waits
    figure = figure_of(service, 1, IMPORTANCE)
    findings = examined(study, trials(storage, [study]), curves(storage, [study]), Options(), 2)
    table = findings.importance[findings.importance["region"] == "all"].sort_values("total_order")
    shown = {(trace["name"], trace["xaxis"]): trace for trace in figure["data"]}
    for name, order in (("with interactions", "total_order"), ("alone", "first_order")):
        trace = shown[name, "x"]
        assert trace["x"] == table[order].tolist()
        error = trace["error_x"]
        assert np.add(trace["x"], error["array"]) == pytest.approx(table[f"{order}_high"].to_numpy())
        assert np.subtract(trace["x"], error["arrayminus"]) == pytest.approx(table[f"{order}_low"].to_numpy())
    assert figure["layout"]["yaxis"]["ticktext"] == [f"{name} " for name in table["parameter"]]
    noise = float(findings.tables["quality"].iloc[0]["noise_total_order"])
    assert shown["reached without any effect", "x"]["x"] == [noise, noise]
    assert "of 60 trials" in figure["layout"]["title"]["text"]


def test_too_few_trials_are_said_to_be_too_few() -> None:
    campaign = made({"w": {"sofim": ()}})
    (study,) = campaign.studies
    findings = examined(study, campaign.trials, campaign.curves, Options(), 1)
    figure = plots.importance(study, findings)
    assert figure["data"] == []
    assert "3 trials<br>are too few" in figure["layout"]["annotations"][0]["text"]


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("ended", [True, False])
def test_importances_that_cannot_be_computed_are_said_and_tried_again(
    ended: bool, url: str, service: AnnotationService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.dashboard._service._importance", end_at_once if ended else fail)
    why = "the process that computes importances ended" if ended else "ValueError: odd"
    for number in (1, 2):
        make(url, {"digits-mlp/sofim": [0.5]}, trials=2)
        service.refresh([1])
        while service._analysed[1] != (number, False):
            time.sleep(0.01)
        text = figure_of(service, 1, IMPORTANCE)["layout"]["annotations"][0]["text"].replace("<br>", " ")
        assert text == f"It cannot be computed: {why}"


def end_at_once(*_: object) -> None:
    os._exit(1)


def fail(*_: object) -> None:
    raise ValueError("odd")


@pytest.mark.parametrize(
    ("before", "ended", "still", "due"),
    [
        ((-1, False), 0, True, True),  # nothing is shown yet
        ((10, False), 10, False, False),
        ((10, False), 11, False, True),  # not enough trials before: perhaps now
        ((10, None), 20, True, False),  # they are being computed
        ((50, True), 59, False, False),
        ((50, True), 60, False, True),  # a fifth more
        ((50, True), 51, True, True),  # the last trial of the search
        ((50, True), 50, True, False),
    ],
)
def test_importances_are_computed_again_when_a_fifth_is_new(
    before: tuple[int, bool | None], ended: int, still: bool, due: bool
) -> None:
    assert _is_due(before, ended, still) is due


def test_the_note_on_evaluation_runs_says_what_each_configuration_reached():
    (sofim,) = made({"digits-mlp": {"sofim": ()}}, name="made").studies
    given = [{"lr": 0.25, "rho": 1.0}, {"lr": 0.5, "rho": 2.0}]
    rows = [("complete", 0.75, given[0]), ("complete", 0.25, given[0]), ("diverged", math.nan, given[1])]
    rows += [("complete", 0.99, {"lr": 1.0})] * 3
    told = evaluation_note(sofim, pd.DataFrame(rows, columns=["outcome", "value", "evaluates"]), 7)
    assert "- Runs: 5 complete, 1 diverged" in told
    assert "0.99 ± 0 (" in told
    assert "- `lr=0.25, rho=1`, 2 runs that came through: " in told
    assert "0.5 ± 0.35" in told
    assert "- `lr=0.5, rho=2`, 0 runs that came through: no values yet" in told
    assert "(/dashboard/studies/7/note)" in told


def test_runs_that_are_all_equal_are_not_far_apart_and_configurations_near_1_are_told_apart() -> None:
    found = made({"w": {"sgd": [0.9, 0.9, 0.9], "adamw": [0.5, 0.6, "diverged"]}})
    notes = {}
    for study in found.studies:
        own = [frame[frame["study"] == study.name] for frame in (found.trials, found.confirmations)]
        notes[study.optimizer] = search_note(study, *own, found.contests()[0], NoteContext())
    assert "(mean of 3 runs, all equal, which leaves no interval, few)" in notes["sgd"]
    assert "1 broke and counts with the worst value" in notes["adamw"]
    frame = pd.DataFrame({"study": ["x"] * 2, "outcome": ["complete"] * 2, "value": [0.9, 0.9],
                          "evaluates": [{"beta": 0.99997}, {"beta": 0.99996}]})  # fmt: skip
    said = evaluation_note(found.studies[0], frame, 3)
    assert "`beta=0.99997`, 1 run" in said
    assert "`beta=0.99996`, 1 run" in said
