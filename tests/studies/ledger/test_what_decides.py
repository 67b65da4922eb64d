"""What a search draws, and what it stops: a function of the seed, the place and the values; no name, no restart."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable, Iterator

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from analysis.schema import DRAWERS, DRAWN_BY
from search_spaces import SEARCH_SPACES, ConditionalSpace
from studies.campaign.plan import StudyPlan
from studies.ledger import Ledger, open_search
from studies.storage import lease as _lease
from studies.storage.database import close_storage, open_storage
from studies.trials import Assignment

CAMPAIGN = {"name": "c", "workloads": ["w"], "optimizers": ["sofim"], "trials": 24, "seed": 0}
EPOCHS = 9

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def plan(campaign: str = "c", workload: str = "w", optimizer: str = "sofim", **changes: object) -> StudyPlan:
    fields = {
        "name": f"{campaign}/{workload}/{optimizer}", "workload": workload, "optimizer": optimizer,
        "metric": "accuracy", "direction": "maximize", "metric_split": "validation", "epochs": EPOCHS, "trials": 24,
        "sampler": "tpe", "pruner": "hyperband", "seed": 0, "space": SEARCH_SPACES["sofim"],
    }  # fmt: skip
    return StudyPlan(**(fields | changes))


def quality(assignment: Assignment, epoch: int) -> float:
    """An accuracy that depends on what is trained alone, in whole steps, so that an offset rounds nothing."""
    arguments = assignment.arguments
    lost = abs(math.log10(arguments["lr"] / 0.3)) / 4 + abs(math.log2(arguments["batch_size"] / 64)) / 20
    return round(4096 * (1 - 0.5**epoch) / (1 + lost)) / 4096


def work(
    ledger: Ledger, assignment: Assignment, tell: Callable[[float], float] = float, *, epochs: int = EPOCHS
) -> bool:
    """Train ``assignment``: what has a great rate of learning diverges. Return whether it ended in so many epochs."""
    for epoch in range(1, epochs + 1):
        value = tell(quality(assignment, epoch))
        record = {"epoch": epoch, "seconds": 1.0, "gradient_evaluations": 1, "metric": value}
        if ledger.report(assignment, record):
            ledger.end(assignment, "pruned", {})
            return True
        if epoch == 2 and assignment.arguments["lr"] > 1:
            ledger.end(assignment, "diverged", {})
            return True
    if epochs == EPOCHS:
        ledger.end(assignment, "complete", {})
    return epochs == EPOCHS


def search(url: str, *plans: StudyPlan, tell: Callable[[float], float] = float) -> list[list[FrozenTrial]]:
    """The trials of each study, one after the other."""
    campaign = plans[0].name.partition("/")[0]
    with open_search(url, CAMPAIGN | {"name": campaign}, plans, {}) as ledger:
        while (assignment := ledger.ask()) is not None:
            work(ledger, assignment, tell)
    return [trials_of(url, one.name) for one in plans]


def trials_of(url: str, study: str = "c/w/sofim") -> list[FrozenTrial]:
    storage = open_storage(url)
    try:
        return optuna.load_study(study_name=study, storage=storage).trials
    finally:
        close_storage(storage)


def told(trials: list[FrozenTrial]) -> list[tuple[object, ...]]:
    """All that was decided of trials, attempts that were made again left out; brackets show in their rungs."""
    counted = [trial for trial in trials if trial.user_attrs.get("failure") not in ("driver lost", "interrupted")]
    placed = sorted(counted, key=lambda trial: trial.user_attrs.get("retry_of", trial.number))
    return [
        (
            trial.state, trial.params, trial.value, trial.intermediate_values, trial.system_attrs,
            trial.user_attrs["seed"], trial.user_attrs[DRAWN_BY], trial.user_attrs["diverged"],
        )
        for trial in placed
    ]  # fmt: skip


def drawers(trials: list[FrozenTrial]) -> list[str]:
    return [trial.user_attrs[DRAWN_BY] for trial in trials]


# ------------------------------------------------------------------------------------------------------------- names


@pytest.mark.nightly(by_day=["tpe-hyperband-24", "cmaes-median-24"])
@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "pruner", "trials"),
    [("tpe", "hyperband", 24), ("tpe", "asha", 24), ("random", "hyperband", 24), ("cmaes", "median", 24),
     pytest.param("gp", "none", 14, marks=pytest.mark.slow)],
)  # fmt: skip
def test_no_name_decides_anything(tmp_path, sampler, pruner, trials):
    """One optimizer under three names, on two workloads; then all is called otherwise, and stored otherwise."""
    how = {"sampler": sampler, "pruner": pruner, "trials": trials}
    first = [plan(optimizer=name, **how) for name in ("sofim", "mine:spec", "zebra")]
    other = [plan("another", "mine:xor", "b", **how), plan("another", "w", "sofim", **how)]
    found = [
        *search(f"sqlite:///{tmp_path}/a.db", *first),
        *search(f"journal:///{tmp_path}/b.log", *other),
    ]
    assert {TrialState.COMPLETE, TrialState.PRUNED} <= {trial.state for trial in found[0]}
    assert all(told(trials) == told(found[0]) for trials in found)


@pytest.mark.slow
def test_replicates_differ(tmp_path):
    url = f"sqlite:///{tmp_path}/a.db"
    first, second = search(url, plan(), plan(name="c/w/sofim/replicate-2", seed=1, replicate=2))
    assert first[0].params == second[0].params, "the default"
    assert not {str(trial.params) for trial in first[1:]} & {str(trial.params) for trial in second[1:]}


# ---------------------------------------------------------------------------------------------------------- restarts


@pytest.fixture
def dead_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lease, "alive", lambda _holder: False)  # those of copied databases


@pytest.mark.nightly(by_day=["tpe-hyperband-24"])
@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "pruner", "trials"),
    [("tpe", "hyperband", 24), ("random", "hyperband", 24), ("cmaes", "asha", 24), ("gp", "median", 14)],
)
@pytest.mark.usefixtures("dead_drivers")
def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path, sampler, pruner, trials):
    """Trials that ran are run again in their places: whatever comes after them is what would have come."""
    whole = plan(sampler=sampler, pruner=pruner, trials=trials)
    database = tmp_path / "killed.db"
    [uninterrupted] = search(f"sqlite:///{tmp_path}/whole.db", whole)
    for place, killed in ((3, True), (4, False), (7, True)):
        url = f"sqlite:///{database}"
        with open_search(url, CAMPAIGN, [whole], {}) as ledger:
            while sum(tally.done for tally in ledger.tallies()) < place:
                work(ledger, ledger.ask())
            while work(ledger, ledger.ask(), epochs=1):
                pass
            ledger.flush()
            if killed:
                shutil.copy(database, tmp_path / "copy.db")
        if killed:
            shutil.move(tmp_path / "copy.db", database)
    [resumed] = search(url, whole)
    assert len(resumed) > len(uninterrupted)
    assert told(resumed) == told(uninterrupted)


# ----------------------------------------------------------------------------------------------------- who drew what


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """The places for which the model of a sampler was asked, as the sampler itself sees it."""
    found: set[int] = set()
    from optuna.samplers import CmaEsSampler, TPESampler

    sample, restore = TPESampler._sample, CmaEsSampler._restore_optimizer

    def noted(self: object, study: object, trial: FrozenTrial, space: object) -> object:
        found.add(trial.number)
        return sample(self, study, trial, space)

    def restored(self: object, trials: list[FrozenTrial]) -> object:
        found.add(len(trials))  # all of them are complete here, one after the other
        return restore(self, trials)

    monkeypatch.setattr(TPESampler, "_sample", noted)
    monkeypatch.setattr(CmaEsSampler, "_restore_optimizer", restored)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["none", "hyperband", "asha"])
def test_the_model_learns_of_every_trial_whatever_stopped_it(tmp_path, pruner, asked):
    """Of 24 trials the first is the default, nine are the start-up of TPE, and all others are drawn by its model."""
    [trials] = search(f"sqlite:///{tmp_path}/a.db", plan(pruner=pruner))
    assert drawers(trials) == ["given", *["random"] * 9, *["model"] * 14]
    assert asked == set(range(10, 24))


@pytest.mark.slow
def test_trials_that_teach_nothing_do_not_count_for_the_start_up(tmp_path, asked):
    """Failed trials; what diverged does count, and trials that still run do not."""
    url = f"sqlite:///{tmp_path}/a.db"
    with open_search(url, CAMPAIGN, [plan()], {}) as ledger:
        for number in range(8):
            ledger.end(ledger.ask(), "failed" if number % 2 else "diverged", failure="x" if number % 2 else None)
        for assignment in [ledger.ask() for _ in range(8)]:
            work(ledger, assignment)
        work(ledger, ledger.ask())
    found = drawers(trials_of(url))
    assert found == ["given", *["random"] * 15, "model"]
    assert asked == {16}


@pytest.mark.slow
def test_cma_es_says_when_it_began(tmp_path, asked):
    [trials] = search(f"sqlite:///{tmp_path}/a.db", plan(sampler="cmaes", pruner="none", space=HARMLESS))
    found = drawers(trials)
    assert found[0] == "given"
    assert {place for place, drawer in enumerate(found) if drawer == "model"} == asked
    assert found.count("model") > 20


HARMLESS = SEARCH_SPACES["sofim"].override({"lr": [0.001, 1.0]})


@pytest.mark.slow
def test_independent_draws_are_random_and_a_study_of_several_optimizers_says_it_too(tmp_path, asked):
    space = ConditionalSpace({name: SEARCH_SPACES[name] for name in ("sofim", "sgd")})
    starts = tuple(space.of(name, SEARCH_SPACES[name].default) for name in space.spaces)
    [several] = search(f"sqlite:///{tmp_path}/a.db", plan(optimizer="any", space=space, initial=starts))
    assert drawers(several) == ["given", "given", *["random"] * 8, *["model"] * 14]
    assert asked == set(range(10, 24))
    [qmc] = search(f"sqlite:///{tmp_path}/b.db", plan(sampler="qmc"))
    assert set(drawers(qmc)) == {"random"}
    assert {*drawers(several), *drawers(qmc)} == {*DRAWERS}


@pytest.mark.slow
@pytest.mark.usefixtures("dead_drivers")
def test_another_attempt_is_drawn_by_whom_the_first_was(tmp_path):
    url = f"sqlite:///{tmp_path}/a.db"
    for done in (0, 3, 12):
        with open_search(url, CAMPAIGN, [plan()], {}) as ledger:
            while sum(tally.done for tally in ledger.tallies()) < done:
                work(ledger, ledger.ask())
            ledger.ask()
    trials = trials_of(url)
    again = {trial.number: trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs}
    assert {trials[first].user_attrs[DRAWN_BY] for first in again.values()} == {"given", "random"}
    assert all(drawers(trials)[number] == drawers(trials)[first] for number, first in again.items())


# ------------------------------------------------------------------------------------ directions, offsets, comparing


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["hyperband", "asha", "median", "none"])
def test_neither_the_sign_nor_the_offset_of_a_metric_decides_anything(tmp_path, pruner):
    """An accuracy to be maximized, the error, and the accuracy in other units, of the same training."""

    def decided(trials: list[FrozenTrial]) -> list[tuple[object, ...]]:
        return [(trial.params, trial.state, trial.last_step, trial.user_attrs["diverged"]) for trial in trials]

    tellings: dict[str, tuple[str, Callable[[float], float]]] = {
        "accuracy": ("maximize", float),
        "error": ("minimize", lambda value: 1.0 - value),
        "negative": ("minimize", lambda value: -value),
        "more": ("maximize", lambda value: 8 * value - 64),
    }
    found = []
    for name, (direction, tell) in tellings.items():
        one = plan(name, pruner=pruner, direction=direction)
        found += search(f"sqlite:///{tmp_path}/a.db", one, tell=tell)
    states = {trial.state for trial in found[0]}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    assert any(trial.user_attrs["diverged"] for trial in found[0])
    for trials in found[1:]:
        assert decided(trials) == decided(found[0])


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1, -1])
def test_tpe_compares_trials_of_different_depth_as_optuna_documents(tmp_path, sign, monkeypatch):
    """Complete ones first, the best before others; then those that came further; then by value; diverged ones last."""
    seen: list[tuple[list[int], list[int]]] = []
    split = optuna.samplers._tpe.sampler._split_trials

    def noted(*arguments: object) -> object:
        below, above = split(*arguments)
        seen.append(([trial.number for trial in below], [trial.number for trial in above]))
        return below, above

    monkeypatch.setattr(optuna.samplers._tpe.sampler, "_split_trials", noted)
    one = plan(pruner="asha", direction="maximize" if sign > 0 else "minimize", trials=40)
    [trials] = search(f"sqlite:///{tmp_path}/a.db", one, tell=lambda value: sign * value)

    def order(trial: FrozenTrial) -> tuple[float, ...]:
        if trial.user_attrs["diverged"]:
            return (2, 0, 0, trial.number)
        if trial.state == TrialState.COMPLETE:
            return (0, 0, -sign * trial.value, trial.number)
        return (1, -trial.last_step, -sign * trial.intermediate_values[trial.last_step], trial.number)

    assert {order(trial)[0] for trial in trials[:39]} == {0, 1, 2}
    assert len(seen) == 30
    for place, (below, above) in enumerate(seen, start=10):
        ordered = [trial.number for trial in sorted(trials[:place], key=order)]
        good = math.ceil(0.1 * place)
        assert sorted(below) == sorted(ordered[:good])
        assert sorted(above) == sorted(ordered[good:])


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_trials_that_run_at_once_do_not_crowd_together(tmp_path, sampler):
    """What runs is known to whoever draws the next: it is not drawn again, nor beside it."""
    with open_search(f"sqlite:///{tmp_path}/a.db", CAMPAIGN, [plan(sampler=sampler)], {}) as ledger:
        for _ in range(11):
            work(ledger, ledger.ask())
        study = ledger.studies["c/w/sofim"].source.study
        together = [ledger.ask() for _ in range(4)]
        running = study.get_trials(states=(TrialState.RUNNING,))
    assert len({str(assignment.arguments) for assignment in together}) == 4
    assert len(running) == 4
    assert all(trial.params.keys() == set(SEARCH_SPACES["sofim"].parameters) for trial in running)


@pytest.mark.slow
def test_a_study_of_several_optimizers_does_not_ask_for_names_either(tmp_path):
    """A search of two copies of one space, under other names and for another workload."""

    def searched(url: str, campaign: str, names: tuple[str, str]) -> list[tuple[object, ...]]:
        space = ConditionalSpace({name: dataclasses.replace(SEARCH_SPACES["sofim"], optimizer=name) for name in names})
        starts = tuple(space.of(name, SEARCH_SPACES["sofim"].default) for name in names)
        [trials] = search(url, plan(campaign, campaign, "any", space=space, initial=starts, trials=30))
        return [
            (
                names.index(trial.params["optimizer"]), sorted(map(str, list(trial.params.values())[1:])), trial.state,
                trial.intermediate_values, trial.user_attrs[DRAWN_BY],
            )
            for trial in trials
        ]  # fmt: skip

    url = f"sqlite:///{tmp_path}/a.db"
    assert searched(url, "c", ("a", "b")) == searched(url, "d", ("zebra", "ant"))
