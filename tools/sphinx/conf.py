"""How the site is made; `make docs` calls Sphinx with this."""

from mlplatform_client import __version__

project = "mlplatform"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

myst_heading_anchors = 4
# A token's shape and the like in prose are no mathematics, and no name of a site.
myst_enable_extensions: list[str] = []

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say the types
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "py:obj"

html_theme = "furo"
html_title = f"mlplatform {release}"
html_copy_source = False
html_show_sphinx = False
