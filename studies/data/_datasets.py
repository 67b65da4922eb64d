"""The table of data sets, and what `sofim data` says about each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from analysis.text import not_as_published
from search_spaces.errors import UserError, suggestion
from studies.called import command_line
from studies.data._bundled import BundledDataset, BundledText, read_breast_cancer, read_digits
from studies.data._published import PARTS, PublishedDataset, PublishedFile, data_directory
from studies.data._readers import read_cifar, read_idx, read_svhn


def _torchvision(name: str, *parts: dict[str, str]) -> Callable[[Path], None]:
    """Return what downloads torchvision's data set of that name, each of its ``parts`` where they come one by one."""

    def fetch(directory: Path) -> None:
        import torchvision.datasets

        for options in parts or ({},):
            getattr(torchvision.datasets, name)(directory, download=True, **options)

    return fetch


Dataset = PublishedDataset | BundledDataset | BundledText

DATASETS: Mapping[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        BundledDataset(
            name="breast-cancer",
            decode=read_breast_cancer,
            source="Breast Cancer Wisconsin (Diagnostic), UCI Machine Learning Repository; in scikit-learn",
            licence="CC BY 4.0",
        ),
        BundledDataset(
            name="digits",
            decode=read_digits,
            source="Optical Recognition of Handwritten Digits, UCI Machine Learning Repository; in scikit-learn",
            licence="CC BY 4.0",
        ),
        BundledText(
            name="shakespeare",
            sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            source="Shakespeare's plays (tinyshakespeare, https://github.com/karpathy/char-rnn); in this package",
            licence="public domain",
        ),
        PublishedDataset(
            name="fashion-mnist",
            # The checksums are of the decompressed files: packages compress them anew. Compressed as published
            # (gzip, with the original name and time in the header), these contents give the published MD5s.
            parts={
                "train": (
                    PublishedFile("train-images-idx3-ubyte", "f4a8712d7a061bf5bd6d2ca38dc4d50a", compressed=True),
                    PublishedFile("train-labels-idx1-ubyte", "9018921c3c673c538a1fc5bad174d6f9", compressed=True),
                ),
                "test": (
                    PublishedFile("t10k-images-idx3-ubyte", "8181f5470baa50b63fa0f6fddb340f0a", compressed=True),
                    PublishedFile("t10k-labels-idx1-ubyte", "15d484375f8d13e6eb1aabb0c3f46965", compressed=True),
                ),
            },
            folders=("FashionMNIST/raw", "fashion-mnist", ""),
            system=(Path("/usr/share/datasets/fashion-mnist"),),
            read=partial(read_idx, shape=(28, 28), num_classes=10),
            fetch=_torchvision("FashionMNIST"),
            source="https://github.com/zalandoresearch/fashion-mnist",
            licence="MIT",
            hint="; on Debian and Ubuntu also with: apt install dataset-fashion-mnist",
        ),
        PublishedDataset(
            name="cifar10",
            parts={
                "train": (
                    PublishedFile("data_batch_1", "c99cafc152244af753f735de768cd75f"),
                    PublishedFile("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
                    PublishedFile("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
                    PublishedFile("data_batch_4", "634d18415352ddfa80567beed471001a"),
                    PublishedFile("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
                ),
                "test": (PublishedFile("test_batch", "40351d587109b95175f43aff81a1287e"),),
            },
            folders=("cifar-10-batches-py", "cifar10", ""),
            read=partial(read_cifar, label_key="labels", num_classes=10),
            fetch=_torchvision("CIFAR10"),
            source="https://www.cs.toronto.edu/~kriz/cifar.html",
            licence="none stated by the authors; a subset of Tiny Images, for research",
        ),
        PublishedDataset(
            name="cifar100",
            parts={
                "train": (PublishedFile("train", "16019d7e3df5f24257cddd939b257f8d"),),
                "test": (PublishedFile("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),),
            },
            folders=("cifar-100-python", "cifar100"),
            read=partial(read_cifar, label_key="fine_labels", num_classes=100),
            fetch=_torchvision("CIFAR100"),
            source="https://www.cs.toronto.edu/~kriz/cifar.html",
            licence="none stated by the authors; a subset of Tiny Images, for research",
        ),
        PublishedDataset(
            name="svhn",
            parts={
                "train": (PublishedFile("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),),
                "test": (PublishedFile("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),),
            },
            folders=("", "svhn", "SVHN"),
            read=partial(read_svhn, num_classes=10),
            fetch=_torchvision("SVHN", {"split": "train"}, {"split": "test"}),
            source="http://ufldl.stanford.edu/housenumbers/",
            licence="for non-commercial use, as the authors state",
        ),
    )
}
"""All data sets by name: those of scikit-learn, which are there, and published ones, which `fetch` brings."""


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """Whether a data set is there, and what to do if it is not.

    Attributes:
        name: Key in ``DATASETS``.
        looked_in: The folders where its files are looked for, in order; none for data that a package brings.
        folder: The folder where the training part was found, or None.
        problem: What keeps one from tuning, in one line that names the remedy, or None.
        test_problem: What keeps one from confirming winners on test data, likewise.
        source: Where the data come from.
        licence: Their licence.
        package: Which brings them, in words; "" for files.
        note: That files are not those published, and what their owner says of them; "" where they are.
    """

    name: str
    looked_in: tuple[Path, ...]
    folder: Path | None
    problem: str | None
    test_problem: str | None
    source: str
    licence: str
    package: str = ""
    note: str = ""

    @property
    def present(self) -> bool:
        """Whether both parts are there and whole."""
        return self.problem is None and self.test_problem is None


def dataset(name: str) -> Dataset:
    """Return a row of ``DATASETS``.

    Raises:
        UserError: If there is none of that name.
    """
    try:
        return DATASETS[name]
    except KeyError:
        near = suggestion(name, DATASETS)
        raise UserError(f"no data set {name!r}; there are: {', '.join(DATASETS)}{near}") from None


def status(name: str, directory: Path | None = None) -> DatasetStatus:
    """Say whether a data set is there and whole, by reading all of its files and their checksums.

    Args:
        name: Key in ``DATASETS``.
        directory: The data directory; None for the default (see ``data_directory``).

    Raises:
        UserError: If there is no such data set. Missing or damaged files are part of the answer, not errors.
    """
    row = dataset(name)
    if not isinstance(row, PublishedDataset):
        problem, package = None, "scikit-learn" if isinstance(row, BundledDataset) else "this package"
        try:
            if isinstance(row, BundledText):
                row.read()
        except UserError as error:
            problem = str(error)
        return DatasetStatus(name, (), None, problem, problem, row.source, row.licence, package)
    problems: list[str | None] = []
    for part in PARTS:
        try:
            row.contents(part, directory)
            problems.append(None)
        except UserError as error:
            problems.append(str(error))
    folder: Path | None
    try:
        folder = row.locate("train", directory)[0].parent
    except UserError:
        folder = None
    facts = {} if problems[0] else row.facts(directory)
    return DatasetStatus(
        name,
        row.looked_in(directory),
        folder,
        problems[0],
        problems[1],
        row.source,
        row.licence,
        note=not_as_published(facts),
    )


def fetch(name: str, directory: Path | None = None) -> DatasetStatus:
    """Download a data set by torchvision, unless it is there and whole.

    Damaged files below the data directory are deleted first: torchvision keeps what it finds.

    Args:
        name: Key in ``DATASETS``.
        directory: The data directory; None for the default.

    Returns:
        The status afterwards.

    Raises:
        UserError: If there is no such data set or it cannot be fetched.
    """
    row = dataset(name)
    before = status(name, directory)
    if before.present or not isinstance(row, PublishedDataset):
        return before
    root = data_directory(directory)
    try:
        _delete_damaged(row, directory, root)
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{name}: cannot be fetched into {root}: {error.strerror or error}; name another directory with --data"
        ) from error
    try:
        row.fetch(root)
    except (OSError, RuntimeError, EOFError) as error:  # URLError is an OSError; torchvision raises RuntimeError
        reason = " ".join(str(error).split())
        raise UserError(
            f"{name}: cannot be fetched into {root} ({reason}); on a machine with a network, run: "
            f"{command_line('data', name, '--download', '--data', 'DIR')}, and copy DIR here{row.hint}"
        ) from error
    return status(name, directory)


def _delete_damaged(row: PublishedDataset, directory: Path | None, root: Path) -> None:
    for part in PARTS:
        try:
            paths = row.locate(part, directory)
        except UserError:
            continue
        for file, path in zip(row.parts[part], paths, strict=True):
            if path.is_relative_to(root) and not row.is_whole(file, path):
                for candidate in file.candidates(path.parent):
                    candidate.unlink(missing_ok=True)
