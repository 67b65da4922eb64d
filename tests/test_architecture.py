"""The arrows of the house: who may import whom, read from the source, and checked on what really gets loaded."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("sofim", "search_spaces", "studies", "analysis")


@dataclass(frozen=True)
class Import:
    file: str  # relative to the root, with slashes
    line: int
    module: str  # absolute, dotted
    when: str  # "loading", "calling" (inside a function) or "typing" (under TYPE_CHECKING)

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def is_typing_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports_in(node: ast.AST, file: str, when: str = "loading") -> Iterator[Import]:
    """Every import below ``node``, the dynamic ones by a literal name included."""
    for child in ast.iter_child_nodes(node):
        inner = when
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inner = "calling" if when == "loading" else when
        elif isinstance(child, ast.stmt) and is_typing_only(child):
            inner = "typing"
        if isinstance(child, ast.Import):
            yield from (Import(file, child.lineno, name.name, inner) for name in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = ".".join(Path(file).parts[: -child.level]) if child.level else ""
            module = ".".join(part for part in (base, child.module) if part)
            # "from studies import ledger" imports a module as much as "import studies.ledger" does.
            yield from (Import(file, child.lineno, f"{module}.{name.name}", inner) for name in child.names)
        elif (
            isinstance(child, ast.Call)
            and ast.unparse(child.func).rpartition(".")[2] in ("import_module", "__import__")
            and child.args
            and isinstance(child.args[0], ast.Constant)
        ):
            yield Import(file, child.lineno, str(child.args[0].value), inner)
        yield from imports_in(child, file, inner)


def source_files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@cache
def imports() -> list[Import]:
    """Every import of the packages; read once a test asks, because every process of tests loads this file."""
    return [
        found
        for package in PACKAGES
        for path in source_files(package)
        for found in imports_in(ast.parse(path.read_text(encoding="utf-8")), path.relative_to(ROOT).as_posix())
    ]


# What each package may import besides itself and the standard library. None: any third-party package.
ARROWS: dict[str, tuple[set[str], set[str] | None]] = {
    "sofim": (set(), {"torch", "pytorch_optimizer"}),
    "search_spaces": (set(), {"optuna", "numpy", "scipy"}),
    "analysis": ({"search_spaces"}, None),
    "studies": ({"search_spaces", "sofim", "analysis"}, None),
}
NEVER = {"analysis": {"torch", "torchvision", "pytorch_optimizer", "ray"}}
# The rooms of studies, each of which may import those before it, and what lies beside them.
ROOMS = (
    "data",
    "models",
    "workloads",
    "training",
    "campaign",
    "storage",
    "ledger",
    "loggers",
    "engine",
    "commands",
    "cli",
)
LOOSE = {"__init__", "cli", "called", "modules", "optimizers", "start", "trials"}
# The commands alone may import the analysis, and late; all may import what the database is called and how one counts.
ON_TOP = ("studies/commands/", "studies/cli.py")
SHARED = {"analysis.optimizers", "analysis.schema", "analysis.text"}

# Packages that one part of studies keeps from all others.
LOGS = ("tensorboardX", "mlflow", "wandb", "trackio")  # none is a dependency
KEPT_TO = {"optuna": r"studies/(ledger|storage)/", "ray": r"studies/engine/"} | dict.fromkeys(LOGS, r"studies/loggers/")
HEAVY = {"torch", "torchvision", "pytorch_optimizer", "ray", "optuna", "pandas", "scipy", "sklearn", "matplotlib",
         "seaborn", "optuna_dashboard"}  # fmt: skip


def is_shared(found: Import) -> bool:
    return found.module in SHARED or found.module.rpartition(".")[0] in SHARED


def listed(offenders: list[Import]) -> str:
    return "\n".join(map(str, offenders))


@pytest.mark.slow
def test_the_source_is_read() -> None:
    assert {found.file.partition("/")[0] for found in imports()} == set(PACKAGES)


def test_the_reader_sees_every_kind_of_import() -> None:
    source = (
        "import a.b\nfrom . import c\nfrom .d import e\nif TYPE_CHECKING:\n    import f\n"
        "def g():\n    import h\n    importlib.import_module('i')\nclass J:\n    import k\n"
    )
    found = {(i.module, i.when) for i in imports_in(ast.parse(source), "studies/ledger/x.py")}
    assert found == {
        ("a.b", "loading"),
        ("studies.ledger.c", "loading"),
        ("studies.ledger.d.e", "loading"),
        ("f", "typing"),
        ("h", "calling"),
        ("i", "calling"),
        ("k", "loading"),
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows_between_packages_point_one_way(package: str) -> None:
    others = set(PACKAGES) - {package} - ARROWS[package][0]
    offenders = [i for i in imports() if i.file.startswith(f"{package}/") and i.top in others]
    assert not offenders, listed(offenders)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_the_libraries_it_is_for(package: str) -> None:
    allowed = ARROWS[package][1]
    offenders = [
        i
        for i in imports()
        if i.file.startswith(f"{package}/")
        and i.top not in {*PACKAGES, *sys.stdlib_module_names}
        and ((allowed is not None and i.top not in allowed) or i.top in NEVER.get(package, ()))
    ]
    assert not offenders, listed(offenders)


@pytest.mark.parametrize("library", KEPT_TO)
def test_such_a_library_has_one_place_in_studies(library: str) -> None:
    offenders = [
        i
        for i in imports()
        if i.top == library
        and i.file.startswith("studies/")
        and not re.match(KEPT_TO[library], i.file)
        and not (i.file.startswith(ON_TOP) and i.when != "loading")
    ]
    assert not offenders, listed(offenders)


def test_the_command_line_imports_what_is_heavy_late() -> None:
    offenders = [
        i
        for i in imports()
        if i.file.startswith(ON_TOP)
        and i.top in HEAVY | {"sofim", "analysis"}
        and i.when == "loading"
        and not is_shared(i)
    ]
    assert not offenders, listed(offenders)


def test_of_studies_the_commands_alone_know_the_analysis() -> None:
    offenders = [
        i
        for i in imports()
        if i.file.startswith("studies/") and i.top == "analysis" and not i.file.startswith(ON_TOP) and not is_shared(i)
    ]
    assert not offenders, listed(offenders)


def test_each_room_of_studies_imports_only_those_below_it() -> None:
    def level(dotted: str) -> int:
        room = dotted.split(".")[1] if dotted.count(".") else ""
        return ROOMS.index(room) if room in ROOMS else -1

    inside = [i for i in imports() if i.file.startswith("studies/") and i.top == "studies"]
    offenders = [i for i in inside if level(i.module) > level(i.file.removesuffix(".py").replace("/", ".")) >= 0]
    assert not offenders, listed(offenders)


def test_what_lies_loose_in_studies_is_little_and_known() -> None:
    assert {path.stem for path in (ROOT / "studies").glob("*.py")} == LOOSE
    assert {path.name for path in (ROOT / "studies").iterdir() if (path / "__init__.py").exists()} == set(ROOMS) - {
        "cli"
    }


def module_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix().removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def module_graph() -> dict[str, set[str]]:
    """What each module of ours imports of ours, whenever it does."""
    graph: dict[str, set[str]] = {module_of(path): set() for package in PACKAGES for path in source_files(package)}
    for found in imports():
        importer, imported = module_of(ROOT / found.file), found.module
        while imported and imported not in graph:
            imported = imported.rpartition(".")[0]
        if imported and imported != importer:
            graph[importer].add(imported)
    return graph


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the sets of nodes each of which leads to all the others (Kosaraju's strongly connected components)."""

    def visit(node: str, edges: dict[str, set[str]], seen: set[str]) -> Iterator[str]:
        seen.add(node)
        for other in sorted(edges[node]):
            if other not in seen:
                yield from visit(other, edges, seen)
        yield node  # after all that it leads to

    seen: set[str] = set()
    order = [node for start in graph if start not in seen for node in visit(start, graph, seen)]
    backward = {node: {other for other, edges in graph.items() if node in edges} for node in graph}
    seen = set()
    groups = [set(visit(start, backward, seen)) for start in reversed(order) if start not in seen]
    return [group for group in groups if len(group) > 1]


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set()}) == [{"a", "b", "c"}]


