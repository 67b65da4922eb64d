"""docs/atlas and docs/cifar say what their databases hold: the table, and the sentences that people will quote."""

from __future__ import annotations

import lzma
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from optuna.storages import BaseStorage
from torch.optim.optimizer import register_optimizer_step_post_hook

from analysis.atlas import coordinates, kinds, sensitivities, steps
from analysis.comparison.pairwise import chance, comparisons
from analysis.comparison.searches import level
from analysis.comparison.time_to_target import time_to_target
from analysis.comparison.workload_runs import WorkloadRuns, contests
from analysis.defaults import SEED, surrogate_study
from analysis.defaults.pooled import pooled
from analysis.load import curves, evaluations, read, studies
from analysis.report._chapter import Options, generator
from analysis.study import Frames, Study
from analysis.text import percent
from analysis.winners import winner
from sofim import OPTIMIZERS as OPTIMIZERS_OF
from sofim.recommended import shipped
from studies.storage.database import close_storage, open_storage
from studies.training.run import train
from studies.workloads import WORKLOADS
from studies.workloads._targets import TARGETS

ATLAS = Path(__file__).parents[3] / "docs" / "atlas"
OPTIMIZERS = ("sofim", "sgd", "adamw", "muon", "sofim-gradient", "sofim-tensor")


@cache
def kept_bytes(page: str) -> bytes:
    return lzma.decompress((ATLAS.parent / page / f"{page}.db.xz").read_bytes())


def unpacked(directory: Path, page: str = "atlas") -> BaseStorage:
    database = directory / f"{page}.db"
    database.write_bytes(kept_bytes(page))
    return open_storage(f"sqlite:///{database}", create=False)


def held(campaign: str, directory: Path, page: str = "atlas", *, confirmed: bool = False) -> tuple[list[Study], Frames]:
    """What the database beside a page holds of a campaign; the curves are of its trials, or of confirmation runs."""
    storage = unpacked(directory, page)
    try:
        own = studies(storage, campaign, replicates=True)
        frames = read(storage, own)
        return own, replace(frames, curves=curves(storage, own, confirmed=True)) if confirmed else frames
    finally:
        close_storage(storage)


def kept(campaign: str, directory: Path, beside: str | None = None) -> list[WorkloadRuns]:
    """What the database beside a page, by default that of the campaign's name, has to compare of a campaign."""
    own, frames = held(campaign, directory, beside or campaign, confirmed=True)
    return contests(own, frames.trials, frames.confirmations, frames.curves)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[WorkloadRuns]:
    return kept("atlas", tmp_path_factory.mktemp("atlas"))


@pytest.fixture(scope="module")
def page() -> str:
    return " ".join(f"{answers()} {(ATLAS / 'details.md').read_text(encoding='utf-8')}".split())


def answers() -> str:
    return (ATLAS / "README.md").read_text(encoding="utf-8")


def answered() -> dict[str, str]:
    """The rows of the page's first table, by the kind of task."""
    return dict(line.strip("| ").split(": ", 1) for line in answers().splitlines() if line.startswith("| a "))


def row(contest: WorkloadRuns, optimizers: Sequence[str]) -> str:
    """What the page's table says of a workload: the best in bold."""
    means = {study.optimizer: level(contest, study).value for study in contest.studies}
    best = (max if contest.direction == "maximize" else min)(means.values())
    told = {name: f"**{mean:.3g}**" if mean == best else f"{mean:.3g}" for name, mean in means.items()}
    cells = [told.get(name, "–") for name in optimizers]
    arrow = "↑" if contest.direction == "maximize" else "↓"
    return f"| `{contest.workload}`, {contest.label} {arrow} | {' | '.join(cells)} |"


@pytest.mark.slow
def test_the_table_is_that_of_the_database(found: list[WorkloadRuns], page: str) -> None:
    for contest in found:
        assert row(contest, OPTIMIZERS) in page


