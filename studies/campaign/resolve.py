"""A campaign made ready to run: its workloads and search spaces looked up, its data checked, a plan for each study."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.schema import study_name
from search_spaces import SearchSpace, fewest_trials
from search_spaces.errors import UserError, number_of
from search_spaces.samplers import SAMPLERS
from studies.campaign.functions import check_functions, spaces_without_optimizer
from studies.campaign.model import Campaign
from studies.campaign.plan import CampaignPlan, StudyPlan, campaign_seed, replicate_seed
from studies.data import DATASETS, PublishedDataset
from studies.modules import imported_from
from studies.workloads._targets import target_origins

if TYPE_CHECKING:
    from sofim import OptimizerSpec
    from studies.workloads import TrainingFunction, Workload
    from studies.workloads._pickled import Kind


@dataclass(frozen=True, slots=True)
class ResolvedCampaign:
    """A campaign with its workloads looked up and its data checked.

    Attributes:
        plan: Of the campaign, as it was asked for.
        workloads: By the campaign's name for them.
        data_directory: Where its data are; ``None``: the usual places.
        examples: Numbers of training examples by workload, as far as they are known; no batch size is larger.
        untested: Those of the workloads that have no test data.
        carried: Workloads and optimizers that cannot be imported: which of both, its name, and it, pickled.
        notes: What the person should know before it runs, a line each.
    """

    plan: CampaignPlan
    workloads: Mapping[str, Workload | TrainingFunction]
    data_directory: Path | None = None
    examples: Mapping[str, int] = field(default_factory=dict)
    untested: frozenset[str] = frozenset()
    carried: tuple[tuple[Kind, str, bytes], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def campaign(self) -> Campaign:
        """The campaign that a person wrote."""
        return self.plan.campaign

    def epochs(self, workload: str) -> int:
        """Return the epoch budget of a trial on ``workload``."""
        return self.campaign.epochs_for(workload, self.workloads[workload].epochs)

    def space(self, optimizer: str, workload: str) -> SearchSpace:
        """Return what is searched of ``optimizer`` on ``workload``."""
        space, examples = self.plan.spaces[optimizer], self.examples.get(workload)
        return space if examples is None else space.capped(examples)

    def study_plans(self) -> list[StudyPlan]:
        """Return a plan for each study, workload by workload, replicates beside each other.

        Within a replicate every optimizer has the same initial weights and data order; another replicate has others.
        """
        first, other = self.campaign.seed, _other_schedules(self.campaign)
        files, targets = self.files(), target_origins()
        return [
            StudyPlan(
                name=study_name(self.campaign.name, key, optimizer, number),
                workload=key,
                optimizer=optimizer,
                metric=workload.metric.name,
                direction=workload.metric.direction,
                metric_split=workload.metric.split,
                metric_scale=workload.metric.scale,
                metric_bounds=workload.metric.bounds,
                target=workload.target,
                kind=workload.kind,
                epochs=self.epochs(key),
                trials=self.campaign.trials,
                sampler=self.campaign.sampler,
                pruner=self.campaign.pruner,
                seed=replicate_seed(first, number),
                space=self.space(optimizer, key),
                replicate=number,
                split=campaign_seed(first, "split", number) if self._resplits(workload) else None,
                initial=self._initial(optimizer, key),
                schedule=other.get(optimizer),
                data=files.get(key),
                target_origin=targets.get(workload.name, ""),
                tested=key not in self.untested,
            )
            for key, workload in self.workloads.items()
            for optimizer in self.campaign.optimizers
            for number in range(1, self.campaign.replicates + 1)
        ]

    def files(self) -> dict[str, Mapping[str, Any]]:
        """Return what is known of the files of published data sets, by the campaign's names for the workloads."""
        rows = {key: DATASETS.get(getattr(workload, "dataset", None) or "") for key, workload in self.workloads.items()}
        return {key: row.facts(self.data_directory) for key, row in rows.items() if isinstance(row, PublishedDataset)}

    def _resplits(self, workload: Workload | TrainingFunction) -> bool:
        """Return whether the examples of a workload are drawn again: not those that an optimization is of.

        Nor those of a stream of batches, which are no rows.
        """
        from studies.workloads import TrainingFunction

        if isinstance(workload, TrainingFunction) or not self.campaign.resplit:
            return False
        return workload.metric.split != "train" and workload.sample is None

    def _initial(self, optimizer: str, workload: str) -> tuple[Mapping[str, object], ...]:
        """Return what the person says, and then what everybody would try first."""
        given = self.plan.initial.get(optimizer, {}).get(workload)
        return () if given is None else (given, self.plan.spaces[optimizer].default)


