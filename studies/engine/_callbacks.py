"""The two interfaces of Ray Tune that the ledger is put behind: a searcher that asks, a scheduler that tells."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

import ray
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from analysis.text import in_short
from studies.engine._cluster import living_nodes, slots_of
from studies.engine._losses import Losses
from studies.engine._signals import SignalGuard
from studies.training.worker import Message
from studies.trials import Assignment, Resources

if TYPE_CHECKING:  # not in workers, which import this module: the ledger would cost each 50 MiB and a second
    from studies.ledger import Ledger

_STALL_SECONDS = 5.0  # between two steps: this driver stood still, and results wait to be heard
COLD_SECONDS = 60.0  # that a worker may take to start, and others wait for it


def result_of(message: Message) -> dict[str, Any]:
    """Return a message as a result of Tune's, which makes one flat dictionary of all that lie in each other."""
    return {"message": (message,)}


def _message_in(result: dict[str, Any]) -> Message:
    (message,) = result["message"]
    return cast("Message", message)


class _NotSaved:
    """Ray pickles searcher and scheduler for its own restarts; ours have nothing to save: the database has it all."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class LedgerSearcher(_NotSaved, Searcher):
    """Asks the ledger for the next trial, and begins a trial again whose worker is gone.

    Ray's own restarts leave out a trial whose worker dies, or cannot be used again, before it has begun there.
    """

    def __init__(self, ledger: Ledger, resources: Resources, guard: SignalGuard) -> None:
        super().__init__()
        self._ledger = ledger
        self._resources = resources
        self._guard = guard
        self._slots = (0, -math.inf)  # and when they were counted
        self._controller: Any = None  # Ray's, once it runs
        self._again: deque[Assignment] = deque()
        self._losses = Losses()
        self.assignments: dict[str, Assignment] = {}  # by Ray's trial id, while the ledger has them as running

    def slots(self) -> int:
        """Return how many trials fit in the cluster at once, counted anew every few seconds: nodes come and go."""
        slots, counted = self._slots
        if time.monotonic() - counted > 5:
            slots = max(1, sum(slots_of(node, self._resources) for node in living_nodes()))
            self._slots = (slots, time.monotonic())
        return slots

    @property
    def full(self) -> bool:
        """Return whether every slot has a trial, or there are no more trials."""
        return len(self.assignments) >= self.slots() or (not self._again and self._ledger.finished)

    def look_after(self, tune_controller: Any) -> list[Trial]:
        """Begin again what Ray gave up without a word; return the trials that wait for a worker, oldest first."""
        self._controller = tune_controller
        for line in self._losses.settle():
            self._guard.say(line)
        live = {trial.trial_id: trial for trial in tune_controller.get_live_trials() if not trial.is_finished()}
        for trial_id in [trial_id for trial_id in self.assignments if trial_id not in live]:
            self._begin_again(trial_id)
        return [live[trial_id] for trial_id in self.assignments if live[trial_id].status == Trial.PENDING]

    def _begin_again(self, trial_id: str) -> str:
        """Have the next worker take a trial whose own is gone, under another of Ray's ids, but not for ever.

        Return in words what became of it.
        """
        assignment = self.assignments.pop(trial_id)
        said = self._losses.add(assignment, self._controller and self._controller.get_trial(trial_id))
        failure = self._losses.failure_of(assignment)
        if failure is None:
            self._again.append(assignment)
        else:
            self._ledger.end(assignment, "failed", failure=failure)
        return said

    def stop_waiting(self, trial_ids: Iterable[str]) -> None:
        """Give up trials that have not begun on a worker, or not again; the next driver asks for them."""
        for trial_id in trial_ids:
            self._ledger.end(self.assignments.pop(trial_id), "interrupted")
        while self._again:
            self._ledger.end(self._again.popleft(), "interrupted")

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        self._guard.check(idle=not self.assignments)
        if self._guard.stopping:
            return None
        with self._guard.deferring_signals():
            if self._controller is not None:  # Ray may ask here for minutes, and do nothing else
                self.look_after(self._controller)
            if len(self.assignments) >= self.slots():
                return None  # asking ahead would decide on less knowledge
            assignment = self._again.popleft() if self._again else self._ledger.ask()
            if assignment is not None:
                self.assignments[trial_id] = assignment
                return {"assignment": asdict(assignment)}
            if self.assignments:
                return None  # one of them may have to begin again
            return Searcher.FINISHED  # type: ignore[return-value]  # Ray's own annotation forgets it

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if trial_id not in self.assignments:
            return  # the scheduler has told of its end
        with self._guard.deferring_signals():
            if error:
                self._guard.say(self._begin_again(trial_id))
            else:
                self._ledger.end(self.assignments.pop(trial_id), "failed", failure="the worker was stopped")

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the database is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the database is the state."""


