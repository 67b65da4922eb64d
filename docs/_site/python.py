"""The reference of Python: every public name of every package, from its docstring."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.pycode import ModuleAnalyzer

PACKAGES = ("sofim", "search_spaces", "studies", "analysis")


def public() -> Iterator[tuple[str, str]]:
    """Yield every public name: the module that has it in its ``__all__``, and the name."""
    for top in PACKAGES:
        module = import_module(top)
        inner = [one.name for one in pkgutil.walk_packages(module.__path__, f"{top}.")]
        for name in (top, *(one for one in inner if not one.rpartition(".")[2].startswith("_") and _tells(one))):
            yield from ((name, member) for member in getattr(import_module(name), "__all__", ()))


def _tells(module: str) -> bool:
    """Return whether a module says what of it is public."""
    found = find_spec(module)
    return found is not None and found.origin is not None and "\n__all__ =" in Path(found.origin).read_text("utf-8")


def api(top: str) -> str:
    """Return the reference of the packages in ``top`` as Markdown.

    Raises:
        ExtensionError: A public name has no docstring.
    """
    names: dict[str, list[str]] = {}
    told: dict[int, str] = {}
    for package, name in public():
        if package.partition(".")[0] == top:
            names.setdefault(package, []).append(name)
    parts = []
    for package, members in names.items():
        module = import_module(package)
        parts += [
            f"## {package}",
            "```{eval-rst}",
            f".. py:module:: {package}",
            "",
            _fenced(inspect.getdoc(module) or ""),
            "",
        ]
        for name in sorted(members, key=str.lower):
            value = getattr(module, name)
            first = told.setdefault(id(value), f"{package}.{name}") if callable(value) else f"{package}.{name}"
            again = [f"``{package}.{name}`` is ``{first}``."]
            parts += [*(_entry(module, name) if first == f"{package}.{name}" else again), ""]
        parts += ["```", ""]
    return "\n".join(parts)


def _fenced(text: str) -> str:
    """Return a docstring with its fenced blocks as reStructuredText has them."""

    def block(found: re.Match[str]) -> str:
        return f".. code-block:: {found[1]}\n\n" + "".join(f"   {line}\n" for line in found[2].splitlines())

    return re.sub(r"```(\w+)\n(.*?)```", block, text, flags=re.DOTALL)


def escape_bars(_app: Sphinx, _what: str, _name: str, _value: object, _options: object, lines: list[str]) -> None:
    """Let bars in a docstring, which are absolute values here, not stand for substitutions."""
    for place, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
        lines[place] = "`".join(parts) if not line.lstrip().startswith((">>>", "...")) else line


def _entry(module: ModuleType, name: str) -> list[str]:
    path, value = f"{module.__name__}.{name}", getattr(module, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        if not (value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__):
            raise ExtensionError(f"{path} is public and has no docstring")
        if inspect.isfunction(value):
            return [f".. autofunction:: {path}"]
        return [f".. autoclass:: {path}", "   :members:"]
    lines = _said_of(module, name, value)
    return [f".. py:data:: {path}", "", *(f"   {line}" for line in lines)]


def _said_of(module: ModuleType, name: str, value: Any) -> list[str]:
    """Return the string that stands below a constant where it is defined."""
    of = getattr(value, "__module__", None)
    rooms = [module.__name__, *([of] if isinstance(of, str) else [])]
    rooms += [one.name for one in pkgutil.walk_packages(module.__path__, f"{module.__name__}.") if not one.ispkg]
    for room in rooms:
        if room == "builtins":
            continue
        said = ModuleAnalyzer.for_module(room).find_attr_docs().get(("", name))
        if said:
            return said
    raise ExtensionError(f"{module.__name__}.{name} is public and has no docstring")
