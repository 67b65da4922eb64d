"""A campaign: what to tune, on what, how often and by which rules, read from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from search_spaces import SearchSpace, configured, from_dict
from search_spaces.errors import UserError, shown, suggestion
from studies.campaign._checks import (
    MOST,
    TARGETS,
    WHOLE_NUMBER,
    check_different,
    check_epochs,
    check_name,
    check_optimizers,
    check_table,
    check_targets,
    check_workloads,
    line_of,
    one_of,
)
from studies.campaign.initial import Starts
from studies.training.schedules import SCHEDULES

SAMPLERS = ("tpe", "random", "qmc", "gp", "cmaes")
"""Who may propose configurations."""

PRUNERS = ("hyperband", "asha", "median", "none")
"""Who may stop bad trials early."""

_DATA = {"spaces": "did you mean search_space?", "starts": "give the launch --from FILE"}  # fields that are no keys

_PRESETS = Path(__file__).parent / "presets"
_PRESET_NAMES = ("quickstart", "fashion", "paper")

Names = Annotated[tuple[StrictStr, ...], Field(min_length=1), AfterValidator(check_different)]


class Campaign(BaseModel):
    """What one launches: every optimizer is tuned on every workload, ``trials`` times each.

    Each field's description says what is allowed.

    Args:
        name: Part of the names of its studies.
        workloads: Keys of ``studies.workloads.WORKLOADS``, or ``"package.module:factory"`` for one's own.
        optimizers: Keys of ``sofim.OPTIMIZERS``.
        trials: Number of trials of each study.
        sampler: Who proposes configurations.
        pruner: Who stops bad trials early.
        schedule: Of the learning rate, the same for every optimizer.
        seed: Of configurations, initial weights and data order.
        amp: Whether GPUs compute in bfloat16 where that is safe.
        epochs: Epoch budget of a trial, for all workloads or by workload, instead of the workload's own.
        replicates: How often every study is made. The first is the study; the others repeat its search with other
            random numbers, configurations and initial weights alike, and tell how much the search itself varies.
        targets: By workload, the value of the metric that counts as reached in times to target, instead of what the
            best optimizer reaches.
        search_space: Changes to the search spaces by optimizer, as in ``[search_space.<optimizer>]`` tables.
        starts: Configurations to begin with, by optimizer and workload, see `studies.campaign.initial`. Not
            for campaign files.
        spaces: The search spaces that result, by optimizer, as data. Not for campaign files: it is filled in when a
            campaign is made and stored with it, so that a campaign keeps its ranges when the defaults change.

    Raises:
        pydantic.ValidationError: A field is not allowed. `from_file`, `from_stored` and `with_overrides` raise a
            `UserError` of one line instead.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[StrictStr, AfterValidator(check_name)] = Field(description="a name of 1 to 64 characters")
    workloads: Names = Field(description='a list of workloads, such as ["digits-mlp"]')
    optimizers: Names = Field(description='a list of optimizers, such as ["sofim", "sgd"]')
    trials: StrictInt = Field(ge=1, le=MOST, description=WHOLE_NUMBER)
    sampler: Annotated[StrictStr, AfterValidator(one_of(SAMPLERS))] = Field(
        "tpe", description=f"one of {', '.join(SAMPLERS)}"
    )
    pruner: Annotated[StrictStr, AfterValidator(one_of(PRUNERS))] = Field(
        "hyperband", description=f"one of {', '.join(PRUNERS)}"
    )
    schedule: Annotated[StrictStr, AfterValidator(one_of(SCHEDULES))] = Field(
        "constant", description=f"one of {', '.join(SCHEDULES)}"
    )
    seed: StrictInt = Field(0, ge=0, lt=2**32, description=f"a whole number from 0 to {2**32 - 1}")
    amp: StrictBool = Field(False, description="true or false")
    epochs: Annotated[int | dict[str, int] | None, BeforeValidator(check_epochs)] = Field(
        None, description=f"{WHOLE_NUMBER}, or a table of these by workload"
    )
    replicates: StrictInt = Field(1, ge=1, le=100, description="a whole number from 1 to 100")
    targets: Annotated[dict[str, float], BeforeValidator(check_targets)] = Field(
        default_factory=dict, description=TARGETS
    )
    search_space: dict[str, dict[str, object]] = Field(
        default_factory=dict, description="a table [search_space.<optimizer>] for each optimizer to change"
    )
    starts: dict[str, dict[str, dict[str, object]]] = Field(default_factory=dict, description="data")
    spaces: dict[str, dict[str, object]] = Field(default_factory=dict, validate_default=True, description="data")

    @field_validator("spaces")
    @classmethod
    def _look_up(cls, spaces: dict[str, dict[str, object]], info: ValidationInfo) -> dict[str, dict[str, object]]:
        """Check all names and return the search space of every optimizer, made now where ``spaces`` has none yet."""
        found = info.data
        if not {"workloads", "optimizers", "epochs", "targets", "search_space"} <= found.keys():
            return spaces  # one of them is wrong, which is reported
        if not spaces:
            # A stored campaign brings its spaces: it was checked when it was made, and must stay readable later.
            check_workloads(found["workloads"])
            check_table("epochs", found["epochs"], found["workloads"])
            check_table("targets", found["targets"], found["workloads"])
            check_optimizers("optimizers", found["optimizers"])
            check_optimizers("search_space", tuple(found["search_space"]))
        filled = dict(spaces)
        for optimizer in dict.fromkeys((*found["optimizers"], *found["search_space"])):
            if optimizer not in filled:
                filled[optimizer] = _space_as_data(optimizer, found["search_space"].get(optimizer, {}))
        return {optimizer: filled[optimizer] for optimizer in found["optimizers"]}

    @classmethod
    def of(cls, **fields: object) -> Self:
        """Return the campaign of these fields.

        Raises:
            UserError: A value is not allowed.
        """
        return cls._made(None, fields)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Return the campaign that a TOML file describes.

        Raises:
            UserError: The file cannot be read, is not TOML, or has a mistake: one line with file, key, value and what
                is allowed.
        """
        table = _read_toml(path)
        for key, meant in _DATA.items():
            if key in table:
                raise UserError(f"{path}: {key} is not a key of a campaign; {meant}")
        return cls._made(str(path), {**table, "search_space": _anchored(table.get("search_space", {}), path.parent)})

    @classmethod
    def from_stored(cls, data: Mapping[str, object]) -> Self:
        """Return the campaign that `stored` described.

        Raises:
            UserError: It was stored by a version whose campaigns were different.
        """
        try:
            return cls._made(f"stored campaign {shown(data.get('name'))}", data)
        except UserError as error:
            raise UserError(
                f"{error}; it was stored by another version: go on with that, or launch its file under another --name"
            ) from None

    def stored(self) -> dict[str, object]:
        """Return the whole campaign, search spaces included, as JSON can hold it.

        Without ``replicates``, ``targets`` and ``starts`` where it asks for none: so were campaigns stored before these
        were there, and they go on.
        """
        asked_for = {"replicates": self.replicates != 1, "targets": bool(self.targets), "starts": bool(self.starts)}
        return self.model_dump(mode="json", exclude={key for key, needed in asked_for.items() if not needed})

    def with_overrides(
        self,
        *,
        name: str | None = None,
        workloads: Sequence[str] | None = None,
        optimizers: Sequence[str] | None = None,
        trials: int | None = None,
        seed: int | None = None,
    ) -> Self:
        """Return this campaign with every argument that is not ``None`` in place of its own.

        Raises:
            UserError: A value is not allowed.
        """
        changes = {"name": name, "workloads": workloads, "optimizers": optimizers, "trials": trials, "seed": seed}
        data = self.model_dump() | {key: value for key, value in changes.items() if value is not None}
        try:
            if workloads is not None:
                check_workloads(workloads)
                for table in ("epochs", "targets"):
                    if isinstance(data[table], dict):
                        data[table] = {key: value for key, value in data[table].items() if key in workloads}
            if optimizers is not None:
                check_optimizers("optimizers", optimizers)
                data["starts"] = {key: start for key, start in self.starts.items() if key in optimizers}
                data["spaces"] = {key: space for key, space in self.spaces.items() if key in optimizers} or {}
        except ValueError as error:
            raise UserError(str(error)) from None
        return self._made(None, data)

    def starting_from(self, starts: Starts) -> Self:
        """Return this campaign with configurations to begin with."""
        return self._made(None, self.model_dump() | {"starts": starts})

    def space(self, optimizer: str) -> SearchSpace:
        """Return the search space of one of the campaign's optimizers.

        Raises:
            KeyError: ``optimizer`` is not one of them.
            UserError: It was stored with a parameterization that this version does not have.
        """
        data = self.spaces[optimizer]
        try:
            return from_dict(data)
        except UserError as error:
            raise UserError(f"campaign {self.name}: {error}") from None

    def epochs_for(self, workload: str, default: int) -> int:
        """Return the epoch budget of a trial on ``workload``, whose own budget is ``default``."""
        if isinstance(self.epochs, dict):
            return self.epochs.get(workload, default)
        return default if self.epochs is None else self.epochs

    @classmethod
    def _made(cls, source: str | None, data: Mapping[str, object]) -> Self:
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            line = line_of(error, cls, [key for key in cls.model_fields if key not in _DATA])
            raise UserError(line if source is None else f"{source}: {line}") from None


def presets() -> dict[str, Campaign]:
    """Return the campaigns that ship with the package, by name."""
    return {name: Campaign.from_file(_PRESETS / f"{name}.toml") for name in _PRESET_NAMES}


def load(name: str | Path) -> Campaign:
    """Return the preset of that name, or the campaign that a TOML file describes.

    Raises:
        UserError: There is neither, or the file has a mistake.
    """
    if name in _PRESET_NAMES:
        return Campaign.from_file(_PRESETS / f"{name}.toml")
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return Campaign.from_file(path)
    near = suggestion(str(name), _PRESET_NAMES)
    raise UserError(
        f"no campaign {shown(str(name))}: it is neither a preset ({', '.join(_PRESET_NAMES)}) nor a TOML file{near}"
    )


def _read_toml(path: Path) -> dict[str, object]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UserError(f"{path}: is not a campaign: its values are nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError is one; dates and integers out of range raise plain ones
        lines = text.splitlines() or [""]
        end = f"at line {len(lines)}, column {len(lines[-1]) + 1}"
        reason = " ".join(str(error).replace("at end of document", end).split())
        raise UserError(f"{path}: is not valid TOML: {reason}") from None


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


def _space_as_data(optimizer: str, table: dict[str, object]) -> dict[str, object]:
    try:
        return configured(optimizer, table).to_dict()
    except UserError as error:
        raise ValueError(f"search_space.{optimizer}: {error}") from None
