"""``sofim export --evaluate``: what each workload recommends, run on every workload on fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console

from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import resolve_campaign
from studies.commands.export import stored_space
from studies.commands.launch import versions, work_off
from studies.commands.progress import stopped_lines
from studies.commands.screen import say

if TYPE_CHECKING:
    from analysis.defaults import Recommendation
    from analysis.load import Study
    from search_spaces import Value
    from studies.engine import Resources
    from studies.ledger import Candidate
    from studies.storage.durability import Durability

SEEDS = 3
"""Fresh seeds of a recommended configuration on a workload where nobody asks for another number."""


def evaluate(
    url: str,
    studies: Sequence[Study],
    recommended: Sequence[Recommendation],
    resources: Resources,
    console: Console,
    *,
    seeds: int = SEEDS,
    data_directory: Path | None = None,
    durability: Durability | None = None,
) -> None:
    """Runs what is left of evaluating recommendations and shows it on ``console``.

    Args:
        url: of the database.
        studies: on whose workloads each recommendation of their optimizer is run.
        recommended: of these studies.
        resources: where runs are placed.
        console: for the live view.
        seeds: number of fresh seeds.
        data_directory: where the data are; ``None``: the usual places.
        durability: what is done against loss.

    Raises:
        UserError: a campaign, its workloads or its data are not there, or the storage or the cluster cannot be used.
        KeyboardInterrupt: Ctrl-C; the runs that were running will be run again.
    """
    from search_spaces.errors import number_of
    from studies.ledger import open_evaluation

    sources = {(study.optimizer, study.workload): study for study in studies}
    candidates: dict[str, list[Candidate]] = {}
    for one in recommended:
        candidates.setdefault(one.optimizer, []).append(_candidate(one, sources[one.optimizer, one.workload]))
    for campaign in dict.fromkeys(str(study.campaign["name"]) for study in studies):
        own = [s for s in studies if s.campaign["name"] == campaign and s.optimizer in candidates]
        if not own:
            continue
        stored = own[0].campaign
        wanted = {(study.workload, study.optimizer) for study in own}
        resolved = resolve_campaign(_only(stored, own), data_directory, rehearsed=False)
        plans = [p for p in resolved.study_plans() if (p.workload, p.optimizer) in wanted and p.replicate == 1]
        made = open_evaluation(
            url, stored, plans, versions(), candidates=candidates, seeds=seeds, durability=durability
        )
        with made as ledger:
            tallies = ledger.tallies()
            asked_for, done = (sum(getattr(tally, name) for tally in tallies) for name in ("asked_for", "done"))
            there = f", {done} {'is' if done == 1 else 'are'} there" if done else ""
            on, runs = number_of(seeds, "fresh seed"), number_of(asked_for, "run")
            say(console, f"Evaluating what is recommended on {campaign}, {on}: {runs}{there}.")
            if not ledger.finished:
                work_off(ledger, resolved, resources, console)
            for sentence in stopped_lines(ledger.tallies()):
                say(console, sentence, "red")


def _only(stored: Mapping[str, Any], studies: Sequence[Study]) -> CampaignPlan:
    """A stored campaign with no more than the workloads and optimizers of some of its studies."""
    workloads, optimizers = ({getattr(s, name) for s in studies} for name in ("workload", "optimizer"))
    wanted = {
        "workloads": tuple(name for name in stored["workloads"] if name in workloads),
        "optimizers": tuple(name for name in stored["optimizers"] if name in optimizers),
    }
    return CampaignPlan.from_stored(stored, wanted)


def _candidate(one: Recommendation, study: Study) -> Candidate:
    """The recommendation as a trial that can be run again, elsewhere too.

    Raises:
        UserError: its study has another search space than that it was found in.
    """
    from search_spaces.errors import UserError
    from studies.ledger import Candidate

    space = stored_space(study)
    params = cast("Mapping[str, Value]", one.params)
    try:
        distributions = space.stored_distributions(params)
        searched: dict[str, Any] = {name: params[name] for name in distributions}
        return Candidate(dict(params), searched, distributions, dict(space.arguments(params)))
    except (UserError, KeyError, ValueError) as error:
        raise UserError(f"study '{study.name}': what it recommends cannot be run ({error})") from None
