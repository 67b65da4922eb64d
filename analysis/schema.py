"""What the database is called and holds: names of studies, their attributes, those of trials, columns of a history.

Whoever writes the database and whoever reads it imports this, and this imports nothing of either. Any program may call
its study ``a/b/c``, and an attribute of it ``campaign`` or ``metric``. A study is a campaign's only if all that a
campaign stores with it is there, is of the right kind, and agrees with the study's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PROTOCOL = 2
"""Version of the rules that make values comparable."""

CONFIRM = "/confirm"
"""What the name of a study with confirmation runs ends in."""

EVALUATE = "/evaluate"
"""What the name of a study with evaluation runs ends in."""

LOST = "driver lost"
"""The ``failure`` of a trial that nobody could end."""

INTERRUPTED = "interrupted"
"""The ``failure`` of a trial that was to stop with its driver."""

ASKED_AGAIN = (LOST, INTERRUPTED)
"""Failures of trials that are, or will be, asked again."""

MAX_FAILURES_IN_A_ROW = 10
"""A study stops after so many trials that failed in a row."""

COUNTED = ("complete", "pruned", "diverged", "failed")
"""How trials end that count."""

OUTCOMES = ("complete", "pruned", "infeasible", "diverged", "failed", "lost", "running")
"""How trials may stand, those of other programs included."""

HISTORY = ("epoch", "seconds", "gradient_evaluations", "train_loss", "validation_loss")
"""Columns of a trial's ``history``, an entry an epoch, beside the metric's."""

DRAWN_BY = "drawn_by"
"""The user attribute of a trial that tells whose its configuration is; trials of protocol 1 have none."""

DRAWERS = ("given", "random", "model")
"""Whose: the default or a person's; an independent draw's, a sampler's start-up included; the sampler's model's."""

TRIAL_FACTS = ("seconds", "gradient_evaluations", "diverged", "failure", "seed", DRAWN_BY)
"""User attributes of every trial that frames show."""

CONFIRMATION_FACTS = {
    "confirms": "Int64",
    "rank": "Int64",
    "exclusive": "boolean",
    "device": "object",
    "other_cores": "float64",
    "cores": "Int64",
}
"""Further user attributes of confirmation runs, each with the type of its column in a frame."""

ROLE = "role"
"""The user attribute of a confirmation run that says what was run; without it, it is a winner."""

WINNER, DEFAULT, STEP = "winner", "default", "step"
"""Roles: a winner, the default of the search space, and what lies on the path from there to the winner."""

PATH_FACTS = {"step": "Int64", "changed": "object", "path_to": "Int64"}
"""User attributes of a run on such a path, each with the type of its column in a frame: the place on it from 1, the
parameter that was changed last, and the number of the trial in the search that it leads to."""

EVALUATES = "evaluates"
"""The user attribute of an evaluation run that holds what it was given: the stored configuration, fixed values too."""

AS_TYPED = "as_typed"
"""The key of such a configuration that is nobody's recommendation, but what people type: it holds how they do."""

TEST_PREFIX = "test_"
"""What user attributes of confirmation runs begin with that come from test data."""

ENDED_BY = "ended_by"
"""The user attribute of a campaign's first study that says why studies ended before their last trial, by their names:
a budget of time, or trials without an improvement."""

WIDENED = "widened"
"""The user attribute of a study that lists ranges that were widened: ``parameter``, ``from``, ``to``, and ``after`` how
many trials, those that were asked again included."""

SEEDS_ASKED = "seeds_asked"
"""The user attribute of a study of confirmation runs that says on how many seeds its winner was to be run: ``of`` which
trial, and ``numbers``, each greater than that before it, which is on how many the runs had ended by then."""

CONFIRMED_ELSEWHERE = "confirmed_elsewhere"
"""The user attribute of a study that was begun when winners of two optimizers or more could be compared on other
workloads of its campaign: the names of these. Studies of earlier versions have none."""

CAMPAIGN_RULES = ("purpose", "sampler", "pruner", "schedule", "warmup", "decay", "batch_size", "seed")
"""Keys of a campaign's configuration that say how it searched and trained; those that say nothing are not stored."""

_PASSED_OVER = "lost"  # the outcome of a trial that is asked again, under another number


def given_up_at(outcomes: Iterable[str]) -> int | None:
    """Return the place of the trial with which too many in a row had failed for its study to go on, if there is one.

    Rows are of the order in which trials were asked for, which no restart and no number of workers changes. A trial
    that runs may not fail, and ends a row.

    Args:
        outcomes: Of the trials of a study, in the order of their numbers.

    >>> given_up_at(["complete", *["failed"] * 4, "lost", *["failed"] * 6, "complete"])
    11
    >>> given_up_at([*["failed"] * 5, "running", *["failed"] * 5])
    """
    row = 0
    for place, outcome in enumerate(outcomes):
        if outcome != _PASSED_OVER:
            row = row + 1 if outcome == "failed" else 0
        if row == MAX_FAILURES_IN_A_ROW:
            return place
    return None


