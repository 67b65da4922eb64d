"""Readers of the formats in which the image data sets are published: bytes in, arrays out.

They are our own and not torchvision's because torchvision's check the test files whenever they read the training files
(tuning must work without test data), and because these refuse to run code from a pickle.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]
_LONGEST = 60


class FormatError(ValueError):
    """Bytes that are not what the format says.

    Args:
        what: What is wrong, in words that follow a file's name.
        position: Of the file among those that were read together.
    """

    def __init__(self, what: str, position: int = 0) -> None:
        super().__init__(what)
        self.position = position


def read_idx(contents: Sequence[bytes], *, shape: tuple[int, int], num_classes: int) -> Arrays:
    """Read a pair of idx files, as MNIST and Fashion-MNIST are published (decompressed).

    Args:
        contents: The bytes of the image file and of the label file.
        shape: Height and width that the images must have.
        num_classes: One more than the largest label allowed.

    Returns:
        ``images`` uint8 [n, 1, height, width] and ``labels`` int64 [n].

    Raises:
        FormatError: If magic number, sizes or labels are wrong.
    """
    images = _idx(contents[0], magic=2051, num_dimensions=3)
    with _in_file(1):
        labels = _idx(contents[1], magic=2049, num_dimensions=1).astype(np.int64)
        _check_labels(labels, num_classes)
    return _checked(images[:, None], labels, (1, *shape), num_classes)


@contextmanager
def _in_file(position: int) -> Iterator[None]:
    """Say of what is wrong inside the block that it is wrong with the file at ``position``."""
    try:
        yield
    except FormatError as error:
        raise FormatError(str(error), position) from error


def _idx(content: bytes, *, magic: int, num_dimensions: int) -> NDArray[np.uint8]:
    header = 4 * (1 + num_dimensions)
    if len(content) < header:
        raise FormatError(f"is truncated ({len(content)} bytes)")
    numbers = [int(number) for number in np.frombuffer(content[:header], ">u4")]
    if numbers[0] != magic:
        raise FormatError(f"is not an idx file of {num_dimensions} dimensions (magic number {numbers[0]}, not {magic})")
    size = int(np.prod(numbers[1:], dtype=np.int64))
    if len(content) - header != size:
        raise FormatError(f"is truncated or too long ({len(content) - header} bytes of data, its header says {size})")
    return np.frombuffer(content, np.uint8, offset=header).reshape(numbers[1:])


def read_cifar(contents: Sequence[bytes], *, label_key: str, num_classes: int) -> Arrays:
    """Read the pickled batches of CIFAR's "python version".

    Args:
        contents: The bytes of each batch; together they are one part of the data.
        label_key: ``"labels"`` for CIFAR-10, ``"fine_labels"`` for CIFAR-100.
        num_classes: One more than the largest label allowed.

    Returns:
        ``images`` uint8 [n, 3, 32, 32] and ``labels`` int64 [n], in the order of the batches.

    Raises:
        FormatError: If a batch is no such pickle, asks for code to be run, or has the wrong shape.
    """
    batches = []
    for position, content in enumerate(contents):
        with _in_file(position):
            batches.append(_cifar_batch(content, label_key, num_classes))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in ("images", "labels")}


def _cifar_batch(content: bytes, label_key: str, num_classes: int) -> Arrays:
    try:
        batch = _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise FormatError(f"is not a CIFAR batch ({_brief(error)})") from error
    if not isinstance(batch, dict) or "data" not in batch or label_key not in batch:
        raise FormatError(f"is not a CIFAR batch with data and {label_key}")
    data = np.asarray(batch["data"])
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
        raise FormatError(f"has data of {data.dtype} {list(data.shape)}, not uint8 [n, 3072]")
    return _checked(data.reshape(-1, 3, 32, 32), _labels(batch[label_key]), (3, 32, 32), num_classes)


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles lists, dicts, numbers, strings and numpy arrays, and nothing that could run code."""

    def find_class(self, module_name: str, global_name: str) -> object:
        """Return one of the few names that an array needs."""
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}") from None


def _encode_latin1(text: str, _encoding: str) -> bytes:
    """Stand for ``_codecs.encode``, by which Python 3 writes bytes in a protocol 2 pickle."""
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], object] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # numpy's own, taken from an array because its module has moved between versions.
    ("numpy.core.multiarray", "_reconstruct"): np.zeros(1).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.zeros(1).__reduce__()[0],
    ("_codecs", "encode"): _encode_latin1,
}


def read_svhn(contents: Sequence[bytes], *, num_classes: int) -> Arrays:
    """Read one ``*_32x32.mat`` file of SVHN, format 2.

    Args:
        contents: The bytes of the one file.
        num_classes: One more than the largest label allowed.

    Returns:
        ``images`` uint8 [n, 3, 32, 32] and ``labels`` int64 [n]; the digit 0, published as label 10, has label 0.

    Raises:
        FormatError: If it is no such file or has the wrong shape.
    """
    from scipy.io import loadmat  # slow to import, and only the first reading of a data set needs it

    try:
        mat = loadmat(io.BytesIO(contents[0]))  # type: ignore[arg-type]  # the stubs forget open files
    except Exception as error:  # scipy raises whatever its parser meets: struct.error, zlib.error, TypeError, …
        raise FormatError(f"is not a MATLAB file ({_brief(error)})") from error
    if "X" not in mat or "y" not in mat:
        raise FormatError("has no X and y")
    images = np.asarray(mat["X"])
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise FormatError(f"has images of {images.dtype} {list(images.shape)}, not uint8 [32, 32, 3, n]")
    labels = _labels(mat["y"].reshape(-1))
    labels[labels == 10] = 0
    return _checked(np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels, (3, 32, 32), num_classes)


def _labels(values: object) -> NDArray[np.int64]:
    labels = np.asarray(values)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise FormatError(f"has labels of {labels.dtype} {list(labels.shape)}, not whole numbers [n]")
    return labels.astype(np.int64)


def _checked(images: NDArray[np.uint8], labels: NDArray[np.int64], shape: tuple[int, ...], num_classes: int) -> Arrays:
    if images.shape[1:] != shape:
        raise FormatError(f"has images of shape {list(images.shape[1:])}, not {list(shape)}")
    if len(images) != len(labels):
        raise FormatError(f"has {len(images)} images, but there are {len(labels)} labels")
    if len(images) == 0:
        raise FormatError("has no images")
    _check_labels(labels, num_classes)
    return {"images": images, "labels": labels}


def _check_labels(labels: NDArray[np.int64], num_classes: int) -> None:
    if len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
        raise FormatError(f"has labels from {labels.min()} to {labels.max()}, not from 0 to {num_classes - 1}")


def _brief(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


Reader = Callable[[Sequence[bytes]], Arrays]
