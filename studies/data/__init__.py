"""Data sets: found, verified, decoded once and shared by the processes of a machine."""

from studies.data._bundled import BundledDataset
from studies.data._cache import cache_directory, cached_arrays
from studies.data._datasets import DATASETS, DatasetStatus, dataset, fetch, status
from studies.data._published import CHECKSUMS, SPLIT_SEED, PublishedDataset, PublishedFile, data_directory
from studies.data._split import Data, Source, Split

__all__ = [
    "CHECKSUMS",
    "DATASETS",
    "SPLIT_SEED",
    "BundledDataset",
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
    "status",
]
