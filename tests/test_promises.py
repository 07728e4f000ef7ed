"""What docs/asyncio.md promises and does not hold yet. Each is marked; the mark goes with the fault."""

import asyncio
import gc
import warnings

import pytest

import zmqcy
from zmqcy.asyncio import Context

LIMIT = 10  # seconds


def test_a_program_ends_with_an_operation_in_a_cycle(run):
    run("""
        import asyncio, zmqcy
        from zmqcy.asyncio import Context

        async def main():
            pull = Context(linger=0).socket(zmqcy.PULL)
            known = {"operation": pull.recv(), "pull": pull}
            known["known"] = known

        asyncio.run(main())
    """)


@pytest.mark.parametrize("keep", [False, True])
def test_a_cancelled_gather_ends(run, keep):
    code = """
        import asyncio, sys, zmqcy
        from zmqcy.asyncio import Context

        async def main():
            async with Context(linger=0) as context:
                sockets = [context.socket(zmqcy.PULL) for _ in range(2)]
                keep = sys.argv[1] == "True"
                receiving = asyncio.gather(*(socket.recv() for socket in sockets), return_exceptions=keep)
                await asyncio.sleep(0)
                receiving.cancel()
                await asyncio.wait([receiving], timeout=LIMIT)
                assert receiving.done()

        asyncio.run(main())
    """
    run(code.replace("LIMIT", str(LIMIT)), keep)


def test_wait_takes_operations():
    async def main():
        async with Context(linger=0) as context:
            push, pull = context.socket(zmqcy.PUSH), context.socket(zmqcy.PULL)
            pull.bind("inproc://wait")
            push.connect("inproc://wait")
            receiving = pull.recv()
            await push.send(b"it")
            done, _ = await asyncio.wait([receiving], timeout=LIMIT)
            assert [each.result() for each in done] == [b"it"]

    asyncio.run(main())


def test_a_cancelled_task_knows_how_much_of_its_batch_has_gone():
    async def main():
        async with Context(linger=0) as context:
            push, pull = context.socket(zmqcy.PUSH, sndhwm=2), context.socket(zmqcy.PULL, rcvhwm=2)
            pull.bind("inproc://batch")
            push.connect("inproc://batch")

            async def send():
                try:
                    await push.send_many([b"x"] * 100)
                except asyncio.CancelledError as error:
                    return getattr(error, "sent", None)

            task = asyncio.create_task(send())
            await asyncio.sleep(0)
            task.cancel()
            assert await task == 4
            assert await pull.recv_many(100) == [b"x"] * 4

    asyncio.run(main())


def test_each_exception_that_nobody_asked_for_is_told():
    async def main():
        told = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, about: told.append(about["exception"]))
        async with Context(linger=0) as context:
            pull = context.socket(zmqcy.PULL)
            for _ in range(3):
                operation = pull.recv(timeout=1)
                while not operation.done():
                    await asyncio.sleep(0)
                del operation
        assert [type(error) for error in told] == [zmqcy.TimedOut] * 3

    asyncio.run(main())


def test_a_loop_sleeps_while_a_router_waits_for_room_for_one_peer():
    async def main():
        asleep = asyncio.Event()
        loop = asyncio.get_running_loop()
        select = loop._selector.select

        def watched(timeout=None):
            if timeout is None or timeout > 0:
                asleep.set()
            return select(timeout)

        async with Context(linger=0) as context:
            router = context.socket(zmqcy.ROUTER, sndhwm=1, router_mandatory=True)
            router.bind("inproc://router")
            peers = [context.socket(zmqcy.DEALER, rcvhwm=1, routing_id=name) for name in (b"full", b"free")]
            for peer in peers:
                peer.connect("inproc://router")
                await peer.send(b"here")
                await router.recv_multipart()
            sending = [asyncio.ensure_future(send_to(router, b"full")) for _ in range(5)]
            await asyncio.sleep(0)
            await peers[1].send(b"something for the router to look at")
            await router.recv_multipart()
            for _ in range(10):
                await asyncio.sleep(0)
            loop._selector.select = watched
            waiting = asyncio.ensure_future(asleep.wait())
            await asyncio.wait([waiting], timeout=1)
            for task in [waiting, *sending]:
                task.cancel()
            ended = await asyncio.gather(waiting, *sending, return_exceptions=True)
            assert isinstance(ended[-1], asyncio.CancelledError)  # it waited
            assert ended[0] is True

    asyncio.run(main())


async def send_to(router, peer):
    await router.send_multipart([peer, b""])


async def end_in_a_cycle():
    known = {"context": Context()}
    known["known"] = known
    gc.collect(0)
    await known["context"].aclose()


def test_the_end_of_a_context_leaves_no_descriptor():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(end_in_a_cycle())
        gc.collect()
    assert [str(each.message) for each in caught] == []
