"""The ledgers of a search with a budget, without Ray: what it begins with, when it ends, what a kill leaves."""

from __future__ import annotations

import heapq
import math
import os
import signal
import subprocess
import sys
import textwrap
import time as real_time
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import binom

from analysis.load import study, trials
from search_spaces import OPTIMIZER, SEARCH_SPACES, ConditionalSpace
from search_spaces.errors import UserError
from sofim.recommended import shipped
from studies.campaign.plan import CampaignPlan
from studies.campaign.resolve import ResolvedCampaign
from studies.commands.tuning import Budget
from studies.commands.tuning._initial import initial_configurations, recommended
from studies.commands.tuning._plan import Search
from studies.ledger import (
    Clock,
    ConfirmationBudget,
    Ledger,
    OutOfTimeError,
    SearchBudget,
    confirmed_winner,
    fresh_seeds,
    open_confirmation,
    open_search,
)
from studies.ledger.budget import Pace, no_improvement_expected
from studies.ledger.counting import last_failure
from studies.storage import lease
from studies.storage.database import close_storage, open_storage
from studies.storage.durability import Durability, Waiting
from studies.trials import Assignment
from studies.workloads import WORKLOADS
from tests.support.fake_campaign import campaign, make, record

WORKLOAD = "digits-mlp"
NAME = f"fake/{WORKLOAD}/any"
EPOCHS = 4


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/trials.db"


def search(budget: Budget, seeds: int = 4, optimizers: tuple[str, ...] = tuple(SEARCH_SPACES), **more: Any) -> Search:
    fields = {"name": "fake", "workloads": (WORKLOAD,), "optimizers": optimizers, "epochs": EPOCHS}
    fields["trials"] = budget.trials or 1_000_000
    made = CampaignPlan.of(fields | more, whole=True)
    first, notes = initial_configurations(ConditionalSpace(made.spaces), WORKLOAD)
    assert not notes
    resolved = ResolvedCampaign(made, {WORKLOAD: WORKLOADS[WORKLOAD]})
    return Search(resolved, WORKLOAD, budget, seeds, tuple(first), ())


def searching(url: str, asked: Search, **clock: Any) -> Ledger:
    seconds = math.inf if asked.budget.seconds is None else asked.budget.seconds
    budget = SearchBudget(Clock(**({"budget": seconds} | clock)), asked.seeds)
    return open_search(url, asked.stored(), [asked.plan()], {"torch": "x"}, budget=budget)


@pytest.mark.slow
def test_a_search_that_lost_its_lease_ends_nobody_elses(url):
    """Its clock runs out while it is cut off, and it has nothing to write by which it would learn of it."""
    slept = searching(url, search(Budget(seconds=60.0)))
    storage = open_storage(url)
    study_id = storage.get_study_id_from_name(NAME)
    lease = storage.get_study_user_attrs(study_id)["driver"]
    storage.set_study_user_attr(study_id, "driver", lease | {"token": "another's", "pid": 1})
    slept.rule.reason = "the time was spent"
    slept.close()
    attributes = storage.get_study_user_attrs(study_id)
    close_storage(storage)
    assert "search_ended" not in attributes
    assert attributes["driver"]["token"] == "another's"


def confirming(url: str, asked: Search, clock: Clock | None = None, **options: Any) -> Ledger:
    options = {"seeds": asked.seeds, "budget": ConfirmationBudget(clock or Clock())} | options
    return open_confirmation(url, asked.stored(), [asked.plan()], {"torch": "x"}, **options)


def epoch(number: int, metric: float, seconds: float = 0.01, **test: float) -> dict[str, float]:
    return {**record(number, metric, seconds * number), **test}


def quality(assignment: Assignment) -> float:
    """SGD is best, and best at 0.3."""
    best = {"sgd": 0.9, "adam": 0.8}.get(assignment.optimizer, 0.5)
    return best - 0.1 * abs(math.log10(float(assignment.arguments["lr"]) / 0.3))