class LedgerScheduler(_NotSaved, FIFOScheduler):
    """Tells the ledger what workers send, stops the trials that it says, and ends those that take too long.

    Args:
        ledger: Of the campaign.
        searcher: That asks it.
        guard: Around Ray's loop.
        begun: Is called when workers have started.
        timeout: Seconds that a trial may take on its worker, ``None`` for ever.
    """

    def __init__(
        self,
        ledger: Ledger,
        searcher: LedgerSearcher,
        guard: SignalGuard,
        begun: Callable[[], None] = lambda: None,
        timeout: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._begun = begun
        self._ledger = ledger
        self._searcher = searcher
        self._guard = guard
        self._assignments = searcher.assignments
        self._held: dict[str, Trial] | None = {}  # trials that wait for other workers; None once all have started
        self._began = time.monotonic()
        self._waits: dict[str, float] = {}  # since when, by Ray's trial id
        self._timeout = timeout
        self._started: WeakSet[Any] = WeakSet()  # workers that have; to hold one would keep it alive
        self._trains: dict[str, float] = {}  # since when, by Ray's trial id
        self._looked = self._began  # when that was looked at

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return the trial that a free worker gets; called once every step.

        Ray's own way goes through all that ever were, and takes the oldest, whose own worker is starting, and gives
        that worker up: where trials are shorter than a start, a node that joins or a worker that replaces a dead one
        would never come to run. So it is the newest, which has none, unless the oldest has waited long: its worker may
        have no place.
        """
        self._guard.check(idle=not self._assignments)
        with self._guard.deferring_signals():
            self._ledger.look()
            if self._timeout is not None:
                self._end_late(tune_controller, self._timeout)
            waiting = self._searcher.look_after(tune_controller)
            if self._guard.stopping:
                self._searcher.stop_waiting([*(trial.trial_id for trial in waiting), *(self._held or {})])
                self._held = None
                return None
            if self._held and self._have_started(self._held):
                self._release(tune_controller)
        now = time.monotonic()
        self._waits = {trial.trial_id: self._waits.get(trial.trial_id, now) for trial in waiting}
        if not waiting:
            return None
        return waiting[0] if now - self._waits[waiting[0].trial_id] > COLD_SECONDS else waiting[-1]

    def _end_late(self, tune_controller: Any, timeout: float) -> None:
        """Fail the trials that take longer than ``timeout`` on their workers, and kill these.

        The code of a trial may sleep in C, hold the interpreter or ignore signals: nothing less than the end of its
        process ends it. Ray then tells of a worker that died, whose trial is none of the ledger's any more.
        """
        now = time.monotonic()
        stood_still = now - self._looked if now - self._looked > _STALL_SECONDS else 0.0
        self._looked = now
        training = {
            trial.trial_id: trial
            for trial in tune_controller.get_live_trials()
            if trial.trial_id in self._assignments
            and trial.trial_id not in (self._held or {})
            and trial.status == Trial.RUNNING
            and trial.temporary_state.ray_actor in self._started
        }
        self._trains = {key: self._trains.get(key, now - stood_still) + stood_still for key in training}
        for trial_id, since in self._trains.items():
            if now - since > timeout:
                why, assignment = f"timed out after {in_short(timeout)}", self._assignments.pop(trial_id)
                self._ledger.end(assignment, "failed", failure=why)
                self._guard.say(f"Trial {assignment.number} of {assignment.study} {why}; its worker is ended.")
                ray.kill(training[trial_id].temporary_state.ray_actor, no_restart=True)

    def _hold(self, trial: Trial) -> str:
        """Have a worker that has started wait until the others have too.

        Otherwise, when trials are shorter than a worker's start, the first worker ends its trial and is given the
        trial whose own worker is still starting; Ray then gives that worker up, starts one for the next trial, and so
        on: a machine of many cores would run one trial at a time.
        """
        if self._guard.stopping:
            self._searcher.stop_waiting([trial.trial_id])
            return str(TrialScheduler.STOP)
        if self._held is None:
            return str(TrialScheduler.CONTINUE)
        self._held[trial.trial_id] = trial
        return str(TrialScheduler.NOOP)

    def _have_started(self, held: dict[str, Trial]) -> bool:
        all_have = self._searcher.full and len(held) >= len(self._assignments)
        return all_have or time.monotonic() - self._began > COLD_SECONDS

    def _release(self, tune_controller: Any) -> None:
        held, self._held = self._held or {}, None
        self._begun()
        for trial in held.values():
            if trial.status == Trial.RUNNING:
                tune_controller._schedule_trial_train(trial)  # no public way leads on from NOOP

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Forget that a trial waits: its worker died. It begins again on another, which will say that it started."""
        if self._held is not None:
            self._held.pop(trial.trial_id, None)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        with self._guard.deferring_signals():
            return self._hear(trial, result)

    def _hear(self, trial: Trial, result: dict[str, Any]) -> str:
        assignment = self._assignments.get(trial.trial_id)
        if assignment is None:  # it has ended; this is Ray's repetition of the last result
            return str(TrialScheduler.CONTINUE)
        message = _message_in(result)
        if message["end"] is None and not message["records"]:
            if trial.temporary_state.ray_actor is not None:
                self._started.add(trial.temporary_state.ray_actor)
            return self._hold(trial)
        facts = message["facts"]
        for record in message["records"]:
            if self._ledger.report(assignment, record):
                del self._assignments[trial.trial_id]
                self._ledger.end(assignment, "pruned", facts)
                return str(TrialScheduler.STOP)
        if message["end"] is None and not (self._guard.stopping and message["saved"]):
            return str(TrialScheduler.CONTINUE)
        del self._assignments[trial.trial_id]
        outcome = message["end"] or "interrupted"  # it was to stop, and has ended its epoch
        failure = (message["failure"] or "unknown") if outcome == "failed" else None
        self._ledger.end(assignment, outcome, facts, failure=failure)
        return str(TrialScheduler.STOP)
