"""Tables of the reference, made of the program's own tables."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

import pandas as pd
from sphinx.errors import ExtensionError

from _site.run import FIRST, ROOT, directory


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
                     for row in lines)  # fmt: skip


def _arguments(documented: object) -> dict[str, str]:
    """Return what a Google-style docstring says of each argument or attribute, in Markdown."""
    text = inspect.getdoc(documented) or ""
    section = re.search(r"^(?:Args|Attributes):\n((?:    .*\n|\n)+)", text + "\n", re.MULTILINE)
    found: dict[str, str] = {}
    for entry in re.split(r"^    (?=\w)", section[1] if section else "", flags=re.MULTILINE)[1:]:
        name, _, said = entry.partition(":")
        found[name] = re.sub(r":\w+:(?=`)", "", " ".join(said.split()).replace("``", "`"))
    return found


def campaign() -> str:
    """Return the keys of a campaign's file."""
    from studies.campaign.model import Campaign

    said = _arguments(Campaign)
    rows = []
    for name, field in Campaign.model_fields.items():
        if not said.get(name):
            raise ExtensionError(f"the key {name} of a campaign is not documented")
        default = "**needed**" if field.is_required() else f"`{_toml(field.get_default(call_default_factory=True))}`"
        rows.append((f"`{name}`", field.description, default, said[name]))
    return _table(("key", "is", "default", "meaning"), rows)


