"""Nyström-SGD."""

from __future__ import annotations

from search_spaces._base import SearchSpace
from search_spaces._parameter import Parameter
from search_spaces._ranges import BATCH_SIZE, COUPLED_DECAY

SPACE = SearchSpace(
    optimizer="nystrom-sgd",
    decays=("coupled",),
    declared={
        "lr": Parameter.log(1e-4, 1.0, default=0.1, reason="The authors' experiments: 1e-4 to 1."),
        "rho": Parameter.log(
            1e-3,
            1e2,
            default=1.0,
            rank=2,
            reason=(
                "The authors' 1e-5 to 1e2 without the two lowest decades: directions outside the sketch take steps of "
                "lr / rho, and in a network nearly all directions are outside."
            ),
        ),
        "rank": Parameter.integer(
            4,
            32,
            log=True,
            default=10,
            rank=4,
            reason=(
                "The authors' 10 and 20 with some room; their 100 is left out since each column costs a Hessian-vector "
                "product and a copy of the parameters."
            ),
        ),
        "update_period": Parameter.integer(
            10,
            500,
            log=True,
            default=100,
            rank=4,
            reason=(
                "Steps between refreshes: the authors refresh once an epoch, which is 6 to 3,000 steps here; at 100 "
                "the default rank adds a tenth to two tenths to the cost of a step."
            ),
        ),
        "weight_decay": COUPLED_DECAY,
        "batch_size": BATCH_SIZE,
    },
)
