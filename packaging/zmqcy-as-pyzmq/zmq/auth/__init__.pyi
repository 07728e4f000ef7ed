# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.auth import Authenticator as Authenticator
from zmqcy.compat.auth import CURVE_ALLOW_ANY as CURVE_ALLOW_ANY
from zmqcy.compat.auth import create_certificates as create_certificates
from zmqcy.compat.auth import load_certificate as load_certificate
from zmqcy.compat.auth import load_certificates as load_certificates
from zmq.auth import base as base
from zmq.auth import certs as certs
