"""`zmq.ssh`: connections through SSH tunnels, with the system's ``ssh``.

Login is by key or agent. Passwords are not supported, because they would need paramiko or pexpect.
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
"""Max seconds that ssh waits for an answer of the server. A login may take three times as long."""


class SSHException(Exception):
    """paramiko's exception. zmqcy never raises it."""


class MaxRetryExceeded(Exception):
    """pyzmq's exception for a refused password. zmqcy never raises it."""


def select_random_ports(n: int) -> list[int]:
    """Return `n` local ports that are currently free.

    Parameters
    ----------
    n : int
        The number of ports.
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
        raise ValueError(f"ssh: the server must be [user@]host[:port], not {server!r}")
    command = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_TIMEOUT}", *options]
    command += ["-i", keyfile] if keyfile else []
    return [*command, "-p", port, host] if port else [*command, host]


def try_passwordless_ssh(server: str, keyfile: str | None, paramiko: bool | None = None) -> bool:
    """Return whether login works without a password. Blocks for up to 30 seconds.

    Parameters
    ----------
    server : str
        ``[user@]host[:port]``.
    keyfile : str or None
        The file of the private key.
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
    """Forward a local port to a port that the server can reach.

    Parameters
    ----------
    lport, rport : int
        The local and the remote port.
    server : str
        ``[user@]host[:port]``.
    remoteip : str, default "127.0.0.1"
        The host of `rport`, as seen from the server.
    keyfile : str, optional
        The file of the private key.
    password : str, optional
        Must be None.
    timeout : int, default 60
        Seconds after which the tunnel closes if no connection uses it.

    Returns
    -------
    int
        The id of the process that started the tunnel. The tunnel continues in the background.

    Raises
    ------
    NotImplementedError
        A password was passed.
    RuntimeError
        ssh failed; the text contains its output. Or the login took more than 30 seconds.
    """
    if password is not None:
        raise NotImplementedError("openssh_tunnel: passwords are not supported; use a key or an agent")
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
    """Raise NotImplementedError: use `openssh_tunnel`."""
    raise NotImplementedError("paramiko_tunnel: zmqcy does not use paramiko; use openssh_tunnel")


def open_tunnel(
    addr: str,
    server: str,
    keyfile: str | None = None,
    password: str | None = None,
    paramiko: bool | None = None,
    timeout: int = 60,
) -> tuple[str, int]:
    """Open a tunnel to a tcp endpoint.

    Parameters
    ----------
    addr : str
        The endpoint, as seen from the server.
    server, keyfile, password, timeout
        As in `openssh_tunnel`.
    paramiko : bool, optional
        Not used.

    Returns
    -------
    str
        The local endpoint.
    int
        The id of the process that started the tunnel.
    """
    transport, _, place = addr.partition("://")
    host, _, port = place.rpartition(":")
    if transport != "tcp" or not port.isdigit():
        raise ValueError(f"open_tunnel: addr must be a tcp endpoint, such as tcp://host:5555, not {addr!r}")
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
        As in `open_tunnel`.

    Returns
    -------
    int
        The id of the process that started the tunnel.
    """
    endpoint, process = open_tunnel(addr, server, keyfile, password, paramiko, timeout)
    socket.connect(endpoint)
    return process