@pytest.mark.slow
def test_the_best_of_128_trials_are_those_of_the_database(tmp_path: Path, page: str) -> None:
    told: dict[str, dict[str, float]] = {}
    words = {}
    for campaign in ("atlas-sensitivity", "atlas-sensitivity-baselines"):
        own, frames = held(campaign, tmp_path)
        for study in own:
            trials = frames.trials[frames.trials["study"] == study.name]
            assert len(trials) == 128
            values = trials.loc[trials["outcome"] == "complete", "value"]
            up = study.direction == "maximize"
            told.setdefault(study.workload, {})[study.optimizer] = values.max() if up else values.min()
            words[study.workload] = f"{study.metric} {'↑' if up else '↓'}"
    counts = dict.fromkeys(("adamw", "sgd"), (0, 0, 0))
    for workload, bests in told.items():
        best = (max if words[workload].endswith("↑") else min)(bests.values())
        cells = [f"**{value:.3g}**" if value == best else f"{value:.3g}" for value in map(bests.get, OPTIMIZERS[:3])]
        assert f"| `{workload}`, {words[workload]} | {' | '.join(cells)} |" in page
        for rival, (better, equal, worse) in counts.items():
            ahead = (bests["sofim"] - bests[rival]) * (1 if words[workload].endswith("↑") else -1)
            counts[rival] = (better + (ahead > 0), equal + (ahead == 0), worse + (ahead < 0))
    assert counts == {"adamw": (4, 2, 4), "sgd": (6, 1, 3)}
    assert "AdamW's on four workloads, equal on two, worse on four; than SGD's better on six, equal on one" in page


@pytest.mark.slow
def test_what_is_said_of_seconds_is_of_the_database(found: list[WorkloadRuns], page: str) -> None:
    times, _ = time_to_target(found, np.random.default_rng(SEED))
    times = times[(times["axis"] == "seconds") & times["comparable"]]
    ratios = {}
    for contest in found:
        own = times[times["workload"] == contest.workload].set_index("optimizer")
        if len(own) < len(OPTIMIZERS):
            continue
        rows = [own.loc[optimizer] for optimizer in OPTIMIZERS]
        arrived = [f"{row['reached']}, {row['median']:.2g}".replace("inf", "–") for row in rows]
        assert f"| `{contest.workload}` | {rows[0]['target']:g} | {' | '.join(arrived)} |" in page
        medians = {study.optimizer: contest.of(study)["seconds"].median() for study in contest.studies}
        ratios[contest.workload] = f"{medians['muon'] / medians['sofim']:.2g}"
    for workload, ratio in ratios.items():
        assert f"{ratio} on `{workload}`" in page
    assert {"0.66", "5"} <= set(ratios.values()), "from … to"


@pytest.mark.slow
def test_the_winners_of_sgd_lie_beyond_what_sofim_holds(tmp_path: Path, page: str) -> None:
    winners = held("atlas", tmp_path)[1].confirmations.query("optimizer == 'sgd'").drop_duplicates("study")
    for workload in ("poisson-pinn", "cartpole-reinforce"):
        params = winners.loc[winners["workload"] == workload, "params"]
        first, second, third = (
            f"{rate:.2g}" for rate in sorted(each["lr"] / (1 - each["momentum"]) for each in params)
        )
        first, second = (f"{float(rate):.1f}" if float(rate) < 10 else rate for rate in (first, second))
        assert f"`{workload}` ({first}, {second} and {third})" in page


RANKS = {  # what the page says of each kind of task, by the workloads that stand for it
    "a transformer": {"digits-vit": "5th of 6", "shakespeare-gpt": "3rd of 5"},
    "a physics-informed network": {"poisson-pinn": "5th of 6"},
    "a policy": {"cartpole-reinforce": "5th of 6"},
    "a convolutional network": {"digits-lenet5": "2nd of 6", "fashion-lenet5": "4th of 6"},
    "a deep autoencoder": {"digits-autoencoder": "2nd of 6"},
    "a classifier of text": {"shakespeare-plays": "5th of 6"},
    "a perceptron, a model of tables": {
        "digits-mlp": "4th of 6",
        "breast-cancer-logreg": "last",
        "breast-cancer-regression": "last",
    },
}


