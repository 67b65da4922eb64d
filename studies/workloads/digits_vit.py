"""A small vision transformer on scikit-learn's handwritten digits: some seconds a trial.

The digits are cut into 16 patches of 2×2 pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studies.data import DATASETS
from studies.models import TransformerBlock
from studies.workloads._base import Metric, Workload, accuracy
from studies.workloads._digits import digits

_PATCH, _TOKENS = 2, 16
_WIDTH, _HEADS, _LAYERS = 32, 4, 2


class _VisionTransformer(nn.Module):
    """Patches with learned positions, two blocks, and a linear output of the mean over the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(1, _WIDTH, _PATCH, stride=_PATCH)
        self.positions = nn.Parameter(0.02 * torch.randn(_TOKENS, _WIDTH))
        self.blocks = nn.Sequential(*(TransformerBlock(_WIDTH, _HEADS, 2 * _WIDTH) for _ in range(_LAYERS)))
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
    target=0.9882,
    epochs=40,
    dataset="digits",
    source=DATASETS["digits"].source,
    licence=DATASETS["digits"].licence,
)
