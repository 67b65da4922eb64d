"""Drivers, workers, a node and the database die, and the campaign ends as if nothing had: exactly so.

By day drivers die in ``test_tune_run.py`` and ``test_confirm.py``, a worker and a node in ``test_cluster.py``.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.support.nodes import Nodes
from tests.support.postgres import Postgres
from tests.system.chaos.havoc import PATIENCE_SECONDS, Havoc, counted, lives, told_if_it_fails
from tests.system.chaos.home import Home
from tests.system.chaos.verdict import Verdict

SEED = int(os.environ.get("CHAOS_SEED", "1"))

pytestmark = [pytest.mark.cluster, pytest.mark.nightly, pytest.mark.timeout(2400)]


def run(home: Home, url: str, checkpoints: Path, nodes: Nodes, server: Postgres | None, *options: str) -> None:
    nodes.use(home.environment)
    rng = random.Random(f"{SEED} {server is not None}")
    havoc = Havoc(home, url, rng, nodes, server, options)
    with told_if_it_fails(havoc, SEED):
        planned = lives(rng, outages=server is not None)
        for life in planned:
            havoc.live(life)
        last = havoc.launch()
        assert last.wait(PATIENCE_SECONDS) == 0
        assert last.said() == ""
        havoc.note("the last driver is done")
        assert havoc.counts == counted(planned)
        found = Verdict.of(home, url)
        found.check()
        assert not checkpoints.exists(), "no checkpoint outlives its trial"
        havoc.note(
            f"all is well: {dict(found.endings())}, {found.cut_short(havoc.killed_workers)} trials cut short, "
            f"{found.continued()} continued, {havoc.zombies} zombies"
        )
        print(havoc.told())
        # what the havoc was for
        assert found.lost >= len(planned) // 2
        assert found.cut_short(havoc.killed_workers) >= len(havoc.killed_workers) // 2
        assert found.continued() >= 1, "from checkpoints"
        assert set(havoc.new_nodes) <= {spell.node for spell in home.spells()}, "the new node was put to use"
        assert set(found.endings()) >= {"COMPLETE", "PRUNED"}


def test_a_campaign_survives_on_sqlite(tmp_path: Path, three_nodes: Nodes) -> None:
    home = Home.settle(tmp_path, trials=20, nap_seconds=0.2)
    run(home, f"sqlite:///{tmp_path}/chaos.db", tmp_path / "chaos.db.checkpoints", three_nodes, None)


def test_a_campaign_survives_on_postgresql(tmp_path: Path, three_nodes: Nodes, postgres: Postgres) -> None:
    home = Home.settle(tmp_path, trials=28, nap_seconds=0.2)
    kept = tmp_path / "kept"
    run(home, postgres.new_database(), kept, three_nodes, postgres, f"--checkpoints={kept}")