_ASIDE = re.compile(rf"(/replicate-[1-9][0-9]*)?({CONFIRM}|{EVALUATE})?")  # may follow campaign/workload/optimizer
_PARTS = re.compile(rf"([^/]+)/([^/]+)/([^/]+?){_ASIDE.pattern}")


def ended_by(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return why studies ended before their last trial, by the attributes of a study; empty where it does not say."""
    said = attributes.get(ENDED_BY)
    return {str(name): str(reason) for name, reason in said.items()} if isinstance(said, Mapping) else {}


def seeds_begun(asked: Mapping[str, Any], ended: int) -> list[int]:
    """Return on how many seeds a winner was to be run, one number a time that more were asked for and run.

    Args:
        asked: The attribute `SEEDS_ASKED`.
        ended: On how many the winner's runs have ended.

    >>> seeds_begun({"numbers": [3, 10]}, 4), seeds_begun({"numbers": [3, 10]}, 3)
    ([3, 10], [3])
    """
    numbers = list(asked["numbers"])
    while len(numbers) > 1 and ended <= numbers[-2]:
        numbers.pop()
    return numbers


def study_name(campaign: str, workload: str, optimizer: str, replicate: int = 1) -> str:
    """Return the name of the study of one search.

    >>> study_name("mine", "digits-mlp", "sofim"), study_name("mine", "digits-mlp", "sofim", 2)
    ('mine/digits-mlp/sofim', 'mine/digits-mlp/sofim/replicate-2')
    """
    return f"{campaign}/{workload}/{optimizer}" + (f"/replicate-{replicate}" if replicate > 1 else "")


@dataclass(frozen=True, slots=True)
class Maker:
    """Who made a study.

    Attributes:
        campaign: The name of the campaign whose study it is; empty for a study of another program.
        damage: Names of the attributes of a campaign's study that are missing, or are not what a campaign stores.
    """

    campaign: str = ""
    damage: tuple[str, ...] = ()

    @property
    def is_campaign(self) -> bool:
        """Whether it is a campaign's study, and whole."""
        return bool(self.campaign) and not self.damage


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_names(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_name, value))


def _is_campaign(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    trials = value.get("trials")
    return (
        _is_name(value.get("name"))
        and all(_are_names(value.get(key)) for key in ("workloads", "optimizers"))
        and (trials is None or _is_count(trials))  # a search that ends with its time has none
    )


_NEEDED: Mapping[str, Callable[[object], bool]] = {
    "campaign": _is_campaign,
    "workload": _is_name,
    "optimizer": _is_name,
    "metric": _is_name,
    "protocol": _is_count,
}
_OPTIONAL: Mapping[str, Callable[[object], bool]] = {  # of later versions
    "replicate": lambda value: _is_count(value) and value != 0,
    "resplit": lambda value: isinstance(value, bool),
    "versions": lambda value: isinstance(value, Mapping),
    "search_space": lambda value: isinstance(value, Mapping),
    "metric_split": _is_name,
    "kind": _is_name,
    "metric_scale": lambda value: value in ("linear", "log"),
    "metric_bounds": lambda value: isinstance(value, Sequence) and len(value) == 2,
    "data": lambda value: isinstance(value, Mapping),
    CONFIRMED_ELSEWHERE: _are_names,
    "target_origin": lambda value: isinstance(value, str),
    "target": lambda value: value is None or (isinstance(value, int | float) and not isinstance(value, bool)),
}


def maker_of(study: str, attributes: Mapping[str, Any]) -> Maker:
    """Return who made a study, from its name and its user attributes.

    >>> maker_of("crystal", {"campaign": {"name": "autumn", "beamline": 7}, "protocol": "v3"})
    Maker(campaign='', damage=())
    """
    wrong = [key for key, fits in _NEEDED.items() if not fits(attributes.get(key))]
    wrong += [key for key, fits in _OPTIONAL.items() if key in attributes and not fits(attributes[key])]
    if not wrong:
        name = str(attributes["campaign"]["name"])
        rest = study.removeprefix(f"{name}/{attributes['workload']}/{attributes['optimizer']}")
        return Maker(name) if rest != study and _ASIDE.fullmatch(rest) else Maker()
    parts = _PARTS.fullmatch(study)
    if parts is None or not _agrees(attributes, wrong, *parts.group(1, 2, 3)):
        return Maker()
    return Maker(parts[1], tuple(wrong))


def _agrees(attributes: Mapping[str, Any], wrong: list[str], campaign: str, workload: str, optimizer: str) -> bool:
    """Return whether what is whole of a study's attributes can only be of the campaign that its name tells."""
    expected = {"workload": workload, "optimizer": optimizer}
    if any(attributes[key] != name for key, name in expected.items() if key not in wrong):
        return False
    if "campaign" not in wrong:
        stored = attributes["campaign"]
        return bool(stored["name"] == campaign and workload in stored["workloads"])
    return not {"workload", "optimizer", "metric", "protocol"} & {*wrong} and {"search_space", "versions"} <= {
        *attributes
    }.difference(wrong)
