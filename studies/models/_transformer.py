"""A block of a transformer whose attention can be differentiated twice."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each added to what it normalizes first (pre-norm).

    Attention is written out in matrix products: torch's fused kernels cannot be differentiated twice, as Hessian-vector
    products need.

    Args:
        width: Of a token.
        heads: That the width is divided into.
        hidden: Width of the perceptron's hidden layer.
        context: Where each token attends to itself and those before it alone: how many there are; ``None``: to all.
    """

    def __init__(self, width: int, heads: int, hidden: int, context: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        later = None if context is None else torch.ones(context, context, dtype=torch.bool).triu(1)
        self.register_buffer("later", later, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map [n, tokens, width] to the same shape."""
        tokens = tokens + self.attended(self.before_attention(tokens))
        changed: Tensor = tokens + self.perceptron(self.before_perceptron(tokens))
        return changed

    def attended(self, tokens: Tensor) -> Tensor:
        """Return what each token [n, tokens, width] takes of those that it attends to."""
        queries, keys, values = self.attention(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = queries @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1])
        if self.later is not None:
            scores = scores.masked_fill(self.later, -math.inf)
        mixed: Tensor = self.projection((scores.softmax(dim=-1) @ values).transpose(1, 2).flatten(2))
        return mixed
