"""Generated campaign files and search spaces: accepted and run, or refused in one line; never anything else."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import optuna
import pytest
import tomli_w
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from search_spaces import SEARCH_SPACES, Parameter, SearchSpace, configured
from search_spaces.errors import UserError
from search_spaces.pruners import PRUNERS
from search_spaces.samplers import SAMPLERS
from sofim import OPTIMIZERS
from studies.campaign.plan import CampaignPlan
from studies.campaign.reading import load_file
from studies.campaign.resolve import ResolvedCampaign, resolve_campaign
from studies.cli import main
from studies.ledger import open_search
from studies.storage.database import close_storage, open_storage
from studies.training.run import train
from studies.training.schedules import SCHEDULES
from studies.workloads import WORKLOADS
from tests.mistakes.mistake import CAMPAIGN
from tests.support.fake_campaign import record

# Most of what is generated is wrong on purpose, and left out where only what is right can run.
QUICK = settings(
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ]
)
SMALL = ("digits-mlp", "breast-cancer-logreg")

# -------------------------------------------------------------------------------------------------- what is generated

texts = st.text(max_size=12)
numbers = st.one_of(
    st.integers(-3, 300),
    st.sampled_from([0.0, -0.0, 1.0, 5e-324, 1e-300, 1e300, 0.9, 0.9999999999999999, 1e-8, 1.0000000000000002]),
    st.floats(),
    st.integers(-(2**62), 2**62),
)
scalars = st.one_of(numbers, st.booleans(), texts, st.sampled_from(["none", "strong_wolfe", "effective", "default"]))
garbage = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2), max_leaves=6
)


def mostly(right: st.SearchStrategy[Any], wrong: st.SearchStrategy[Any] = garbage) -> st.SearchStrategy[Any]:
    """What is right four times of five."""
    return st.integers(0, 4).flatmap(lambda which: right if which else wrong)


def settings_of(optimizer: str) -> st.SearchStrategy[dict[str, Any]]:
    """A ``[search_space.…]`` table: for parameters of the optimizer, and sometimes of no optimizer."""
    declared = list(SEARCH_SPACES[optimizer].declared)
    value = st.one_of(
        numbers, st.lists(numbers, min_size=2, max_size=2), st.lists(numbers, min_size=2, max_size=2).map(sorted)
    )
    names = st.sampled_from([*declared, *declared, "parameterization", "file", "lrr"])
    return st.dictionaries(names, st.one_of(value, value, value, scalars, st.lists(scalars, max_size=3)), max_size=3)


@st.composite
def campaigns(draw: st.DrawFn) -> dict[str, Any]:
    """Campaigns as tables: right, nearly right, and far from it."""
    optimizers = draw(st.lists(st.sampled_from(list(SEARCH_SPACES)), min_size=1, max_size=2, unique=True))
    known: dict[str, st.SearchStrategy[Any]] = {
        "name": st.sampled_from(["mine", "größe", "日本 語", "a.b", "x" * 64]) | texts,
        "workloads": st.lists(st.sampled_from(SMALL), min_size=1, max_size=2, unique=True),
        "optimizers": st.just(optimizers),
        "trials": st.integers(1, 10**6),
    }
    more: dict[str, st.SearchStrategy[Any]] = {
        "sampler": st.sampled_from(list(SAMPLERS)),
        "pruner": st.sampled_from(list(PRUNERS)),
        "schedule": st.sampled_from(list(SCHEDULES)),
        "seed": st.integers(0, 2**32 - 1),
        "amp": st.booleans(),
        "epochs": st.integers(1, 10**6) | st.dictionaries(st.sampled_from(SMALL), st.integers(1, 50)),
        "replicates": st.integers(1, 3),
        "targets": st.dictionaries(st.sampled_from(SMALL), st.floats(allow_nan=False, allow_infinity=False)),
        "search_space": st.fixed_dictionaries({}, optional={key: settings_of(key) for key in optimizers}),
    }
    made = {key: draw(mostly(right)) if draw(st.integers(0, 9)) == 0 else draw(right) for key, right in known.items()}
    for key in draw(st.lists(st.sampled_from(list(more)), max_size=4, unique=True)):
        made[key] = draw(mostly(more[key]))
    if draw(st.integers(0, 9)) == 0:
        made[draw(texts | st.sampled_from(["seeds", "spaces", "starts", "optimiser"]))] = draw(garbage)
    if draw(st.integers(0, 14)) == 0:
        del made[draw(st.sampled_from(sorted(made)))]
    return made


# ------------------------------------------------------------------------------------------------- what is to be true


def refused(error: BaseException) -> None:
    """It is one line that can be printed, and that says something."""
    message = str(error)
    assert message.strip()
    assert "\n" not in message
    assert "Traceback" not in message


def read(directory: Path, text: str | bytes) -> CampaignPlan | None:
    """The campaign of a file, or nothing where it was refused."""
    path = directory / "mine.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        return load_file(path)
    except UserError as error:
        refused(error)
        return None


def run(campaign: CampaignPlan, storage: str, trials: int) -> None:
    """Draws a campaign up, asks for its first trials and tells what became of them; then goes on as after a restart."""
    resolved = resolve_campaign(campaign)
    for _ in range(2):
        with open_search(storage, campaign.stored(), resolved.study_plans(), {"torch": "x"}) as ledger:
            for number in range(trials):
                assignment = ledger.ask()
                if assignment is None:
                    return
                if number % 3 == 0:
                    ledger.report(assignment, record(1, math.nan, 0.5))
                    ledger.end(assignment, "diverged", {"device": "cpu"})
                    continue
                ledger.report(assignment, record(1, 0.5 + number, 0.5))
                ledger.end(assignment, "complete", {"device": "cpu"})


@settings(QUICK)
@given(st.one_of(st.binary(max_size=80), st.text(max_size=80), garbage.map(str)))
@example(b"\xef\xbb\xbf")
@example("name = '''\n'''")
@example("[search_space]\nsgd = []")
@example("[[workloads]]")
@example("trials = 1979-05-27T07:32:00Z")
@example("name.first = 1")
def test_any_bytes_are_a_campaign_or_a_line(tmp_path, text):
    read(tmp_path, text)
    lines = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    read(tmp_path, CAMPAIGN.encode() + lines)


@QUICK
@given(campaigns())
def test_any_table_is_a_campaign_or_a_line(tmp_path, table):
    campaign = read(tmp_path, tomli_w.dumps(table))
    if campaign is not None:
        again = CampaignPlan.from_stored(campaign.stored())
        assert again.stored() == campaign.stored()


@pytest.fixture(scope="module")
def new_database(tmp_path_factory) -> Callable[[], str]:
    """The URL of an empty database, again and again: to copy one is much quicker than to make one."""
    directory = tmp_path_factory.mktemp("databases")
    close_storage(open_storage(f"sqlite:///{directory}/first.db"))
    numbers = count()

    def make() -> str:
        path = shutil.copy(directory / "first.db", directory / f"{next(numbers)}.db")
        return f"sqlite:///{path}"

    return make


@pytest.mark.slow
@settings(QUICK, max_examples=10)
@given(campaigns())
def test_a_campaign_that_is_accepted_runs(tmp_path, new_database, table):
    campaign = read(tmp_path, tomli_w.dumps(table))
    assume(campaign is not None)
    assert campaign is not None
    trials = min(campaign.campaign.trials, 4)
    run(CampaignPlan.from_stored(campaign.stored(), {"trials": trials}), new_database(), 2)


spaces = st.sampled_from(list(SEARCH_SPACES)).flatmap(lambda key: st.tuples(st.just(key), settings_of(key)))


def space_of(optimizer: str, table: Mapping[str, object]) -> SearchSpace | None:
    try:
        return configured(optimizer, table)
    except UserError as error:
        refused(error)
        return None


@QUICK
@given(spaces)
@example(("sofim", {"beta": [0.0, 0.9999999999999999]}))
@example(("sofim", {"lr": [5e-324, 1e308]}))
@example(("sgd", {"batch_size": [1, 1000000]}))
@example(("sgd", {"lr": [1.0, 1.0000000000000002]}))
def test_a_search_space_that_is_accepted_holds_its_default(chosen):
    space = space_of(*chosen)
    if space is None:
        return
    default = {name: space.default[name] for name in space.parameters}
    searched = space.encode(default)
    for name, distribution in space.search_distributions().items():
        assert distribution._contains(distribution.to_internal_repr(searched[name])), (name, distribution)
    decoded = space.decode(searched)
    for name, parameter in space.parameters.items():
        assert parameter.contains(decoded[name])
    assert "batch_size" in space.arguments(decoded)


@pytest.mark.slow
@settings(QUICK, max_examples=6)
@given(spaces, st.sampled_from(list(SAMPLERS)))
@example(("sofim", {"beta": [0.0, 0.9999999999999999]}), "tpe")
@example(("sofim", {"lr": [5e-324, 1e308]}), "gp")
@example(("sgd", {"lr": [1.0, 1.0000000000000002]}), "cmaes")
@example(("adam", {"eps": [5e-324, 1e-323]}), "qmc")
def test_every_sampler_searches_a_space_that_is_accepted(new_database, chosen, sampler):
    optimizer, table = chosen
    space = space_of(optimizer, table)
    assume(space is not None)
    campaign = CampaignPlan.of(
        {
            "name": "space",
            "workloads": ["digits-mlp"],
            "optimizers": [optimizer],
            "trials": 12,
            "sampler": sampler,
            "pruner": "none",
            "search_space": {optimizer: table},
        }
    )
    resolved = ResolvedCampaign(campaign, {"digits-mlp": WORKLOADS["digits-mlp"]})
    with open_search(new_database(), campaign.stored(), resolved.study_plans(), {}) as ledger:
        for number in range(12):  # more than a sampler begins with at random
            assignment = ledger.ask()
            assert assignment is not None
            ledger.report(assignment, record(1, 0.1 * number, 0.5))
            ledger.end(assignment, "complete", {"device": "cpu"})
        assert ledger.finished


@settings(QUICK)
@given(st.sampled_from(["log", "linear", "one_minus_log"]), numbers, numbers, numbers, texts)
def test_a_parameter_is_made_or_refused_in_a_line(scale, low, high, default, reason):
    try:
        parameter = getattr(Parameter, scale)(low, high, default=default, reason=reason)
    except UserError as error:
        refused(error)
        return
    assert parameter.low < parameter.high
    assert parameter.contains(parameter.decode(parameter.encode(parameter.default)))


@pytest.mark.slow
@settings(QUICK, max_examples=12)
@given(spaces, st.integers(0, 3))
def test_a_configuration_that_is_accepted_trains(chosen, seed):
    """To the end of its epochs or until it diverges; a metric that is worse than nothing is an answer too."""
    optimizer, table = chosen
    space = space_of(optimizer, table)
    assume(space is not None)
    assert space is not None
    torch.manual_seed(seed)
    workload = WORKLOADS["breast-cancer-logreg"]
    records = list(train(workload, OPTIMIZERS[optimizer], space.arguments(space.default), seed, 2))
    assert records[-1].diverged or len(records) == 2


@pytest.mark.nightly
@pytest.mark.cluster
def test_a_campaign_at_the_edges_of_what_is_accepted_runs_through_the_engine(tmp_path, monkeypatch, one_ray):
    """Ranges as wide as numbers are: most trials diverge, all of them end."""
    monkeypatch.chdir(tmp_path)
    text = (
        'name = "日本 語"\nworkloads = ["breast-cancer-logreg"]\noptimizers = ["sofim", "adam"]\n'
        "trials = 4\nepochs = 2\n"
        "[search_space.sofim]\nlr = [5e-324, 1e308]\nbeta = [0.0, 0.9999999999999999]\nbatch_size = [1, 1000000]\n"
        "[search_space.adam]\nlr = [1.0, 1.0000000000000002]\neps = [5e-324, 1e-323]\n"
    )
    Path("mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        main(["launch", "mine.toml", "--cpus-per-trial", "2"])
    assert not end.value.code
    storage = optuna.storages.RDBStorage("sqlite:///sofim.db")
    try:
        for study in optuna.get_all_study_names(storage):
            trials = optuna.load_study(study_name=study, storage=storage).trials
            assert [trial.state for trial in trials if trial.state == TrialState.FAIL] == []
    finally:
        close_storage(storage)