@pytest.mark.slow
def test_what_is_answered_for_each_kind_of_task_is_of_the_database(found: list[WorkloadRuns], tmp_path: Path) -> None:
    told = answered()
    assert list(told) == list(RANKS)
    contest = {one.workload: one for one in [*found, *kept("atlas-gpt", tmp_path, beside="atlas")]}
    assert {workload for ranks in RANKS.values() for workload in ranks} == set(contest)
    for task, ranks in RANKS.items():
        for workload, said in ranks.items():
            means = {one.optimizer: level(contest[workload], one).value for one in contest[workload].studies}
            sign = 1 if contest[workload].direction == "maximize" else -1
            rank = 1 + sum(sign * mean > sign * means["sofim"] + 1e-9 for mean in means.values())
            ordinal = {1: "1st", 2: "2nd", 3: "3rd"}.get(rank, f"{rank}th")
            assert said == ("last" if rank == len(means) else f"{ordinal} of {len(means)}"), workload
            assert said in told[task]


def test_what_to_begin_with_is_what_ships() -> None:
    sofim = shipped()["optimizers"]["sofim"]
    own = {
        "a physics-informed network": "poisson-pinn",
        "a convolutional network": "digits-lenet5",
        "a deep autoencoder": "digits-autoencoder",
    }
    for task, said in answered().items():
        params = sofim["workloads"][own[task]]["params"] if task in own else sofim["default"]["params"]
        assert begin_with(params) in said, task
    second = sofim["workloads"][sofim["portfolio"][1]["workload"]]["params"]
    assert f"**A second one to try is {begin_with(second)}.**" in answers()
    for workload, default in sofim["default"]["elsewhere"].items():
        runs = sofim["workloads"][workload]["evidence"]
        sign = -1 if runs["direction"] == "minimize" else 1
        mean = "mean" if "mean" in runs else "geometric_mean"
        assert (workload in own.values()) == (sign * runs[mean] > sign * default[mean]), (
            "which did better on fresh seeds"
        )


@pytest.mark.slow
def test_what_recommended_configurations_reach_is_what_ships(tmp_path: Path, page: str) -> None:
    storage = unpacked(tmp_path)
    try:
        runs = evaluations(storage, studies(storage, "atlas", replicates=True)).query("optimizer == 'sofim'")
    finally:
        close_storage(storage)
    ships = {name: shipped()["optimizers"][name] for name in OPTIMIZERS[:4]}
    home = ships["sofim"]["portfolio"][1]["workload"]
    second = ships["sofim"]["workloads"][home]
    own = runs[[params["lr"] == pytest.approx(second["params"]["lr"]) for params in runs["params"]]]
    for workload, entry in ships["sofim"]["workloads"].items():
        evidence = entry["evidence"]
        values = own.loc[own["workload"] == workload, "value"]
        mean = np.exp(np.log(values).mean()) if "geometric_mean" in evidence else values.mean()
        told = [f"*{reached(second['evidence']):.3g}*" if workload == home else f"{mean:.3g}"]
        for ship in ships.values():
            elsewhere = ship["default"]["elsewhere"].get(workload)
            told.append(
                f"{reached(elsewhere):.3g}"
                if elsewhere
                else f"*{reached(ship['workloads'][workload]['evidence']):.3g}*"
            )
        told[:2] = told[1::-1]
        arrow = "↑" if evidence["direction"] == "maximize" else "↓"
        assert f"| `{workload}`, {evidence['metric']} {arrow} | {' | '.join(told)} |" in page


def reached(evidence: Mapping[str, Any]) -> float:
    return float(evidence["mean"] if "mean" in evidence else evidence["geometric_mean"])


@pytest.mark.slow
def test_how_many_winners_are_starting_configurations_is_of_the_database(tmp_path: Path, page: str) -> None:
    own, frames = held("atlas", tmp_path)
    best = {study.name: winner(study, frames.trials) for study in own}
    counts = Counter(study.optimizer for study in own if best[study.name]["number"] == 0)
    assert Counter(study.optimizer for study in own) == dict.fromkeys(OPTIMIZERS, 30)
    assert (
        "of the 30 winners of each, the starting configuration is {sofim} of SOFIM's, {sgd} of SGD's, {muon} of Muon's "
        "and {adamw} of AdamW's".format(**counts)
    ) in page
    on_vit = [best[s.name]["number"] for s in own if (s.workload, s.optimizer) == ("digits-vit", "sofim")]
    assert on_vit == [0, 0, 0], "none improved on it"


