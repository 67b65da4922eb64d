"""A small GPT that learns Shakespeare letter by letter: a minute or two a trial.

It is Karpathy's character-level GPT (minGPT's ``play_char``) made so small that a core trains it: two layers, 64 wide.
Windows of the text are drawn at random; evaluation reads a part of the text from its beginning to its end.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studies.data import DATASETS, BundledText
from studies.models import TransformerBlock
from studies.workloads._base import HeldOut, Metric, Workload

_CONTEXT = 64  # letters that the next one is told from, at most
_WIDTH, _HEADS, _LAYERS = 64, 4, 2
_LETTERS = 65  # that occur: A to Z, a to z, space, new line, the 3 and ten signs
_EVALUATED_AT_ONCE = 128  # windows


def _load(_directory: Path | None) -> dict[str, Tensor]:
    """Return the text in its order as codes from 0, uint8: its first 90 % train, 5 % validate and 5 % test."""
    text = DATASETS["shakespeare"]
    assert isinstance(text, BundledText)
    _, places = np.unique(np.frombuffer(text.read(), np.uint8), return_inverse=True)
    codes = torch.from_numpy(places.astype(np.uint8))
    train, validation = int(0.9 * len(codes)), int(0.95 * len(codes))
    return {"train": codes[:train], "validation": codes[train:validation], "test": codes[validation:]}


def _sample(data: dict[str, Tensor], number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return windows int64 [number, context] and the letters that follow each of theirs."""
    text = data["train"]
    starts = torch.randint(len(text) - _CONTEXT, (number, 1), generator=generator)
    windows = text[starts + torch.arange(_CONTEXT + 1)].long()
    return windows[:, :-1], windows[:, 1:]


def _loss(logits: Tensor, following: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), following.flatten())


def _evaluate(model: nn.Module, data: dict[str, Any], split: HeldOut) -> dict[str, float]:
    """Cut a part of the text into windows one after the other, and tell every letter of each from those before it."""
    text = data[split].long()
    num_windows = (len(text) - 1) // _CONTEXT
    inputs, following = (text[at : at + num_windows * _CONTEXT].view(-1, _CONTEXT) for at in (0, 1))
    pieces = zip(inputs.split(_EVALUATED_AT_ONCE), following.split(_EVALUATED_AT_ONCE), strict=True)
    loss = sum(_loss(model(piece), right).double().item() * len(piece) for piece, right in pieces) / num_windows
    return {"loss": loss, "bits-per-character": loss / math.log(2)}


class GPT(nn.Module):
    """Logits of the next letter at every place of a window; weights as GPT-2 draws them."""

    def __init__(self) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(_LETTERS, _WIDTH), nn.Embedding(_CONTEXT, _WIDTH)
        self.layers = nn.Sequential(*(TransformerBlock(_WIDTH, _HEADS, 4 * _WIDTH, _CONTEXT) for _ in range(_LAYERS)))
        self.out = nn.Sequential(nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, _LETTERS))
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                into_sum = name.endswith(("projection.weight", "perceptron.2.weight"))  # these add up along the layers
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * _LAYERS) if into_sum else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, letters: Tensor) -> Tensor:
        """Map codes [n, context] to logits [n, context, letters]."""
        logits: Tensor = self.out(self.layers(self.letters(letters) + self.places.weight))
        return logits


SHAKESPEARE_GPT = Workload(
    name="shakespeare-gpt",
    kind="text",
    load=_load,
    model=GPT,
    loss=_loss,
    metric=Metric("bits-per-character", "minimize"),
    target=2.313,
    epochs=15,
    dataset="shakespeare",
    source=DATASETS["shakespeare"].source,
    licence=DATASETS["shakespeare"].licence,
    sample=_sample,
    examples=4096,
    evaluate=_evaluate,
)
