"""Call every public method of every class in a state: each must return or raise, and never crash.

    python tests/kit/states.py STATE

`fuzz_calls` does this at random; this program goes through all states. Each call is logged before it is made, so that
the log shows the last call before a crash.
"""

import asyncio
import contextlib
import faulthandler
import gc
import inspect
import os
import sys
import warnings

from fuzz_calls import LEFT_OUT, Fuzzer, dir_of, list_some

import zmqcy
import zmqcy.anyio
import zmqcy.asyncio
import zmqcy.devices
from zmqcy.compat import asyncio as compat_asyncio
from zmqcy.compat import core as compat

MODULES = {
    "plain": zmqcy,
    "asyncio": zmqcy.asyncio,
    "anyio": zmqcy.anyio,
    "compat": compat,
    "compat asyncio": compat_asyncio,
}
# Arguments by parameter name. Optional parameters keep their defaults.
ARGUMENTS = {
    "timeout": 1, "data": b"x", "parts": [b"a", b"b"], "msg_parts": [b"a", b"b"], "messages": [b"a", b"b"],
    "buffer": bytearray(8), "buffers": [bytearray(8), bytearray(8)], "limit": 3, "endpoint": "inproc://states",
    "addr": None, "option": zmqcy.LINGER, "value": 0, "optval": 0, "topic": b"t", "group": "g", "routing_id": 1,
    "encoding": "utf-8", "text": "x", "u": "x", "obj": 1, "msg": 1, "serialize": lambda _: [b"x"],
    "deserialize": len, "socket_type": zmqcy.PULL, "type": zmqcy.PULL, "linger": 0, "microseconds": 0, "wait": 1,
    "n": 1, "secret_key": b"0" * 32, "server_key": b"0" * 32, "username": "u", "password": "p", "socket": 0, "fn": len,
    "callback": print, "name": "x", "min_port": 50000, "max_port": 50001, "messages_": 1, "seconds": 0,
}  # fmt: skip
SINGLE = {"__aexit__": (None, None, None), "__exit__": (None, None, None), "__eq__": (1,), "__getattr__": ("x",)}
HIDDEN = {"__init__", "__new__", "__setattr__", "__delattr__", "__getattribute__", "__reduce__", "__getstate__"}


class Family:
    """Related objects of a module, in their initial state."""

    def __init__(self, module):
        self.module = module
        self.context = module.Context()
        self.context.linger = 0
        self.sockets = {}
        for kind in (zmqcy.PULL, zmqcy.SUB, zmqcy.REQ):
            socket = self.context.socket(kind)
            socket.rcvtimeo = socket.sndtimeo = 1
            self.sockets[kind.name] = socket
        self.poller = getattr(module, "Poller", zmqcy.Poller)()
        for socket in self.sockets.values():
            self.poller.register(socket, zmqcy.POLLIN)

    def close(self):
        for socket in self.sockets.values():
            socket.close(0)

    def end(self):
        for socket in self.context._open_sockets():
            with contextlib.suppress(zmqcy.ZMQError):
                socket.close(0)
        self.context.term(10_000)

    def things(self):
        found = {f"Socket {name}": socket for name, socket in self.sockets.items()}
        return {**found, "Context": self.context, "Poller": self.poller}

    def others(self):
        """Return the objects that sockets create, such as monitors and frames."""
        with contextlib.suppress(zmqcy.ZMQError):
            pull = self.sockets["PULL"]
            yield "Endpoint", pull.bind("inproc://family")
            if hasattr(pull, "watch"):
                yield "Monitor", pull.watch()
            yield "Operation", pull.recv() if isinstance(pull, zmqcy.asyncio.Socket) else None
            yield "Done", self.sockets["REQ"].send_many([]) if isinstance(pull, zmqcy.asyncio.Socket) else None
            frame = zmqcy.Frame(b"x" * 100_000, track=True)
            yield "Frame", frame
            yield "MessageTracker", frame.tracker
            yield "Device", zmqcy.devices.Device(zmqcy.STREAMER, "inproc://in", "inproc://out")


def shadows_of(family):
    kind = family.module.Socket
    family.shadows = {name: kind.shadow(socket) for name, socket in family.sockets.items()}
    shadow = family.module.Context.shadow(family.context)
    twice = {f"Socket {name} twice": kind.shadow(each) for name, each in family.shadows.items()}
    return {**{f"Socket {name}": each for name, each in family.shadows.items()}, **twice, "Context": shadow}


def closed(family):
    family.close()
    return family.things()


def shadows_of_closed(family):
    found = shadows_of(family)
    family.close()
    return found


def ended(family):
    family.context.destroy()
    return family.things()


def shadows_of_ended(family):
    found = shadows_of(family)
    family.context.destroy()
    return found


def shut_down(family):
    family.context.shutdown()
    return family.things()


def uninitialised(family):
    kinds = {type(thing) for thing in family.things().values()}
    return {kind.__name__: type(kind.__name__, (kind,), {"__init__": lambda self: None})() for kind in kinds}


