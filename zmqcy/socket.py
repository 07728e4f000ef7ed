"""Sockets as users see them: options as attributes, endpoints that undo themselves, text and JSON.

Nothing here is on the path of a message: send, recv and their kin are those of `_socket`.
"""

from zmqcy import _base, _socket
from zmqcy.errors import ContextTerminated, ZMQBindError, ZMQError
from zmqcy.options import SOCKET_OPTIONS


class Endpoint:
    """What `bind` and `connect` return: a context manager that undoes them.

    Attributes
    ----------
    endpoint : str
        The endpoint, its wildcards resolved.
    """

    __slots__ = ("_socket", "_undo", "endpoint")

    def __init__(self, socket, undo, endpoint):
        self._socket = socket
        self._undo = undo
        self.endpoint = endpoint

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if not self._socket.closed:
            getattr(self._socket, self._undo)(self.endpoint)

    def __repr__(self):
        return f"<Endpoint {self.endpoint} of {self._socket!r}>"


class BaseSocket(_base.BaseSocket):
    __doc__ = _base.BaseSocket.__doc__
    __slots__ = ()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    @property
    def socket_type(self):
        """SocketType: the type of the socket."""
        from zmqcy.constants import SocketType

        return SocketType(self.type)

    def bind(self, endpoint):
        super().bind(endpoint)
        return Endpoint(self, "unbind", self.last_endpoint)

    def connect(self, endpoint):
        super().connect(endpoint)
        return Endpoint(self, "disconnect", self.last_endpoint)

    bind.__doc__ = _base.BaseSocket.bind.__doc__
    connect.__doc__ = _base.BaseSocket.connect.__doc__

    def bind_to_random_port(self, endpoint, min_port=None, max_port=None, max_tries=100):
        """Bind to a free port of TCP.

        Parameters
        ----------
        endpoint : str
            The address without a port, as ``tcp://127.0.0.1``.
        min_port, max_port : int, optional
            Take one of the ports from `min_port` up to, but without, `max_port`; by default the system chooses.
        max_tries : int, default 100
            How many ports are tried.

        Returns
        -------
        int
            The port.

        Raises
        ------
        ZMQBindError
            None of the ports that were tried is free.
        ValueError
            There are no ports between the two.
        """
        if min_port is None and max_port is None:
            self.bind(f"{endpoint}:*")
            return int(self.last_endpoint.rpartition(":")[2])
        import random
        from errno import EADDRINUSE

        low = 49152 if min_port is None else min_port
        high = 65536 if max_port is None else max_port
        if not 0 < low < high <= 65536:
            raise ValueError(f"bind_to_random_port: no ports from {low} up to {high}")
        for port in random.sample(range(low, high), min(max_tries, high - low)):
            try:
                self.bind(f"{endpoint}:{port}")
            except ZMQError as error:
                if error.errno != EADDRINUSE:
                    raise
            else:
                return port
        detail = f"{endpoint}, {max_tries} tries from {low} up to {high}"
        raise ZMQBindError(EADDRINUSE, call="bind_to_random_port", detail=detail, socket_type=self.socket_type.name)

    get = _base.BaseSocket.getsockopt
    set = _base.BaseSocket.setsockopt

    def getsockopt_string(self, option, encoding="utf-8"):
        """Read an option of bytes as text.

        Parameters
        ----------
        option : int
            One of `zmqcy.SocketOption`.
        encoding : str, default "utf-8"
            Its encoding.

        Returns
        -------
        str

        Raises
        ------
        TypeError
            The option is no string.
        """
        value = self.getsockopt(option)
        if not isinstance(value, bytes):
            raise TypeError(f"getsockopt_string: option {option!r} is an int, not a string")
        return value.decode(encoding)

    def setsockopt_string(self, option, value, encoding="utf-8"):
        """Set an option of bytes to text.

        Parameters
        ----------
        option : int
            One of `zmqcy.SocketOption`.
        value : str
            The text.
        encoding : str, default "utf-8"
            Its encoding.

        Raises
        ------
        TypeError
            `value` is no str.
        """
        if not isinstance(value, str):
            raise TypeError(f"setsockopt_string: a str is required, not {value!r}")
        self.setsockopt(option, value.encode(encoding))

    get_string = getsockopt_string
    set_string = setsockopt_string


