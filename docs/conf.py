"""The site: Sphinx reads the Markdown of this folder, the docstrings of the package and the notebook.

``make site`` builds it, and fails on a warning, a dead link between pages, or a page that no table of contents names.
"""

from typing import Any

import fc7

project = "fc7"
release = version = fc7.__version__
copyright = "the fc7 authors"  # noqa: A001 (Sphinx reads this name)

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build", "jupyter_execute"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "force"  # what the page shows is what the code of today says
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_execution_in_temp = True

html_theme = "pydata_sphinx_theme"
html_title = "fc7"
html_static_path = ["_static"]
html_css_files = ["fc7.css"]
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False, "secondary_sidebar_items": ["page-toc"]}
html_sidebars = {"index": [], "tutorial": []}
html_show_sourcelink = False
copybutton_prompt_text = "$ "

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections have them
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False


def setup(app: Any) -> None:
    """Leave out the methods that scikit-learn gives every estimator: its own documentation describes them."""
    app.connect("autodoc-skip-member", lambda app, kind, name, member, skip, options: skip or _of_scikit_learn(member))


def _of_scikit_learn(member: Any) -> bool:
    return str(getattr(member, "__module__", "")).startswith("sklearn.")
