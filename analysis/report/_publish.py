"""The findings as a note on the study, where Optuna's dashboard shows it."""

from __future__ import annotations

import datetime

import optuna
from optuna.storages import BaseStorage
from optuna_dashboard import get_note, save_note

from analysis.notes import SENSITIVITY, markdown
from analysis.report._chapter import Chapter
from analysis.sensitivity import sentences


def publish(storage: BaseStorage, chapter: Chapter, *, now: datetime.datetime | None = None) -> None:
    """Put a chapter's findings into the study's note; what else people wrote there stays.

    Args:
        storage: That the study is in.
        chapter: Of a report.
        now: The date in the note; by default now.
    """
    study = optuna.load_study(study_name=chapter.study.name, storage=storage)
    moment = now or datetime.datetime.now().astimezone()
    findings = chapter.findings
    summary = sentences.headline(findings)
    details = [text for text in findings.sentences if text not in summary]
    lines = [
        *(f"- {markdown(text)}" for text in summary),
        "",
        *(["In detail:", "", *(f"- {markdown(text)}" for text in details), ""] if details else []),
        f"{moment:%Y-%m-%d %H:%M %Z}".strip(),
    ]
    save_note(study, SENSITIVITY.merged(get_note(study), "\n".join(lines)))
