"""What a name on the command line means: a campaign in a file, among the presets or in a storage."""

from __future__ import annotations

import json
import os.path
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from search_spaces.errors import UserError
from studies.called import command_line
from studies.commands.options import storage_again
from studies.commands.screen import make_console, say
from studies.storage.url import file_of, hide_password

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from studies.campaign.plan import CampaignPlan
    from studies.trials import Tally


def find_campaign(
    name: str, storage: str, overrides: Mapping[str, object] | None = None, *, stored_first: bool = False
) -> CampaignPlan:
    """Return the plan of a TOML file, a preset, or a campaign in the storage.

    Args:
        name: Of the file, the preset or the campaign.
        storage: URL of the database.
        overrides: Keys of the campaign that take the place of its own where they are not ``None``.
        stored_first: Whether a preset's name means the campaign in the storage, of which it may be a part, if it is
            there.
    """
    from search_spaces.errors import suggestion
    from studies.campaign.reading import PRESETS, load

    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    written = name in PRESETS or _is_file(name)
    if written and not (stored_first and name in PRESETS):
        return load(name, given)
    stored = stored_campaigns(storage, name)
    if name in stored:
        return _launched(stored[name], storage, given)
    if written:
        return load(name, given)
    there = f" ({', '.join(stored)})" if stored else ""
    raise UserError(
        f"no campaign '{name}': it is no preset ({', '.join(PRESETS)}), no TOML file, "
        f"and not in {without_password(storage)}{there}{suggestion(name, (*PRESETS, *stored))}"
    )


def as_begun(plan: CampaignPlan, storage: str) -> CampaignPlan:
    """Return ``plan`` with spaces for as many trials as those of the campaign of its name in the storage, if any.

    Whoever adds trials to a campaign, in its file as on the command line, goes on in the spaces that it has.
    """
    stored = stored_campaigns(storage, plan.campaign.name).get(plan.campaign.name)
    return plan if stored is None or "budget" in stored else _fitted_as(plan, stored)


def _fitted_as(plan: CampaignPlan, stored: Mapping[str, object]) -> CampaignPlan:
    """Return ``plan`` with spaces for as many trials as those of the campaign that is stored."""
    from studies.campaign.plan import FITTED

    return plan.fitted_to(cast("int | None", stored.get(FITTED)))


def grown(
    plan: CampaignPlan, storage: str, *, trials: int | None, note: Callable[[str], None] = lambda _line: None
) -> CampaignPlan:
    """Return the campaign of that name in the storage, with what ``plan`` has beyond it; ``plan`` if there is none.

    Args:
        plan: Of the campaign, as it was asked for.
        storage: URL of the database.
        trials: As they were asked for on the command line, if they were.
        note: Takes a line where there is no such campaign, and for each search space of the file that is not taken,
            since it widens none.

    Raises:
        UserError: It differs in more than additions.
    """
    from search_spaces.errors import number_of
    from studies.campaign.extension import differences, join
    from studies.campaign.plan import CampaignPlan

    name = plan.campaign.name
    stored = stored_campaigns(storage, name).get(name)
    if stored is None:
        note(f"There is no campaign '{name}' to extend in {without_password(storage)}: this is its first launch.")
        return plan
    before = _launched(stored, storage)
    if trials is not None and trials < before.campaign.trials:
        there = number_of(before.campaign.trials, "trial")
        raise UserError(
            f"--extend --trials {trials}: campaign '{name}' has {there} a study, and --extend "
            "takes nothing away; give at least that many, or another --name"
        )
    asked = plan.fitted_to(before.fitted).stored()
    joined, different = join(before.stored(), asked)
    if different:
        raise UserError(
            f"--extend adds trials, optimizers or workloads to campaign '{name}', or widens ranges, and changes "
            f"nothing else ({'; '.join(different)}); leave that as it was, or give this one another name with --name"
        )
    for key in plan.campaign.search_space:
        if key in asked["spaces"] and differences({"": joined["spaces"][key]}, {"": asked["spaces"][key]}):
            note(
                f"search_space.{key} is not taken: --extend widens ranges that '{name}' searches; else its space stays."
            )
    return CampaignPlan.from_stored(joined)


def campaign_name(name: str) -> str:
    """Return the name in the storage of a campaign that may be given by its TOML file."""
    from pathlib import Path

    from studies.campaign.reading import name_in_file

    return name_in_file(Path(name)) if _is_file(name) else name


def _is_file(name: str) -> bool:
    """Whether a campaign's file is meant; a directory of that name, such as one with its data, is no campaign."""
    return name.endswith(".toml") or os.path.isfile(name)  # noqa: PTH113 (Path raises for a long name)


def _exists(file: str) -> bool:
    return os.path.exists(file)  # noqa: PTH110 (Path raises for a name that no file can have)


def find_tuned(name: str, storage: str) -> CampaignPlan:
    """Return a campaign as it was tuned: by its name, or by the preset or file that it was launched from."""
    stored = stored_campaigns(storage, campaign_name(name))
    if name not in stored:
        plan = find_campaign(name, storage)
        tuned = plan.campaign.name
        if tuned in stored and _fitted_as(plan, stored[tuned]).stored() != stored[tuned]:
            say(
                make_console(),
                f"{name} is not as it was tuned; what is confirmed is campaign '{tuned}' in the storage.",
            )
        name = tuned
    if name not in stored:
        there = f"there are: {', '.join(stored)}" if stored else "there is none"
        raise UserError(f"no campaign '{name}' in {without_password(storage)} to confirm; {there}; launch it first")
    return _launched(stored[name], storage)


