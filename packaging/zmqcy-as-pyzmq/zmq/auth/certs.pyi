# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.auth import _cert_public_banner as _cert_public_banner
from zmqcy.compat.auth import _cert_secret_banner as _cert_secret_banner
from zmqcy.compat.auth import _write_key_file as _write_key_file
from zmqcy.compat.auth import create_certificates as create_certificates
from zmqcy.compat.auth import load_certificate as load_certificate
from zmqcy.compat.auth import load_certificates as load_certificates
