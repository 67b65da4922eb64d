"""The one exception that stands for a mistake of the user's."""

from __future__ import annotations


class UserError(Exception):
    """A mistake that the user can mend: one line that names the thing and the remedy.

    The command line prints it to standard error and exits with code 2; no traceback.
    """
