"""What tests of the command line share."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from studies.cli import main


@pytest.fixture
def sofim(tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """The command in this very process, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        code = caught.value.code
        return code if isinstance(code, int) else 0, *capsys.readouterr()

    return run
