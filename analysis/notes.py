"""Notes on studies as Optuna's dashboard shows them: Markdown in which people and programs write beside each other."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a note that a program writes and writes anew, between two lines that nobody else writes.

    Attributes:
        begin: Its first line, a heading.
        end: Its last line.
    """

    begin: str
    end: str

    def holding(self, body: str) -> str:
        """Return the section with ``body`` between its two lines."""
        return f"{self.begin}\n\n{body.strip()}\n\n{self.end}"

    def merged(self, before: str, body: str) -> str:
        """Return a note with this section put in: where an earlier one is, else below all that is there."""
        section = self.holding(body)
        pattern = re.compile(f"^{re.escape(self.begin)}$.*?^{re.escape(self.end)}$", re.DOTALL | re.MULTILINE)
        if pattern.search(before):
            return pattern.sub(lambda _: section, before, count=1)
        return f"{before.rstrip()}\n\n{section}\n" if before.strip() else f"{section}\n"


ABOUT = Section("## About this study (sofim dashboard)", "*End of what sofim dashboard says; text around it is kept.*")
SENSITIVITY = Section("## Sensitivity (sofim report)", "*End of the sensitivity report; text around it is kept.*")


def markdown(text: str) -> str:
    r"""Return text that Markdown shows as it is.

    >>> print(markdown("<b>lr_0</b> [1, 2]"))
    &lt;b&gt;lr\_0&lt;/b&gt; \[1, 2\]
    """
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", " ".join(escaped.split()))


def code(text: str) -> str:
    """Return text as code in a line, whatever is in it. It may be broken where a block would be wider than a screen.

    >>> print(code("sofim report x"), code("a ` b"))
    `sofim report x` `` a ` b ``
    """
    line = " ".join(text.split())
    longest = max(map(len, re.findall("`+", line)), default=0)
    return f"`{line}`" if not longest else f"{'`' * (longest + 1)} {line} {'`' * (longest + 1)}"
