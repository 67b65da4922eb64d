"""The directive ``{run}``: a block that the build runs, shown with what it printed.

The blocks of a page run one after the other in a directory of its own, ``_build/runs/PAGE``; one that fails, fails the
build. ``{run} sh`` and ``{run} python`` run; with ``:file: NAME`` a block of any language is written there instead.
What has run once is not run again until a block before it, or the program, has changed. With ``-D runs=0`` none runs,
blocks are shown without what they print, and what would lead to a report that they make is no link.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
_DOCS = ROOT / "docs"
_REPORTS = [page.parent.relative_to(_DOCS) for page in _DOCS.rglob("index.html")]
KEPT = sorted(place.as_posix() for place in _REPORTS if place.parts[0] != "_build")  # reports that were made once
FIRST = "tutorials/start"  # other pages look at the campaign that it makes
LOOKED_AT = (FIRST, "tutorials/own-model")  # pages that others are like
_MADE = re.compile(r'<a href="[./]*reports/[^"]*">(.*?)</a>', re.DOTALL)  # a link to what the blocks of pages make
_WHAT_IS_DONE = ("file", "like", "code")  # options that are not about what is shown
ENVIRONMENT = {
    "COLUMNS": "92",
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MPLBACKEND": "agg",
    "PYTHONPATH": str(ROOT),
    "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
}


def program() -> str:
    """Return what identifies the program's source as it is."""
    digest = hashlib.sha256()
    for package in ("sofim", "search_spaces", "analysis", "studies"):
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def directory(app_source: str | Path, page: str) -> Path:
    """Return where the blocks of a page run."""
    return Path(app_source) / "_build" / "runs" / page


class Run(SphinxDirective):
    """A block that is run, or written to a file."""

    required_arguments = 1  # the language
    has_content = True
    option_spec: ClassVar = {
        "file": directives.unchanged,  # written there, in the page's directory, and not run
        "like": directives.unchanged,  # begin with a copy of another page's directory
        "code": directives.nonnegative_int,  # the exit code that it is to have
        "figure": directives.unchanged,  # show this picture that it made
        "alt": directives.unchanged,
        "publish": directives.unchanged,  # this directory that it made becomes a part of the site
    }

    def run(self) -> list[nodes.Node]:
        """Return the block, what it printed, and its picture."""
        language, text = self.arguments[0], "\n".join(self.content) + "\n"
        if not self.config.runs:
            return [nodes.literal_block(text, text, language=language, classes=["typed"])]
        here = directory(self.env.srcdir, self.env.docname)
        printed = self._printed(here, language, text)
        found: list[nodes.Node] = [nodes.literal_block(text, text, language=language, classes=["typed"])]
        if "file" in self.options:
            found.insert(0, nodes.paragraph("", "", nodes.literal(text=self.options["file"]), classes=["file-name"]))
        if printed.strip():
            found.append(nodes.literal_block(printed, printed, language="text", classes=["printed"]))
        if "figure" in self.options:
            path = os.path.relpath(here / self.options["figure"], Path(self.env.doc2path(self.env.docname)).parent)
            found.append(nodes.image(uri=path, alt=self.options["alt"], classes=["made"]))
        if "publish" in self.options:
            self.env.published = {
                **getattr(self.env, "published", {}), self.options["publish"]: self.env.docname
            }  # fmt: skip
        return found

    def _printed(self, here: Path, language: str, text: str) -> str:
        """Return what the block prints; where it, or one before it, is new, all of the page are run again."""
        blocks: list[tuple[str, str, dict[str, object]]] = self.env.temp_data.setdefault("run_blocks", [])
        blocks.append((language, text, {name: self.options[name] for name in _WHAT_IS_DONE if name in self.options}))
        if "like" in blocks[0][2]:
            like = directory(self.env.srcdir, str(blocks[0][2]["like"]))
            before = "".join(sorted(path.name for path in (like / ".done").iterdir()))
        else:
            like, before = None, program()
        keys = []
        for one in blocks:
            before = hashlib.sha256(f"{before}{one}".encode()).hexdigest()[:24]
            keys.append(before)
        done = [here / ".done" / key for key in keys]
        if not done[-1].exists():
            fresh = self.env.temp_data.get("run_afresh", False)
            if not fresh:
                shutil.rmtree(here, ignore_errors=True)
                if like is not None:
                    shutil.copytree(like, here, ignore=shutil.ignore_patterns(".done"))
                (here / ".done").mkdir(parents=True)
                self.env.temp_data["run_afresh"] = True
            for place, block in list(zip(done, blocks, strict=True))[-1 if fresh else 0 :]:
                place.write_text(self._does(here, *block), encoding="utf-8")
        return done[-1].read_text(encoding="utf-8")

    def _does(self, here: Path, language: str, text: str, options: dict[str, object]) -> str:
        if "file" in options:
            return self._write(here / str(options["file"]), text)
        return self._execute(here, language, text, options.get("code", 0))

    def _write(self, path: Path, text: str) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return ""

    def _execute(self, here: Path, language: str, text: str, code: object) -> str:
        command = {"sh": ["bash", "-euo", "pipefail", "-c", text], "python": [sys.executable, "-c", text]}[language]
        environment = {name: value for name, value in os.environ.items() if name != "SOFIM_STORAGE"} | ENVIRONMENT
        ended = subprocess.run(
            command, cwd=here, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=600, check=False,
        )  # fmt: skip
        if ended.returncode != code:
            where = f"{self.get_location()}: exit code {ended.returncode}"
            raise ExtensionError(f"{where}\n{text}\n{ended.stdout}")
        plain = re.sub(r"\x1b\[[0-9;]*m|/\S*/site-packages/", "", ended.stdout.replace(f"{here}/", ""))
        return "\n".join(line.rstrip() for line in plain.splitlines()).strip("\n") + "\n"


def first_first(_app: Sphinx, _env: object, names: list[str]) -> None:
    """Read those pages first whose campaigns others look at."""
    names.sort(key=lambda name: (LOOKED_AT.index(name) if name in LOOKED_AT else len(LOOKED_AT), name))


def show_reasons(_app: Sphinx, _name: str, source: list[str]) -> None:
    """Let readers see why a block is not run; the comment that says so is what a test looks for."""
    source[0] = re.sub(r"^<!-- not run: (.+) -->$", r"*Not run here: \1.*\n", source[0], flags=re.MULTILINE)


def unlink(app: Sphinx, _name: str, source: list[str]) -> None:
    """Where nothing is run, let no link lead to a report that would have been made."""
    if not app.config.runs:
        source[0] = _MADE.sub(r"\1 (made where the site is built whole)", source[0])


def publish(app: Sphinx, error: Exception | None) -> None:
    """Put reports, which are pages of their own, beside the pages: those of the repository and those of the build."""
    if error is not None or app.builder.format != "html":
        return
    made = {name: directory(app.srcdir, page) / name for name, page in getattr(app.env, "published", {}).items()}
    kept = {name: Path(app.srcdir) / name for name in KEPT}
    for name, source in (made | kept).items():
        shutil.copytree(source, Path(app.outdir) / name, dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, object]:
    """Add the directive."""
    app.add_config_value("runs", default=True, rebuild="env", types=[bool])
    app.add_directive("run", Run)
    app.connect("source-read", show_reasons)
    app.connect("source-read", unlink)
    app.connect("env-before-read-docs", first_first)
    app.connect("build-finished", publish)
    return {"version": "1", "parallel_read_safe": False}
