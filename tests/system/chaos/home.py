"""A directory as a person has it, with a campaign in it, and what the database there shows while a driver runs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

WORKLOAD = "chaos_workload:shaken"
OPTIMIZERS = ("sofim", "nystrom-sgd", "sgd")
EPOCHS = 6
SEED = 7

_CAMPAIGN = """
name = "chaos"
workloads = ["{workload}"]
optimizers = {optimizers}
trials = {trials}
sampler = "tpe"
pruner = "hyperband"
seed = {seed}

[search_space.sofim]
batch_size = [32, 128]

[search_space.nystrom-sgd]
batch_size = [32, 128]
update_period = [5, 20]
rank = [2, 8]

[search_space.sgd]
lr = [1e-3, 1e6]  # much of it diverges
batch_size = [32, 128]
"""


@dataclass(frozen=True)
class Home:
    """A campaign to be launched.

    Attributes:
        directory: where the campaign's file is.
        trials: that each study is to have.
        nap_seconds: that an epoch takes beside training.
    """

    directory: Path
    trials: int
    nap_seconds: float

    @classmethod
    def settle(cls, directory: Path, trials: int, nap_seconds: float) -> Home:
        shutil.copy(Path(__file__).parent / "chaos_workload.py", directory)
        names = "[" + ", ".join(f'"{name}"' for name in OPTIMIZERS) + "]"
        (directory / "chaos.toml").write_text(
            _CAMPAIGN.format(workload=WORKLOAD, optimizers=names, trials=trials, seed=SEED)
        )
        (directory / "notes.tsv").touch()
        (directory / "temporary").mkdir()
        return cls(directory, trials, nap_seconds)

    @property
    def environment(self) -> dict[str, str]:
        """What is set in workers and drivers beside what is set here."""
        return {
            "CHAOS_NOTES": str(self.directory / "notes.tsv"),
            "CHAOS_NAP_SECONDS": str(self.nap_seconds),
        }

    def spells(self) -> list[Spell]:
        """What the workers trained, in the order in which they began."""
        spells: list[Spell] = []
        latest: dict[int, Spell] = {}
        for line in (self.directory / "notes.tsv").read_text().splitlines():
            node, number, what, *more = line.split("\t")
            if what == "begin":
                latest[int(number)] = Spell(node, int(number), [])
                spells.append(latest[int(number)])
            else:
                latest[int(number)].values.append(float(more[0]))
        return spells


@dataclass(frozen=True)
class Spell:
    """What one worker trained of one trial, without a break: the metric of each epoch."""

    node: str
    pid: int
    values: list[float]


@dataclass(frozen=True)
class Progress:
    """How far a campaign is: trials in the database, and epochs of all of them."""

    running: int = 0
    finished: int = 0  # complete or pruned
    lost: int = 0
    epochs: int = 0


def progress(url: str) -> Progress:
    """Read from the database, without making one, and without this project's own code.

    Raises:
        sqlalchemy.exc.OperationalError: the database is away.
    """
    where = sa.make_url(url)
    if where.get_backend_name() == "sqlite" and not Path(str(where.database)).exists():
        return Progress()
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        try:
            states = dict(_pairs(connection, "SELECT state, COUNT(*) FROM trials GROUP BY state"))
            epochs = connection.execute(sa.text("SELECT COUNT(*) FROM trial_intermediate_values")).scalar_one()
        except (sa.exc.OperationalError, sa.exc.ProgrammingError) as error:
            if "no such table" in str(error) or "does not exist" in str(error):
                return Progress()  # no driver has come so far
            raise
    finished = states.get("COMPLETE", 0) + states.get("PRUNED", 0)
    return Progress(states.get("RUNNING", 0), finished, states.get("FAIL", 0), int(epochs))


def _pairs(connection: sa.Connection, statement: str) -> Sequence[tuple[str, int]]:
    return [(str(state), int(count)) for state, count in connection.execute(sa.text(statement))]
