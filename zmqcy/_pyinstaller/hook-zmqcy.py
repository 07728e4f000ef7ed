"""Imports that PyInstaller does not find: those of extension modules, and modules that are loaded on first use."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

# PyInstaller finds these itself if the program imports them.
OPTIONAL = ("zmqcy.anyio", "zmqcy.cli", "zmqcy.compat", "zmqcy.metrics", "zmqcy.web")

hiddenimports = collect_submodules("zmqcy", lambda name: not name.startswith(OPTIONAL), on_error="ignore")
datas = collect_data_files("zmqcy", includes=["page.html"])
