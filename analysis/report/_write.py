"""Write a report directory: ``index.html``, ``tables/*.csv``, ``figures/*.png``, ``.svg`` and ``.pdf``."""

from __future__ import annotations

import datetime
import html
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import pandas as pd
from markupsafe import Markup
from optuna.storages import BaseStorage
from threadpoolctl import threadpool_limits

from analysis.atlas import reference_of
from analysis.audit import as_table, audit
from analysis.comparison import Comparison, compare
from analysis.comparison.tuned import tuned
from analysis.figures import of_each
from analysis.figures._style import style
from analysis.figures.comparison import View
from analysis.load import ablation_runs, read
from analysis.load import curves as confirmed_curves
from analysis.load import studies as stored_studies
from analysis.pool import pool
from analysis.report._atlas import PAGES, Answered, answered, answers_html, answers_markdown
from analysis.report._chapter import Chapter, Options, Picture, chapter, generator, pictures, versus
from analysis.report._names import ATLAS, WORKLOADS, file_names, panel_stems, slug, workload_names
from analysis.report._page import MAKER, Across, Versus, page, printable
from analysis.sensitivity.findings import TABLES
from analysis.sensitivity.near_optimal import moves, near_optimal
from analysis.study import Frames, Study, check_protocols
from search_spaces import ANY
from search_spaces.errors import UserError

METHODS_FILE = "methods.md"
_FOLDERS = ("tables", "figures")


@dataclass(frozen=True, slots=True)
class Report:
    """What was written.

    Attributes:
        index: The page.
        chapters: Of the studies, in their order.
        across: Sentences on all workloads together; empty with one.
        verdict: Sentences on which optimizer is better; empty for a study of one optimizer that is looked at by itself.
        confirmed: Whether there are confirmation runs; ``None`` where optimizers are not compared.
        answers: The page of answers over several workloads; ``None`` where there is none.
    """

    index: Path
    chapters: tuple[Chapter, ...]
    across: tuple[str, ...]
    verdict: tuple[str, ...]
    confirmed: bool | None
    answers: Path | None = None