def begin_with(params: Mapping[str, Any]) -> str:
    return ", ".join([*(f"{params[name]:.2g}" for name in ("lr", "rho", "beta")), str(params["batch_size"])])


@pytest.mark.nightly
@pytest.mark.slow
def test_what_is_said_of_the_gpt_is_of_its_campaign(tmp_path: Path, page: str) -> None:
    own, frames = held("atlas-gpt", tmp_path, confirmed=True)
    [contest] = contests(own, frames.trials, frames.confirmations, frames.curves)
    assert row(contest, OPTIMIZERS) in page
    assert {len(contest.of(study)) for study in contest.studies} == {9}, "three searches, three seeds"
    pairs = comparisons([contest]).set_index(["a", "b"])
    assert set(pairs["verdict"]) == {"no difference shown"}
    told = {"adamw": "0.22 [−0.52, 0.96]", "muon": "0.31 [−0.38, 1.00]", "sgd": "−0.15 [−0.61, 0.32]"}
    for rival, said in told.items():
        found = pairs.loc[("sofim", rival), ["difference", "difference_low", "difference_high"]]
        middle, low, high = (f"{value:.2f}".replace("-", "−") for value in found)
        assert f"{middle} [{low}, {high}]" == said
        assert said in page
    runs = {study.optimizer: contest.of(study) for study in contest.studies}
    assert runs["sofim"]["test"].min() > runs["adamw"]["test"].max() > runs["muon"]["test"].max(), "as the page says"
    assert [int(each["broken"].sum()) for each in runs.values()] == [0, 1, 0, 0, 0]
    winners = frames.confirmations.query("optimizer == 'sofim'").groupby("study")
    best = winners["value"].mean().idxmin()
    assert f"GPT: {begin_with(winners.get_group(best)['params'].iloc[0])}" in answered()["a transformer"]


@pytest.mark.slow
def test_what_is_said_of_defaults_where_nothing_was_tuned_is_of_the_database(tmp_path: Path, page: str) -> None:
    untuned = kept("atlas-untuned", tmp_path, beside="atlas")
    assert {contest.workload for contest in untuned} == {"shakespeare-gpt", "fashion-lenet5"}
    for contest in untuned:
        assert row(contest, OPTIMIZERS[:4]) in page
        for study in contest.studies:
            assert len(contest.of(study)) == 3, "fresh seeds"
            ships = shipped()["optimizers"][study.optimizer]
            source = ships["default"]["left_out"]["workloads"]["fashion-lenet5"]["from"]
            began_with(study, contest.workload, ships["workloads"][source]["params"])
    [contest] = kept("atlas-untuned-ten", tmp_path, beside="atlas")
    told = []
    for study in contest.studies:
        began_with(study, contest.workload, shipped()["optimizers"][study.optimizer]["default"]["params"])
        assert len(contest.of(study)) == 3, "fresh seeds"
        told.append(f"**{level(contest, study).value:.2f}**")
    assert [study.optimizer for study in contest.studies] == ["sofim", "muon"]
    assert f"SOFIM's reaches {told[0]} bits and Muon's {told[1]}, on three fresh seeds each" in page
    assert f"On the GPT it ends at {told[0].strip('*')} bits" in page


def began_with(study: Study, workload: str, params: Mapping[str, Any]) -> None:
    began = study.campaign["starts"][study.optimizer][workload]
    assert began == pytest.approx({name: params[name] for name in began})
    assert {*params} - {*began} <= {"weight_decay", "beta1", "beta2", "eps", "nesterov"}, "at their defaults in both"


def test_what_is_said_of_the_defaults_of_every_optimizer_is_in_the_file_that_ships(page: str) -> None:
    told = {}
    for optimizer, own in shipped()["optimizers"].items():
        out = own["default"]["left_out"]
        low, high = out["regret_interval"]
        told[optimizer] = f"{out['regret']:.2f} [{low:.2f}, {high:.2f}]"
    first = [told.pop(optimizer) for optimizer in ("sofim", "sgd", "adamw")]
    assert f"| the recommended one | {' | '.join(first)} |" in page
    for optimizer, said in told.items():
        assert f"`{optimizer}` {said}" in page
    on_fashion, own = shipped()["optimizers"]["sofim"]["default"], shipped()["optimizers"]["sofim"]["workloads"]
    better, worse = on_fashion["elsewhere"]["breast-cancer-logreg"], own["breast-cancer-logreg"]["evidence"]
    assert on_fashion["from"] == "fashion-lenet5"
    (low, high), (least, most) = (runs["geometric_mean_interval"] for runs in (better, worse))
    assert f"{better['geometric_mean']:.4f} [{low:.4f}, {high:.4f}]" in page
    assert f"{worse['geometric_mean']:.3f} [{least:.3f}, {most:.3f}]" in page
    tried_first = shipped()["portfolio"][0]
    assert tried_first["optimizer"] == "muon"
    assert f"regrets {tried_first['mean_regret']:.2f} in the mean of the ten" in page


