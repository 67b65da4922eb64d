"""Data sets as their authors publish them: where the files lie, whether they are whole, and how to fetch them."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from search_spaces.errors import UserError
from studies.called import command_line
from studies.data._cache import cached_arrays
from studies.data._readers import FormatError, Reader

Part = Literal["train", "test"]
PARTS: tuple[Part, Part] = ("train", "test")

SPLIT_SEED = 20240306
"""Seed of every split of the project: which examples validate does not depend on a trial's seed."""

CHECKSUMS = "MD5SUMS"
"""A file of this name beside data files, as ``md5sum`` writes it, replaces the published checksums of what it names.
This is how one uses data of one's own in a published format, on purpose. Its lines that begin with ``#`` say what these
data are: they are stored with the studies made on them, and reports quote them."""

_READER = 1  # raise it when a reader changes what it returns


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file of a data set.

    Attributes:
        name: Its name, without ``.gz``.
        md5: The MD5 of its content; of the decompressed content where it may be compressed.
        compressed: Whether it may also lie there as ``name.gz``.
    """

    name: str
    md5: str
    compressed: bool = False

    def candidates(self, folder: Path) -> tuple[Path, ...]:
        """Return the paths at which the file may lie in a folder, the best first."""
        plain = folder / self.name
        return (plain.with_name(f"{self.name}.gz"), plain) if self.compressed else (plain,)


@dataclass(frozen=True)
class PublishedDataset:
    """A data set that is downloaded, in the files its authors publish.

    Attributes:
        name: Key in ``DATASETS``.
        parts: The files of the training and of the test part.
        folders: Folders below the data directory where they may lie; torchvision's own layout first.
        system: Folders outside the data directory where they may lie.
        read: Turns the contents of a part's files into ``images`` and ``labels``.
        fetch: Downloads both parts below a directory.
        source: Where the data come from.
        licence: Their licence, as their authors state it.
        hint: Another way to get the data, as a clause.
    """

    name: str
    parts: Mapping[Part, tuple[PublishedFile, ...]]
    folders: tuple[str, ...]
    read: Reader
    fetch: Callable[[Path], None]
    source: str
    licence: str
    system: tuple[Path, ...] = ()
    hint: str = ""

    def looked_in(self, directory: Path | None) -> tuple[Path, ...]:
        """Return the folders in which the files are looked for, in order."""
        root = data_directory(directory)
        return (*(root / folder if folder else root for folder in self.folders), *self.system)

    def command(self, directory: Path | None) -> str:
        """Return the command that fetches the data."""
        where = [] if directory is None else ["--data", str(directory)]
        return command_line("data", self.name, "--download", *where)

    def locate(self, part: Part, directory: Path | None = None) -> tuple[Path, ...]:
        """Return the paths of a part's files, in the first folder that has any of them.

        Raises:
            UserError: If there is none, or one of them is missing there.
        """
        files = self.parts[part]
        folders = self.looked_in(directory)
        for folder in folders:
            found = [next(filter(_is_file, file.candidates(folder)), None) for file in files]
            if not any(found):
                continue
            paths = tuple(path for path in found if path is not None)
            if len(paths) < len(files):
                absent = files[found.index(None)].name
                raise UserError(
                    f"{self.name}: {absent} is missing in {folder}; fetch it with: {self.command(directory)}"
                )
            return paths
        also = ", ".join(str(folder) for folder in folders[1:])
        raise UserError(
            f"{self.name}: no {files[0].candidates(folders[0])[0].name} in {folders[0]} (nor in {also}); "
            f"fetch it with: {self.command(directory)}{self.hint}"
        )

    def contents(self, part: Part, directory: Path | None = None) -> list[bytes]:
        """Return the decompressed contents of a part's files, each held against its checksum.

        Raises:
            UserError: If a file is missing or is not what was published.
        """
        return [
            self._content(file, path, directory)
            for file, path in zip(self.parts[part], self.locate(part, directory), strict=True)
        ]

    def facts(self, directory: Path | None = None) -> dict[str, Any]:
        """Return what a study stores of the files that it is made on, which are there and whole.

        Returns:
            ``dataset``; ``md5``, by file, of the content where it may be compressed; ``not_published``, the files
            whose content is another than was published; ``said``, what their owner says of them in ``MD5SUMS``.

        Raises:
            UserError: If a file of the training part is missing or damaged. Test files may be missing.
        """
        found, said = {}, ""
        for part in PARTS:
            try:
                paths = self.locate(part, directory)
            except UserError:
                if part == "train":
                    raise
                continue
            own = _own_checksums(paths[0].parent)
            said = said or _said(paths[0].parent)
            for file, path in zip(self.parts[part], paths, strict=True):
                found[file.name] = own.get(path.name, file.md5)
                if path.name in own and path.suffix == ".gz":  # of which the owner's checksum is of what is compressed
                    found[file.name] = _md5(self._content(file, path, directory))
        published = {file.name: file.md5 for part in PARTS for file in self.parts[part]}
        other = [name for name, md5 in found.items() if md5 != published[name]]
        return {"dataset": self.name, "md5": found, "not_published": other, "said": said if other else ""}

    def is_whole(self, file: PublishedFile, path: Path) -> bool:
        """Return whether a file is readable and has the checksum it should have."""
        try:
            self._content(file, path, None)
        except UserError:
            return False
        return True

    def _content(self, file: PublishedFile, path: Path, directory: Path | None) -> bytes:
        try:
            stored = path.read_bytes()
            own = _own_checksums(path.parent).get(path.name)
            content = gzip.decompress(stored) if path.suffix == ".gz" else stored
        except PermissionError as error:
            raise UserError(f"{self.name}: {path} may not be read by you; allow it with: chmod +r") from error
        except OSError as error:  # gzip.BadGzipFile is one
            raise self._damaged(path, f"cannot be read ({error.strerror or error})", directory) from error
        except (EOFError, zlib.error) as error:
            raise self._damaged(path, "is truncated or damaged", directory) from error
        actual = _md5(content if own is None else stored)
        expected = own or file.md5
        if actual != expected:
            raise self._damaged(path, f"is damaged (MD5 {actual}, expected {expected})", directory)
        return content

    def _damaged(self, path: Path, what: str, directory: Path | None) -> UserError:
        return UserError(f"{self.name}: {path} {what}; fetch it again with: {self.command(directory)}")

    def decode(self, part: Part, directory: Path | None = None) -> dict[str, NDArray[np.generic]]:
        """Read a part's files.

        Returns:
            ``images`` uint8 [n, channels, height, width] and ``labels`` int64 [n], in the published order.

        Raises:
            UserError: If a file is missing, damaged or of the wrong shape.
        """
        contents = self.contents(part, directory)
        try:
            return self.read(contents)
        except FormatError as error:
            raise self._damaged(self.locate(part, directory)[error.position], str(error), directory) from error

    def arrays(self, part: Part, directory: Path | None = None) -> dict[str, NDArray[np.generic]]:
        """Return a part, decoded once and mapped from the cache.

        The training part is in an order shuffled by ``SPLIT_SEED``, so that a split of it is a slice and shares memory.

        Raises:
            UserError: If a file is missing, damaged or of the wrong shape, or the cache cannot be written.
        """

        def build() -> dict[str, NDArray[np.generic]]:
            arrays = self.decode(part, directory)
            if part == "test":
                return arrays
            order = split_order(len(arrays["labels"]))
            return {name: array[order] for name, array in arrays.items()}

        identity = [_READER, SPLIT_SEED, [file.md5 for file in self.parts[part]]]
        for path in self.locate(part, directory):
            identity.append(_fingerprint(path))
            identity.append(_fingerprint(path.with_name(CHECKSUMS)))
        return cached_arrays(f"{self.name}-{part}", identity, build)


def data_directory(directory: Path | None = None) -> Path:
    """Return where data sets are looked for: the one given, else ``$SOFIM_DATA``, else XDG's place for data."""
    if directory is not None:
        return Path(directory).expanduser()
    if own := os.environ.get("SOFIM_DATA"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "sofim"


def split_order(num_examples: int) -> NDArray[np.int64]:
    """Return the fixed order [num_examples] in which a data set is cut into splits."""
    # The legacy generator, because its stream is frozen for ever (NEP 19) and the newer one's is not.
    return np.random.RandomState(SPLIT_SEED).permutation(num_examples).astype(np.int64)


def _is_file(path: Path) -> bool:
    """Return whether a file is there.

    Raises:
        UserError: If that cannot be found out.
    """
    try:
        return path.is_file()
    except OSError as error:  # a directory that one may not enter, a name that is too long
        raise UserError(
            f"data cannot be looked for in {path.parent}: {error.strerror or error}; "
            "name a directory that you may read with --data"
        ) from error


def _fingerprint(path: Path) -> list[object] | None:
    """Return what changes when a file does, without reading it."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return [str(path.resolve()), state.st_size, state.st_mtime_ns]


def _own_checksums(folder: Path) -> dict[str, str]:
    """Return the checksums that the owner of a folder has put in place of the published ones, by file name."""
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise UserError(
            f"{folder / CHECKSUMS}: is no list of checksums; delete it, or make it again with: md5sum * > {CHECKSUMS}"
        ) from None
    pairs = [line.split(maxsplit=1) for line in lines if not line.startswith("#")]
    return {pair[1].lstrip("*"): pair[0].lower() for pair in pairs if len(pair) == 2}


def _said(folder: Path) -> str:
    """Return what the owner of a folder says of its data, in a line; "" where nothing is said."""
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ""
    return " ".join(" ".join(line.lstrip("#").split()) for line in lines if line.startswith("#")).strip()


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
