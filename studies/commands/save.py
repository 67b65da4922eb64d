"""``--save``: the best confirmation run is trained once more, up to the epoch that validation chose, and written.

Nothing is kept while runs are confirmed: seed and configuration give the same numbers again on a CPU, so weights can be
had of what was confirmed long ago, and only the one model that is wanted costs anything.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces import BATCH_SIZE, OF_TRAINING, WARMUP
from search_spaces.errors import UserError
from studies.campaign.resolve import user_code
from studies.commands.find import existing
from studies.commands.screen import say, working
from studies.commands.typed import NotSavedError
from studies.commands.work import training_options, versions
from studies.storage.durability import Durability
from studies.trials import Assignment, Resources

if TYPE_CHECKING:
    from rich.console import Console

    from studies.campaign.plan import StudyPlan
    from studies.campaign.resolve import ResolvedCampaign
    from studies.training.worker import Trained

Places = Mapping[tuple[str, str], Path]
"""Directories by workload and optimizer."""


@dataclass(frozen=True, slots=True)
class _Best:
    """A confirmation run that is trained once more.

    Attributes:
        plan: Of its study.
        assignment: It.
        epoch: That validation chose.
        value: Of its metric then.
        device: That it ran on.
        trial: The number of the winner in the search.
        over_seeds: What the configuration gave on all fresh seeds, with the interval.
    """

    plan: StudyPlan
    assignment: Assignment
    epoch: int
    value: float
    device: str
    trial: int
    over_seeds: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Return what it is, in words."""
        return f"{self.assignment.optimizer} on {self.plan.workload}"


def check_places(resolved: ResolvedCampaign, directory: Path) -> dict[tuple[str, str], Path]:
    """Return a directory below ``directory`` for each workload and optimizer, where models can be written.

    Raises:
        UserError: One cannot, or a workload's model cannot be saved.
    """
    places = {
        (workload, optimizer): directory / workload.replace(":", ".") / optimizer.replace(":", ".")
        for workload in resolved.workloads
        for optimizer in resolved.campaign.optimizers
    }
    check_directories(resolved, *places.values())
    return places


def check_directories(resolved: ResolvedCampaign, *directories: Path) -> None:
    """Refuse what cannot be saved, before anything runs.

    Raises:
        UserError: A directory cannot be written, or holds something else; or a workload's model cannot be saved.
    """
    from studies.training.saved import check_free, check_model

    for directory in directories:
        check_free(directory)
    for workload in resolved.workloads.values():
        check_model(workload)


@contextmanager
def _not_saved() -> Iterator[None]:
    """Tell a user's mistake, and whatever else keeps a model from being saved, as that."""
    try:
        yield
    except UserError as error:
        raise NotSavedError(str(error)) from error


@_not_saved()
def save_best(
    plans: Sequence[StudyPlan],
    places: Places,
    resolved: ResolvedCampaign,
    storage: str,
    resources: Resources,
    durability: Durability,
    console: Console,
    *,
    optimizer_state: bool = False,
    confirms: int | None = None,
    like_tuning: bool = False,
) -> None:
    """Train the best confirmation run for each of ``places`` once more, and save what it is at its best epoch.

    Args:
        plans: Of the searches.
        places: Where each is written.
        resolved: Of the campaign.
        storage: Database URL.
        resources: Where it is trained.
        durability: Whether and where checkpoints are kept meanwhile.
        console: Where it is told.
        optimizer_state: Whether the optimizer's state is written too.
        confirms: The number of the one trial whose confirmation runs are meant; ``None``: any winner's.
        like_tuning: Whether each gets a GPU if the runs had one, whatever ``resources`` say.

    Raises:
        NotSavedError: A run cannot be trained once more, or not be written; the others have been.
    """
    from studies.engine import execute_again

    every, folder = durability.every, f"saving-{resolved.campaign.name}"
    best = _best_runs(plans, storage, confirms, folder if every else "")
    for workload, optimizer in places:
        if (workload, optimizer) not in best:
            say(console, f"Nothing to save of {optimizer} on {workload}: none of its confirmation runs came through.")
    if not best:
        return
    for one in best.values():
        say(
            console,
            f"Training the best confirmation run of {one.label} (trial {one.trial}, seed {one.assignment.seed}) once "
            f"more, up to its best epoch, {one.epoch} of {one.assignment.epochs}, to save it.",
        )
    if like_tuning:
        on_gpus = any(not one.device.upper().startswith("CPU") for one in best.values())
        resources = replace(resources, gpus_per_trial=1.0 if on_gpus else 0.0)
    checkpoints = durability.checkpoints if every else None
    with working(console, "Training ..."):
        trained = execute_again(
            [(one.assignment, one.epoch) for one in best.values()],
            training_options(resolved, resources, every),
            replace(resources, code=user_code(resolved)),
            checkpoints,
            optimizer_state=optimizer_state,
            timeout=durability.trial_timeout,
        )
    failures = []
    for (key, one), made in zip(best.items(), trained, strict=True):
        if made.failure is not None:
            failures.append(f"{one.label} could not be trained once more: {_reason(made.failure)}")
            continue
        try:
            _write(places[key], one, made, resolved, console)
        except UserError as error:
            failures.append(str(error))
    if checkpoints is not None:
        checkpoints.sweep(folder, ())
    if failures:
        raise UserError("; ".join(failures))


