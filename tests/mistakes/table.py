"""The table of mistakes: the rows of all themes."""

from __future__ import annotations

from tests.mistakes import (
    campaign_files,
    command_line,
    data_sets,
    reports,
    safety,
    servers,
    spaces,
    storages,
    workloads,
)

TABLE = [
    *campaign_files.ROWS,
    *spaces.ROWS,
    *workloads.ROWS,
    *data_sets.ROWS,
    *storages.ROWS,
    *servers.ROWS,
    *reports.ROWS,
    *safety.ROWS,
    *command_line.ROWS,
]
