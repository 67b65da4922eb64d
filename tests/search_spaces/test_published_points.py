"""What others have published of an optimizer lies inside its search space."""

from __future__ import annotations

import pytest

from search_spaces import SEARCH_SPACES

# optimizer, who, and what they took
POINTS = [
    ("adamw", "AlgoPerf's space, lowest", {"lr": 1e-4, "beta1": 1 - 0.5, "weight_decay": 5e-3}),
    ("adamw", "AlgoPerf's space, highest", {"lr": 1e-2, "beta1": 1 - 2e-2, "weight_decay": 1.0}),
    ("nadamw", "AlgoPerf's space, lowest", {"lr": 1e-4, "beta1": 1 - 0.1, "weight_decay": 5e-3}),
    ("nadamw", "AlgoPerf v0.6, baseline", {"lr": 1.75e-3, "beta1": 1 - 0.067, "beta2": 0.9955, "weight_decay": 0.081}),
    ("soap", "arXiv 2409.11321", {"lr": 3.16e-3, "beta1": 0.95, "beta2": 0.95, "eps": 1e-8, "update_period": 10}),
    ("soap", "the authors' README", {"lr": 3e-3, "beta1": 0.95, "beta2": 0.95, "weight_decay": 0.01}),
    ("shampoo", "Modded-NanoGPT, 2024-10-29", {"lr": 1.8e-3, "beta1": 0.95, "beta2": 0.95, "update_period": 10}),
    ("lion", "arXiv 2302.06675", {"lr": 1e-4, "beta1": 0.9, "beta2": 0.99, "weight_decay": 1.0}),
    ("lion", "AlgoPerf 2026", {"lr": 2e-4, "beta1": 0.95, "beta2": 0.98, "weight_decay": 0.5}),
    (
        "ademamix",
        "arXiv 2409.03137",
        {"beta1": 0.9, "beta2": 0.999, "beta3": 0.9999, "alpha": 8.0, "weight_decay": 0.1},
    ),
    ("ademamix", "AlgoPerf 2026", {"lr": 1e-2, "beta3": 0.9999, "alpha": 8.0, "weight_decay": 0.01, "eps": 1e-8}),
    ("ademamix", "AlgoPerf 2026, tuned", {"lr": 2e-3, "beta3": 0.9995}),
    ("sophia", "arXiv 2305.14342, Sophia-H", {"beta1": 0.96, "beta2": 0.99, "gamma": 0.01, "update_period": 10}),
    ("sophia", "the authors' scripts", {"lr": 6e-4, "beta1": 0.965, "beta2": 0.99, "gamma": 0.05, "weight_decay": 0.2}),
    ("sophia", "Sassha's ResNet20", {"lr": 1e-3, "gamma": 0.01, "weight_decay": 1e-3}),
]


@pytest.mark.parametrize(("optimizer", "who", "point"), POINTS, ids=lambda value: str(value)[:40])
def test_a_published_point_can_be_found(optimizer: str, who: str, point: dict[str, float]) -> None:
    space = SEARCH_SPACES[optimizer]
    outside = {name: value for name, value in point.items() if not space.declared[name].contains(value)}
    assert not outside, who
    assert space.arguments(space.decode(space.encode({**space.default, **point})))
