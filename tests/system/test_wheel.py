"""The wheel that ``python -m build`` makes, installed outside the clone: all of it, and the optimizers alone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.copied_tree import PACKAGES, ROOT, CopiedTree

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="links what is installed")]

PRESETS = {path.stem for path in (ROOT / "studies" / "campaign" / "presets").glob("*.toml")}
OPTIMIZERS = """
import torch
from sofim import OPTIMIZERS, SOFIM

model = torch.nn.Linear(2, 1)
optimizer = SOFIM(model.parameters(), lr=0.1)
model(torch.ones(4, 2)).square().mean().backward()
before = model.weight.detach().clone()
optimizer.step()
assert not torch.equal(model.weight, before)
for name, spec in OPTIMIZERS.items():
    try:
        spec.factory(model.parameters() if spec.groups is None else spec.groups(model), lr=0.1)
    except ModuleNotFoundError as error:
        print(name, error)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Made from the source distribution, which is made from a copy: the clone keeps no traces."""
    pytest.importorskip("build")
    tree = CopiedTree(tmp_path_factory.mktemp("source"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tree.directory)
    out = tree.directory / "dist"
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, tree.directory)
    return next(out.glob("*.whl"))


def run(*command: str | Path, here: Path = ROOT, code: int = 0) -> tuple[str, str]:
    done = subprocess.run(list(map(str, command)), cwd=here, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout, done.stderr


def environment(directory: Path, wheel: Path) -> Path:
    """A fresh environment with the wheel and nothing else; where its libraries are."""
    run(sys.executable, "-m", "venv", "--without-pip", directory)
    python = directory / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps", wheel)
    return next((directory / "lib").glob("python*/site-packages"))


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path):
    files = {file.relative_to(ROOT).as_posix() for package in PACKAGES for file in (ROOT / package).rglob("*.*")}
    made = {file for file in files if "__pycache__" in file}
    assert {"sofim/recommended.toml", "analysis/report/templates/page.css"} < files
    assert {file for file in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in file} == files - made


@pytest.mark.nightly
def test_it_works_where_all_libraries_are_and_the_clone_is_not(wheel: Path, tmp_path: Path):
    libraries = environment(tmp_path / "env", wheel)
    here = [path for path in sys.path if path.endswith("site-packages")]
    (libraries / "all.pth").write_text("\n".join(here))
    command = tmp_path / "env" / "bin" / "sofim"
    listed, complaints = run(command, "list", here=tmp_path)
    assert set(listed.split()) >= PRESETS
    assert not complaints
    less = ["--optimizers", "adahessian", "--workloads", "digits-mlp"]
    plan, _ = run(command, "launch", "quickstart", "--dry-run", *less, here=tmp_path)
    assert "digits-mlp/adahessian" in plan
    places = run(
        tmp_path / "env" / "bin" / "python",
        "-c",
        "import sofim, search_spaces, studies, analysis; print(*[m.__file__ for m in (sofim, studies, analysis)])",
        here=tmp_path,
    )[0].split()
    assert all(Path(place).is_relative_to(libraries) for place in places)


def needed_by(found: Distribution) -> Iterator[Distribution]:
    """What pip installs with a distribution, without extras, as far as it is installed here."""
    for line in found.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            try:
                yield distribution(requirement.name)
            except PackageNotFoundError:  # torch's libraries of CUDA, where torch is the build for CPUs
                continue


def test_torch_alone_is_enough_for_the_optimizers_and_the_command_says_what_it_needs(wheel: Path, tmp_path: Path):
    libraries = environment(tmp_path / "env", wheel)
    pending = list(needed_by(next(iter(Distribution.discover(name="sofim-studies", path=[str(libraries)])))))
    assert {found.name for found in pending} == {"numpy", "torch"}
    seen: set[str] = set()
    while pending:
        found = pending.pop()
        if found.name in seen:
            continue
        seen.add(found.name)
        pending += needed_by(found)
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (libraries / top).exists():
                (libraries / top).symlink_to(Path(str(found.locate_file(top))))
    python = tmp_path / "env" / "bin" / "python"

    behind_the_extra, complaints = run(python, "-W", "error", "-c", OPTIMIZERS, here=tmp_path)
    lines = dict(line.split(maxsplit=1) for line in behind_the_extra.splitlines())
    assert lines["adahessian"] == "pytorch_optimizer is not installed; pip install 'sofim-studies[studies]'"
    assert all(line.endswith("is not installed; pip install 'sofim-studies[studies]'") for line in lines.values())
    assert not complaints

    for command in ([libraries.parents[2] / "bin" / "sofim"], [python, "-m", "studies.cli"]):
        for arguments in (["launch", "quickstart"], ["list"], []):
            out, line = run(*command, *arguments, here=tmp_path, code=2)
            assert not out
            assert re.fullmatch(
                r"sofim: libraries that tune and report are not installed \(alembic, click, cloudpickle and \d+ more\);"
                r" pip install 'sofim-studies\[studies\]'\n",
                line,
            )
    _, tune = run(python, "-c", "from studies import tune", here=tmp_path, code=1)
    assert tune.splitlines()[-1].startswith("ModuleNotFoundError: libraries that tune and report are not installed")
