"""Optimizers of pytorch_optimizer as the table has them: checked, in torch's names, and with their papers' defaults.

The library is imported when an optimizer is made: that takes a second, which every command and every worker would wait
for. It raises errors of its own, which are no ValueError, and lets NaN pass.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from sofim._checks import (
    brought_by_extra,
    check_count,
    check_decay,
    check_learning_rate,
    check_not_negative,
    check_positive,
)
from sofim._matrices import muon_groups as muon_groups  # beside its factory, for whoever types the two

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from torch.optim.optimizer import ParamsT


def _made(
    place: str,
    params: ParamsT,
    lr: float | Tensor,
    betas: tuple[float, ...],
    *,
    decays: int = 2,
    period: tuple[str, int] | None = None,
    fixed: dict[str, object] | None = None,
    **not_negative: float,
) -> Optimizer:
    """Return an optimizer of the class at `place`, ``"module:class"``.

    Args:
        place: Where the class is, below `sofim`.
        params: Of the class, as are the others.
        lr: Checked as learning rate.
        betas: Checked as decays.
        decays: How many of them there are.
        period: The class's name of `update_period`, and its value.
        fixed: Arguments that no caller sets.
        not_negative: Arguments from 0.

    Raises:
        ValueError: A hyperparameter is out of its range.
    """
    check_learning_rate(lr)
    if len(betas) != decays:
        raise ValueError(f"betas must be {decays} numbers, not {betas!r}")
    for number, beta in enumerate(betas):
        check_decay(f"betas[{number}]", beta)
    for name, value in not_negative.items():
        check_not_negative(name, value)
    options: dict[str, object] = {**not_negative, **(fixed or {})}
    if period is not None:
        check_count("update_period", period[1])
        options[period[0]] = int(period[1])
    module, _, name = place.partition(":")
    with brought_by_extra():
        made_by = getattr(import_module(f"sofim.{module}"), name)
    return cast("Optimizer", made_by(params, lr=lr, betas=betas, **options))


def adahessian(
    params: ParamsT,
    lr: float | Tensor = 0.15,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-4,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = True,
    hessian_power: float = 1.0,
) -> Optimizer:
    """Return AdaHessian with the defaults of its paper and one Rademacher sample a step.

    m_t = β₁ m_{t−1} + (1 − β₁) g_t,  v_t = β₂ v_{t−1} + (1 − β₂) D_t²,  D_t = z ⊙ (H z), z of ±1
    p_t = p_{t−1} − η m̂_t / (v̂_t^{k/2} + ε)

    Source: Yao et al., arXiv 2006.00719; implementation: pytorch_optimizer, whose `update_period` is left at 1, since
    other periods distort its early bias correction. z comes from torch's global generator.

    Differs from the paper: D is not averaged over the entries of a convolution kernel. Where the loss is linear D is 0,
    and the step η m̂ / ε: with the defaults a thousand times the gradient.

    Args:
        params: Parameters, or dicts that define parameter groups.
        lr: Learning rate η ≥ 0.
        betas: Decays β₁ and β₂ of the averages of gradient and squared Hessian diagonal, in [0, 1).
        eps: ε ≥ 0, in the unit of the Hessian.
        weight_decay: λ ≥ 0; p is multiplied by 1 − η λ in each step.
        decoupled_weight_decay: False adds λ p to the gradient instead, after its curvature has been taken.
        hessian_power: k in (0, 1]; 1 is Newton-like.

    Raises:
        ValueError: A hyperparameter is out of its range.
    """
    if not 0.0 < hessian_power <= 1.0:
        raise ValueError(f"hessian_power must be in (0, 1], not {hessian_power}")
    fixed: dict[str, object] = {
        "weight_decouple": decoupled_weight_decay,
        "hessian_power": hessian_power,
        "update_period": 1,
        "num_samples": 1,
        "hessian_distribution": "rademacher",
    }
    return _made("_adahessian:AdaHessian", params, lr, betas, eps=eps, weight_decay=weight_decay, fixed=fixed)


def lion(
    params: ParamsT,
    lr: float | Tensor = 1e-4,
    *,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
) -> Optimizer:
    """Return Lion: every entry of a parameter steps by the learning rate, up or down.

    p ← (1 − η λ) p − η sign(β₁ m_{t−1} + (1 − β₁) g_t),  m_t = β₂ m_{t−1} + (1 − β₂) g_t

    Source: Chen et al., arXiv 2302.06675; implementation: pytorch_optimizer.

    Args:
        params: Parameters, or dicts that define parameter groups.
        lr: Learning rate η ≥ 0; the authors' are three to ten times smaller than AdamW's.
        betas: β₁ mixes the gradient of the step with the average, whose decay is β₂; in [0, 1).
        weight_decay: λ ≥ 0; p is multiplied by 1 − η λ in each step, so that it is larger than AdamW's.

    Raises:
        ValueError: A hyperparameter is out of its range.
    """
    return _made("_mended:Lion", params, lr, betas, weight_decay=weight_decay)


def ademamix(
    params: ParamsT,
    lr: float | Tensor = 1e-3,
    *,
    betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
    alpha: float = 5.0,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    warmup_steps: int | None = None,
) -> Optimizer:
    """Return AdEMAMix: AdamW with a second, slow average of the gradients.

    m_t = β₁ m_{t−1} + (1 − β₁) g_t,  s_t = β₃ s_{t−1} + (1 − β₃) g_t,  v_t = β₂ v_{t−1} + (1 − β₂) g_t²
    p ← (1 − η λ) p − η (m̂_t + α s_t) / (√v̂_t + ε), where s has no bias correction

    Source: Pagliardini et al., arXiv 2409.03137; implementation: pytorch_optimizer, which counts the steps of a group:
    a parameter that has its first gradient late gets less bias correction than it needs.

    Args:
        params: Parameters, or dicts that define parameter groups.
        lr: Learning rate η ≥ 0.
        betas: Decays β₁, β₂ and β₃, in [0, 1).
        alpha: α ≥ 0, the weight of the slow average; 0 is AdamW.
        eps: ε ≥ 0.
        weight_decay: λ ≥ 0; p is multiplied by 1 − η λ in each step.
        warmup_steps: Over how many steps α grows from 0 and β₃ from β₁, the authors' schedule for long runs, in which
            they take all steps of the run; `None`: none.

    Raises:
        ValueError: A hyperparameter is out of its range.
    """
    if warmup_steps is not None:
        check_count("warmup_steps", warmup_steps)
        for place in (0, 2):
            if betas[place] == 0.0:
                raise ValueError(
                    f"betas[{place}] must be above 0 with warmup_steps: β₃ grows from β₁ in the logarithm of both"
                )
    fixed: dict[str, object] = {"weight_decouple": True, "t_alpha_beta3": warmup_steps}
    return _made(
        "_mended:AdEMAMix", params, lr, betas, decays=3, alpha=alpha, eps=eps, weight_decay=weight_decay, fixed=fixed
    )


def soap(
    params: ParamsT,
    lr: float | Tensor = 3e-3,
    *,
    betas: tuple[float, float] = (0.95, 0.95),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    update_period: int = 10,
    max_precondition_dim: int = 10_000,
) -> Optimizer:
    """Return SOAP: Adam in the eigenvectors of Shampoo's statistics.

    For a matrix W with gradient G: L = β₂ L + (1 − β₂) G Gᵀ, R = β₂ R + (1 − β₂) Gᵀ G, Q_L and Q_R their eigenvectors
    W ← W − η Q_L N Q_Rᵀ, N the step of Adam for Q_Lᵀ G Q_R; then W ← (1 − η λ) W

    Tensors of more dimensions have a matrix for each; vectors, and dimensions that are too large, have none: Adam's.
    The first step changes nothing: it makes the first eigenvectors. Afterwards, each `update_period` steps, they are
    made anew by one step of the power method and a QR decomposition.

    Source: Vyas et al., arXiv 2409.11321; implementation: pytorch_optimizer, as the authors' own. It decomposes in
    float32 also where parameters are of float64, and counts the steps of a group: a parameter that has its first
    gradient late gets less bias correction than it needs.

    Args:
        params: Parameters, or dicts that define parameter groups.
        lr: Learning rate η ≥ 0.
        betas: Decays β₁ and β₂ of the averages of gradient and squared gradient, and β₂ of the statistics; in [0, 1).
        eps: ε ≥ 0.
        weight_decay: λ ≥ 0; p is multiplied by 1 − η λ in each step.
        update_period: Steps from one eigendecomposition to the next.
        max_precondition_dim: The largest dimension that has statistics, of its square in memory.

    Raises:
        ValueError: A hyperparameter is out of its range.
    """
    check_count("max_precondition_dim", max_precondition_dim)
    return _made(
        "_soap:SOAP",
        params,
        lr,
        betas,
        eps=eps,
        weight_decay=weight_decay,
        period=("precondition_frequency", update_period),
        fixed={"max_precondition_dim": max_precondition_dim},
    )


def shampoo(
    params: ParamsT,
    lr: float | Tensor = 2e-3,
    *,
    betas: tuple[float, float] = (0.95, 0.95),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    update_period: int = 10,
    max_precondition_dim: int = 1024,
) -> Optimizer:
    """Return Shampoo with averaged statistics and the step length of Adam, as it won AlgoPerf.

    For a matrix W with gradient G: L = β₂ L + (1 − β₂) G Gᵀ, R = β₂ R + (1 − β₂) Gᵀ G, M = β₁ M + (1 − β₁) G
    U = L^{−1/4} M R^{−1/4},  W ← (1 − η λ) W − η U ‖A‖ / ‖U‖, A the step of Adam

    Tensors of k dimensions have k matrices, with the power −1/(2k); vectors, and dimensions that are too large, have
    none: a tensor without any takes Adam's step, as all do before the first `update_period` steps.

    Source: Shi et al., arXiv 2309.06497 (Gupta et al., arXiv 1802.09568); statistics: pytorch_optimizer's SOAP. Its own
    Shampoo averages gradients with preconditioned ones, in place, and does not step before its first roots; the state
    of its ScalableShampoo holds objects that `torch.load(weights_only=True)` refuses.

    Differs from the paper: no blocks, and eigenvalues below a millionth of the largest count as that.

    Args:
        params: Parameters, or dicts that define parameter groups.
        lr: Learning rate η ≥ 0, on Adam's scale.
        betas: Decays β₁ and β₂ of the averages of gradient and squared gradient, and β₂ of the statistics; in [0, 1).
        eps: ε ≥ 0 of Adam.
        weight_decay: λ ≥ 0; p is multiplied by 1 − η λ in each step.
        update_period: Steps from one computation of the roots to the next.
        max_precondition_dim: The largest dimension that has statistics, of its square in memory.

    Raises:
        ValueError: A hyperparameter is out of its range.
    """
    check_count("max_precondition_dim", max_precondition_dim)
    return _made(
        "_soap:Shampoo",
        params,
        lr,
        betas,
        eps=eps,
        weight_decay=weight_decay,
        period=("precondition_frequency", update_period),
        fixed={"max_precondition_dim": max_precondition_dim},
    )


def muon(
    params: ParamsT,
    lr: float | Tensor = 3e-3,
    *,
    momentum: float = 0.95,
    nesterov: bool = True,
    adamw_lr_ratio: float = 1.0,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Return Muon for matrices, and AdamW for the rest.

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
    check_decay("momentum", momentum)
    fixed: dict[str, object] = {"momentum": momentum, "nesterov": nesterov}
    return _made(
        "_mended:Muon",
        params,
        lr,
        betas,
        adamw_lr_ratio=adamw_lr_ratio,
        eps=eps,
        weight_decay=weight_decay,
        fixed=fixed,
    )


def schedule_free_adamw(
    params: ParamsT,
    lr: float | Tensor = 2.5e-3,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    r: float = 0.0,
) -> Optimizer:
    """Return Schedule-Free AdamW: an average of the weights in place of a decay of the learning rate.

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
    if betas[0] == 0.0:
        raise ValueError("betas[0] must be in (0, 1), not 0.0")
    return _made("_mended:ScheduleFreeAdamW", params, lr, betas, eps=eps, weight_decay=weight_decay, r=r)


def prodigy(
    params: ParamsT,
    lr: float | Tensor = 1.0,
    *,
    d_coef: float = 1.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Return Prodigy: Adam whose step is measured by the distance that the weights seem to have to go.

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
    check_positive("d_coef", d_coef)
    fixed: dict[str, object] = {"d_coef": d_coef, "safeguard_warmup": True}
    return _made("_mended:Prodigy", params, lr, betas, eps=eps, weight_decay=weight_decay, fixed=fixed)
