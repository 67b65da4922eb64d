"""What a launch ends with: what speaks against its searches, and lines that a campaign's file takes."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from analysis.edges import edges, widened
from analysis.parameters import ParameterInfo, from_space
from analysis.study import Study
from search_spaces import SEARCH_SPACES, Interval, Parameter, SearchSpace
from search_spaces._parameter import FRACTION
from studies.campaign.plan import CampaignPlan
from tests.support.fake_campaign import make

URL = "sqlite:///sofim.db"
ONE = {"name": "x", "workloads": ["digits-mlp"], "optimizers": ["sofim"], "trials": 3}


def space_of(optimizer: str) -> Study:
    stored = SEARCH_SPACES[optimizer].to_dict()
    return Study(
        0, f"c/w/{optimizer}", {}, "w", optimizer, "m", "maximize", {"search_space": stored}, from_space(stored)
    )


@pytest.mark.parametrize("optimizer", SEARCH_SPACES)
def test_the_line_that_widens_a_range_is_one_that_a_campaign_takes(optimizer: str) -> None:
    study = space_of(optimizer)
    for parameter in study.parameters.values():
        if parameter.kind == "categorical":
            continue
        for end, value in (("lower", parameter.low), ("upper", parameter.high)):
            at_end = edges(study, {parameter.name: value})
            if value == {"lower": parameter.accepts.low, "upper": parameter.accepts.high}[end]:
                assert at_end == [], "there is nothing beyond"
                continue
            [edge] = at_end
            assert (edge.end, edge.line) == (end, widened(study, parameter, end))
            read = tomllib.loads(edge.line)
            plan = CampaignPlan.of(ONE | {"optimizers": [optimizer]} | read)
            found = plan.spaces[optimizer].to_dict()["parameters"][parameter.name]
            assert found["low"] <= parameter.low
            assert found["high"] >= parameter.high
            assert (found["low"], found["high"]) != (parameter.low, parameter.high)


@pytest.mark.parametrize(
    ("parameter", "end", "widened_to"),
    [
        (Parameter.linear(0.0, 0.9, default=0.5, reason="r", accepts=FRACTION), "upper", "[0.0, 0.99]"),
        (Parameter.linear(0.2, 0.9, default=0.5, reason="r", accepts=Interval(0.0, 1.0)), "upper", "[0.2, 1.0]"),
        (Parameter.log(0.1, 1.0, default=0.5, reason="r", accepts=Interval(0.05, 2.0)), "lower", "[0.05, 1.0]"),
        (Parameter.log(0.1, 1.0, default=0.5, reason="r", accepts=Interval(0.05, 2.0)), "upper", "[0.1, 2.0]"),
        (Parameter.linear(-1.0, 1.0, default=0.5, reason="r"), "upper", "[-1.0, 3.0]"),
    ],
)
def test_no_range_is_widened_beyond_what_the_optimizer_accepts(parameter, end, widened_to) -> None:
    batch = SEARCH_SPACES["sgd"].declared["batch_size"]
    space = SearchSpace("sgd", {"momentum": parameter, "batch_size": batch})
    [info, _] = from_space(space.to_dict()).values()
    study = replace(space_of("sgd"), parameters={"momentum": info})
    assert widened(study, info, end) == f"search_space.sgd.momentum = {widened_to}"


def test_a_range_that_the_campaign_writes_is_widened_where_it_is_written() -> None:
    written = {"lr": {"low": 0.01, "high": 1.0, "log": True, "default": 0.1}, "momentum": [0.5, 0.9]}
    study = replace(space_of("sgd"), campaign={"search_space": {"sgd": written}})
    info = ParameterInfo("lr", "float", 0.01, 1.0, log=True)
    line, _, where = widened(study, info, "upper").partition(" in ")
    assert where == "[search_space.sgd]"
    assert tomllib.loads(line) == {"lr": {"low": 0.01, "high": 10.0, "log": True, "default": 0.1}}
    assert widened(study, replace(info, name="momentum"), "upper") == "momentum = [0.01, 10.0] in [search_space.sgd]"


def test_a_value_within_its_range_is_at_no_end() -> None:
    study = space_of("sofim")
    assert edges(study, {name: one.default for name, one in study.parameters.items()}) == []


@pytest.mark.slow
def test_a_launch_ends_with_what_speaks_against_its_searches_and_how_to_mend_it(sofim, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcomes = {"digits-mlp/sofim": [0.5, 0.6], "digits-mlp/sgd": [0.5, 0.7]}
    make(URL, outcomes, workloads=["digits-mlp"])
    code, out, err = sofim("launch", "fake")
    assert (code, err) == (0, "")
    told = out[out.index("What speaks against these searches, and what mends it:") : out.index("Next:")]
    assert "  Each optimizer was searched once: what differs are the configurations that were found.\n" in told
    assert "      replicates = 3\n" in told
    assert '      schedule = "cosine"\n' in told
    assert "  sofim on digits-mlp: 2 trials are few for 5 parameters that vary.\n" in told
    assert "      sofim launch fake --extend --trials 25\n" in told


def test_nothing_is_said_of_a_search_that_is_not_finished(sofim, tmp_path, monkeypatch) -> None:
    from rich.console import Console

    from studies.commands.tables import print_audit

    monkeypatch.chdir(tmp_path)
    make(URL, {"digits-mlp/sofim": [0.5]}, workloads=["digits-mlp"], optimizers=["sofim"], trials=2)
    console = Console(record=True, width=100)
    print_audit("fake", URL, console)
    assert console.export_text() == ""


@pytest.mark.parametrize("name", ["it's mine", "my sofim 2", "quick;start"])
def test_what_mends_a_search_can_be_typed_whatever_the_campaign_is_called(tmp_path, monkeypatch, name) -> None:
    import shlex

    from rich.console import Console

    from studies.commands.tables import print_audit

    monkeypatch.chdir(tmp_path)
    make(URL, {"digits-mlp/sofim": [0.5, 0.6]}, name=name, workloads=["digits-mlp"], optimizers=["sofim"])
    console = Console(record=True, width=100)
    print_audit(name, URL, console)
    typed = [shlex.split(line) for line in console.export_text().splitlines() if line.startswith("      sofim ")]
    assert ["sofim", "launch", name, "--extend", "--trials", "25"] in typed


@pytest.mark.slow
def test_what_does_not_fit_is_counted(sofim, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = list(SEARCH_SPACES)[:7]
    make(URL, {f"digits-mlp/{name}": [0.5, 0.6] for name in names}, workloads=["digits-mlp"], optimizers=names)
    out = sofim("launch", "fake")[1]
    assert "  and 3 more, which the report names: sofim report fake\n" in out