def write(
    storage: BaseStorage,
    studies: Sequence[Study],
    out: Path,
    *,
    title: str,
    source: str,
    together: bool = True,
    options: Options | None = None,
    now: datetime.datetime | None = None,
    tell: Callable[[str], None] | None = None,
) -> Report:
    """Analyse studies and write their report.

    Args:
        storage: Optuna's; a driver may be writing it.
        studies: Of one campaign, or a single one; one at least.
        out: The directory, made where it is missing. A report that is in it is replaced; other files stay.
            With `Options.page_only` the page is the one file that is written.
        title: Of the page.
        source: The storage as a reader may see it, without a password.
        together: Whether the studies are a campaign whose optimizers are compared, not one looked at by itself.
        options: How it is computed.
        now: The date on the page; by default now.
        tell: Called with the name of each study that is done.

    Raises:
        UserError: There is no study, they are of two protocols, or the directory cannot be written.
    """
    options = options or Options()
    _check(studies)
    _prepare(out, () if options.page_only else _FOLDERS)
    frames = read(storage, studies)
    every = _with_replicates(storage, studies) if studies[0].own else list(studies)
    of_all = frames if len(every) == len(studies) else read(storage, every)
    compared = _compared(storage, every, of_all, options) if studies[0].own and together else None
    about = None if compared is None else reference_of(compared, options.about)
    flags = audit(every, of_all.trials, of_all.curves, of_all.confirmations) if studies[0].own else []
    chosen = None
    if [study.optimizer for study in studies] == [ANY]:  # a search that chose the optimizer too
        chosen = tuned(studies[0], frames.trials, frames.confirmations)
    with pool(min(available(options), max(len(studies), 1)), return_as="generator") as parallel:
        chapters = _chapters(storage, studies, frames, options, tell, parallel)
        compared_on = _versus(compared, options, parallel)
        atlas = answered(storage, every, of_all, compared, about, options, parallel) if compared and about else None
    across = replace(_across(chapters, compared, options), tuned=chosen)
    tables = {
        name: _joined([one.findings.tables[name] for one in chapters])
        for name, table in TABLES.items()
        if table.written
    }
    tables["near_optimal"] = across.table
    if compared is not None:
        tables |= compared.tables
    if atlas is not None:
        tables |= atlas.tables
    if chosen is not None:
        tables["optimizers"] = chosen.table
    if studies[0].own:
        tables["audit"] = as_table(flags)
    names = file_names([one.study for one in chapters])
    moment = now or datetime.datetime.now().astimezone()
    text = page(
        chapters,
        across,
        names,
        compared_on,
        flags=flags,
        atlas=atlas,
        files=sorted(tables),
        title=title,
        source=source,
        options=options,
        now=moment,
    )
    try:
        _remove_old(out)
        if options.page_only:
            for folder in _FOLDERS:
                with suppress(OSError):  # it is not there, or has somebody's files
                    (out / folder).rmdir()
        else:
            for name, table in tables.items():
                _put(out / "tables" / f"{name}.csv", table.to_csv(index=False, float_format="%.10g").encode())
            for one in chapters:
                _put_pictures(out / "figures", names[one.study.name], one.pictures)
            _put_pictures(out / "figures", WORKLOADS, [*across.scores, *across.pictures])
            for workload in compared_on:
                _put_pictures(out / "figures", workload.id, workload.pictures)
            if compared is not None:
                _put(out / METHODS_FILE, f"{compared.methods}\n".encode())
            _put_answers(out, atlas, title, moment)
        _put(out / "index.html", text.encode())
    except OSError as error:
        raise _unwritable(out, error) from None
    verdict: tuple[str, ...] = () if chosen is None else tuple(chosen.sentences)
    if compared is not None:
        verdict = (compared.answer, *compared.sentences)
    confirmed = None if compared is None else any(len(contest.runs) for contest in compared.contests)
    answers = None if atlas is None or options.page_only else out / PAGES[0]
    return Report(out / "index.html", tuple(chapters), across.sentences, verdict, confirmed, answers)


def _check(studies: Sequence[Study]) -> None:
    if not studies:
        raise UserError("there is no study to report on")
    check_protocols(studies)


def available(options: Options) -> int:
    """Return processes to use."""
    return options.workers or int(joblib.cpu_count())


