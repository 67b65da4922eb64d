"""What the command ``sofim`` starts: the command line, or one line where the libraries that it needs are not there."""

from __future__ import annotations

import sys

from studies import modules


def main() -> None:
    """Run the command line and end the process, with 2 where a library is missing that the extra brings."""
    try:
        from studies.cli import main as run

        run()
    except ModuleNotFoundError:
        message = modules.what_is_missing()
        if message is None:
            raise
        print(f"sofim: {message}", file=sys.stderr)
        sys.exit(2)
