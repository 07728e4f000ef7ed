"""Read the constants of the installed zmq.h."""

import os
import re
import subprocess
from pathlib import Path

DEFINE = re.compile(r"#define\s+(ZMQ_(?!VERSION)\w+|E[A-Z]+)\s+(\S.*)")
HEADING = re.compile(r"/\*\s+(.*?)\.?\s*\*/")
NO_CONSTANTS = {"EXPORT", "HAS_CAPABILITIES", "HAUSNUMERO", "DEFINED_STDINT"}


def find():
    """Return the path of the header that zmqcy was built with, or None."""
    prefix = os.environ.get("ZMQCY_LIBZMQ")
    if prefix:
        path = Path(prefix, "include", "zmq.h")
    else:
        command = ["pkg-config", "--variable=includedir", "libzmq"]
        try:
            folder = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None
        path = Path(folder or "/usr/include", "zmq.h")
    return path if path.exists() else None


def read(path):
    """Return the definitions of a header: for each section, the names without ZMQ_ and their values."""
    sections, values, section = {}, {}, ""
    for line in path.read_text().replace("\\\n", " ").splitlines():
        heading = HEADING.match(line)
        define = DEFINE.match(line)
        if heading:
            section = heading[1]
        elif define and define[1].removeprefix("ZMQ_") not in NO_CONSTANTS:
            text = define[2].replace("ZMQ_HAUSNUMERO", "156384712")
            values[define[1]] = eval(text, {"__builtins__": {}}, values)
            sections.setdefault(section, {})[define[1].removeprefix("ZMQ_")] = values[define[1]]
    return sections


PATH = find()
SECTIONS = read(PATH) if PATH else {}
CONSTANTS = {name: value for section in SECTIONS.values() for name, value in section.items()}
