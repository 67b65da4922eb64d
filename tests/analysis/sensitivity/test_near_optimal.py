"""Does the best value move from workload to workload?"""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.sensitivity.near_optimal import COLUMNS, moves


def table(*rows: tuple[str, str, tuple[float, float, float, float]]) -> pd.DataFrame:
    """Rows of (optimizer, workload, (low_low, low, high, high_high)) of ρ."""
    listed = [
        {
            "optimizer": optimizer,
            "parameter": "rho",
            "workload": workload,
            "study": f"c/{workload}/{optimizer}",
            "loss_percent": 5.0,
            "best": (low * high) ** 0.5,
            "low": low,
            "low_low": low_low,
            "low_high": low,
            "high": high,
            "high_low": high,
            "high_high": high_high,
        }
        for optimizer, workload, (low_low, low, high, high_high) in rows
    ]
    return pd.DataFrame(listed, columns=list(COLUMNS))


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ((0.05, 0.1, 3, 5), "sofim, on 2 workloads: moved alone, these are near-optimal on all 2: rho 0.1 to 1."),
        ((0.8, 2, 3, 5), "sofim, on 2 workloads: it cannot be told whether the best value moves: rho."),
        ((1.8, 2, 3, 5), "sofim, on 2 workloads: the best value moves: rho (at most 1 on a, at least 2 on b)."),
    ],
)
def test_the_sentence_follows_from_the_intervals_and_their_ends(second, says: str) -> None:
    assert moves(table(("sofim", "a", (0.01, 0.02, 1, 1.5)), ("sofim", "b", second)), ["sofim"], 2) == [says]


def test_where_too_little_is_resolved_that_is_said() -> None:
    rows = table(("sofim", "a", (0.1, 0.2, 1, 2)), ("sofim", "b", (0.1, 0.2, 1, 2)), ("sgd", "a", (0.1, 0.2, 1, 2)))
    said = moves(rows, ["sofim", "sgd"], 3)
    assert said[0] == "sofim, on 2 of 3 workloads: moved alone, these are near-optimal on all 2: rho 0.2 to 1."
    assert said[1].startswith("Whether the best values move from workload to workload cannot be told of sgd:")
    assert moves(rows, ["sofim"], 1) == []
    assert len(moves(table(), ["sofim"], 2)) == 1


def test_a_parameter_is_near_optimal_on_the_workloads_that_tell_of_it() -> None:
    lr = table(*(("sgd", workload, (0.01, 0.02, 0.1, 0.2)) for workload in "abc")).assign(parameter="lr")
    twice = table(*(("sgd", workload, (0.5, 0.8, 0.99, 0.99)) for workload in "bc")).assign(parameter="momentum")
    once = table(("sgd", "c", (16, 16, 64, 64))).assign(parameter="batch_size")
    assert moves(pd.concat([lr, twice, once]), ["sgd"], 3) == [
        "sgd, on 3 workloads: moved alone, these are near-optimal on all 3: lr 0.02 to 0.1; moved alone, these are "
        "near-optimal on the 2 that tell: momentum 0.8 to 0.99; it cannot be told whether the best value moves: "
        "batch_size."
    ]
