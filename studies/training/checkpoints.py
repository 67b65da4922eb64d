"""What is in a checkpoint: the state of a training run, its records so far, and what tells it from other runs.

It is read without executing code from it (``weights_only``).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from studies.training.running import Running

_FORMAT = 1  # raise it when what is written changes, so that older ones are not read


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a run that goes on has done before.

    Attributes:
        records: One mapping an epoch, as its trial sends them.
        busy_seconds: Wall time of the trial until the checkpoint.
    """

    records: list[dict[str, float]]
    busy_seconds: float


def snapshot(
    run: Running, identity: Mapping[str, object], records: list[dict[str, float]], busy_seconds: float
) -> bytes:
    """Return the checkpoint of a run: model, optimizer, random states, epoch, and its records so far.

    The data order comes from seed and epoch, the schedule from the epoch: they need no state of their own.

    Args:
        run: Between two epochs.
        identity: Plain data that another run must agree in to go on from here.
        records: One an epoch.
        busy_seconds: Wall time of the trial so far.
    """
    content = {
        "format": _FORMAT,
        "torch": str(torch.__version__),
        "identity": dict(identity),
        "records": records,
        "busy_seconds": busy_seconds,
        "run": run.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def restore(run: Running, content: bytes, identity: Mapping[str, object]) -> Resumed | None:
    """Put ``run`` where the checkpoint ``content`` stands.

    Returns:
        What it had done, or ``None`` where the checkpoint is torn, or is not of this run or of this version of torch;
        ``run`` is not to be used then.
    """
    try:
        found: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if (found["format"], found["torch"], found["identity"]) != (_FORMAT, str(torch.__version__), dict(identity)):
            return None
        run.load_state_dict(found["run"])
    except Exception:  # of a torn file, of one that somebody has put there, of a model that was changed: torch raises
        # whatever it stumbles over
        return None
    return Resumed(found["records"], found["busy_seconds"])
