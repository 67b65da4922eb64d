"""An optimizer of a person's own, its row, and a campaign with it: texts, for a directory outside this project."""

from __future__ import annotations

MINE = """\
import torch
from sofim import OptimizerSpec


class Signed(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            first, second = group["betas"]
            for p in (p for p in group["params"] if p.grad is not None):
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(torch.sign(torch.lerp(p.grad, m, first)), alpha=-group["lr"])
                m.lerp_(p.grad, 1 - second)


def signed(params, beta1, **arguments):
    return Signed(params, betas=(beta1, 0.99), **arguments)


spec = OptimizerSpec(
    "signed-row",
    signed,
    space={
        "lr": {"low": 1e-4, "high": 1e-1, "log": True, "default": 1e-2},
        "beta1": {"low": 0.8, "high": 0.99, "log_of_one_minus": True, "default": 0.9},
    },
)
"""

CAMPAIGN = """\
name = "own"
workloads = ["digits-mlp"]
optimizers = ["sgd", "signed"]
trials = 3
epochs = 2
sampler = "random"
pruner = "none"

[optimizer.signed]
factory = "mine:Signed"
arguments = { betas = ["beta1", "beta2"] }

[search_space.signed]
lr = { low = 1e-4, high = 1e-1, log = true, default = 1e-2 }
weight_decay = { low = 1e-3, high = 1.0, log = true, default = 0.1, rank = 1 }
beta1 = { low = 0.8, high = 0.99, log_of_one_minus = true, default = 0.9 }
beta2 = 0.99
"""

SCRIPT = f"""\
{MINE}

if __name__ == "__main__":
    import sys
    from dataclasses import replace

    import mine
    import studies

    found = studies.tune(
        "digits-mlp", budget=6, optimizers=["sgd", spec, replace(mine.spec, key="of-a-module")],
        epochs=1, seeds=2, address=sys.argv[1], save="best",
    )
    print(found.code)
    print(*sorted(row.optimizer for row in found.optimizers))
"""
"""One optimizer is defined in the script that Python runs, another in ``mine``; nodes can import neither."""
