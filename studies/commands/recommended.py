"""What campaigns recommend, for those who print it and those who run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.optimizers import custom_optimizers, made_by
from search_spaces import ANY, from_dict
from search_spaces.errors import UserError, suggestion
from studies.called import command_line
from studies.commands.find import tuned_again
from studies.commands.options import storage_again

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from analysis.defaults import Evaluated, OptimizerDefaults, Recommendation, SurrogateStudy
    from analysis.load import Frames, Study
    from search_spaces import SearchSpace


@dataclass(frozen=True, slots=True)
class Recommended:
    """What campaigns recommend.

    Attributes:
        studies: The campaigns' studies; of several searches of an optimizer on a workload the first.
        surrogates: Surrogates of the trials of all searches.
        frames: Their trials and confirmation runs, see :mod:`analysis.defaults.pooled`.
        runs: Of configurations on fresh seeds.
        every: What is recommended of each optimizer.
        exact: Whether the best trials as they were, instead of robust configurations.
    """

    studies: Sequence[Study]
    surrogates: Sequence[SurrogateStudy]
    frames: Frames
    runs: Evaluated
    every: Sequence[OptimizerDefaults]
    exact: bool

    @property
    def configurations(self) -> list[Recommendation]:
        """What each workload recommends of each optimizer."""
        return [one for defaults in self.every for one in defaults.workloads.values()]

    def again(self, storage: BaseStorage) -> Recommended:
        """Return what is recommended now that more evaluation runs are there."""
        from analysis.defaults import Evaluated, ran, recommend
        from analysis.load import evaluations

        evaluated = Evaluated(evaluations(storage, self.studies))
        trials, confirmed = self.frames.trials, self.frames.confirmations
        every = recommend(self.surrogates, trials, confirmed, exact=self.exact, measured=evaluated)
        return replace(self, every=every, runs=ran(self.surrogates, trials, confirmed, evaluated))


def recommended(
    storage: BaseStorage,
    shown: str,
    campaigns: Sequence[str],
    *,
    optimizers: Sequence[str] = (),
    workloads: Sequence[str] = (),
    exact: bool = False,
) -> Recommended:
    """Return what campaigns recommend.

    Args:
        storage: Optuna's, with the campaigns.
        shown: The storage as a reader may see it.
        campaigns: Their names; no two of them may have a study of the same optimizer on the same workload.
        optimizers: Of these alone; all without any.
        workloads: Likewise.
        exact: The best trials as they were, instead of robust configurations.

    Raises:
        UserError: A campaign, an optimizer or a workload is not there, or nothing can be recommended.
    """
    import joblib
    import numpy as np

    from analysis.defaults import SEED, Evaluated, pooled, ran, recommend, surrogate_study
    from analysis.load import check_protocols, evaluations, read
    from analysis.pool import pool
    from studies.training.allowance import cpus

    searches = _studies(storage, shown, campaigns, optimizers, workloads)
    check_protocols(searches)
    found, frames = pooled(searches, read(storage, searches))
    with pool(min(cpus(), len(found))) as parallel:
        surrogates = parallel(
            joblib.delayed(surrogate_study)(study, frames.trials, frames.curves, np.random.default_rng(SEED))
            for study in found
        )
    evaluated = Evaluated(evaluations(storage, found))
    every = recommend(surrogates, frames.trials, frames.confirmations, exact=exact, measured=evaluated)
    if not every:
        raise UserError(
            f"no trial of {', '.join(campaigns)} ran its whole budget, so there is nothing to recommend; "
            f"see how they ended with: {command_line('status', campaigns[0], *storage_again(shown))}"
        )
    runs = ran(surrogates, frames.trials, frames.confirmations, evaluated)
    return Recommended(found, surrogates, frames, runs, every, exact)


def _studies(
    storage: BaseStorage, shown: str, campaigns: Sequence[str], optimizers: Sequence[str], workloads: Sequence[str]
) -> list[Study]:
    from analysis.load import campaigns as campaigns_in
    from analysis.load import studies

    there = campaigns_in(storage)
    found: list[Study] = []
    for name in dict.fromkeys(campaigns):
        own = studies(storage, name, replicates=True)
        if not own:
            listed = f"there are: {', '.join(there)}" if there else "there is none"
            raise UserError(f"no campaign '{name}' in {shown}; {listed}{suggestion(name, there)}")
        if any(study.optimizer == ANY for study in own):
            by, again = tuned_again(own[0].campaign, shown)
            raise UserError(f"campaign '{name}' was made by {by}, which prints what it found; to see it again: {again}")
        found += own
    for what, wanted, known in (
        ("optimizer", optimizers, [study.optimizer for study in found]),
        ("workload", workloads, [study.workload for study in found]),
    ):
        for name in wanted:
            if name not in known:
                every = ", ".join(dict.fromkeys(known))
                raise UserError(f"--{what} {name}: {', '.join(campaigns)} has only {every}{suggestion(name, known)}")
    found = [
        study
        for study in found
        if (not optimizers or study.optimizer in optimizers) and (not workloads or study.workload in workloads)
    ]
    for name in dict.fromkeys(study.optimizer for study in found):
        _same_everywhere([study for study in found if study.optimizer == name])
    pairs = [(study.optimizer, study.workload) for study in found if study.replicate == 1]
    twice = next((pair for pair in pairs if pairs.count(pair) > 1), None)
    if twice:
        raise UserError(
            f"two of the campaigns have a study of {twice[0]} on {twice[1]}; name them one by one, or leave one out"
        )
    return found


def _same_everywhere(found: Sequence[Study]) -> None:
    """Refuse studies of campaigns that call different optimizers by the same name."""
    first, *others = found
    for other in others:
        tables = [custom_optimizers(study.campaign).get(first.optimizer) for study in (first, other)]
        if tables[0] != tables[1]:
            [one, another] = ["the project's own" if table is None else made_by(table) for table in tables]
            raise UserError(
                f"{first.optimizer} is {one} in campaign '{first.campaign['name']}' and {another}"
                f"{' with other arguments' if one == another else ''} in '{other.campaign['name']}'; "
                "name the campaigns one by one, or leave it out with --optimizer"
            )


def stored_space(study: Study) -> SearchSpace:
    """Return the search space of a study, as it was stored.

    Raises:
        UserError: It was stored by another version.
    """
    space = study.attributes.get("search_space")
    try:
        if not isinstance(space, Mapping):
            raise UserError(f"study '{study.name}' stores no search space")
        return from_dict(space)
    except (UserError, KeyError, TypeError) as error:
        raise unreadable_space(study, error) from None


def unreadable_space(study: Study, error: Exception) -> UserError:
    """Return the error for a study whose search space cannot be read."""
    asked = "" if "another version" in str(error) else "; was it stored by another version?"
    return UserError(f"study '{study.name}': its search space cannot be read ({error}){asked}")
