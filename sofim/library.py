"""Optimizers of pytorch_optimizer as functions with torch's argument names.

The library is imported when an optimizer is made: it takes a second, which every command and every worker would wait
for. It raises errors of its own, which are no ValueError, and lets NaN pass; so arguments are checked here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sofim._checks import brought_by_extra, check_decay, check_learning_rate, check_not_negative, check_positive
from sofim._matrices import muon_groups

if TYPE_CHECKING:
    import torch
    from torch.optim.optimizer import ParamsT

__all__ = ["muon", "muon_groups", "prodigy", "schedule_free_adamw"]


def muon(
    params: ParamsT,
    lr: float = 3e-3,
    *,
    momentum: float = 0.95,
    nesterov: bool = True,
    adamw_lr_ratio: float = 1.0,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Muon for matrices, and AdamW for the rest.

    M_t = μ M_{t−1} + (1 − μ) G_t,  O_t = NS₅(μ M_t + (1 − μ) G_t), of M_t without Nesterov,
    W_t = (1 − η λ) W_{t−1} − 0.2 η √max(m, n) O_t for a matrix of m × n; NS₅, five steps of Newton and Schulz in
    bfloat16, makes all singular values about 1. Kernels of convolutions are matrices of outputs × all else.

    Source: Jordan et al., kellerjordan.github.io/posts/muon; the factor 0.2 √max(m, n), which gives the step the size
    of AdamW's so that one learning rate does for both: Liu et al., arXiv 2502.16982. Implementation: pytorch_optimizer.

    Args:
        params: Parameters, of which those with two or more dimensions are Muon's; or groups, each of which may say by
            `use_muon` whose it is, such as those of `muon_groups`.
        lr: Learning rate η ≥ 0.
        momentum: Decay μ of the average of gradients, in [0, 1).
        nesterov: Whether to step along μ M + (1 − μ) G.
        adamw_lr_ratio: AdamW's learning rate as a share of η, ≥ 0.
        betas: AdamW's decays, in [0, 1).
        eps: AdamW's ε ≥ 0.
        weight_decay: λ ≥ 0, decoupled, of both.

    Raises:
        ValueError: A hyperparameter is out of its range.
    """
    with brought_by_extra():
        from sofim._library import Muon

    check_learning_rate(lr)
    check_decay("momentum", momentum)
    check_not_negative("adamw_lr_ratio", adamw_lr_ratio)
    _check_adam(betas, eps, weight_decay)
    made: Any = Muon(
        params,
        lr=lr,
        momentum=momentum,
        nesterov=nesterov,
        adamw_lr_ratio=adamw_lr_ratio,
        adamw_betas=betas,
        eps=eps,
        weight_decay=weight_decay,
    )
    return cast("torch.optim.Optimizer", made)


def schedule_free_adamw(
    params: ParamsT,
    lr: float = 2.5e-3,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    r: float = 0.0,
) -> torch.optim.Optimizer:
    """Schedule-Free AdamW: an average of the weights in place of a decay of the learning rate.

    y_t = (1 − β₁) z_t + β₁ x_t,  z_{t+1} = z_t − η (g(y_t) / (√v̂_t + ε) + λ y_t),
    x_{t+1} = (1 − c_t) x_t + c_t z_{t+1}  with c_t = w_t / Σ w, w_t = t^r max η².
    The parameters are y, where gradients are taken, after `train()`, and x, which is evaluated, after `eval()`.

    Source: Defazio et al., arXiv 2405.15682. Implementation: pytorch_optimizer.

    Args:
        params: Parameters, or dicts that define parameter groups.
        lr: Learning rate η ≥ 0, after whatever warm-up there is.
        betas: β₁ of the interpolation, in (0, 1), and β₂ of the average of squared gradients, in [0, 1).
        eps: ε ≥ 0.
        weight_decay: λ ≥ 0, decoupled.
        r: Power of the step in the weights of the average; 0 weighs all alike.

    Raises:
        ValueError: A hyperparameter is out of its range.
    """
    with brought_by_extra():
        from sofim._library import ScheduleFreeAdamW

    check_learning_rate(lr)
    _check_adam(betas, eps, weight_decay)
    if betas[0] == 0.0:
        raise ValueError("betas[0] must be in (0, 1), not 0.0")
    check_not_negative("r", r)
    made: Any = ScheduleFreeAdamW(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, r=r)
    return cast("torch.optim.Optimizer", made)


def prodigy(
    params: ParamsT,
    lr: float = 1.0,
    *,
    d_coef: float = 1.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Prodigy: Adam whose step is measured by the distance that the weights seem to have to go.

    p_{t+1} = p_t − η d_t m_t / (√v_t + d_t ε), with averages m_t of d g, v_t of (d g)², and d the largest of the
    estimates d_coef Σ η d² ⟨g, p_0 − p⟩ / ‖Σ d² g‖₁ so far, both sums decaying by √β₂ a step.

    Source: Mishchenko and Defazio, arXiv 2306.06101, algorithm 4. Implementation: pytorch_optimizer.

    Differs from the paper: η is left out of the second sum, as the authors advise where the learning rate rises in a
    warm-up (`safeguard_warmup`).

    Args:
        params: Parameters, or groups of one learning rate.
        lr: Factor η ≥ 0, which a schedule moves.
        d_coef: Factor of the estimate, > 0.
        betas: Decays of the averages, in [0, 1).
        eps: ε ≥ 0.
        weight_decay: λ ≥ 0, decoupled: p is multiplied by 1 − η d λ.

    Raises:
        ValueError: A hyperparameter is out of its range, or the groups have several learning rates.
    """
    with brought_by_extra():
        from sofim._library import Prodigy

    check_learning_rate(lr)
    _check_adam(betas, eps, weight_decay)
    check_positive("d_coef", d_coef)
    made: Any = Prodigy(
        params, lr=lr, betas=betas, d_coef=d_coef, eps=eps, weight_decay=weight_decay, safeguard_warmup=True
    )
    return cast("torch.optim.Optimizer", made)


def _check_adam(betas: tuple[float, float], eps: float, weight_decay: float) -> None:
    for place, beta in enumerate(betas):
        check_decay(f"betas[{place}]", beta)
    check_not_negative("eps", eps)
    check_not_negative("weight_decay", weight_decay)
