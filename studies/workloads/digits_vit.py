"""A small vision transformer on scikit-learn's handwritten digits: some seconds a trial.

The digits are cut into 16 patches of 2×2 pixels. Attention is written out in matrix products: torch's fused kernels
cannot be differentiated twice, which AdaHessian and Sophia do.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studies.data import DATASETS
from studies.workloads._base import Metric, Workload, accuracy
from studies.workloads._digits import digits

_PATCH, _TOKENS = 2, 16
_WIDTH, _HEADS, _LAYERS = 32, 4, 2


class _Block(nn.Module):
    """Attention and a perceptron, each added to its normalized input (pre-norm)."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_perceptron = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
        self.queries_keys_values, self.mixed = nn.Linear(_WIDTH, 3 * _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.perceptron = nn.Sequential(nn.Linear(_WIDTH, 2 * _WIDTH), nn.GELU(), nn.Linear(2 * _WIDTH, _WIDTH))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens [n, tokens, width] for tokens of that shape."""
        tokens = tokens + self._attention(self.before_attention(tokens))
        output: Tensor = tokens + self.perceptron(self.before_perceptron(tokens))
        return output

    def _attention(self, tokens: Tensor) -> Tensor:
        heads = self.queries_keys_values(tokens).unflatten(2, (3, _HEADS, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = heads  # each [n, heads, tokens, width of a head]
        weights = (queries @ keys.transpose(2, 3) * keys.shape[3] ** -0.5).softmax(dim=3)
        output: Tensor = self.mixed((weights @ values).transpose(1, 2).flatten(2))
        return output


class _VisionTransformer(nn.Module):
    """Patches with learned positions, two blocks, and a linear output of the mean over the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(1, _WIDTH, _PATCH, stride=_PATCH)
        self.positions = nn.Parameter(0.02 * torch.randn(_TOKENS, _WIDTH))
        self.blocks = nn.Sequential(*(_Block() for _ in range(_LAYERS)))
        self.classifier = nn.Sequential(nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, 10))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [n, 10] for images [n, 1, 8, 8]."""
        tokens = self.embedding(images).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.classifier(self.blocks(tokens).mean(dim=1))
        return logits


DIGITS_VIT = Workload(
    name="digits-vit",
    kind="image",
    load=digits,
    model=_VisionTransformer,
    loss=F.cross_entropy,
    metric=Metric("accuracy", "maximize", accuracy),
    target=0.97,
    epochs=40,
    dataset="digits",
    source=DATASETS["digits"].source,
    licence=DATASETS["digits"].licence,
)
