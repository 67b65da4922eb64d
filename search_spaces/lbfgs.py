"""L-BFGS on minibatches."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces._base import SearchSpace
from search_spaces._parameter import Parameter, Value

NO_LINE_SEARCH = "none"


def line_search_arguments(values: Mapping[str, Value]) -> dict[str, object]:
    """Return torch's arguments: the choice ``"none"`` becomes ``None``, which TOML and categories cannot say.

    >>> line_search_arguments({"lr": 1.0, "line_search_fn": "none"})
    {'lr': 1.0, 'line_search_fn': None}
    """
    chosen = values["line_search_fn"]
    return {**values, "line_search_fn": None if chosen == NO_LINE_SEARCH else chosen}


SPACE = SearchSpace(
    optimizer="lbfgs",
    build=line_search_arguments,
    declared={
        "lr": Parameter.log(
            1e-3,
            1.0,
            default=1.0,
            reason=(
                "1 is the quasi-Newton step and where a line search starts; without one, the noise of minibatches may "
                "need a thousandth."
            ),
        ),
        "line_search_fn": Parameter.categorical(
            [NO_LINE_SEARCH, "strong_wolfe"],
            default="strong_wolfe",
            rank=2,
            reason="All that torch offers: a line search steadies the step and costs gradient evaluations.",
        ),
        "max_iter": Parameter.integer(
            1,
            10,
            log=True,
            default=4,
            rank=3,
            reason=(
                "Iterations on one batch: above 1 curvature pairs come from a single batch instead of mixing two, "
                "above 10 an epoch costs too many gradient evaluations."
            ),
        ),
        "history_size": Parameter.integer(
            5,
            50,
            log=True,
            default=10,
            rank=4,
            reason="The usual range of remembered pairs; each costs two copies of the parameters in memory.",
        ),
        "batch_size": Parameter.integer(
            64,
            1024,
            log=True,
            default=256,
            rank=3,
            reason=(
                "Four times the range of the others: L-BFGS divides differences of gradients by small steps, which "
                "amplifies the noise of small batches, and the top is the whole data set of the smallest workload."
            ),
        ),
    },
)
