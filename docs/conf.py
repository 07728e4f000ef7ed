"""Sphinx settings for `make docs`. The pages are Markdown that GitHub renders too. docs/_ext generates tables."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

import zmqcy  # noqa: E402

project = "zmqcy"
author = "the zmqcy developers"
copyright = author
version = release = zmqcy.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "tables",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"zmqcy {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5fa8", "color-brand-content": "#1f5fa8"},
    "dark_css_variables": {"color-brand-primary": "#7db5f0", "color-brand-content": "#7db5f0"},
}

# ---- Markdown

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4  # the same anchors as on GitHub
suppress_warnings = [
    "misc.highlighting_failure",  # `await` outside a function, as in `python -m asyncio`
    "ref.python",  # `Context` in a docstring: it is ambiguous: there are three
]

# ---- docstrings

default_role = "py:obj"  # `send` in a docstring is a link if the name exists, otherwise code
autodoc_typehints = "none"  # types are in the docstrings
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_preprocess_types = False
python_display_short_literal_types = True

# Links to Python's docs. Without a network the names of a small list are links.
intersphinx_mapping = {"python": ("https://docs.python.org/3", (None, "_ext/python.inv"))}
intersphinx_timeout = 5  # seconds

# References to names of zmqcy must resolve. Others are words in docstrings, such as "bytes-like" and "optional".
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!zmqcy\.).*")]


# ---- links that differ on GitHub

# Files outside docs/, and the pages of the site that replace them.
PLACES = {
    "../README.md": "index.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../CHANGELOG.md": "changelog.md",
}


def adapt(app, name, source):
    for outside, page in PLACES.items():
        source[0] = source[0].replace(f"]({outside}", f"]({page}")


def setup(app):
    app.connect("source-read", adapt)