@pytest.mark.parametrize("package", ["sofim", "search_spaces", "analysis", "studies"])
def test_no_imports_run_in_a_circle_not_even_for_types(package: str) -> None:
    found = [sorted(group) for group in circles(module_graph()) if any(node.startswith(package) for node in group)]
    assert not found, "\n".join(map(str, found))


LONGEST_FILE = 400


@pytest.mark.parametrize(
    "package", ["sofim", "search_spaces", "analysis",
                "studies"]
)  # fmt: skip
def test_a_file_is_read_in_one_sitting(package: str) -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in source_files(package)}
    found = [f"{path.relative_to(ROOT)}: {lines} lines" for path, lines in lengths.items() if lines > LONGEST_FILE]
    assert not found, "\n".join(found)


def test_a_command_that_is_told_quotes_the_names_in_it() -> None:
    """``analysis.text.command`` and ``studies.called.command_line`` make it: a name may have an apostrophe."""
    sources = [path for package in ("analysis", "studies") for path in (ROOT / package).rglob("*") if path.is_file()]
    texts = {path: path.read_text(encoding="utf-8") for path in sources if path.suffix in (".py", ".j2")}
    assert [str(path) for path, text in texts.items() if re.search(r"sofim [a-z]+ \{", text)] == []


@pytest.mark.slow
# The source tells who asks; only loading tells what that brings along.
@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("search_spaces", {"torch", "ray", "optuna", "sofim", "studies", "pandas"}),
        ("sofim", {"ray", "optuna", "studies", "search_spaces"}),
        ("studies.campaign.reading", {"torch", "ray", "sofim"}),
        ("studies.training.run", {"ray", "optuna", "pandas", "analysis.load"}),
        ("studies.cli", {"torch", "ray", "optuna", "pandas", "sklearn", "analysis.load"}),
        ("analysis.schema, analysis.text", {*HEAVY, "numpy", "search_spaces", "studies", "sofim", "analysis.load"}),
        ("analysis.report, analysis.defaults", {"torch", "ray", "studies", "sofim"}),
    ],
)
def test_importing_a_module_does_not_bring_along_what_it_must_not_know(module: str, unwanted: set[str]) -> None:
    script = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, timeout=240, capture_output=True, text=True
    )
    assert not unwanted & set(done.stdout.split())


