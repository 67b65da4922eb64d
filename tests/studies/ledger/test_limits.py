"""A campaign that ends with its time, studies that end where nothing improves: what is cut, told and gone on with."""

from __future__ import annotations

import math
import os
import time as clock
from collections import Counter
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pandas as pd
import pytest
from optuna.storages import BaseStorage
from rich.console import Console

from analysis.comparison.fairness import fairness
from analysis.comparison.workload_runs import contests
from analysis.load import read, studies
from search_spaces.errors import UserError
from studies.campaign.resolve import ResolvedCampaign
from studies.commands.export import _rules
from studies.commands.launch import _say_what_ended
from studies.commands.status import print_status
from studies.ledger import Clock, Ledger, Limits, OutOfTimeError, open_confirmation, open_search
from studies.ledger.counting import origin_of
from studies.storage import lease
from studies.storage.database import close_storage, open_storage
from studies.storage.durability import Durability, Waiting
from studies.workloads import WORKLOADS
from tests.support.fake_campaign import campaign, end, record

TRIALS = 6
MADE = campaign(trials=TRIALS)
PLANS = ResolvedCampaign(MADE, {name: WORKLOADS[name] for name in MADE.campaign.workloads}).study_plans()
UNTESTED = [replace(plan, tested=False) for plan in PLANS]


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/trials.db"


@pytest.fixture
def time():
    return [0.0]


def launched(url: str, limits: Limits | None) -> Ledger:
    return open_search(url, MADE.stored(), PLANS, {"torch": "x"}, limits=limits)


def within(seconds: float, now: list[float]) -> Limits:
    return Limits(Clock(seconds, now[0], now=lambda: now[0]))


def work_off(ledger: Ledger, now: list[float]) -> None:
    """Each trial takes ten seconds."""
    while (assignment := ledger.ask()) is not None:
        now[0] += 10.0
        end(ledger, assignment, 0.5)


def stored(url: str, shown=studies):
    storage = open_storage(url, create=False)
    try:
        return shown(storage, "fake")
    finally:
        close_storage(storage)


def ended(url: str) -> dict[str, int]:
    """The trials that count, by study."""
    frames = stored(url, lambda storage, name: read(storage, studies(storage, name)))
    counted = frames.trials[frames.trials["outcome"] != "lost"]
    assert not (counted["outcome"] == "running").any()
    return dict(Counter(counted["study"]))


def judged(storage: BaseStorage, name: str) -> pd.DataFrame:
    searched = studies(storage, name)
    frames = read(storage, searched)
    return fairness(contests(searched, frames.trials, frames.confirmations, frames.curves))


def said(limits: Limits, ledger: Ledger) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        _say_what_ended(limits, ledger.tallies(), console)
    return captured.get()


def status(url: str) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        stored(url, lambda storage, name: print_status(storage, name, console))
    return captured.get()


@pytest.mark.slow
def test_when_the_time_is_spent_what_is_cut_is_cut_evenly_and_a_larger_budget_runs_the_rest(url, time):
    limits = within(125.0, time)
    with launched(url, limits) as ledger:
        first = ledger.ask()
        assert first is not None
        ledger.report(first, record(1, 0.5, 1.0))
        work_off(ledger, time)
        assert ledger.finished
        assert ledger.report(first, record(2, 0.5, 1.0))  # its next epoch
        ledger.end(first, "pruned", {})
    assert said(limits, ledger).splitlines() == [
        "4 studies stopped: the time was spent (2 min 05 s)",
        "13 of 24 trials have ended, 2 min 10 s spent; with a --budget well above that, or none, the same command goes "
        "on.",
    ]
    assert sorted(ended(url).values()) == [3, 3, 3, 4]
    for _ in range(2):  # it trains nothing, and spends nothing
        again = within(125.0, time)
        time[0] += 7.0
        with launched(url, again) as ledger:
            assert ledger.finished
        assert again.clock.before == 130.0
        assert ", 2 min 17 s spent; with a --budget well above that, or none," in said(again, ledger)
    assert "fake: stopped" in status(url)
    assert "4 studies stopped: the time was spent (2 min 05 s)" in status(url)
    assert "With a --budget well above the 2 min 10 s spent, or none, it goes on: sofim launch fake\n" in status(url)
    with launched(url, within(1000.0, time)) as ledger:
        asked = ledger.ask()
        assert asked is not None
        assert (asked.study, asked.arguments) == (first.study, first.arguments)  # that was interrupted
        end(ledger, asked, 0.5)
        work_off(ledger, time)
    assert set(ended(url).values()) == {TRIALS}
    assert "fake: finished" in status(url)


