"""What differs between two configurations of a campaign, and what a campaign becomes that is extended.

A configuration is here what a campaign stores of itself: JSON-able data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.schema import PROTOCOL

ANOTHER_NAME = "give this one another name with --name"
ANOTHER_NAME_FOR_CAMPAIGN = "give this campaign another name with --name"
_PER_OPTIMIZER = ("spaces", "search_space", "starts", "optimizer")
_PER_WORKLOAD = ("epochs", "targets")
_TYPED = {"starts": "starts (--from)"}  # keys that a person knows by an option


def extended(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the campaign ``stored`` with the trials, optimizers, workloads and wider ranges of ``asked``.

    Nothing is taken away: of the trials it has the larger number. What is said of an optimizer or a workload that it
    has stays, but that its search space is the one of ``asked`` where that widens it. All else is as it was; where
    ``asked`` differs there, the two cannot be one campaign.
    """
    grown = dict(stored)
    for key in ("workloads", "optimizers"):
        grown[key] = [*stored[key], *(name for name in asked[key] if name not in stored[key])]
    if isinstance(stored.get("trials"), int) and isinstance(asked.get("trials"), int):
        grown["trials"] = max(stored["trials"], asked["trials"])
    for keys, key_of_known in ((_PER_OPTIMIZER, "optimizers"), (_PER_WORKLOAD, "workloads")):
        for key in keys:
            before, now = stored.get(key), asked.get(key)
            if isinstance(now, Mapping) and (before is None or isinstance(before, Mapping)):
                new = {name: entry for name, entry in now.items() if name not in stored[key_of_known]}
                grown |= {key: {**(before or {}), **new}} if new else {}  # without any it stays as it was stored
    spaces, wider = grown.get("spaces", {}), asked.get("spaces", {})
    for name in stored["optimizers"]:
        if wider_ranges(spaces.get(name), wider.get(name)):
            for key in ("spaces", "search_space"):
                grown[key] = {**(grown.get(key) or {}), name: (asked.get(key) or {}).get(name, {})}
    return grown


def wider_ranges(before: object, now: object) -> list[dict[str, Any]]:
    """Return the ranges that are wider in the search space ``now`` than ``before``, as spaces are stored.

    Returns:
        One for each such parameter: ``parameter``, ``from`` and ``to``, ``[low, high]`` each on the stored scale. None
        if a range is narrower, or the spaces differ in more than ranges: then neither is the other made wider.
    """
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return []
    old, new = before.get("parameters"), now.get("parameters")
    if not isinstance(old, Mapping) or not isinstance(new, Mapping) or old.keys() != new.keys():
        return []
    rest, rest_now = ({k: v for k, v in space.items() if k != "parameters"} for space in (before, now))
    wider = []
    for name, range_ in old.items():
        was, is_ = ([one.get(key) for key in ("scale", "choices", "low", "high")] for one in (range_, new[name]))
        if was == is_:
            continue
        if was[:2] != is_[:2] or is_[2] > was[2] or is_[3] < was[3]:
            return []
        wider.append({"parameter": name, "from": was[2:], "to": is_[2:]})
    return wider if rest == rest_now else []


def join(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the campaign that a person means who asks for ``asked`` beside ``stored``, and why it cannot be.

    Returns:
        ``stored``, extended by ``asked``; and what differs in a way that no extension mends, a phrase a key.
    """
    joined = extended(stored, asked)
    return joined, differences(_sorted(joined), _sorted(extended(asked, stored)))


def _sorted(configuration: Mapping[str, Any]) -> dict[str, Any]:
    lists = {key: sorted(configuration[key]) for key in ("workloads", "optimizers")}
    return {**configuration, **lists}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two configurations of a campaign, one phrase a key.

    Reworded reasons are no difference.
    """
    phrases = []
    for key in sorted(before.keys() | now.keys()):
        old, new = _without_reasons(before.get(key)), _without_reasons(now.get(key))
        if old == new:
            continue
        if all(isinstance(one, dict | None) for one in (old, new)):  # such as search spaces: say whose, not all of them
            old, new = old or {}, new or {}
            names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
            of = f" of {', '.join(names)}" if names else ""
            phrases.append(f"{_TYPED.get(key, key)}{of} changed")
        else:
            phrases.append(f"{key} was {_shortly(old)}, is {_shortly(new)}")
    return phrases


def why_another(
    stored: Mapping[str, Any], asked: Mapping[str, Any], *, extend: bool = False, extensible: bool = True
) -> str | None:
    """Return why a driver does not go on with a campaign that is in the storage under its own's name, or ``None``.

    Args:
        stored: The one in the storage.
        asked: Its own.
        extend: Whether the former may be extended to the latter.
        extensible: Whether the person's command has ``--extend``.
    """
    changes = differences(extended(stored, asked) if extend else stored, asked)
    if not changes:
        return None
    remedy = ANOTHER_NAME
    if extend:
        remedy = f"--extend adds trials, optimizers or workloads, or widens ranges, and changes nothing else: {remedy}"
    elif extensible and not join(stored, asked)[1]:
        remedy += ", or add trials, optimizers, workloads or wider ranges to that one with --extend"
    return f"campaign '{asked['name']}' is in the storage with another configuration ({'; '.join(changes)}); {remedy}"


def why_other_rules(name: str, protocol: object, remedy: str = ANOTHER_NAME) -> str | None:
    """Return why nothing is added to a campaign that was run under other rules than today's, else ``None``."""
    if protocol == PROTOCOL:
        return None
    return (
        f"campaign '{name}' was run under protocol {protocol}, this is protocol {PROTOCOL}, and their values do not "
        f"compare; {remedy}"
    )


def _without_reasons(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_reasons(entry) for key, entry in value.items() if key != "reason"}
    return [_without_reasons(entry) for entry in value] if isinstance(value, list | tuple) else value


def _shortly(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
