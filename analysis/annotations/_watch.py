"""Keeps notes and plots up to date while somebody looks, and does nothing while nobody does."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import pandas as pd
from optuna.storages import RDBStorage

from analysis._rows import open_reader
from analysis.annotations import _plots
from analysis.annotations._analyst import Analyst
from analysis.annotations._note import Setting, confirmation_note, search_note
from analysis.annotations._storage import Annotation
from analysis.comparison.contest import Contest, contests
from analysis.comparison.convergence import convergence
from analysis.errors import AnalysisError
from analysis.load import Study, confirmations, confirming, curves, studies, trials

CONVERGENCE, IMPORTANCE = "sofim-convergence", "sofim-importance"
PAUSE_SECONDS = 5.0  # at least, between two looks at the database
_SHARE = 0.1  # of a processor, at most, that reading and drawing take; importances are another process's
_GROWTH = 1.2  # so many times the trials, and importances are computed again
_RUNNING = ("RUNNING", "WAITING")
_NONE: Mapping[str, _plots.Figure] = {}

Mark = tuple[tuple[str, int], ...]
"""How many trials of a study are in each state, by which a change is noticed without reading what they are."""


@dataclass
class _Campaign:
    """What is known of one: its studies, and what their notes were last written from."""

    studies: list[Study]
    trials: pd.DataFrame
    runs: pd.DataFrame
    contests: list[Contest]
    bands: pd.DataFrame
    seen: object = None


class Watch:
    """Writes a note for each study of each campaign, and draws for those that are looked at.

    Args:
        storage: the database; a driver may be writing it, and nothing is written here.
        setting: where the notes are shown.
        complain: called with a line when notes cannot be kept up to date, once for each reason.
    """

    def __init__(self, storage: RDBStorage, setting: Setting, complain: Callable[[str], None]) -> None:
        self._storage = storage
        self._setting = setting
        self._complain = complain
        self._analyst = Analyst()
        self._shown: dict[int, Annotation] = {}  # by study_id; entries are replaced, never changed
        self._campaigns: dict[str, _Campaign] = {}
        self._drawn: dict[int, object] = {}  # by study_id: what convergence was drawn from
        self._analysed: dict[int, tuple[int, bool]] = {}  # by study_id: trials that had ended, whether there are shares
        self._complaints: set[str] = set()
        self._looked_at: dict[int, None] = {}  # in order
        self._asked = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="annotations", daemon=True)

    def start(self) -> None:
        """Begins, in a thread of its own, with a first look that nobody has to ask for."""
        self._asked.set()
        self._thread.start()

    def close(self) -> None:
        """Ends soon; does not wait for a database that does not answer."""
        self._closed.set()
        self._asked.set()
        self._analyst.close()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)

    def annotation(self, study_id: int) -> Annotation | None:
        """What to show on a study; ``None`` for nothing."""
        return self._shown.get(study_id)

    def somebody_looks(self, study_id: int | None = None) -> None:
        """Says that the studies, or one of them, are on somebody's screen: the next look is soon."""
        if study_id is not None:
            self._looked_at[study_id] = None
        self._asked.set()

    def _run(self) -> None:
        with suppress(AttributeError, OSError):  # Linux alone knows threads that are nicer than their process
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        while True:
            self._asked.wait()
            if self._closed.is_set():
                return
            self._asked.clear()
            began = time.thread_time()
            try:
                self.look()
            except Exception as error:  # a page without news is better than none
                self._complain_once(error)
            finally:
                with suppress(Exception):
                    self._storage.remove_session()
            self._closed.wait(max(PAUSE_SECONDS, (time.thread_time() - began) / _SHARE))

    def look(self) -> None:
        """Looks once: brings all notes up to date, then the plots of what was looked at since the last time."""
        looked_at, self._looked_at = self._looked_at, {}
        every = studies(self._storage, replicates=True)
        holders = confirming(self._storage, every)
        marks = self._marks([*(study.study_id for study in every), *holders])
        for name in dict.fromkeys(str(study.campaign["name"]) for study in every):
            own = [study for study in every if study.campaign["name"] == name]
            held = {study_id: study for study_id, study in holders.items() if study.campaign["name"] == name}
            seen = [{i: marks.get(i) for i in (*(study.study_id for study in own), *held)}, self._setting.report(name)]
            if name not in self._campaigns or self._campaigns[name].seen != seen:
                self._campaigns[name] = self._read(own)
                self._write(self._campaigns[name], held)
                self._campaigns[name].seen = seen  # only now: what failed is tried again
        by_id = {study.study_id: study for study in every}
        for study_id in list(looked_at):  # a request may still add to it
            if study_id in by_id and not self._closed.is_set():
                self._draw(by_id[study_id], marks.get(study_id, ()))

    def _marks(self, study_ids: Sequence[int]) -> dict[int, Mark]:
        counts: dict[int, Counter[str]] = {}
        for row in open_reader(self._storage, study_ids).trials():
            counts.setdefault(row.study_id, Counter())[row.state] += 1
        return {study_id: tuple(sorted(found.items())) for study_id, found in counts.items()}

    def _read(self, own: list[Study]) -> _Campaign:
        searched, runs = trials(self._storage, own), confirmations(self._storage, own)
        found: list[Contest] = []
        if len(runs):
            firsts = [study for study in own if study.replicate == 1]
            with suppress(AnalysisError):  # by several protocols: each study has a note, and nothing is compared
                found = contests(firsts, searched, runs, curves(self._storage, firsts, confirmed=True))
        bands = convergence(found)
        bands = bands[(bands["axis"] == "epochs") & (bands["quantity"] == "metric")]
        return _Campaign(own, searched, runs, found, bands)

    def _write(self, campaign: _Campaign, holders: dict[int, Study]) -> None:
        by_workload = {contest.workload: contest for contest in campaign.contests}
        runs = campaign.runs
        for study in campaign.studies:
            own = runs[runs["study"] == study.name]
            contest = by_workload.get(study.workload) if study.replicate == 1 else None
            searched = campaign.trials[campaign.trials["study"] == study.name]
            self._show(study.study_id, note=search_note(study, searched, own, contest, self._setting))
        for study_id, study in holders.items():
            note = confirmation_note(study, runs[runs["study"] == study.name], study.study_id)
            self._show(study_id, note=note)

    def _draw(self, study: Study, mark: Mark) -> None:
        """Convergence whenever something changed, importances when there is much more to learn from."""
        campaign = self._campaigns[str(study.campaign["name"])]
        band = campaign.bands[campaign.bands["study"] == study.name]
        seen = (mark, len(band), campaign.seen)
        ended = sum(number for state, number in mark if state not in _RUNNING)
        still = all(state not in _RUNNING for state, _ in mark)
        if IMPORTANCE not in self._figures(study):
            waiting = _plots.message("Importance", "Being computed; this takes some seconds.")
            self._show(study.study_id, plots={IMPORTANCE: waiting})
        if self._drawn.get(study.study_id) == seen and not self._due(study, ended, still):
            return
        own, epochs = trials(self._storage, [study]), curves(self._storage, [study])
        self._show(study.study_id, plots={CONVERGENCE: _plots.convergence(study, own, epochs, band)})
        self._drawn[study.study_id] = seen
        if not self._due(study, ended, still):
            return
        try:
            figure = self._analyst.importance(study, own, epochs)
        except RuntimeError as error:
            if self._closed.is_set():
                return
            figure = _plots.message("Importance", f"It cannot be computed: {error}")
        self._analysed[study.study_id] = (ended, bool(figure["data"]))
        self._show(study.study_id, plots={IMPORTANCE: figure})

    def _due(self, study: Study, ended: int, still: bool) -> bool:
        """Whether importances are to be computed: they are missing, or there are many more trials, or no more come."""
        before, had_shares = self._analysed.get(study.study_id, (-1, False))
        return ended != before and (not had_shares or ended >= _GROWTH * before or still)

    def _figures(self, study: Study) -> dict[str, str]:
        shown = self._shown.get(study.study_id)
        return {} if shown is None else dict(shown.plots)

    def _show(self, study_id: int, *, note: str | None = None, plots: Mapping[str, _plots.Figure] = _NONE) -> None:
        before = self._shown.get(study_id, Annotation())
        written = {name: json.dumps(figure, allow_nan=False) for name, figure in plots.items()}
        self._shown[study_id] = replace(
            before, note=before.note if note is None else note, plots={**before.plots, **written}
        )

    def _complain_once(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if reason not in self._complaints and not self._closed.is_set():
            self._complaints.add(reason)
            self._complain(f"notes and plots are not up to date ({reason}); they are tried again")
