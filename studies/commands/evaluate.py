"""``sofim evaluate``: what each workload recommends, run on fresh seeds of its own workload and of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from analysis.optimizers import custom_optimizers
from analysis.schema import AS_TYPED
from search_spaces import BATCH_SIZE, SEARCH_SPACES, configuration_key
from search_spaces.errors import UserError, number_of
from studies.called import command_line
from studies.commands.find import campaign_name, existing, without_password
from studies.commands.options import chosen_again, storage_again
from studies.commands.recommended import Recommended, recommended, stored_space
from studies.commands.screen import make_console, say, verbatim, working
from studies.commands.work import logged, runs_asked_for, versions, work_off

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from analysis.defaults import Recommendation
    from analysis.load import Study
    from search_spaces import Value
    from studies.campaign.plan import CampaignPlan
    from studies.ledger import Candidate
    from studies.loggers import Target
    from studies.storage.durability import Durability
    from studies.trials import Resources

TYPED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "sgd": ("SGD(lr=0.1, momentum=0.9)", {"lr": 0.1, "momentum": 0.9}),
    "adamw": ("AdamW()", {}),
}
"""What people type who tune nothing, by optimizer: how, and its arguments. It runs beside what is recommended of it."""

SEEDS = 3
"""Fresh seeds of a recommended configuration on a workload where nobody asks for another number."""


def evaluate_campaigns(
    campaigns: Sequence[str],
    storage: str,
    resources: Resources,
    durability: Durability,
    *,
    optimizers: tuple[str, ...],
    workloads: tuple[str, ...],
    robust: bool,
    seeds: int,
    data: Path | None,
    logs: Sequence[Target],
) -> None:
    """Do what ``sofim evaluate`` says, see there for the options.

    Raises:
        UserError: A campaign, its workloads or its data are not there, nothing can be recommended, or the storage or
            the cluster cannot be used.
        KeyboardInterrupt: Ctrl-C; the runs that were running will be run again.
    """
    console = make_console()
    names = [campaign_name(name) for name in campaigns]
    with (
        working(console, f"Looking for what {', '.join(names)} recommend{'s' if len(names) == 1 else ''} ..."),
        existing(storage, written=True) as opened,
    ):
        shown = without_password(storage)
        found = recommended(opened, shown, names, optimizers=optimizers, workloads=workloads, exact=not robust)
    run = partial(evaluate, storage, resources=resources, console=console, seeds=seeds, data_directory=data, logs=logs)
    run(found, durability=durability)
    with existing(storage) as opened:
        after = found.again(opened)
    if _keys(after) - _keys(found):
        say(console, "After these runs something else is recommended, which is run on the same seeds:")
        run(after, durability=durability)
    more = chosen_again(optimizers, workloads)
    again = command_line("export", *names, *more, *([] if robust else ["--winner"]), *storage_again(storage))
    say(console, "What is recommended, with regrets of these runs:")
    verbatim(console, f"  {again}")


def _keys(found: Recommended) -> set[tuple[str, str]]:
    """Return what is recommended, by the optimizer and what tells configurations apart."""
    return {(one.optimizer, configuration_key(one.params)) for one in found.configurations}


def evaluate(
    url: str,
    found: Recommended,
    resources: Resources,
    console: Console,
    *,
    seeds: int = SEEDS,
    data_directory: Path | None = None,
    durability: Durability | None = None,
    logs: Sequence[Target] = (),
) -> None:
    """Run what is left of evaluating recommendations and show it on ``console``.

    Args:
        url: Of the database.
        found: What is recommended, and the studies on whose workloads each configuration of their optimizer is run.
        resources: Where runs are placed.
        console: For the live view.
        seeds: Number of fresh seeds.
        data_directory: Where the data are; ``None``: the usual places.
        durability: What is done against loss.
        logs: Where else runs are told of.

    Raises:
        UserError: A campaign, its workloads or its data are not there, or the storage or the cluster cannot be used.
        KeyboardInterrupt: Ctrl-C; the runs that were running will be run again.
    """
    from studies.campaign.resolve import resolve_campaign
    from studies.commands.progress import stopped_lines
    from studies.ledger import open_evaluation

    studies = found.studies
    sources = {(study.optimizer, study.workload): study for study in studies}
    candidates: dict[str, list[Candidate]] = {}
    for one in found.configurations:
        candidates.setdefault(one.optimizer, []).append(_candidate(one, sources[one.optimizer, one.workload]))
    evaluated = [study for study in studies if study.optimizer in candidates]
    for optimizer in candidates.keys() & TYPED.keys():
        if not any(custom_optimizers(study.campaign).get(optimizer) for study in evaluated):
            candidates[optimizer].append(_typed(optimizer))
    names = dict.fromkeys(str(study.campaign["name"]) for study in evaluated)
    of_campaign = {name: [study for study in evaluated if study.campaign["name"] == name] for name in names}
    # all of them before the first run: what cannot be imported is told at once
    every = {
        name: resolve_campaign(_only(own[0].campaign, own), data_directory, rehearsed=False)
        for name, own in of_campaign.items()
    }
    for campaign, own in of_campaign.items():
        stored, resolved = own[0].campaign, every[campaign]
        wanted = {(study.workload, study.optimizer) for study in own}
        plans = [p for p in resolved.study_plans() if (p.workload, p.optimizer) in wanted and p.replicate == 1]
        opened = partial(
            open_evaluation, url, stored, plans, versions(), candidates=candidates, seeds=seeds, durability=durability
        )
        with logged(opened, logs, console) as ledger:
            tallies = ledger.tallies()
            on = number_of(seeds, "fresh seed")
            say(console, f"Evaluating what is recommended on {campaign}, {on}: {runs_asked_for(tallies)}.")
            if not ledger.finished:
                work_off(ledger, resolved, resources, console)
            for sentence in stopped_lines(ledger.tallies()):
                say(console, sentence, "red")


def _only(stored: Mapping[str, Any], studies: Sequence[Study]) -> CampaignPlan:
    """Return a stored campaign with no more than the workloads and optimizers of some of its studies."""
    from studies.campaign.plan import CampaignPlan

    workloads, optimizers = ({getattr(s, name) for s in studies} for name in ("workload", "optimizer"))
    wanted = {
        "workloads": tuple(name for name in stored["workloads"] if name in workloads),
        "optimizers": tuple(name for name in stored["optimizers"] if name in optimizers),
    }
    return CampaignPlan.from_stored(stored, wanted)


def _typed(optimizer: str) -> Candidate:
    """Return what people type of an optimizer, with the batch size of its search space's default."""
    from studies.ledger import Candidate

    text, arguments = TYPED[optimizer]
    size = {BATCH_SIZE: SEARCH_SPACES[optimizer].default[BATCH_SIZE]}
    return Candidate({AS_TYPED: text, **size}, {}, {}, {**arguments, **size})


def _candidate(one: Recommendation, study: Study) -> Candidate:
    """Return the recommendation as a trial that can be run again, elsewhere too.

    Raises:
        UserError: Its study has another search space than that it was found in.
    """
    from studies.ledger import Candidate

    space = stored_space(study)
    params = cast("Mapping[str, Value]", one.params)
    try:
        distributions = space.stored_distributions(params)
        searched: dict[str, Any] = {name: params[name] for name in distributions}
        return Candidate(dict(params), searched, distributions, dict(space.arguments(params)))
    except (UserError, KeyError, ValueError) as error:
        raise UserError(f"study '{study.name}': what it recommends cannot be run ({error})") from None
