"""Mistakes with data: missing, truncated, damaged, of the wrong shape."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

from tests.mistakes.mistake import Mistake, Place
from tests.reference.published_formats import write, write_checksums

FASHION = "launch quickstart --workloads fashion-lenet5 --data data"
FOLDER = Path("data/FashionMNIST/raw")
IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


def fashion(change: Callable[[Path], None], *, checksums: bool = False) -> Callable[[Place], None]:
    """A small Fashion-MNIST in ``data``, changed; ``checksums`` are then those of what is there."""

    def prepare(place: Place) -> None:
        folder = write("fashion-mnist", place.here / "data")
        place.words["folder"] = str(folder)
        change(folder)
        if checksums:
            write_checksums(folder)

    return prepare


def half(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(
        (folder / name).read_bytes()[: (folder / name).stat().st_size // 2]
    )


def content(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Changes what a compressed file holds."""
    return lambda folder: (folder / name).write_bytes(
        gzip.compress(change(gzip.decompress((folder / name).read_bytes())))
    )


def other(name: str, file: str, written: bytes) -> Callable[[Place], None]:
    """Another data set, one file of it replaced on purpose."""

    def prepare(place: Place) -> None:
        folder = write(name, place.here / "data")
        (folder / file).write_bytes(written)
        write_checksums(folder)

    return prepare


