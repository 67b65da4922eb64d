"""The directive ``{computed}``: what a function of ``_site`` returns, as Markdown."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from typing import ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from _site.python import escape_bars


class Computed(SphinxDirective):
    """``{computed} module.function``, with arguments of the function behind it."""

    required_arguments = 1
    optional_arguments = 9
    option_spec: ClassVar = {}

    def run(self) -> list[nodes.Node]:
        """Return what the Markdown is."""
        module, _, name = self.arguments[0].rpartition(".")
        compute = getattr(import_module(f"_site.{module}"), name)
        told = {"runs": self.config.runs} if "runs" in signature(compute).parameters else {}
        markdown = compute(*self.arguments[1:], **told)
        self.env.note_dependency(str(import_module(f"_site.{module}").__file__))
        return self.parse_text_to_nodes(markdown, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, object]:
    """Add the directive."""
    app.add_directive("computed", Computed)
    app.connect("autodoc-process-docstring", escape_bars)
    return {"version": "1", "parallel_read_safe": True}
