"""What `import zmq` finds: PyInstaller sees the import of `zmqcy.compat` alone, which loads the rest by name."""

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = collect_submodules("zmqcy.compat", on_error="ignore")
