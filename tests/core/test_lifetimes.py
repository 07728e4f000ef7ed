"""Ownership of handles: objects during deletion, shadows of sockets and of contexts."""

import copy
import gc
import threading

import anyio
import pytest
from aio import LIMIT, until, waiting

import zmqcy
import zmqcy.asyncio
from zmqcy.compat import asyncio as compat_asyncio
from zmqcy.compat import core as compat

MODULES = ["zmqcy", "zmqcy.asyncio", "zmqcy.anyio", "zmqcy.compat.core", "zmqcy.compat.asyncio"]


# ---------------------------------------------------------------------------------------------- objects during deletion


DYING = """
    import importlib, os, sys, threading, warnings, weakref
    import zmqcy

    warnings.simplefilter("ignore", ResourceWarning)  # compat warns about open sockets
    module = importlib.import_module(sys.argv[1])

    class Kept(module.Socket):
        "It has a __dict__, whose values go before the socket's handle does."

    class Going:
        def __init__(self, work):
            self.work = work

        def __del__(self):
            self.work()

    def elsewhere(work):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    def let_go(context, how, work):
        socket = Kept(context, zmqcy.PULL)
        if how == "attribute":
            socket.going = Going(work)
            return None
        return weakref.ref(socket, lambda _: work())

    for how in ("attribute", "weak reference"):
        for where in (lambda work: work(), elsewhere):
            for what in ("repr", "destroy", "term", "_name_open", "shadow"):
                context = module.Context()
                address = []
                def work():
                    if what == "shadow":
                        module.Context.shadow(context.underlying)
                    elif what == "term":
                        context.term(5000)
                    else:
                        getattr(context, what if what != "repr" else "__repr__")()
                    done.append(what)
                done = []
                kept = let_go(context, how, lambda: where(work))
                assert done == [what], (how, what)
                context.term(5000)
"""


@pytest.mark.parametrize("module", MODULES)
def test_what_runs_while_a_socket_goes_finds_it_nowhere(run, module):
    """Finalizers of its attributes and weak reference callbacks run while its context still lists it."""
    done = run(DYING, module, env={"PYTHONMALLOC": "debug", "PYTHONFAULTHANDLER": "1"})
    assert done.stderr == ""


def test_what_runs_while_an_asynchronous_shadow_or_an_operation_goes_finds_it_nowhere(run):
    """Other sockets have both in lists, and notify them of calls."""
    done = run("""
        import asyncio, weakref
        import zmqcy, zmqcy.asyncio

        class Kept(zmqcy.asyncio.Socket):
            pass

        class Going:
            def __del__(self):
                seen.append(plain.events)

        async def main():
            shadow = Kept.shadow(plain)
            shadow.going = Going()
            shadow.recv().cancel()
            await asyncio.sleep(0.01)  # the event loop stops watching it
            operation = shadow.recv()  # from now on `plain` notifies it of each call
            del operation
            await asyncio.sleep(0.01)
            del shadow
            assert seen == [0]
            for call in ("events", "close"):
                socket = context.socket(zmqcy.PULL)
                operation = socket.recv()
                end = lambda _: seen.append(socket.close() if call == "close" else socket.events)
                kept = weakref.ref(operation, end)
                del operation
                await asyncio.sleep(0.01)
                socket.close()
            assert seen == [0, 0, None]

        seen = []
        with zmqcy.Context() as ordinary, zmqcy.asyncio.Context() as context:
            plain = ordinary.socket(zmqcy.PULL)
            asyncio.run(main())
    """, env={"PYTHONMALLOC": "debug", "PYTHONFAULTHANDLER": "1"})  # fmt: skip
    assert done.stderr == ""


# --------------------------------------------------------------------------------------------------- shadows of sockets


class Foreign:
    def __init__(self, thing):
        self.underlying = thing.underlying


SHADOWS = {
    "of it": zmqcy.Socket.shadow,
    "of its address": lambda a: zmqcy.Socket.shadow(a.underlying),
    "of what has its address": lambda a: zmqcy.Socket.shadow(Foreign(a)),
    "of a shadow": lambda a: zmqcy.Socket.shadow(zmqcy.Socket.shadow(a)),
    "of the address of a shadow": lambda a: zmqcy.Socket.shadow(zmqcy.Socket.shadow(a.underlying).underlying),
    "of four": lambda a: zmqcy.Socket.shadow(SHADOWS["of a shadow"](SHADOWS["of the address of a shadow"](a))),
    "asynchronous": lambda a: zmqcy.Socket.shadow(zmqcy.asyncio.Socket.shadow(a)),
    "copy of a copy": lambda a: copy.copy(copy.deepcopy(compat.Socket.shadow(a))),
    "compat": lambda a: compat.Socket(compat_asyncio.Socket.shadow(a)),
}
CLOSES = {
    "close": lambda a, ctx: a.close(),
    "a shadow": lambda a, ctx: zmqcy.Socket.shadow(a).close(),
    "destroy": lambda a, ctx: ctx.destroy(),
}


@pytest.mark.parametrize("close", CLOSES)
def test_no_shadow_uses_a_handle_that_was_closed(close):
    for how in SHADOWS:
        use_what_was_closed(how, close)


