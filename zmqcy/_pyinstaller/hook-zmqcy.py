"""What PyInstaller does not see: what the extension modules import, and what is loaded on first use."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

# Seen where a program imports them itself.
OPTIONAL = ("zmqcy.anyio", "zmqcy.cli", "zmqcy.compat", "zmqcy.metrics", "zmqcy.web")

hiddenimports = collect_submodules("zmqcy", lambda name: not name.startswith(OPTIONAL), on_error="ignore")
datas = collect_data_files("zmqcy", includes=["page.html"])