def work(ledger: Ledger, assignment: Assignment, value: float | None = None, seconds: float = 0.01) -> bool:
    """Trains; returns whether the whole budget was run."""
    value = quality(assignment) if value is None else value
    for number in range(1, assignment.epochs + 1):
        if ledger.report(assignment, epoch(number, value, seconds)):
            ledger.end(assignment, "pruned", {"device": "CPU x", "busy_seconds": seconds * number})
            return False
    ledger.end(assignment, "complete", {"device": "CPU x", "busy_seconds": seconds * assignment.epochs})
    return True


def work_off(ledger: Ledger, most: int = 10_000) -> list[Assignment]:
    done: list[Assignment] = []
    while len(done) < most and (assignment := ledger.ask()) is not None:
        work(ledger, assignment)
        done.append(assignment)
    return done


def stored(url: str, name: str = NAME) -> tuple[list[FrozenTrial], dict[str, Any]]:
    """As Optuna's own reader has it."""
    storage = open_storage(url, create=False)
    try:
        found = optuna.load_study(study_name=name, storage=storage)
        return found.get_trials(), found.user_attrs
    finally:
        close_storage(storage)


@pytest.mark.slow
def test_a_search_of_another_protocol_is_not_gone_on_with(url):
    with searching(url, search(Budget(trials=3))) as ledger:
        work_off(ledger)
    storage = open_storage(url)
    study_id = storage.get_study_id_from_name(NAME)
    storage.set_study_user_attr(study_id, "protocol", 1)
    before = storage.get_study_user_attrs(study_id)
    for opens in (lambda: searching(url, search(Budget(trials=9))), lambda: confirming(url, search(Budget(trials=3)))):
        with pytest.raises(
            UserError, match=r"was run under protocol 1, this is protocol 2.* another name with --name$"
        ):
            opens()
    assert storage.get_study_user_attrs(study_id) == before
    close_storage(storage)


# ------------------------------------------------------------------------------------------------------ what is asked


@pytest.mark.slow
def test_every_optimizer_starts_with_its_default_and_the_database_holds_a_conditional_space(url):
    asked = search(Budget(trials=40))
    with searching(url, asked) as ledger:
        done = work_off(ledger)
        assert ledger.rule.reason == "all 40 trials were run"
    begun = [start[OPTIMIZER] for start in asked.initial]
    assert [assignment.optimizer for assignment in done[: len(begun)]] == begun
    defaults = {name: space.arguments(space.default) for name, space in SEARCH_SPACES.items()}
    as_default = [one.optimizer for one in done[: len(begun)] if one.arguments == defaults[one.optimizer]]
    assert sorted(as_default) == sorted(SEARCH_SPACES), "each once; one that is recommended, earlier"
    found, attributes = stored(url)
    assert len(found) == 40
    space = ConditionalSpace(SEARCH_SPACES)
    for trial, assignment in zip(found, done, strict=True):
        assert trial.params[OPTIMIZER] == assignment.optimizer
        assert trial.distributions == space.stored_distributions(trial.params)
        assert list(trial.params) == list(trial.distributions)
        assert all(d._contains(d.to_internal_repr(trial.params[name])) for name, d in trial.distributions.items())
        assert space.arguments(trial.params) == assignment.arguments
    assert (attributes["optimizer"], attributes["workload"], attributes["metric"]) == ("any", WORKLOAD, "accuracy")
    assert {"campaign", "protocol", "versions", "epochs", "search_space", "spent_seconds"} <= attributes.keys()
    assert attributes["campaign"]["budget"] == {"trials": 40}
    assert [start[OPTIMIZER] for start in attributes["campaign"]["starts"]] == begun
    assert attributes["search_ended"] == {"reason": "all 40 trials were run", "trials": 40}


@pytest.mark.slow
def test_what_it_begins_with_is_never_pruned_and_what_comes_later_is(url):
    asked = search(Budget(trials=34))
    with searching(url, asked) as ledger:
        for number in range(34):
            assignment = ledger.ask()
            if number == 3:
                continue  # its driver dies with it
            assert work(ledger, assignment, value=1.0 - 0.01 * number) or number >= len(asked.initial)
    with searching(url, search(Budget(trials=34))) as ledger:
        assert work(ledger, ledger.ask(), value=0.0), "nor when it is asked again"
    found, _ = stored(url)
    starting = [trial for trial in found if trial.user_attrs.get("start")]
    assert [trial.number for trial in starting] == [*range(len(asked.initial)), 34]
    assert sum(trial.state == TrialState.PRUNED for trial in found) > 5