class Socket(BaseSocket, _socket.Socket):
    __doc__ = _socket.Socket.__doc__
    __slots__ = ()

    def send_string(self, text, flags=0, encoding="utf-8", *, timeout=None):
        """Send text.

        Parameters
        ----------
        text : str
            The message.
        flags : int, default 0
            As `send` takes them.
        encoding : str, default "utf-8"
            How it is encoded.
        timeout : int, float or timedelta, optional
            As `send` takes it.

        Raises
        ------
        TypeError
            `text` is no str.
        """
        if not isinstance(text, str):
            raise TypeError(f"send_string: a str is required, not {text!r:.80}")
        self.send(text.encode(encoding), flags, timeout=timeout)

    def recv_string(self, flags=0, encoding="utf-8", *, timeout=None):
        """Receive text.

        Parameters
        ----------
        flags : int, default 0
            As `recv` takes them.
        encoding : str, default "utf-8"
            How it is encoded.
        timeout : int, float or timedelta, optional
            As `recv` takes it.

        Returns
        -------
        str

        Raises
        ------
        UnicodeDecodeError
            The message is no such text; it is in the exception's `object`.
        """
        return self.recv(flags, timeout=timeout).decode(encoding)

    def send_json(self, value, flags=0, *, timeout=None, **options):
        """Send a value as JSON.

        Parameters
        ----------
        value : object
            What json.dumps takes.
        flags : int, default 0
            As `send` takes them.
        timeout : int, float or timedelta, optional
            As `send` takes it.
        **options
            For json.dumps.
        """
        self.send(_to_json(value, options), flags, timeout=timeout)

    def recv_json(self, flags=0, *, timeout=None, **options):
        """Receive a value as JSON.

        Parameters
        ----------
        flags : int, default 0
            As `recv` takes them.
        timeout : int, float or timedelta, optional
            As `recv` takes it.
        **options
            For json.loads.

        Returns
        -------
        object

        Raises
        ------
        json.JSONDecodeError
            The message is no JSON; it is in the exception's `doc`.
        """
        return _from_json(self.recv(flags, timeout=timeout), options)

    def send_serialized(self, value, serialize, flags=0, copy=None, *, timeout=None):
        """Send what a function makes of a value.

        Parameters
        ----------
        value : object
            The value.
        serialize : callable
            Takes the value, and returns the parts of the message.
        flags : int, default 0
            As `send_multipart` takes them.
        copy : bool, optional
            As `send_multipart` takes it.
        timeout : int, float or timedelta, optional
            As `send_multipart` takes it.
        """
        self.send_multipart(serialize(value), flags, copy, timeout=timeout)

    def recv_serialized(self, deserialize, flags=0, copy=True, *, timeout=None):
        """Receive a message, and return what a function makes of its parts.

        Parameters
        ----------
        deserialize : callable
            Takes the list of parts.
        flags : int, default 0
            As `recv_multipart` takes them.
        copy : bool, default True
            False: the parts are Frames.
        timeout : int, float or timedelta, optional
            As `recv_multipart` takes it.

        Returns
        -------
        object
            What `deserialize` returned.
        """
        return deserialize(self.recv_multipart(flags, copy, timeout=timeout))


class AsyncSocket(BaseSocket):
    """What the asynchronous sockets share beside their options: text and JSON, and `async with`."""

    __slots__ = ()

    async def __aenter__(self):
        return self

    async def __aexit__(self, exception, *_):
        if exception is None:
            await self.aclose()
        else:
            self.close()

    async def aclose(self, linger=None):
        """Close the socket, and wait until what it has queued is sent, or its linger is over.

        Who is cancelled meanwhile leaves it to the context to send the rest.

        Parameters
        ----------
        linger : int or timedelta, optional
            Milliseconds; 0 drops what is queued. By default as the option is set.
        """
        end = self._end_of(self._kind, linger)
        if end is not None:
            try:
                await end.recv_multipart()
            except ContextTerminated:
                pass
            finally:
                end.close(0)

    async def send_string(self, text, flags=0, encoding="utf-8", *, timeout=None):
        if not isinstance(text, str):
            raise TypeError(f"send_string: a str is required, not {text!r:.80}")
        await self.send(text.encode(encoding), flags, timeout=timeout)

    async def recv_string(self, flags=0, encoding="utf-8", *, timeout=None):
        return (await self.recv(flags, timeout=timeout)).decode(encoding)

    async def send_json(self, value, flags=0, *, timeout=None, **options):
        await self.send(_to_json(value, options), flags, timeout=timeout)

    async def recv_json(self, flags=0, *, timeout=None, **options):
        return _from_json(await self.recv(flags, timeout=timeout), options)

    async def send_serialized(self, value, serialize, flags=0, copy=None, *, timeout=None):
        await self.send_multipart(serialize(value), flags, copy, timeout=timeout)

    async def recv_serialized(self, deserialize, flags=0, copy=True, *, timeout=None):
        return deserialize(await self.recv_multipart(flags, copy, timeout=timeout))

    for _form in (send_string, recv_string, send_json, recv_json, send_serialized, recv_serialized):
        _form.__doc__ = getattr(Socket, _form.__name__).__doc__
    del _form


def _to_json(value, options):
    import json

    options.setdefault("separators", (",", ":"))
    return json.dumps(value, **options).encode()


def _from_json(message, options):
    import json

    return json.loads(message, **options)


for _option in SOCKET_OPTIONS:
    if _option.name not in ("subscribe", "unsubscribe"):  # which are methods
        setattr(BaseSocket, _option.name, _base.SocketProperty(_option))
BaseSocket.identity = BaseSocket.routing_id
