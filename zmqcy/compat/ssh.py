"""`zmq.ssh`: connections through a tunnel, which the system's ``ssh`` makes.

It logs in by keys or an agent. Passwords are not taken, for they would need paramiko or pexpect.
"""

import socket as _socket
import subprocess
from typing import Any

__all__ = [
    "MaxRetryExceeded",
    "SSHException",
    "open_tunnel",
    "openssh_tunnel",
    "paramiko_tunnel",
    "select_random_ports",
    "ssh_tunnel",
    "try_passwordless_ssh",
    "tunnel_connection",
]  # fmt: skip


CONNECT_TIMEOUT = 10
"""Seconds that ssh waits for a server that does not answer. A login may take three times as long."""


class SSHException(Exception):
    """What paramiko raises. It is never raised here."""


class MaxRetryExceeded(Exception):
    """What pyzmq raises where a password was refused. It is never raised here."""


def select_random_ports(n: int) -> list[int]:
    """Return some ports that are free now.

    Parameters
    ----------
    n : int
        How many.
    """
    probes = [_socket.socket() for _ in range(n)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _ssh(server: str, keyfile: str | None, *options: str) -> list[str]:
    host, _, port = server.rpartition(":") if server.rpartition(":")[2].isdigit() else (server, "", "")
    if host.startswith("-") or host.rpartition("@")[2].startswith("-"):
        raise ValueError(f"ssh: {server!r} is no name of a server")
    command = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_TIMEOUT}", *options]
    command += ["-i", keyfile] if keyfile else []
    return [*command, "-p", port, host] if port else [*command, host]


def try_passwordless_ssh(server: str, keyfile: str | None, paramiko: bool | None = None) -> bool:
    """Return whether one can log in without a password. It takes half a minute at most.

    Parameters
    ----------
    server : str
        ``[user@]host[:port]``.
    keyfile : str or None
        A file with a key.
    paramiko : bool, optional
        Not used.
    """
    command = [*_ssh(server, keyfile), "true"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=3 * CONNECT_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


_try_passwordless_openssh = try_passwordless_ssh


def openssh_tunnel(
    lport: int,
    rport: int,
    server: str,
    remoteip: str = "127.0.0.1",
    keyfile: str | None = None,
    password: str | None = None,
    timeout: int = 60,
) -> int:
    """Have a local port forwarded to one that the server can reach.

    Parameters
    ----------
    lport, rport : int
        The local port, and the remote one.
    server : str
        ``[user@]host[:port]``.
    remoteip : str, default "127.0.0.1"
        The host of `rport`, as the server sees it.
    keyfile : str, optional
        A file with a key.
    password : str, optional
        Has to be None.
    timeout : int, default 60
        Seconds that the tunnel stays open while nothing is connected through it.

    Returns
    -------
    int
        The id of the process that made the tunnel, which goes on in the background.

    Raises
    ------
    NotImplementedError
        A password was given.
    RuntimeError
        ssh failed, and what it said is in the text; or it had not logged in after half a minute.
    """
    if password is not None:
        raise NotImplementedError("openssh_tunnel: no passwords here; use a key, or an agent")
    forward = f"127.0.0.1:{lport}:{remoteip}:{rport}"
    command = _ssh(server, keyfile, "-f", "-S", "none", "-o", "ExitOnForwardFailure=yes", "-L", forward)
    with subprocess.Popen(
        [*command, "sleep", str(int(timeout))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            process.wait(3 * CONNECT_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise RuntimeError(f"tunnel to {server}: no login within {3 * CONNECT_TIMEOUT} s") from None
        if process.returncode:
            said = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
            raise RuntimeError(f"tunnel to {server}: {said or f'ssh ended with {process.returncode}'}")
        return process.pid


ssh_tunnel = openssh_tunnel


def paramiko_tunnel(*args: Any, **kwargs: Any) -> Any:
    """Raise NotImplementedError: tunnels are made by the system's ssh."""
    raise NotImplementedError("paramiko_tunnel: zmqcy makes tunnels by the system's ssh: openssh_tunnel")


def open_tunnel(
    addr: str,
    server: str,
    keyfile: str | None = None,
    password: str | None = None,
    paramiko: bool | None = None,
    timeout: int = 60,
) -> tuple[str, int]:
    """Open a tunnel to an endpoint of tcp.

    Parameters
    ----------
    addr : str
        The endpoint, as the server sees it.
    server, keyfile, password, timeout
        As `openssh_tunnel` takes them.
    paramiko : bool, optional
        Not used.

    Returns
    -------
    str
        The local endpoint.
    int
        The id of the process that made the tunnel.
    """
    transport, _, place = addr.partition("://")
    host, _, port = place.rpartition(":")
    if transport != "tcp" or not port.isdigit():
        raise ValueError(f"open_tunnel: an endpoint of tcp is required, not {addr!r}")
    [local] = select_random_ports(1)
    return f"tcp://127.0.0.1:{local}", openssh_tunnel(local, int(port), server, host, keyfile, password, timeout)


def tunnel_connection(
    socket: Any,
    addr: str,
    server: str,
    keyfile: str | None = None,
    password: str | None = None,
    paramiko: bool | None = None,
    timeout: int = 60,
) -> int:
    """Connect a socket to an endpoint through a tunnel.

    Parameters
    ----------
    socket : Socket
        The socket.
    addr, server, keyfile, password, paramiko, timeout
        As `open_tunnel` takes them.

    Returns
    -------
    int
        The id of the process that made the tunnel.
    """
    endpoint, process = open_tunnel(addr, server, keyfile, password, paramiko, timeout)
    socket.connect(endpoint)
    return process
