"""Writers of small files in the formats in which image data sets are published, and the plainest readers of them."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import numpy as np
import scipy.io


def random_images(num: int, channels: int, size: int, num_classes: int, seed: int = 0):
    """uint8 [num, channels, size, size] and labels [num]; a class is a brightness, so that one can learn."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num)
    images = rng.integers(0, 100, (num, channels, size, size)) + (150 * labels / num_classes)[:, None, None, None]
    return images.astype(np.uint8), labels.astype(np.int64)


def write_checksums(folder: Path) -> None:
    """Do what ``md5sum * > MD5SUMS`` does."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != "MD5SUMS"]
    lines = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / "MD5SUMS").write_text("".join(lines))


def write_fashion_mnist(folder: Path, num_train: int = 60, num_test: int = 20, *, compressed: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, num, seed in (("train", num_train, 1), ("t10k", num_test, 2)):
        images, labels = random_images(num, 1, 28, 10, seed)
        contents = {
            f"{prefix}-images-idx3-ubyte": struct.pack(">IIII", 2051, num, 28, 28) + images.tobytes(),
            f"{prefix}-labels-idx1-ubyte": struct.pack(">II", 2049, num) + labels.astype(np.uint8).tobytes(),
        }
        for name, content in contents.items():
            if compressed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
    write_checksums(folder)


class _Python2Pickler(pickle._Pickler):
    """Writes strings and bytes as Python 2's ``str``, as CIFAR's published batches have them."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_python2_string(self, value):
        raw = value if isinstance(value, bytes) else value.encode("latin1")
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[bytes] = save_python2_string
    dispatch[str] = save_python2_string


def python2_pickle(value: object) -> bytes:
    buffer = BytesIO()
    _Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def write_cifar10(folder: Path, num_per_batch: int = 16, num_test: int = 20) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = [*((f"data_batch_{i}", num_per_batch) for i in range(1, 6)), ("test_batch", num_test)]
    for seed, (name, num) in enumerate(names):
        images, labels = random_images(num, 3, 32, 10, seed)
        batch = {
            "batch_label": name,
            "labels": labels.tolist(),
            "data": images.reshape(num, -1),
            "filenames": [f"{i}.png" for i in range(num)],
        }
        (folder / name).write_bytes(python2_pickle(batch))
    (folder / "batches.meta").write_bytes(python2_pickle({"label_names": [f"class {i}" for i in range(10)]}))
    write_checksums(folder)


def write_cifar100(folder: Path, num_train: int = 80, num_test: int = 20) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, num) in enumerate([("train", num_train), ("test", num_test)]):
        images, labels = random_images(num, 3, 32, 100, seed)
        batch = {
            "filenames": [f"{i}.png" for i in range(num)],
            "batch_label": name,
            "fine_labels": labels.tolist(),
            "coarse_labels": (labels // 5).tolist(),
            "data": images.reshape(num, -1),
        }
        (folder / name).write_bytes(python2_pickle(batch))
    (folder / "meta").write_bytes(python2_pickle({"fine_label_names": [f"class {i}" for i in range(100)]}))
    write_checksums(folder)


def write_svhn(folder: Path, num_train: int = 80, num_test: int = 20) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, num) in enumerate([("train", num_train), ("test", num_test)]):
        images, labels = random_images(num, 3, 32, 10, seed)
        labels = np.where(labels == 0, 10, labels).astype(np.uint8)
        content = {"X": images.transpose(2, 3, 1, 0), "y": labels[:, None]}
        scipy.io.savemat(folder / f"{name}_32x32.mat", content, do_compression=True)
    write_checksums(folder)


WRITERS = {
    "fashion-mnist": (write_fashion_mnist, "FashionMNIST/raw"),
    "cifar10": (write_cifar10, "cifar-10-batches-py"),
    "cifar100": (write_cifar100, "cifar-100-python"),
    "svhn": (write_svhn, ""),
}


def write(name: str, directory: Path, **sizes: int) -> Path:
    """Write a small data set of that name in torchvision's layout; return the folder of its files."""
    writer, folder = WRITERS[name]
    writer(directory / folder, **sizes)
    return directory / folder
