"""The best trials of a study, and whether it has ended: one rule for whoever asks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.schema import COUNTED, given_up_at
from analysis.study import Study


def ranked(study: Study, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the complete trials of a study, best value first; of equal ones the lowest number, as Optuna does.

    Infeasible trials are none of them; an infinite value is a value.

    Args:
        study: Whose.
        trials: Of it, and perhaps of others; columns of :func:`analysis.load.trials`.

    Returns:
        The same columns; empty before the first complete trial with a value.
    """
    own = trials[(trials["study"] == study.name) & (trials["outcome"] == "complete")]
    own = own[~np.isnan(own["value"].to_numpy(np.float64))]
    found: pd.DataFrame = own.sort_values(["value", "number"], ascending=[study.direction == "minimize", True])
    return found


def winner(study: Study, trials: pd.DataFrame) -> pd.Series | None:
    """Return the first of `ranked`; ``None`` where there is none."""
    found = ranked(study, trials)
    return found.iloc[0] if len(found) else None


def places(study: Study, trials: pd.DataFrame) -> dict[int, int]:
    """Return the place of every complete trial of `ranked` by its number: 1 for the winner."""
    return {int(number): place for place, number in enumerate(ranked(study, trials)["number"], start=1)}


def finished(study: Study, trials: pd.DataFrame) -> bool:
    """Return whether a search has ended: all its trials did, or it was given up.

    Args:
        study: Of a campaign.
        trials: Of it, and perhaps of others; columns of :func:`analysis.load.trials`.
    """
    outcomes = trials[trials["study"] == study.name].sort_values("number")["outcome"]
    ended = outcomes[outcomes.isin(COUNTED)]
    wanted = study.campaign.get("trials")
    return given_up_at(outcomes.replace("running", "lost")) is not None or (
        isinstance(wanted, int) and len(ended) >= wanted
    )