def test_what_is_said_of_shampoo_is_of_the_measured_targets(page: str) -> None:
    measured = [row for row in tomllib.loads(TARGETS.read_text(encoding="utf-8")).values() if "baselines" in row]
    assert [len(measured), sum(row["best"] == ["shampoo"] for row in measured)] == [11, 9]
    assert "of eight of the ten workloads, and the GPT's" in page


@pytest.mark.nightly
@pytest.mark.slow
def test_what_is_said_of_pairs_is_of_the_database(found: list[WorkloadRuns], page: str) -> None:
    table = kinds.by_kind(found, comparisons(found), "sofim").set_index(["kind", "baseline"])
    said = {
        (kinds.ALL, "muon"),
        (kinds.ALL, "adamw"),
        (kinds.BEYOND_IMAGES, "adamw"),
        ("image", "adamw"),
        (kinds.ALL, "sgd"),
        ("image", "muon"),
        ("table", "muon"),
        ("table", "sofim-gradient"),
    }
    for key in said:
        row: pd.Series = table.loc[key]
        assert percent(row["chance"], row["chance_low"], row["chance_high"]) in page, key
    assert table.loc[(kinds.ALL, "sgd"), "chance_cancelled"], "the page says what becomes of it"
    groups = {key: row["searched_on"] for key, row in table.iterrows() if row["searched_on"] > 1}
    assert f"{len(groups)} intervals" in page, "of kinds of several workloads"
    lasting = set()
    for kind, rival in groups:
        own = [each for each in found if kind in (kinds.ALL, kinds.kind_of(each))]
        own = [each for each in found if kinds.kind_of(each) != kinds.IMAGE] if kind == kinds.BEYOND_IMAGES else own
        wider = chance(own, "sofim", rival, 1 - 0.05 / len(groups))
        lasting |= {(kind, rival)} if wider[2] < 0.5 else set()
        assert (kind, rival) not in {(kinds.ALL, "adamw"), (kinds.BEYOND_IMAGES, "adamw")} or percent(*wider) in page
    assert lasting == {(kinds.ALL, "muon"), (kinds.BEYOND_IMAGES, "muon"), ("image", "muon")}
    behind = comparisons(found).query("b == 'muon' and verdict == 'worse'")
    assert set(behind.loc[behind["a"] == "sgd", "workload"]) == {"poisson-pinn"}
    assert not len(behind[behind["a"] == "adamw"])
    assert "better than SGD on `poisson-pinn` alone, and than AdamW on none" in page
    worse = {name for name, _ in table.loc[(kinds.ALL, "muon"), "worse_on"]}
    assert worse == {"digits-vit", "poisson-pinn"}


@pytest.mark.nightly
@pytest.mark.slow
def test_what_is_said_of_rho_is_of_its_campaign(tmp_path: Path, page: str) -> None:
    own, frames = pooled(*held("atlas-rho", tmp_path))
    surrogates = [
        surrogate_study(
            study, frames.trials, frames.curves, np.random.default_rng(SEED), num_refits=Options().num_refits
        )
        for study in own
    ]
    profiles, intervals = coordinates.profiles(surrogates, generator(Options().seed, "atlas"))
    one_value = coordinates.shared(profiles, surrogates).set_index("coordinate")
    assert list(one_value["verdict"]) == ["cannot be told"] * 2
    assert f"ρ = {one_value.loc['rho', 'value']:.2g} loses" in page
    assert f"η/ρ = {one_value.loc['lr/rho', 'value']:.2g} on five" in page
    assert [len(names) for names in one_value["within"]] == [6, 5]
    shares = coordinates.explained(surrogates)
    for name, said in {"ratio": "24 to 84 % (median 60)", "knee": "0 to 8 % (median 3)"}.items():
        low, middle, high = (100 * shares[name].quantile(at) for at in (0, 0.5, 1))
        assert said == f"{low:.0f} to {high:.0f} % (median {middle:.0f})"
        assert said in page
    for workload, rows in intervals.set_index("coordinate").groupby("workload"):
        told = [within(rows.loc[name]) for name in ("lr/rho", "rho", "√rho")]
        cells = told if all(told) else ["cannot be told", "", ""]
        assert " ".join(f"| `{workload}` | {' | '.join(cells)} |".split()) in page


