"""``zmqcy curve-keygen``: key pairs for CURVE."""

import json

import click

from zmqcy.auth import Certificate
from zmqcy.cli.sockets import Failure


@click.command(
    "curve-keygen",
    epilog="""\b
Examples:
  zmqcy curve-keygen
  zmqcy curve-keygen --file server.key_secret

czmq and pyzmq read the file as a certificate.
""",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@click.option("--file", "path", metavar="FILE", type=click.Path(), help="Write both keys to a new file of mode 0600.")
def curve_keygen(as_json: bool, path: str | None) -> None:
    """Create a key pair for CURVE, in Z85.

    With --file, only the file contains the secret key, and the command prints the public key. An existing file is not
    changed.
    """
    certificate = Certificate.generate()
    keys = {"public": certificate.public.decode()}
    if path is None:
        assert certificate.secret is not None
        keys["secret"] = certificate.secret.decode()
    else:
        try:
            certificate.save_secret(path)
        except OSError as error:
            raise Failure(f"{path}: {error.strerror}") from error
        keys["file"] = path
    if as_json:
        click.echo(json.dumps(keys))
        return
    for name, key in keys.items():
        click.echo(f"{name:<7} {key}")
