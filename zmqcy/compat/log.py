"""`zmq.log.handlers`: publish `logging` records on a PUB socket, with the level as topic."""

import logging
import warnings
from copy import copy
from typing import Any

import zmqcy
from zmqcy._base import NativeSocket
from zmqcy.compat.core import Context, Socket
from zmqcy.constants import SocketType

TOPIC_DELIM = "::"
"""Separates the topic from the text of a log message."""

_WITH_PLACE = "%(levelname)s %(filename)s:%(lineno)d - %(message)s"


class PUBHandler(logging.Handler):
    """Publish log records with the topic ``root_topic.LEVEL.topic``.

    The last ``topic`` is the text of the message before `TOPIC_DELIM`, if any. The handler is thread-safe. A forked
    child cannot use the socket: its records are dropped, with one warning.

    Parameters
    ----------
    interface_or_socket : str or Socket
        The socket, or an endpoint to which a new PUB socket is bound.
    context : Context, optional
        The context of the new PUB socket. By default a new one.
    root_topic : str or bytes, default ""
        The prefix of all topics.
    """

    ctx: Any
    socket: Any
    _plain: Any = None  # a plain shadow of an asynchronous socket
    _forked = False  # this is a forked child, and the warning was issued

    def __init__(self, interface_or_socket: Any, context: Any = None, root_topic: str | bytes = "") -> None:
        super().__init__()
        self.setRootTopic(root_topic)
        self.formatters = {
            logging.DEBUG: logging.Formatter(f"{_WITH_PLACE}\n"),
            logging.INFO: logging.Formatter("%(message)s\n"),
            logging.WARNING: logging.Formatter(f"{_WITH_PLACE}\n"),
            logging.ERROR: logging.Formatter(f"{_WITH_PLACE} - %(exc_info)s\n"),
            logging.CRITICAL: logging.Formatter(f"{_WITH_PLACE}\n"),
        }
        if isinstance(interface_or_socket, NativeSocket):
            self.socket = interface_or_socket
            self.ctx = self.socket.context
            if not isinstance(self.socket, zmqcy.Socket):  # an asynchronous socket sends only in its event loop
                self._plain = Socket.shadow(self.socket)
        else:
            self.ctx = context or Context()
            self.socket = self.ctx.socket(SocketType.PUB)
            self.socket.bind(interface_or_socket)

    def setRootTopic(self, root_topic: str | bytes) -> None:
        """Set the prefix of all topics."""
        self._root_topic = root_topic.decode() if isinstance(root_topic, bytes) else root_topic

    root_topic = property(lambda self: self._root_topic, setRootTopic, doc="str: the prefix of all topics.")

    def setFormatter(self, fmt: logging.Formatter | None, level: int = logging.NOTSET) -> None:
        """Set the formatter of one level, or of all levels."""
        if fmt is not None:
            self.formatters |= dict.fromkeys(self.formatters if level == logging.NOTSET else [level], fmt)

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text, with the formatter of its level or of the next lower level that has one."""
        lower = [level for level in self.formatters if level <= record.levelno]
        return self.formatters[max(lower, default=logging.DEBUG)].format(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Publish a record."""
        try:
            topic, divider, text = str(record.msg).partition(TOPIC_DELIM)
            if divider:
                record = copy(record)  # other handlers must get the original text
                record.msg = text
            topics = [self.root_topic, record.levelname, topic if divider else ""]
            message = self.format(record)
            plain = self._plain or self.socket
            plain.send_multipart([".".join(filter(None, topics)).encode(), message.encode()])
        except zmqcy.ForkedError:
            if not self._forked:
                self._forked = True
                text = "PUBHandler: the socket belongs to the parent process; records of this process are dropped"
                warnings.warn(text, RuntimeWarning, stacklevel=2)
        except Exception:
            self.handleError(record)


class TopicLogger(logging.Logger):
    """A logger whose methods take the topic before the message."""

    def log(self, level: int, topic: str, msg: str, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Log a message under a topic."""
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # report the file and line of the caller
        super().log(level, f"{topic}{TOPIC_DELIM}{msg}", *args, **kwargs)


def _at(level: int) -> Any:
    def call(self: TopicLogger, topic: str, msg: str, *args: Any, **kwargs: Any) -> None:
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        self.log(level, topic, msg, *args, **kwargs)

    return call


for _name in ("debug", "info", "warning", "warn", "error", "critical", "fatal"):
    setattr(TopicLogger, _name, _at(getattr(logging, _name.upper())))


# ---- python -m zmq.log


def main(arguments: list[str] | None = None) -> None:
    """Print the log records of a PUBHandler until Ctrl-C."""
    import argparse
    import time

    parser = argparse.ArgumentParser("python -m zmq.log", description="Print the log records of a PUBHandler.")
    parser.add_argument("zmq_pub_url", help="the endpoint of the PUB socket")
    parser.add_argument("-t", "--topic", default="", help="print only messages whose topic has this prefix")
    parser.add_argument("--timestamp", action="store_true", help="print the time before each message")
    parser.add_argument("--separator", default=" | ", help="the separator of topic and message")
    parser.add_argument("--dateformat", default="%Y-%m-%d %H:%M", help="the format of --timestamp")
    parser.add_argument("--align", action="store_true", help="pad topics to the longest one so far")
    parser.add_argument("--color", action="store_true", help="color messages by level")
    chosen = parser.parse_args(arguments)
    width = 0
    with Context() as context, context.socket(SocketType.SUB) as sub:
        sub.linger = 0
        sub.subscribe(chosen.topic)
        sub.connect(chosen.zmq_pub_url)
        try:
            while True:
                topic, message = (part.decode(errors="replace").strip() for part in sub.recv_multipart()[:2])
                level = next((each for each in topic.split(".") if each in _COLOURS), None) if chosen.color else None
                colour, plain = (_COLOURS[level], _PLAIN) if level else ("", "")
                width = max(width, len(topic)) if chosen.align else 0
                when = f"{time.strftime(chosen.dateformat)} " if chosen.timestamp else ""
                line = f"{when}{colour}{topic:{width}}{chosen.separator}{message}{plain}"
                print(line, flush=True)
        except KeyboardInterrupt:
            pass


_COLOURS = {"DEBUG": "\033[96m", "INFO": "\033[97m", "WARNING": "\033[33m", "ERROR": "\033[91m", "CRITICAL": "\033[91m"}
_PLAIN = "\033[0m"