def _best_runs(
    plans: Sequence[StudyPlan], storage: str, confirms: int | None, folder: str
) -> dict[tuple[str, str], _Best]:
    """Return the best confirmation run of each workload and optimizer, of those of which one came through."""
    from analysis.comparison.tuned import estimate
    from analysis.load import confirmations, curves, study

    with existing(storage) as opened:
        found = {plan.name: study(opened, plan.name) for plan in plans}
        runs = confirmations(opened, list(found.values()))
        epochs = curves(opened, list(found.values()), confirmed=True)
    runs = runs[(runs["outcome"] == "complete") & runs["value"].map(math.isfinite) & runs["study"].isin(found)]
    if confirms is not None:
        runs = runs[(runs["confirms"] == confirms).fillna(False).astype(bool)]
    best: dict[tuple[str, str], _Best] = {}
    for plan in plans:
        for row in runs[runs["study"] == plan.name].to_dict("records"):
            optimizer, value = plan.space.optimizer_of(row["params"]), float(row["value"])
            sign = -1.0 if plan.direction == "maximize" else 1.0
            before = best.get((plan.workload, optimizer))
            if before is not None and sign * value >= sign * before.value:
                continue
            own = epochs[(epochs["study"] == plan.name) & (epochs["number"] == row["number"])]
            alike = runs[(runs["study"] == plan.name) & (runs["confirms"] == row["confirms"])]
            values = alike["value"].to_numpy(float)
            assignment = Assignment(
                study=plan.name,
                number=int(row["number"]),
                workload=plan.workload,
                optimizer=optimizer,
                arguments=plan.space.arguments(row["params"]),
                seed=int(row["seed"]),
                epochs=plan.epochs,
                split=plan.split,
            )
            best[plan.workload, optimizer] = _Best(
                plan,
                replace(assignment, checkpoint=f"{folder}/{_digest(assignment)}" if folder else ""),
                int(own.loc[own["value"] == value, "epoch"].min()),
                value,
                str(row["device"]),
                int(row["confirms"]),
                {
                    "values": values.tolist(),
                    **dict(zip(("estimate", "low", "high"), estimate(found[plan.name], alike, "value"), strict=True)),
                },
            )
    return best


def _digest(assignment: Assignment) -> str:
    return hashlib.sha256(json.dumps(asdict(assignment), sort_keys=True).encode()).hexdigest()[:16]


def _write(directory: Path, one: _Best, made: Trained, resolved: ResolvedCampaign, console: Console) -> None:
    """Write a model with what it gives when it is loaded, and say so."""
    from studies.training.saved import checksum_of, evaluated, write
    from studies.training.schedules import followed
    from studies.workloads import Workload, load

    plan, run, campaign = one.plan, one.assignment, resolved.campaign
    workload = resolved.workloads[plan.workload]
    assert isinstance(workload, Workload)  # see check_directories
    data = load(workload, resolved.data_directory, plan.split)
    metric: dict[str, Any] = {"name": plan.metric, "direction": plan.direction, "split": plan.metric_split}
    description = {
        "study": plan.name,
        "trial": one.trial,
        "workload": plan.workload,
        "optimizer": run.optimizer,
        **({"optimizer_table": table} if (table := campaign.optimizer.get(run.optimizer)) else {}),
        "arguments": {name: value for name, value in run.arguments.items() if name not in OF_TRAINING},
        "batch_size": run.arguments[BATCH_SIZE],
        "seed": run.seed,
        "split": plan.split,
        "schedule": followed(campaign.schedule, plan.schedule),
        "warmup": run.arguments.get(WARMUP, campaign.fixed_warmup),
        "epochs": run.epochs,
        "epoch": one.epoch,
        "device": made.device,
        "on_gpu": made.on_gpu,
        "amp": campaign.amp,
        "metric": metric,
        "versions": versions(),
    }
    with working(console, f"Evaluating {one.label} ..."):
        model = evaluated(description, made.weights, workload, data)
    over_seeds = {
        "interval": f"95 % over {len(one.over_seeds['values'])} fresh seeds",
        **{name: _jsonable(value) for name, value in one.over_seeds.items()},
    }
    metric |= {"value": model.value, "test": model.test, "confirmed": one.value, "over_seeds": over_seeds}
    write(directory, {**description, "data": checksum_of(workload, data)}, made.weights, made.optimizer)
    split = "training" if plan.metric_split == "train" else "validation"
    say(
        console,
        f"Saved in {directory}: {one.label}, {split} {plan.metric} {model.value!r}{_compared(one, made, model.value)}.",
    )


def _compared(one: _Best, made: Trained, value: float) -> str:
    """Return how the value of a saved model stands to that of the confirmation run."""
    if value == one.value:
        return ", as in its confirmation run"
    reason = f"on {made.device} now, on {one.device} then" if made.device != one.device else f"both on {made.device}"
    if made.on_gpu:
        why = "a GPU's numbers are not repeatable"
    else:
        why = "another version, another processor or a workload that has changed computes otherwise"
    return f"; its confirmation run had {one.value!r} ({reason}: {why})"


def _reason(failure: str) -> str:
    from studies.training.failures import reason_of

    return reason_of(failure)


def _jsonable(value: Any) -> Any:
    """Return a value; JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
