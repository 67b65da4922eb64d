"""The findings as a note on the study, where Optuna's dashboard shows it."""

from __future__ import annotations

import datetime
import re

import optuna
from optuna.storages import BaseStorage
from optuna_dashboard import get_note, save_note

from analysis.report._chapter import Chapter
from analysis.sensitivity import sentences

_BEGIN = "## Sensitivity (sofim report)"
_END = "*End of the sensitivity report; text around it is kept.*"


def publish(storage: BaseStorage, chapter: Chapter, *, now: datetime.datetime | None = None) -> None:
    """Put a chapter's findings into the study's note; what else people wrote there stays.

    Args:
        storage: that the study is in.
        chapter: of a report.
        now: the date in the note; by default now.
    """
    study = optuna.load_study(study_name=chapter.study.name, storage=storage)
    moment = now or datetime.datetime.now().astimezone()
    findings = chapter.findings
    summary = sentences.headline(findings)
    details = [text for text in findings.sentences if text not in summary]
    lines = [
        _BEGIN,
        "",
        *(f"- {markdown(text)}" for text in summary),
        "",
        *(["In detail:", "", *(f"- {markdown(text)}" for text in details), ""] if details else []),
        f"{moment:%Y-%m-%d %H:%M %Z}".strip(),
        "",
        _END,
    ]
    save_note(study, merged(get_note(study), "\n".join(lines)))


def merged(before: str, section: str) -> str:
    """A note with its section of an earlier report replaced, or with the section put below what is there."""
    pattern = re.compile(f"^{re.escape(_BEGIN)}$.*?^{re.escape(_END)}$", re.DOTALL | re.MULTILINE)
    if pattern.search(before):
        return pattern.sub(lambda _: section, before, count=1)
    return f"{before.rstrip()}\n\n{section}\n" if before.strip() else f"{section}\n"


def markdown(text: str) -> str:
    r"""Text that Markdown shows as it is.

    >>> print(markdown("<b>lr_0</b> [1, 2]"))
    &lt;b&gt;lr\_0&lt;/b&gt; \[1, 2\]
    """
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", " ".join(escaped.split()))