@pytest.mark.slow
def test_what_the_time_cut_is_confirmed_without_more_words_and_the_ledger_of_fairness_names_it(url, time):
    with launched(url, within(85.0, time)) as ledger:
        work_off(ledger, time)
    with open_confirmation(url, MADE.stored(), UNTESTED, {"torch": "x"}, seeds=1) as confirming:
        assert (
            "fake/digits-mlp/sofim was stopped after 3 of 6 trials: the time was spent (1 min 25 s)" in confirming.notes
        )
        assert confirming.ask() is not None
    found = stored(url, judged)
    rule = found[(found["rule"] == 1) & (found["workload"] == "digits-mlp")].iloc[0]
    assert rule["kept"] == "no"
    assert "trials that ended, of 6 asked for: sofim 3, sgd 2" in rule["problems"]
    assert "sofim and sgd ended before the last trial: the time was spent (1 min 25 s)" in rule["problems"]
    with launched(url, None) as ledger:  # without a budget, the whole of it
        work_off(ledger, time)
    assert set(ended(url).values()) == {TRIALS}
    assert stored(url)[0].attributes["ended_by"] is None


@pytest.mark.slow
def test_where_the_time_sufficed_for_nothing_the_remedy_is_more_of_it(url, time):
    with launched(url, within(0.0, time)) as ledger:
        assert ledger.finished
    again = r"launch it again without that limit: sofim launch fake --storage "
    words = r"no trial ran its whole budget \(the time was spent \(0 s\)\); " + again
    with pytest.raises(UserError, match=words):
        open_confirmation(url, MADE.stored(), UNTESTED, {"torch": "x"}, seeds=1)


@pytest.mark.slow
def test_a_study_ends_alone_when_nothing_improves_in_so_many_trials(url, time):
    limits = Limits(Clock(), patience=3)
    with launched(url, limits) as ledger:
        while (assignment := ledger.ask()) is not None:
            better = assignment.study == "fake/digits-mlp/sgd"
            end(ledger, assignment, assignment.number / 10 if better else ("pruned", 0.1) if assignment.number else 0.5)
    expected = dict.fromkeys((plan.name for plan in PLANS), 4) | {"fake/digits-mlp/sgd": TRIALS}
    assert ended(url) == expected
    assert set(limits.reasons.values()) == {"no improvement in 3 trials after trial 0"}
    assert limits.limiting == ["--patience"]
    assert _rules(stored(url)[0])["ended_by"] == limits.reasons
    with launched(url, Limits(Clock(), patience=3)) as ledger:
        assert ledger.finished
    with launched(url, Limits(Clock(), patience=4)) as ledger:
        work_off(ledger, time)  # as good as the best, and no better
    assert ended(url) == dict.fromkeys(expected, 5) | {"fake/digits-mlp/sgd": TRIALS}


SEARCH = campaign(workloads=["digits-mlp"], optimizers=["sgd"], trials=40)
[SEARCHED] = ResolvedCampaign(SEARCH, {"digits-mlp": WORKLOADS["digits-mlp"]}).study_plans()


