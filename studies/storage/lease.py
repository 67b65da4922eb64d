"""One driver a campaign: who writes, since when it was last heard of, and how much of what it wrote has arrived.

The lease is a user attribute of the campaign's first study. Whoever writes trials renews it in the same transaction, so
that a driver that has lost it (its host slept, another took over) can write nothing any more, and so that a driver
whose connection broke during a commit learns whether that commit came through. Optuna's own heartbeat does not work
with ask and tell.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from search_spaces.errors import UserError
from studies.storage.backend import Cell, Cells
from studies.storage.durability import WAITING, Waiting

HEARTBEAT_SECONDS = 5.0
LEASE_SECONDS = 60.0  # a driver on another machine that was silent for longer may be dead
_WATCH_SECONDS = 2.5 * HEARTBEAT_SECONDS  # for which it is then watched: clocks differ, a lease that moves is alive
_LOOK_SECONDS = 1.0  # between two looks at a lease that is waited for
KEY = "driver"  # of the attribute

_held: set[str] = set()  # tokens of the leases that this process has

Mark = dict[str, Any]
"""What the attribute holds: host, machine, pid, started, seen, command, token, written."""


class LostLeaseError(UserError):
    """Another driver has taken over; nothing may be written any more."""


class Lease:
    """Held by this driver from :meth:`take` to :meth:`release`.

    Args:
        storage: Where the campaign is.
        study_id: Of the campaign's first study.
        campaign: Its name, for messages.
        shown: The storage's URL as a message may show it.
        command: Of ``sofim``, by which the person goes on.
    """

    def __init__(self, storage: Cells, study_id: int, campaign: str, shown: str, command: str) -> None:
        self._storage, self._cell = storage, Cell(study_id, KEY)
        self._campaign, self._shown, self._command = campaign, shown, command
        self._token = uuid.uuid4().hex

    def take(self, waiting: Waiting = WAITING) -> None:
        """Take the lease from nobody, or from a driver that is dead.

        A driver on another machine that is silent may have died with it, as one that a cluster's scheduler starts again
        elsewhere: its lease is watched until it lapses.

        Args:
            waiting: For whom else to wait, and who is told.

        Raises:
            UserError: Another driver is alive.
        """
        while not self._taken(self._vacated(self._storage.read(self._cell), waiting)):
            if not waiting.for_the_living:  # else for the one that was quicker, too
                winner = _parsed(self._storage.read(self._cell))
                raise self._refusal(winner or {"pid": "?", "host": "?"})

    def _taken(self, text: str | None) -> bool:
        """Return whether this driver has the lease now, which nobody else took that found it as ``text`` too."""
        _held.add(self._token)  # before anybody can see it
        taken = False
        try:
            taken = self._storage.exchange(self._cell, text, json.dumps(self._mark(written=0)))
        finally:
            if not taken:
                _held.discard(self._token)
        return taken

    def _vacated(self, text: str | None, waiting: Waiting) -> str | None:
        """Return what the attribute is once its holder is dead, or has gone.

        Raises:
            UserError: The holder lives, and nobody wants to wait for it.
        """
        heard, told = time.monotonic(), False
        while (holder := _parsed(text)) is not None:
            here, silent = _is_here(holder), time.monotonic() - heard
            if not alive(holder) and (here or silent >= _WATCH_SECONDS):
                break
            if here and not waiting.for_the_living:
                raise self._refusal(holder)
            if not told and (waiting.for_the_living or alive(holder)):
                waiting.say(self._waits_for(holder, waiting))
                told = True
            time.sleep(_LOOK_SECONDS)
            now = self._read_again()
            if now != text:
                if _parsed(now) is not None and not waiting.for_the_living:
                    raise self._refusal(holder)
                text, heard = now, time.monotonic()
        return text

    def _read_again(self) -> str | None:
        """Return what the attribute is.

        Raises:
            UserError: Its study is gone, with the driver that made it and did not come to run a trial.
        """
        with suppress(KeyError):
            if (found := self._storage.read(self._cell)) is not None:
                return found
        raise UserError(
            f"the driver of campaign '{self._campaign}' that was waited for has taken it back; give the same command "
            "again"
        )

    def _waits_for(self, holder: Mark, waiting: Waiting) -> str:
        ago = max(0.0, time.time() - holder["seen"])
        who = f"the driver of campaign '{self._campaign}' on {holder['host']} (process {holder['pid']})"
        end = "until it ends" if waiting.for_the_living else f"{LEASE_SECONDS:.0f} s at most, as it may be dead"
        return f"Waiting for {who}, last heard of {ago:.0f} s ago: {end} ..."

    def _refusal(self, holder: Mapping[str, Any]) -> UserError:
        other = "wait for it (--wait), stop it, or give this one another name with --name"
        remedy = "wait for it (--wait), or stop it" if self._command in ("confirm", "evaluate") else other
        return UserError(
            f"campaign '{self._campaign}' in {self._shown} is being run by process {holder['pid']} on "
            f"{holder['host']}; {remedy}"
        )

    def _mark(self, written: int) -> Mark:
        return {
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "started": _started(os.getpid()),
            "seen": time.time(),
            "command": self._command,
            "token": self._token,
            "written": written,
        }

    def renew(self, batch: int, cells: Cells) -> bool:
        """Renew the lease, in the transaction that writes ``batch``.

        Args:
            batch: Number of what is written; of these each is larger than the one before.
            cells: As that transaction sees them.

        Returns:
            Whether the batch has been written before, by a commit whose answer was lost.

        Raises:
            LostLeaseError: Another driver has taken over.
        """
        text = cells.read(self._cell)
        held = _parsed(text)
        if held is None or held.get("token") != self._token:
            raise self._lost(held)
        if held["written"] >= batch:
            return True
        if not cells.exchange(self._cell, text, json.dumps(self._mark(written=batch))):
            raise self._lost(_parsed(cells.read(self._cell)))
        return False

    def _lost(self, holder: Mark | None) -> LostLeaseError:
        who = f"process {holder['pid']} on {holder['host']}" if holder else "another driver"
        return LostLeaseError(
            f"{who} has taken over campaign '{self._campaign}' in {self._shown} while this one was silent; "
            f"nothing that is in the storage is lost: wait for the other, or stop it and {self._command} again"
        )

    def release(self) -> None:
        """Give the lease back, if it is still held; it is void from here on, also where the storage is away."""
        _held.discard(self._token)
        text = self._storage.read(self._cell)
        if self._is_ours(text):
            self._storage.exchange(self._cell, text, "null")

    def is_held(self) -> bool:
        """Return whether no other driver has taken over."""
        return self._is_ours(self._storage.read(self._cell))

    def _is_ours(self, text: str | None) -> bool:
        held = _parsed(text)
        return held is not None and held.get("token") == self._token


# ------------------------------------------------------------------------------------------------ who is alive


def alive(holder: Mapping[str, Any]) -> bool:
    """Return whether the driver that a lease names lives, as far as can be told from here without waiting."""
    if _is_here(holder):
        if holder["pid"] == os.getpid() and "token" in holder:  # a notebook's process outlives its drivers
            return holder["token"] in _held
        started, then = _started(int(holder["pid"])), holder["started"]
        return started is not None and then is not None and bool(abs(started - float(then)) < 1.0)
    return bool(abs(time.time() - holder["seen"]) < LEASE_SECONDS)


def in_words(attributes: Mapping[str, Any]) -> str:
    """Say whether a driver runs the campaign, by the user attributes of its first study."""
    holder = _holder(attributes.get(KEY))
    if holder and alive(holder):
        return f"running, process {holder['pid']} on {holder['host']}"
    if attributes.get("search_ended"):  # of a search that its budget ends
        return "finished"
    return f"its driver was lost; {_words(holder)} it again to go on" if holder else "not running"


def _words(holder: Mapping[str, Any]) -> str:
    """Return the command that goes on with what the driver did: an earlier version evaluated by ``export``."""
    command = str(holder.get("command", "launch"))
    return "evaluate" if command == "export" else command


def _is_here(holder: Mapping[str, Any]) -> bool:
    """Return whether its process number means something here: hosts, and containers on them, may share their name."""
    return bool(holder["host"] == socket.gethostname() and holder.get("machine", _machine()) == _machine())


@cache
def _machine() -> str:
    """Return what tells this boot of this machine, and its space of process numbers, from others, where known."""
    found = []
    with suppress(OSError):
        found.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
    with suppress(OSError):
        found.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(found)


def _started(pid: int) -> float | None:
    """Return when the process began (seconds since the epoch), so that a reused number is not taken for it."""
    try:
        process = psutil.Process(pid)
        # killed, and its parent has not asked how it ended
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time(), 1)
    except psutil.Error:
        return None


# ------------------------------------------------------------------------------------------------ where it stands


def _parsed(text: str | None) -> Mark | None:
    return None if text is None else _holder(json.loads(text))


def _holder(found: Any) -> Mark | None:
    """Return what the attribute says of a driver; ``None`` where it is no driver's."""
    return found if isinstance(found, dict) and found.keys() >= {"host", "pid", "started", "seen"} else None
