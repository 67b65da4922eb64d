"""REINFORCE on gymnasium's CartPole-v1: a policy gradient instead of a loss of data, seconds a trial.

An example is an episode, so that the batch size is the episodes of a step. How they begin is drawn from the generator
of the data order, what the policy does from torch's global generator; all episodes of a batch are played side by side.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.errors import UserError
from studies.workloads._base import HeldOut, Metric, Workload

_MOST_STEPS = 500  # of an episode of CartPole-v1, each of which is rewarded with 1
_DISCOUNT = 0.99
_EVALUATED = 400
"""Episodes of an evaluation. Their returns deviate by up to 100, where the policy holds the pole half of the time: the
standard error of their mean is 5 there, 1 % of the greatest return, for a tenth of a second of one core."""


def _require_gymnasium(_directory: Path | None = None) -> None:
    if find_spec("gymnasium") is None:
        raise UserError(
            "workload cartpole-reinforce: gymnasium is not installed; install it: pip install 'sofim-studies[rl]'"
        )


def _policy() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))  # the log-odds of a push to the right


def _starts(_data: None, number: int, generator: torch.Generator | None = None) -> Tensor:
    """Return states [n, 4] as episodes begin with: each number within ±0.05."""
    return torch.rand(number, 4, generator=generator) * 0.1 - 0.05


@torch.no_grad()
def _play(policy: nn.Module, starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Play an episode from each start.

    Returns:
        What was observed [steps, n, 4], whether the push was to the right [steps, n], and which episodes were still
        going on then [steps, n].
    """
    from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

    cart_poles: Any = CartPoleVectorEnv(len(starts), max_episode_steps=_MOST_STEPS)
    cart_poles.reset(seed=0)  # an episode that has ended is followed by another, which is not looked at
    cart_poles.state = starts.double().cpu().numpy().T.copy()
    observed, going_on = starts, torch.ones(len(starts), dtype=torch.bool, device=starts.device)
    steps = []
    while going_on.any():
        right = torch.rand(len(starts), device=starts.device) < policy(observed).squeeze(1).sigmoid()
        steps.append((observed, right, going_on))
        states, _, fallen, timed_out, _ = cart_poles.step(right.long().cpu().numpy())
        observed = torch.from_numpy(states).to(starts)
        going_on = going_on & ~torch.from_numpy(fallen | timed_out).to(starts.device)
    observations, actions, masks = zip(*steps, strict=True)
    return torch.stack(observations), torch.stack(actions), torch.stack(masks)


def _rewards(going_on: Tensor) -> Tensor:
    """Return discounted rewards [steps, n], of which an episode without end has 1 in sum."""
    steps = torch.arange(len(going_on), device=going_on.device)
    return (1 - _DISCOUNT) * _DISCOUNT ** steps[:, None] * going_on


def _objective(policy: nn.Module, starts: Tensor) -> Tensor:
    """Return 1 less the mean discounted return of new episodes, with REINFORCE's gradient.

    The value is the return itself, so that line searches and those who watch the loss see what is minimized; its
    derivatives, the second ones included, are those of the expected return without bias (DiCE, arXiv 1802.05098). The
    baseline of a step is what the other episodes that came so far had from there on, which does not depend on what
    this episode does.
    """
    observations, right, going_on = _play(policy, starts)
    log_odds = policy(observations).squeeze(2)
    log_probabilities = -F.softplus(torch.where(right, -log_odds, log_odds)) * going_on
    rewards = _rewards(going_on)
    still_to_come = rewards.flip(0).cumsum(0).flip(0)
    others = (going_on.sum(dim=1, keepdim=True) - 1).clamp(min=1)
    baseline = (still_to_come.sum(dim=1, keepdim=True) - still_to_come) / others * going_on
    returns = _one(log_probabilities.cumsum(0)) * rewards + (1 - _one(log_probabilities)) * baseline
    return 1 - returns.sum(dim=0).mean()


def _one(log_probabilities: Tensor) -> Tensor:
    """Return ones, with the derivatives of the probabilities."""
    return (log_probabilities - log_probabilities.detach()).exp()


def _evaluate(policy: nn.Module, _data: None, _split: HeldOut) -> dict[str, Tensor]:
    """Play episodes by the policy as it is trained, its pushes drawn: the splits have other seeds."""
    starts = _starts(None, _EVALUATED).to(next(policy.parameters()).device)
    going_on = _play(policy, starts)[2]
    return {
        "loss": 1 - _rewards(going_on).sum(dim=0).mean(),
        "mean_return": going_on.sum(dim=0).double().mean(),
    }


CARTPOLE_REINFORCE = Workload(
    name="cartpole-reinforce",
    kind="reinforcement",
    load=_require_gymnasium,
    model=_policy,
    sample=_starts,
    examples=256,
    objective=_objective,
    evaluate=_evaluate,
    metric=Metric("mean_return", "maximize", meaning="of 400 episodes, at most 500", bounds=(0.0, 500.0)),
    target=500.0,
    epochs=10,
    source="gymnasium's CartPole-v1; REINFORCE as of Williams (1992), with a baseline",
    licence="no data; gymnasium is MIT",
)
