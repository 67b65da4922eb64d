"""Mistakes with reports: of what, and where to."""

from __future__ import annotations

import optuna

from studies.storage.database import close_storage
from tests.mistakes.mistake import Mistake, Place
from tests.mistakes.storages import attribute, execute, sealed
from tests.support.fake_campaign import make


def two_objectives(place: Place) -> None:
    storage = optuna.storages.RDBStorage(place.storage)
    optuna.create_study(study_name="both", storage=storage, directions=["minimize", "maximize"])
    close_storage(storage)


def two_protocols(place: Place) -> None:
    make(place.storage, {"digits-mlp/sgd": [0.5, 0.75]}, workloads=["digits-mlp"], optimizers=["sgd", "adam"])
    execute(place.storage, f"{attribute('protocol', 0)} AND study_id = (SELECT MAX(study_id) FROM studies)")


def nothing_ended(place: Place) -> None:
    make(place.storage, {}, workloads=["digits-mlp"], optimizers=["sgd"])


ROWS = [
    Mistake(
        id="a report of nothing",
        typed="report",
        says="name a campaign, or one study with --study NAME; sofim list shows the campaigns",
    ),
    Mistake(
        id="a report of two things",
        typed="report fake --study fake/digits-mlp/sgd",
        says="a campaign and one study with --study exclude each other; name one of them",
    ),
    Mistake(
        id="a report of an unknown campaign",
        typed="report fkae",
        says=("no campaign 'fkae' in {storage}; there are: fake; did you mean fake?; one study is named by --study"),
    ),
    Mistake(
        id="a report of an unknown study",
        typed="report --study fake/digits-mlp/sdg",
        says=(
            "no study 'fake/digits-mlp/sdg' in the storage; there are fake/digits-mlp/sgd; did you mean "
            "fake/digits-mlp/sgd?"
        ),
    ),
    Mistake(
        id="a report of a file that is not there",
        typed="report fake.toml",
        says="fake.toml: cannot be read: No such file or directory",
    ),
    Mistake(
        id="a report of two objectives",
        typed="report --study both",
        storage="empty",
        prepare=two_objectives,
        says=(
            "study 'both' has 2 objectives, and a sensitivity is of one: name it with --objective N (0 is values[0] "
            "(minimize), 1 is values[1] (maximize))"
        ),
    ),
    Mistake(
        id="a report of an objective that is not there",
        typed="report --study both --objective 2",
        storage="empty",
        prepare=two_objectives,
        says="study 'both' has no objective 2: 0 is values[0] (minimize), 1 is values[1] (maximize)",
    ),
    Mistake(
        id="a report of a second objective of a study with one",
        typed="report --study fake/digits-mlp/sgd --objective 1",
        says="study 'fake/digits-mlp/sgd' has no objective 1: 0 is accuracy (maximize)",
    ),
    Mistake(
        id="a report of an objective of a campaign",
        typed="report fake --objective 0",
        says="--objective is of one study; name it with --study NAME",
    ),
    Mistake(
        id="a report of a negative objective",
        typed="report --study both --objective -1",
        says="Invalid value for '--objective': -1 is not in the range x>=0; see: sofim report --help",
    ),
    Mistake(
        id="a report about an optimizer that the campaign does not have",
        typed="report fake --about sdg",
        says="--about sdg: the campaign has sgd; did you mean sgd?",
    ),
    Mistake(
        id="a report of a study about an optimizer",
        typed="report --study fake/digits-mlp/sgd --about sgd",
        says="--about is of a campaign, over whose workloads the questions are answered",
    ),
    Mistake(
        id="a report by two rules",
        typed="report fake",
        storage="empty",
        prepare=two_protocols,
        says=(
            "the studies were made by different rules (protocols 0 and 2), so that their values do not "
            "compare; report on each with --study"
        ),
    ),
    Mistake(
        id="a report into a file",
        typed="report fake --out page",
        files={"page": ""},
        says="Invalid value for '--out': Directory 'page' is a file; see: sofim report --help",
    ),
    Mistake(
        id="a report below a file",
        typed="report fake --out page/report",
        files={"page": ""},
        says="cannot write the report to 'page/report': Not a directory; choose another --out",
    ),
    Mistake(
        id="a report where nothing can be made",
        typed="report fake --out /proc/sofim",
        says="cannot write the report to '/proc/sofim': No such file or directory; choose another --out",
    ),
    Mistake(
        id="a report to where one may not write",
        typed="report fake --out sealed",
        prepare=sealed,
        as_nobody=True,
        says="cannot write the report to 'sealed': Permission denied; choose another --out",
    ),
    Mistake(
        id="a report over another page",
        typed="report fake --out site",
        files={"site/index.html": "<h1>My site</h1>"},
        says="'site/index.html' is there and is no report; choose another --out",
    ),
    Mistake(
        id="a report with a negative seed",
        typed="report fake --seed -1",
        says="Invalid value for '--seed': -1 is not in the range x>=0; see: sofim report --help",
    ),
    Mistake(
        id="an export of nothing that ended",
        typed="export fake",
        storage="empty",
        prepare=nothing_ended,
        says=(
            "no trial of fake ran its whole budget, so there is nothing to recommend; see how they ended with: sofim "
            "status fake --storage {storage}"
        ),
    ),
]