# By name in pyproject.toml: imported by none of our code, and why it is a dependency all the same.
NOT_IMPORTED = {"cmaes": "Optuna imports it for sampler = 'cmaes'"}
IMPORT_NAMES = {
    "scikit-learn": "sklearn",
    "optuna-dashboard": "optuna_dashboard",
    "pyyaml": "yaml",
    "fonttools": "fontTools",
}


def declared(*extras: str) -> dict[str, str]:
    """Dependencies by name, with the name that is imported: those of the optimizers, and those of the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"], *(r for e in extras for r in project["optional-dependencies"][e])]
    names = [re.split(r"[\[<>=!~; ]", requirement)[0] for requirement in requirements]
    return {name: IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}


def test_every_dependency_is_imported_or_has_its_reason() -> None:
    imported = {found.top for found in imports()}
    idle = {name for name, module in declared("studies").items() if module not in imported}
    wrong = idle ^ set(NOT_IMPORTED)
    assert not wrong, f"never imported without a reason, or imported despite one: {wrong}"


def test_every_imported_library_is_a_dependency() -> None:
    known = {*PACKAGES, *sys.stdlib_module_names, *declared("studies").values()}
    behind_extras = {*LOGS, *declared("rl").values()}
    offenders = [i for i in imports() if i.top not in known and not (i.top in behind_extras and i.when == "calling")]
    assert not offenders, listed(offenders)


def test_every_log_has_an_extra_with_its_library() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for kind, library in zip(("tensorboard", *LOGS[1:]), LOGS, strict=True):
        assert any(re.match(rf"{library}\b", wanted) for wanted in project["optional-dependencies"][kind]), kind
