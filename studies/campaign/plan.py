"""What is to be run: a campaign with all that it names looked up, as it is stored, and each of its studies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from pydantic import ValidationError

from analysis.text import listing
from search_spaces import BATCH_SIZE, CustomSpace, SearchSpace, Space, configured, fewest_trials, from_dict
from search_spaces.errors import UserError, shown
from studies.campaign._checks import (
    check_custom,
    check_optimizers,
    check_schedule,
    check_table,
    check_workloads,
    first_mistake,
)
from studies.campaign.functions import spaces_without_optimizer, without_optimizer
from studies.campaign.model import Campaign

InitialConfigurations = Mapping[str, Mapping[str, Mapping[str, object]]]
"""Stored values by optimizer, workload and parameter."""

_UNSAID = {
    "purpose": "comparison",
    "warmup": 0.0,
    "decay": None,
    "batch_size": None,
    "replicates": 1,
    "resplit": False,
    "targets": {},
    "optimizer": {},
}
"""Keys that are not stored where a campaign says nothing of them, as before there were these."""

WHERE_TOLD = ("schedule", "kind", "data", "target_origin", "metric_bounds")
"""Of the plan of a study, what its study says where there is any."""

FITTED = "spaces_fit"
"""The key under which a campaign stores to how many trials its search spaces were fitted."""


@dataclass(frozen=True)
class CampaignPlan:
    """A campaign with the search spaces that result, so that it keeps its ranges when the defaults change.

    Attributes:
        campaign: What a person wrote.
        spaces: The search space of each of its optimizers.
        initial: Configurations to begin with, where the person gave some.
        fitted: The spaces are those of studies from so many trials (a value of ``FEWEST_TRIALS``), and stay so when
            trials or optimizers are added; ``None``: they are whole.
    """

    campaign: Campaign
    spaces: Mapping[str, SearchSpace]
    initial: InitialConfigurations = field(default_factory=dict)
    fitted: int | None = None

    @classmethod
    def of(
        cls,
        fields: Mapping[str, Any],
        overrides: Mapping[str, Any] | None = None,
        *,
        source: str | None = None,
        whole: bool = False,
    ) -> Self:
        """Return the plan of the campaign that has these fields.

        Args:
            fields: Of a `Campaign`.
            overrides: Fields that replace them.
            source: Where ``fields`` come from, for messages.
            whole: Search the whole spaces, however few the trials, as a campaign whose purpose is sensitivity does.

        Raises:
            UserError: A value is not allowed or a name is unknown: one line with source, key, value and what is
                allowed.
        """
        campaign = checked(fields, overrides or {}, source)
        # a table may wait for an optimizer that comes in later: it is looked at all the same
        waiting = [name for name in campaign.search_space if "spec" not in campaign.optimizer.get(name, {})]
        named = dict.fromkeys((*campaign.optimizers, *waiting))
        fitted = None if whole or campaign.purpose == "sensitivity" else fewest_trials(campaign.trials)
        spaces = {name: _configured(campaign, name, source, fitted) for name in named}
        return cls(campaign, {name: spaces[name] for name in campaign.optimizers}, fitted=fitted)

    def fitted_to(self, fitted: int | None) -> CampaignPlan:
        """Return this plan with the spaces of studies from so many trials; ``None``: whole ones."""
        if fitted == self.fitted:
            return self
        spaces = {name: _configured(self.campaign, name, None, fitted) for name in self.campaign.optimizers}
        return replace(self, spaces=spaces, fitted=fitted)

    @classmethod
    def from_stored(cls, data: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Self:
        """Return the plan that `stored` described.

        Its names were checked when it was made, and it must stay readable when they are gone.

        Args:
            data: What was stored.
            overrides: Fields of the campaign that replace those that were stored.

        Raises:
            UserError: It was stored by a version whose campaigns or search spaces were different, or an override is
                not allowed.
        """
        source = f"stored campaign {shown(data.get('name'))}"
        fields = dict(data)
        spaces, initial, fitted = fields.pop("spaces", {}), fields.pop("starts", {}), fields.pop(FITTED, None)
        try:
            campaign = _validated(fields, overrides or {}, source)
            for key, tables in (("spaces", spaces), ("starts", initial)):
                if not isinstance(tables, Mapping) or not all(isinstance(table, Mapping) for table in tables.values()):
                    raise UserError(f"{source}: {key} = {shown(tables)}: must be data")
            missing = [name for name in campaign.optimizers if name not in spaces]
            new = {name: _configured(campaign, name, source, fitted) for name in missing}
        except UserError as error:
            if not str(error).startswith(source):  # an override is wrong, which no other version mends
                raise
            raise UserError(
                f"{error}; it was stored by another version: go on with that, or launch its file under another --name"
            ) from None
        try:
            kept = {name: from_dict(spaces[name]) for name in campaign.optimizers if name in spaces}
        except UserError as error:
            raise UserError(f"campaign {campaign.name}: {error}") from None
        return cls(
            campaign,
            {name: kept.get(name) or new[name] for name in campaign.optimizers},
            {name: configurations for name, configurations in initial.items() if name in campaign.optimizers},
            fitted,
        )

    def stored(self) -> dict[str, Any]:
        """Return the whole of it as JSON can hold it.

        Without what it says nothing of: so were campaigns stored before there was such a key, and they go on.
        """
        unsaid = {key for key, value in _UNSAID.items() if getattr(self.campaign, key) == value}
        return {
            **self.campaign.model_dump(mode="json", exclude=unsaid),
            **({FITTED: self.fitted} if self.fitted is not None else {}),
            **({"starts": dict(self.initial)} if self.initial else {}),
            "spaces": {name: space.to_dict() for name, space in self.spaces.items()},
        }


def checked(fields: Mapping[str, Any], overrides: Mapping[str, Any], source: str | None) -> Campaign:
    """Return the campaign of ``fields`` with ``overrides``, all but its search spaces looked up.

    Raises:
        UserError: A value is not allowed or a name is unknown.
    """
    campaign = _validated(fields, overrides, source)
    try:
        check_workloads(campaign.workloads)
        check_table("epochs", campaign.epochs, campaign.workloads)
        check_table("targets", campaign.targets, campaign.workloads)
        known = (*campaign.optimizer, *spaces_without_optimizer(campaign))
        check_optimizers("optimizers", campaign.optimizers, known)
        check_optimizers("search_space", tuple(campaign.search_space), known)
        check_schedule(campaign.schedule, campaign.warmup)
    except UserError as error:
        raise _from(source, error) from None
    return campaign


def _validated(fields: Mapping[str, Any], overrides: Mapping[str, Any], source: str | None) -> Campaign:
    """Return the campaign of ``fields`` with ``overrides``, whose names alone are looked up.

    Entries of the tables by workload go with the workloads that are replaced; optimizers of one's own are added.
    """
    data = {**fields, **overrides}
    added, there = overrides.get("optimizer", {}), fields.get("optimizer", {})
    if added and isinstance(there, Mapping):
        for name in added:
            if there.get(name, added[name]) != added[name]:
                raise UserError(
                    f"--optimizer {added[name]['spec']}: its key is {name}, as that of another optimizer that the "
                    "campaign defines; give yours another"
                )
        data["optimizer"] = {**there, **added}
        names = data.get("optimizers")
        if isinstance(names, list | tuple):
            data["optimizers"] = (*names, *(name for name in added if name not in names))
    custom, alone = data.get("optimizer"), without_optimizer({**data, "optimizers": fields.get("optimizers")})
    known = (*(custom if isinstance(custom, Mapping) else ()), *alone)
    check_optimizers("optimizers", overrides.get("optimizers", ()), known)
    left_out = [name for name in alone if name not in data["optimizers"]]
    if left_out:  # whose tables nobody else could wait for
        data["search_space"] = {name: table for name, table in data["search_space"].items() if name not in left_out}
    if "workloads" in overrides:
        kept, written = overrides["workloads"], fields.get("workloads")
        check_workloads(kept)
        gone = [name for name in written if name not in kept] if isinstance(written, list | tuple) else []
        for key in ("epochs", "targets"):
            if isinstance(data.get(key), Mapping):
                data[key] = {name: entry for name, entry in data[key].items() if name not in gone}
    try:
        campaign = Campaign.model_validate(data)
    except ValidationError as error:
        key, line = first_mistake(error, Campaign)
        raise _from(None if key in overrides else source, UserError(line)) from None
    alone_tables = dict.fromkeys(spaces_without_optimizer(campaign))
    for tables, written in ((added, None), (campaign.optimizer, source), (alone_tables, source)):
        try:
            check_custom(tables)
        except UserError as error:
            raise _from(written, error) from None
    return campaign


def _configured(campaign: Campaign, optimizer: str, source: str | None, fitted: int | None) -> SearchSpace:
    table, custom, where = dict(campaign.search_space.get(optimizer, {})), None, f"search_space.{optimizer}"
    written = campaign.optimizer.get(optimizer)
    if optimizer in spaces_without_optimizer(campaign):
        custom = CustomSpace(of_function=True)
    if written is not None:
        from studies.optimizers import space_of  # late: it brings torch

        custom = space_of(optimizer, written)
        if "spec" in written and not table:
            where, source = f"optimizer {written['spec']}", None
    try:
        if custom is not None and not custom.base and not table:
            lr = "low = 1e-5, high = 1e-2, log = true, default = 3e-4"
            raise UserError(f"it has no search space: write each of its parameters, as lr = {{ {lr} }}")
        if campaign.batch_size is not None:
            if BATCH_SIZE in table:
                own, of_all = shown(table[BATCH_SIZE]), campaign.batch_size
                raise UserError(f"{BATCH_SIZE} = {own}: the campaign has {of_all} for all; leave one of them out")
            table[BATCH_SIZE] = campaign.batch_size
        space = configured(optimizer, table, decay=campaign.decay, custom=custom)
        if custom is not None and custom.of_function:  # also where a file has it
            space = replace(space, of_function=True)
    except UserError as error:
        raise _from(source, UserError(f"{where}: {error}")) from None
    if isinstance(campaign.warmup, tuple) and not space.of_function:
        space = space.with_warmup(*campaign.warmup)
    return space if fitted is None else space.fitted(fitted)


def _from(source: str | None, error: UserError) -> UserError:
    return error if source is None else UserError(f"{source}: {error}")


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What a ledger needs to know of a study, all of it from the campaign and the workload.

    ``trials`` is ``None`` where something else than their number ends the study. ``initial`` are the stored
    configurations to begin with, in their order; without any it is the space's default. ``replicate`` counts the
    searches of one workload and optimizer. ``metric_scale`` and ``metric_bounds`` are the metric's, ``target`` the
    workload's own. ``split`` is the seed by which examples are drawn again, ``None`` where the workload's own parts
    stay. ``schedule`` is what the optimizer follows in place of the campaign's. ``kind`` is the workload's, of
    task. ``data`` are the files of a published data set (``PublishedDataset.facts``). ``target_origin`` says how
    the target came about. ``tested``: whether the workload has test data.
    """

    name: str
    workload: str
    optimizer: str
    metric: str
    direction: Literal["maximize", "minimize"]
    metric_split: str
    epochs: int
    trials: int | None
    sampler: str
    pruner: str
    seed: int
    space: Space
    initial: tuple[Mapping[str, Any], ...] = ()
    replicate: int = 1
    metric_scale: Literal["linear", "log"] = "linear"
    metric_bounds: tuple[float, float] | None = None
    target: float | None = None
    split: int | None = None
    schedule: str | None = None
    kind: str = ""
    data: Mapping[str, Any] | None = None
    target_origin: str = ""
    tested: bool = True

    def stored(self) -> dict[str, Any]:
        """Return what its study says of it, as JSON can hold it."""
        return {
            "workload": self.workload,
            "optimizer": self.optimizer,
            "metric": self.metric,
            "metric_split": self.metric_split,
            "metric_scale": self.metric_scale,
            "target": self.target,
            "search_space": self.space.to_dict(),
            "epochs": self.epochs,
            "replicate": self.replicate,
            "resplit": self.split is not None,
            **{name: value for name in WHERE_TOLD if (value := getattr(self, name))},
        }

    def why_changed(self, attributes: Mapping[str, Any], direction: str, anew: str) -> str | None:
        """Return why this does not go on with its study, begun on other data or to measure something else, else `None`.

        Args:
            attributes: Of the study.
            direction: Of the study.
            anew: How the person searches anew.
        """
        if files := self._other_files(attributes):
            return (
                f"study '{self.name}' was begun on other data ({listing(files)}); name their directory with --data, or "
                f"{anew}"
            )
        if changes := self._other_measure(attributes, direction):
            return (
                f"the workload of study '{self.name}' was changed since that was begun ({'; '.join(changes)}); change "
                f"it back, or {anew}"
            )
        return None

    def _other_files(self, attributes: Mapping[str, Any]) -> list[str]:
        """Return the files that are not those of the study with these ``attributes``, as far as both are known."""
        begun, now = ((data or {}).get("md5", {}) for data in (attributes.get("data"), self.data))
        return [name for name in now if begun.get(name, now[name]) != now[name]]

    def _other_measure(self, attributes: Mapping[str, Any], direction: str) -> list[str]:
        """Return why values are not those of the study with these ``attributes``, as far as both are known, in words.

        The target is not among them: a study keeps the one that it was begun with.
        """
        begun = {**attributes, "direction": direction}
        names = ("metric", "direction", "metric_split", "metric_scale", "epochs")
        changed = {name: (begun.get(name), getattr(self, name)) for name in names}
        return [
            f"{name.replace('_', ' ')} was {old}, is {new}"
            for name, (old, new) in changed.items()
            if old is not None and old != new
        ]


def replicate_seed(seed: int, replicate: int) -> int:
    """Return the seed of a search: the campaign's for the first, another for each replicate, whatever it is called."""
    return seed if replicate == 1 else campaign_seed(seed, "replicate", replicate)


def campaign_seed(seed: int, *names: str | int) -> int:
    """Return a 32-bit seed that depends on the campaign's seed and on the names, the same on every machine."""
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return int.from_bytes(digest[:4], "little")
