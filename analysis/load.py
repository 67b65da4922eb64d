"""From the database to tidy frames.

`studies` finds what campaigns made and `study` any single study, also one of another program. `trials`, `curves` and
`confirmations` are frames of them, `read` all three at once and of the same moment. From a database they come by SQL,
from Optuna's other storages through Optuna, and are equal. All may be read while a driver writes: a trial that has not
ended yet is ``running`` and has no value, whatever is written of it in the meantime.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import pandas as pd
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy

from analysis import _frames
from analysis._optuna import OptunaReader
from analysis._rows import Reader
from analysis._sql import SqlReader
from analysis.parameters import ParameterInfo, from_distributions, from_space
from analysis.schema import CONFIRM, DEFAULT, EVALUATE, STEP, WINNER, Maker, maker_of
from analysis.study import Frames, Study, check_protocols
from search_spaces.errors import UserError, suggestion

__all__ = [
    "Frames",
    "ParameterInfo",
    "Study",
    "ablation_runs",
    "campaigns",
    "check_protocols",
    "check_whole",
    "confirmations",
    "confirming",
    "curves",
    "damaged",
    "open_reader",
    "read",
    "repeated",
    "studies",
    "study",
    "trials",
]

_ASIDE = (CONFIRM, EVALUATE)  # what names of studies end in that hold no trials of a search
_NAMES_SHOWN = 10


def studies(storage: BaseStorage, campaign: str | None = None, *, replicates: bool = False) -> list[Study]:
    """Return the studies that campaigns made, in the order in which they were created.

    Args:
        storage: Optuna's.
        campaign: The name of one; ``None`` for all.
        replicates: Also those that repeat another's search, see :attr:`Study.replicate`.

    Raises:
        UserError: A study of the one campaign is damaged. Of all, those are left out, and `damaged` names them.
    """
    every = storage.get_all_studies()
    if campaign is not None:
        _check_whole(storage, every, campaign)
    own = [frozen for frozen in every if _is_own(frozen)]
    confirming = {frozen.study_name: frozen.user_attrs for frozen in own if frozen.study_name.endswith(CONFIRM)}
    found = [
        replace(_describe(storage, frozen), confirmation=confirming.get(frozen.study_name + CONFIRM, {}))
        for frozen in own
        if not frozen.study_name.endswith(_ASIDE)
        if campaign is None or frozen.user_attrs["campaign"]["name"] == campaign
    ]
    return sorted((one for one in found if replicates or one.replicate == 1), key=lambda study: study.study_id)


def repeated(storage: BaseStorage, of: Sequence[Study]) -> dict[str, list[pd.DataFrame]]:
    """Return the replicates of studies: by the name of a study, its trials and those of each replicate.

    Returns:
        Frames as of `trials`, the study's own first; studies without a replicate are left out.
    """
    wanted = {(one.campaign["name"], one.workload, one.optimizer): one.name for one in of if one.replicate == 1}
    groups: dict[str, list[Study]] = {}
    for one in studies(storage, replicates=True):
        name = wanted.get((one.campaign["name"], one.workload, one.optimizer))
        if name is not None:
            groups.setdefault(name, []).append(one)
    every = {name: sorted(group, key=lambda one: one.replicate) for name, group in groups.items() if len(group) > 1}
    return {name: [trials(storage, [one]) for one in group] for name, group in every.items()}


def study(storage: BaseStorage, name: str, objective: int | None = None) -> Study:
    """Return the study called ``name``, whoever made it.

    Args:
        storage: Optuna's.
        name: Of the study.
        objective: Which one to look at, counted from 0 as in Optuna's ``trial.values``; it may be left out where there
            is one alone.

    Raises:
        UserError: There is none, it has no such objective, or several and none is named, or it holds the
            confirmation runs of another.
    """
    every = {frozen.study_name: frozen for frozen in storage.get_all_studies()}
    if name not in every:
        names = [known for known, found in every.items() if not (known.endswith(_ASIDE) and _is_own(found))]
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        listed = f"there are {', '.join(names[:_NAMES_SHOWN])}{more}" if names else "it has no study"
        raise UserError(f"no study '{name}' in the storage; {listed}{suggestion(name, names)}")
    frozen = every[name]
    if _is_own(frozen) and name.endswith(_ASIDE):
        search, _, suffix = name.rpartition("/")
        kind = "confirmation" if suffix == CONFIRM[1:] else "evaluation"
        raise UserError(f"study '{name}' holds {kind} runs; ask for '{search}'")
    count = len(frozen.directions)
    if objective is None and count > 1:
        raise UserError(
            f"study '{name}' has {count} objectives, and a sensitivity is of one: name it with --objective N "
            f"({_listed_objectives(frozen)})"
        )
    if objective is not None and not 0 <= objective < count:
        raise UserError(f"study '{name}' has no objective {objective}: {_listed_objectives(frozen)}")
    return _describe(storage, frozen, objective or 0)


def _listed_objectives(frozen: FrozenStudy) -> str:
    several = enumerate(frozen.directions)
    return ", ".join(f"{place} is {_metric(frozen, place)} ({direction.name.lower()})" for place, direction in several)


def check_whole(storage: BaseStorage, campaign: str) -> None:
    """Refuses a campaign with a study that has lost some of what a campaign stores with it.

    Raises:
        UserError: It has one; the line names it, and what it lacks.
    """
    _check_whole(storage, storage.get_all_studies(), campaign)


def _check_whole(storage: BaseStorage, every: Sequence[FrozenStudy], campaign: str) -> None:
    for frozen, maker in _damaged(storage, every):
        if maker.campaign == campaign:
            raise UserError(
                f"{_damage(frozen, maker)}; restore the storage from a copy, or report on its studies one by one "
                "with sofim report --study NAME"
            )


def damaged(storage: BaseStorage) -> dict[str, list[str]]:
    """Return by campaign, a line for each of its studies that has lost some of what a campaign stores with it."""
    found: dict[str, list[str]] = {}
    for frozen, maker in _damaged(storage, storage.get_all_studies()):
        found.setdefault(maker.campaign, []).append(_damage(frozen, maker))
    return found


def _damaged(storage: BaseStorage, every: Sequence[FrozenStudy]) -> Iterator[tuple[FrozenStudy, Maker]]:
    for frozen in every:
        maker = maker_of(frozen.study_name, frozen.user_attrs)
        # a driver stores them one by one, "protocol" last: where that and trials are missing, it is about to
        if maker.damage and ("protocol" in frozen.user_attrs or storage.get_n_trials(frozen._study_id)):
            yield frozen, maker


def _damage(frozen: FrozenStudy, maker: Maker) -> str:
    names = " and ".join(f"'{name}'" for name in maker.damage)
    many = len(maker.damage) > 1
    return (
        f"study '{frozen.study_name}' of campaign '{maker.campaign}' is damaged: its attribute{'s' if many else ''} "
        f"{names} {'are' if many else 'is'} missing or not what a campaign stores"
    )


def campaigns(storage: BaseStorage) -> list[str]:
    """Return the names of the campaigns in ``storage``, oldest first."""
    return list(dict.fromkeys(str(study.campaign["name"]) for study in studies(storage)))


def trials(storage: BaseStorage, of: Sequence[Study]) -> pd.DataFrame:
    """Return every trial of the studies, a row each, in the order of the studies and of the trials' numbers.

    Returns:
        Columns: ``study``, ``workload``, ``optimizer``, ``number``, ``outcome`` (running, also for one that waits in
        another program's queue; complete, pruned, diverged, failed, or lost for one that is asked again; in a study of
        another program infeasible, for one that ended and broke a constraint), ``value`` (of the metric, NaN where
        there is none; a complete trial's is its best, and may be infinite, a pruned one's its last), ``seconds`` (of
        training; of a study of another program from start to end, NaN before that), ``gradient_evaluations`` (a float;
        NaN in a study of another program), ``failure`` (what broke it, else missing), ``params`` (a dict of stored
        values, without those that the trial has not), ``seed`` (of weights and data order; missing in a study of
        another program), ``tested`` (whether anything of it was measured on test data), ``drawn_by`` (whose its
        configuration is, one of `analysis.schema.DRAWERS`; missing in studies of protocol 1 and of other programs, and
        of runs that repeat a configuration).
    """
    reader = open_reader(storage, [study.study_id for study in of])
    return _frames.trial_frame(reader, _frames.index(reader, _by_id(of)))


def curves(storage: BaseStorage, of: Sequence[Study], *, confirmed: bool = False) -> pd.DataFrame:
    """Return every epoch of every trial of the studies, a row each, in the order of studies, numbers and epochs.

    Args:
        storage: Optuna's.
        of: The studies.
        confirmed: The epochs of their winners' confirmation runs instead, those of `confirmations`.

    Returns:
        Columns: ``study``, ``number``, ``epoch`` (Optuna's step, in a study of another program), ``value`` (of the
        metric; NaN or infinite where it was), and from the history that ended trials of campaigns have, NaN elsewhere:
        ``seconds`` and ``gradient_evaluations`` (both since the start of the trial), ``train_loss``,
        ``validation_loss``. NaN in these stands for infinite too.
    """
    by_id = confirming(storage, of) if confirmed else _by_id(of)
    reader = open_reader(storage, list(by_id))
    entries = _frames.index(reader, by_id)
    return _frames.curve_frame(reader, _frames.of_role(reader, entries, WINNER) if confirmed else entries)


def confirmations(storage: BaseStorage, of: Sequence[Study]) -> pd.DataFrame:
    """Return every confirmation run of the studies' winners, and of their replicates', a row each, by study and number.

    Runs of other configurations on the same seeds are in `ablation_runs`.

    Returns:
        Columns: those of `trials` (``study`` is the study whose winner was run, ``number`` counts its confirmation
        runs), then ``confirms`` (number of the trial whose configuration was run: a winner may have been overtaken
        since, and its runs are still here), ``rank`` (its place among the winners when it was run, 1 is best),
        ``exclusive`` (whether it ran alone on its device as far as its campaign goes, missing until it has ended),
        ``device``, ``other_cores`` (that other programs kept busy meanwhile, on average) of ``cores``, and every
        ``test_…`` attribute that a run has: test data's alone. A ``lost`` run was, or will be, run again.
    """
    by_id = confirming(storage, of)
    reader = open_reader(storage, list(by_id))
    entries = _frames.of_role(reader, _frames.index(reader, by_id), WINNER)
    return _frames.confirmation_frame(reader, entries)


def ablation_runs(storage: BaseStorage, of: Sequence[Study]) -> pd.DataFrame:
    """Return what ``sofim confirm --ablation`` ran: the default, the steps from there to the winner, and the winner.

    Only studies of which the default was run have rows. All runs of a study are on the same seeds and splits, as far as
    they were asked for.

    Returns:
        Columns: those of `trials` (``study`` is the search), then ``role`` (``"default"``, ``"step"``, ``"winner"``),
        of a step ``step`` (its place on the path, from 1), ``changed`` (the parameter that was changed last) and
        ``path_to`` (the number of the trial that the path leads to: a winner may have been overtaken since), of a
        winner ``confirms`` (the number of its trial; it is the last step of the path to that), and every ``test_…``
        attribute. The rows are in no particular order.
    """
    by_id = confirming(storage, of)
    reader = open_reader(storage, list(by_id))
    frame = _frames.ablation_frame(reader, _frames.index(reader, by_id))
    found: pd.DataFrame = frame[frame["study"].isin(frame.loc[frame["role"] == DEFAULT, "study"])]
    return found[found["role"].isin([DEFAULT, STEP, WINNER])].reset_index(drop=True)


def evaluations(storage: BaseStorage, of: Sequence[Study]) -> pd.DataFrame:
    """Return every run of a recommended configuration on fresh seeds of a workload (``sofim evaluate``), a row each.

    Returns:
        Columns: those of `trials` (``study`` is the study on whose workload it was run), then ``evaluates``: the
        stored configuration, fixed values included.
    """
    by_id = evaluating(storage, of)
    reader = open_reader(storage, list(by_id))
    return _frames.evaluation_frame(reader, _frames.index(reader, by_id))


def read(storage: BaseStorage, of: Sequence[Study]) -> Frames:
    """Return the frames of the studies; ``trials`` and ``curves`` tell of the same trials, in the same state."""
    reader = open_reader(storage, [study.study_id for study in of])
    index = _frames.index(reader, _by_id(of))
    return Frames(
        trials=_frames.trial_frame(reader, index),
        curves=_frames.curve_frame(reader, index),
        confirmations=confirmations(storage, of),
    )


def _by_id(of: Sequence[Study]) -> dict[int, Study]:
    return {study.study_id: study for study in of}


def confirming(storage: BaseStorage, of: Sequence[Study]) -> dict[int, Study]:
    """Return the studies, and their replicates, by the id of the study that holds their confirmation runs.

    Those without are left out.
    """
    firsts = {(one.campaign["name"], one.workload, one.optimizer) for one in of if one.own and one.replicate == 1}
    every = studies(storage, replicates=True) if firsts else []
    others = [one for one in every if (one.campaign["name"], one.workload, one.optimizer) in firsts]
    return _holding(storage, list({one.name: one for one in (*of, *others)}.values()), CONFIRM)


def evaluating(storage: BaseStorage, of: Sequence[Study]) -> dict[int, Study]:
    """Return the studies by the id of the study that holds their evaluation runs; those without are left out."""
    return _holding(storage, of, EVALUATE)


def _holding(storage: BaseStorage, of: Sequence[Study], suffix: str) -> dict[int, Study]:
    ids = {frozen.study_name: frozen._study_id for frozen in storage.get_all_studies() if _is_own(frozen)}
    return {ids[study.name + suffix]: study for study in of if study.own and study.name + suffix in ids}


def _is_own(frozen: FrozenStudy) -> bool:
    return len(frozen.directions) == 1 and maker_of(frozen.study_name, frozen.user_attrs).is_campaign


def _metric(frozen: FrozenStudy, objective: int) -> str:
    """Return the name that a study of another program gives to one of its objectives."""
    names = frozen.system_attrs.get("study:metric_names")
    if names:
        return str(names[objective])
    return "value" if len(frozen.directions) == 1 else f"values[{objective}]"


def _describe(storage: BaseStorage, frozen: FrozenStudy, objective: int = 0) -> Study:
    own, attributes = _is_own(frozen), frozen.user_attrs
    return Study(
        study_id=frozen._study_id,
        name=frozen.study_name,
        campaign=attributes["campaign"] if own else {},
        workload=attributes["workload"] if own else "",
        optimizer=attributes["optimizer"] if own else "",
        metric=attributes["metric"] if own else _metric(frozen, objective),
        direction="maximize" if frozen.directions[objective] == StudyDirection.MAXIMIZE else "minimize",
        attributes=attributes,
        parameters=_parameters(storage, frozen),
        own=own,
        objective=objective,
        num_objectives=len(frozen.directions),
    )


def _parameters(storage: BaseStorage, frozen: FrozenStudy) -> dict[str, ParameterInfo]:
    if _is_own(frozen) and isinstance(space := frozen.user_attrs.get("search_space"), Mapping):
        with suppress(UserError):  # of another version: the ranges at least are in the trials
            return from_space(space)
    found = open_reader(storage, [frozen._study_id]).distributions()
    return {name: from_distributions(name, listed) for name, listed in found.items()}


def open_reader(storage: BaseStorage, study_ids: Sequence[int]) -> Reader:
    """Return the reader for ``storage``."""
    if isinstance(storage, RDBStorage):
        return SqlReader(storage.engine, study_ids)
    return OptunaReader(storage, study_ids)