def _launched(stored: Mapping[str, Any], storage: str, overrides: Mapping[str, object] | None = None) -> CampaignPlan:
    """Return a campaign of the storage that ``sofim launch`` made."""
    from studies.campaign.plan import CampaignPlan

    if "budget" in stored:
        by, again = tuned_again(stored, storage)
        raise UserError(f"campaign '{stored['name']}' was made by {by}, which also goes on with it: {again}")
    return CampaignPlan.from_stored(stored, overrides)


def tuned_again(stored: Mapping[str, Any], storage: str) -> tuple[str, str]:
    """Return what made a search with a budget, and what one types to go on with it: all that it was asked for."""
    [workload] = stored["workloads"]
    rows = {name: str(table["spec"]) for name, table in stored.get("optimizer", {}).items()}
    among = [rows.get(name, name) for name in stored.get("optimizers", ())]
    usual = {"seed": 0, "epochs": None, "schedule": "constant", "seeds": 10}
    more = {key: stored[key] for key, value in usual.items() if stored.get(key, value) != value}
    asked: dict[str, Any] = {"name": str(stored["name"]), "budget": _budget(stored.get("budget") or {})} | more
    spaces = stored.get("search_space") or {}
    if not spaces and not any(name.startswith("__main__:") for name in (workload, *among)):
        options = [part for key, value in asked.items() for part in (f"--{key}", str(value))]
        of = ["--optimizers", ",".join(among)] if among else []
        return "sofim tune", command_line("tune", workload, *options, *of, *storage_again(storage))
    asked |= dict(zip(["storage"], storage_again(storage)[1:], strict=False))
    given = [_in_python(workload)]
    if spaces:  # which Python alone takes, and one of them
        given.append(f"search_space={next(iter(spaces.values()))!r}")
    elif among:
        given.append(f"optimizers=[{', '.join(map(_in_python, among))}]")
    given += [f"{key}={value!r}" for key, value in asked.items()]
    unknown = ", with metric and direction too if it was given them" if spaces else ""  # these are in no campaign
    return "studies.tune in a notebook or a script", f"studies.tune({', '.join(given)}){unknown}"


def _budget(stored: Mapping[str, Any]) -> str:
    """Return a stored budget as one types it; where it is not known, a usual one.

    >>> _budget({"seconds": 5400.0}), _budget({"seconds": 90.5}), _budget({"trials": 200})
    ('90min', '90.5s', '200')
    """
    if "trials" in stored:
        return str(stored["trials"])
    seconds = float(stored.get("seconds", 3600))
    size, unit = next((pair for pair in ((3600, "h"), (60, "min")) if seconds % pair[0] == 0), (1, "s"))
    return f"{seconds / size:.12g}{unit}"


def _in_python(name: str) -> str:
    """Return what a person writes in Python for a key, or for what a notebook or a script defines."""
    return name.removeprefix("__main__:") if name.startswith("__main__:") else repr(name)


def stored_campaigns(storage: str, wanted: str) -> dict[str, Mapping[str, object]]:
    """Return the campaigns in the storage by name; of a file that is not there, none.

    Raises:
        UserError: A study of the one that is ``wanted`` is damaged.
    """
    file = file_of(storage)
    if file is not None and not _exists(str(file)):
        return {}
    from analysis.load import check_whole, studies

    with existing(storage) as opened:
        check_whole(opened, wanted)
        return {str(study.campaign["name"]): study.campaign for study in studies(opened)}


@contextmanager
def existing(storage: str, *, written: bool = False) -> Iterator[BaseStorage]:
    """Return a storage that is there, closed afterwards.

    Args:
        storage: Its URL.
        written: Whether something is written to it, or may be meanwhile and is to be seen; else nothing of it changes.

    Raises:
        UserError: It cannot be opened, or refuses while it is read: a server that stopped, a disk that broke; or what
            is in it cannot be analysed.
    """
    from studies.storage.database import close_storage, open_storage
    from studies.storage.refusals import REFUSALS, unreadable

    opened = open_storage(storage, create=False, read_only=not written)
    try:
        yield opened
    except json.JSONDecodeError as error:  # a text that was cut off, as by a column that is too small for it
        raise unreadable(without_password(storage), ValueError(f"an entry is not JSON ({error})")) from error
    except REFUSALS as error:
        raise unreadable(without_password(storage), error) from error
    finally:
        close_storage(opened)


def without_password(storage: str) -> str:
    """Return the URL of a storage as it may be printed."""
    return hide_password(storage)


def check_any_worked(campaign: str, tallies: Sequence[Tally], storage: str) -> None:
    """Refuse to call it a result when no trial of a campaign did anything but fail.

    Raises:
        UserError: Every trial failed; the line says of what the last one did, and where in the user's code.
    """
    failed = sum(tally.failed for tally in tallies)
    if not failed or any(tally.done > tally.failed for tally in tallies):
        return
    from studies.training.failures import reason_of

    failure = reason_of(_last_failure(campaign, storage))
    all_failed = "its only trial failed" if failed == 1 else f"all of its {failed} trials failed, the last"
    raise UserError(
        f"campaign '{campaign}': {all_failed}: {failure}; mend that and run it under another name with --name"
    )


def _last_failure(campaign: str, storage: str) -> str:
    from analysis.load import studies, trials

    with existing(storage) as opened:
        found = trials(opened, studies(opened, campaign, replicates=True))
    return str(found["failure"].dropna().iloc[-1]).strip() or "?"
