"""The atlas of a stored campaign, and the page of answers: what is said there agrees with numbers computed anew.

``atlas.db.xz`` is of three searches of sofim, sgd and adamw on two workloads of images and one of a table, 16
quasi-random trials each, their winners confirmed and what they recommend evaluated, on a busy machine; its
histories are rounded to six digits.
"""

from __future__ import annotations

import dataclasses
import json
import lzma
import re
import sqlite3
from contextlib import closing
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

from analysis import report
from analysis.atlas import Atlas, atlas, reference_of
from analysis.comparison import compare
from analysis.defaults import pooled, surrogate_study
from analysis.load import curves, evaluations, read, studies
from analysis.study import Frames, Study
from studies.storage.database import close_storage, open_storage
from tests.analysis.report.test_write import Links
from tests.support.report_studies import draw_nothing

pytestmark = pytest.mark.slow
DATA = Path(__file__).parents[2] / "data"
WORKLOADS, OPTIMIZERS = ("digits-mlp", "digits-lenet5", "breast-cancer-logreg"), ("sofim", "sgd", "adamw")


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "sofim.db"
    path.write_bytes(lzma.decompress((DATA / "atlas.db.xz").read_bytes()))
    return path


@pytest.fixture(scope="module")
def out(database, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    opened = open_storage(f"sqlite:///{database}", create=False)
    few = report.Options(num_refits=6, workers=1)
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch, "svg")
        written = report.write(opened, studies(opened, "mini"), folder, title="T <1>", source="db", options=few)
    close_storage(opened)
    assert written.answers == folder / "answers.html"
    return folder


