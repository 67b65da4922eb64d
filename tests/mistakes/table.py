"""The table of mistakes: the rows of all themes."""

from __future__ import annotations

from tests.mistakes import (
    campaign_files,
    command_line,
    data_sets,
    optimizers,
    reports,
    safety,
    servers,
    spaces,
    storages,
    workloads,
)

# what they are about may depend on the kind of the database, and is tried on both
OF_DATABASES = [*storages.ROWS, *servers.ROWS, *safety.ROWS]

TABLE = [
    *campaign_files.ROWS,
    *spaces.ROWS,
    *workloads.ROWS,
    *optimizers.ROWS,
    *data_sets.ROWS,
    *OF_DATABASES,
    *reports.ROWS,
    *command_line.ROWS,
]
