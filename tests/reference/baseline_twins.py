"""Optimizers of other people as their papers write them, for one matrix: the weights after every gradient."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]


def nadamw(w: Matrix, gradients: Iterable[Matrix], *, lr, betas, eps, weight_decay) -> Iterator[Matrix]:
    b1, b2 = betas
    m = v = np.zeros_like(w)
    for t, g in zip(count(1), gradients, strict=False):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        ahead = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        w = (1 - lr * weight_decay) * w - lr * ahead / (np.sqrt(v / (1 - b2**t)) + eps)
        yield w


def lion(w: Matrix, gradients: Iterable[Matrix], *, lr, betas, weight_decay) -> Iterator[Matrix]:
    b1, b2 = betas
    m = np.zeros_like(w)
    for g in gradients:
        w = w - lr * (np.sign(b1 * m + (1 - b1) * g) + weight_decay * w)
        m = b2 * m + (1 - b2) * g
        yield w


def ademamix(w: Matrix, gradients: Iterable[Matrix], *, lr, betas, alpha, eps, weight_decay) -> Iterator[Matrix]:
    b1, b2, b3 = betas
    m = slow = v = np.zeros_like(w)
    for t, g in zip(count(1), gradients, strict=False):
        m, slow, v = b1 * m + (1 - b1) * g, b3 * slow + (1 - b3) * g, b2 * v + (1 - b2) * g**2
        step = (m / (1 - b1**t) + alpha * slow) / (np.sqrt(v / (1 - b2**t)) + eps)
        w = w - lr * (step + weight_decay * w)
        yield w


def soap(w: Matrix, gradients: Iterable[Matrix], *, lr, betas, eps, weight_decay, update_period) -> Iterator[Matrix]:
    b1, b2 = betas
    m = v = np.zeros_like(w)
    sides, bases = [np.zeros((n, n)) for n in w.shape], list[np.ndarray]()
    for t, g in enumerate(gradients):
        if t > 0:
            left, right = bases
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * (left.T @ g @ right) ** 2
            n = (left.T @ m @ right / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps / np.sqrt(1 - b2**t))
            w = (1 - lr * weight_decay) * (w - lr * left @ n @ right.T)
        sides = [b2 * side + (1 - b2) * square for side, square in zip(sides, (g @ g.T, g.T @ g), strict=True)]
        if t == 0:
            bases = [np.linalg.eigh(side)[1][:, ::-1] for side in sides]
        elif t % update_period == 0:
            for axis, (side, basis) in enumerate(zip(sides, bases, strict=True)):
                order = np.argsort(-np.diag(basis.T @ side @ basis))
                v = np.take(v, order, axis)
                bases[axis] = np.linalg.qr(side @ basis[:, order])[0]
        yield w


def shampoo(w: Matrix, gradients: Iterable[Matrix], *, lr, betas, eps, weight_decay, update_period) -> Iterator[Matrix]:
    b1, b2 = betas
    m = v = np.zeros_like(w)
    sides = [np.zeros((n, n)) for n in w.shape]
    for t, g in zip(count(1), gradients, strict=False):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        sides = [b2 * side + (1 - b2) * square for side, square in zip(sides, (g @ g.T, g.T @ g), strict=True)]
        adam = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        if t % update_period == 0:
            roots = [_root(side) for side in sides]
        if t >= update_period:
            step = roots[0] @ m @ roots[1]
            adam = step * np.linalg.norm(adam) / np.linalg.norm(step)
        w = (1 - lr * weight_decay) * w - lr * adam
        yield w


def _root(side: Matrix) -> Matrix:
    """The power −1/4, with eigenvalues of at least a millionth of the largest."""
    values, vectors = np.linalg.eigh(side)
    return vectors @ np.diag(np.maximum(values, 1e-6 * values.max()) ** -0.25) @ vectors.T


def sophia(
    w: Matrix, gradients: Iterable[Matrix], diagonals: Iterable[Matrix], *, lr, betas, gamma, eps, weight_decay,
    update_period,
) -> Iterator[Matrix]:  # fmt: skip
    """`diagonals` are the estimates of the Hessian's, u ⊙ (H u), each taken when it is due."""
    b1, b2 = betas
    m = h = np.zeros_like(w)
    estimates = iter(diagonals)
    for t, g in enumerate(gradients):
        if t % update_period == 0:
            h = b2 * h + (1 - b2) * next(estimates)
        m = b1 * m + (1 - b1) * g
        w = (1 - lr * weight_decay) * w - lr * np.clip(m / np.maximum(gamma * h, eps), -1, 1)
        yield w