def table(out: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(out / "tables" / f"{name}.csv")


def runs(database: Path, ending: str) -> pd.DataFrame:
    """Every run whose study's name ends so, by plain SQL: columns study, value, and its user attributes."""
    sql = (
        "SELECT study_name, trials.trial_id, key, value_json FROM trials JOIN studies USING (study_id) "
        "JOIN trial_user_attributes USING (trial_id) WHERE study_name LIKE ? AND state = 'COMPLETE'"
    )
    with closing(sqlite3.connect(database)) as opened:
        rows = pd.read_sql(sql, opened, params=[f"%{ending}"])
        values = dict(opened.execute("SELECT trial_id, value FROM trial_values").fetchall())
    wide = rows.pivot_table(index=["study_name", "trial_id"], columns="key", values="value_json", aggfunc="first")
    wide = wide.reset_index()
    return wide.assign(value=wide["trial_id"].map(values))


def holm(p: list[float]) -> list[float]:
    order = np.argsort(p)
    adjusted, worst = np.empty(len(p)), 0.0
    for place, at in enumerate(order):
        worst = max(worst, min(1.0, p[at] * (len(p) - place)))
        adjusted[at] = worst
    return adjusted.tolist()


def test_every_sentence_is_on_all_three_pages_and_every_link_leads_somewhere(out: Path) -> None:
    page, answers = ((out / name).read_text(encoding="utf-8") for name in ("index.html", "answers.html"))
    said = [unescape(text) for text in re.findall(r"<li>(.*?)</li>", answers)]
    assert len(said) >= 12
    assert all(text in unescape(page) for text in said)
    lines = (out / "answers.md").read_text(encoding="utf-8").splitlines()
    assert [re.sub(r"\\(.)", r"\1", line[2:]) for line in lines if line.startswith("- ")] == said
    for text in (page, answers):
        for address in Links(text).addresses:
            file, _, place = address.partition("#")
            if not address.startswith("data:"):
                assert (out / file).exists()
                assert not place or f'id="{place}"' in ((out / file).read_text() if file else text)


def test_what_people_type_is_beaten_where_welchs_test_says_so(database: Path, out: Path) -> None:
    every, told = runs(database, "/evaluate"), table(out, "as_typed")
    assert len(told) == 6
    given = every["evaluates"].map(json.loads)
    confirmed = runs(database, "/confirm")
    everything = pd.concat([every.assign(of=every["evaluates"]), confirmed.assign(of=confirmed["confirms"])])
    differences, p_values = [], []
    for row in told.to_dict("records"):
        optimizer = "sgd" if row["baseline"].startswith("SGD") else "adamw"
        of_typed = every[
            (every["study_name"] == f"mini/{row['workload']}/{optimizer}/evaluate")
            & given.map(lambda one, text=row["baseline"]: one.get("as_typed") == text)
        ]
        assert len(of_typed) == 3
        # sequences of quasi-random trials are the same on all workloads: a default may be what was a winner here
        mine = everything[everything["study_name"].str.startswith(f"mini/{row['workload']}/sofim/")]
        scale = (lambda v: -np.log(v)) if row["scale"] == "log" else np.asarray
        gain = np.log(row["gain"]) if row["scale"] == "log" else row["gain"]
        base = scale(of_typed["value"])
        found = [scale(own["value"]) for _, own in mine.groupby(["study_name", "of"])]
        values = next(one for one in found if np.isclose(one.mean() - base.mean(), gain, rtol=1e-6))
        differences.append(gain)
        p_values.append(ttest_ind(values, base, equal_var=False).pvalue)
        assert row["default_from"] != row["workload"]
    for row, gain, p in zip(told.to_dict("records"), differences, holm(p_values), strict=True):
        if not 0.02 < p < 0.12:  # ties of accuracies count as a coin's variance, which no plain test knows
            assert row["verdict"] == ("no difference shown" if p > 0.05 else "better" if gain > 0 else "worse")
    text = (out / "answers.md").read_text(encoding="utf-8")
    for baseline, own in told.groupby("baseline"):
        count = (own["verdict"] == "better").sum()
        assert f"against {baseline} as typed, {'better on ' + str(count) if count else ''}" in text.replace("\\", "")


def test_kinds_are_not_told_apart_where_welchs_test_over_searches_does_not(database: Path, out: Path) -> None:
    every = runs(database, "/confirm")
    parts = every["study_name"].str.split("/")
    values = every.assign(workload=parts.str[1], optimizer=parts.str[2], test=every["test_metric"].astype(float))
    values.loc[values["test"].isna(), "test"] = values["value"]
    means = values.groupby(["workload", "optimizer", "study_name"])["test"].mean()
    p_values = {}
    for workload in WORKLOADS:
        own = {o: means[workload, o].to_numpy() for o in OPTIMIZERS}
        own = {o: np.log(v) for o, v in own.items()} if workload.startswith("breast") else own
        for a, b in (("sofim", "sgd"), ("sofim", "adamw"), ("sgd", "adamw")):
            p_values[workload, a, b] = ttest_ind(own[a], own[b], equal_var=False).pvalue
    assert min(holm(list(p_values.values()))) > 0.05
    told = table(out, "by_kind")
    assert told.groupby("kind")["undecided"].first().to_dict() == {"all": 3, "beyond images": 1, "image": 2, "table": 1}
    assert told[["better", "worse"]].to_numpy().sum() == 0
    text = (out / "answers.md").read_text(encoding="utf-8")
    assert re.search(
        r"On image tasks, sofim is not told apart from sgd \(\d+ % .*\) and adamw \(\d+ % .* of 2 workloads, "
        r"95 % for all of these together\)",
        text,
    )
    assert "Beyond images (table), sofim is not told apart from sgd and adamw." in text


def answered(database: Path, change) -> Atlas:
    opened = open_storage(f"sqlite:///{database}", create=False)
    every = studies(opened, "mini", replicates=True)
    every = [study for study in every if study.workload != "breast-cancer-logreg"]  # of a logarithm the sign is fixed
    frames, epochs, beside = read(opened, every), curves(opened, every, confirmed=True), evaluations(opened, every)
    close_storage(opened)
    every, frames, epochs, beside = change(every, frames, epochs, beside)
    compared = compare(every, frames, epochs, np.random.default_rng(0))
    own, whole = pooled(every, frames)
    fitted = [surrogate_study(one, whole.trials, whole.curves, np.random.default_rng(0), num_refits=4) for one in own]
    return atlas(compared, fitted, whole, beside, reference_of(compared), np.random.default_rng(0))


NAMES = {"aaa": "sofim", "bbb": "sgd", "ccc": "adamw", "xxx": "digits-mlp", "yyy": "digits-lenet5"}


def unchanged(*given):
    return given


def renamed(every: list[Study], frames: Frames, epochs: pd.DataFrame, beside: pd.DataFrame):
    names = {old: new for new, old in NAMES.items()}

    def new(text: object) -> object:
        return "/".join(names.get(part, part) for part in text.split("/")) if isinstance(text, str) else text

    def of(frame: pd.DataFrame) -> pd.DataFrame:
        columns = [name for name in ("study", "workload", "optimizer") if name in frame]
        return frame.assign(**{name: frame[name].map(new) for name in columns})

    studies = [
        dataclasses.replace(
            one,
            name=new(one.name),
            workload=new(one.workload),
            optimizer=new(one.optimizer),
            campaign={**one.campaign, "optimizers": [new(name) for name in one.campaign["optimizers"]]},
        )
        for one in every
    ]
    return studies, Frames(of(frames.trials), of(frames.curves), of(frames.confirmations)), of(epochs), of(beside)


def shuffled(every, frames, epochs, beside):
    rng = np.random.default_rng(5)

    def of(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)

    return every, Frames(of(frames.trials), of(frames.curves), of(frames.confirmations)), of(epochs), of(beside)


def turned(every, frames, epochs, beside):
    def of(frame: pd.DataFrame) -> pd.DataFrame:
        columns = [name for name in ("value", "test_metric") if name in frame]
        return frame.assign(**{name: -frame[name] for name in columns})

    studies = [
        dataclasses.replace(
            one, direction="minimize", attributes={**one.attributes, "target": -one.attributes["target"]}
        )
        for one in every
    ]
    return studies, Frames(of(frames.trials), of(frames.curves), of(frames.confirmations)), of(epochs), of(beside)


@pytest.fixture(scope="module")
def as_stored(database) -> list[str]:
    return texts(answered(database, unchanged))


def texts(made: Atlas) -> list[str]:
    found = [made.rests_on, *(text for one in made.answers for text in (one.question, *one.sentences))]
    for new, old in NAMES.items():
        found = [text.replace(new, old) for text in found]
    return found


@pytest.mark.nightly(by_day=["turned"])
@pytest.mark.parametrize("change", [renamed, shuffled, turned])
def test_names_order_of_rows_and_sign_of_the_metric_change_no_statement(database, as_stored, change) -> None:
    assert texts(answered(database, change)) == as_stored
