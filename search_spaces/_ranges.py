"""Ranges that several optimizers share: where they mean the same thing, nobody gets the better range."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from search_spaces._parameter import NOT_NEGATIVE, Interval, Parameter

Decay = Literal["coupled", "decoupled"]
"""Where weight decay acts: as an L2 term in the gradient, or on the parameters beside the step."""

BATCH_SIZE = Parameter.integer(
    16,
    256,
    log=True,
    default=64,
    rank=3,
    reason=(
        "The same for every first-order optimizer: below 16 an epoch costs mostly overhead, above 256 the smallest "
        "workload (some 350 training examples) has a single step an epoch; 64 is Nyström-SGD's published choice."
    ),
)

MOMENTUM = Parameter.one_minus_log(
    0.5,
    0.995,
    default=0.9,
    rank=2,
    reason=(
        "1 − β from 5e-3 to 0.5 joins AlgoPerf's ranges for momentum (5e-3 to 0.3) and AdamW (2e-2 to 0.5); the same "
        "for every optimizer that averages gradients, so that supersets contain their subsets (Choi 2019)."
    ),
)

SECOND_MOMENT = Parameter.one_minus_log(
    0.9,
    0.9999,
    default=0.999,
    rank=4,
    reason=(
        "1 − β2 from 1e-4 to 0.1, two decades around the usual 1e-3 with one to spare above: the middle of TaskSet's "
        "1e-6 to 1, whose ends average over more steps than a short run has, or over one."
    ),
)

EPSILON = Parameter.log(
    1e-8,
    1.0,
    default=1e-8,
    rank=4,
    accepts=NOT_NEGATIVE,
    reason=(
        "Sivaprasad 2020's 1e-8 to 1: a large ε turns an adaptive optimizer into momentum, so leaving it out would "
        "take that limit from it (Choi 2019)."
    ),
)

UPDATE_PERIOD = Parameter.integer(
    5,
    100,
    log=True,
    default=10,
    rank=4,
    reason=(
        "Steps from one decomposition or estimate of curvature to the next: SOAP, Shampoo and Sophia are published "
        "with 10 and hold up to 100; below 5 most of the time of a step goes into it."
    ),
)

COUPLED_DECAY = Parameter.log(
    1e-7,
    1e-2,
    default=1e-5,
    rank=3,
    accepts=NOT_NEGATIVE,
    reason=(
        "An L2 term in the gradient: AlgoPerf's 1e-7 to 5e-5 for momentum, extended past the 5e-4 usual for CIFAR; "
        "the low end does nothing, so no decay is inside the space."
    ),
)

DECOUPLED_DECAY = Parameter.log(
    1e-5,
    1.0,
    default=1e-2,
    rank=3,
    accepts=NOT_NEGATIVE,
    reason=(
        "Decay of lr × weight_decay a step: Sivaprasad 2020's 1e-5 to 1e-1 joined with AlgoPerf's 5e-3 to 1; the low "
        "end does nothing, so the optimizer without decay is inside the space."
    ),
)

DECAY_RANGES: Mapping[Decay, Parameter] = {"coupled": COUPLED_DECAY, "decoupled": DECOUPLED_DECAY}
"""The range of a weight decay, by where it acts: the same number means something else there."""

DECOUPLED = Parameter.categorical(
    [False, True], default=False, reason="Where weight decay acts, the same for every optimizer of a campaign."
)


def starting_at(parameter: Parameter, default: float, whose: str) -> Parameter:
    """Return the parameter with another default, of which the reason says ``whose`` it is."""
    return dataclasses.replace(
        parameter, default=default, reason=f"{parameter.reason} The default is {whose} {default:g}."
    )


def warmup(low: float, high: float) -> Parameter:
    """Return the share of all steps during which the learning rate rises, as a parameter; the default is near 5 %."""
    return Parameter.linear(
        low,
        high,
        default=min(max(0.05, low), high),
        accepts=Interval(0.0, 1.0, open_high=True),
        reason="The campaign searches it, in the same range for every optimizer.",
    )
