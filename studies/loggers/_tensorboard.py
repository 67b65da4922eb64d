"""TensorBoard: event files in ``DIR/STUDY/trial-NUMBER``, and its table of hyperparameters.

They are written by tensorboardX's functions in the thread that calls, where a full disk is heard of; its
``SummaryWriter`` has a thread and an exit handler for each trial.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.errors import UserError
from studies.called import place_to_write
from studies.loggers._base import BROKEN
from studies.trials import Ending, LoggedTrial

_COLUMNS = ("workload", "optimizer", "retry_of", "confirms")  # tags in the table; its first column has the study
_END = "_hparams_/session_end_info"
_START = "_hparams_/session_start_info"


class TensorBoardLogger:
    """Writes below a directory.

    Args:
        place: The directory.
    """

    def __init__(self, place: str) -> None:
        import tensorboardX.proto.event_pb2
        import tensorboardX.proto.plugin_hparams_pb2
        import tensorboardX.proto.summary_pb2
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.summary import text

        self._root = Path(place)
        self._root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._root):  # what cannot be written is told before the first trial
            pass
        self._events_writer, self._text = EventsWriter, text
        self._protocol = tensorboardX.proto.summary_pb2
        self._event = tensorboardX.proto.event_pb2.Event
        self._hparams = tensorboardX.proto.plugin_hparams_pb2
        self._writers: dict[str, Any] = {}  # of open runs

    def begin(self, trial: LoggedTrial) -> None:
        """Begin the run, with its hyperparameters."""
        self._writers[trial.key] = self._open(trial)
        started = self._hparams.SessionStartInfo(
            group_name=f"{trial.study} {trial.number}", start_time_secs=time.time()
        )
        tags = {name: value for name, value in trial.tags.items() if name in _COLUMNS}
        for name, value in {**tags, **trial.params}.items():
            if isinstance(value, bool):
                started.hparams[name].bool_value = value
            elif isinstance(value, int | float):
                started.hparams[name].number_value = value
            else:
                started.hparams[name].string_value = str(value)
        self._write(trial, self._of_hparams(_START, session_start_info=started))

    def step(self, trial: LoggedTrial, epoch: int, values: Mapping[str, float]) -> None:
        """Write a point of each curve."""
        for name, value in values.items():
            self._write(trial, self._point(name, value), epoch, flush=False)
        self._writers[trial.key].flush()

    def end(self, trial: LoggedTrial, ending: Ending) -> None:
        """Write what the trial is worth, and how it ended."""
        for name, value in ending.values.items():
            self._write(trial, self._point(name, value), flush=False)
        told = {"outcome": ending.outcome, **({"failure": ending.failure} if ending.failure else {})}
        for name, text in told.items():
            self._write(trial, self._text(name, text), flush=False)
        status = "STATUS_FAILURE" if ending.outcome in BROKEN else "STATUS_SUCCESS"
        ended = self._hparams.SessionEndInfo(status=status, end_time_secs=time.time())
        self._write(trial, self._of_hparams(_END, session_end_info=ended))
        self._writers.pop(trial.key).close()

    def settle(self, trial: LoggedTrial, ending: Ending) -> None:
        """End a run whose files say nothing of an end, in a file beside them."""
        files = list(self._folder(trial).glob(f"*.{trial.key}*"))
        if files and not any(_END.encode() in file.read_bytes() for file in files):
            self._writers[trial.key] = self._open(trial)
            self.end(trial, ending)

    def close(self) -> None:
        """Close the files of runs that are open."""
        while self._writers:
            self._writers.popitem()[1].close()

    def _folder(self, trial: LoggedTrial) -> Path:
        """Return the directory of a run, which another campaign's of the same name has not."""
        usual = self._root / trial.study / f"trial-{trial.number}"
        others = usual.is_dir() and not any(usual.glob(f"*.{trial.key}*")) and any(usual.glob("*tfevents*"))
        return usual.with_name(f"{usual.name}-{trial.key}") if others else usual

    def _open(self, trial: LoggedTrial) -> Any:
        folder = self._folder(trial)
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.iterdir()))  # of two files of one second
        return self._events_writer(str(folder / "events"), f".{trial.key}.{number}")

    def _write(self, trial: LoggedTrial, summary: Any, step: int = 0, *, flush: bool = True) -> None:
        writer = self._writers[trial.key]
        writer.write_event(self._event(wall_time=time.time(), step=step, summary=summary))
        if flush:
            writer.flush()

    def _point(self, name: str, value: float) -> Any:
        return self._protocol.Summary(value=[self._protocol.Summary.Value(tag=name, simple_value=value)])

    def _of_hparams(self, tag: str, **info: Any) -> Any:
        """Return a summary as TensorBoard's table of hyperparameters reads it."""
        summary, metadata = self._protocol.Summary, self._protocol.SummaryMetadata
        content = self._hparams.HParamsPluginData(version=0, **info).SerializeToString()
        plugin = metadata.PluginData(plugin_name="hparams", content=content)
        return summary(value=[summary.Value(tag=tag, metadata=metadata(plugin_data=plugin))])


def check_directory(place: str) -> None:
    """See that files can be made in the directory, or that itself can be made.

    Raises:
        UserError: They cannot.
    """
    there = place_to_write("--log tensorboard:DIR", place)
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise UserError(f"--log tensorboard:{place}: {there} is no directory; give another one")
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise UserError(f"--log tensorboard:{place}: nothing can be written in {there}; give another directory")
