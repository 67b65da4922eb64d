"""A campaign made ready to run: its workloads and search spaces looked up, its data checked, a plan for each study."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces import SearchSpace
from search_spaces.errors import UserError
from studies.campaign.model import Campaign
from studies.campaign.plan import StudyPlan, campaign_seed
from studies.modules import imported_from

if TYPE_CHECKING:
    from studies.workloads import Data, Workload


@dataclass(frozen=True, slots=True)
class ResolvedCampaign:
    """A campaign with its workloads and search spaces looked up and its data checked.

    Attributes:
        campaign: as it was asked for.
        workloads: by the campaign's name for them.
        spaces: by optimizer, as the campaign has them.
        data_directory: where its data are; ``None``: the usual places.
        examples: numbers of training examples by workload, as far as they are known; no batch size is larger.
        tested: whether all of them have test data.
        carried: workloads that cannot be imported, by name, pickled.
        notes: what the person should know before it runs, a line each.
    """

    campaign: Campaign
    workloads: Mapping[str, Workload]
    spaces: Mapping[str, SearchSpace]
    data_directory: Path | None
    examples: Mapping[str, int] = field(default_factory=dict)
    tested: bool = False
    carried: tuple[tuple[str, bytes], ...] = ()
    notes: tuple[str, ...] = ()

    def epochs(self, workload: str) -> int:
        """Epoch budget of a trial on ``workload``."""
        return self.campaign.epochs_for(workload, self.workloads[workload].epochs)

    def space(self, optimizer: str, workload: str) -> SearchSpace:
        """What is searched of ``optimizer`` on ``workload``."""
        examples = self.examples.get(workload)
        return self.spaces[optimizer] if examples is None else self.spaces[optimizer].capped(examples)

    def study_plans(self) -> list[StudyPlan]:
        """One plan a study, workload by workload, replicates beside each other.

        Within a replicate every optimizer has the same initial weights and data order; another replicate has others.
        """
        from studies.campaign.plan import StudyPlan

        first = self.campaign.seed
        return [
            StudyPlan(
                name=f"{self.campaign.name}/{key}/{optimizer}" + (f"/replicate-{number}" if number > 1 else ""),
                workload=key,
                optimizer=optimizer,
                metric=workload.metric.name,
                direction=workload.metric.direction,
                metric_split=workload.metric.split,
                epochs=self.epochs(key),
                trials=self.campaign.trials,
                sampler=self.campaign.sampler,
                pruner=self.campaign.pruner,
                seed=first if number == 1 else campaign_seed(first, "replicate", number),
                space=self.space(optimizer, key),
                replicate=number,
                starts=self._starts(optimizer, key),
            )
            for key, workload in self.workloads.items()
            for optimizer in self.campaign.optimizers
            for number in range(1, self.campaign.replicates + 1)
        ]

    def _starts(self, optimizer: str, workload: str) -> tuple[Mapping[str, object], ...]:
        """What the person says, and then what everybody would try first."""
        given = self.campaign.starts.get(optimizer, {}).get(workload)
        return () if given is None else (given, self.spaces[optimizer].default)


def resolve_campaign(
    campaign: Campaign, data_directory: Path | None = None, *, test: bool | None = False, rehearsed: bool = True
) -> ResolvedCampaign:
    """Looks up all that ``campaign`` names and checks that its data are there and can be trained on.

    Args:
        campaign: to be run.
        data_directory: where its data are; ``None``: the usual places.
        test: whether winners will be confirmed, so that test data must be there too. Else they are not looked at.
            ``None``: they are if there are any.
        rehearsed: whether each optimizer takes two steps on workloads of a person's own. What has been tuned did.

    Raises:
        UserError: a workload, an optimizer or a range is wrong, data are missing or damaged, or training cannot work.
    """
    from studies.training.rehearsal import rehearse
    from studies.workloads import check, content, resolve

    workloads = {name: resolve(name) for name in campaign.workloads}
    spaces = {optimizer: campaign.space(optimizer) for optimizer in campaign.optimizers}
    carried = [(name, content(name)) for name in workloads]
    examples, notes, tested = {}, [], True
    for name, workload in workloads.items():
        data = check(workload, data_directory, test=test)
        examples[name] = len(data.train)
        tested &= data.has_test
        notes += _notes(workload, data, spaces)
        if ":" in name:
            with_test = data.has_test if test is None else test
            rehearse(workload, data, spaces if rehearsed else {}, test=with_test)
    return ResolvedCampaign(
        campaign,
        workloads,
        spaces,
        data_directory,
        examples,
        tested,
        tuple((name, pickled) for name, pickled in carried if pickled is not None),
        tuple(notes),
    )


def _notes(workload: Workload, data: Data, spaces: Mapping[str, SearchSpace]) -> list[str]:
    """What of the data changes how they are trained on, a line each."""
    from search_spaces import BATCH_SIZE

    notes = []
    if data.loaders:
        notes.append(
            f"{workload.name}: its DataLoader was read once, into memory; {data.loaders} are not used in training: "
            f"{BATCH_SIZE} is searched, and every epoch has a new order."
        )
    most = len(data.train)
    capped = [key for key, space in spaces.items() if space.capped(most) is not space]
    if capped:
        notes.append(
            f"{workload.name}: {BATCH_SIZE} of {', '.join(capped)} is searched up to {most}, the number of training "
            "examples."
        )
    return notes


def user_code(resolved: ResolvedCampaign) -> tuple[Path, ...]:
    """The files that hold the user's own workloads: the top package's directory, or the module's file.

    Of one that is carried, what was imported from the current directory, or from that of the script.
    """
    carried = dict(resolved.carried)
    script = getattr(sys.modules["__main__"], "__file__", None)
    beside = {str(Path.cwd()), *([] if script is None else [str(Path(script).resolve().parent)])}
    found = []
    for name in resolved.workloads:
        if name in carried:
            found += [Path(place) for directory in sorted(beside) for place in imported_from(directory)]
        elif ":" in name:
            module = sys.modules[name.split(":")[0].split(".")[0]]
            path = getattr(module, "__path__", None)
            file = next(iter(path)) if path else module.__file__
            if file is None:
                raise UserError(f"workload {name}: its module has no file that could travel to the nodes")
            found.append(Path(file))
    return tuple(dict.fromkeys(found))
