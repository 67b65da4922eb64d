"""What tuning gained over the default: measured, on the seeds of the winner's confirmation.

Probst, Boulesteix and Bischl (2019) ask a surrogate. Under a sampler that learns, the default is often where it has
seen little, and what it says there may be worse than any run or better than the metric can be. Two configurations are
cheap to run, so that ``sofim confirm NAME --ablation`` does.
"""

from __future__ import annotations

import math

import pandas as pd

COLUMNS = ("parameter", "gain", "gain_low", "gain_high", "gain_percent")
ALL = "(all)"


def tunability(gain: tuple[float, float, float], unit: float) -> pd.DataFrame:
    """Return what tuning all parameters together gained; what each gained is in the path of `ablation`.

    Args:
        gain: Of the winner over the default, with its interval, see `analysis.sensitivity.ablation.whole_gain`.
        unit: Goodness that 100 % is; NaN on a logarithmic scale, where a gain is a factor.

    Returns:
        Columns: ``parameter`` (``"(all)"``), ``gain`` with ``gain_low``, ``gain_high`` (in units of the metric,
        positive is better; on a logarithmic scale the factor by which it is better) and ``gain_percent``; empty where
        it is not known.
    """
    rows = [] if math.isnan(gain[0]) else [(ALL, *gain, 100 * gain[0] / unit)]
    return pd.DataFrame(rows, columns=list(COLUMNS))
