"""Given configurations on fresh seeds: winners that are confirmed, recommendations that are evaluated elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from analysis.schema import CONFIRM, EVALUATES, ROLE, STEP, WINNER, maker_of, seeds_begun
from search_spaces import configuration_key
from studies.campaign.model import MOST_REPLICATES
from studies.campaign.plan import StudyPlan, campaign_seed, replicate_seed
from studies.ledger.counting import is_asked_again, origin_of
from studies.ledger.study import Draw, arguments_of
from studies.trials import Runs

CONFIRMS = "confirms"
"""The user attribute of a winner's confirmation run: the number of its trial in the search."""

_FEWEST_READ = 2  # runs of a winner, of which a report tells an interval

_REPLICATES = 1 << (MOST_REPLICATES - 1).bit_length()


def fresh_seeds(seed: int, number: int, replicate: int = 1) -> list[int]:
    """Return the seeds of confirmation runs: the same for every optimizer, and none on which anything was searched.

    No two replicates share one, however many seeds they have. Fewer seeds are the first of more, so that a number that
    is raised later adds to what is there. No name changes them: campaigns of one seed can be compared in pairs.

    Args:
        seed: Of the campaign.
        number: How many.
        replicate: Whose winner is confirmed.
    """

    def all_seeds() -> Iterator[int]:
        given = {replicate_seed(seed, other) for other in range(1, MOST_REPLICATES + 1)}
        for index in count():
            # the last bits are the replicate's, so that two of them never meet
            derived = campaign_seed(seed, "confirm", replicate, index) & -_REPLICATES | replicate - 1
            if derived not in given:
                given.add(derived)
                yield derived

    return list(islice(all_seeds(), number))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration to be evaluated on workloads that it was not tuned on.

    Attributes:
        configuration: Stored values, fixed ones included.
        params: The stored values that its own space searches.
        distributions: Theirs.
        arguments: Of the optimizer, and ``batch_size``.
    """

    configuration: Mapping[str, Any]
    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    arguments: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Return what tells it from others."""
        return configuration_key(self.configuration)


@dataclass(frozen=True, slots=True)
class Beside:
    """A configuration that is run on the seeds of a winner's confirmation, to be compared with it.

    Attributes:
        role: ``"default"`` or ``"step"``, see `analysis.schema`.
        params: Stored values that are searched.
        marks: Further attributes of its runs: those of a step.
    """

    role: str
    params: dict[str, Any]
    marks: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Given:
    """A configuration that is run, and what its runs are marked with. Without ``arguments`` the space makes them."""

    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    marks: Mapping[str, Any]
    arguments: Mapping[str, Any] | None = None


class _Run(NamedTuple):
    """What identifies a run: whose configuration, on which seed."""

    configuration: int | str
    seed: int


