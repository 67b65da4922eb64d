"""What books of runs on fresh seeds share: configurations that are known, each once a seed, none stopped early."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, islice
from statistics import fmean
from typing import Any, NamedTuple, Protocol

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from analysis.schema import INTERRUPTED, TEST_PREFIX
from studies.campaign.plan import StudyPlan, campaign_seed
from studies.ledger._book import Book, Facts, jsonable, origin_of
from studies.storage.database import running_template
from studies.storage.writer import TrialWriter
from studies.trials import Assignment, Tally


def fresh_seeds(seed: int, workload: str, number: int) -> list[int]:
    """The seeds of confirmation runs: the same for every optimizer of a workload, none of them the campaign's.

    Fewer seeds are the first of more, so that a number that is raised later adds to what is there. They do not depend
    on the campaign's name: campaigns of one seed can be compared in pairs.

    Args:
        seed: of the campaign.
        workload: its key.
        number: how many.
    """

    def all_seeds() -> Iterator[int]:
        given = {seed}
        for index in count():
            derived = campaign_seed(seed, workload, "confirm", index)
            if derived not in given:
                given.add(derived)
                yield derived

    return list(islice(all_seeds(), number))


class _Run(NamedTuple):
    """What identifies a run: whose configuration, on which seed."""

    configuration: int | str
    seed: int


class Given(Protocol):
    """A configuration: stored values and their distributions."""

    @property
    def params(self) -> dict[str, Any]: ...

    @property
    def distributions(self) -> dict[str, BaseDistribution]: ...


class SeedsBook(Book, ABC):
    """Gives out configurations that are known, each once a seed.

    Args:
        plan: the study of the runs; its ``trials`` are ``len(given) * len(seeds)``.
        study_id: of that study in the database.
        writer: through which the database is written.
        trials: what the database has of that study, in the order of their numbers: also runs of other configurations,
            which stay there and count for nothing here.
        given: the configurations, by what tells them apart.
        marks: the attributes of their runs, likewise.
        seeds: fresh ones.
        test: whether test data are looked at.
    """

    _confirms = True  # whether each run is to be alone on its device

    def __init__(
        self,
        plan: StudyPlan,
        study_id: int,
        writer: TrialWriter,
        trials: Sequence[FrozenTrial],
        given: Mapping[Any, Given],
        marks: Mapping[Any, Mapping[str, Any]],
        seeds: Sequence[int],
        *,
        test: bool,
    ) -> None:
        super().__init__(plan, study_id, writer)
        self._test = test
        self._given, self._marks = given, marks
        # seed by seed, so that all configurations have come equally far whenever somebody looks
        self._wanted = dict.fromkeys(_Run(one, seed) for seed in seeds for one in given)
        self._values: list[float] = []  # of the complete runs
        self._tests: dict[int, dict[int, dict[str, float | None]]] = {}  # by number of the running trial and epoch
        self._next_number = len(trials)
        asked = {self._run_of(trial) for trial in self._recall(trials)}
        self._retries = deque(trial for trial in self._retries if self._run_of(trial) in self._wanted)
        self._left = deque(run for run in self._wanted if run not in asked)

    @abstractmethod
    def _configuration_of(self, trial: FrozenTrial) -> int | str:
        """What tells the configuration of a run from the others."""

    @abstractmethod
    def _arguments_of(self, configuration: int | str) -> dict[str, Any]:
        """What the optimizer is called with, and the batch size."""

    def _run_of(self, trial: FrozenTrial) -> _Run:
        return _Run(self._configuration_of(trial), int(trial.user_attrs.get("seed", -1)))

    @property
    def wants_more(self) -> bool:
        return self.stopped is None and bool(self._retries or self._left)

    @property
    def asked_share(self) -> float:
        return 1.0 - (len(self._left) + len(self._retries)) / len(self._wanted)

    def ask(self) -> Assignment:
        retried = self._retries.popleft() if self._retries else None
        run = self._left.popleft() if retried is None else self._run_of(retried)
        given = self._given[run.configuration]
        attributes = {"seed": run.seed, **self._marks[run.configuration]}
        if retried is not None:
            attributes["retry_of"] = origin_of(retried)
        arguments = self._arguments_of(run.configuration)
        number, self._next_number = self._next_number, self._next_number + 1
        self._tests[number] = {}
        template = running_template(number, given.params, given.distributions, attributes)
        self._begin(template)
        return Assignment(
            study=self.plan.name,
            number=number,
            workload=self.plan.workload,
            optimizer=self.plan.space.optimizer_of(given.params),
            arguments=arguments,
            seed=run.seed,
            epochs=self.plan.epochs,
            confirmation=self._confirms,
            test=self._test,
            checkpoint=self._checkpoint(template),
        )

    def report(self, number: int, record: Mapping[str, float]) -> bool:
        """Hears of one epoch; what it says of test data is kept aside until it is known which epoch counts."""
        tests = {name: jsonable(entry) for name, entry in record.items() if name.startswith(TEST_PREFIX)}
        if tests:
            self._tests[number].setdefault(int(record["epoch"]), tests)
        return super().report(
            number, {name: entry for name, entry in record.items() if not name.startswith(TEST_PREFIX)}
        )

    def complete(self, number: int, facts: Facts) -> None:
        """The run ran its whole budget; its test metric is of the epoch that validation chose, the first of the best.

        A run that began again on a worker whose numbers were slightly others (a GPU's are not repeatable) may have no
        test metric of that epoch; it is asked again.
        """
        chosen = self._chosen_epoch(number)
        if self._test and chosen is not None and chosen not in self._tests[number]:
            lost = self._running[number].stored
            self._end(number, TrialState.FAIL, None, facts=facts, failure=INTERRUPTED)
            self._retries.append(lost)
            return
        super().complete(number, {**facts, **self._tests[number].get(chosen or 0, {})})

    def _chosen_epoch(self, number: int) -> int | None:
        values = self._running[number].stored.intermediate_values
        sign = -1.0 if self.plan.direction == "maximize" else 1.0
        return min(values, key=lambda epoch: (sign * values[epoch], epoch), default=None)

    def _told(self, stored: FrozenTrial) -> dict[str, object]:
        del self._tests[stored.number]
        return {}

    def _count(self, trial: FrozenTrial) -> None:
        if self._run_of(trial) not in self._wanted:
            return  # of another configuration, or on a seed beyond those asked for
        super()._count(trial)
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            self._values.append(trial.value)

    def tally(self) -> Tally:
        mean = fmean(self._values) if self._values else None
        return replace(super().tally(), best=mean)
