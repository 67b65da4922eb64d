"""What files and places in the page are called."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from analysis.report._chapter import Picture
from analysis.study import Study

WORKLOADS = "workloads"  # of the figures on all workloads together
ATLAS = "atlas"  # of those of the answers over them
_LONGEST = 80


def slug(name: str) -> str:
    """Return a name as part of a file's name: letters, digits, dots and dashes.

    >>> slug("../my study/$1")
    'my-study-1'
    """
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:_LONGEST] or "study"


def folder(name: str) -> str:
    """Return a name as that of a directory: letters and digits of any alphabet, underscores, dots and dashes.

    Names that differ in other characters alone, or in what is cut off, have one directory: look whose report is there.

    >>> folder("my_run"), folder("größe β"), folder("../my study/$1"), folder("?")
    ('my_run', 'größe-β', 'my-study-1', 'study')
    """
    known = unicodedata.normalize("NFC", name)
    kept = "".join(c if c in "._" or unicodedata.category(c)[0] in "LMN" else " " for c in known)
    return "-".join(kept.split()).strip("-.").encode()[:_LONGEST].decode(errors="ignore") or "study"


def file_names(studies: Sequence[Study]) -> dict[str, str]:
    """Return what each study's figures are called, by its name; no two the same."""
    wanted = [slug(f"{study.workload}-{study.optimizer}" if study.own else study.name) for study in studies]
    return dict(zip((study.name for study in studies), _distinct(wanted, taken={WORKLOADS, ATLAS}), strict=True))


def workload_names(workloads: Sequence[str]) -> list[str]:
    """Return what the figures that compare optimizers on each workload are called."""
    return _distinct([f"{slug(workload)}-compared" for workload in workloads])


def panel_stems(name: str, picture: Picture) -> list[str]:
    """Return the files of a picture's panels, without their ending; no two the same."""
    wanted = [f"{name}-{picture.key}" + (f"-{slug(panel)}" if panel else "") for panel, _ in picture.panels]
    return _distinct(wanted)


def _distinct(wanted: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return number those that come again. Case does not tell files apart everywhere."""
    seen, found = {name.lower() for name in taken}, []
    for name in wanted:
        tried, count = name, 1
        while tried.lower() in seen:
            count += 1
            tried = f"{name}-{count}"
        seen.add(tried.lower())
        found.append(tried)
    return found
