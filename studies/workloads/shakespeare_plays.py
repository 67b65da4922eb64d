"""Which of nine plays of Shakespeare a passage is from: a small convolutional net on characters.

Passages are 256 characters of what is spoken, without the lines that name the speakers. Four that follow each other
make a stretch, and a stretch is wholly in one part: no passage is in two, and what follows on one is seldom in another.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from studies.data import DATASETS, SPLIT_SEED, BundledText, Data, Split, cached_arrays
from studies.data._published import split_order
from studies.workloads._base import Metric, Workload, accuracy

_BEGINNINGS = {
    "Coriolanus": "First Citizen:\nBefore we proceed",
    "Richard III": "GLOUCESTER:\nNow is the winter",
    "Richard II": "KING RICHARD II:\nOld John of Gaunt",
    "Romeo and Juliet": "SAMPSON:\nGregory, o' my word",
    "Henry VI, part 3": "WARWICK:\nI wonder how the king escaped",
    "The Winter's Tale": "ARCHIDAMUS:\nIf you shall chance",
    "Measure for Measure": "DUKE VINCENTIO:\nEscalus.",
    "The Taming of the Shrew": "SLY:\nI'll pheeze you",
    "The Tempest": "Master:\nBoatswain!",
}
"""How each play begins, in the order of the text. The text ends within the last."""

_PASSAGE, _PER_STRETCH = 256, 4  # characters, passages
_TEST_FRACTION = _VALIDATION_FRACTION = 1 / 6


def stretches(text: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return stretches of what is spoken, and of which play each is.

    Returns:
        Characters by their ASCII codes [n, passages, characters of a passage], and numbers of plays [n].
    """
    starts = [text.index(beginning) for beginning in _BEGINNINGS.values()]
    size = _PASSAGE * _PER_STRETCH
    characters, plays = [], []
    for play, (start, end) in enumerate(pairwise([*starts, len(text)])):
        speeches = (speech.strip().partition(":\n")[2] for speech in text[start:end].split("\n\n"))
        spoken = np.frombuffer("\n".join(speeches).encode("ascii"), np.uint8)
        number = len(spoken) // size
        characters.append(spoken[: number * size].reshape(number, _PER_STRETCH, _PASSAGE))
        plays.append(np.full(number, play))
    return np.concatenate(characters), np.concatenate(plays)


def _data(_directory: Path | None = None) -> Data:
    """Return passages uint8 [n, 256] and numbers of their plays int64 [n]."""
    text = DATASETS["shakespeare"]
    assert isinstance(text, BundledText)

    def build() -> dict[str, NDArray[np.generic]]:
        characters, plays = stretches(text.read().decode("ascii"))
        order = split_order(len(plays))
        return {"characters": characters[order], "plays": plays[order]}

    arrays = cached_arrays("shakespeare-plays", [text.sha256, SPLIT_SEED, _PASSAGE, _PER_STRETCH], build)
    characters, plays = torch.from_numpy(arrays["characters"]), torch.from_numpy(arrays["plays"])
    num_test, num_validation = (round(len(plays) * share) for share in (_TEST_FRACTION, _VALIDATION_FRACTION))
    sizes = [len(plays) - num_test - num_validation, num_validation, num_test]
    parts = zip(torch.split(characters, sizes), torch.split(plays, sizes), strict=True)
    train, validation, test = (Split(c.flatten(0, 1), p.repeat_interleave(_PER_STRETCH)) for c, p in parts)
    return Data(train, validation, test)


class _Convolutions(nn.Module):
    """Characters as vectors, two convolutions along the passage, and the greatest value of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(128, 16)
        self.features = nn.Sequential(
            nn.Conv1d(16, 64, 5, stride=2), nn.ReLU(inplace=True), nn.Conv1d(64, 64, 3), nn.ReLU(inplace=True)
        )
        self.classifier = nn.Linear(64, len(_BEGINNINGS))

    def forward(self, passages: Tensor) -> Tensor:
        """Return logits [n, plays] for passages [n, characters] of ASCII codes."""
        features = self.features(self.embedding(passages.long()).transpose(1, 2))
        logits: Tensor = self.classifier(features.amax(dim=2))
        return logits


SHAKESPEARE_PLAYS = Workload(
    name="shakespeare-plays",
    kind="text",
    load=_data,
    model=_Convolutions,
    loss=F.cross_entropy,
    metric=Metric("accuracy", "maximize", accuracy),
    target=0.4156,
    epochs=15,
    dataset="shakespeare",
    source=DATASETS["shakespeare"].source,
    licence=DATASETS["shakespeare"].licence,
)
