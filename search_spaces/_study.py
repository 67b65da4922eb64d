"""Which studies of a database are a campaign's: what those who write them and those who read them agree on.

Any program may call its study ``a/b/c``, and an attribute of it ``campaign`` or ``metric``. A study is a campaign's
only if all that a campaign stores with it is there, is of the right kind, and agrees with the study's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_ASIDE = re.compile(r"(/replicate-[1-9][0-9]*)?(/confirm|/evaluate)?")  # what may follow campaign/workload/optimizer
_PARTS = re.compile(rf"([^/]+)/([^/]+)/([^/]+?){_ASIDE.pattern}")


@dataclass(frozen=True, slots=True)
class Maker:
    """Who made a study.

    Attributes:
        campaign: the name of the campaign whose study it is; empty for a study of another program.
        damage: names of the attributes of a campaign's study that are missing, or are not what a campaign stores.
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
    "versions": lambda value: isinstance(value, Mapping),
    "search_space": lambda value: isinstance(value, Mapping),
    "metric_split": _is_name,
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
    found = _PARTS.fullmatch(study)
    if found is None or not _agrees(attributes, wrong, *found.group(1, 2, 3)):
        return Maker()
    return Maker(found[1], tuple(wrong))


def _agrees(attributes: Mapping[str, Any], wrong: list[str], campaign: str, workload: str, optimizer: str) -> bool:
    """Return whether what is whole of a study's attributes can only be of the campaign that its name tells."""
    told = {"workload": workload, "optimizer": optimizer}
    if any(attributes[key] != name for key, name in told.items() if key not in wrong):
        return False
    if "campaign" not in wrong:
        stored = attributes["campaign"]
        return bool(stored["name"] == campaign and workload in stored["workloads"])
    return not {"workload", "optimizer", "metric", "protocol"} & {*wrong} and {"search_space", "versions"} <= {
        *attributes
    }.difference(wrong)