@pytest.mark.slow
def test_what_is_said_of_the_factor_of_the_step_is_of_its_campaign(tmp_path: Path, page: str) -> None:
    own, frames = pooled(*held("atlas-rho", tmp_path))
    surrogates = [  # of which only the trials are asked: two refits do
        surrogate_study(study, frames.trials, frames.curves, np.random.default_rng(SEED), num_refits=2) for study in own
    ]
    rng = generator(Options().seed, "atlas")
    rng.integers(2**63)  # by what comes before it in the report
    table = steps.steps(surrogates, rng)
    for found in table.to_dict("records"):
        cells = [f"{100 * found[name]:.0f} %" for name in steps.SHARES]
        assert f"| `{found['workload']}` | {' | '.join(cells)} | {steps.c_in_words(found)} |" in page
    gains = (100 * (table["with_rho"] - table["factor"]))[table["rho_counts"].astype(bool)]
    assert f"up to {gains.max():.1f} points more, shown on four of the ten" in page
    assert len(gains) == 4
    assert ", ".join(f"`{name}`" for name in table.loc[gains.index, "workload"]) in page
    for name, said in {"factor": "{} to {} % of the variance (median {})", "ratio": "{} to {} % ({})"}.items():
        assert said.format(*(f"{100 * at:.0f}" for at in table[name].quantile([0, 1, 0.5]))) in page
    assert (
        f"η {100 * table['lr'].min():.0f} to {100 * table['lr'].max():.0f} % ({100 * table['lr'].median():.0f})" in page
    )
    assert f"ρ at most {100 * table['rho'].max():.0f} %" in page
    ends = table.set_index("workload")[["c_low", "c_high"]]
    assert list(ends.index[ends["c_low"] == 0]) == ["poisson-pinn"], "where η/ρ alone is not ruled out"
    assert np.isfinite(ends["c_high"]).all(), "η alone is, everywhere"
    of_all = ends.drop(index="digits-autoencoder")["c_high"].max(), *ends.loc["digits-autoencoder"]
    assert (
        "On nine workloads c is at most {:.2g}, on the autoencoder, whose loss is larger, {:.2g} to {:.2g}.".format(
            *of_all
        )
        in page
    )
    best = frames.trials[frames.trials["workload"] == "digits-autoencoder"].nsmallest(5, "value")["params"]
    ratios = [params["lr"] / params["rho"] for params in best]
    assert f"of the autoencoder's η/ρ the five best trials lie at {min(ratios):.2g} to {max(ratios):.2g}." in page


@pytest.mark.nightly(by_day=["digits-mlp"])
@pytest.mark.slow
@pytest.mark.parametrize("workload", ["breast-cancer-logreg", "breast-cancer-regression", "digits-mlp", "digits-vit"])
def test_the_squared_length_of_the_average_is_as_the_page_has_it(workload: str, tmp_path: Path, page: str) -> None:
    own, frames = held("atlas-rho", tmp_path)
    [study, *_] = [one for one in own if one.workload == workload]
    trials = frames.trials[(frames.trials["workload"] == workload) & (frames.trials["outcome"] == "complete")]
    best = trials.sort_values("value", ascending=study.direction == "minimize").iloc[0]
    squares: list[float] = []

    def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
        squares.append(sum(float(state["average"].double().square().sum()) for state in optimizer.state.values()))

    hook = register_optimizer_step_post_hook(note)
    trained = WORKLOADS[workload]
    chosen = {**study.fixed, **best["params"]}
    try:
        seed = int(best["seed"])
        for _ in train(trained, OPTIMIZERS_OF["sofim"], chosen, seed, trained.epochs, schedule="cosine", warmup=0.05):
            pass
    finally:
        hook.remove()
    told = re.search(rf"\| `{workload}` \|(?: \d+ % \|){{5}} [^|]+\| (\S+) \|", page)
    assert told is not None
    assert float(told[1]) == pytest.approx(np.mean(squares), rel=0.06)