def resolve_campaign(
    plan: CampaignPlan, data_directory: Path | None = None, *, test: bool | None = False, rehearsed: bool = True
) -> ResolvedCampaign:
    """Look up the workloads of a campaign and check that its data are there and can be trained on.

    Args:
        plan: Of the campaign to be run.
        data_directory: Where its data are; ``None``: the usual places.
        test: Whether winners will be confirmed, so that test data must be there too. Else they are not looked at.
            ``None``: they are if there are any, and where examples are drawn again anyway.
        rehearsed: Whether each optimizer takes two steps on workloads of a person's own, and an optimizer of a person's
            own on all. What has been tuned did.

    Raises:
        UserError: A workload or an optimizer is wrong, data are missing or damaged, or training cannot work.
    """
    from studies.optimizers import resolve as optimizer_row
    from studies.training.rehearsal import rehearse, rehearse_custom
    from studies.workloads import TrainingFunction, check, resolve

    tables = custom_tables(plan.campaign)
    rows = {name: optimizer_row(name, tables) for name in plan.campaign.optimizers}
    workloads = {name: resolve(name) for name in plan.campaign.workloads}
    test = test or (None if plan.campaign.resplit else test)
    carried = _carried(workloads, tables)
    examples, notes, untested = {}, campaign_notes(plan), set()
    notes += check_functions(plan.campaign, workloads, rows)
    notes += [
        f"{optimizer}: schedule {followed} in place of {plan.campaign.schedule}, which its method replaces; a warm-up "
        "it has as all others."
        for optimizer, followed in _other_schedules(plan.campaign).items()
    ]
    for name, workload in workloads.items():
        if isinstance(workload, TrainingFunction):
            untested |= set() if workload.test else {name}
            continue
        data = check(workload, data_directory, test=test)
        examples[name] = workload.num_examples(data)
        untested |= set() if workload.is_tested(data) else {name}
        notes += _notes(workload, data, plan.spaces, plan.campaign.resplit)
        if ":" in name:
            with_test = workload.is_tested(data) if test is None else test
            rehearse(workload, data, plan.spaces if rehearsed else {}, rows, test=with_test)
        elif rehearsed:
            rehearse_custom(workload, data, plan.spaces, rows)
        if rehearsed:
            notes += _rates_of_their_own(workload, plan.spaces, rows)
    return ResolvedCampaign(plan, workloads, data_directory, examples, frozenset(untested), carried, tuple(notes))


def custom_tables(campaign: Campaign) -> dict[str, Mapping[str, Any]]:
    """Return the tables of those optimizers of a campaign that it defines itself.

    That of a search space without an optimizer is empty.
    """
    tables = {**campaign.optimizer, **{name: {} for name in spaces_without_optimizer(campaign)}}
    return {name: tables[name] for name in campaign.optimizers if name in tables}


def _carried(workloads: Iterable[str], tables: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[Kind, str, bytes], ...]:
    """Return what of a person's own cannot be imported, pickled."""
    from studies.workloads import content

    rows = [table["spec"] for table in tables.values() if "spec" in table]
    names: list[tuple[Kind, str]] = [*(("workload", name) for name in workloads), *(("optimizer", row) for row in rows)]
    pickled = ((kind, name, content(name, kind)) for kind, name in names)
    return tuple((kind, name, found) for kind, name, found in pickled if found is not None)


def _other_schedules(campaign: Campaign) -> dict[str, str]:
    """Return the optimizers that do not follow the campaign's schedule, each with the shape that it follows."""
    from studies.optimizers import resolve

    shape, tables = campaign.schedule.partition("+")[0], custom_tables(campaign)
    asked = {key: resolve(key, tables).schedule for key in campaign.optimizers}
    return {key: followed for key, followed in asked.items() if followed not in (None, shape)}


def _notes(workload: Workload, data: Any, spaces: Mapping[str, SearchSpace], resplit: bool) -> list[str]:
    """Return what of the data changes how they are trained on, a line each."""
    from search_spaces import BATCH_SIZE

    notes = []
    if resplit and workload.sample is not None:
        notes.append(
            f"{workload.name}: resplit does not draw its data again, as its batches come from its sample: every "
            "replicate has the same validation and test data."
        )
    if getattr(data, "loaders", ""):
        notes.append(
            f"{workload.name}: its DataLoader was read once, into memory; {data.loaders} are not used in training: "
            f"{BATCH_SIZE} is a parameter of the search spaces, and every epoch has a new order."
        )
    most = workload.num_examples(data)
    capped = [key for key, space in spaces.items() if space.capped(most) is not space]
    epoch = "" if workload.sample is None else " of an epoch"
    told: dict[str, list[str]] = {}  # optimizers by what is said of them
    for key in capped:
        told.setdefault(_capped(spaces[key].capped(most), most), []).append(key)
    notes += [
        f"{workload.name}: {BATCH_SIZE} of {', '.join(keys)} {said} training examples{epoch}."
        for said, keys in told.items()
    ]
    return notes


