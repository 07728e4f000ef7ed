"""The modules behind `import zmq`. PyInstaller finds only `zmqcy.compat`, which loads the others by name."""

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = collect_submodules("zmqcy.compat", on_error="ignore")