def _chapters(
    storage: BaseStorage,
    studies: Sequence[Study],
    frames: Frames,
    options: Options,
    tell: Callable[[str], None] | None,
    parallel: joblib.Parallel,
) -> list[Chapter]:
    threads = max(1, available(options) // len(studies))
    trials = dict(tuple(frames.trials.groupby("study")))
    curves = dict(tuple(frames.curves.groupby("study")))
    beside = ablation_runs(storage, studies)
    jobs = (
        joblib.delayed(chapter)(
            study,
            trials.get(study.name, frames.trials.iloc[:0]),
            curves.get(study.name, frames.curves.iloc[:0]),
            options,
            threads,
            beside[beside["study"] == study.name],
        )
        for study in studies
    )
    done = []
    for one in parallel(jobs):
        done.append(one)
        if tell is not None:
            tell(one.study.name)
    return done


def _compared(storage: BaseStorage, every: Sequence[Study], frames: Frames, options: Options) -> Comparison:
    """Compare optimizers over all of their searches."""
    epochs = confirmed_curves(storage, every, confirmed=True)
    with threadpool_limits(1):
        return compare(every, frames, epochs, generator(options.seed, "comparison"))


def _with_replicates(storage: BaseStorage, studies: Sequence[Study]) -> list[Study]:
    """Return the studies, and behind them those that repeat one of their searches."""
    wanted = {(study.campaign["name"], study.workload, study.optimizer) for study in studies}
    names = {study.name for study in studies}
    campaigns = dict.fromkeys(str(study.campaign["name"]) for study in studies)
    stored = (study for name in campaigns for study in stored_studies(storage, name, replicates=True))
    repeats = (study for study in stored if study.name not in names)
    return [*studies, *(s for s in repeats if (s.campaign["name"], s.workload, s.optimizer) in wanted)]


def _versus(compared: Comparison | None, options: Options, parallel: joblib.Parallel) -> list[Versus]:
    if compared is None:
        return []
    views = [View(contest, compared) for contest in compared.contests]
    names = workload_names([view.contest.workload for view in views])
    made = parallel(joblib.delayed(versus)(view, options) for view in views)
    return [Versus(name, view, pictures) for name, view, pictures in zip(names, views, made, strict=True)]


def _across(chapters: Sequence[Chapter], compared: Comparison | None, options: Options) -> Across:
    table = near_optimal([one.study for one in chapters], [one.findings for one in chapters])
    workloads = {one.study.workload for one in chapters if one.study.own}
    by_optimizer: dict[str, list[Chapter]] = {}
    for one in chapters:
        if one.study.own:
            by_optimizer.setdefault(one.study.optimizer, []).append(one)
    with style():
        drawn = [
            (f"{key}-{slug(optimizer)}", draw([one.subject for one in own], table))
            for key, draw in of_each("optimizer").items()
            for optimizer, own in by_optimizer.items()
        ]
        scored = (
            pictures(((key, draw(compared)) for key, draw in of_each("campaign").items()), options)
            if compared and len(workloads) > 1
            else []
        )
        return Across(
            table,
            tuple(moves(table, list(by_optimizer), len(workloads))),
            tuple(pictures(drawn, options)),
            compared,
            tuple(scored),
        )


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def _prepare(out: Path, folders: Sequence[str]) -> None:
    """Find out before the work, not after it, that the directory cannot be written."""
    try:
        for folder in (out, *(out / name for name in folders)):
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
        index = out / "index.html"
        foreign = index.exists() and not is_report(index)
    except OSError as error:
        raise _unwritable(out, error) from None
    if foreign:
        raise UserError(f"'{index}' is there and is no report; choose another --out")


def is_report(index: Path) -> bool:
    """Return whether a page is one of a report.

    Raises:
        OSError: It cannot be read.
    """
    with index.open(encoding="utf-8", errors="replace") as file:
        return MAKER in file.read(2000)


def is_of(index: Path, name: str) -> bool | None:
    """Return whether a page is a report on the campaign or study of that name; ``None`` where there is no report."""
    try:
        with index.open(encoding="utf-8", errors="replace") as file:
            head = file.read(4000)
    except OSError:
        return None
    title = re.search(r"<title>(.*?)</title>", head, re.DOTALL)
    if MAKER not in head or title is None:
        return None
    return printable(html.unescape(title[1])).startswith(f"{printable(name)}: ")


def _unwritable(out: Path, error: OSError) -> UserError:
    return UserError(f"cannot write the report to '{out}': {error.strerror or error}; choose another --out")


def _remove_old(out: Path) -> None:
    """Remove the files of an earlier report, which its page links to; nothing of anybody else's."""
    index = out / "index.html"
    if not index.exists():
        return
    beside = "|".join(map(re.escape, (*PAGES, METHODS_FILE)))
    for linked in re.findall(rf'href="((?:tables|figures)/[\w.-]+|{beside})"', index.read_text(encoding="utf-8")):
        (out / linked).unlink(missing_ok=True)


def _put_answers(out: Path, made: Answered | None, title: str, now: datetime.datetime) -> None:
    if made is None:
        return
    _put_pictures(out / "figures", ATLAS, made.pictures)
    page, text = PAGES
    _put(out / page, answers_html(made.atlas, title, now, Markup(MAKER)).encode())
    _put(out / text, answers_markdown(made.atlas, title).encode())


def _put_pictures(folder: Path, name: str, made: Sequence[Picture]) -> None:
    for picture in made:
        stems = panel_stems(name, picture)
        for stem, (_, drawn) in zip(stems, picture.panels, strict=True):
            _put(folder / f"{stem}.svg", drawn.svg.encode())
            _put(folder / f"{stem}.png", drawn.png)
            _put(folder / f"{stem}.pdf", drawn.pdf)


def _put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")  # another process may write the same report
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
