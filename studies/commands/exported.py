"""A document of recommended configurations as TOML, JSON, YAML, lines of Python, or a table."""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analysis.schema import PROTOCOL
from analysis.text import NEVER_RUN, OTHER_SEARCH, format_params, number
from search_spaces.errors import UserError, number_of
from studies.called import command_line
from studies.commands.python_line import code_line, needs_of_a_loop
from studies.commands.screen import make_console, print_table, say

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

FORMATS = ("toml", "json", "python", "yaml", "table")
ENDINGS = {".toml": "toml", ".json": "json", ".yaml": "yaml", ".yml": "yaml", ".py": "python"}
"""The format of a file by how its name ends, where nobody asks for one."""

_MADE = re.compile(
    r"""\A(\{\s*"made": \{\s*"by": |made:\s+by: |# )?["']?sofim export |^\[made\]\nby = ["']?sofim export """,
    re.MULTILINE,
)
"""How each of the formats begins; before the tables of TOML may be its portfolio."""
_BEGINNING = 100_000  # characters

Document = dict[str, Any]
"""What is exported; only what TOML can hold."""


def is_export(file: Path) -> bool:
    """Return whether a file is one that an export wrote, in whatever format.

    Raises:
        OSError: It cannot be read.
    """
    with file.open(encoding="utf-8", errors="replace") as opened:
        return _MADE.search(opened.read(_BEGINNING)) is not None


def printed(document: Document, form: str, *, ascii_only: bool = False, storage: Sequence[str] = ()) -> str:
    """Return the document in a format; a newline at the end.

    Args:
        document: What is recommended.
        form: One of :data:`FORMATS`.
        ascii_only: Write all other characters as the format's escapes, which read as the same values.
        storage: What names its storage on a command line.
    """
    if form == "json":
        return json.dumps(document, indent=2, ensure_ascii=ascii_only) + "\n"
    if form == "yaml":
        import yaml

        return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=not ascii_only))
    if form == "toml":
        import tomli_w

        text = tomli_w.dumps(document)  # of basic strings alone, keys included, which take escapes anywhere
        return "".join(map(_toml_escape, text)) if ascii_only else text
    if form == "python":
        text = "\n".join(_lines(document, storage)) + "\n"
        return text.encode("ascii", "backslashreplace").decode() if ascii_only else text
    if form == "table":
        file = io.StringIO()
        print_recommended(document, make_console(file), storage)
        return file.getvalue().encode("ascii", "replace").decode() if ascii_only else file.getvalue()
    raise UserError(f"--format {form}: must be one of {', '.join(FORMATS)}")


