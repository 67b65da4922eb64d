"""sofim tune without a search: what a budget is, what is printed, one line for every mistake."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from datetime import timedelta
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import studies
from analysis.intervals import mean
from search_spaces import SEARCH_SPACES
from search_spaces.errors import UserError
from sofim.recommended import shipped
from studies.called import from_python
from studies.cli import sofim as command_line
from studies.commands.find import tuned_again
from studies.commands.tuning import Budget, Estimate, Tried, Tuned, parse_budget
from studies.commands.tuning._plan import DEFAULT, Search, default_name, resolve_campaign
from studies.commands.tuning._tune import _nothing
from studies.commands.tuning._tuned import code_lines
from studies.ledger import Clock, ConfirmationBudget
from tests.studies.ledger.test_tune_ledger import confirming, finish, search, searching, work_off
from tests.support.fake_campaign import end

PORTFOLIO = list(dict.fromkeys(member["optimizer"] for member in shipped()["portfolio"]))

# ---------------------------------------------------------------------------------------------------------- the budget


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h", 3600), ("30min", 1800), ("90s", 90), ("1.5h", 5400), ("2 h", 7200), ("1h30min", 5400), ("1H 30M", 5400),
        ("45m", 2700), ("120sec", 120), ("1d", 86400), ("20s", 20), (timedelta(minutes=2), 120),
    ],
)  # fmt: skip
def test_times(text: str | timedelta, seconds: float) -> None:
    assert parse_budget(text) == Budget(seconds=seconds)


@pytest.mark.parametrize(("text", "trials"), [("200", 200), (" 1 ", 1), (50, 50), ("1000000", 1_000_000)])
def test_a_plain_number_counts_trials(text: str | int, trials: int) -> None:
    assert parse_budget(text) == Budget(trials=trials)
    assert parse_budget(text).stored() == {"trials": trials}


@pytest.mark.parametrize("text", ["", "h", "-1h", "1x", "1.5", "1h30", "nan", "inf", "1e3", "٣h", "min", True, "1 h h"])
def test_what_is_no_budget(text: Any) -> None:
    with pytest.raises(UserError, match="must be a time such as 1h, 30min or 90s, or a number of trials such as 200"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0", "from 1 to"), ("-3", "from 1 to"), ("1000001", "from 1 to"), ("9" * 5000, "from 1 to"),
        ("0s", "too short"), ("19s", "too short"), ("400d", "too long"), (timedelta(0), "too short"),
    ],
)  # fmt: skip
def test_budgets_that_nothing_can_be_done_with(text: str | timedelta, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        parse_budget(text)
    assert len(str(caught.value)) < 200


@given(st.text(max_size=20))
def test_any_text_is_a_budget_or_a_mistake(text: str) -> None:
    try:
        found = parse_budget(text)
    except UserError:
        return
    assert (found.seconds is None) != (found.trials is None)


def test_the_clock_counts_what_was_spent_before() -> None:
    clock = Clock(budget=100.0, began=1000.0, before=30.0, now=lambda: 1005.0)
    assert clock.spent() == 35
    assert clock.left() == 65
    assert clock.limited
    assert not Clock().limited


@pytest.mark.parametrize(
    ("workload", "name"),
    [("digits-mlp", "tune-digits-mlp"), ("my.package:it", "tune-my.package-it"), ("m" * 90, "tune-" + "m" * 59)],
)
def test_a_search_has_a_name_of_its_workload(workload: str, name: str) -> None:
    assert default_name(workload) == name


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("give a larger --budget", "give a larger budget="),
        ("give --budget 4min or more, or fewer --epochs", "give budget='4min' or more, or fewer epochs="),
        ("leave that out: --optimizers sgd,adam", "leave that out: optimizers='sgd,adam'"),
        ("begin with sofim launch mine --extend", "begin with sofim launch mine --extend"),
    ],
)
def test_a_call_from_python_is_told_of_its_arguments(message: str, said: str) -> None:
    with pytest.raises(UserError) as told, from_python():
        raise UserError(message)
    assert str(told.value) == said


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ("sgd,adam", ["sgd", "adam"]),
        ("all", list(SEARCH_SPACES)),
        ("sgd,portfolio", ["sgd", *PORTFOLIO]),
        (["portfolio", PORTFOLIO[0]], [*PORTFOLIO[1:], PORTFOLIO[0]]),
        (DEFAULT, [*(key for key in PORTFOLIO if key not in ("sofim", "sgd", "adamw")), "sofim", "sgd", "adamw"]),
    ],
)
def test_a_word_stands_for_optimizers_and_none_is_searched_twice(asked: str | list[str], chosen: list[str]) -> None:
    assert list(resolved(asked).resolved.campaign.optimizers) == chosen


def resolved(optimizers: str | list[str], schedule: str = "constant") -> Search:
    return resolve_campaign(
        "digits-mlp", Budget(trials=9), optimizers, name=None, seed=0, epochs=None, schedule=schedule, seeds=3,
        data_directory=None,
    )  # fmt: skip


def test_the_line_of_code_says_on_what_schedule_it_was_found() -> None:
    found = {"sgd": "cosine+warmup", "schedule-free-adamw": "constant+warmup"}
    search = resolved(list(found), "cosine+warmup")
    assert search.resolved.campaign.schedule == "cosine+warmup"
    for optimizer, name in found.items():
        space = SEARCH_SPACES[optimizer]
        winner = SimpleNamespace(optimizer=optimizer, arguments=space.arguments(space.default))
        code = code_lines(winner, {}, of_function=False, schedule=search.schedule)
        assert f"# learning-rate schedule: {name}" in code.splitlines()
        assert "schedule:" not in code_lines(winner, {}, of_function=False, schedule=None), "a loop has its own"


def test_where_all_diverged_no_larger_budget_is_asked_for(tmp_path: Path) -> None:
    asked = search(Budget(trials=2), optimizers=("sgd",))
    ledger = searching(f"sqlite:///{tmp_path}/sofim.db", asked)
    while (assignment := ledger.ask()) is not None:
        end(ledger, assignment, "diverged")
    [tally] = ledger.tallies()
    said = str(_nothing(asked, ledger, ledger.rule, tally))
    ledger.close()
    assert "none of 2 trials (2 diverged) ran its whole budget, which a larger one does not mend; choose other" in said


# ---------------------------------------------------------------------------------------------------------- the result


def estimated(values: list[float]) -> Estimate:
    return Estimate(*mean(np.array(values)), tuple(values))


def tuned(**changes: Any) -> Tuned:
    fields = {
        "study": "tune-w/w/any",
        "workload": "w",
        "optimizer": "sgd",
        "arguments": {"lr": 0.1},
        "batch_size": 32,
        "metric": "accuracy",
        "direction": "maximize",
        "metric_split": "validation",
        "validation": estimated([0.5, 0.7, 0.6]),
        "test": estimated([0.25, 0.75, 0.5]),
        "searched": 0.8,
        "seeds": 3,
        "broken": 0,
        "trials": {"complete": 3, "pruned": 2, "diverged": 0, "failed": 0},
        "ended": "the time was spent",
        "seconds": 61.0,
        "code": "from torch.optim import SGD\n\noptimizer = SGD(model.parameters(), lr=0.1)\nbatch_size = 32",
    }
    return Tuned(**(fields | changes))


def test_what_is_printed() -> None:
    assert str(tuned()) == (
        "Best on w: sgd, after 5 trials (3 complete, 2 pruned) in 1 min 01 s (the time was spent)\n"
        "  validation accuracy: 0.6 [0.3516, 0.8484]\n"
        "  test accuracy: 0.5 [-0.121, 1.121]\n"
        "  on 3 fresh seeds; 95 % intervals of the mean, Student's t over seeds\n"
        "\n"
        "from torch.optim import SGD\n"
        "\n"
        "optimizer = SGD(model.parameters(), lr=0.1)\n"
        "batch_size = 32"
    )


def test_what_is_printed_in_python_names_the_columns_of_its_table() -> None:
    tried = [Tried(name, 0.5, 4, 3, 0, 0, estimated([]), estimated([]), {}) for name in ("sgd", "schedule-free-adamw")]
    heads, *rows = str(tuned(optimizers=tuple(tried))).split("\n\n")[1].splitlines()
    assert heads.startswith("optimizer            best accuracy in the search  trials")
    assert {row.index("4 (3 complete)") for row in rows} == {heads.index("trials")}


def test_what_is_missing_is_said() -> None:
    assert "test" not in str(tuned(test=None))
    assert "on 3 fresh seeds of 10 (no time for 7)" in str(tuned(seeds=10))
    assert "on 3 fresh seeds of 5 (2 diverged or failed and are not in the mean)" in str(tuned(seeds=5, broken=2))
    one = str(tuned(seeds=1, validation=estimated([0.5]), test=None))
    assert "validation accuracy: 0.5\n" in one
    assert "  on 1 fresh seed\n" in one
    none = tuned(seeds=2, broken=2, validation=estimated([]), test=None)
    assert math.isnan(none.validation.mean)
    assert "on 0 fresh seeds of 2 (2 diverged or failed" in str(none)
    assert "  training gap: " in str(tuned(metric="gap", metric_split="train"))
    assert "  test loss: " in str(tuned(metric="gap", metric_split="train"))


# --------------------------------------------------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["digits-mlp"], "Missing option '--budget'"),
        (["digits-mlp", "--budget", "1x"], "must be a time such as 1h"),
        (["digits-mlp", "--budget", "5s"], "too short"),
        (["digits-mlpp", "--budget", "1h"], "did you mean digits-mlp?"),
        (["nope", "--budget", "1h"], "sofim: workload 'nope' is unknown: known are "),
        (["digits-mlp", "--budget", "1h", "--optimizers", "sgd,adm"], "did you mean adam?"),
        (["digits-mlp", "--budget", "1h", "--optimizers", ","], "optimizers = []"),
        (["digits-mlp", "--budget", "1h", "--epochs", "0"], "epochs = 0: must be a whole number from 1 to 1000000\n"),
        (
            ["digits-mlp", "--budget", "1h", "--schedule", "cosin"],
            "schedule = 'cosin': must be one of constant, cosine",
        ),
        (["digits-mlp", "--budget", "1h", "--name", "a/b"], "must not contain '/'"),
        (["digits-mlp", "--budget", "1h", "--seed", "-1"], "seed = -1"),
        (["digits-mlp", "--budget", "1h", "--seeds", "0"], "0 is not in the range"),
        (["digits-mlp", "--budget", "1h", "--cpus-per-trial", "0"], "--cpus-per-trial 0"),
        (["digits-mlp", "--budget", "1h", "--storage", "sqlite:///no/such.db"], "there is no directory"),
        (["nowhere:it", "--budget", "1h"], "there is no module nowhere"),
        (["broken:it", "--budget", "1h"], "broken.py:4)"),
    ],
)
def test_a_mistake_is_one_line(sofim, tmp_path, arguments, words):
    (tmp_path / "broken.py").write_text("import studies\n\ndef it():\n    raise ValueError('not today')\n")
    code, out, err = sofim("tune", *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("sofim: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds"),
        ({"workload": 3}, "workload"),
        ({"gpus_per_trial": 2}, "gpus_per_trial=2: .*a trial trains on one GPU at most"),
        ({"cpus_per_trial": -1}, "cpus_per_trial=-1: "),
        ({"cpus": 1, "address": "auto"}, "cpus=1: limits this machine"),
    ],
)
def test_mistakes_of_the_function(wrong, words):
    with pytest.raises(UserError, match=f"^{words}"):
        studies.tune(**{"workload": "digits-mlp", "budget": 3, "storage": "sqlite:///never.db"} | wrong)


def finished(url: str) -> None:
    asked = search(Budget(trials=12), seeds=3, optimizers=("sofim", "sgd", "adam"))
    with searching(url, asked) as ledger:
        work_off(ledger)
    with confirming(url, asked, budget=ConfirmationBudget(Clock(), 3), top=2, of_each=True) as ledger:
        for index in itertools.count():
            assignment = ledger.ask()
            if assignment is None:
                break
            is_winner = assignment.optimizer == "sgd"
            finish(ledger, assignment, 0.5, test_loss=1.0, test_metric=(0.25 if is_winner else 0.125) + index / 1000)


@pytest.mark.slow
def test_what_is_finished_is_told_again_and_its_line_runs(sofim, tmp_path):
    import torch

    finished(f"sqlite:///{tmp_path}/sofim.db")
    options = ["--name", "fake", "--epochs", "4", "--budget", "12", "--seeds", "3", "--optimizers", "sofim,sgd,adam"]
    code, out, err = sofim("tune", "digits-mlp", *options)
    assert (code, err) == (0, "")
    assert "Best on digits-mlp: sgd, after 12 trials" in out
    assert "(all 12 trials were run)" in out
    assert "  test accuracy: 0.252 [" in out
    table = [line.split() for line in out.splitlines()]
    [sgd], [adam] = ([row for row in table if row[:1] == [name] and "complete)" in row] for name in ("sgd", "adam"))
    assert "0.252" in sgd
    assert "0.128" in adam, "the best of the next best optimizer, on the same seeds"
    assert "On 3 fresh seeds, test accuracy, sgd against adam: difference of the means 0.124 [" in out
    assert "this configuration of sgd is better than that of adam" in out
    assert "This is of two configurations that one search found, not of the optimizers" in out
    assert "\n  sofim report fake   how sensitive it is\n" in out
    lines = out[out.index("from torch") : out.index("Next:")]
    namespace: dict[str, Any] = {"model": torch.nn.Linear(2, 2)}
    exec(lines, namespace)
    assert isinstance(namespace["optimizer"], torch.optim.SGD)
    assert namespace["batch_size"] > 0
    found = studies.tune("digits-mlp", name="fake", epochs=4, budget=12, seeds=3, optimizers=("sofim", "sgd", "adam"))
    assert isinstance(found, Tuned)
    assert all("\n".join(part) in out for part in (found.told()[1:], found.compared, found.code.splitlines()))
    assert [one.optimizer for one in found.optimizers[:2]] == ["sgd", "adam"]
    assert [one.seeds for one in found.optimizers] == [3, 3, *[0] * (len(found.optimizers) - 2)]
    assert sum(one.trials for one in found.optimizers) == 12
    assert found.optimizer == "sgd"
    assert set(found.arguments) == {"lr", "momentum", "nesterov", "weight_decay"}


@pytest.mark.slow
def test_the_report_begins_with_the_optimizers_also_where_time_was_the_budget(sofim, tmp_path):
    url = f"sqlite:///{tmp_path}/sofim.db"
    with searching(url, search(Budget(seconds=1000.0))) as ledger:
        work_off(ledger, most=9)
    code, out, err = sofim("report", "fake", "--out", "page")
    assert (code, err) == (0, "")
    assert "sgd came furthest in the search and adam next; the two were not run on enough fresh seeds" in out
    page = Path("page/index.html").read_text()
    assert page.index("How optimizers compare") < page.index("sgd came furthest") < page.index("How sensitive?")
    assert Path("page/tables/optimizers.csv").read_text().splitlines()[1].startswith("1,sgd,")


@pytest.mark.slow
def test_other_commands_know_such_a_search(sofim, tmp_path):
    finished(f"sqlite:///{tmp_path}/sofim.db")
    code, out, _ = sofim("status", "fake")
    assert code == 0
    assert "12/12" in out
    assert "confirmation runs of winners: any 6 complete" in out
    code, out, _ = sofim("list")
    assert code == 0
    assert "fake  1 study" in out
    for command in ("launch", "confirm"):
        code, _, err = sofim(command, "fake")
        assert code == 2
        again = "sofim tune digits-mlp --name fake --budget 12 --epochs 4 --seeds 3 --optimizers sofim,sgd,adam"
        assert f"was made by sofim tune, which also goes on with it: {again}\n" in err
    code, _, err = sofim("export", "fake", "--storage", f"sqlite:///{tmp_path}/sofim.db")
    assert (code, err.partition("to see it again: ")[2]) == (2, f"{again} --storage sqlite:///{tmp_path}/sofim.db\n")


@pytest.mark.parametrize(
    ("asked", "again"),
    [
        (
            {"epochs": 5, "schedule": "cosine", "seed": 3, "budget": {"seconds": 5400.0}, "seeds": 10},
            "sofim tune mine:xor --name x --budget 90min --seed 3 --epochs 5 --schedule cosine --optimizers sgd "
            "--storage sqlite:///o.db",
        ),
        (
            {"workloads": ["__main__:xor"], "seeds": 4},
            "studies.tune(xor, optimizers=['sgd'], name='x', budget='7', seeds=4, storage='sqlite:///o.db')",
        ),
        (
            {"optimizers": ["configuration"], "search_space": {"configuration": {"lr": [0.1, 1.0]}}},
            "studies.tune('mine:xor', search_space={'lr': [0.1, 1.0]}, name='x', budget='7', storage='sqlite:///o.db')"
            ", with metric and direction too if it was given them",
        ),
    ],
)
def test_a_search_is_asked_for_again_as_it_was(asked, again):
    stored = {"name": "x", "workloads": ["mine:xor"], "optimizers": ["sgd"], "budget": {"trials": 7}, "seed": 0}
    assert tuned_again({**stored, "schedule": "constant", **asked}, "sqlite:///o.db")[1] == again


@pytest.mark.slow
def test_a_search_that_ends_with_its_time_has_no_number_of_trials(sofim, tmp_path):
    with searching(f"sqlite:///{tmp_path}/sofim.db", search(Budget(seconds=1000.0))) as ledger:
        work_off(ledger, most=5)
        running = ledger.ask()
        assert running is not None
        assert ledger.tallies()[0].asked_for is None
        ledger.flush()
        code, out, _ = sofim("status", "fake")
    assert code == 0
    row = next(line for line in out.splitlines() if line.strip().startswith("any"))
    assert row.split()[1] == "5"


def test_the_function_takes_what_the_command_takes():
    options = {option.name for option in command_line.commands["tune"].params}
    of_functions = {"search_space", "metric", "direction"}  # of Python alone: a command's workload is declared
    python = {"log", "console", "began"} | of_functions
    assert options - {"custom", "logs"} | python == set(signature(studies.tune).parameters)


def test_importing_studies_brings_nothing_heavy():
    script = "import sys, studies; studies.__all__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=Path.cwd())
    assert not {"torch", "ray", "optuna", "pandas", "rich", "pydantic"} & set(done.stdout.split())
    with pytest.raises(AttributeError, match="no attribute 'tuna'"):
        _ = studies.tuna