class Repeats:
    """A source of configurations that are known, each once a seed, none stopped early.

    Args:
        plan: The study of the runs; its ``trials`` are ``len(given) * len(seeds)``.
        given: The configurations, by what tells them apart.
        identify: Tells the configuration of a run. The database may have runs of others too, which stay there and count
            for nothing here.
        seeds: Fresh ones.
        runs: What these runs are.
        confirms: Whether each run is to be alone on its device.
        test: Whether test data are looked at.
    """

    def __init__(
        self,
        plan: StudyPlan,
        given: Mapping[Any, _Given],
        identify: Callable[[FrozenTrial], int | str],
        seeds: Sequence[int],
        *,
        runs: Runs,
        confirms: bool,
        test: bool,
    ) -> None:
        self.runs: Runs = runs
        self.confirms, self.test = confirms, test
        self._plan, self._given, self._identify = plan, given, identify
        # seed by seed, so that all configurations have come equally far whenever somebody looks
        self._wanted = dict.fromkeys(_Run(key, seed) for seed in seeds for key in given)
        self._left = deque(self._wanted)
        self._next_number = 0

    def _run_of(self, trial: FrozenTrial) -> _Run:
        return _Run(self._identify(trial), int(trial.user_attrs.get("seed", -1)))

    def resume(self, trials: Sequence[FrozenTrial]) -> None:
        """Take up the runs that the database has."""
        asked = {self._run_of(trial) for trial in trials}
        self._left = deque(run for run in self._wanted if run not in asked)
        self._next_number = len(trials)

    def counts(self, trial: FrozenTrial) -> bool:
        """Return whether a run is of one of these configurations, on one of these seeds."""
        return self._run_of(trial) in self._wanted

    @property
    def has_more(self) -> bool:
        """Return whether there is a run that was never asked for."""
        return bool(self._left)

    def asked_share(self, again: int) -> float:
        """Return the share of the runs that were asked for."""
        return 1.0 - (len(self._left) + again) / len(self._wanted)

    def draw(self, retried: FrozenTrial | None) -> Draw:
        """Return the next run, or another attempt at one."""
        run = self._left.popleft() if retried is None else self._run_of(retried)
        given = self._given[run.configuration]
        attributes = {"seed": run.seed, **given.marks}
        if retried is not None:
            attributes["retry_of"] = origin_of(retried)
        made = arguments_of(self._plan, given.params) if given.arguments is None else dict(given.arguments)
        number, self._next_number = self._next_number, self._next_number + 1
        return Draw(number, given.params, given.distributions, made, attributes)

    def stops(self, number: int, epoch: int, value: float) -> bool:
        """Return false: these runs have their whole budget."""
        return False

    def ended(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return nothing: a restart knows all of a run by its attributes."""
        return {}


def confirmation(
    plan: StudyPlan, winners: Sequence[FrozenTrial], seeds: Sequence[int], beside: Sequence[Beside] = ()
) -> Repeats:
    """Return the confirmation runs of ``winners`` of a search, best first, each alone on its device.

    Args:
        plan: The study of the runs; its ``trials`` are one for each seed and configuration.
        winners: Of the search.
        seeds: Fresh ones.
        beside: What else is run on them.
    """
    given: dict[Any, _Given] = {
        winner.number: _Given(winner.params, winner.distributions, {CONFIRMS: winner.number, "rank": rank})
        for rank, winner in enumerate(winners, 1)
    }
    for one in beside:
        marks = {ROLE: one.role, **one.marks}
        given[_beside(marks)] = _Given(one.params, plan.space.stored_distributions(one.params), marks)
    return Repeats(plan, given, _confirmed, seeds, runs="confirmation runs", confirms=True, test=plan.tested)


def seeds_asked(
    winner: FrozenTrial, runs: Sequence[FrozenTrial], seeds: int, before: Mapping[str, Any] | None, *, compared: bool
) -> dict[str, Any]:
    """Return on how many seeds a winner was to be run: a number a time that its runs could be read and more were added.

    Args:
        winner: Of the search.
        runs: Confirmation runs that are there.
        seeds: On how many it is to be run now.
        before: What this returned when it was confirmed before; ``None`` where it was not, or by an earlier version.
        compared: Whether another optimizer's winner has runs to compare these with.
    """
    own = [run for run in runs if _confirmed(run) == winner.number and run.state.is_finished()]
    ended = len({run.user_attrs.get("seed") for run in own if not is_asked_again(run)})
    if before is None or before["of"] != winner.number or not compared or ended < _FEWEST_READ:
        return {"of": winner.number, "numbers": [max(seeds, ended)]}
    *former, last = seeds_begun(before, ended)
    return {"of": winner.number, "numbers": [*former, *([last] if seeds <= last else [min(last, ended), seeds])]}


def compared_on(storage: BaseStorage, campaign: str) -> list[str]:
    """Return the workloads of a campaign on which winners of several optimizers have runs that a report compares."""
    optimizers: dict[str, set[str]] = {}
    for study in storage.get_all_studies():
        maker = maker_of(study.study_name, study.user_attrs)
        if not maker.is_campaign or maker.campaign != campaign or not study.study_name.endswith(CONFIRM):
            continue
        every = storage.get_all_trials(study._study_id, deepcopy=False)
        runs = [run for run in every if run.user_attrs.get(ROLE, WINNER) == WINNER and run.state.is_finished()]
        if sum(not is_asked_again(run) for run in runs) >= _FEWEST_READ:
            optimizers.setdefault(study.user_attrs["workload"], set()).add(study.user_attrs["optimizer"])
    return [workload for workload, own in optimizers.items() if len(own) > 1]


def evaluation(plan: StudyPlan, candidates: Sequence[Candidate], seeds: Sequence[int]) -> Repeats:
    """Return the evaluation runs of what other workloads recommend for the same optimizer."""
    given = {
        one.key: _Given(one.params, one.distributions, {EVALUATES: dict(one.configuration)}, one.arguments)
        for one in candidates
    }
    return Repeats(plan, given, _evaluated, seeds, runs="evaluation runs", confirms=False, test=False)


def _confirmed(run: FrozenTrial) -> int | str:
    """Return what tells the configuration of a confirmation run from the others."""
    return _beside(run.user_attrs) if run.user_attrs.get(ROLE, WINNER) != WINNER else _winner_of(run)


def _beside(marks: Mapping[str, Any]) -> str:
    place = f" {marks['step']} to {marks['path_to']}" if marks[ROLE] == STEP else ""
    return f"{marks[ROLE]}{place}"


def _winner_of(run: FrozenTrial) -> int:
    return int(run.user_attrs.get(CONFIRMS, -1))


def _evaluated(run: FrozenTrial) -> str:
    return configuration_key(run.user_attrs.get(EVALUATES, {}))


def overtaken(
    winners: Sequence[FrozenTrial], every: Sequence[FrozenTrial], runs: Sequence[FrozenTrial]
) -> dict[int, int]:
    """Return former winners that better trials have replaced since, each with the number of its confirmation runs.

    Args:
        winners: The present ones.
        every: The complete trials of the search, best first.
        runs: Confirmation runs.
    """
    places = {trial.number: place for place, trial in enumerate(every, start=1)}
    present = {winner.number for winner in winners}
    counts: dict[int, int] = {}
    for run in runs:
        number, rank = _winner_of(run), int(run.user_attrs.get("rank", 1))
        counted = run.state.is_finished() and not is_asked_again(run)
        # not one whose rank is simply no longer asked for
        if counted and number not in present and rank <= len(winners) and places.get(number, 0) > rank:
            counts[number] = counts.get(number, 0) + 1
    return counts