def _toml(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def purposes() -> str:
    """Return what each purpose sets."""
    from studies.campaign.model import PURPOSES

    rows = [(f"`{name}`", ", ".join(f'`{key} = "{value}"`' for key, value in sets.items()) or "nothing")
            for name, sets in PURPOSES.items()]  # fmt: skip
    return _table(("purpose", "sets, unless the file says otherwise"), rows)


def samplers() -> str:
    """Return who proposes configurations, and who stops trials."""
    from search_spaces.pruners import PRUNERS
    from search_spaces.samplers import SAMPLERS

    first = _table(
        ("sampler", "a report calls it", "learns"),
        [(f"`{name}`", one.in_words, "yes" if one.learns else "no") for name, one in SAMPLERS.items()],
    )
    second = _table(
        ("pruner", "a report says that trials were tuned"),
        [(f"`{name}`", one.in_words) for name, one in PRUNERS.items()],
    )
    return f"{first}\n\n{second}"


def presets() -> str:
    """Return the campaigns that ship with the project, as they are."""
    found = sorted((ROOT / "studies" / "campaign" / "presets").glob("*.toml"))
    return "\n\n".join(f"### {path.stem}\n\n```toml\n{path.read_text(encoding='utf-8')}```" for path in found)


def optimizers() -> str:
    """Return the table of optimizers."""
    from sofim import OPTIMIZERS

    rows = []
    for key, row in OPTIMIZERS.items():
        if not row.source:
            raise ExtensionError(f"the optimizer {key} names no source")
        needs = {
            "a closure": row.needs_closure,
            "the gradient's graph": row.needs_create_graph,
            "Hessian-vector products": row.needs_hessian,
            "groups of a model": row.groups is not None,
            "`train()` and `eval()`": row.has_modes,
            f"the schedule `{row.schedule}`": row.schedule is not None,
        }
        source = re.sub(r"arXiv (\d{4}\.\d{4,5})(v\d)?", r"[arXiv \1\2](https://arxiv.org/abs/\1\2)", row.source)
        rows.append((f"`{key}`", source, ", ".join(name for name, is_so in needs.items() if is_so) or "–"))
    return _table(("optimizer", "source", "needs of a training loop"), rows)


def spaces() -> str:
    """Return every search space: parameters, ranges, defaults, and the reason of each."""
    from search_spaces import FEWEST_TRIALS, SEARCH_SPACES

    parts = []
    for key, space in SEARCH_SPACES.items():
        rows = []
        for name, one in space.declared.items():
            spans = ", ".join(f"`{c}`" for c in one.choices) if one.choices else f"{one.low:g} to {one.high:g}"
            fixed = name in space.fixed
            rows.append((
                f"`{name}`",
                f"{spans}",
                one.scale,
                f"`{space.fixed[name] if fixed else one.default}`",
                "only if asked for" if fixed else FEWEST_TRIALS[one.rank],
                one.reason,
            ))  # fmt: skip
        heads = ("parameter", "range", "scale", "default", "searched from … trials", "why")
        parts.append(f"### {key}\n\n{_table(heads, rows)}")
        if space.alternatives:
            parts.append(f"Other parameterizations: {', '.join(f'`{other}`' for other in space.alternatives)}.")
    return "\n\n".join(parts)


def workloads() -> str:
    """Return the table of workloads."""
    from studies.workloads import WORKLOADS
    from studies.workloads._targets import target_origins

    rows, origins = [], target_origins()
    for name, one in WORKLOADS.items():
        if not one.source:
            raise ExtensionError(f"the workload {name} names no source")
        better = {"maximize": "higher", "minimize": "lower"}[one.metric.direction]
        meaning = f" ({one.metric.meaning})" if one.metric.meaning else ""
        metric = f"{one.metric.name}{meaning}, {better} is better"
        target = "–" if one.target is None else f"{one.target:g} ({origins[name]})"
        rows.append((f"`{name}`", one.kind, metric, target, one.epochs, f"{one.source} ({one.licence})"))
    return _table(("workload", "kind", "metric", "target, and how it came about", "epochs", "source"), rows)


def outcomes() -> str:
    """Return constants of the database's contract, with what is said of each."""
    from sphinx.pycode import ModuleAnalyzer

    from analysis import schema

    docs = ModuleAnalyzer.for_module("analysis.schema").find_attr_docs()
    rows = []
    for (_, name), said in docs.items():
        value = getattr(schema, name)
        rows.append((f"`{name}`", f"`{value!r}`", " ".join(said).strip().replace("``", "`")))
    return _table(("name", "value", "what it is"), rows)


def study_attributes() -> str:
    """Return the user attributes of a campaign's study."""
    from analysis.schema import _NEEDED, _OPTIONAL

    rows = [(f"`{name}`", "always") for name in _NEEDED] + [
        (f"`{name}`", "since a later version") for name in _OPTIONAL
    ]
    return _table(("attribute of a study", "there"), rows)


COMPUTED_BY = {
    "answer": "analysis.comparison.answer.answer",
    "leaderboard": "analysis.comparison.leaderboard.confirmed",
    "comparisons": "analysis.comparison.pairwise.comparisons",
    "variance": "analysis.comparison.searches.variance",
    "convergence": "analysis.comparison.convergence.convergence",
    "time_to_target": "analysis.comparison.time_to_target.time_to_target",
    "time_ratios": "analysis.comparison.time_to_target.time_to_target",
    "budget_curve": "analysis.comparison.budget.budget_curves",
    "cost": "analysis.comparison.cost.cost",
    "aggregate": "analysis.comparison.aggregate.aggregate",
    "improvement": "analysis.comparison.aggregate.improvement",
    "performance_profile": "analysis.comparison.aggregate.profiles",
    "profile_score": "analysis.comparison.aggregate.profiles",
    "ranks": "analysis.comparison.aggregate.ranks",
    "inclusion": "analysis.comparison.inclusion.inclusion",
    "fairness": "analysis.comparison.fairness.fairness",
    "search_spaces": "analysis.comparison.spaces.search_spaces",
    "audit": "analysis.audit.Flag",
    "importance": "analysis.sensitivity.findings.Findings",
    "interactions": "analysis.sensitivity.findings.Findings",
    "quality": "analysis.sensitivity.findings.Findings",
    "robustness": "analysis.sensitivity.robustness.robustness",
    "local": "analysis.sensitivity.robustness.local_sensitivity",
    "tunability": "analysis.sensitivity.tunability.tunability",
    "partial_dependence": "analysis.sensitivity.dependence.partial_dependence",
    "map": "analysis.sensitivity.dependence.pair_map",
    "ablation": "analysis.sensitivity.ablation.measured",
    "divergence": "analysis.sensitivity.robustness.divergence",
    "near_optimal": "analysis.sensitivity.near_optimal.near_optimal",
}


def report_tables(*, runs: bool) -> str:
    """Return the files that a report has in ``tables/``, with their columns and what is said where they are computed.

    Args:
        runs: Whether the blocks of pages are run: else there is no report, or an old one, and no columns are shown.

    Raises:
        ExtensionError: The report of the first page has a file that is not described here.
    """
    made = directory(Path(__file__).parents[1], FIRST) / "reports" / "first" / "tables"
    written = {path.stem: path for path in made.glob("*.csv")} if runs else {}
    if runs and written.keys() != COMPUTED_BY.keys():
        raise ExtensionError(f"tables of a report and of the reference differ: {written.keys() ^ COMPUTED_BY.keys()}")
    shown: dict[str, list[str]] = {}
    for name, by in COMPUTED_BY.items():
        shown.setdefault(by, []).append(name)
    parts = []
    for by, names in shown.items():
        parts.append("## " + ", ".join(f"{name}.csv" for name in names))
        for name in names if written else ():
            columns = pd.read_csv(written[name], nrows=0).columns
            parts.append(f"Columns of `{name}.csv`: " + ", ".join(f"`{column}`" for column in columns) + ".")
        module, _, name = by.rpartition(".")
        parts.append(_told(getattr(import_module(module), name)))
    return "\n\n".join(parts)


def _told(documented: object) -> str:
    """Return a docstring without its arguments, in Markdown: the columns that it names are a list."""
    text = re.sub(r":\w+:(?=`)", "", inspect.getdoc(documented) or "").replace("``", "`")
    opening, *sections = re.split(r"^(Args|Returns|Attributes|Raises):\n", text, flags=re.MULTILINE)
    opening = opening.replace("Return ", "", 1)
    said = dict(zip(sections[::2], sections[1::2], strict=True))
    parts = [f"{opening[:1].upper()}{opening[1:]}".strip()]
    if "Returns" in said:
        parts += [_columns(sentence) for sentence in _split(" ".join(said["Returns"].split()), ". ")]
    elif "column" not in opening:
        parts.append("\n".join(f"- `{name}`: {what}" for name, what in _arguments(documented).items()))
    return "\n\n".join(parts)


def _columns(sentence: str) -> str:
    """Return a sentence of a docstring; where it names columns after a colon, as a list of them."""
    head, _, rest = sentence.partition(": `")
    if rest.count("`") < 4:
        return f"{sentence.removesuffix('.')}.".replace("Two frames.", "In this order:")
    items = [part for half in _split(f"`{rest}".removesuffix("."), "; ") for part in _split(half, ", ")]
    lines: list[str] = []
    for item in items:  # names without a word of their own stand with the next that has one
        told = not lines or lines[-1].endswith(")")
        lines = [*lines, item.removeprefix("and ")] if told else [*lines[:-1], f"{lines[-1]}, {item}"]
    return "\n".join([f"{head}:", "", *(f"- {line}" for line in lines)])


def _split(text: str, separator: str) -> list[str]:
    """Return the parts of a text between separators that stand in no parentheses.

    >>> _split("a (b, c), d", ", ")
    ['a (b, c)', 'd']
    """
    parts = [""]
    for piece in text.split(separator):
        inside = parts[-1].count("(") > parts[-1].count(")")
        parts = [*parts[:-1], f"{parts[-1]}{separator}{piece}"] if inside else [*parts, piece]
    return [part for part in parts if part]


def figures() -> str:
    """Return the figures of a report."""
    from analysis.figures import FIGURES

    rows = [(f"`{name}`", one.scope, (inspect.getdoc(inspect.getmodule(one.draw)) or "").split("\n\n")[0])
            for name, one in FIGURES.items()]  # fmt: skip
    return _table(("figure", "one for each", "what it shows"), rows)
