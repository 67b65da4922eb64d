"""A copy of the packages, to which a test adds what a person would, and in which it then runs Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("sofim", "search_spaces", "studies", "analysis")


class CopiedTree:
    """The packages below ``directory``, and which of their files were touched."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.touched: set[str] = set()
        for package in PACKAGES:
            shutil.copytree(ROOT / package, directory / package, ignore=shutil.ignore_patterns("__pycache__"))

    def add(self, file: str, text: str) -> None:
        """Write a new file."""
        assert not (self.directory / file).exists()
        (self.directory / file).write_text(text, encoding="utf-8")
        self.touched.add(file)

    def insert(self, file: str, text: str, *, before: str) -> None:
        """Put lines before the first line that begins with ``before``, indented as that is."""
        path = self.directory / file
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        place = next(number for number, line in enumerate(lines) if line.lstrip().startswith(before))
        indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
        lines.insert(place, f"{indent}{text}\n")
        path.write_text("".join(lines), encoding="utf-8")
        self.touched.add(file)

    def run(self, script: str) -> str:
        """Run Python with these packages and return what it printed."""
        known = {**os.environ, "PYTHONPATH": str(self.directory)}
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=self.directory, env=known, timeout=200, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