@pytest.mark.slow
def test_the_analysis_reads_the_study_with_the_scales_it_was_searched_on(url):
    with searching(url, search(Budget(trials=9))) as ledger:
        work_off(ledger)
    storage = open_storage(url, create=False)
    try:
        one = study(storage, NAME)
        frame = trials(storage, [one])
    finally:
        close_storage(storage)
    assert one.own
    assert one.parameters["sofim.beta"].one_minus
    assert len(frame) == 9
    for params in frame["params"]:
        chosen = params[OPTIMIZER]
        assert set(params) == {OPTIMIZER, *(f"{chosen}.{name}" for name in SEARCH_SPACES[chosen].parameters)}


@pytest.mark.nightly
@pytest.mark.slow
def test_the_sampler_learns_which_optimizer_is_good(tmp_path):
    """More often than chance would have it, which is 2 of 7, in one of a thousand tests."""
    later: list[str] = []
    for seed in range(2):
        asked = search(Budget(trials=60), epochs=1, seed=seed)
        with searching(f"sqlite:///{tmp_path}/{seed}.db", asked) as ledger:
            done = [a for a in iter(ledger.ask, None) if work(ledger, a) or True]
        later += [assignment.optimizer for assignment in done[30:]]
    assert later.count("sgd") + later.count("adam") > binom.ppf(0.999, len(later), 2 / len(SEARCH_SPACES))


@pytest.mark.slow
def test_only_the_optimizers_that_were_asked_for_are_chosen(url):
    with searching(url, search(Budget(trials=15), optimizers=("adam", "lbfgs"))) as ledger:
        assert {assignment.optimizer for assignment in work_off(ledger)} == {"adam", "lbfgs"}


def test_the_recommended_portfolio_comes_first_without_what_the_workload_itself_recommended():
    every = recommended(SEARCH_SPACES, "mine:xor")
    portfolio = [(one["optimizer"], one["workload"]) for one in shipped()["portfolio"]]
    assert [optimizer for optimizer, _ in every] == [*(optimizer for optimizer, _ in portfolio), *SEARCH_SPACES]
    for (optimizer, origin), (_, params) in zip(portfolio, every, strict=False):
        assert params == shipped()["optimizers"][optimizer]["workloads"][origin]["params"]
        elsewhere = [params for _, params in recommended(SEARCH_SPACES, origin)]
        assert params not in elsewhere or params == SEARCH_SPACES[optimizer].default, "what everybody would try"
    assert [optimizer for optimizer, _ in recommended({"sgd": SEARCH_SPACES["sgd"]}, "mine:xor")][-1] == "sgd"
    assert {optimizer for optimizer, _ in recommended({"sgd": SEARCH_SPACES["sgd"]}, "mine:xor")} == {"sgd"}


def test_starts_outside_the_space_are_left_out_with_a_note(monkeypatch):
    space = ConditionalSpace({"sgd": SEARCH_SPACES["sgd"].override({"lr": [0.2, 0.3]})})
    default = SEARCH_SPACES["sgd"].default
    listed = [("sgd", default), ("adam", SEARCH_SPACES["adam"].default), ("sgd", default | {"lr": 0.25})]
    monkeypatch.setattr("studies.commands.tuning._initial.recommended", lambda *_: listed)
    found, notes = initial_configurations(space, WORKLOAD)
    assert [start["sgd.lr"] for start in found] == [0.25]
    assert len(notes) == 2
    assert "lr: 0.05 lies outside the range from 0.2 to 0.3" in notes[0]
    assert "adam is left out: it is not among the optimizers" in notes[1]


# ----------------------------------------------------------------------------------------------------- going on again


