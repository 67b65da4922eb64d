"""Campaigns that lie in files: those that ship with the package, and a person's own."""

from __future__ import annotations

import gc
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.errors import UserError, shown, suggestion
from studies.campaign.extension import differences
from studies.campaign.plan import FITTED, CampaignPlan, checked

PRESETS: Mapping[str, Path] = {
    name: Path(__file__).parent / "presets" / f"{name}.toml"
    for name in (
        "quickstart",
        "modern",
        "fashion",
        "cifar",
        "atlas",
        "atlas-rho",
        "atlas-sensitivity",
        "atlas-others",
        "paper",
    )
}
"""The files of the campaigns that ship with the package, by name."""

_NO_KEYS = {"spaces": "did you mean search_space?", "starts": "give the launch --from FILE"}  # they are only stored


def load(name: str | Path, overrides: Mapping[str, Any] | None = None) -> CampaignPlan:
    """Return the plan of the preset of that name, or of the campaign that a TOML file describes.

    Args:
        name: Of the preset or the file.
        overrides: Keys of the campaign that replace those of the file.

    Raises:
        UserError: There is neither, or the file or an override has a mistake.
    """
    if isinstance(name, str) and name in PRESETS:
        return load_file(PRESETS[name], overrides)
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return load_file(path, overrides)
    near = suggestion(str(name), PRESETS)
    raise UserError(
        f"no campaign {shown(str(name))}: it is neither a preset ({', '.join(PRESETS)}) nor a TOML file{near}"
    )


def load_file(path: Path, overrides: Mapping[str, Any] | None = None) -> CampaignPlan:
    """Return the plan of the campaign that a TOML file describes.

    Raises:
        UserError: The file cannot be read, is not TOML, or has a mistake: one line with file, key, value and what is
            allowed.
    """
    return CampaignPlan.of(_fields(path), overrides or {}, source=str(path))


def name_in_file(path: Path) -> str:
    """Return the name of the campaign that a TOML file describes; nothing that it names is imported.

    Raises:
        UserError: The file cannot be read, is not TOML, or has a mistake outside its search spaces.
    """
    return checked(_fields(path), {}, str(path)).name


def launched_again(stored: Mapping[str, Any]) -> list[str]:
    """Return the words that go on with a campaign of the storage, as it is there.

    The name of a preset means the preset; with ``--extend`` it means what was launched of it.
    """
    name = str(stored["name"])
    if name not in PRESETS:
        return ["launch", name]
    preset = load(name).fitted_to(stored.get(FITTED)).stored()
    return ["launch", name, *(["--extend"] if differences(stored, preset) else [])]


def _fields(path: Path) -> dict[str, object]:
    """Return the fields of the campaign that a TOML file describes."""
    table = _read_toml(path)
    for key, meant in _NO_KEYS.items():
        if key in table:
            raise UserError(f"{path}: {key} is not a key of a campaign; {meant}")
    optimizers = table.get("optimizers")
    if isinstance(optimizers, dict) and any(isinstance(entry, dict) for entry in optimizers.values()):
        raise _plural(path)
    return {**table, "search_space": _anchored(table.get("search_space", {}), path.parent)}


def _plural(path: Path) -> UserError:
    return UserError(
        f"{path}: optimizers is the list of names; the table of an optimizer of your own is called [optimizer.NAME]"
    )


def _read_toml(path: Path) -> dict[str, object]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    collecting = gc.isenabled()
    gc.disable()  # finalizers that run where the stack is nearly full fail, each with a line of its own on the screen
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UserError(f"{path}: is not a campaign: its values are nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError is one; dates and integers out of range raise plain ones
        if re.search(r"^\s*\[\s*optimizers\s*\.", text, re.MULTILINE):
            raise _plural(path) from None
        lines = text.splitlines() or [""]
        end = f"at line {len(lines)}, column {len(lines[-1]) + 1}"
        reason = " ".join(str(error).replace("at end of document", end).split())
        raise UserError(f"{path}: is not valid TOML: {reason}") from None
    finally:
        if collecting:
            gc.enable()


def _anchored(tables: object, directory: Path) -> object:
    """Return the ``search_space`` tables with each ``file`` looked for beside the campaign's file."""
    if not isinstance(tables, dict):
        return tables
    return {
        optimizer: {**table, "file": str(directory.joinpath(table["file"]).absolute())}
        if isinstance(table, dict) and isinstance(table.get("file"), str) and table["file"]
        else table
        for optimizer, table in tables.items()
    }
