"""Keeps notes and plots up to date while somebody looks at them, and does nothing while nobody does."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial

import pandas as pd
from optuna.storages import RDBStorage

from analysis.comparison.convergence import convergence
from analysis.comparison.workload_runs import WorkloadRuns, contests
from analysis.dashboard import _plots
from analysis.dashboard._note import NoteContext, confirmation_note, evaluation_note, search_note
from analysis.dashboard._storage import Annotation
from analysis.load import (
    Study,
    confirmations,
    confirming,
    curves,
    evaluating,
    evaluations,
    open_reader,
    studies,
    trials,
)
from analysis.pool import safe_path
from analysis.report import Options, examined
from search_spaces.errors import UserError

CONVERGENCE, IMPORTANCE = "sofim-convergence", "sofim-importance"
TIME_TO_LIVE_SECONDS = 5.0  # of what is shown, at least
FIRST_WAIT_SECONDS = 3.0  # that a page may wait for its first plots; it asks again only ten seconds later
_SHARE = 0.1  # of a processor, at most, that reading and drawing take; importances are another process's
_GROWTH = 1.2  # so many times the trials, and importances are computed again
_NICENESS = 5  # of what reads and draws, twice that of importances: a driver on the same machine goes first

_RUNNING = ("RUNNING", "WAITING")
_NO_PLOTS: Mapping[str, _plots.Figure] = {}

Mark = tuple[tuple[str, int], ...]
"""How many trials of a study are in each state, by which a change is noticed without reading what they are."""


class AnnotationService:
    """Writes a note for each study of each campaign, and draws plots of those that are looked at.

    Args:
        storage: The database; a driver may be writing it, and nothing is written here.
        context: Where the notes are shown.
        log: Called with a line when something cannot be kept up to date, once for each reason.
    """

    def __init__(self, storage: RDBStorage, context: NoteContext, log: Callable[[str], None]) -> None:
        self._storage = storage
        self._context = context
        self._log = log
        self._processes = _new_pool()
        self._annotations: dict[int, Annotation] = {}  # by study_id; entries are replaced, never changed
        self._made_from: dict[str | int, object] = {}  # by campaign (its notes) or study_id (its convergence)
        self._bands: dict[str, pd.DataFrame] = {}  # by campaign: convergence of its confirmation runs
        self._analysed: dict[int, tuple[int, bool | None]] = {}  # trials, whether there are shares (None: not yet)
        self._searches: dict[int, Study] = {}  # by study_id, as of the last refresh
        self._viewed: set[int] = set()  # since the last refresh
        self._reasons: set[str] = set()  # that were logged
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._expires = 0.0
        self._refreshing = self._refreshed = self._closed = False

    def annotation(self, study_id: int) -> Annotation | None:
        """Return what to show on a study; ``None`` for nothing."""
        return self._annotations.get(study_id)

    def touch(self, study_id: int | None = None) -> None:
        """Refresh in the background what has outlived its time.

        Args:
            study_id: Of the study that is on somebody's screen and needs plots. The first are waited for, a moment.
        """
        with self._lock:
            first = study_id is not None and self._awaited(study_id)
            if study_id is not None:
                self._viewed.add(study_id)
            if not (self._refreshing or self._closed) and (first or time.monotonic() >= self._expires):
                self._refreshing = True
                self._thread = threading.Thread(target=self._run, name="annotations", daemon=True)
                self._thread.start()
            thread = self._thread
        if first and thread is not None:
            thread.join(FIRST_WAIT_SECONDS)

    def close(self) -> None:
        """End what is being computed; do not wait for a database that does not answer."""
        with self._lock:
            self._closed = True
            workers = list((self._processes._processes or {}).values())
            self._processes.shutdown(wait=False, cancel_futures=True)
            for worker in workers:  # from Python 3.14 on: kill_workers()
                worker.kill()
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def refresh(self, viewed: Collection[int] = ()) -> None:
        """Bring all notes up to date, then the plots of the studies that are ``viewed``."""
        searches = {study.study_id: study for study in studies(self._storage, replicates=True)}
        confirmed = confirming(self._storage, list(searches.values()))
        evaluated = evaluating(self._storage, list(searches.values()))
        campaigns: dict[str, dict[int, Study]] = {}
        for study_id, study in (searches | confirmed | evaluated).items():
            campaigns.setdefault(str(study.campaign["name"]), {})[study_id] = study
        marks = self._marks([study_id for held in campaigns.values() for study_id in held])
        for name, held in campaigns.items():
            mark = ({study_id: marks[study_id] for study_id in held}, self._context.report(name))
            own = [study for study_id, study in held.items() if study_id in searches]
            self._make(name, mark, partial(self._write, name, own))
        self._searches = searches
        runs = {study.study_id: marks[study_id] for study_id, study in confirmed.items()}
        for study_id in viewed:
            if study_id in searches and not self._closed:
                study = searches[study_id]
                self._make(study_id, (marks[study_id], runs.get(study_id)), partial(self._draw, study))
                with self._logging_errors():
                    self._analyse(study, marks[study_id])
        self._refreshed = True

    def _run(self) -> None:
        """Refresh until nobody waits for first plots, in a thread of its own."""
        with suppress(AttributeError, OSError):  # not everywhere; on Linux threads can be nicer than their process
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C is not for the process started from here
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while self._refreshing:
            began = time.thread_time()
            with self._lock:
                viewed, self._viewed = self._viewed, set()
            with self._logging_errors():
                self.refresh(viewed)
            with suppress(Exception):
                self._storage.remove_session()
            with self._lock:
                self._expires = time.monotonic() + max(TIME_TO_LIVE_SECONDS, (time.thread_time() - began) / _SHARE)
                self._refreshing = not self._closed and any(map(self._awaited, self._viewed))

    def _awaited(self, study_id: int) -> bool:
        """Return whether a refresh will give a study its first plots, as far as is known."""
        annotation = self._annotations.get(study_id)
        return not self._refreshed if study_id not in self._searches else annotation is None or not annotation.plots

    def _marks(self, study_ids: Sequence[int]) -> dict[int, Mark]:
        counts: dict[int, Counter[str]] = {study_id: Counter() for study_id in study_ids}
        for row in open_reader(self._storage, study_ids).trials():
            counts[row.study_id][row.state] += 1
        return {study_id: tuple(sorted(states.items())) for study_id, states in counts.items()}

    def _make(self, key: str | int, mark: object, make: Callable[[], None]) -> None:
        """Make something unless it was made from the same mark; what failed is tried again."""
        if self._made_from.get(key) != mark:
            with self._logging_errors():
                make()
                self._made_from[key] = mark

    def _write(self, campaign: str, own: list[Study]) -> None:
        """Write the notes of a campaign's studies, and keep the bands of its confirmation runs."""
        searched, runs = trials(self._storage, own), confirmations(self._storage, own)
        compared: list[WorkloadRuns] = []
        if len(runs):
            firsts = [study for study in own if study.replicate == 1]
            with suppress(UserError):  # by several protocols: each study has a note, and nothing is compared
                compared = contests(firsts, searched, runs, curves(self._storage, firsts, confirmed=True))
        by_workload = {contest.workload: contest for contest in compared}
        for study in own:
            contest = by_workload.get(study.workload) if study.replicate == 1 else None
            note = search_note(study, _of(study, searched), _of(study, runs), contest, self._context)
            self._show(study.study_id, note)
        for study_id, study in confirming(self._storage, own).items():
            self._show(study_id, confirmation_note(study, _of(study, runs), study.study_id))
        elsewhere = evaluations(self._storage, own)
        for study_id, study in evaluating(self._storage, own).items():
            self._show(study_id, evaluation_note(study, _of(study, elsewhere), study.study_id))
        bands = convergence(compared)
        self._bands[campaign] = bands[(bands["axis"] == "epochs") & (bands["quantity"] == "metric")]

    def _draw(self, study: Study) -> None:
        own, epochs = trials(self._storage, [study]), curves(self._storage, [study])
        band = _of(study, self._bands[str(study.campaign["name"])])
        plots = {CONVERGENCE: _plots.convergence(study, own, epochs, band)}
        if study.study_id not in self._analysed:
            plots[IMPORTANCE] = _plots.message("Importance", "Being computed; this takes some seconds.")
        self._show(study.study_id, plots=plots)

    def _analyse(self, study: Study, mark: Mark) -> None:
        """Have importances computed where there are none, many more trials than they are of, or the last ones."""
        ended = sum(number for state, number in mark if state not in _RUNNING)
        still = all(state not in _RUNNING for state, _ in mark)
        if not _is_due(self._analysed.get(study.study_id, (-1, False)), ended, still):
            return
        own, epochs = trials(self._storage, [study]), curves(self._storage, [study])
        with self._lock, safe_path():
            if self._closed:
                return
            try:
                computed = self._processes.submit(_importance, study, own, epochs)
            except BrokenExecutor:
                self._processes = _new_pool()
                computed = self._processes.submit(_importance, study, own, epochs)
        self._analysed[study.study_id] = (ended, None)
        computed.add_done_callback(partial(self._show_importance, study.study_id, ended))

    def _show_importance(self, study_id: int, ended: int, computed: Future[_plots.Figure]) -> None:
        if self._closed:
            return
        if (error := computed.exception()) is None:
            figure = computed.result()
        else:
            broken = isinstance(error, BrokenExecutor)
            why = "the process that computes importances ended" if broken else f"{type(error).__name__}: {error}"
            figure = _plots.message("Importance", f"It cannot be computed: {why}")
        self._show(study_id, plots={IMPORTANCE: figure})
        self._analysed[study_id] = (ended, bool(figure["data"]))

    def _show(self, study_id: int, note: str = "", plots: Mapping[str, _plots.Figure] = _NO_PLOTS) -> None:
        written = {name: json.dumps(figure, allow_nan=False) for name, figure in plots.items()}
        with self._lock:
            before = self._annotations.get(study_id, Annotation())
            self._annotations[study_id] = Annotation(note or before.note, {**before.plots, **written})

    @contextmanager
    def _logging_errors(self) -> Iterator[None]:
        """Say what goes wrong within, once: a page without news is better than none."""
        try:
            yield
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            if reason not in self._reasons and not self._closed:
                self._reasons.add(reason)
                self._log(f"notes and plots are not up to date ({reason}); they are tried again")


def _of(study: Study, frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["study"] == study.name]


def _is_due(before: tuple[int, bool | None], ended: int, still: bool) -> bool:
    """Return whether importances are to be computed of ``ended`` trials, the last ones where all is ``still``."""
    analysed, has_shares = before
    if has_shares is None or ended == analysed:  # they are being computed, or nothing is new
        return False
    return not has_shares or ended >= _GROWTH * analysed or still


def _new_pool() -> ProcessPoolExecutor:
    with safe_path():  # it may start a process that keeps count of semaphores
        return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _prepare)


def _prepare() -> None:
    """Step back behind other processes, and end with the process that started this one, however that ends."""

    def end_with_parent() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    with suppress(AttributeError, OSError):  # not everywhere
        os.nice(_NICENESS)
    threading.Thread(target=end_with_parent, daemon=True).start()


def _importance(study: Study, own: pd.DataFrame, epochs: pd.DataFrame) -> _plots.Figure:
    return _plots.importance(study, examined(study, own, epochs, Options(), threads=1))