@pytest.mark.slow
def test_after_a_kill_the_same_number_of_trials_is_run_and_starts_once(url, tmp_path):
    script = textwrap.dedent(f"""
        import os, signal
        from studies.commands.tuning import Budget
        from tests.studies.ledger.test_tune_ledger import search, searching, work, work_off
        ledger = searching({url!r}, search(Budget(trials=40)))
        for number in range(11):
            assignment = ledger.ask()
            if number not in (2, 9):  # these two run still
                work(ledger, assignment)
        ledger.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    with searching(url, search(Budget(trials=40))) as ledger:
        again = work_off(ledger)
        assert ledger.tallies()[0].done == 40
    third = search(Budget(trials=40)).initial[2][OPTIMIZER]
    assert [assignment.optimizer for assignment in again[:1]] == [third], "the lost ones first"
    found, _ = stored(url)
    lost = [trial for trial in found if trial.user_attrs.get("failure") == "driver lost"]
    assert [trial.number for trial in lost] == [2, 9]
    retried = [trial for trial in found if "retry_of" in trial.user_attrs]
    assert [trial.user_attrs["retry_of"] for trial in retried] == [2, 9]
    for trial, first in zip(retried, lost, strict=True):
        assert (trial.params, trial.distributions) == (first.params, first.distributions)
    assert len(found) == 40 + 2
    kept = [trial.params for trial in found if trial.state != TrialState.FAIL]
    assert all(kept.count(start) == 1 for start in search(Budget(trials=40)).initial)


@pytest.mark.slow
def test_time_spent_by_earlier_drivers_counts_and_that_between_them_does_not(url):
    asked = search(Budget(seconds=1000.0))
    with searching(url, asked, began=0.0, now=lambda: 300.0) as ledger:
        work_off(ledger, most=3)
        left = ledger.seconds_left()
    assert stored(url)[1]["spent_seconds"] == 300
    with searching(url, asked, began=5000.0, now=lambda: 5100.0) as ledger:
        assert ledger.seconds_left() == pytest.approx(left - 100, abs=20)  # a driver's own workers take time to start
    assert stored(url)[1]["spent_seconds"] == 400


@pytest.mark.slow
def test_a_search_that_is_over_stays_so_until_it_gets_another_budget(url):
    with searching(url, search(Budget(trials=8))) as ledger:
        work_off(ledger)
    with searching(url, search(Budget(trials=8))) as ledger:
        assert ledger.finished
        assert ledger.rule.reason == "all 8 trials were run"
    with searching(url, search(Budget(trials=12))) as ledger:
        assert not ledger.finished
        assert len(work_off(ledger)) == 4
    found, attributes = stored(url)
    assert len(found) == 12
    assert attributes["campaign"]["budget"] == {"trials": 12}
    assert attributes["search_ended"]["trials"] == 12


def test_fewer_trials_than_are_there_end_a_search_and_none_is_forgotten(url):
    from studies.commands.status import tallies

    with searching(url, search(Budget(trials=5))) as ledger:
        assert len(work_off(ledger)) == 5
    for asked, reason in ((3, "5 trials are there, more than the 3"), (5, "all 5 trials were run")):
        with searching(url, search(Budget(trials=asked))) as ledger:
            assert ledger.finished
            assert ledger.rule.reason == reason
        assert stored(url)[1]["campaign"]["trials"] == 5
        assert stored(url)[1]["search_ended"] == {"reason": reason, "trials": 5}
        storage = open_storage(url, create=False)
        [tally] = tallies(storage, "fake")[1]
        close_storage(storage)
        assert (tally.done, tally.asked_for) == (5, 5)
    with searching(url, search(Budget(trials=7))) as ledger:
        assert len(work_off(ledger)) == 2
    assert stored(url)[1]["campaign"]["trials"] == 7


def test_another_search_of_the_same_name_is_refused(url):
    with searching(url, search(Budget(trials=8))) as ledger:
        work_off(ledger, most=1)
    with pytest.raises(UserError, match=r"another configuration \(seed was 0, is 1\); .* --name"):
        searching(url, search(Budget(trials=8), seed=1))


@pytest.mark.slow
def test_starts_stay_what_they_were_when_the_search_began(url, monkeypatch):
    asked = search(Budget(trials=9))
    with searching(url, asked) as ledger:
        work_off(ledger, most=2)
    monkeypatch.setattr(
        "studies.commands.tuning._initial.recommended", lambda spaces, _: [("sgd", spaces["sgd"].default)] * 7
    )
    with searching(url, search(Budget(trials=9))) as ledger:
        assert [assignment.optimizer for assignment in work_off(ledger)][:5] == [
            start[OPTIMIZER] for start in asked.initial
        ][2:7]
    assert stored(url)[1]["campaign"]["starts"] == asked.stored()["starts"]


# ------------------------------------------------------------------------------------------------------- when it ends


@pytest.mark.parametrize(
    ("done", "since_best", "over"),
    [(59, 59, False), (60, 60, True), (90, 59, False), (90, 60, True), (200, 99, False), (200, 100, True)],
)
def test_no_improvement_is_expected_after_sixty_trials_and_half_of_all(done, since_best, over):
    assert no_improvement_expected(done, since_best) is over


@pytest.mark.slow
def test_a_search_without_improvement_ends(url):
    few = ("sgd", "adam")  # each trial is drawn from the spaces of all
    with searching(url, search(Budget(trials=500), epochs=1, optimizers=few)) as ledger:
        for number in range(500):
            assignment = ledger.ask()
            if assignment is None:
                break
            work(ledger, assignment, value=float(min(number, 40)))
        assert ledger.rule.reason == "no improvement in the last 60 of 101 trials"
    # a driver with another budget goes on, and looks at the trials from here on alone
    with searching(url, search(Budget(trials=600), epochs=1, optimizers=few)) as ledger:
        assert ledger.rule.reason is None
        for _ in range(110):
            assignment = ledger.ask()
            if assignment is None:
                break
            work(ledger, assignment, value=0.0)
        assert ledger.rule.reason == "no improvement in the last 101 of 202 trials"


@pytest.mark.slow
def test_what_a_driver_did_that_was_waited_for_is_taken_up(url, monkeypatch):
    time, asked = [0.0], search(Budget(trials=3))
    first = searching(url, asked, now=lambda: time[0], began=0.0)
    time[0] = 30.0

    def sleep(_: float) -> None:
        time[0] += 40.0
        work_off(first)
        first.close()

    monkeypatch.setattr(lease, "time", SimpleNamespace(sleep=sleep, time=real_time.time, monotonic=real_time.monotonic))
    budget = SearchBudget(Clock(began=30.0, now=lambda: time[0]), asked.seeds)
    waits = Durability(waiting=Waiting(for_the_living=True))
    opened = open_search(url, asked.stored(), [asked.plan()], {"torch": "x"}, durability=waits, budget=budget)
    with opened as ledger:
        assert ledger.finished
        assert budget.reason == "all 3 trials were run"
        assert budget.clock.spent() == 70.0, "all of it the first one's"


@pytest.mark.slow
def test_a_campaign_that_was_changed_meanwhile_is_not_confirmed_as_it_was(url, monkeypatch):
    make(url, {"digits-mlp/sgd": [0.5]}, workloads=["digits-mlp"], optimizers=["sgd"], trials=1)
    made = campaign(workloads=["digits-mlp"], optimizers=["sgd"], trials=1)
    plans = ResolvedCampaign(made, {WORKLOAD: WORKLOADS[WORKLOAD]}).study_plans()
    first = open_search(url, made.stored(), plans, {"torch": "x"})
    more = campaign(workloads=["digits-mlp"], optimizers=["sgd"], trials=2).fitted_to(made.fitted).stored()

    def sleep(_: float) -> None:
        first.close()
        with open_search(url, more, plans, {"torch": "x"}, extend=True):
            pass

    monkeypatch.setattr(lease, "time", SimpleNamespace(sleep=sleep, time=real_time.time, monotonic=real_time.monotonic))
    waits = Durability(waiting=Waiting(for_the_living=True))
    with pytest.raises(UserError, match="was changed by the driver that was waited for; give the same command again"):
        open_confirmation(url, made.stored(), plans, {"torch": "x"}, seeds=1, durability=waits)


@pytest.mark.slow
def test_the_search_ends_in_time_for_the_confirmation_and_running_trials_are_asked_again(url):
    asked = search(Budget(seconds=1000.0), seeds=10, pruner="none")
    with searching(url, asked) as ledger:
        work(ledger, ledger.ask(), value=0.9, seconds=2.5)  # 10 s a run: about 100 and more for ten
        running = [ledger.ask(), ledger.ask()]
        assert not ledger.report(running[0], epoch(1, 0.5, 2.5))
        kept_back = ledger.rule.kept_back_seconds()
        assert 100 < kept_back < 200
        ledger.rule.clock.began -= 1000 - kept_back - 1  # its next epoch would end too late
        assert ledger.report(running[0], epoch(2, 0.5, 2.5))
        ledger.end(running[0], "pruned", {"device": "x"})
        ledger.rule.clock.began -= 2
        assert ledger.ask() is None
        assert ledger.finished
        assert ledger.rule.reason == "the time was spent"
        ledger.look()
        ledger.rule.clock.began -= 30
        with pytest.raises(OutOfTimeError):  # the other one never came to its next epoch
            ledger.look()
    found, _ = stored(url)
    assert [trial.user_attrs.get("failure") for trial in found] == [None, "interrupted", "interrupted"]
    assert [trial.state for trial in found[1:]] == [TrialState.FAIL] * 2
    more = search(Budget(seconds=9000.0), seeds=10, pruner="none")
    with searching(url, more) as ledger:
        assert [ledger.ask().arguments, ledger.ask().arguments] == [a.arguments for a in running]


HARDER = {"lbfgs": 3.0, "adahessian": 4.0}  # so many times the seconds of an epoch


def play_out(
    ledger: Any, now: list[float], epoch_seconds: float, start_seconds: float, slots: int, **test: float
) -> None:
    """What the engine does, in a time of its own: workers that take time to start, trials in parallel, looks at it."""
    events: list[tuple[float, int, Assignment, int]] = []
    numbers = count()

    def lasts(assignment: Assignment) -> float:
        return epoch_seconds * HARDER.get(assignment.optimizer, 1.0)

    def begin(wait: float) -> None:
        if (assignment := ledger.ask()) is not None:
            heapq.heappush(events, (now[0] + wait + lasts(assignment), next(numbers), assignment, 1))

    for _ in range(slots):
        begin(start_seconds)
    while events:
        at, _, assignment, number = heapq.heappop(events)
        while now[0] < at:
            now[0] = min(at, now[0] + 0.5)
            try:
                ledger.look()
            except OutOfTimeError:
                return
        trained = lasts(assignment) * number
        facts = {"device": "CPU x", "busy_seconds": trained, "exclusive": True}
        if ledger.report(assignment, {**record(number, quality(assignment), trained), **test}):
            ledger.end(assignment, "pruned", facts)
        elif number == assignment.epochs:
            ledger.end(assignment, "complete", facts)
        else:
            heapq.heappush(events, (at + lasts(assignment), next(numbers), assignment, number + 1))
            continue
        begin(0.2)


@pytest.mark.nightly(by_day=["0.5-20.0", "4.0-11.0"])
@pytest.mark.slow
@pytest.mark.parametrize(
    ("epoch_seconds", "start_seconds"),
    [
        (0.1, 11.0),
        (0.5, 3.0),
        (0.5, 20.0),
        (0.5, 90.0),
        (1.0, 11.0),
        (2.0, 3.0),
        (4.0, 11.0),
    ],
)
def test_a_minute_is_not_overdrawn_however_fast_the_machine_is(url, epoch_seconds, start_seconds):
    """And whatever won is confirmed in it, on as many seeds as an interval needs.

    A fifth of it may go into the start; what a busy machine takes beyond that is not counted.
    """
    late = max(0.0, start_seconds - 12)
    now = [3.0]
    clock = Clock(budget=60.0, began=0.0, now=lambda: now[0])
    asked = search(Budget(seconds=60.0), seeds=10)
    with open_search(url, asked.stored(), [asked.plan()], {}, budget=SearchBudget(clock, 10)) as ledger:
        play_out(ledger, now, epoch_seconds, start_seconds, slots=2)
        assert ledger.rule.reason is not None
        [tally] = ledger.tallies()
        top = 2 if ledger.rule.has_room_for_two else 1
    assert tally.best is not None or epoch_seconds >= 1.0
    again = 0.65 * min(start_seconds, 12)
    if tally.best is not None:
        with confirming(url, asked, budget=ConfirmationBudget(clock, 10), top=top, of_each=True) as ledger:
            assert (len(ledger.winners) == 2) == (epoch_seconds < 1.0), "the runner-up too, where there is time"
            play_out(ledger, now, epoch_seconds, again, slots=1, test_loss=1.0, test_metric=0.5)
            assert 3 <= len(confirmed_winner(ledger).validation) <= 10
    assert now[0] <= 60 * 1.05 + late


def test_machines_that_never_start_end_a_search_all_the_same(url):
    with searching(url, search(Budget(seconds=60.0))) as ledger:
        assert ledger.ask() is not None
        ledger.rule.clock.began -= 100.0
        ledger.look()
        assert not ledger.finished, "it waits for a while"
        ledger.rule.clock.began -= 400.0
        with pytest.raises(OutOfTimeError):
            ledger.look()
        assert ledger.rule.reason == "the time was spent"


def test_the_last_epoch_of_a_trial_is_never_cut_off(url):
    with searching(url, search(Budget(seconds=100.0))) as ledger:
        assignment = ledger.ask()
        for number in range(1, EPOCHS):
            ledger.report(assignment, epoch(number, 0.5))
        ledger.rule.clock.began -= 200
        assert not ledger.report(assignment, epoch(EPOCHS, 0.7))
        ledger.end(assignment, "complete", {})
        assert ledger.ask() is None
        assert ledger.tallies()[0].best == 0.7


def test_a_trial_that_could_never_be_confirmed_is_pruned(url):
    with searching(url, search(Budget(seconds=300.0))) as ledger:
        assert work(ledger, ledger.ask(), value=0.5, seconds=0.1)
        slow = ledger.ask()
        assert ledger.report(slow, epoch(1, 0.9, seconds=30.0)), "120 s a run, and three for an interval"
        ledger.end(slow, "pruned", {"device": "x"})
        assert ledger.rule.reason is None
        assert ledger.ask() is not None
    trial = stored(url)[0][1]
    assert trial.state == TrialState.PRUNED
    assert trial.user_attrs["too_slow"] is True


@pytest.mark.slow
def test_where_every_trial_is_too_slow_the_search_ends_at_once(url):
    asked = search(Budget(seconds=100.0), pruner="none")
    with searching(url, asked) as ledger:
        done = 0
        while (assignment := ledger.ask()) is not None:
            assert not work(ledger, assignment, seconds=5.0)  # 20 s a run: three fit, but no trial before them
            done += 1
        assert done == len(asked.initial), "another optimizer might have been quicker"
        assert ledger.rule.reason == "every trial was too slow for the budget"
        assert ledger.tallies()[0].best is None
        assert ledger.rule.quickest_seconds == pytest.approx(4 * 5, rel=0.5)


def test_as_long_as_a_trial_runs_that_is_not_too_slow_there_is_hope(url):
    with searching(url, search(Budget(seconds=100.0), pruner="none")) as ledger:
        hope = ledger.ask()
        assert not ledger.report(hope, epoch(1, 0.5, 0.1))
        for _ in SEARCH_SPACES:
            assert not work(ledger, ledger.ask(), seconds=5.0)
        assert ledger.rule.reason is None
        assert ledger.ask() is not None
        for number in range(2, EPOCHS + 1):
            assert not ledger.report(hope, epoch(number, 0.5, 0.1))
        ledger.end(hope, "complete", {"device": "x"})
        assert ledger.rule.reason is None
        assert ledger.tallies()[0].best == 0.5


def test_confirmation_is_kept_half_of_the_budget_at_most_but_for_three_seeds():
    pace = Pace()
    assert pace.seeds_that_fit(1000.0, 10, 1.0) == 10
    assert pace.seeds_that_fit(100.0, 10, 10.0) < 10
    assert pace.seeds_that_fit(1.0, 10, 10.0) == 3
    assert pace.seeds_that_fit(1.0, 2, 10.0) == 2


def test_ten_failures_in_a_row_end_it_and_the_last_is_known(url):
    with searching(url, search(Budget(trials=50))) as ledger:
        while (assignment := ledger.ask()) is not None:
            ledger.end(assignment, "failed", failure="Traceback:\n...\nValueError: no")
        assert ledger.rule.reason == "10 failures in a row, the last: ValueError: no"
        assert last_failure(ledger.stored_trials(NAME)) == "Traceback:\n...\nValueError: no"


# ------------------------------------------------------------------------------------------------------- confirmation


def finish(ledger: Ledger, assignment: Assignment, value: float, **test: float) -> None:
    for number in range(1, assignment.epochs + 1):
        assert not ledger.report(assignment, epoch(number, value - 0.01 * number, **test))
    ledger.end(assignment, "complete", {"device": "CPU x", "exclusive": True})


@pytest.fixture
def searched(url) -> Search:
    asked = search(Budget(seconds=1000.0))
    with searching(url, asked) as ledger:
        work_off(ledger, most=9)
        ledger.rule.reason = "the time was spent"
    return asked


def test_the_winner_is_run_on_fresh_seeds_and_told_in_plain_data(url, searched):
    with confirming(url, searched) as ledger:
        for index in range(4):
            assignment = ledger.ask()
            assert (assignment.confirmation, assignment.test, assignment.optimizer) == (True, True, "sgd")
            finish(ledger, assignment, 0.5 + 0.1 * index, test_loss=1.0, test_metric=0.25 * index)
        assert ledger.ask() is None
        found = confirmed_winner(ledger)
    best = max((t for t in stored(url)[0] if t.state == TrialState.COMPLETE), key=lambda trial: trial.value)
    assert (found.optimizer, found.number, found.tuned) == ("sgd", best.number, best.value)
    assert found.params == best.params
    assert set(found.arguments) == {"lr", "momentum", "nesterov", "weight_decay", "batch_size"}
    assert found.validation == pytest.approx((0.49, 0.59, 0.69, 0.79))
    assert found.test == (0.0, 0.25, 0.5, 0.75)
    runs, attributes = stored(url, f"{NAME}/confirm")
    assert [run.user_attrs["seed"] for run in runs] == fresh_seeds(0, 4)
    assert attributes["optimizer"] == "any"
    assert runs[0].params == best.params


def test_without_test_data_none_are_asked_for(url, searched):
    untested = replace(searched, resolved=replace(searched.resolved, untested=frozenset({WORKLOAD})))
    with confirming(url, untested) as ledger:
        while (assignment := ledger.ask()) is not None:
            assert not assignment.test
            finish(ledger, assignment, 0.5)
        found = confirmed_winner(ledger)
    assert len(found.validation) == 4
    assert found.test == ()


@pytest.mark.parametrize(("runs_in_time", "runs"), [(0, 3), (2, 3), (3, 3), (4, 4), (9, 6)])
def test_as_many_seeds_are_run_as_the_time_allows_but_three(url, searched, runs_in_time, runs):
    clock = Clock(budget=1000.0)
    with confirming(url, searched, clock, seeds=6) as ledger:
        for index in range(10):
            if index == runs_in_time:
                clock.began -= 1000.0
            assignment = ledger.ask()
            if assignment is None:
                break
            finish(ledger, assignment, 0.5, test_loss=1.0, test_metric=0.5)
        assert ledger.finished
        assert len(confirmed_winner(ledger).validation) == runs


def test_a_run_that_overdraws_the_budget_is_given_up_if_there_are_enough(url, searched):
    clock = Clock(budget=1000.0)
    with confirming(url, searched, clock, seeds=6) as ledger:
        for _ in range(3):
            finish(ledger, ledger.ask(), 0.5, test_loss=1.0, test_metric=0.5)
        assert ledger.ask() is not None
        clock.began -= 1030.0
        ledger.look()
        clock.began -= 30.0
        with pytest.raises(OutOfTimeError):
            ledger.look()
    with confirming(url, searched, Clock(budget=1000.0, before=1060.0), seeds=6) as ledger:
        assert ledger.finished, "and is not taken up again"
        assert len(confirmed_winner(ledger).validation) == 3


@pytest.mark.slow
def test_runs_that_broke_are_counted(url, searched):
    with confirming(url, searched) as ledger:
        ledger.end(ledger.ask(), "diverged", {})
        ledger.end(ledger.ask(), "failed", failure="no")
        while (assignment := ledger.ask()) is not None:
            finish(ledger, assignment, 0.5, test_loss=1.0, test_metric=0.5)
        found = confirmed_winner(ledger)
    assert (len(found.validation), found.broken) == (2, 2)
