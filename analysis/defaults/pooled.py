"""The searches that a campaign made of one optimizer on one workload, as one: it recommends what all of them say."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.study import Frames, Study

_STRIDE = 1_000_000  # more trials than a search has


def pooled(studies: Sequence[Study], frames: Frames) -> tuple[list[Study], Frames]:
    """Return the first searches, and the frames of all with the rows of a repeated search under the first one's name.

    Trials of different searches keep different numbers, see `search_of`.

    Args:
        studies: Of campaigns, replicates included.
        frames: Of these.
    """
    place = {(study.campaign["name"], study.workload, study.optimizer, study.replicate): study for study in studies}
    first = {
        study.name: place.get((study.campaign["name"], study.workload, study.optimizer, 1), study) for study in studies
    }
    replicate = {study.name: study.replicate for study in studies}
    own = [study for study in studies if first[study.name] is study]
    if len(own) == len(studies):
        return own, frames

    def renamed(frame: pd.DataFrame, numbers: str, more: str | None = None) -> pd.DataFrame:
        offset = (frame["study"].map(replicate).fillna(1).astype("int64") - 1) * _STRIDE
        name = frame["study"].map({name: study.name for name, study in first.items()})
        columns = {
            column: frame[column] + offset for column in (numbers, more) if column is not None and column in frame
        }
        return frame.assign(study=name.fillna(frame["study"]), **columns)

    return own, Frames(
        trials=renamed(frames.trials, "number"),
        curves=renamed(frames.curves, "number"),
        confirmations=renamed(frames.confirmations, "number", "confirms"),
    )


def search_of(number: int) -> int:
    """Return which of the searches a trial of pooled frames is of, from 1.

    >>> search_of(17), search_of(2_000_004)
    (1, 3)
    """
    return number // _STRIDE + 1
