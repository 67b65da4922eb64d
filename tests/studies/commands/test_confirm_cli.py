"""sofim confirm: what it prints without running anything, and one line for every mistake."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import studies.commands.confirm
import studies.commands.launch
from studies.engine import Resources, _cluster
from studies.engine._cluster import settled, slots_of
from tests.studies.ledger.test_confirm_ledger import confirming, end, finish, work_off
from tests.support.fake_campaign import make

ROOT = Path(__file__).parents[3]

FINISHED = {"digits-mlp/sofim": [0.5, 0.7], "digits-mlp/sgd": [0.9, 0.8]}
TWO = {"workloads": ["digits-mlp"], "optimizers": ["sofim", "sgd"]}


@pytest.fixture(scope="module")
def tuned_file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("tuned") / "sofim.db"
    make(f"sqlite:///{file}", FINISHED, **TWO)
    return file


@pytest.fixture
def tuned(tuned_file, tmp_path):
    shutil.copy(tuned_file, tmp_path / "sofim.db")
    return make(f"sqlite:///{tmp_path}/sofim.db", {}, **TWO)


# ------------------------------------------------------------------------------------------------------ the table


@pytest.mark.slow
def test_a_confirmed_campaign_is_shown_with_means_deviations_and_numbers_of_seeds(sofim, tuned):
    with confirming("sqlite:///sofim.db", tuned, seeds=4) as ledger:
        for value, test in ((0.5, 0.125), (0.25, 0.25), (0.75, 0.375), (0.5, 0.25)):
            finish(ledger, ledger.ask(), value, test)
            assignment = ledger.ask()
            if value == 0.25:
                end(ledger, assignment, "diverged")
            else:
                finish(ledger, assignment, 0.5, 0.9)
    code, out, err = sofim("confirm", "fake", "--seeds", "4")
    assert (code, err) == (0, "")
    assert out.startswith("Nothing left to run: the 8 confirmation runs of fake are in the storage.\n\n")
    title = (
        "digits-mlp: the winners on fresh seeds, mean ± standard deviation; the order is by test accuracy (higher is"
    )
    assert title in out
    rows = {line.split()[0]: line for line in out.splitlines() if "lr=" in line}
    assert list(rows) == ["sofim", "sgd"], "a better mean with a run that diverged is not above"
    assert "0.5 ± 0.2  0.25 ± 0.1 " in rows["sofim"]
    assert " 4  lr=" in rows["sofim"]
    assert "0.5 ± 0" in rows["sgd"]
    assert "0.9 ± 0" in rows["sgd"]
    assert "3 of 4, 1 diverged" in rows["sgd"]
    assert "No search saw these seeds or test data. Next:" in out
    assert "sofim confirm" not in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "others", "runs"),  # of five parameters of SOFIM and four of SGD all differ; the last step is the winner
    [("--default", "the default: 8 runs", 8), ("--ablation", "the default and the steps from there to the winner", 22)],
)
def test_the_default_and_the_path_from_there_are_asked_for(sofim, tuned, monkeypatch, option, others, runs):
    asked = []
    monkeypatch.setattr(studies.commands.confirm, "work_off", lambda ledger, *_: asked.extend(work_off(ledger)))
    code, out, _ = sofim("confirm", "fake", "--seeds", "2", option)
    assert code == 0
    assert f"Confirming winners on 2 fresh seeds, and of each study {others}" in out
    assert len(asked) == runs
    assert out.count(", default") == 2


@pytest.mark.slow
def test_a_single_seed_has_no_deviation_and_an_overtaken_winner_no_row(sofim, tuned):
    with confirming("sqlite:///sofim.db", tuned, seeds=1, top=2) as ledger:
        while (assignment := ledger.ask()) is not None:
            finish(ledger, assignment, 0.5, 0.25)
    _, out, _ = sofim("confirm", "fake", "--seeds", "1")
    assert "±" not in out.replace("mean ± standard", "")
    assert out.count("lr=") == 2
    _, out, _ = sofim("confirm", "fake", "--seeds", "1", "--top", "2")
    assert out.count("lr=") == 4
    assert "sofim (2)" in out


@pytest.mark.slow
def test_a_metric_of_the_training_objective_has_a_test_loss_beside_it(sofim):
    only = {"workloads": ["breast-cancer-logreg"], "optimizers": ["sgd"]}
    made = make("sqlite:///sofim.db", {"breast-cancer-logreg/sgd": [0.5, 0.6]}, **only)
    with confirming("sqlite:///sofim.db", made, seeds=1) as ledger:
        finish(ledger, ledger.ask())
    _, out, _ = sofim("confirm", "fake", "--seeds", "1")
    header = out.splitlines()[3:5]
    assert header[0].split() == ["training", "test"]
    assert header[1].split() == ["optimizer", "gap", "loss", "seeds", "hyperparameters"]


@pytest.mark.slow
def test_after_a_search_the_next_thing_is_to_confirm(sofim, tuned):
    code, out, _ = sofim("launch", "fake")
    assert code == 0
    assert "  sofim confirm fake   the winners on fresh seeds, and on test data if there are any\n" in out


@pytest.mark.slow
@pytest.mark.parametrize(("trials", "note"), [(2, ""), (3, "fake.toml is not as it was tuned; what is confirmed is ")])
def test_a_campaign_is_confirmed_as_it_was_tuned_whatever_its_file_says_by_now(sofim, tuned, monkeypatch, trials, note):
    monkeypatch.setattr(studies.commands.confirm, "work_off", lambda *_: None)
    Path("fake.toml").write_text(
        'name = "fake"\nworkloads = ["digits-mlp"]\noptimizers = ["sofim", "sgd"]\n'
        f'trials = {trials}\nsampler = "random"\npruner = "none"\n'
    )
    code, out, err = sofim("confirm", "fake.toml", "--seeds", "2")
    assert (code, err) == (0, "")
    assert out.startswith(
        note + ("campaign 'fake' in the storage.\n" if note else "Confirming winners on 2 fresh seeds")
    )
    assert "Confirming winners on 2 fresh seeds: 4 runs; one at a time on a node" in out


@pytest.mark.slow
def test_status_tells_of_confirmation_runs_and_how_to_go_on_with_them(sofim, tuned):
    assert "confirmation" not in sofim("status")[1]
    script = (
        "import os\nfrom tests.support.fake_campaign import campaign\n"
        "from tests.studies.ledger.test_confirm_ledger import confirming, work_off\n"
        f"ledger = confirming('sqlite:///{Path.cwd()}/sofim.db', campaign(workloads=['digits-mlp']))\n"
        "work_off(ledger, most=3)\nledger.ask()\nledger.flush()\nos._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=240, check=False)
    _, out, _ = sofim("status")
    assert "fake: its driver was lost; confirm it again to go on\n" in out
    line = "digits-mlp, confirmation runs of winners: sofim 2 complete; sgd 1 complete, 1 running\n"
    assert line in out
    with confirming("sqlite:///sofim.db", tuned) as ledger:
        work_off(ledger)
    assert "sofim 3 complete; sgd 3 complete\n" in sofim("status")[1]


# ------------------------------------------------------------------------------------------------------- mistakes

MISTAKES = {
    "confirm": "Missing argument 'CAMPAIGN'; see: sofim confirm --help",
    "confirm fake --seeds 0": "Invalid value for '--seeds': 0 is not in the range 1<=x<=10000; "
    "see: sofim confirm --help",
    "confirm fake --seeds -3": "Invalid value for '--seeds': -3 is not in the range 1<=x<=10000; "
    "see: sofim confirm --help",
    "confirm fake --seeds ten": "Invalid value for '--seeds': 'ten' is not a valid integer range; "
    "see: sofim confirm --help",
    "confirm fake --top 0": "Invalid value for '--top': 0 is not in the range 1<=x<=10000; see: sofim confirm --help",
    "confirm fake --cpus-per-trial 0": "--cpus-per-trial 0: must be a number from 0.01",
    "confirm fake --gpus-per-trial -1": "--gpus-per-trial -1: must be 0, or a share of a GPU from 0.01 to "
    "1: a trial trains on one GPU at most, and several GPUs run several trials",
    "confirm nosuch": "no campaign 'nosuch': it is no preset (quickstart, modern, fashion, cifar, atlas, "
    "atlas-rho, atlas-sensitivity, atlas-others, paper), no TOML file, and not in sqlite:///sofim.db (fake, half, own)",
    "confirm quickstart": "no campaign 'quickstart' in sqlite:///sofim.db to confirm; there are: fake, half, own; "
    "launch it first",
    "confirm quickstart --storage sqlite:///other.db": "no campaign 'quickstart' in sqlite:///other.db to confirm; "
    "there is none; launch it first",
    "confirm half": "campaign 'half' is not finished: 3 of 4 trials are missing "
    "(digits-mlp/sofim 1, digits-mlp/sgd 2); go on with: sofim launch half, or confirm what is there with --anyway",
    "confirm fake --address 127.0.0.1:1": "--address 127.0.0.1:1: no Ray cluster answers there (Connection refused); "
    "start one with: ray start --head",
}


@pytest.fixture(scope="module")
def furnished(tmp_path_factory) -> Path:
    here = tmp_path_factory.mktemp("home")
    url = f"sqlite:///{here}/sofim.db"
    make(url, FINISHED, **TWO)
    make(url, {"digits-mlp/sofim": [0.5]}, name="half", **TWO)
    make(url, {"digits-mlp/sgd": [0.5]}, name="own", workloads=["digits-mlp"], optimizers=["sgd"], trials=1)
    return here


@pytest.mark.parametrize(("typed", "message"), MISTAKES.items(), ids=list(MISTAKES))
def test_a_mistake_is_one_line_that_names_the_thing_and_the_remedy(sofim, monkeypatch, furnished, typed, message):
    monkeypatch.chdir(furnished)
    code, _, err = sofim(*typed.split())
    assert (code, err) == (2, f"sofim: {message}\n")
    assert not (furnished / "other.db").exists()


def test_a_workload_without_test_data_is_refused_before_the_search(sofim, tmp_path, monkeypatch):
    shutil.copy(ROOT / "tests" / "support" / "confirm_workload.py", tmp_path)
    monkeypatch.delitem(sys.modules, "confirm_workload", raising=False)
    typed = ["launch", "quickstart", "--workload", "confirm_workload:untested", "--dry-run", "--optimizers", "sgd"]
    code, out, _ = sofim(*typed)
    assert (code, "Nothing was run or stored." in out) == (0, True)
    code, _, err = sofim(*typed, "--confirm")
    assert code == 2
    assert "has no test data" in err
    assert err.count("\n") == 1
    assert not Path("sofim.db").exists()
    sys.modules.pop("confirm_workload", None)


def test_ctrl_c_says_how_to_go_on(sofim, tuned, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(studies.commands.confirm, "work_off", interrupted)
    code, _, err = sofim("confirm", "fake", "--seeds", "3")
    assert (code, err) == (
        130,
        "\nsofim: interrupted; nothing that had finished is lost, to go on: sofim confirm fake --seeds 3\n",
    )


# ----------------------------------------------------------------------------------------------------- placement


@pytest.mark.parametrize(
    ("nodes", "gpus", "slots"),  # slots: how many runs at once on each node
    [
        ([{"CPU": 2.0}], 0.0, [1]),
        ([{"CPU": 8.0}, {"CPU": 8.0}], 0.0, [1, 1]),
        ([{"CPU": 8.0}, {"CPU": 2.0}], 0.0, [1, 0]),
        ([{"CPU": 16.0, "GPU": 8.0}], 0.0, [1]),
        ([{"CPU": 16.0, "GPU": 8.0}], 1.0, [8]),
        ([{"CPU": 4.0, "GPU": 8.0}], 1.0, [8]),
        ([{"CPU": 3.0, "GPU": 7.0}, {"CPU": 64.0, "GPU": 2.0}, {"CPU": 4.0}], 1.0, [7, 2, 0]),
        ([{"CPU": 16.0, "GPU": 8.0}], 2.0, [4]),
    ],
)
def test_a_run_is_alone_on_its_device_and_every_gpu_has_one(monkeypatch, nodes, gpus, slots):
    monkeypatch.setattr(_cluster, "living_nodes", lambda: nodes)
    shape = settled(Resources(cpus_per_trial=None, gpus_per_trial=gpus))
    assert [slots_of(node, shape) for node in nodes] == slots


@pytest.mark.nightly(by_day=["CPU x-0.0"])
@pytest.mark.slow
@pytest.mark.parametrize(("device", "gpus"), [("CPU x", 0.0), ("NVIDIA H100", 1.0)])
def test_winners_are_confirmed_where_they_were_tuned(sofim, monkeypatch, tuned, device, gpus):
    from tests.support import fake_campaign

    with monkeypatch.context() as patch:
        patch.setattr(fake_campaign, "end", lambda ledger, assignment, value: _complete(ledger, assignment, device))
        make("sqlite:///sofim.db", {f"digits-mlp/{o}": [0.5, 0.5] for o in ("sofim", "sgd")}, name=f"on-{gpus}", **TWO)
    asked = []
    monkeypatch.setattr(studies.commands.confirm, "work_off", lambda _l, _b, resources, _c: asked.append(resources))
    sofim("confirm", f"on-{gpus}")
    sofim("confirm", f"on-{gpus}", "--gpus-per-trial", "0.5", "--cpus-per-trial", "2")
    assert [(r.cpus_per_trial, r.gpus_per_trial) for r in asked] == [(None, gpus), (2.0, 0.5)]


def _complete(ledger, assignment, device: str) -> None:
    from tests.support.fake_campaign import record

    ledger.report(assignment, record(1, 0.5, 0.5))
    ledger.end(assignment, "complete", {"device": device})