def within(found: pd.Series) -> str:
    """What the table of ρ says of a coordinate: the near-optimal interval, and in brackets what is not ruled out."""
    low, high, least, most = (f"{float(f'{found[name]:.2g}'):g}" for name in ("low", "high", "outer_low", "outer_high"))
    if not np.isfinite(found["best"]):
        return ""
    return f"{low if low == high else f'{low} to {high}'} [{least}, {most}]"


def share(found: dict[str, Any]) -> str:
    """What a table of sensitivities says of a parameter: in bold, with its interval, where it stands out."""
    if not found["conclusive"]:
        return "cannot be told"
    if found["stands_out"]:
        interval = percent(found["total_order"], found["total_order_low"], found["total_order_high"])
        whole, _, rest = interval.partition(" [")
        return f"**{whole}** [{rest}"
    return f"{100 * found['total_order']:.0f} %"


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("campaign", ["atlas-sensitivity", "atlas-sensitivity-baselines"])
def test_what_is_said_of_sensitivity_is_of_its_campaign(campaign: str, tmp_path: Path, page: str) -> None:
    own, frames = held(campaign, tmp_path)
    table = sensitivities.sensitivities(
        [surrogate_study(study, frames.trials, frames.curves, np.random.default_rng(SEED)) for study in own]
    )
    for workload, rows in table.groupby("workload"):
        cells: list[str] = []
        for optimizer in dict.fromkeys(study.optimizer for study in own):
            told = [share(row) for row in rows[rows["optimizer"] == optimizer].to_dict("records")]
            cells += ["cannot be told", *[""] * (len(told) - 1)] if set(told) == {"cannot be told"} else told
        assert " ".join(f"| `{workload}` | {' | '.join(cells)} |".split()) in page
    known = table[(table["role"] == "η") & table["width"].notna()].round({"width": 1})  # how far it may be off
    told = known.groupby("optimizer")[["workload", "width", "loss_percent"]].agg(list).to_dict("index")
    digits = ["digits-mlp", "digits-lenet5"]
    adamw = {
        "workload": ["breast-cancer-regression", *digits, "digits-vit", "shakespeare-plays"],
        "width": [1.3, 1.3, 1.0, 1.1, 0.6],
        "loss_percent": [5.0] * 4 + [10.0],
    }
    sgd = {"workload": ["breast-cancer-regression"], "width": [1.0], "loss_percent": [10.0]}
    assert told == ({"adamw": adamw, "sgd": sgd} if "baselines" in campaign else {})


@pytest.mark.slow
def test_what_is_said_of_cifar_is_of_its_database(tmp_path: Path) -> None:
    page = " ".join((ATLAS.parent / "README.md").read_text(encoding="utf-8").split())
    [contest] = kept("cifar", tmp_path)
    shown = {
        "adamw": "AdamW 0.651 [0.646, 0.655]",
        "sgd": "SGD 0.649 [0.634, 0.664]",
        "sofim": "SOFIM 0.642 [0.625, 0.659]",
    }
    for study in contest.studies:
        found = level(contest, study)
        told = f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
        assert shown[study.optimizer].endswith(told)
        assert shown[study.optimizer] in page
    pairs = comparisons([contest]).set_index(["a", "b"])
    assert set(pairs["verdict"]) == {"no difference shown"}
    for rival in ("sgd", "adamw"):
        told = pairs.loc[("sofim", rival), ["difference", "difference_low", "difference_high"]]
        middle, low, high = (f"{value:.3f}".replace("-", "−") for value in told)
        assert f"{middle} [{low}, {high}]" in page
    reached = [int((contest.of(study)["validation"] >= 0.65).sum()) for study in contest.studies]
    assert reached == [0, 3, 2], "the page says: none of nine, three, two"
