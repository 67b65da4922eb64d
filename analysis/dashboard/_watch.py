"""Keeps notes and plots up to date while somebody looks, and does nothing while nobody does."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress

import pandas as pd
from optuna.storages import RDBStorage

from analysis._rows import open_reader
from analysis.comparison.contest import Contest, contests
from analysis.comparison.convergence import convergence
from analysis.dashboard import _plots
from analysis.dashboard._analyst import Analyst
from analysis.dashboard._note import Setting, confirmation_note, evaluation_note, search_note
from analysis.dashboard._storage import Annotation
from analysis.load import (
    Study,
    confirmations,
    confirming,
    curves,
    evaluating,
    evaluations,
    studies,
    trials,
)
from search_spaces.errors import UserError

CONVERGENCE, IMPORTANCE = "sofim-convergence", "sofim-importance"
PAUSE_SECONDS = 5.0  # at least, between two looks at the database
MOMENT_SECONDS = 3.0  # that a page may wait for what it shows first; it asks again only ten seconds later
_SHARE = 0.1  # of a processor, at most, that reading and drawing take; importances are another process's
_GROWTH = 1.2  # so many times the trials, and importances are computed again
_RUNNING = ("RUNNING", "WAITING")
_NONE: Mapping[str, _plots.Figure] = {}

Mark = tuple[tuple[str, int], ...]
"""How many trials of a study are in each state, by which a change is noticed without reading what they are."""


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
        self._written: dict[str, object] = {}  # by campaign: what its notes were written from
        self._bands: dict[str, pd.DataFrame] = {}  # by campaign: convergence of its confirmation runs
        self._drawn: dict[int, object] = {}  # by study_id: what convergence was drawn from
        self._analysed: dict[int, tuple[int, bool]] = {}  # by study_id: trials that had ended, whether there are shares
        self._complaints: set[str] = set()
        self._looked_at: dict[int, None] = {}  # in order
        self._asked = threading.Event()
        self._in_a_hurry = threading.Event()  # somebody waits for the first plots of a study
        self._closed = False
        self._looked = False  # at least once
        self._changed = threading.Condition()
        self._searches: dict[int, Study] = {}  # by study_id, as of the last look
        self._underway: set[int] = set()  # studies whose importances are being computed
        self._thread = threading.Thread(target=self._run, name="annotations", daemon=True)

    def start(self) -> None:
        """Begins, in a thread of its own, with a first look that nobody has to ask for."""
        self._asked.set()
        self._thread.start()

    def close(self) -> None:
        """Ends soon; does not wait for a database that does not answer."""
        self._closed = True
        self._asked.set()
        self._in_a_hurry.set()
        self._analyst.close()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)

    def annotation(self, study_id: int) -> Annotation | None:
        """What to show on a study; ``None`` for nothing."""
        return self._shown.get(study_id)

    def somebody_looks(self, study_id: int | None = None) -> None:
        """Says that the studies, or one of them, are on somebody's screen.

        Returns at once, or, where there is nothing yet to show on ``study_id``, after a moment.
        """
        if study_id is not None:
            self._looked_at[study_id] = None
        self._asked.set()
        if study_id is not None and self._awaited(study_id):
            self._in_a_hurry.set()
            with self._changed:
                self._changed.wait_for(lambda: self._closed or not self._awaited(study_id), timeout=MOMENT_SECONDS)

    def _awaited(self, study_id: int) -> bool:
        """Whether the next look will find something to show on a study that nothing is shown on yet."""
        shown = self._shown.get(study_id)
        return not self._looked if study_id not in self._searches else shown is None or not shown.plots

    def _run(self) -> None:
        with suppress(AttributeError, OSError):  # Linux alone knows threads that are nicer than their process
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        while True:
            self._asked.wait()
            if self._closed:
                return
            self._asked.clear()
            self._in_a_hurry.clear()
            began = time.thread_time()
            with self._no_matter():
                self.look()
            with suppress(Exception):
                self._storage.remove_session()
            self._in_a_hurry.wait(max(PAUSE_SECONDS, (time.thread_time() - began) / _SHARE))

    def look(self) -> None:
        """Looks once: brings all notes up to date, then the plots of what was looked at since the last time."""
        looked_at, self._looked_at = self._looked_at, {}
        every = studies(self._storage, replicates=True)
        holders = confirming(self._storage, every)
        aside = holders | evaluating(self._storage, every)
        marks = self._marks([*(study.study_id for study in every), *aside])
        for name in dict.fromkeys(str(study.campaign["name"]) for study in every):
            own = [study for study in every if study.campaign["name"] == name]
            held = {study_id: study for study_id, study in aside.items() if study.campaign["name"] == name}
            seen = [{i: marks[i] for i in (*(study.study_id for study in own), *held)}, self._setting.report(name)]
            if self._written.get(name) != seen:
                with self._no_matter():
                    self._bands[name] = self._write(own)
                    self._written[name] = seen  # only now: what failed is tried again
        self._searches = {study.study_id: study for study in every}
        confirmed = {study.study_id: marks[study_id] for study_id, study in holders.items()}
        for study_id in list(looked_at):  # a request may still add to it
            if study_id in self._searches and not self._closed:
                with self._no_matter():
                    self._draw(self._searches[study_id], marks[study_id], confirmed.get(study_id))
        with self._changed:
            self._looked = True
            self._changed.notify_all()

    def _marks(self, study_ids: Sequence[int]) -> dict[int, Mark]:
        counts: dict[int, Counter[str]] = {study_id: Counter() for study_id in study_ids}
        for row in open_reader(self._storage, study_ids).trials():
            counts[row.study_id][row.state] += 1
        return {study_id: tuple(sorted(found.items())) for study_id, found in counts.items()}

    def _write(self, own: list[Study]) -> pd.DataFrame:
        """Writes the notes of a campaign's studies, and gives back the bands of its confirmation runs."""
        searched, runs = trials(self._storage, own), confirmations(self._storage, own)
        found: list[Contest] = []
        if len(runs):
            firsts = [study for study in own if study.replicate == 1]
            with suppress(UserError):  # by several protocols: each study has a note, and nothing is compared
                found = contests(firsts, searched, runs, curves(self._storage, firsts, confirmed=True))
        by_workload = {contest.workload: contest for contest in found}
        for study in own:
            of_it, again = searched[searched["study"] == study.name], runs[runs["study"] == study.name]
            contest = by_workload.get(study.workload) if study.replicate == 1 else None
            self._show(study.study_id, note=search_note(study, of_it, again, contest, self._setting))
        for study_id, study in confirming(self._storage, own).items():
            note = confirmation_note(study, runs[runs["study"] == study.name], study.study_id)
            self._show(study_id, note=note)
        elsewhere = evaluations(self._storage, own)
        for study_id, study in evaluating(self._storage, own).items():
            note = evaluation_note(study, elsewhere[elsewhere["study"] == study.name], study.study_id)
            self._show(study_id, note=note)
        bands = convergence(found)
        return bands[(bands["axis"] == "epochs") & (bands["quantity"] == "metric")]

    def _draw(self, study: Study, mark: Mark, confirmed: Mark | None) -> None:
        """Convergence whenever something changed, importances when there is much more to learn from."""
        seen = (mark, confirmed)
        ended = sum(number for state, number in mark if state not in _RUNNING)
        still = all(state not in _RUNNING for state, _ in mark)
        due = study.study_id not in self._underway and self._due(study, ended, still)
        if self._drawn.get(study.study_id) == seen and not due:
            return
        own, epochs = trials(self._storage, [study]), curves(self._storage, [study])
        bands = self._bands[str(study.campaign["name"])]
        plots = {CONVERGENCE: _plots.convergence(study, own, epochs, bands[bands["study"] == study.name])}
        if study.study_id not in self._drawn:
            plots[IMPORTANCE] = _plots.message("Importance", "Being computed; this takes some seconds.")
        self._show(study.study_id, plots=plots)
        self._drawn[study.study_id] = seen
        if due:
            self._underway.add(study.study_id)
            answer = self._analyst.importance(study, own, epochs)
            answer.add_done_callback(lambda answer: self._analysed_one(study.study_id, ended, answer))

    def _analysed_one(self, study_id: int, ended: int, answer: Future[_plots.Figure]) -> None:
        """Shows importances that were computed from ``ended`` trials; called by the thread that waited for them."""
        if self._closed:
            return
        if (error := answer.exception()) is not None:
            figure = _plots.message("Importance", f"It cannot be computed: {error}")
        else:
            figure = answer.result()
        self._show(study_id, plots={IMPORTANCE: figure})
        self._analysed[study_id] = (ended, bool(figure["data"]))
        self._underway.discard(study_id)

    def _due(self, study: Study, ended: int, still: bool) -> bool:
        """Whether importances are to be computed: they are missing, or there are many more trials, or no more come."""
        before, had_shares = self._analysed.get(study.study_id, (-1, False))
        return ended != before and (not had_shares or ended >= _GROWTH * before or still)

    def _show(self, study_id: int, *, note: str | None = None, plots: Mapping[str, _plots.Figure] = _NONE) -> None:
        written = {name: json.dumps(figure, allow_nan=False) for name, figure in plots.items()}
        with self._changed:
            before = self._shown.get(study_id, Annotation())
            told = before.note if note is None else note
            self._shown[study_id] = Annotation(told, {**before.plots, **written})
            self._changed.notify_all()

    @contextmanager
    def _no_matter(self) -> Iterator[None]:
        """What goes wrong within is said once and tried again: a page without news is better than none."""
        try:
            yield
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            if reason not in self._complaints and not self._closed:
                self._complaints.add(reason)
                self._complain(f"notes and plots are not up to date ({reason}); they are tried again")