# How to bring a family into a state, and whether calls change the state: then each call gets a new family.
STATES = {
    "new": (Family.things, True),
    "uninitialised": (uninitialised, True),
    "closed": (closed, False),
    "shadow": (shadows_of, True),
    "shadow of a closed one": (shadows_of_closed, False),
    "context shut down": (shut_down, True),
    "context ended": (ended, False),
    "shadow of an ended one": (shadows_of_ended, False),
}


def arguments_of(function):
    """Return all required arguments of a function, and a short timeout."""
    name = getattr(function, "__name__", "")
    if name in SINGLE:
        return SINGLE[name], {}
    named = {}
    with contextlib.suppress(ValueError, TypeError):
        for parameter in inspect.signature(function).parameters.values():
            needed = parameter.default is parameter.empty and parameter.kind not in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            )
            if needed or parameter.name in ("timeout", "linger"):
                named[parameter.name] = ARGUMENTS.get(parameter.name)
    positional = [named.pop("fn")] if "fn" in named else []  # positional-only
    return positional, named


def use(thing, name):
    """Call a method, or read an attribute and set it to the same value."""
    value = getattr(thing, name)
    if callable(value) and not isinstance(value, type):
        positional, named = arguments_of(value)
        return value(*positional, **named)
    setattr(thing, name, value)
    return None


def names_of(thing):
    names = [
        name for name in dir_of(thing) if name not in {*LEFT_OUT, *HIDDEN} and (name[0] != "_" or name[:2] == "__")
    ]
    return [*names, "repr", "list"]


async def call(fuzzer, text, thing, name):
    what = {"repr": repr, "list": list_some}.get(name)
    result = fuzzer.attempt(text, lambda: what(thing) if what else use(thing, name))
    if inspect.isawaitable(result):
        try:
            await asyncio.wait_for(result, 0.01)
        except SystemError:
            raise
        except (Exception, asyncio.CancelledError):
            pass
    return result


async def walk(fuzzer, state, module, family=None):
    """Call everything in a state. `family`: a family that is already in this state."""
    make, leaves = STATES.get(state, (None, False))
    things = make(Family(MODULES[module])) if family is None else family.things() | family.made
    for label, thing in things.items():
        own = None
        for name in names_of(thing):
            if leaves and own is None:
                own = Family(MODULES[module])
                thing = make(own)[label]
            await call(fuzzer, f"{state}: {module} {label}.{name}", thing, name)
            if leaves and callable(getattr(type(thing), name, None)):  # options do not change the state
                own.end()
                own = None
        if own is not None:
            own.end()


async def walk_others(fuzzer, module):
    """Call everything of the objects that sockets create, before and after the sockets and the context are closed."""
    for state in (None, *STATES):
        family = Family(MODULES[module])
        found = dict(family.others())
        if state is not None:
            kept = STATES[state][0](family)
        for label, thing in found.items():
            for name in names_of(thing) if thing is not None else ():
                await call(fuzzer, f"others, {state}: {module} {label}.{name}", thing, name)
        device = found.get("Device")
        if device is not None:
            with contextlib.suppress(Exception):
                device.stop()
        kept = None  # noqa: F841
        family.context.destroy(0)


async def made(module):
    family = Family(MODULES[module])
    with contextlib.suppress(RuntimeError):
        family.made = {label: thing for label, thing in family.others() if thing is not None}
    return family


def loop_closed(fuzzer, module):
    """Call all methods of objects with a closed event loop: without a running loop, and in a new loop."""
    family = asyncio.run(made(module))
    for label, thing in (family.things() | family.made).items():
        for name in names_of(thing):
            if name not in ("close", "term", "destroy", "shutdown", "aclose"):
                result = fuzzer.attempt(f"no loop: {module} {label}.{name}", lambda: use(thing, name))  # noqa: B023
                if inspect.iscoroutine(result):
                    result.close()
    asyncio.run(walk(fuzzer, "loop closed", module, family))
    with contextlib.suppress(Exception):
        family.close()
    family.context.destroy(0)


def after_fork(fuzzer, module):
    """Call everything of the parent's objects in a forked child."""
    family = asyncio.run(made(module))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            asyncio.run(walk(fuzzer, "after fork", module, family))
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"the child ended with {os.waitstatus_to_exitcode(status)}")
    family.context.destroy(0)


def main(state):
    faulthandler.enable()
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda *_: None
    zmqcy.exit_linger = 0
    fuzzer = Fuzzer(0, 2)
    for module in MODULES:
        if state == "loop closed":
            loop_closed(fuzzer, module)
        elif state == "after fork":
            after_fork(fuzzer, module)
        elif state == "others":
            asyncio.run(walk_others(fuzzer, module))
        else:
            asyncio.run(walk(fuzzer, state, module))
        gc.collect()
    fuzzer.note("the end")
    print(" ".join(f"{key}={value}" for key, value in fuzzer.counts.items()))


ALL = [*STATES, "others", "loop closed", "after fork"]

if __name__ == "__main__":
    main(sys.argv[1])
