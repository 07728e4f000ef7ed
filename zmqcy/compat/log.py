"""`zmq.log.handlers`: records of `logging` as messages of a PUB socket, with their level as the topic."""

import logging
from typing import Any

from zmqcy._base import BaseSocket
from zmqcy.compat.core import Context
from zmqcy.constants import SocketType

TOPIC_DELIM = "::"
"""Divides a message into a topic and what is to be said."""

_WITH_PLACE = "%(levelname)s %(filename)s:%(lineno)d - %(message)s"


class PUBHandler(logging.Handler):
    """Publish records; the topic is ``root_topic.LEVEL.topic``, the topic being what stands before `TOPIC_DELIM`.

    Parameters
    ----------
    interface_or_socket : str or Socket
        The socket, or an endpoint to which a PUB socket is bound.
    context : Context, optional
        For that PUB socket; by default one of its own.
    root_topic : str or bytes, default ""
        What all topics begin with.
    """

    ctx: Any
    socket: Any

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
        if isinstance(interface_or_socket, BaseSocket):
            self.socket = interface_or_socket
            self.ctx = self.socket.context
        else:
            self.ctx = context or Context()
            self.socket = self.ctx.socket(SocketType.PUB)
            self.socket.bind(interface_or_socket)

    def setRootTopic(self, root_topic: str | bytes) -> None:
        """Set what all topics begin with."""
        self._root_topic = root_topic.decode() if isinstance(root_topic, bytes) else root_topic

    root_topic = property(lambda self: self._root_topic, setRootTopic, doc="str: what all topics begin with.")

    def setFormatter(self, fmt: logging.Formatter | None, level: int = logging.NOTSET) -> None:
        """Set the formatter of one level, or of all of them."""
        if fmt is not None:
            self.formatters |= dict.fromkeys(self.formatters if level == logging.NOTSET else [level], fmt)

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text, by the formatter of its level or else of the next lower one."""
        lower = [level for level in self.formatters if level <= record.levelno]
        return self.formatters[max(lower, default=logging.DEBUG)].format(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Publish a record."""
        try:
            topic, divider, text = str(record.msg).partition(TOPIC_DELIM)
            if divider:
                record.msg = text
            topics = [self.root_topic, record.levelname, topic if divider else ""]
            message = self.format(record)
            self.socket.send_multipart([".".join(filter(None, topics)).encode(), message.encode()])
        except Exception:
            self.handleError(record)


class TopicLogger(logging.Logger):
    """A logger whose methods take the topic before the message."""

    def log(self, level: int, topic: str, msg: str, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Log a message under a topic."""
        super().log(level, f"{topic}{TOPIC_DELIM}{msg}", *args, **kwargs)


def _at(level: int) -> Any:
    return lambda self, topic, msg, *args, **kwargs: self.log(level, topic, msg, *args, **kwargs)


for _name in ("debug", "info", "warning", "warn", "error", "critical", "fatal"):
    setattr(TopicLogger, _name, _at(getattr(logging, _name.upper())))
