"""A storage that shows more on its studies than it holds, and stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.storages import RDBStorage, _CachedStorage
from optuna.study._frozen import FrozenStudy

from analysis.notes import ABOUT

# Where Optuna's dashboard keeps notes and plots, among the attributes of a study. Long texts come in parts, which are
# numbered from 0; a part may have any length.
_NOTE_VERSION = "dashboard:note_ver"
_NOTE_TEXT = "dashboard:note_str:"
_PLOT = "dashboard:plot_data:{name}:0"


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is shown on one study.

    Attributes:
        note: The body of the section :data:`analysis.notes.ABOUT`; empty for none.
        plots: Figures of Plotly as JSON, by an id that an HTML element may have.
    """

    note: str = ""
    plots: Mapping[str, str] = field(default_factory=dict)


class AnnotatedStorage(_CachedStorage):
    """What Optuna's dashboard is given in place of ``backend``: the same, with notes and plots laid over.

    Nothing of them is written to the database, so that no driver waits, no reader ever meets half a figure, and
    somebody who edits the note meanwhile finds its version as it was, without which the dashboard would not save it.
    Everything else, such as a note that somebody saves, goes to the database. Trials that have ended are read once.

    Args:
        backend: The database.
        annotation: Called with a study's id; returns what is laid over it, ``None`` for nothing.
    """

    def __init__(self, backend: RDBStorage, annotation: Callable[[int], Annotation | None]) -> None:
        super().__init__(backend)
        self._annotation = annotation

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return the studies with what is laid over: the dashboard shows these, and edits what is stored."""
        studies = super().get_all_studies()
        for study in studies:
            if (annotation := self._annotation(study._study_id)) is not None:
                study.system_attrs = overlaid(study.system_attrs, annotation)
        return studies


def overlaid(stored: Mapping[str, Any], annotation: Annotation) -> dict[str, Any]:
    """Return the attributes of a study with an annotation laid over them."""
    shown = dict(stored)
    if annotation.note:
        parts = [name for name in stored if name.startswith(_NOTE_TEXT)]
        before = "".join(str(stored.get(f"{_NOTE_TEXT}{number}", "")) for number in range(len(parts)))
        for name in parts:
            del shown[name]
        shown[f"{_NOTE_TEXT}0"] = ABOUT.merged(before, annotation.note)
        shown.setdefault(_NOTE_VERSION, 0)
    return shown | {_PLOT.format(name=name): figure for name, figure in annotation.plots.items()}
