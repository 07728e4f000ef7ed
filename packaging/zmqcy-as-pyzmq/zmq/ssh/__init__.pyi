# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.ssh import _try_passwordless_openssh as _try_passwordless_openssh
from zmqcy.compat.ssh import MaxRetryExceeded as MaxRetryExceeded
from zmqcy.compat.ssh import SSHException as SSHException
from zmqcy.compat.ssh import open_tunnel as open_tunnel
from zmqcy.compat.ssh import openssh_tunnel as openssh_tunnel
from zmqcy.compat.ssh import paramiko_tunnel as paramiko_tunnel
from zmqcy.compat.ssh import select_random_ports as select_random_ports
from zmqcy.compat.ssh import ssh_tunnel as ssh_tunnel
from zmqcy.compat.ssh import try_passwordless_ssh as try_passwordless_ssh
from zmqcy.compat.ssh import tunnel_connection as tunnel_connection
from zmq.ssh import tunnel as tunnel
