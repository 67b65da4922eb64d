"""From a campaign to a tuned database: check everything, open the ledger, run the engine, show how it goes."""

from __future__ import annotations

import platform
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from search_spaces import SearchSpace
from studies import screen
from studies.campaign import Campaign
from studies.errors import UserError
from studies.modules import imported_from, search_path
from studies.progress import Progress, stopped_lines
from studies.screen import say
from studies.trials import Tally
from studies.worker import Setting

if TYPE_CHECKING:
    from studies.engine import Resources
    from studies.ledger import Ledger, StudyPlan
    from studies.safekeeping import Safekeeping
    from studies.workloads import Data, Split, Workload

_PACKAGES = ("torch", "torchvision", "ray", "optuna", "pytorch_optimizer", "numpy", "sofim-studies")
_PROBE_EXAMPLES = 1024


@dataclass(frozen=True, slots=True)
class Blueprint:
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
        from studies.ledger import StudyPlan, derive_seed

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
                seed=first if number == 1 else derive_seed(first, "replicate", number),
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


def draw_up(
    campaign: Campaign, data_directory: Path | None = None, *, test: bool | None = False, rehearsed: bool = True
) -> Blueprint:
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
    from studies.rehearsal import rehearse
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
    return Blueprint(
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


def launch(
    blueprint: Blueprint,
    storage: str,
    resources: Resources,
    console: Console,
    *,
    safekeeping: Safekeeping | None = None,
    extend: bool = False,
) -> list[Tally]:
    """Runs what is left of a campaign and shows it on ``console``.

    Args:
        blueprint: of the campaign.
        storage: database URL.
        resources: where trials run.
        console: for the live view.
        safekeeping: what is done against loss.
        extend: whether the campaign of this name in the storage is made this one.

    Returns:
        How far each study is at the end.

    Raises:
        UserError: the storage or the cluster cannot be used, or the storage holds another campaign of this name.
        KeyboardInterrupt: Ctrl-C; running trials are closed and will be asked again.
    """
    from studies.ledger import Ledger

    campaign = blueprint.campaign
    plans = blueprint.study_plans()
    made = Ledger(storage, campaign.stored(), plans, versions(), safekeeping=safekeeping, extend=extend)
    with made as ledger:
        if ledger.finished:
            _say_finished(campaign.name, ledger.tallies(), console)
        else:
            if not any(tally.done for tally in ledger.tallies()):  # what was begun keeps its search spaces
                for note in blueprint.notes:
                    say(console, note)
            work_off(ledger, blueprint, resources, console)
        return ledger.tallies()


def work_off(ledger: Ledger, blueprint: Blueprint, resources: Resources, console: Console) -> None:
    """Runs all that ``ledger`` has to ask for, on view."""
    from studies.engine import execute, session

    setting = Setting(
        schedule=blueprint.campaign.schedule,
        amp=blueprint.campaign.amp,
        data_directory=blueprint.data_directory,
        use_gpu=resources.gpus_per_trial > 0,
        checkpoint_every=ledger.safekeeping.every,
        modules=search_path() if resources.address is None else (),
        carried=blueprint.carried,
    )

    def say(line: str) -> None:
        screen.say(console, line)

    resources = replace(resources, code=user_code(blueprint))
    begun = threading.Event()

    def waiting() -> str | None:
        return None if begun.is_set() else "Workers are starting; training begins when they have."

    with (
        session(resources, say),  # nothing is shown of trials before there can be one
        Progress(ledger.tallies, console, ledger.seconds_left, lambda: ledger.trouble, waiting),
    ):
        execute(ledger, setting, resources, say, begun.set)


def _say_finished(name: str, tallies: list[Tally], console: Console) -> None:
    stopped = stopped_lines(tallies)
    if not stopped:
        screen.say(console, f"Nothing left to run: every trial of {name} is in the storage.")
        return
    for line in stopped:
        screen.say(console, line, "red")
    screen.say(
        console, f"Nothing left to run in {name}; once the cause is mended, run it under another name with --name."
    )


def versions() -> dict[str, str]:
    """Versions of Python and of every package that the values depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def user_code(blueprint: Blueprint) -> tuple[Path, ...]:
    """The files that hold the user's own workloads: the top package's directory, or the module's file.

    Of one that is carried, what was imported from the current directory, or from that of the script.
    """
    carried = dict(blueprint.carried)
    script = getattr(sys.modules["__main__"], "__file__", None)
    beside = {str(Path.cwd()), *([] if script is None else [str(Path(script).resolve().parent)])}
    found = []
    for name in blueprint.workloads:
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


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one study would cost: ``seconds`` of training for one trial of the default configuration, never pruned."""

    study: str
    seconds_per_trial: float


def estimate(blueprint: Blueprint) -> list[Estimate]:
    """Measures a part of an epoch of each study's default configuration on this machine's CPU, and extrapolates.

    Pruning makes a campaign cheaper than this, and configurations other than the default make it dearer or cheaper.
    """
    import torch

    from sofim import OPTIMIZERS
    from studies.training import train
    from studies.workloads import load
    from studies.workloads._blame import blaming

    torch.set_num_threads(1)
    estimates = []
    for key, workload in blueprint.workloads.items():
        data = load(workload, blueprint.data_directory)
        examples = len(data.train.targets)
        probe = _first(data, _PROBE_EXAMPLES)
        share = len(probe.train.targets) / examples
        for optimizer in blueprint.spaces:
            space = blueprint.space(optimizer, key)
            arguments = space.arguments(space.default)
            arguments["batch_size"] = int(min(int(str(arguments["batch_size"])), len(probe.train.targets)))
            with blaming(f"workload {key}: training", workload.model, workload.place):
                run = train(workload, OPTIMIZERS[optimizer], arguments, blueprint.campaign.seed, 2, data=probe)
                times = [time.perf_counter(), *(time.perf_counter() for _ in run)]
            # the first epoch pays for what torch sets up; a run that diverges has no second
            seconds = (times[-1] - times[-2]) / share * blueprint.epochs(key)
            estimates.append(Estimate(f"{blueprint.campaign.name}/{key}/{optimizer}", seconds))
    return estimates


def _first(data: Data, examples: int) -> Data:
    """The first ``examples`` training examples of ``data``, and the same share of the validation ones."""
    share = max(1.0, len(data.train.targets) / examples)
    validation = max(1, int(len(data.validation.targets) / share))

    from studies.workloads import Data, Split

    def cut(split: Split, most: int) -> Split:
        return Split(split.inputs[:most], split.targets[:most])

    return Data(cut(data.train, examples), cut(data.validation, validation), data.test)