def use_what_was_closed(how, close):
    ctx = zmqcy.Context(linger=0)
    others = zmqcy.Context(linger=0)
    a = ctx.socket(zmqcy.PULL)
    shadow = SHADOWS[how](a)
    assert not shadow.closed
    CLOSES[close](a, ctx)
    # The next socket may get the same address from libzmq, and the same file descriptor from the system.
    with others.socket(zmqcy.PULL) as next_one, others.socket(zmqcy.PUSH) as push:
        next_one.bind("inproc://next")
        push.connect("inproc://next")
        push.send(b"not for the shadow")
        assert a.closed and shadow.closed
        assert "closed" in repr(shadow)
        for call in (lambda: shadow.recv(zmqcy.DONTWAIT), lambda: shadow.events, shadow.fileno, lambda: shadow.linger):
            with pytest.raises(zmqcy.ZMQError) as caught:
                call()
            assert caught.value.errno == (zmqcy.ETERM if close == "destroy" else zmqcy.ENOTSOCK)
        with pytest.raises(zmqcy.ZMQError):
            zmqcy.Socket.shadow(shadow)
        shadow.close()
        assert next_one.recv() == b"not for the shadow"
    for each in (ctx, others):
        each.destroy()


def test_a_shadow_keeps_its_socket(ctx, near):
    pull, push = near()
    shadows = [make(push) for make in SHADOWS.values()]
    del push
    gc.collect()
    while shadows:
        assert len(ctx._open_sockets()) == 2
        shadows[0].send(b"x")
        assert pull.recv() == b"x"
        del shadows[0]
        gc.collect()
    assert ctx._open_sockets() == [pull]


async def test_who_waits_in_an_asynchronous_shadow_hears_that_its_socket_was_closed(flavour, outside):
    for how in ("of it", "of a shadow", "of its address"):
        for where in ("here", "another thread"):
            await wait_in_a_shadow(flavour, outside, how, where)


async def wait_in_a_shadow(flavour, outside, how, where):
    pull = outside(zmqcy.PULL)
    origin = {"of it": pull, "of a shadow": zmqcy.Socket.shadow(pull), "of its address": pull.underlying}[how]
    shadow = flavour.Socket.shadow(origin)
    async with anyio.create_task_group() as group:
        tasks = [await waiting(group, shadow, shadow.recv) for _ in range(2)]
        if where == "here":
            pull.close()
        else:
            await anyio.to_thread.run_sync(pull.close)
        other = outside(zmqcy.PULL)  # it may have the same file descriptor
        other.bind(f"inproc://other {how} {where}")
        await until(lambda: all(task.ended for task in tasks))
        other.events  # noqa: B018
    for task in tasks:
        assert task.error.errno == zmqcy.ENOTSOCK
    assert shadow.closed


@pytest.mark.parametrize("how", ["of its address", "copy of a copy"])
def test_a_socket_is_not_closed_under_a_call_in_a_shadow(socket, how):
    pull = socket(zmqcy.PULL)
    waiter = SHADOWS[how](pull)
    errors = []

    def wait():
        try:
            waiter.recv()
        except zmqcy.ZMQError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not pull._is_busy():
        pass
    for each in (pull, zmqcy.Socket.shadow(pull)):
        with pytest.raises(zmqcy.SocketInUse, match=r"^close \(PULL\): another thread is in a call"):
            each.close()
    pull.context.destroy()  # wakes the blocked thread
    thread.join()
    assert len(errors) == 1


# -------------------------------------------------------------------------------------------------- shadows of contexts

CONTEXTS = {
    "of it": lambda kind, ctx: kind.shadow(ctx),
    "of its address": lambda kind, ctx: kind.shadow(ctx.underlying),
    "of a shadow": lambda kind, ctx: kind.shadow(kind.shadow(ctx)),
    "by the constructor": lambda kind, ctx: kind(ctx),
}


def test_with_leaves_the_context_of_a_shadow_alive(near, ctx):
    """`with` closes only the sockets that the shadow has made."""
    pull, push = near()
    for make in CONTEXTS.values():
        with make(zmqcy.Context, ctx) as shadow:
            own = shadow.socket(zmqcy.PUSH)
            kept = zmqcy.Context.shadow(ctx).socket(zmqcy.PUSH)
        assert own.closed and not kept.closed and not shadow.closed and not ctx.closed
        kept.close()
        push.send(b"x")
        assert pull.recv() == b"x"
        shadow.socket(zmqcy.PUSH).close()
        assert not ctx.closed


async def test_async_with_leaves_the_context_of_a_shadow_alive(flavour, ctx, outside):
    pull = outside(zmqcy.PULL)
    pull.bind("tcp://127.0.0.1:*")
    for how in CONTEXTS.values():
        async with how(flavour.Context, ctx) as shadow:
            push = shadow.socket(zmqcy.PUSH)
            push.connect(pull.last_endpoint)
            await push.send(b"x")
        assert push.closed and not pull.closed and not ctx.closed
        assert pull.recv() == b"x"


@pytest.mark.parametrize("end", ["term", "destroy"])
def test_what_a_shadow_ends_has_ended_for_all(end):
    for how in CONTEXTS:
        end_by_a_shadow(how, end)


def end_by_a_shadow(how, end):
    ctx = zmqcy.Context()
    shadow, other = CONTEXTS[how](zmqcy.Context, ctx), zmqcy.Context.shadow(ctx)
    sockets = [each.socket(zmqcy.PULL) for each in (ctx, shadow, other)] if end == "destroy" else []
    getattr(shadow, end)()
    assert all(socket.closed for socket in sockets)
    for each in (ctx, shadow, other):
        assert each.closed
        for call in (lambda: each.socket(zmqcy.PULL), lambda: each.io_threads, lambda: each.underlying):  # noqa: B023
            with pytest.raises(zmqcy.ContextTerminated):
                call()
        with pytest.raises(zmqcy.ContextTerminated):
            zmqcy.Context.shadow(each)
        each.term()


def test_a_shadow_keeps_its_context():
    ctx = zmqcy.Context()
    shadow = zmqcy.Context.shadow(zmqcy.Context.shadow(ctx).underlying)
    del ctx
    gc.collect()
    shadow.socket(zmqcy.PULL).close()
    shadow.term(LIMIT)
