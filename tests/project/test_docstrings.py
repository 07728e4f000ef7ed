"""Run the examples in docstrings of classes, methods, functions and exceptions."""

import doctest
import pickle

import pytest

import zmqcy
import zmqcy._library
import zmqcy.auth
import zmqcy.errors
import zmqcy.socket

WITHOUT = {"Socket.watch", "Socket.join", "Socket.connect_peer"}  # a fixed port and a peer that comes later; drafts
HELLO = [[b"hello"]]
MESSAGES = {  # what `pull` has received before the example
    "Socket.recv": 2 * HELLO,
    "Socket.recv_json": [[b'{"id":1,"name":"first"}']],
    "Socket.recv_serialized": [[pickle.dumps({"id": 1})]],
    "Socket.recv_multipart_into": [[b"head", b"body"]],
    "TimedOut": [],
}
REQUESTS = {"Socket.recv_multipart": [b"", b"request"], "Socket.recv_multipart_many": [b"request"]}  # for `router`


def examples():
    found = {"Context": zmqcy.Context, "Socket": zmqcy.Socket, "Endpoint": zmqcy.socket.Endpoint}
    for owner in (zmqcy.Context, zmqcy.Socket):
        found |= {f"{owner.__name__}.{name}": getattr(owner, name) for name in dir(owner)}
    found |= vars(zmqcy._library) | vars(zmqcy.errors)
    classes = (zmqcy.Frame, zmqcy.MessageTracker, zmqcy.Poller)
    classes += (zmqcy.auth.Authenticator, zmqcy.auth.Certificate, zmqcy.auth.Policy)
    found |= {each.__name__: each for each in classes}
    texts = {name: value.__doc__ or "" for name, value in found.items() if not isinstance(value, int)}
    return [pytest.param(name, text, id=name) for name, text in texts.items() if ">>>" in text and name not in WITHOUT]


@pytest.mark.parametrize(("name", "text"), examples())
def test_examples(ctx, socket, name, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Certificate writes files
    names = {
        "zmqcy": zmqcy, "pickle": pickle, "ctx": ctx, "peer": b"peer", "socket": socket(zmqcy.PUSH),
        "server": socket(zmqcy.REP), "client": socket(zmqcy.REQ), "sub": socket(zmqcy.SUB),
        "push": socket(zmqcy.PUSH), "pull": socket(zmqcy.PULL), "router": socket(zmqcy.ROUTER),
    }  # fmt: skip
    names["pull"].bind("inproc://messages")
    names["push"].connect("inproc://messages")
    for parts in MESSAGES.get(name, HELLO if name.startswith("Socket.") else []):
        names["push"].send_multipart(parts)
    names["router"].bind("inproc://requests")
    dealer = socket(zmqcy.DEALER, routing_id=b"peer")
    dealer.connect("inproc://requests")
    dealer.send_multipart(REQUESTS.get(name, [b""]))
    said = []
    test = doctest.DocTest(doctest.DocTestParser().get_examples(text), names, name, None, None, text)
    result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert result.attempted and not result.failed, "".join(said)
