"""``sofim export``: four formats, each read back, code that runs, and a start for the next campaign."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
import yaml

from analysis.defaults import Measured
from search_spaces import SEARCH_SPACES
from search_spaces.errors import UserError
from sofim import OPTIMIZERS
from sofim.recommended import shipped
from studies.commands.export import _runs
from studies.commands.exported import FORMATS, _evidence, _origin, _value, is_export, printed
from studies.storage.database import close_storage
from tests.support.fake_campaign import campaign, end, open_ledger
from tests.support.report_studies import confirm, make, ridge

URL = "sqlite:///sofim.db"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("export")
    url = f"sqlite:///{home}/sofim.db"
    confirm(url, make(url, ridge, trials=60, optimizers=["sofim", "sgd"]))
    return home


@pytest.fixture
def home(database, monkeypatch) -> Path:
    monkeypatch.chdir(database)
    return database


def parsed(sofim: Run, *arguments: str, form: str = "toml") -> dict[str, Any]:
    code, out, err = sofim("export", "fake", *arguments, "--format", form)
    assert (code, err) == (0, "")
    return {"toml": tomllib.loads, "json": json.loads, "yaml": yaml.safe_load}[form](out)


@pytest.mark.slow
def test_three_formats_hold_the_same_and_arguments_are_what_the_optimizer_takes(sofim, home) -> None:
    found = parsed(sofim)
    of_winners = parsed(sofim, "--winner")  # for which nothing is computed
    assert parsed(sofim, "--winner", form="json") == of_winners
    assert parsed(sofim, "--winner", form="yaml") == of_winners
    assert set(found["optimizers"]) == {"sofim", "sgd"}
    for optimizer, own in found["optimizers"].items():
        assert set(own["workloads"]) == {"digits-mlp", "breast-cancer-logreg"}
        for entry in (own["default"], *own["workloads"].values()):
            expected = SEARCH_SPACES[optimizer].arguments(entry["params"])
            assert expected.pop("batch_size") == entry["batch_size"]
            assert entry["arguments"] == expected
            OPTIMIZERS[optimizer].factory(torch.nn.Linear(2, 1).parameters(), **entry["arguments"])
    evidence = found["optimizers"]["sgd"]["workloads"]["digits-mlp"]["evidence"]
    assert (evidence["campaign"], evidence["trials"], evidence["seeds"]) == ("fake", 60, 0)
    assert not {"mean", "mean_interval", "worst"} & set(evidence), "no number of another configuration"
    assert evidence["winner"]["seeds"] == 5
    assert evidence["winner"]["params"] != found["optimizers"]["sgd"]["workloads"]["digits-mlp"]["params"]
    assert found["campaigns"]["fake"]["protocol"] == 2
    assert found["campaigns"]["fake"]["versions"] == {"torch": "x"}
    assert found["optimizers"]["sofim"]["default"]["notes"][0] == "only 2 workloads"


def test_a_line_of_python_says_on_what_schedule_it_was_found() -> None:
    every = shipped()["optimizers"].values()
    courses = [
        line for line in printed(shipped(), "python").splitlines() if line.startswith("#   learning-rate schedule: ")
    ]
    assert len(courses) == sum(1 + len(own["workloads"]) for own in every)
    assert set(courses) == {
        "#   learning-rate schedule: cosine after a warm-up of 5 % of the steps",
        "#   learning-rate schedule: constant after a warm-up of 5 % of the steps",  # schedule-free AdamW's
    }


@pytest.mark.slow
def test_the_recommended_ratio_is_that_of_the_ridge(sofim, home) -> None:
    """The metric is best where lr/rho is 1 on digits and 32 on the other."""
    on = parsed(sofim, "--optimizer", "sofim")["optimizers"]["sofim"]["workloads"]
    assert 0.2 < on["digits-mlp"]["params"]["lr"] / on["digits-mlp"]["params"]["rho"] < 5
    assert 6 < on["breast-cancer-logreg"]["params"]["lr"] / on["breast-cancer-logreg"]["params"]["rho"] < 160


@pytest.mark.slow
def test_every_line_of_python_makes_an_optimizer_that_trains(sofim, home) -> None:
    code, out, err = sofim("export", "fake", "--format", "python")
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if line and not line.startswith("#")]
    imports, made = [x for x in lines if "import" in x], [x for x in lines if "import" not in x]
    assert len(made) == 2 * (1 + 2)
    names: dict[str, Any] = {}
    exec("\n".join(imports), names)
    torch.manual_seed(0)
    inputs = torch.randn(64, 4)
    targets = (inputs.sum(dim=1) > 0).long()
    for line in made:
        names["model"] = torch.nn.Linear(4, 2)
        exec(line, names)
        losses = []
        for _ in range(20):
            names["optimizer"].zero_grad()
            loss = torch.nn.functional.cross_entropy(names["model"](inputs), targets)
            loss.backward()
            names["optimizer"].step()
            losses.append(loss.item())
        assert losses[-1] < losses[0], line
        assert names["batch_size"] in range(16, 257)


@pytest.mark.slow
def test_winners_are_the_trials_as_they_were(sofim, home) -> None:
    exact = parsed(sofim, "--winner", "--workload", "digits-mlp")["optimizers"]["sofim"]["workloads"]["digits-mlp"]
    storage = optuna.storages.RDBStorage(URL)
    best = optuna.load_study(study_name="fake/digits-mlp/sofim", storage=storage).best_trial
    close_storage(storage)
    assert exact["params"] == best.params
    told = exact["evidence"]
    assert (told["kind"], told["seeds"], told["diverged"]) == ("winner", 5, 0)
    assert told["mean_interval"][0] < told["mean"] < told["mean_interval"][1]
    assert "winner" not in told


STORAGE = ("--storage", "x")
EVIDENCE = {"campaign": "a b", "kind": "winner", "metric": "accuracy", "data": "test", "trials": 80, "searches": 2}
NOT_RUN = {"evidence": {**EVIDENCE, "seeds": 0}, "notes": []}


def test_the_best_of_another_search_is_not_told_as_the_best_of_all() -> None:
    assert _origin(NOT_RUN) == "the best of 80 trials in 2 searches of a b"
    of_another = {
        **NOT_RUN,
        "notes": ["the winner of another search than that with the best trial, of which 2 of 2 runs"],
    }
    assert _origin(of_another) == "the best of one of these searches: 80 trials in 2 searches of a b"


def test_a_number_near_1_is_not_exported_as_1() -> None:
    """Seven nines say more than four digits do, and a program may read all of them."""
    told = _runs(Measured(runs=5, mean=(0.9999987, 0.9999981, 0.9999993), median=0.99999871, worst=0.9999), "linear")
    assert (told["mean"], told["mean_interval"]) == (0.9999987, [0.9999981, 0.9999993])
    assert told["median"] == 0.99999871
    assert _value(told) == "0.999999 [0.999998, 0.999999]"


@pytest.mark.slow
def test_people_are_told_what_was_measured_and_what_was_never_run(sofim, home) -> None:
    arguments = ("export", "fake", "--optimizer", "sgd", "--workload", "digits-mlp")
    code, table, err = sofim(*arguments, "--format", "table")
    assert (code, err) == (0, "")
    assert "never run on fresh seeds; to run it: sofim evaluate fake\n" in table
    assert "to run it: sofim evaluate 'a b' --winner --storage x" in " ".join(
        _evidence(NOT_RUN, ["--winner", *STORAGE])
    )
    assert "the winner, which is another configuration (lr=" in table
    lines = sofim(*arguments, "--format", "python")[1]
    assert "#   never run on fresh seeds; to run it: sofim evaluate fake" in lines
    measured = sofim(*arguments, "--winner", "--format", "python")[1]
    assert "#   measured on 5 fresh seeds: accuracy on validation data 0." in measured
    assert "never run" not in measured
    tomllib.loads(sofim(*arguments)[1])  # to a program, as ever


@pytest.mark.slow
def test_only_what_is_asked_for_into_a_file(sofim, home, tmp_path) -> None:
    code, out, err = sofim("export", "fake", "--optimizer", "sgd", "--workload", "digits-mlp", "--out", f"{tmp_path}/x")
    assert (code, out, err) == (0, f"Recommended hyperparameters: {tmp_path}/x\n", "")
    found = tomllib.loads((tmp_path / "x").read_text())
    assert list(found["optimizers"]) == ["sgd"]
    assert list(found["optimizers"]["sgd"]["workloads"]) == ["digits-mlp"]
    assert "one workload: this says nothing beyond it" in found["optimizers"]["sgd"]["default"]["notes"]


@pytest.mark.nightly
@pytest.mark.slow
def test_a_file_has_the_format_that_its_name_ends_with_unless_another_is_asked_for(sofim, home, tmp_path) -> None:
    def written(name: str, *more: str) -> str:
        arguments = ("--optimizer", "sgd", "--workload", "digits-mlp", "--out", str(tmp_path / name))
        assert sofim("export", "fake", *arguments, *more)[0] == 0
        return (tmp_path / name).read_text()

    found = tomllib.loads(written("defaults.toml"))
    assert json.loads(written("defaults.json")) == yaml.safe_load(written("defaults.YML")) == found
    assert "\nbatch_size, optimizer = " in written("defaults.py")
    assert json.loads(written("other.toml", "--format", "json")) == found


@pytest.mark.parametrize("form", ["python", "table"])
def test_what_was_never_run_names_the_command_that_runs_it_if_there_is_one(form) -> None:
    document = deepcopy(shipped())
    entry = document["optimizers"]["sgd"]["workloads"]["digits-mlp"]
    entry["evidence"] = {**entry["evidence"], "seeds": 0}
    option = ["--storage", "sqlite:///my other.db"]
    line = "never run on fresh seeds; to run it: sofim evaluate atlas --storage 'sqlite:///my other.db'"
    assert " ".join(printed(document, form, storage=option).split()).count(line) == 1
    document["campaigns"]["atlas"]["protocol"] = 1
    told = " ".join(printed(document, form, storage=option).split())
    assert ("never run on fresh seeds" in told, "to run it" in told) == (True, False)


def test_a_file_that_no_export_wrote_is_left_as_it_is(sofim, home, tmp_path) -> None:
    before = Path("sofim.db").read_bytes()
    (tmp_path / "campaign.toml").write_text('name = "fake"\n')
    for file in ("sofim.db", f"{tmp_path}/campaign.toml"):
        says = f"sofim: --out {file}: is there and is no export; choose another --out, or remove it first\n"
        assert sofim("export", "fake", "--winner", "--out", file) == (2, "", says)
    assert Path("sofim.db").read_bytes() == before
    assert (tmp_path / "campaign.toml").read_text() == 'name = "fake"\n'


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_is_known_by_how_it_begins(tmp_path, form) -> None:
    file = tmp_path / "made"
    for ascii_only in (False, True):
        document = deepcopy(shipped())
        document["made"]["by"] = document["made"]["by"].replace("atlas ", "'größte: \"Suche\"' ", 1)
        for made in (document, shipped()):
            file.write_text(printed(made, form, ascii_only=ascii_only))
            assert is_export(file)
    file.write_text("# sofim exports nothing\n")
    assert not is_export(file)


@pytest.mark.slow
def test_an_earlier_export_is_replaced_whole_and_through_a_link(sofim, home, tmp_path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    for form in ("toml", "json"):
        found = sofim("export", "fake", "--winner", "--format", form, "--out", f"{tmp_path}/link")
        assert found == (0, f"Recommended hyperparameters: {tmp_path}/link\n", "")
    assert (tmp_path / "link").is_symlink()
    assert "made" in json.loads((tmp_path / "empty").read_text())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["empty", "link"]
    code, out, _ = sofim("export", "fake", "--winner", "--out", "/dev/null")
    assert (code, out) == (0, "Recommended hyperparameters: /dev/null\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fak"], "sofim: no campaign 'fak' in sqlite:///sofim.db; there are: fake; did you mean fake?\n"),
        (["fake", "--optimizer", "sgdd"], "sofim: --optimizer sgdd: fake has only sofim, sgd; did you mean sgd?\n"),
        (["fake", "--workload", "x"], "sofim: --workload x: fake has only digits-mlp, breast-cancer-logreg\n"),
        (["fake", "--out", "no/where"], "sofim: --out no/where: cannot be written: No such file or directory\n"),
    ],
)
def test_a_mistake_is_one_line(sofim, home, arguments, message) -> None:
    assert sofim("export", *arguments) == (2, "", message)


@pytest.mark.slow
def test_what_a_search_of_optimizers_found_is_not_exported_and_the_line_says_why(sofim, tmp_path) -> None:
    made = make(URL, lambda *_: 0.5, trials=2, workloads=["digits-mlp"], optimizers=["sgd"])
    storage = optuna.storages.RDBStorage(URL)
    study_id = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "searched/digits-mlp/any")
    described = {"workload": "digits-mlp", "optimizer": "any", "metric": "accuracy", "protocol": 1}
    for name, value in {**described, "campaign": {**made.stored(), "name": "searched"}}.items():
        storage.set_study_user_attr(study_id, name, value)
    close_storage(storage)
    code, out, err = sofim("export", "searched")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("sofim: campaign 'searched' was made by sofim tune, which prints what it found")


def test_a_campaign_without_a_complete_trial_recommends_nothing(sofim, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(URL, lambda *_: "failed: x", trials=2, workloads=["digits-mlp"], optimizers=["sgd"])
    code, out, err = sofim("export", "fake")
    assert (code, out) == (2, "")
    assert err == (
        "sofim: no trial of fake ran its whole budget, so there is nothing to recommend; "
        "see how they ended with: sofim status fake\n"
    )


# ------------------------------------------------------------------------------------------------ --from


@pytest.mark.slow
def test_a_campaign_begins_with_what_was_exported_and_then_with_the_default(sofim, home, tmp_path) -> None:
    from studies.campaign.initial import read_initial

    assert sofim("export", "fake", "--out", f"{tmp_path}/defaults.toml")[0] == 0
    exported = tomllib.loads((tmp_path / "defaults.toml").read_text())["optimizers"]
    made = campaign(
        name="next", workloads=["digits-mlp", "fashion-lenet5"], optimizers=["sofim", "adam"], trials=3, sampler="tpe"
    )
    made = replace(made, initial=read_initial(tmp_path / "defaults.toml", made))
    url = f"sqlite:///{tmp_path}/next.db"
    first: dict[str, list[dict[str, Any]]] = {}
    with open_ledger(url, made) as ledger:
        for _ in range(8):
            assignment = ledger.ask()
            first.setdefault(f"{assignment.workload}/{assignment.optimizer}", []).append(assignment.arguments)
            end(ledger, assignment, 0.5)
    space = SEARCH_SPACES["sofim"]
    digits, elsewhere = (exported["sofim"]["workloads"]["digits-mlp"], exported["sofim"]["default"])
    assert first["digits-mlp/sofim"][:2] == [space.arguments(digits["params"]), space.arguments(space.default)]
    assert first["fashion-lenet5/sofim"][0] == space.arguments(elsewhere["params"]), "what is recommended on all"
    adam = SEARCH_SPACES["adam"]
    assert first["digits-mlp/adam"][0] == adam.arguments(adam.default), "of which nothing was exported"
    # what was stored goes on, and is the same campaign
    with open_ledger(url, type(made).from_stored(json.loads(json.dumps(made.stored())))) as ledger:
        assert ledger.ask() is not None


@pytest.mark.slow
def test_what_a_campaign_fixes_is_not_taken_from_the_file(sofim, home, tmp_path) -> None:
    from studies.campaign.initial import read_initial

    assert sofim("export", "fake", "--out", f"{tmp_path}/defaults.toml")[0] == 0
    made = campaign(sampler="tpe", optimizers=["sofim"], search_space={"sofim": {"beta": 0.5}})
    initial = read_initial(tmp_path / "defaults.toml", made)
    assert "beta" not in initial["sofim"]["digits-mlp"]
    assert "rho" in initial["sofim"]["digits-mlp"]


ENTRY = "[optimizers.sgd.default.params]\nlr = {lr}\nmomentum = 0.9\nweight_decay = 1e-5\nbatch_size = {batch_size}\n"


def test_a_whole_number_with_a_point_is_taken_as_one(tmp_path) -> None:
    from studies.campaign.initial import read_initial

    (tmp_path / "x.toml").write_text(ENTRY.format(lr=0.1, batch_size=64.0), encoding="utf-8-sig")
    initial = read_initial(tmp_path / "x.toml", campaign(sampler="tpe", optimizers=["sgd"], trials=25))
    size = initial["sgd"]["digits-mlp"]["batch_size"]
    assert (size, type(size)) == (64, int)


def test_whole_numbers_beyond_floats_are_refused_in_a_line(tmp_path) -> None:
    from studies.campaign._checks import check_targets
    from studies.campaign.initial import read_initial

    (tmp_path / "x.toml").write_text(ENTRY.format(lr=10**400, batch_size=64))
    with pytest.raises(UserError, match=r"x.toml: sgd on digits-mlp: lr = 1000.*… lies outside"):
        read_initial(tmp_path / "x.toml", campaign(sampler="tpe", optimizers=["sgd"], trials=25))
    with pytest.raises(ValueError, match=r"^the target of 'digits-mlp' must be a finite number, not 1000.*…$"):
        check_targets({"digits-mlp": 10**400})


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (None, {}, "--from x.toml: cannot be read: No such file or directory"),
        ("lr = ", {}, "--from x.toml: is not valid TOML: Invalid value (at end of document)"),
        (b"\xff", {}, "--from x.toml: is not UTF-8 text"),
        ("[sgd]\nlr = 1", {}, "--from x.toml: is not what sofim export --format toml writes: it has no [optimizers]"),
        ("optimizers = 3", {}, "--from x.toml: is not what sofim export --format toml writes: it has no [optimizers]"),
        ("[optimizers.adam]", {}, "--from x.toml: recommends nothing of sgd"),
        ("[optimizers]\nsgd = 3", {}, "--from x.toml: recommends nothing of sgd"),
        ("[optimizers.sgd.default]\nparams = 3", {}, "--from x.toml: recommends nothing of sgd"),
        (
            "[optimizers.sgd.default.params]\nlr = 0.1",
            {},
            "--from x.toml: sgd on digits-mlp: has no momentum, which the campaign searches",
        ),
        (
            ENTRY.format(lr=50.0, batch_size=32),
            {},
            "--from x.toml: sgd on digits-mlp: lr = 50.0 lies outside the range from 0.001 to 5; "
            "widen it with lr in [search_space.sgd]",
        ),
        (ENTRY.format(lr='"a"', batch_size=32), {}, "lr = 'a' lies outside the range from 0.001 to 5"),
        (ENTRY.format(lr="nan", batch_size=32), {}, "lr = nan lies outside"),
        (ENTRY.format(lr="[1]", batch_size=32), {}, "lr = [1] lies outside"),
        (ENTRY.format(lr=0.1, batch_size="inf"), {}, "batch_size = inf lies outside"),
        (ENTRY.format(lr=0.1, batch_size=32.5), {}, "batch_size = 32.5 lies outside"),
        (
            ENTRY.format(lr=0.1, batch_size=32),
            {"sampler": "random"},
            "--from x.toml: sampler random draws independently of any start; samplers that begin with one are tpe, gp, "
            "cmaes",
        ),
    ],
)
def test_a_start_that_cannot_be_used_is_one_line(sofim, tmp_path, monkeypatch, text, options, message) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("x.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    sampler = options.get("sampler", "tpe")
    Path("mine.toml").write_text(
        f'name = "mine"\nworkloads = ["digits-mlp"]\noptimizers = ["sgd"]\ntrials = 30\nsampler = "{sampler}"\n'
    )
    code, out, err = sofim("launch", "mine.toml", "--from", "x.toml", "--dry-run")
    assert (code, out) == (2, "")
    assert err.startswith("sofim: ")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("sofim.db").exists()
