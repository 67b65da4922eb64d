"""A user's own search space: a Python file that defines ``SPACE``."""

from __future__ import annotations

import dataclasses
import hashlib
import runpy
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search_spaces._base import SearchSpace
from search_spaces._parameter import Value
from search_spaces.errors import UserError, shown, suggestion


@dataclass(frozen=True, slots=True)
class FileArguments:
    """The ``build`` of a space that came from a file and was then stored: the database holds no code.

    The file is read when arguments are wanted, not before: who only looks at ranges needs no file.

    Args:
        optimizer: The optimizer's key.
        path: The file.
        sha256: What the file's contents hashed to when the space was stored.
    """

    optimizer: str
    path: str
    sha256: str

    def __call__(self, values: Mapping[str, Value]) -> dict[str, object]:
        """Return the factory's arguments as the file makes them of stored ``values``.

        Raises:
            UserError: The file is gone, broken, or not the one the space was stored with.
        """
        space = load_file(self.optimizer, Path(self.path))
        if space.file is None or space.file["sha256"] != self.sha256:
            raise UserError(
                f"{self.path} has changed since its search space was stored: restore it, or start under another name"
            )
        return space.build(values)


def load_file(optimizer: str, path: Path) -> SearchSpace:
    """Return the ``SPACE`` that the Python file ``path`` defines for ``optimizer``.

    Raises:
        UserError: There is no such file, it does not run, or its ``SPACE`` is not one for ``optimizer``.
    """
    where = f"file = {path}" if str(path).isprintable() else f"file = {shown(str(path))}"
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{where} cannot be read: {reason}; the path is relative to the campaign's file") from None
    try:
        names = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:  # it is the user's code: whatever it raises is theirs to mend
        line = " ".join(f"{type(error).__name__}: {error}".split())
        numbers = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        at = f" (line {numbers[-1]})" if numbers else ""
        raise UserError(f"{where} does not run: {line}{at}") from error
    if "SPACE" not in names:
        near = suggestion("SPACE", [name for name in names if not name.startswith("__")])
        raise UserError(f"{where} defines no SPACE, a search_spaces.SearchSpace{near}")
    space = names["SPACE"]
    if not isinstance(space, SearchSpace):
        raise UserError(f"{where}: SPACE is a {type(space).__name__}, not a search_spaces.SearchSpace")
    if space.optimizer != optimizer:
        raise UserError(f"{where}: SPACE is for {shown(space.optimizer)}, not for {shown(optimizer)}")
    return dataclasses.replace(space, file={"path": str(path), "sha256": digest})
