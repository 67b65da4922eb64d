"""The small data sets that scikit-learn or this package bring along: always there, nothing to download."""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import UserError
from studies.data._cache import cached_arrays
from studies.data._published import SPLIT_SEED, Part, split_order

_TEST_FRACTION = 1 / 6


@dataclass(frozen=True)
class BundledDataset:
    """A data set inside an installed package.

    Attributes:
        name: Key in ``DATASETS``.
        decode: Reads it: ``inputs`` [n, …] and ``labels`` [n].
        source: Where the data come from.
        licence: Their licence.
    """

    name: str
    decode: Callable[[], dict[str, NDArray[np.generic]]]
    source: str
    licence: str

    def arrays(self, part: Part) -> dict[str, NDArray[np.generic]]:
        """Return a part, mapped from the cache; of the order that ``SPLIT_SEED`` shuffles, the last sixth tests."""

        def build() -> dict[str, NDArray[np.generic]]:
            arrays = self.decode()
            order = split_order(len(arrays["labels"]))
            num_test = round(len(order) * _TEST_FRACTION)
            rows = order[-num_test:] if part == "test" else order[:-num_test]
            return {name: array[rows] for name, array in arrays.items()}

        # scikit-learn is imported by the first reading alone: its version stands for the content.
        return cached_arrays(f"{self.name}-{part}", [version("scikit-learn"), SPLIT_SEED], build)


@dataclass(frozen=True)
class BundledText:
    """A text inside this package, compressed by xz.

    Attributes:
        name: Key in ``DATASETS``; the file is called so.
        sha256: Checksum of the text.
        source: Where it comes from.
        licence: Its licence.
    """

    name: str
    sha256: str
    source: str
    licence: str

    def read(self) -> bytes:
        """Return the text.

        Raises:
            UserError: The installed file is missing or damaged.
        """
        file = files("studies.data") / f"{self.name}.txt.xz"
        try:
            text = lzma.decompress(file.read_bytes())
        except (OSError, lzma.LZMAError, EOFError):
            text = b""
        if hashlib.sha256(text).hexdigest() != self.sha256:
            raise UserError(f"{self.name}: {file} is missing or damaged; install sofim-studies again")
        return text


def read_digits() -> dict[str, NDArray[np.generic]]:
    """Return ``images`` float32 [1797, 1, 8, 8] from 0 to 16 and ``labels`` int64 [1797]."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return {"images": bunch.images[:, None].astype(np.float32), "labels": bunch.target.astype(np.int64)}


def read_breast_cancer() -> dict[str, NDArray[np.generic]]:
    """Return ``inputs`` float64 [569, 30] and ``labels`` int64 [569], 1 for benign."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    return {"inputs": bunch.data.astype(np.float64), "labels": bunch.target.astype(np.int64)}
