"""A program: reads studies from standard input, writes the figures of their importances to standard output.

It ends with the process that started it, which closes its input.
"""

from __future__ import annotations

import os
import pickle
import sys
from contextlib import suppress
from typing import BinaryIO

from analysis.dashboard._plots import importance
from analysis.report import Options, examined

_NICENESS = 10  # a driver on the same machine goes first


def answer(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answers (study, trials, curves), until there are no more, by a figure, or a string that says why there is none.

    All are pickled, and come from and go to the process that started this one.
    """
    while True:
        try:
            study, trials, curves = pickle.load(questions)
        except EOFError:
            return
        try:
            found: object = importance(study, examined(study, trials, curves, Options(), threads=1))
        except Exception as error:  # whatever it is, the next study may do
            found = f"{type(error).__name__}: {error}"
        pickle.dump(found, answers)
        answers.flush()


if __name__ == "__main__":
    with suppress(AttributeError, OSError):  # not everywhere
        os.nice(_NICENESS)
    with suppress(BrokenPipeError):
        answer(sys.stdin.buffer, sys.stdout.buffer)
