"""The surrogate: a random forest on the unit cube, and its exact functional ANOVA.

A forest is a sum of constants on boxes, so its averages over all but one or two coordinates are sums of products of
interval lengths: exact, and one matrix product for a pair. Only what goes beyond pairs needs sampled points. No library
in use here computes this from the boxes. The trees are scikit-learn's; they are drawn here, as its random forest draws
them, because that one spends as long on preparing a forest of ten trees as on growing it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.tree import DecisionTreeRegressor

Floats = NDArray[np.float64]

BINS = 32  # cells a coordinate is cut into; what a component varies within a cell is lost (below 1 % of its variance)


class _Tree(Protocol):
    """What is used of scikit-learn's trees."""

    node_count: int

    def predict(self, points: NDArray[np.float32]) -> Floats: ...


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A fitted forest, or the sum of several.

    Attributes:
        trees: Scikit-learn's trees, all of the same weight.
        dimension: Number of coordinates d.
        rounds: Number of forests summed.
    """

    trees: tuple[_Tree, ...]
    dimension: int
    rounds: int = 1

    def __call__(self, points: Floats) -> Floats:
        """Predict at ``points`` of shape (n, d); returns shape (n,)."""
        single = np.ascontiguousarray(points, dtype=np.float32)
        total = np.zeros(len(single))
        for tree in self.trees:
            total += tree.predict(single)[:, 0]
        return total * (self.rounds / len(self.trees))


def fit(
    points: Floats,
    values: Floats,
    rng: np.random.Generator,
    *,
    weights: Floats | None = None,
    num_trees: int = 10,
    rounds: int = 2,
) -> Surrogate:
    """Fit a random forest, and one more to what its out-of-bag predictions miss.

    A forest smooths: peaks are too low, weak parameters vanish behind strong ones. Fitting a second forest to the
    out-of-bag residuals takes most of that bias away (Zhang and Lu 2012; Ghosal and Hooker 2018).

    Args:
        points: Shape (n, d), in the unit cube, no NaN.
        values: Shape (n,).
        rng: Seeds the forests.
        weights: How often each point counts, shape (n,).
        num_trees: Of each forest.
        rounds: 1 is a plain forest.
    """
    trees: list[_Tree] = []
    residual = values.astype(float)
    single = np.ascontiguousarray(points, dtype=np.float32)
    size = len(values)
    drawn_weights = np.ones(size) if weights is None else weights
    for _ in range(rounds):
        total, count = np.zeros(size), np.zeros(size)
        for _ in range(num_trees):
            times = np.bincount(rng.integers(size, size=size), minlength=size)
            tree = DecisionTreeRegressor(random_state=int(rng.integers(2**31)))
            with config_context(skip_parameter_validation=True):  # a tenth of the time, for one number
                tree.fit(single, residual, sample_weight=drawn_weights * times, check_input=False)
            trees.append(tree.tree_)
            unseen = times == 0
            if unseen.any():
                total[unseen] += tree.tree_.predict(single[unseen])[:, 0]
                count[unseen] += 1
        residual = np.where(count > 0, residual - total / np.maximum(count, 1), 0.0)
    return Surrogate(tuple(trees), points.shape[1], rounds)


@dataclass(frozen=True, slots=True)
class Components:
    """The functional ANOVA of a surrogate under the uniform measure on the unit cube, up to pairs.

    Attributes:
        mean: Of the surrogate over the cube.
        mains: Shape (d, BINS): mean effect of each coordinate, a row sums to zero.
        pairs: For j < k, shape (BINS, BINS): the interaction of j (rows) and k (columns), rows and columns sum to zero.
    """

    mean: float
    mains: Floats
    pairs: dict[tuple[int, int], Floats]

    def at(self, points: Floats) -> tuple[Floats, Floats]:
        """Return the components at ``points`` (n, d): mains (n, d), and pairs (n, pairs) in the order of ``pairs``."""
        cells = cell_of(points)
        mains = np.take_along_axis(self.mains.T, cells, axis=0)
        pairs = np.empty((len(points), len(self.pairs)))
        for column, ((j, k), table) in enumerate(self.pairs.items()):
            pairs[:, column] = table[cells[:, j], cells[:, k]]
        return mains, pairs


def cell_of(points: Floats) -> NDArray[np.intp]:
    """Return the cell, 0 to BINS - 1, in which each coordinate lies; same shape as ``points``."""
    return np.clip((points * BINS).astype(np.intp), 0, BINS - 1)


def decompose(surrogate: Surrogate) -> Components:
    """Compute mean, main effects and pair interactions of a forest exactly (up to averaging over cells)."""
    lower, upper, value = _boxes(surrogate)
    d = surrogate.dimension
    lengths = upper - lower
    volumes = lengths.prod(axis=1) * (surrogate.rounds / len(surrogate.trees))
    mean = float(volumes @ value)
    # without the mean nothing cancels below, so that single precision, which is twice as fast, is enough
    weights = ((value - mean / surrogate.rounds) * volumes).astype(np.float32)
    edges = np.linspace(0.0, 1.0, BINS + 1, dtype=np.float32)
    low, high, density = (table.astype(np.float32) for table in (lower, upper, BINS / lengths))
    # covered[j][leaf, cell]: how much denser than uniform the leaf lies on the cell; averages 1 over the cells.
    covered = []
    for j in range(d):
        reach = np.maximum(edges[None, :], low[:, j, None])
        np.minimum(reach, high[:, j, None], out=reach)
        within = reach[:, 1:] - reach[:, :-1]
        within *= density[:, j, None]
        covered.append(within)
    mains = np.stack([weights @ covered[j] for j in range(d)]).astype(np.float64)
    pairs = {}
    weighted = [table.T * weights for table in covered[:-1]]
    for j, k in combinations(range(d), 2):
        pairs[j, k] = (weighted[j] @ covered[k]).astype(np.float64) - mains[j][:, None] - mains[k][None, :]
    return Components(mean, mains, pairs)


def _boxes(surrogate: Surrogate) -> tuple[Floats, Floats, Floats]:
    """Return lower and upper corners (leaves, d) and values (leaves,) of the leaves of all trees, all trees at once."""
    trees = surrogate.trees
    sizes = np.array([tree.node_count for tree in trees])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def stacked(name: str) -> Floats:
        return np.concatenate([getattr(tree, name).reshape(-1) for tree in trees])

    offset = np.repeat(starts, sizes)
    left, right = stacked("children_left").astype(np.intp), stacked("children_right").astype(np.intp)
    feature, threshold, value = stacked("feature").astype(np.intp), stacked("threshold"), stacked("value")
    is_leaf = left < 0
    lower = np.zeros((len(left), surrogate.dimension))
    upper = np.ones_like(lower)
    frontier = starts
    while len(frontier := frontier[~is_leaf[frontier]]):
        to_left, to_right = left[frontier] + offset[frontier], right[frontier] + offset[frontier]
        for child in (to_left, to_right):
            lower[child], upper[child] = lower[frontier], upper[frontier]
        upper[to_left, feature[frontier]] = threshold[frontier]
        lower[to_right, feature[frontier]] = threshold[frontier]
        frontier = np.concatenate([to_left, to_right])
    return lower[is_leaf], upper[is_leaf], value[is_leaf]
