"""One Ray for all tests that call the command in this very process: to start one takes longer than most of them."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import ray

from studies.engine import _cluster, _run

# of the workers: they find a module that is nowhere else in the directory of the test that runs just now
_FINDER = """
import sys
from importlib.machinery import PathFinder
from pathlib import Path

class Home:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if path is not None else PathFinder.find_spec(name, [Path(__file__).with_name("home").read_text()])

sys.meta_path.append(Home)
"""


class OneRay:
    """This machine as a cluster of two CPUs and two logical GPUs, which what runs in this process joins."""

    def __init__(self) -> None:
        self._place = Path(tempfile.mkdtemp(prefix="sofim-one-ray-"))
        self._place.chmod(0o755)
        (self._place / "sitecustomize.py").write_text(_FINDER)
        self.use(self._place)
        self._quiet = ExitStack()
        self._quiet.enter_context(_run.quiet())
        self._quiet.enter_context(_cluster.silence())
        path = os.pathsep.join(filter(None, [str(self._place), os.environ.get("PYTHONPATH")]))
        with patch.dict(os.environ, PYTHONPATH=path):
            ray.init(
                "local",
                num_cpus=2,
                num_gpus=2,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                object_store_memory=200 * 2**20,
            )

    def use(self, home: Path) -> None:
        """From now on, the person's own modules are in ``home``."""
        (self._place / "home").write_text(str(home))

    def shut_down(self) -> None:
        """Ends it and removes what it left."""
        ray.shutdown()
        self._quiet.close()
        shutil.rmtree(self._place, ignore_errors=True)