def patiently(url: str, seed: int, *, at_once: int, until: int = 1000) -> tuple[str, dict[int, float]]:
    """Trials that end in any order, until so many have; returns why there are no more, and values in their order."""
    rng, running, limits = Random(seed), [], Limits(Clock(), patience=5)
    with open_search(url, SEARCH.stored(), [SEARCHED], {"torch": "x"}, limits=limits) as ledger:
        for _ in range(until):
            while len(running) < at_once and (asked := ledger.ask()) is not None:
                running.append(asked)
            if not running:
                break
            one = running.pop(rng.randrange(len(running)))
            end(ledger, one, -abs(math.log10(one.arguments["lr"] / 0.05)))
        if until < 1000:
            ledger.flush()
            os._exit(9)
        trials = ledger.stored_trials(SEARCHED.name)
        values = {origin_of(trial): trial.value for trial in trials if trial.value is not None}
    return limits.reasons[SEARCHED.name], values


def killed(url: str, seed: int, until: int) -> None:
    """The same by a process that is there no more."""
    child = os.fork()
    if not child:
        try:
            patiently(url, seed, at_once=2, until=until)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_study_ends_after_the_same_trial_whatever_runs_at_once_and_is_killed(tmp_path, kind):
    why, alone = patiently(f"{kind}:///{tmp_path}/alone", 0, at_once=1)
    assert 5 < len(alone) < 35
    best = max(alone, key=lambda number: alone[number])
    assert (why, list(alone)[-1]) == (f"no improvement in 5 trials after trial {best}", best + 5)
    for seed in range(3):
        url = f"{kind}:///{tmp_path}/{seed}"
        for until in (2, best, 3):
            killed(url, seed, until)
        _, values = patiently(url, seed, at_once=2)
        in_order = [value for _, value in sorted(values.items())]
        assert in_order[: len(alone)] == list(alone.values())
        assert len(in_order) - len(alone) <= 6, "those that ran when it was over, and no more"


@pytest.mark.slow
def test_a_study_that_had_ended_before_the_time_was_spent_ended_of_itself(url, time):
    limits = Limits(within(100.0, time).clock, patience=3)
    with launched(url, limits) as ledger:
        while (assignment := ledger.ask()) is not None:
            time[0] += 6.0
            better = {"digits-mlp": 0.1, "breast-cancer-logreg": -0.1}[assignment.workload]
            end(ledger, assignment, 0.5 if assignment.study.endswith("sgd") else 0.5 + assignment.number * better)
    of_itself, by_the_clock = "no improvement in 3 trials after trial 0", "the time was spent (1 min 40 s)"
    assert sorted(limits.limiting) == ["--budget", "--patience"]
    assert "with a --budget well above that and a larger --patience, or none, the same" in said(limits, ledger)
    assert limits.reasons == {p.name: of_itself if p.name.endswith("sgd") else by_the_clock for p in PLANS}


@pytest.mark.slow
def test_the_time_of_launches_without_a_budget_counts_too(url, time):
    with launched(url, within(math.inf, time)) as ledger:
        asked = ledger.ask()
        assert asked is not None
        time[0] = 60.0
        end(ledger, asked, 0.5)
    again = within(100.0, time)
    with launched(url, again) as ledger:
        assert (again.clock.before, ledger.seconds_left()) == (60.0, 40.0)


@pytest.mark.slow
def test_to_wait_for_another_driver_spends_nothing_of_the_time(url, time, monkeypatch):
    first = launched(url, within(100.0, time))
    first.ask()
    time[0] = 30.0

    def sleep(_: float) -> None:
        time[0] += 40.0
        first.close()

    monkeypatch.setattr(lease, "time", SimpleNamespace(sleep=sleep, time=clock.time, monotonic=clock.monotonic))
    limits, waits = within(100.0, time), Durability(waiting=Waiting(for_the_living=True))
    with open_search(url, MADE.stored(), PLANS, {"torch": "x"}, durability=waits, limits=limits):
        assert limits.clock.spent() == 70.0  # all of it the first one's


@pytest.mark.slow
def test_a_trial_that_does_not_come_to_its_next_epoch_is_not_waited_for_for_ever(url, time):
    with launched(url, within(100.0, time)) as ledger:
        ledger.ask()
        for seconds in (50.0, 102.0):
            time[0] = seconds
            ledger.look()
        time[0] = 104.0
        with pytest.raises(OutOfTimeError):
            ledger.look()
