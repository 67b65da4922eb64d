"""Data sets: found, verified, decoded once and shared by the processes of a machine."""

from typing import TYPE_CHECKING

from studies.data._bundled import BundledDataset, BundledText
from studies.data._cache import cache_directory, cached_arrays
from studies.data._datasets import DATASETS, DatasetStatus, dataset, fetch, status
from studies.data._published import CHECKSUMS, SPLIT_SEED, PublishedDataset, PublishedFile, data_directory

if TYPE_CHECKING:
    from studies.data._resplit import resplit
    from studies.data._split import Data, Source, Split

__all__ = [
    "CHECKSUMS",
    "DATASETS",
    "SPLIT_SEED",
    "BundledDataset",
    "BundledText",
    "Data",
    "DatasetStatus",
    "PublishedDataset",
    "PublishedFile",
    "Source",
    "Split",
    "cache_directory",
    "cached_arrays",
    "data_directory",
    "dataset",
    "fetch",
    "resplit",
    "status",
]


def __getattr__(name: str) -> object:
    """Import what brings torch only now: whoever looks whether files are there does without."""
    if name not in ("Data", "Source", "Split", "resplit"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from studies.data import _resplit, _split

    globals()[name] = value = getattr(_resplit if name == "resplit" else _split, name)
    return value
