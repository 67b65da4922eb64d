"""The site: every block of code in it is run or says why not, and what is built holds together and needs no network."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# reports that were made once
KEPT = {page.parent.name for page in DOCS.rglob("index.html") if "_build" not in page.parts}
PAGES = sorted(path for path in DOCS.rglob("*.md") if not {"_build", *KEPT} & {*path.parts})
REPORTS = {*KEPT, "reports"}  # pages of their own, which other tests look at


def unmarked_blocks(text: str) -> list[str]:
    """Blocks of shell or Python that the build does not run, and that do not say why."""
    blocks = re.finditer(
        r"(?P<why><!-- not run: [^\n]+ -->\n)?^```(?:sh|bash|console|python)\n.*?^```", text, re.M | re.S
    )
    return [block[0] for block in blocks if not block["why"]]


def test_every_block_is_run_by_the_build_or_by_a_test_or_says_why_not():
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for page in PAGES:
        if f'"{page.name}"' in tests or f"docs/{page.name}" in tests:
            continue  # a test reads its blocks
        assert not unmarked_blocks(page.read_text(encoding="utf-8")), page
    assert "README.md" in (ROOT / "tests" / "test_readme.py").read_text(encoding="utf-8")


def test_a_block_that_nothing_runs_is_found():
    marked = "<!-- not run: needs a cluster -->\n```sh\nray start\n```\n"
    assert unmarked_blocks(f"{marked}\n```{{run}} sh\nls\n```\n") == []
    assert unmarked_blocks(f"{marked}\n```python\nprint()\n```\n") == ["```python\nprint()\n```"]


def typed_commands(page: str) -> list[list[str]]:
    """The words after ``sofim`` of every command in a page's blocks of shell."""
    blocks = re.findall(r"^```(?:\{run\} )?(?:sh|bash|console)\n(?::\w+:[^\n]*\n)*(.*?)^```", page, re.M | re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.search(r"(?:^|[;&|(] *|\$ |srun )(?:[\w./]*/)?sofim ([a-z].*)", line) for line in lines]
    words = [shlex.split(re.split(r" *(?:&&|[|;>)]|2>| &$)", line[1])[0], comments=True) for line in found if line]
    return [line for line in words if line]


def test_every_command_is_written_as_it_is_understood():
    """Names of commands and options, and how many arguments there are: what can be told without a run."""
    from studies.cli import sofim

    pages = [ROOT / "README.md", *PAGES]
    every = {page: typed_commands(page.read_text(encoding="utf-8")) for page in pages}
    assert sum(map(len, every.values())) > 60
    for page, commands in every.items():
        for name, *arguments in commands:
            try:
                sofim.commands[name].make_context(name, arguments)
            except (click.ClickException, KeyError) as error:
                pytest.fail(f"{page}: sofim {name} {arguments}: {error!r}")


# ------------------------------------------------------------------------------------------------- what is built


class Html(HTMLParser):
    """Links, anchors and resources of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.append(given["href"])
        self.loaded += [given["src"]] if "src" in given else []


@pytest.fixture(scope="module")
def site(tmp_path_factory, nightly) -> Path:
    """The site as it is built; by day without running the blocks, which takes five minutes."""
    if not all(map(find_spec, ("sphinx", "myst_nb", "furo"))):
        pytest.skip("needs the extra docs: pip install -e '.[docs]'")
    out = tmp_path_factory.mktemp("site")
    unrun = ("runs=0", "nb_execution_mode=off", "suppress_warnings=myst-nb.lexer")  # a kernel says in what cells are
    options = [] if nightly else [word for setting in unrun for word in ("-D", setting)]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", *options, str(DOCS), str(out)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_builds_without_a_warning_and_no_link_or_anchor_is_broken_and_nothing_comes_from_elsewhere(site):
    found = {path: Html(path) for path in site.rglob("*.html")}
    own = [path for path in found if not REPORTS & {*path.relative_to(site).parts}]
    assert len(own) > 30
    broken = []
    for path in own:
        page = found[path]
        broken += [f"{path.name}: {link} is loaded from elsewhere" for link in page.loaded if urlsplit(link).netloc]
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                broken.append(f"{path.relative_to(site)}: {link} is not there")
            elif parts.fragment and target in found and unquote(parts.fragment) not in found[target].anchors:
                broken.append(f"{path.relative_to(site)}: {link} has no such anchor")
    assert not broken, "\n".join(sorted(set(broken)))


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_public_name_and_every_command_is_in_the_reference(site):
    sys.path.insert(0, str(DOCS))
    try:
        from _site.python import public
    finally:
        sys.path.remove(str(DOCS))
    from studies.cli import sofim

    text = "".join(path.read_text(encoding="utf-8") for path in (site / "reference").glob("python-*.html"))
    assert [f"{package}.{name}" for package, name in public() if f"{package}.{name}" not in text] == []
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    missing = [
        f"{name} {option}"
        for name, command in sofim.commands.items()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--") and option not in commands.partition(f'id="sofim-{name}"')[2]
    ]
    assert missing == []


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tables_of_a_report_are_told_by_their_columns_and_not_as_functions(site):
    page = (site / "reference" / "tables.html").read_text(encoding="utf-8")
    assert "sig-param" not in page
    assert "Parameters" not in page
    for column in ("probability_of_improvement", "seconds_to_target", "remedy"):
        assert re.search(rf"<li><p>(?:(?!</p>).)*<code[^>]*><span[^>]*>{column}</span>", page, re.S), column


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_is_cut_off_and_no_page_complains_on_a_telephone_and_on_a_desk_in_light_and_dark(site):
    from tests.support.browser import no_complaints, opened_browser

    own = [path for path in sorted(site.rglob("*.html")) if not REPORTS & {*path.relative_to(site).parts}]
    wide = []
    with opened_browser() as browser:
        for width, scheme in ((390, "light"), (390, "dark"), (1400, "light"), (1400, "dark")):
            with browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme) as page:
                for path in own:
                    with no_complaints(page, "file://"):
                        page.goto(path.as_uri())
                    if page.evaluate("document.documentElement.scrollWidth") > width:
                        wide.append(f"{path.relative_to(site)} at {width}")
                page.goto((site / "search.html").as_uri() + "?q=lease")
                page.wait_for_selector("#search-results li")
    assert wide == []