def _toml_escape(character: str) -> str:
    code = ord(character)
    return character if code < 128 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _lines(document: Document, storage: Sequence[str]) -> Iterator[str]:
    """Yield a line of code for each configuration, with where it comes from; every line runs, given a ``model``."""
    from sofim import OPTIMIZERS

    made = document["made"]
    yield f"# {made['by']}, {made['date']}"
    imports: list[str] = []
    body: list[str] = []
    for optimizer, where, entry in _entries(document):
        told = (
            f"# {optimizer} {where}: {_origin(entry)}",
            *(f"#   {s}" for s in (*_known(document, entry, storage), *_notes(entry))),
        )
        # what follows a line break in a name would be code
        body += ["", *("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line) for line in told)]
        if "arguments" not in entry:
            body.append(f"#   {format_params(entry['params'])}")
            continue
        if "batch_size" not in entry:  # a training function's: there is no optimizer
            body.append(f"configuration = {_as_python(entry['arguments'])!r}")
            continue
        table = document["optimizers"][optimizer].get("optimizer")
        imported, _, line = code_line(optimizer, _as_python(entry["arguments"]), table=table).partition("\n\n")
        if table is not None and "spec" in table:
            groups = f"{table['spec'].removeprefix('__main__:').replace(':', '.')}.groups(model)"
            body.append(f"#   if that row makes groups of a model, {groups} takes the place of model.parameters()")
        imports += imported.splitlines()
        body.append(f"batch_size, optimizer = {entry['batch_size']}, {line}")
        body += needs_of_a_loop(OPTIMIZERS[optimizer] if table is None else table)
    yield from sorted(set(imports))
    yield from body


def print_recommended(document: Document, console: Console, storage: Sequence[str] = ()) -> None:
    """Print a table of the configurations, and below it what was measured of each and what to know of it.

    Args:
        document: What is recommended.
        console: Where to print.
        storage: What names its storage on a command line.
    """
    made = document["made"]
    say(console, f"{made['by']}, {made['date']}; regrets {made['regrets']}")
    entries = list(_entries(document))
    for group in dict.fromkeys(where for _, where, _ in entries):
        own = [(optimizer, entry) for optimizer, where, entry in entries if where == group]
        rows = []
        for optimizer, entry in own:
            told = entry["evidence"]
            measured = f"{told['metric']} {_value(told)}" if told["seeds"] else "never run"
            arguments = entry["arguments"] if "arguments" in entry else entry["params"]
            size = {"batch_size": entry["batch_size"]} if "batch_size" in entry else {}
            values = format_params({**_as_python(arguments), **size})
            rows.append((optimizer, measured, str(told["seeds"] or ""), values))
        console.print()
        console.print(f"{group[0].upper()}{group[1:]}", style="bold", soft_wrap=True)
        print_table(console, ("optimizer", "measured", "seeds", "hyperparameters"), rows, right={2}, under=3)
        for optimizer, entry in own:
            for said in (_origin(entry), *_known(document, entry, storage), *_notes(entry)):
                say(console, f"  {optimizer}: {said}")


def _entries(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Yield optimizer, where its configuration is for, and the configuration."""
    for optimizer, defaults in document["optimizers"].items():
        if len(defaults["workloads"]) > 1:
            yield optimizer, "on a workload that nobody tuned", defaults["default"]
        for workload, entry in defaults["workloads"].items():
            yield optimizer, f"on {workload}", entry


def _origin(entry: Document) -> str:
    told = entry["evidence"]
    searches = f" in {told['searches']} searches" if told.get("searches", 1) > 1 else ""
    trials = f"{number_of(told['trials'], 'trial')}{searches} of {told['campaign']}"
    if any(note.startswith(OTHER_SEARCH) for note in entry["notes"]):
        trials = f"one of these searches: {trials}"
    as_on = f"as on {entry['from']}: " if "mean_regret" in entry else ""
    if told["kind"] == "winner":
        return f"{as_on}the best of {trials}"
    return f"{as_on}amid the good ones of {trials}, rounded; not the best trial itself"


def _known(document: Document, entry: Document, storage: Sequence[str]) -> Iterator[str]:
    """Yield the schedule of the learning rate that a configuration was found with, and what was measured of it."""
    from analysis.comparison.spaces import schedule_in_words

    rules = document["campaigns"].get(entry["evidence"]["campaign"], {})
    schedule, warmup = (entry.get(key, rules.get(key)) for key in ("schedule", "warmup"))
    # without one a training function may have a schedule of its own, of which nothing is known
    if schedule is not None and (schedule != "constant" or warmup):
        yield f"learning-rate schedule: {schedule_in_words({'schedule': schedule, 'warmup': warmup})}"
    exact = "--winner" in shlex.split(document["made"]["by"])
    evaluated = rules.get("protocol", PROTOCOL) == PROTOCOL  # else nothing is added to it
    yield from _evidence(entry, [*["--winner"] * exact, *storage] if evaluated else None)


def _notes(entry: Document) -> list[str]:
    """Return what to know of a configuration, beside what its evidence says already."""
    return [note for note in entry["notes"] if note != NEVER_RUN]


def _evidence(entry: Document, options: Sequence[str] | None) -> Iterator[str]:
    """Yield what was measured of this very configuration, and of its winner where that is another one.

    ``options`` are those of the command that runs what was not run; `None` where none does.
    """
    told = entry["evidence"]
    where = f"{told['metric']} on {told['data']} data"
    if told["seeds"]:
        at = f" of {entry['from']}" if "mean_regret" in entry else ""
        yield f"measured on {number_of(told['seeds'], 'fresh seed')}{at}: {where} {_value(told)}{_losses(told)}"
    else:
        to_run = "" if options is None else f"; to run it: {command_line('evaluate', told['campaign'], *options)}"
        yield f"never run on fresh seeds{to_run}"
    if "predicted" in told:
        ends = _interval(told.get("predicted_interval"))
        yield f"predicted by a surrogate, around it: {told['metric']} {number(told['predicted'])}{ends}"
    if "winner" in told:
        other, values = told["winner"], format_params(_as_python(told["winner"]["params"]))
        if other["seeds"]:
            yield (
                f"the winner, which is another configuration ({values}), on {number_of(other['seeds'], 'fresh seed')}: "
                f"{where} {_value(other)}{_losses(other)}"
            )
    for workload, runs in entry.get("elsewhere", {}).items():
        yield f"on {workload}, {number_of(runs['seeds'], 'fresh seed')}: {runs['metric']} {_value(runs)}{_losses(runs)}"
    if "left_out" in entry and "regret" in entry["left_out"]:
        yield (
            f"on a workload that had no say in the choice, {100 * entry['left_out']['regret']:.0f} % of what training "
            "gains is missed, on average"
        )


def _value(runs: Mapping[str, Any]) -> str:
    """Return the mean with its interval; the median and the worst where runs broke or collapsed."""
    if runs["diverged"] + runs["failed"] + runs["collapsed"]:
        known = [f"{name} {number(runs[name])}" for name in ("median", "worst") if name in runs]
        return ", ".join(known) or "not known"
    name = "geometric_mean" if "geometric_mean" in runs else "mean"
    if name not in runs:
        return "not known"
    kind = "geometric mean " if name == "geometric_mean" else ""
    return f"{kind}{number(runs[name])}{_interval(runs.get(f'{name}_interval'))}"


def _interval(ends: Sequence[float] | None) -> str:
    return f" [{', '.join(map(number, ends))}]" if ends else ""


def _losses(runs: Mapping[str, Any]) -> str:
    counts = [f"{runs[name]} {name}" for name in ("diverged", "failed", "collapsed") if runs[name]]
    return f"; of {number_of(runs['seeds'], 'run')} {', '.join(counts)}" if counts else ""


def _as_python(arguments: Mapping[str, object]) -> dict[str, object]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