ROWS = [
    Mistake(
        id="data that are missing",
        typed="launch paper --data data",
        says=(
            "cifar10: no data_batch_1 in {here}/data/cifar-10-batches-py (nor in {here}/data/cifar10, "
            "{here}/data); fetch it with: sofim data cifar10 --download --data {here}/data"
        ),
    ),
    Mistake(
        id="data that are missing, asked for by name",
        typed="data svhn --data data",
        prints=True,
        says=(
            "svhn: no train_32x32.mat in {here}/data (nor in {here}/data/svhn, {here}/data/SVHN); fetch it "
            "with: sofim data svhn --download --data {here}/data"
        ),
    ),
    Mistake(
        id="several that are missing, asked for by name",
        typed="data digits svhn cifar10 --data data",
        prints=True,
        says=(
            "svhn, cifar10: missing or damaged; fetch them with: sofim data svhn cifar10 --download --data {here}/data"
        ),
    ),
    Mistake(
        id="an unknown data set",
        typed="data cifra",
        says="no data set 'cifra'; there are: {datasets}; did you mean cifar10?",
    ),
    Mistake(
        id="a file in place of the data directory",
        typed="data svhn --data data",
        files={"data": ""},
        says="Invalid value for '--data': Directory 'data' is a file; see: sofim data --help",
    ),
    Mistake(
        id="a data directory with a name too long",
        typed="launch paper --data {long}",
        says=(
            "data cannot be looked for in "
            "{here}/{long}/cifar-10-batches-py: "
            "File name too long; name a directory that you may read with --data"
        ),
    ),
    Mistake(
        id="a file of the data is missing",
        typed=FASHION,
        prepare=fashion(lambda folder: (folder / LABELS).unlink()),
        says=(
            "fashion-mnist: train-labels-idx1-ubyte is missing in {folder}; fetch it with: sofim data "
            "fashion-mnist --download --data {here}/data"
        ),
    ),
    Mistake(
        id="truncated data",
        typed=FASHION,
        prepare=fashion(half(IMAGES)),
        says=(
            "fashion-mnist: {folder}/train-images-idx3-ubyte.gz is truncated or damaged; fetch it again with: "
            "sofim data fashion-mnist --download --data {here}/data"
        ),
    ),
    Mistake(
        id="data that are not compressed",
        typed=FASHION,
        prepare=fashion(lambda folder: (folder / IMAGES).write_bytes(b"images")),
        says=(
            "fashion-mnist: {folder}/train-images-idx3-ubyte.gz cannot be read (Not a gzipped file (b'im')); "
            "fetch it again with: sofim data fashion-mnist --download --data {here}/data"
        ),
    ),
    Mistake(
        id="data with the wrong checksum",
        typed=FASHION,
        prepare=fashion(content(LABELS, lambda old: old[:-1] + b"\1")),
        says=(
            "fashion-mnist: {folder}/train-labels-idx1-ubyte.gz is damaged (MD5 <any>, expected "
            "<any>); fetch it again with: sofim data fashion-mnist --download "
            "--data {here}/data"
        ),
    ),
    Mistake(
        id="data that are not those published",
        typed=FASHION,
        prepare=fashion(lambda folder: (folder / "MD5SUMS").unlink()),
        says=(
            "fashion-mnist: {folder}/train-images-idx3-ubyte.gz is damaged (MD5 <any>, expected "
            "<any>); fetch it again with: sofim data fashion-mnist --download "
            "--data {here}/data"
        ),
    ),
    Mistake(
        id="checksums that are no text",
        typed=FASHION,
        prepare=fashion(lambda folder: (folder / "MD5SUMS").write_bytes(b"\xff\xfe\0")),
        says=("{folder}/MD5SUMS: is no list of checksums; delete it, or make it again with: md5sum * > MD5SUMS"),
    ),
    Mistake(
        id="truncated data with a checksum",
        typed=FASHION,
        prepare=fashion(content(IMAGES, lambda old: old[:-100]), checksums=True),
        says=(
            "fashion-mnist: {folder}/train-images-idx3-ubyte.gz is truncated or too long (46940 bytes of data, "
            "its header says 47040); fetch it again with: sofim data fashion-mnist --download --data "
            "{here}/data"
        ),
    ),
    Mistake(
        id="images of another shape",
        typed=FASHION,
        prepare=fashion(content(IMAGES, lambda old: struct.pack(">IIII", 2051, 60, 14, 56) + old[16:]), checksums=True),
        says=(
            "fashion-mnist: {folder}/train-images-idx3-ubyte.gz has images of shape [1, 14, 56], not [1, 28, "
            "28]; fetch it again with: sofim data fashion-mnist --download --data {here}/data"
        ),
    ),
    Mistake(
        id="labels of another data set",
        typed=FASHION,
        prepare=fashion(content(LABELS, lambda old: old[:8] + bytes([77] * 60)), checksums=True),
        says=(
            "fashion-mnist: {folder}/train-labels-idx1-ubyte.gz has labels from 77 to 77, not from 0 to 9; "
            "fetch it again with: sofim data fashion-mnist --download --data {here}/data"
        ),
    ),
    Mistake(
        id="fewer labels than images",
        typed=FASHION,
        prepare=fashion(content(LABELS, lambda old: struct.pack(">II", 2049, 50) + old[8:58]), checksums=True),
        says=(
            "fashion-mnist: {folder}/train-images-idx3-ubyte.gz has 60 images, but there are 50 labels; fetch "
            "it again with: sofim data fashion-mnist --download --data {here}/data"
        ),
    ),
    Mistake(
        id="labels in place of images",
        typed=FASHION,
        prepare=fashion(content(IMAGES, lambda old: struct.pack(">II", 2049, 3) + b"abc"), checksums=True),
        says=(
            "fashion-mnist: {folder}/train-images-idx3-ubyte.gz is truncated (11 bytes); fetch it again with: "
            "sofim data fashion-mnist --download --data {here}/data"
        ),
    ),
    Mistake(
        id="test data to confirm on that are damaged",
        typed=f"{FASHION} --confirm",
        prepare=fashion(half("t10k-images-idx3-ubyte.gz")),
        says=(
            "fashion-mnist: {folder}/t10k-images-idx3-ubyte.gz is truncated or damaged; fetch it again with: "
            "sofim data fashion-mnist --download --data {here}/data"
        ),
    ),
    Mistake(
        id="damaged data, asked for by name",
        typed="data fashion-mnist --data data",
        prepare=fashion(half(IMAGES)),
        prints=True,
        says=(
            "fashion-mnist: {folder}/train-images-idx3-ubyte.gz is truncated or damaged; fetch it again with: "
            "sofim data fashion-mnist --download --data {here}/data"
        ),
    ),
    Mistake(
        id="a batch that runs code",
        typed="launch quickstart --workloads cifar10-lenet5 --data data",
        prepare=other("cifar10", "data_batch_2", b"cos\nsystem\n(S'true'\ntR."),
        says=(
            "cifar10: {here}/data/cifar-10-batches-py/data_batch_2 is not a CIFAR batch (UnpicklingError: it "
            "asks for os.system); fetch it again with: sofim data cifar10 --download --data {here}/data"
        ),
    ),
    Mistake(
        id="a batch that is no pickle",
        typed="launch quickstart --workloads cifar10-lenet5 --data data",
        prepare=other("cifar10", "data_batch_1", b"no pickle"),
        says=(
            "cifar10: {here}/data/cifar-10-batches-py/data_batch_1 is not a CIFAR batch (UnpicklingError: "
            "invalid load key, 'n'.); fetch it again with: sofim data cifar10 --download --data {here}/data"
        ),
    ),
    Mistake(
        id="a matrix that is none",
        typed="launch quickstart --workloads svhn-resnet9 --data data",
        prepare=other("svhn", "train_32x32.mat", b"no matrix"),
        says=(
            "svhn: {here}/data/train_32x32.mat is not a MATLAB file (MatReadError: Mat file appears to be "
            "truncated); fetch it again with: sofim data svhn --download --data {here}/data"
        ),
    ),
    Mistake(
        id="data that may not be read",
        typed=FASHION,
        prepare=fashion(lambda folder: (folder / IMAGES).chmod(0)),
        as_nobody=True,
        says=("fashion-mnist: {folder}/train-images-idx3-ubyte.gz may not be read by you; allow it with: chmod +r"),
    ),
    Mistake(
        id="a data directory that may not be entered",
        typed=FASHION,
        prepare=fashion(lambda folder: folder.parents[1].chmod(0)),
        as_nobody=True,
        says=(
            "data cannot be looked for in {folder}: Permission denied; name a directory that you may read with --data"
        ),
    ),
    Mistake(
        id="a cache that cannot be written",
        typed="launch quickstart --workloads digits-mlp",
        environment={"SOFIM_CACHE": "/proc/sofim"},
        says=(
            "cannot write decoded data to /proc/sofim: No such file or directory; set SOFIM_CACHE to a "
            "directory with room that can be written"
        ),
    ),
    Mistake(
        id="a cache in a file",
        typed="launch quickstart --workloads digits-mlp",
        files={"cache": ""},
        environment={"SOFIM_CACHE": "{here}/cache"},
        says=(
            "cannot write decoded data to {here}/cache: File exists; set SOFIM_CACHE to a directory with room "
            "that can be written"
        ),
    ),
    Mistake(
        id="a download to where nothing can be written",
        typed="data svhn --download --data /proc/sofim",
        says=(
            "svhn: cannot be fetched into /proc/sofim: No such file or directory; name another directory with --data"
        ),
    ),
]
