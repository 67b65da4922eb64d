"""Databases as other versions of Optuna, other programs, and programs that were cut off leave them."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from optuna.storages import _rdb

_MIGRATIONS = Path(_rdb.__path__[0]) / "alembic"
REVISIONS = [one.revision for one in ScriptDirectory(str(_MIGRATIONS)).walk_revisions()][:0:-1]
"""All schemas of Optuna's tables but the present one, oldest first."""

TRIALS = 30
STUDY = "old"
_UNIFORM = '{"name": "UniformDistribution", "attributes": {"low": 0, "high": 1}}'
_FLOAT = '{"name": "FloatDistribution", "attributes": {"low": 0, "high": 1, "step": null, "log": false}}'


def make_old(url: str, revision: str) -> None:
    """A study ``old`` of one parameter, whose value is the parameter's, in the tables of an earlier Optuna."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, revision)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        tables = sa.MetaData()
        tables.reflect(connection)

        def insert(name: str, **values: object) -> None:
            if name in tables.tables:
                kept = {key: value for key, value in values.items() if key in tables.tables[name].columns}
                connection.execute(tables.tables[name].insert().values(kept))

        insert("version_info", version_info_id=1, schema_version=12, library_version="of old")
        insert("studies", study_id=1, study_name=STUDY, direction="MINIMIZE")
        insert("study_directions", study_direction_id=1, study_id=1, direction="MINIMIZE", objective=0)
        modern = "study_directions" in tables.tables
        for number in range(TRIALS):
            trial, value = number + 1, number / TRIALS
            insert("trials", trial_id=trial, number=number, study_id=1, state="COMPLETE", value=value)
            if "number" not in tables.tables["trials"].columns:
                insert("trial_system_attributes", trial_id=trial, key="_number", value_json=str(number))
            written = _FLOAT if REVISIONS.index(revision) >= REVISIONS.index("v3.0.0.a") else _UNIFORM
            insert("trial_params", trial_id=trial, param_name="x", param_value=value, distribution_json=written)
            if modern:
                insert("trial_values", trial_id=trial, objective=0, value=value, value_type="FINITE")
    engine.dispose()


def cut_off(path: Path, statements: str) -> None:
    """What a program leaves that dies in the middle: SQL is run, and nothing closed."""
    code = (
        "import os, sqlite3, sys\n"
        "base = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2].split(';'):\n"
        "    base.execute(statement).fetchall()\n"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path), statements], check=False)


def leave_hot(path: Path) -> None:
    """A change of which some is in the file, and the journal that undoes it."""
    cut_off(
        path,
        "PRAGMA cache_size = 1; BEGIN; UPDATE trials SET state = 'FAIL'; CREATE TABLE filling (a); "
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) "
        "INSERT INTO filling SELECT zeroblob(500) FROM n",
    )
    assert path.with_name(f"{path.name}-journal").stat().st_size > 0


def leave_log(path: Path) -> None:
    """A write-ahead log with something in it that is not in the file."""
    cut_off(path, "PRAGMA journal_mode = wal; CREATE TABLE IF NOT EXISTS filling (a); INSERT INTO filling VALUES (1)")
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0


def with_log(path: Path) -> None:
    """A file with a write-ahead log, which its last program closed."""
    with closing(sqlite3.connect(path)) as opened:
        opened.execute("PRAGMA journal_mode = wal")


def half_made(path: Path) -> None:
    """Tables that were made, by a program that was cut off before it said of which version they are."""
    whole = path.with_name("whole.db")
    _rdb.storage.RDBStorage(f"sqlite:///{whole}").engine.dispose()
    shutil.move(whole, path)
    with closing(sqlite3.connect(path)) as opened:
        opened.executescript("DELETE FROM version_info; DROP TABLE alembic_version")
