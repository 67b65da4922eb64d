"""The optimizers as their papers write them: slow, in one flat float64 vector, with every matrix formed."""

from __future__ import annotations

from decimal import Decimal, getcontext
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Direction = Callable[[Vector, float, Vector], Vector]


# Directions, of M̂, ρ and the gradient g.
def closed_form(m: Vector, rho: float, _g: Vector) -> Vector:
    """M̂ / (ρ + ‖M̂‖²)."""
    return m / (rho + m @ m)


def two_terms(m: Vector, rho: float, _g: Vector) -> Vector:
    """The paper's Sherman–Morrison form."""
    return m / rho - m * (m @ m) / (rho**2 * (1 + m @ m / rho))


def dense_inverse(m: Vector, rho: float, _g: Vector) -> Vector:
    """(M̂ M̂ᵀ + ρ I)⁻¹ M̂ with the matrix formed and the system solved."""
    return np.linalg.solve(np.outer(m, m) + rho * np.eye(len(m)), m)


def gradient_two_terms(m: Vector, rho: float, g: Vector) -> Vector:
    """Sherman–Morrison's form of (M̂ M̂ᵀ + ρ I)⁻¹ g."""
    return g / rho - m * (m @ g) / (rho**2 * (1 + m @ m / rho))


def gradient_dense_inverse(m: Vector, rho: float, g: Vector) -> Vector:
    """(M̂ M̂ᵀ + ρ I)⁻¹ g with the matrix formed and the system solved."""
    return np.linalg.solve(np.outer(m, m) + rho * np.eye(len(m)), g)


def exact(m: Sequence[float], rho: float) -> Vector:
    """The closed form in 60 decimal digits."""
    getcontext().prec = 60
    entries = [Decimal(float(entry)) for entry in m]
    denominator = Decimal(rho) + sum(entry * entry for entry in entries)
    return np.array([float(entry / denominator) for entry in entries])


def gradient_exact(gradients: Sequence[Sequence[float]], beta: float, rho: float) -> Vector:
    """(M̂ M̂ᵀ + ρ I)⁻¹ g of the last of the gradients, in 60 decimal digits."""
    getcontext().prec = 60
    decay, knee = Decimal(beta), Decimal(rho)
    average = [Decimal(0)] * len(gradients[0])
    for gradient in gradients:
        g = [Decimal(float(entry)) for entry in gradient]
        average = [decay * old + (1 - decay) * new for old, new in zip(average, g, strict=True)]
    m = [entry / (1 - decay ** len(gradients)) for entry in average]
    part = sum(a * b for a, b in zip(m, g, strict=True)) / (knee + sum(a * a for a in m))
    return np.array([float((b - a * part) / knee) for a, b in zip(m, g, strict=True)])


def sofim(
    w: Vector,
    gradients: Callable[[Vector, int], Vector],
    steps: int,
    *,
    lr: float,
    beta: float,
    rho: float,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    direction: Direction = closed_form,
    blocks: Sequence[slice] = (slice(None),),
) -> list[Vector]:
    """The iterates w_1 … w_T of the paper's algorithm; `gradients(w, t)` with t from 1; one F for each block."""
    m = np.zeros_like(w)
    iterates = []
    for t in range(1, steps + 1):
        g = gradients(w, t) + (0.0 if decoupled_weight_decay else weight_decay) * w
        w = w * (1.0 - lr * weight_decay if decoupled_weight_decay else 1.0)
        m = beta * m + (1 - beta) * g
        m_hat = m / (1 - beta**t)
        w = w - lr * np.concatenate([direction(m_hat[block], rho, g[block]) for block in blocks])
        iterates.append(w)
    return iterates


def nystrom_direction(hessian: Vector, coordinates: Sequence[int], gradient: Vector, rho: float) -> Vector:
    """(C |W|⁺ Cᵀ + ρ I)⁻¹ g with all matrices formed; |W| from the eigenvalues of W rather than from its SVD."""
    columns = hessian[:, list(coordinates)]
    values, vectors = np.linalg.eigh(columns[list(coordinates), :])
    kept = np.abs(values) > 1e-10 * np.abs(values).max()
    inverse = (vectors[:, kept] / np.abs(values[kept])) @ vectors[:, kept].T
    return np.linalg.solve(columns @ inverse @ columns.T + rho * np.eye(len(gradient)), gradient)
