"""Arrays decoded once, kept on disk as plain ``.npy`` files and mapped into memory.

Every process on a node that maps a file shares its pages with the others: the second worker costs almost nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import UserError

Array = NDArray[np.generic]

_MANIFEST = "arrays.json"
_FORMAT = 1  # raise it when what is written changes, so that older caches are not read


def cache_directory() -> Path:
    """Return where decoded data are kept: ``$SOFIM_CACHE``, else ``$XDG_CACHE_HOME/sofim``, else ``~/.cache/sofim``."""
    if own := os.environ.get("SOFIM_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sofim"


def cached_arrays(name: str, identity: object, build: Callable[[], Mapping[str, Array]]) -> dict[str, Array]:
    """Return the arrays that ``build`` makes, mapped from the cache, where they are made once.

    The map is private copy-on-write: pages are shared with all other processes until somebody writes to them, and what
    one process writes nobody else sees. Two processes that build at once do no harm: each writes a folder of its own
    and the first rename wins.

    Args:
        name: The beginning of the folder's name, for people.
        identity: What the arrays depend on, as JSON values. A changed source has another identity and is built anew.
        build: Makes the arrays, by name.

    Raises:
        UserError: If the cache cannot be written.
    """
    text = json.dumps([_FORMAT, identity], sort_keys=True)
    folder = cache_directory() / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    arrays = _open(folder)
    if arrays is None:
        made = build()
        try:
            _write(folder, made)
        except OSError as error:
            raise UserError(
                f"cannot write decoded data to {folder.parent}: {error.strerror or error}; "
                "set SOFIM_CACHE to a directory with room that can be written"
            ) from error
        arrays = _open(folder)
        if arrays is None:
            raise UserError(
                f"the cache {folder} cannot be read back; delete it, or set SOFIM_CACHE to another directory"
            )
    return arrays


def _open(folder: Path) -> dict[str, Array] | None:
    """Map the arrays of a finished cache folder, or return None where there is none or it is damaged."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in manifest}
    except (OSError, ValueError, EOFError):
        return None
    for name, (dtype, shape) in manifest.items():
        if str(arrays[name].dtype) != dtype or list(arrays[name].shape) != shape:
            return None
    return arrays


def _write(folder: Path, arrays: Mapping[str, Array]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(folder.parent)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        for name, array in arrays.items():
            np.save(building / f"{name}.npy", array)
        manifest = {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
        (building / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        if folder.exists() and _open(folder) is None:
            # A damaged cache is moved aside: whoever has mapped it keeps its pages.
            aside = folder.parent / f"{building.name}-damaged"
            with contextlib.suppress(FileNotFoundError):
                folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        building.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        # Another process finished first; its arrays are the same as ours.
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _clear_abandoned(directory: Path) -> None:
    """Delete what processes that were killed while they wrote have left, once it is a day old."""
    for leftover in directory.glob(".building-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > 24 * 3600:
                shutil.rmtree(leftover, ignore_errors=True)
