"""``zmqcy curve-keygen``: keys for CURVE."""

import json

import click

from zmqcy.auth import Certificate


@click.command(
    "curve-keygen",
    epilog="""\b
Examples:
  zmqcy curve-keygen
  zmqcy curve-keygen --file server.key_secret

The file is a certificate as czmq and pyzmq read it.
""",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@click.option(
    "--file", "path", type=click.Path(), help="Write both keys to a new file that only its owner can read (mode 0600)."
)
def curve_keygen(as_json: bool, path: str | None) -> None:
    """Make a pair of keys for CURVE, in Z85.

    With --file the secret key is in the file only, and the public one is printed. A file that exists is left alone.
    """
    certificate = Certificate.generate()
    keys = {"public": certificate.public.decode()}
    if path is None:
        assert certificate.secret is not None
        keys["secret"] = certificate.secret.decode()
    else:
        certificate.save_secret(path)
    if as_json:
        click.echo(json.dumps(keys))
        return
    for name, key in keys.items():
        click.echo(f"{name:<7} {key}")
