"""The documentation site: `python -m sphinx -W docs docs/_build/html`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _site.run import KEPT, program

project = "SOFIM Studies"
copyright = ""
html_show_copyright = False
extensions = [
    "myst_nb",  # Markdown, and the page that is a notebook
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
    "_site.run",
    "_site.computed",
]
exclude_patterns = ["_build", "_site", *KEPT]
html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"footer_icons": []}
myst_enable_extensions = ["colon_fence", "deflist", "html_image"]  # no mathematics: MathJax comes from elsewhere
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = str(Path(__file__).parent / "_build" / "notebooks" / program()[:12])  # of this program alone
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
default_role = "literal"  # names in docstrings stand between single backticks
autodoc_typehints = "none"
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autoclass_content = "class"
toc_object_entries_show_parents = "hide"
copybutton_prompt_text = "$ "