def _capped(space: SearchSpace, most: int) -> str:
    """Return how batches of a space are kept to so many examples, in words that these two follow."""
    from search_spaces import BATCH_SIZE

    if BATCH_SIZE in space.fixed:
        return f"is {most}, the number of"
    choices = [size for size in space.declared[BATCH_SIZE].choices if not isinstance(size, str)]
    if choices and max(choices) < most:
        return f"is one of {', '.join(map(str, choices))}, of which none is more than the {most}"
    return f"is searched up to {most}, the number of"


def _rates_of_their_own(
    workload: Workload, spaces: Mapping[str, SearchSpace], rows: Mapping[str, OptimizerSpec]
) -> list[str]:
    """Return a line for each optimizer with parameter groups that the searched learning rate does not reach.

    Raises:
        UserError: It reaches none of them.
    """
    from studies.training.parameter_groups import trained
    from studies.workloads._load import seeded

    notes = []
    for key, row in rows.items():
        if row.groups is None or "lr" not in spaces[key].search_distributions():
            continue
        with seeded():
            has = ["lr" in group for group in trained(row, workload.model()) if isinstance(group, dict)]
        if has and all(has):
            raise UserError(
                f"optimizer {key}: each of its parameter groups has an lr of its own, so that the lr that is searched "
                f"would change nothing; leave it out of a group, or give lr one value in [search_space.{key}]"
            )
        if any(has):
            notes.append(
                f"{key} on {workload.name}: {sum(has)} of its {number_of(len(has), 'parameter group')} "
                f"{'has an lr' if sum(has) == 1 else 'have lrs'} of its own, which the search does not change."
            )
    return notes


def campaign_notes(plan: CampaignPlan) -> list[str]:
    """Return what a person should know of the search that a campaign's file does not say, a line each."""
    campaign = plan.campaign
    notes = []
    if campaign.purpose == "sensitivity":
        sampler = SAMPLERS[campaign.sampler]
        seen = (
            "what is told of sensitivity is of where it looked"
            if sampler.learns
            else "what is told of sensitivity is of the whole ranges, and winners are those of random search"
        )
        pruner = "no pruner" if campaign.pruner == "none" else f"pruner {campaign.pruner}"
        notes.append(f"Purpose sensitivity: every parameter is searched, by {sampler.in_words}, {pruner}: {seen}.")
    unreached = [key for key, space in plan.spaces.items() if campaign.decay and campaign.decay not in space.decays]
    if unreached := [key for key in unreached if plan.spaces[key].decays]:
        only = plan.spaces[unreached[0]].decays[0]
        notes.append(f'decay = "{campaign.decay}" changes nothing of {", ".join(unreached)}: theirs is {only} alone.')
    if waiting := [key for key in campaign.optimizer if key not in campaign.optimizers]:
        are, them = ("is", "it") if len(waiting) == 1 else ("are", "them")
        notes.append(f"{', '.join(waiting)} {are} defined and not run: optimizers does not name {them}.")
    left_out = _left_out(plan.spaces)
    if left_out:
        trials = number_of(campaign.trials, "trial")
        same = plan.fitted == fewest_trials(campaign.trials)
        few = f"With {trials} a study" if same else "As when the campaign was begun"
        own = campaign.optimizer.keys() & plan.spaces.keys()
        notes.append(
            f"{few} these stay at their defaults: {left_out}; a range in [search_space.OPTIMIZER] searches one of them"
            f"{', of your own optimizers rank = 1 beside it' if own else ''}."
        )
    return notes


def _left_out(spaces: Mapping[str, SearchSpace]) -> str:
    """Return the parameters that are not searched since the trials are few, and of which optimizers."""
    of_parameter: dict[str, list[str]] = {}
    for optimizer, space in spaces.items():
        for name in space.fixed_below:
            of_parameter.setdefault(name, []).append(optimizer)
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, optimizers in of_parameter.items():
        alike.setdefault(tuple(optimizers), []).append(name)
    return "; ".join(f"{', '.join(names)} of {', '.join(optimizers)}" for optimizers, names in alike.items())


def user_code(resolved: ResolvedCampaign) -> tuple[Path, ...]:
    """Return the files with the user's own workloads and optimizers: a top package's directory, or a module's file.

    Of one that is carried, what was imported from the current directory, or from that of the script.
    """
    from studies.optimizers import code_of

    carried = {(kind, name) for kind, name, _ in resolved.carried}
    script = getattr(sys.modules["__main__"], "__file__", None)
    beside = {str(Path.cwd()), *([] if script is None else [str(Path(script).resolve().parent)])} if carried else ()
    found = [Path(place) for directory in sorted(beside) for place in imported_from(directory)]
    for name in resolved.workloads:
        if ":" in name and ("workload", name) not in carried:
            module = sys.modules[name.split(":")[0].split(".")[0]]
            path = getattr(module, "__path__", None)
            file = next(iter(path)) if path else module.__file__
            if file is None:
                raise UserError(f"workload {name}: its module has no file that could travel to the nodes")
            found.append(Path(file))
    for table in custom_tables(resolved.campaign).values():
        found += code_of(table)
    return tuple(dict.fromkeys(found))
