"""The table of optimizers, and what each needs of a training loop.

The loop asks the row, never the name. A new optimizer is one file and one row here; the contract tests run over the
table and need no change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch

from sofim._matrices import muon_groups
from sofim._nadamw import NAdamW
from sofim._nystrom_sgd import NystromSGD
from sofim._sofim import SOFIM
from sofim._sophia import Sophia
from sofim.factories import adahessian, ademamix, lion, muon, prodigy, schedule_free_adamw, shampoo, soap


@dataclass(frozen=True, slots=True)
class OptimizerSpec:
    """One row of `OPTIMIZERS`.

    Args:
        key: The name that registry, search spaces, studies and figures share.
        factory: `factory(params, **arguments)`, with torch's argument names.
        needs_closure: `step(closure)`, where the closure clears the gradients, computes the loss, calls backward and
            returns the loss.
        needs_create_graph: `loss.backward(create_graph=True)` before `step()`; set the gradients to None afterwards,
            or the graph is never freed.
        needs_hessian: It has `refresh_due: bool` and `refresh(loss) -> int`. When due, refresh comes before
            `loss.backward()`, and returns the forward-backward passes that it cost.
        evaluations_per_step: Forward-backward passes of a step apart from closure calls and refreshes, those of the
            loop's own `loss.backward()` included.
        groups: Makes the parameter groups of a model, for an optimizer that treats some weights otherwise than others;
            `None`: all parameters that require a gradient, in one group. Each group has its own options, and what the
            factory is given holds for the groups that do not say otherwise.
        has_modes: It has `train()` and `eval()`, and its parameters are what is evaluated, and exported, only between
            `eval()` and `train()`.
        schedule: The shape of the learning rate's course that the method asks for, `"constant"`, where it takes the
            place of a schedule: it has a campaign's warm-up, and of the campaign's schedule nothing else. `None`: it
            has the campaign's, as all others do.
        source: Paper and implementation.
        space: Of an optimizer of one's own, what is searched: a `search_spaces.SearchSpace`, or a table as under
            `[search_space.KEY]` in a campaign's file. The rows of `OPTIMIZERS` have theirs in `SEARCH_SPACES`.

    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = OPTIMIZERS["sofim"].factory(model.parameters(), lr=0.1, rho=1.0)
    """

    key: str
    factory: Callable[..., torch.optim.Optimizer]
    needs_closure: bool = False
    needs_create_graph: bool = False
    needs_hessian: bool = False
    evaluations_per_step: int = 1
    groups: Callable[[torch.nn.Module], list[dict[str, Any]]] | None = None
    has_modes: bool = False
    schedule: str | None = None
    source: str = ""
    space: object = None


_ROWS = (
    OptimizerSpec("sofim", SOFIM, source="arXiv 2403.02833"),
    OptimizerSpec("sgd", partial(torch.optim.SGD, momentum=0.9), source="torch.optim.SGD; nesterov=True is an option"),
    OptimizerSpec("adam", torch.optim.Adam, source="arXiv 1412.6980, torch.optim.Adam"),
    OptimizerSpec("adamw", torch.optim.AdamW, source="arXiv 1711.05101, torch.optim.AdamW"),
    OptimizerSpec(
        "adahessian",
        adahessian,
        needs_create_graph=True,
        evaluations_per_step=2,
        source="arXiv 2006.00719, pytorch_optimizer.AdaHessian",
    ),
    OptimizerSpec("lbfgs", torch.optim.LBFGS, needs_closure=True, evaluations_per_step=0, source="torch.optim.LBFGS"),
    OptimizerSpec("nystrom-sgd", NystromSGD, needs_hessian=True, source="arXiv 2110.08577"),
    OptimizerSpec("muon", muon, groups=muon_groups, source="arXiv 2502.16982, pytorch_optimizer.Muon"),
    OptimizerSpec(
        "schedule-free-adamw",
        schedule_free_adamw,
        has_modes=True,
        schedule="constant",
        source="arXiv 2405.15682, pytorch_optimizer.ScheduleFreeAdamW; constant rate whatever the schedule",
    ),
    OptimizerSpec("prodigy", prodigy, source="arXiv 2306.06101, pytorch_optimizer.Prodigy"),
    OptimizerSpec(
        "sofim-gradient",
        partial(SOFIM, direction="gradient"),
        source="SOFIM, its inverse applied to the newest gradient, as FedSift does after arXiv 2601.09166v3",
    ),
    OptimizerSpec(
        "sofim-tensor",
        partial(SOFIM, blocks="tensor"),
        source="arXiv 2403.02833, with a Fisher block for each tensor",
    ),
    OptimizerSpec("nadamw", NAdamW, source="arXiv 1910.05446, torch.optim.NAdam with constant momentum"),
    OptimizerSpec("soap", soap, source="arXiv 2409.11321, pytorch_optimizer.SOAP"),
    OptimizerSpec("shampoo", shampoo, source="arXiv 2309.06497, on statistics of pytorch_optimizer.SOAP"),
    OptimizerSpec("lion", lion, source="arXiv 2302.06675, pytorch_optimizer.Lion"),
    OptimizerSpec("ademamix", ademamix, source="arXiv 2409.03137, pytorch_optimizer.AdEMAMix"),
    OptimizerSpec("sophia", Sophia, needs_hessian=True, source="arXiv 2305.14342, Sophia-H"),
)

OPTIMIZERS: Mapping[str, OptimizerSpec] = MappingProxyType({row.key: row for row in _ROWS})
"""Every optimizer by its key, read-only."""
