"""Whose modules are imported: this program's and those it depends on, whatever lies in the current directory.

A person's own modules are found there too, but last: their ``analysis.py`` takes nobody's place.

At loading it needs only what every Python has loaded at its start: it comes before all that a file could replace.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, PathFinder

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PROJECT = "sofim-studies"
_OWN = ("sofim", "search_spaces", "studies", "analysis")
_NEEDED = ("sofim", "search_spaces")  # by this package, in whichever process it is imported


class _OwnPackages:
    """Finds the packages that this one is built on beside it, in a person's process too: a notebook, a worker."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [_ROOT]) if name in _NEEDED else None


def import_own() -> None:
    """Have ``sofim`` and ``search_spaces`` mean those that came with this package.

    Raises:
        ImportError: A module of that name was imported from elsewhere.
    """
    for name in _NEEDED:
        there = getattr(sys.modules.get(name), "__spec__", None)
        if there is not None and not any(_is_in(place, _ROOT) for place in _places(there)):
            raise ImportError(f"{next(_places(there), name)} has the name of a package that studies needs; rename it")
    if not any(isinstance(finder, _OwnPackages) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OwnPackages())


def look_here_last() -> None:
    """Look for modules in the current directory, after all other places; for the process of a command.

    Python itself puts it first for ``python -m`` and for an empty part of ``PYTHONPATH``, which children inherit.
    """
    here = _here()
    if here is None:
        return
    sys.path[:] = [place for place in sys.path if not _is(place, here)]
    also_look_in([_ROOT, here])
    inherited = os.environ.get("PYTHONPATH")
    if inherited is not None:
        kept = [place for place in inherited.split(os.pathsep) if not _is(place, here)]
        _find_own_title()
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)
        if not kept:
            del os.environ["PYTHONPATH"]


def _find_own_title() -> None:
    """Have setproctitle find where the command line is, which may hold a password, while it still can.

    It lies before the first variable of the environment, and is not found once that one is set anew.
    """
    try:
        from setproctitle import getproctitle
    except ImportError:  # said with all that is missing
        return
    getproctitle()


def also_look_in(places: Iterable[str]) -> None:
    """Add directories to the end of Python's path, those that are not there, in their order."""
    known = {_absolute(place) for place in sys.path}
    sys.path += [place for place in dict.fromkeys(places) if place not in known]


def search_path() -> tuple[str, ...]:
    """Return where this process looks for modules, for others that are to find a person's own as well."""
    return tuple(dict.fromkeys(_absolute(place) for place in sys.path))


def factory_named(name: str) -> tuple[str, str] | None:
    """Return the module and the function that ``package.module:factory`` names; ``None`` where it is not of that form.

    >>> factory_named("mine.nets:xor"), factory_named("digits-mlp")
    (('mine.nets', 'xor'), None)
    """
    module, _, factory = name.partition(":")
    is_one = factory.isidentifier() and all(part.isidentifier() for part in module.split("."))
    return (module, factory) if is_one else None


def imported_from(directory: str) -> Iterator[str]:
    """Yield the files, or the directories of packages, that this process has imported from ``directory``."""
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if "." in name or not isinstance(spec, ModuleSpec):  # some put objects there that are no modules
            continue
        place = next(_places(spec), None)
        if place is not None and _is_in(place, directory):
            yield place


def in_the_way(module: str) -> str | None:
    """Say which file of the current directory is not imported as ``module``, another having that name, and what to do.

    Args:
        module: Its name, with dots.

    Returns:
        A phrase; ``None`` where the file is imported, or there is none.
    """
    from importlib.util import find_spec

    here, (top, *rest) = _here(), module.split(".")
    if here is None:
        return None
    path = os.path.join(here, top, *rest)
    file = next((file for file in (f"{path}.py", f"{path}/__init__.py") if os.path.isfile(file)), None)
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if file is None or spec is None or any(_is_in(place, here) for place in _places(spec)):
        return None
    if top in _OWN:
        whose = "a package of this program"
    elif top in sys.stdlib_module_names:
        whose = "a module of Python"
    else:
        whose = next(_places(spec), top)
    taken = os.path.join(here, top) if rest else file
    return f"{taken} has the name of {whose}, which is imported instead; rename it"


def what_is_missing() -> str | None:
    """Say which libraries of those that tune and report are not installed, and how to get them.

    Returns:
        A line; ``None`` where all are installed, or this program itself is not.
    """
    import re
    from importlib.metadata import PackageNotFoundError, distribution, requires

    def is_installed(library: str) -> bool:
        try:
            return distribution(library) is not None
        except PackageNotFoundError:
            return False

    try:
        needed = [line for line in requires(_PROJECT) or () if re.search(r"; extra == .studies.$", line)]
    except PackageNotFoundError:  # run from its source
        return None
    missing = [library for library in (re.split(r"[^\w.-]", line)[0] for line in needed) if not is_installed(library)]
    if not missing:
        return None
    named = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    return f"libraries that tune and report are not installed ({named}); pip install '{_PROJECT}[studies]'"


def _places(spec: ModuleSpec) -> Iterator[str]:
    """Yield the directories of a package, or the file of a module."""
    if spec.submodule_search_locations is not None:
        yield from spec.submodule_search_locations
    elif spec.origin is not None and spec.has_location:
        yield spec.origin


def _here() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # somebody removed it
        return None


def _absolute(place: str) -> str:
    """Return what an entry of Python's path stands for; what is no directory as it is."""
    return (_here() or place) if place in ("", ".") else place


def _is(place: str, directory: str) -> bool:
    return os.path.realpath(place or ".") == os.path.realpath(directory)


def _is_in(place: str, directory: str) -> bool:
    return os.path.realpath(os.path.dirname(place)) == os.path.realpath(directory)
