"""What all tests share."""

from __future__ import annotations

import os
import signal
import tempfile

import torch
from hypothesis import settings

# a shell that starts the tests in the background has them ignore Ctrl-C, and what they start inherits that
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("SOFIM_CACHE", tempfile.mkdtemp(prefix="sofim-tests-"))  # not the person's own
torch.set_num_threads(1)
settings.register_profile("shared-machine", deadline=None)  # a busy machine is no bug
settings.load_profile("shared-machine")
