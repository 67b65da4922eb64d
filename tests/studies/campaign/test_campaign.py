"""A campaign file is read as it was meant, or refused in one line that says what is allowed."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from torch import nn

from search_spaces import SEARCH_SPACES
from search_spaces.errors import UserError
from search_spaces.pruners import PRUNERS
from search_spaces.samplers import SAMPLERS
from sofim import OPTIMIZERS
from studies.campaign.plan import CampaignPlan
from studies.campaign.reading import PRESETS, load, load_file
from studies.campaign.resolve import _rates_of_their_own, campaign_notes
from studies.commands.launch import check_reachable
from studies.training.schedules import SCHEDULES
from studies.workloads import WORKLOADS

SMALLEST = {
    "name": '"mine"',
    "workloads": '["digits-mlp"]',
    "optimizers": '["sofim", "sgd"]',
    "trials": "5",
}


def toml(*, tables: str = "", **keys: str) -> str:
    """The smallest campaign with ``keys`` changed; an empty value leaves the key out."""
    lines = [f"{key} = {value}" for key, value in (SMALLEST | keys).items() if value]
    return "\n".join([*lines, tables])


def read(tmp_path: Path, text: str | bytes, **overrides: object) -> CampaignPlan:
    file = tmp_path / "mine.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_file(file, overrides)


def read_again(plan: CampaignPlan, **overrides: object) -> CampaignPlan:
    return CampaignPlan.from_stored(json.loads(json.dumps(plan.stored(), allow_nan=False)), overrides)


def test_four_keys_are_enough_and_the_rest_has_the_documented_defaults(tmp_path: Path) -> None:
    plan = read(tmp_path, toml())
    campaign = plan.campaign
    assert (campaign.name, campaign.trials) == ("mine", 5)
    assert (campaign.workloads, campaign.optimizers) == (("digits-mlp",), ("sofim", "sgd"))
    assert (campaign.sampler, campaign.pruner, campaign.schedule) == ("tpe", "asha", "constant")
    assert (campaign.seed, campaign.amp, campaign.epochs_for("digits-mlp", 7)) == (0, False, 7)
    assert (campaign.purpose, campaign.warmup, campaign.decay, campaign.batch_size) == ("comparison", 0.0, None, None)
    assert plan.spaces["sgd"] == SEARCH_SPACES["sgd"].fitted(5)


def test_search_space_tables_reach_the_spaces(tmp_path: Path) -> None:
    tables = "[search_space.sofim]\nrho = [1e-3, 10.0]\nbeta = 0.9\n[search_space.adam]\nlr = 0.1\n"
    text = toml(tables=tables)
    space = read(tmp_path, text).spaces["sofim"]
    assert space.stored_distributions()["rho"] == FloatDistribution(1e-3, 10.0, log=True)
    assert space.arguments(space.default)["beta"] == 0.9
    assert "beta" not in space.parameters
    # a table may wait for an optimizer that comes in later
    assert "lr" not in read(tmp_path, text, optimizers=["adam"]).spaces["adam"].parameters
    assert "lr" not in read_again(read(tmp_path, text), optimizers=["adam"]).spaces["adam"].parameters


def test_the_effective_parameterization_is_chosen_in_the_file(tmp_path: Path) -> None:
    plan = read(tmp_path, toml(tables='[search_space.sofim]\nparameterization = "effective"\nknee = [0.1, 1]\n'))
    space = plan.spaces["sofim"]
    assert {"effective_lr", "knee"} <= space.parameters.keys()
    assert {"lr", "rho"} <= space.arguments(space.default).keys()


def test_epochs_are_for_all_workloads_or_by_workload(tmp_path: Path) -> None:
    assert read(tmp_path, toml(epochs="3")).campaign.epochs_for("digits-mlp", 7) == 3
    two = toml(workloads='["digits-mlp", "digits-lenet5"]', epochs="{digits-mlp = 2}")
    plan = read(tmp_path, two)
    assert plan.campaign.epochs_for("digits-mlp", 7) == 2
    assert plan.campaign.epochs_for("digits-lenet5", 7) == 7
    for other in (read(tmp_path, two, workloads=["digits-lenet5"]), read_again(plan, workloads=["digits-lenet5"])):
        assert other.campaign.epochs_for("digits-mlp", 9) == 9


def test_a_file_space_is_found_beside_the_campaign_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_space.py").write_text(
        "from search_spaces import Parameter, SearchSpace\n"
        "SPACE = SearchSpace(optimizer='sgd', declared={\n"
        "    'lr': Parameter.log(1e-3, 1.0, default=0.1, reason='Ours.'),\n"
        "    'batch_size': Parameter.integer(8, 16, default=8, reason='Ours.')})\n"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    plan = read(tmp_path, toml(tables='[search_space.sgd]\nfile = "my_space.py"\n'))
    assert plan.spaces["sgd"].arguments({"lr": 0.5, "batch_size": 8}) == {"lr": 0.5, "batch_size": 8}
    again = read_again(plan)
    assert again.spaces["sgd"].arguments({"lr": 0.5, "batch_size": 8}) == {"lr": 0.5, "batch_size": 8}


def test_what_was_stored_before_replicates_and_targets_is_the_same_campaign(tmp_path: Path) -> None:
    """Else a campaign of an older version could not go on."""
    plain = read(tmp_path, toml()).stored()
    assert not {"replicates", "targets"} & set(plain)
    asked = read(tmp_path, toml(replicates="2", tables="[targets]\ndigits-mlp = 1\n"))
    assert asked.stored()["replicates"] == 2
    assert asked.stored()["targets"] == {"digits-mlp": 1.0}
    assert read_again(asked).campaign == asked.campaign


def test_targets_go_with_their_workloads(tmp_path: Path) -> None:
    two = toml(workloads='["digits-mlp", "breast-cancer-logreg"]', tables="[targets]\ndigits-mlp = 0.9\n")
    assert read(tmp_path, two, workloads=["breast-cancer-logreg"]).campaign.targets == {}
    assert read(tmp_path, two, workloads=["digits-mlp"]).campaign.targets == {"digits-mlp": 0.9}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_sound_and_named_as_their_files(name: str) -> None:
    plan = load(name)
    assert plan.campaign.name == name
    for space in plan.spaces.values():
        assert space.encode(space.default).keys() == space.parameters.keys()


def test_quickstart_tunes_sofim_and_what_its_paper_compares_it_with() -> None:
    quickstart = load("quickstart").campaign
    assert set(quickstart.optimizers) == {"sofim", "sgd", "adam", "adamw", "adahessian", "lbfgs", "nystrom-sgd"}
    assert set(quickstart.workloads) == {"digits-mlp", "breast-cancer-logreg"}


def test_load_takes_presets_and_files(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(toml())
    assert load(tmp_path / "mine.toml").campaign.name == "mine"
    assert load(str(tmp_path / "mine.toml")).campaign.name == "mine"
    (tmp_path / "plain").write_text(toml())
    assert load(tmp_path / "plain").campaign.name == "mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("quikstart", r"^no campaign 'quikstart': it is neither a preset \(quickstart, .* did you mean quickstart\?$"),
        ("zzz", r"nor a TOML file$"),
        ("nowhere.toml", r"^nowhere.toml: cannot be read: No such file or directory$"),
        ("nul\0.toml", r"cannot be read"),
    ],
)
def test_what_cannot_be_loaded_is_said_by_name(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(name)


FILES: list[tuple[str | bytes, str]] = [
    # the file itself
    ("", r"name is missing: it must be a name of 1 to 64 characters$"),
    (b"name = \xff", r"is not UTF-8 text \(byte 7\)"),
    ("name = ", r"is not valid TOML: Invalid value \(at line 1, column 8\)$"),
    ('name = "a"\nname = "b"', r"is not valid TOML: Cannot overwrite a value \(at line 2, column 11\)$"),
    ('trials = 5\nname = "a', r"is not valid TOML: Unterminated string \(at line 2, column 10\)$"),
    ("trials = 5 5", r"is not valid TOML: .* \(at line 1, column 12\)$"),
    ("seed = " + "9" * 5000, r"is not valid TOML: "),
    ("seed = 2026-13-45", r"is not valid TOML: "),
    ("x = " + "[" * 3000 + "]" * 3000, r"nested too deeply$"),
    # keys
    (toml(trails="5"), r"trails is not a key of a campaign: allowed are name, .*; did you mean trials\?$"),
    (toml(trials="", trails="5"), r"trails is not a key of a campaign"),
    (toml(zzz="1"), r"zzz is not a key of a campaign: allowed are name, workloads, [a-z_, ]*$"),
    (toml(tables='["two\\nlines"]\n'), r"'two\\nlines' is not a key"),
    (toml(spaces="{}"), r"spaces is not a key of a campaign; did you mean search_space\?"),
    (toml(name=""), r"name is missing"),
    (toml(workloads=""), r"workloads is missing: it must be a list of workloads, such as"),
    (toml(optimizers=""), r"optimizers is missing: it must be a list of optimizers"),
    (toml(trials=""), r"trials is missing: it must be a whole number from 1 to 1000000$"),
    # name
    (toml(name='""'), r"name = '': must be 1 to 64 characters"),
    (toml(name="5"), r"name = 5: must be a name of 1 to 64 characters"),
    (toml(name='" a"'), r"name = ' a': must be 1 to 64 characters, the first and last no space"),
    (toml(name='"a/b"'), r"name = 'a/b': must not contain '/'"),
    (toml(name='"a\\\\b"'), r"must not contain"),
    (toml(name='"a\\tb"'), r"name = 'a\\tb': must not contain '\\t'"),
    (toml(name='"a\\u200bb"'), r"must not contain"),
    (toml(name=f'"{"x" * 65}"'), r"must be 1 to 64 characters"),
    (toml(name='".."'), r'must neither start with "."'),
    (toml(name='"-x"'), r'must neither start with "." or "-"'),
    (toml(name='"x.toml"'), r'nor end in ".toml"'),
    # workloads
    (toml(workloads='"digits-mlp"'), r"workloads = 'digits-mlp': must be a list of workloads"),
    (toml(workloads="[]"), r"workloads = \[\]: must be a list of workloads"),
    (toml(workloads="[3]"), r"workloads = 3: must be a list of workloads"),
    (toml(workloads='["digit-mlp"]'), r"'digit-mlp' is unknown: known are .*; did you mean digits-mlp\?$"),
    (toml(workloads='["my.module:"]'), r"'my.module:' is unknown: known are .* package.module:factory for your own$"),
    (toml(workloads='[":f"]'), r"':f' is unknown"),
    (toml(workloads='["a b:f"]'), r"'a b:f' is unknown"),
    (toml(workloads='["digits-mlp", "digits-mlp"]'), r"workloads = .*: names 'digits-mlp' twice$"),
    # optimizers
    (toml(optimizers='["sofim", "adm"]'), r"'adm' is an unknown optimizer: known are sofim, .*; did you mean adam\?$"),
    (toml(optimizers='["SGD"]'), r"'SGD' is an unknown optimizer: .*; did you mean sgd\?$"),
    (toml(optimizers="[]"), r"optimizers = \[\]: must be a list of optimizers"),
    (toml(optimizers='["sgd", "sgd"]'), r"names 'sgd' twice"),
    (toml(optimizers="{sgd = 1}"), r"optimizers = \{'sgd': 1\}: must be a list"),
    (toml(optimizers="{mine = {factory = 'a:b'}}"), r"the table of an optimizer of your own is called \[optimizer"),
    (toml(optimizer="3"), r"optimizer = 3: must be a table \[optimizer.<name>\]"),
    (toml(tables="[optimizer]\nmine = 3\n"), r"optimizer.mine = 3: must be a table \[optimizer.<name>\]"),
    # numbers and words
    (toml(trials="0"), r"trials = 0: must be a whole number from 1 to 1000000$"),
    (toml(trials="-3"), r"trials = -3: must be"),
    (toml(trials="2.5"), r"trials = 2.5: must be"),
    (toml(trials='"50"'), r"trials = '50': must be a whole number"),
    (toml(trials="true"), r"trials = true: must be a whole number"),
    (toml(trials="10000000"), r"trials = 10000000: must be"),
    (toml(trials="0x1" + "0" * 5000), r"trials = an enormous integer: must be"),
    (toml(seed="-1"), r"seed = -1: must be a whole number from 0 to 4294967295$"),
    (toml(seed="4294967296"), r"seed = 4294967296: must be"),
    (toml(seed="nan"), r"seed = nan: must be"),
    (toml(sampler='"tpee"'), r"sampler = 'tpee': must be one of tpe, random, qmc, gp, cmaes; did you mean tpe\?$"),
    (toml(sampler="3"), r"sampler = 3: must be one of tpe"),
    (toml(pruner='"halving"'), r"pruner = 'halving': must be one of asha, hyperband, first-epoch, median, none$"),
    (toml(pruner="false"), r"pruner = false: must be one of"),
    (toml(schedule='"cosin"'), r"schedule = 'cosin': must be one of constant, cosine.*; did you mean cosine\?$"),
    (toml(amp='"yes"'), r"amp = 'yes': must be true or false$"),
    (toml(amp="1"), r"amp = 1: must be true or false$"),
    (toml(replicates="0"), r"replicates = 0: must be a whole number from 1 to 100$"),
    (toml(replicates="true"), r"replicates = true: must be a whole number from 1 to 100$"),
    (toml(targets="3"), r"targets = 3: must be a table \[targets\] with a number for each workload"),
    (toml(tables='[targets]\ndigits-mlp = "high"\n'), r"target of .digits-mlp. must be a finite number, not .high.$"),
    (toml(tables="[targets]\ndigits-mlp = nan\n"), r"the target of 'digits-mlp' must be a finite number, not nan$"),
    (toml(tables="[targets]\ndigit-mlp = 0.9\n"), r"targets.digit-mlp: the campaign has no such workload, only"),
    (toml(epochs="0"), r"epochs = 0: must be a whole number from 1 to 1000000, or a table of these by workload$"),
    (toml(epochs="[1]"), r"epochs = \[1\]: must be"),
    (toml(epochs="{digits-mlp = 1.5}"), r"epochs = .*: must be a whole number"),
    (toml(epochs="{digit-mlp = 3}"), r"epochs.digit-mlp: the campaign has no such workload, only digits-mlp; did"),
    # search spaces
    (toml(search_space="3"), r"search_space = 3: must be a table \[search_space.<optimizer>\]"),
    (toml(tables="[search_space]\nrho = 1\n"), r"search_space.rho = 1: must be a table \[search_space.<optimizer>\]"),
    (toml(tables="[search_spaces.sofim]\n"), r"search_spaces is not a key .*; did you mean search_space\?$"),
    (toml(tables="[search_space.sofin]\n"), r"search_space.sofin is an unknown optimizer: .*; did you mean sofim\?$"),
    (toml(tables="[search_space.sofim]\nroh = 1\n"), r"search_space.sofim: roh is no parameter .* mean rho\?$"),
    (toml(tables="[search_space.sofim]\nrho = [10, 1]\n"), r"search_space.sofim: rho = \[10, 1\] is a reversed range"),
    (toml(tables="[search_space.sofim]\nrho = inf\n"), r"search_space.sofim: rho = inf is not finite"),
    (toml(tables="[search_space.sofim]\nrho = 1979-05-27\n"), r"search_space.sofim: rho = .* is not a number"),
    (toml(tables="[search_space.adam]\nlr = -1\n"), r"search_space.adam: lr = -1 is not accepted by the optimizer"),
    (toml(tables='[search_space.sgd]\nfile = "no.py"\n'), r"search_space.sgd: file = .*no.py cannot be read"),
    (toml(tables='[search_space.sgd]\nfile = ""\n'), r"search_space.sgd: file = '' is not a path"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), FILES)
def test_a_mistake_in_the_file_is_one_line_with_file_key_and_what_is_allowed(
    text: str | bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'mine.toml'}: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_folder_and_a_byte_order_mark(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load_file(tmp_path)
    assert read(tmp_path, b"\xef\xbb\xbf" + toml().encode()).campaign.name == "mine"


@pytest.mark.parametrize("stored", [False, True])
def test_overrides_replace_what_they_name_and_keep_the_rest(stored: bool, tmp_path: Path) -> None:
    text = toml(seed="3", tables="[search_space.sgd]\nlr = [0.1, 0.2]\n")
    overrides: dict[str, object] = {"name": "other", "trials": 2, "optimizers": ("sgd", "lbfgs"), "seed": 9}
    overrides["workloads"] = ["my.workloads:make"]
    plan = read(tmp_path, text)
    changed = read_again(plan, **overrides) if stored else read(tmp_path, text, **overrides)
    campaign = changed.campaign
    assert (campaign.name, campaign.trials, campaign.seed) == ("other", 2, 9)
    assert (campaign.optimizers, campaign.workloads) == (("sgd", "lbfgs"), ("my.workloads:make",))
    assert changed.spaces["sgd"].stored_distributions() == plan.spaces["sgd"].stored_distributions()
    assert changed.spaces["lbfgs"].stored_distributions() == SEARCH_SPACES["lbfgs"].fitted(2).stored_distributions()
    assert read_again(plan).stored() == plan.stored()


def test_initial_configurations_are_stored_and_go_with_their_optimizers(tmp_path: Path) -> None:
    initial = {name: {"digits-mlp": {"lr": 0.1}} for name in ("sofim", "sgd")}
    plan = replace(read(tmp_path, toml()), initial=initial)
    assert plan.stored()["starts"] == initial
    assert list(plan.stored())[-2:] == ["starts", "spaces"]
    assert read_again(plan).initial == initial
    assert read_again(plan, optimizers=["sgd"]).initial == {"sgd": initial["sgd"]}
    assert "starts" not in read_again(plan, optimizers=["adam"]).stored()


def test_what_was_stored_before_is_stored_as_it_was() -> None:
    """Else a restart would take it for another campaign."""
    for name in PRESETS:
        stored = json.dumps(load(name).stored())
        assert json.dumps(CampaignPlan.from_stored(json.loads(stored)).stored()) == stored


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"trials": 0}, r"^trials = 0: must be a whole number from 1"),
        ({"optimizers": []}, r"^optimizers = \[\]: must be a list"),
        ({"optimizers": ["sdg"]}, r"^optimizers = \['sdg'\]: 'sdg' is an unknown optimizer: .*; did you mean sgd\?$"),
        ({"optimizers": ["sgd", "sgd"]}, r"twice"),
        ({"workloads": ["digit-mlp"]}, r"did you mean digits-mlp\?$"),
        ({"name": "a/b"}, r"^name = 'a/b': must not contain '/'"),
        ({"seed": -1}, r"^seed = -1: must be"),
    ],
)
def test_a_mistaken_override_is_one_line(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load("quickstart", overrides)
    with pytest.raises(UserError, match=message):
        read_again(load("quickstart"), **overrides)


def test_a_stored_campaign_keeps_its_ranges_when_the_defaults_change(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = json.loads(json.dumps(load("quickstart").stored()))
    before = load("quickstart").spaces["sgd"].stored_distributions()
    monkeypatch.setattr(
        "search_spaces.SEARCH_SPACES", {**SEARCH_SPACES, "sgd": SEARCH_SPACES["sgd"].override({"lr": [0.4, 0.5]})}
    )
    for overrides in ({}, {"trials": 7}):
        assert CampaignPlan.from_stored(stored, overrides).spaces["sgd"].stored_distributions() == before
    assert load("quickstart").spaces["sgd"].stored_distributions() != before


def test_a_stored_campaign_stays_readable_when_a_name_is_gone() -> None:
    stored = load("quickstart").stored()
    stored["workloads"] = ["a-workload-of-old"]
    assert CampaignPlan.from_stored(stored).campaign.workloads == ("a-workload-of-old",)


def test_a_stored_campaign_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"^stored campaign 'quickstart': planet is not a key of a campaign"):
        CampaignPlan.from_stored(load("quickstart").stored() | {"planet": 3})
    with pytest.raises(UserError, match=r"^stored campaign 'quickstart': spaces = 3: must be data; it was stored by"):
        CampaignPlan.from_stored(load("quickstart").stored() | {"spaces": 3})


@pytest.mark.slow
def test_reading_a_stored_campaign_does_not_load_torch() -> None:
    script = (
        "import json, sys; from studies.campaign.plan import CampaignPlan\n"
        "CampaignPlan.from_stored(json.load(sys.stdin))\n"
        "assert not {'torch', 'ray'} & sys.modules.keys()"
    )
    stored = json.dumps(load("quickstart").stored())
    subprocess.run([sys.executable, "-c", script], input=stored, text=True, check=True, timeout=240)


NAMES = st.text(st.sampled_from("abz09-_./ \n\0é😀"), max_size=8)
SCALARS = (
    st.integers() | st.floats() | st.booleans() | NAMES | st.sampled_from([*SAMPLERS, *PRUNERS, *SCHEDULES, "sofim"])
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(NAMES, SCALARS, max_size=2)


def as_toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(key)} = {as_toml(item)}" for key, item in value.items()) + "}"
    return repr(value)


def spaces() -> st.SearchStrategy[dict[str, object]]:
    ends = st.floats(1e-6, 2.0) | st.integers(0, 300)
    setting = ends | st.lists(ends, min_size=2, max_size=2).map(sorted) | VALUES
    names = st.sampled_from([*SEARCH_SPACES["sofim"].declared, "momentum", "parameterization", "file"])
    tables = st.dictionaries(names, setting, max_size=2)
    return st.dictionaries(st.sampled_from(["sofim", "sgd"]), tables, max_size=2)


def lists_of(names: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)


CAMPAIGNS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["mine", "with space"]) | NAMES,
        "workloads": lists_of([*WORKLOADS, "my.module:factory"]),
        "optimizers": lists_of(list(SEARCH_SPACES)),
        "trials": st.integers(1, 50) | VALUES,
    },
    optional={
        "sampler": st.sampled_from(list(SAMPLERS)) | VALUES,
        "pruner": st.sampled_from(list(PRUNERS)) | VALUES,
        "schedule": st.sampled_from(list(SCHEDULES)),
        "seed": st.integers(0, 9) | VALUES,
        "epochs": st.integers(1, 9) | VALUES,
        "search_space": spaces() | VALUES,
    },
)


@settings(deadline=None)
@given(keys=CAMPAIGNS)
def test_any_campaign_file_is_accepted_or_refused_in_one_line(keys: dict[str, object], tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path_factory.mktemp("campaign") / "generated.toml"
    file.write_text("\n".join(f"{key} = {as_toml(value)}" for key, value in keys.items()), encoding="utf-8")
    try:
        plan = load_file(file)
    except UserError as error:
        if not str(error).isprintable():
            raise AssertionError(f"not one printable line: {error!r}") from error
        return
    assert read_again(plan).stored() == plan.stored()
    for space in plan.spaces.values():
        assert space.arguments(space.default)


@settings(deadline=None)
@given(text=st.text() | st.text(st.sampled_from("[]{}=.,\"'\\#\n abname01"), max_size=60))
def test_any_text_is_refused_in_one_line(text: str, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path_factory.mktemp("campaign") / "text.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError) as caught:
        load_file(file)
    assert str(caught.value).isprintable()


def of(**fields: object) -> CampaignPlan:
    given = {"name": "c", "workloads": ["digits-mlp"], "optimizers": ["sofim", "sgd", "adamw"], "trials": 16}
    return CampaignPlan.of(given | fields)


def test_neither_names_nor_their_order_change_a_space() -> None:
    plan = of()
    other = of(name="another", optimizers=["adamw", "lbfgs", "sofim", "sgd"], workloads=["digits-lenet5", "digits-mlp"])
    for optimizer, space in plan.spaces.items():
        assert other.spaces[optimizer] == space == SEARCH_SPACES[optimizer].fitted(16)
    assert json.dumps(plan.stored()) == json.dumps(of().stored())


def test_one_line_fixes_the_batch_size_of_all_and_one_their_decay_and_one_their_warm_up() -> None:
    plan = of(trials=100, batch_size=32, decay="decoupled", warmup=[0.0, 0.1])
    assert {space.default["batch_size"] for space in plan.spaces.values()} == {32}
    assert {space.decays[0] for space in plan.spaces.values()} == {"decoupled", "coupled"}  # SGD has one kind alone
    warmups = [space.parameters["schedule.warmup"] for space in plan.spaces.values()]
    assert warmups == [warmups[0]] * 3
    for space in plan.spaces.values():
        assert "batch_size" not in space.parameters
        arguments = space.arguments(space.default)
        assert (arguments["batch_size"], arguments["schedule.warmup"]) == (32, 0.05)
    assert read_again(plan).stored() == plan.stored()
    assert read_again(plan).campaign == plan.campaign
    assert of(warmup=0.05).campaign.fixed_warmup == 0.05
    assert plan.campaign.fixed_warmup == 0.0  # each trial has its own


def test_a_campaign_for_sensitivity_searches_the_whole_spaces_quasi_randomly_to_the_end() -> None:
    plan = of(purpose="sensitivity", search_space={"sofim": {"beta": 0.9}})
    assert (plan.campaign.sampler, plan.campaign.pruner) == ("qmc", "none")
    assert plan.spaces["adamw"] == SEARCH_SPACES["adamw"]
    assert "beta" in plan.spaces["sofim"].fixed  # as somebody has said
    assert read_again(plan).stored() == plan.stored()
    assert of(purpose="sensitivity", sampler="tpe", pruner="asha").campaign.sampler == "tpe"
    [note] = campaign_notes(plan)
    assert "every parameter" in note
    assert "quasi-random" in note
    assert "no pruner" in note
    assert "where it looked" in campaign_notes(of(purpose="sensitivity", sampler="tpe"))[0]


def test_a_decay_that_reaches_not_all_optimizers_is_said() -> None:
    assert campaign_notes(of(trials=50, decay="coupled")) == [
        'decay = "coupled" changes nothing of adamw: theirs is decoupled alone.'
    ]
    assert campaign_notes(of(trials=50, decay="decoupled")) == [
        'decay = "decoupled" changes nothing of sgd: theirs is coupled alone.'
    ]


def test_a_searched_rate_that_reaches_not_all_parameter_groups_is_said_and_one_that_reaches_none_is_refused() -> None:
    workload, searched, rows = WORKLOADS["digits-mlp"], of(optimizers=["sgd"]).spaces, {}

    def told(*rates: dict[str, float]) -> list[str]:
        def groups(model: nn.Module) -> list[dict[str, Any]]:
            first, *others = model.parameters()
            return [{"params": [first], **rates[0]}, {"params": others, **rates[1]}]

        rows["sgd"] = replace(OPTIMIZERS["sgd"], groups=groups)
        return _rates_of_their_own(workload, searched, rows)

    assert told({}, {"weight_decay": 0.0}) == []
    assert told({}, {"lr": 0.1}) == [
        "sgd on digits-mlp: 1 of its 2 parameter groups has an lr of its own, which the search does not change."
    ]
    with pytest.raises(UserError, match=r"^optimizer sgd: each of its parameter groups has an lr of its own, .* leave"):
        told({"lr": 0.01}, {"lr": 0.1})
    searched = of(optimizers=["sgd"], search_space={"sgd": {"lr": 0.1}}).spaces
    assert told({"lr": 0.01}, {"lr": 0.1}) == []


def test_an_optimizer_that_is_defined_and_not_run_is_said() -> None:
    tables = {"mine": {"factory": "torch.optim:SGD"}, "other": {"factory": "torch.optim:SGD"}}
    [note, left_out] = campaign_notes(of(optimizer={"mine": tables["mine"]}))
    assert note == "mine is defined and not run: optimizers does not name it."
    assert "your own" not in left_out
    assert "mine, other are defined and not run: optimizers does not name them." in campaign_notes(of(optimizer=tables))


@pytest.mark.parametrize(
    ("workload", "target", "says"),
    [
        ("digits-mlp", 97, "targets.digits-mlp = 97: accuracy lies between 0 and 1; give a target that it can reach"),
        ("digits-mlp", 0.97, None),
        ("breast-cancer-logreg", -1, "targets.breast-cancer-logreg = -1: gap is 0 or more; give a target that it can"),
        ("mine:net", 97, None),  # an accuracy of one's own may be in percent
        ("cartpole-reinforce", 501, "targets.cartpole-reinforce = 501: mean_return lies between 0 and 500; give a "),
    ],
)
def test_a_target_beyond_its_metric_is_refused(workload: str, target: float, says: str | None) -> None:
    workloads = {workload: WORKLOADS["digits-mlp" if ":" in workload else workload]}
    with pytest.raises(UserError) if says else nullcontext() as error:
        check_reachable(of(workloads=[workload], targets={workload: target}).campaign, workloads)
    if says:
        assert error is not None
        assert str(error.value).startswith(says)


def test_what_stays_at_its_default_is_said_once() -> None:
    [note] = campaign_notes(of())
    assert note == (
        "With 16 trials a study these stay at their defaults: weight_decay, batch_size of sofim, sgd, adamw; "
        "beta2, eps of adamw; a range in [search_space.OPTIMIZER] searches one of them."
    )
    assert campaign_notes(of(trials=50)) == []
    wanted = {"adamw": {"eps": [1e-8, 1e-3], "beta2": [0.9, 0.99], "weight_decay": [1e-3, 1.0]}}
    [note] = campaign_notes(of(search_space=wanted, batch_size=64))
    assert "these stay at their defaults: weight_decay of sofim, sgd; a range" in note


def test_the_presets_end_with_a_learning_rate_that_has_decayed_and_compare_over_searches() -> None:
    for name in PRESETS:
        campaign = load(name).campaign
        assert campaign.schedule in ("cosine", "linear")
        assert campaign.decay == "coupled"  # what SGD has: SOFIM's space contains SGD's then
        compares = name not in ("quickstart", "modern", "atlas-others") and campaign.purpose == "comparison"
        assert campaign.replicates == (3 if compares else 1)
