"""What befalls a campaign, at moments that a seed gives, and a record of it for a person who has to find out why."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support.nodes import Nodes
from tests.support.postgres import Postgres
from tests.system.chaos.driver import Driver, said_by
from tests.system.chaos.home import EPOCHS, Home, Progress, progress

PATIENCE_SECONDS = 150.0  # for anything to happen: a busy machine is no bug, and nothing waits for ever
AWAY_SECONDS = (2.0, 3.5)  # that a database is away

Life = list[str]
"""What happens while one driver runs, the last of it is how it is killed: names of methods of :class:`Havoc`."""


def lives(rng: random.Random, *, outages: bool) -> list[Life]:
    """The lives of ten drivers.

    Five are killed while they start, two with the first results they hear of, three later; only these live long enough
    for workers, nodes and the database to die under them.
    """
    later = ["kill_at_work", "kill_at_work", "kill_while_away" if outages else "kill_at_work"]
    disturbances = ["lose_worker"] * 4 + ["change_node"] + (["stop_database", "crash_database"] if outages else [])
    short = [["kill_at_first_results"], *([["kill_while_starting"]] * 5)]
    rng.shuffle(disturbances)
    rng.shuffle(later)
    long = [[*disturbances[place :: len(later)], death] for place, death in enumerate(later)]
    rest = long + short
    rng.shuffle(rest)
    return [["kill_at_first_results"], *rest]  # the first one also tells how long a start takes


def counted(planned: list[Life]) -> Counter[str]:
    """How often a driver, a worker, a node and a database are lost in these lives."""
    lost = {"lose_worker": "worker", "change_node": "node", "stop_database": "outage", "crash_database": "outage"}
    found = Counter(lost[event] for life in planned for event in life if event in lost)
    return found + Counter(driver=len(planned))


class Havoc:
    """Launches drivers, and kills them and what they rely on.

    Args:
        home: of the campaign.
        url: of its database.
        rng: gives the moments and the victims.
        nodes: of the cluster.
        server: of the database, where it is one that can be stopped.
        options: of every launch.
    """

    def __init__(
        self,
        home: Home,
        url: str,
        rng: random.Random,
        nodes: Nodes,
        server: Postgres | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.home = home
        self.url = url
        self.drivers: list[Driver] = []
        self.counts: Counter[str] = Counter()
        self.killed_workers: list[int] = []
        self.new_nodes: list[str] = []
        self.zombies = 0
        self._rng = rng
        self._nodes = nodes
        self._server_of_database = server
        self._options = options
        self._start_seconds = 0.0  # from a launch to the first result, as the first driver took them
        self._before = Progress()  # when the driver of now was launched
        self._began = time.monotonic()
        self._events: list[str] = []

    # ------------------------------------------------------------------ a record

    def note(self, what: str) -> None:
        """Writes down that something happened just now."""
        self._events.append(f"{time.monotonic() - self._began:7.2f} s  {what}")
        (self.home.directory / "events.txt").write_text("\n".join(self._events))

    def told(self) -> str:
        """What happened, and what each driver said."""
        return "\n".join([*self._events, said_by(self.drivers)])

    # ------------------------------------------------------------------- drivers

    @property
    def driver(self) -> Driver:
        """The one of now."""
        return self.drivers[-1]

    def launch(self) -> Driver:
        """Starts a driver, the same command each time."""
        self._before = progress(self.url)
        where = f"--address={self._nodes.address}"
        self.drivers.append(Driver(self.home, len(self.drivers) + 1, f"--storage={self.url}", where, *self._options))
        self.note(f"driver {self.driver.number} launched, process {self.driver.pid}: {self._before}")
        return self.driver

    def live(self, life: Life) -> None:
        """Launches a driver and has it live this life."""
        self.launch()
        for event in life:
            getattr(self, event)()

    def end(self) -> None:
        """Ends what still runs, whatever happened."""
        for driver in self.drivers:
            driver.end()

    def kill_while_starting(self) -> None:
        """It may not have opened the database, or joined the cluster, or have trials whose workers start."""
        until = time.monotonic() + self._rng.uniform(0.05, 1.0) * self._start_seconds
        # no later than its first results: starts differ by as much as other programs keep the machine busy
        while time.monotonic() < until and progress(self.url).epochs <= self._before.epochs:
            time.sleep(0.05)
        self._kill_driver("while it starts")

    def kill_at_first_results(self) -> None:
        self.wait_for("first results", lambda now: now.epochs > self._before.epochs)
        self._start_seconds = self._start_seconds or time.monotonic() - self.driver.began
        self._kill_driver("with its first results")

    def kill_at_work(self) -> None:
        more = self._rng.randint(2, 6)
        self.wait_for(f"{more} trials", lambda now: now.finished >= self._before.finished + more)
        time.sleep(self._rng.uniform(0.0, 0.5))
        self._kill_driver("at work")

    def kill_while_away(self) -> None:
        """Kills it while it cannot write what it knows."""
        self._wait_for_work()
        with self._away(at_once=False):
            self._kill_driver("while the database is away")

    def _kill_driver(self, when: str) -> None:
        if self.driver.ended is not None:
            raise AssertionError(f"driver {self.driver.number} ended by itself, with exit code {self.driver.ended}")
        buried = self._rng.random() < 0.5
        self.driver.kill(bury=buried)
        self.counts["driver"] += 1
        self.zombies += not buried
        self.note(f"driver {self.driver.number} killed {when}{'' if buried else ', a zombie from now on'}")

    # --------------------------------------------------------- what it relies on

    def lose_worker(self) -> None:
        """Kills a worker in the middle of a trial."""
        victim = self._rng.choice(sorted(self._wait_for_work()))
        self._nodes.kill_worker(victim)
        self.killed_workers.append(victim)
        self.counts["worker"] += 1
        self.note(f"worker {victim} killed")
        self._wait_for_work()

    def change_node(self) -> None:
        """Kills a node in the middle of a trial, and adds another."""
        victim = self._rng.choice(sorted(set(self._wait_for_work().values())))
        self._nodes.lose(victim)
        self.note(f"node {victim[:8]} killed")
        time.sleep(self._rng.uniform(0.0, 2.0))
        self.new_nodes.append(self._nodes.add())
        self.counts["node"] += 1
        self.note(f"node {self.new_nodes[-1][:8]} added")
        self._wait_for_work()

    def stop_database(self) -> None:
        """Stops the server in good order, which ends all connections."""
        self._outage(at_once=False)

    def crash_database(self) -> None:
        """Ends the server as a crash does."""
        self._outage(at_once=True)

    def _outage(self, *, at_once: bool) -> None:
        self._wait_for_work()
        with self._away(at_once=at_once):
            time.sleep(self._rng.uniform(*AWAY_SECONDS))
            assert self.driver.ended is None, "a driver whose database is away for a moment waits for it"
        self.counts["outage"] += 1
        self._wait_for_work()

    @contextmanager
    def _away(self, *, at_once: bool) -> Iterator[None]:
        server = self._server_of_database
        assert server is not None
        server.stop(at_once=at_once)
        self.note(f"database {'crashed' if at_once else 'stopped'}")
        try:
            yield
        finally:
            server.start()
            self.note("database started")

    def _training(self) -> dict[int, str]:
        """Workers in the middle of a trial: they have trained at least one epoch of it, and not the last."""
        at_it = {spell.pid: 0 < len(spell.values) < EPOCHS for spell in self.home.spells()}
        return {pid: node for pid, node in self._nodes.busy_workers().items() if at_it.get(pid)}

    # ---------------------------------------------------------------------- wait

    def _wait_for_work(self) -> dict[int, str]:
        """Until this driver has more results than when this was called, and workers train; returns these workers."""
        since = max(progress(self.url).epochs, self._before.epochs)
        training: dict[int, str] = {}

        def come(now: Progress) -> bool:
            if now.running == 0 or now.epochs <= since:
                return False
            training.update(self._training())
            return bool(training)

        self.wait_for("trials that run", come)
        return training

    def wait_for(self, what: str, come: Callable[[Progress], bool]) -> None:
        """Returns when the database shows that something has come.

        Raises:
            AssertionError: the driver ended before, or nothing happened for a long time.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while not come(now := progress(self.url)):
            if self.driver.ended is not None:
                raise AssertionError(
                    f"driver {self.driver.number} ended with exit code {self.driver.ended} before {what}: {now}"
                )
            if time.monotonic() > until:
                raise AssertionError(f"no {what} in {PATIENCE_SECONDS:.0f} s: {now}")
            time.sleep(0.05)


@contextmanager
def told_if_it_fails(havoc: Havoc, seed: int) -> Iterator[None]:
    """Prints what happened where the block raises, and ends what still runs."""
    try:
        yield
    except BaseException:
        print(f"CHAOS_SEED={seed}\n{havoc.told()}")
        raise
    finally:
        havoc.end()
