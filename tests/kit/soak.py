"""Soak test: all patterns under load, with random faults. Every message is counted.

    python tests/kit/soak.py [--minutes M] [--page FILE]        SEED=... in the environment repeats the choices of a run

Several workloads run in parallel, in rounds. Each round is checked. Their peers are processes that are killed, stopped
and sent signals. The checks:

- Each message is whole (a checksum), in the order of its sender, and not repeated unless it was sent again.
- No message is missing, except the last ones of a killed sender.
- A receiver has stored each message that it acknowledges, even if it is killed.
- A second thread in a socket is refused, or completes its work. The end of a context ends all calls.
- Memory, file descriptors and threads do not grow after the warm-up, by least squares.

It prints a line each minute and at the end. The exit code is 1 after a failure. The page has plots.
"""

import argparse
import contextlib
import html
import itertools
import math
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
import zlib
from collections import Counter, deque
from pathlib import Path

import zmqcy
from zmqcy.devices import Device

HEADER = struct.Struct(">IIQBI")  # sender, its life, message number, number of parts that follow, checksum
BLOCK = random.Random(1).randbytes(400_000)
SIZES = [0, 1, 8, 33, 34, 1_000, 8_192, 70_000, 300_000]
WEIGHTS = [20, 20, 20, 20, 20, 20, 4, 2, 1]
LIMIT = 60_000  # max ms of a call
ROUND = 8.0  # approximate seconds
GROWTH = {"resident": 64_000_000, "descriptors": 40, "threads": 10}  # max growth after the warm-up


class Wrong(Exception):
    """A violated guarantee."""


# ---------------------------------------------------------------------------------------------------------- messages


def compose(chance, sender, life, number, parts=None):
    """Create a message with a checksum."""
    bodies = []
    for _ in range(chance.choice([0, 0, 1, 3]) if parts is None else parts):
        size = chance.choices(SIZES, WEIGHTS)[0]
        start = chance.randrange(100_000)
        bodies.append(BLOCK[start : start + size])
    return [HEADER.pack(sender, life, number, len(bodies), zlib.crc32(b"|".join(bodies))), *bodies]


def look(message):
    """Check a message. Return its sender, the sender's life, and the message number."""
    sender, life, number, count, checksum = HEADER.unpack(message[0])
    if count != len(message) - 1 or zlib.crc32(b"|".join(map(bytes, message[1:]))) != checksum:
        raise Wrong(f"message {number} of {sender} is torn: parts of {[len(part) for part in message]} bytes")
    return sender, life, number


# ------------------------------------------------------------------------------------------------------------- peers


class Signals:
    """The signal handlers of a peer: SIGTERM asks it to end, other signals only interrupt its calls."""

    def __init__(self):
        self.stop = False
        signal.signal(signal.SIGTERM, self.end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.signal(signal.SIGUSR2, self.storm)
        signal.signal(signal.SIGALRM, self.blow)
        self.left = 0
        self.parent = os.getppid()
        print("ready", flush=True)

    def end(self, *_):
        self.stop = True

    def storm(self, *_):
        self.left = 500
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)

    def blow(self, *_):
        self.left -= 1
        if self.left <= 0:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def over(self):
        return self.stop or os.getppid() != self.parent


def peer_push(endpoint, sender, life):
    """Send messages until SIGTERM, and print their number."""
    signals, chance, number = Signals(), random.Random(f"{sender} {life}"), 0
    sender, life = int(sender), int(life)
    with zmqcy.Context() as context:
        push = context.socket(zmqcy.PUSH, linger=LIMIT, sndhwm=chance.choice([1, 10, 1000]))
        push.connect(endpoint)
        while not signals.over():
            messages = [compose(chance, sender, life, number + i) for i in range(chance.choice([1, 1, 20]))]
            with contextlib.suppress(zmqcy.Again):
                if len(messages) > 1:
                    number += push.send_multipart_many(messages, timeout=20)
                else:
                    push.send_multipart(messages[0], timeout=20, copy=chance.choice([None, False]))
                    number += 1
        print(number, flush=True)


def peer_record(endpoint, record):
    """Store each message, then acknowledge it."""
    signals = Signals()
    with zmqcy.Context(linger=0) as context, open(record, "ab", buffering=0) as stream:
        router = context.socket(zmqcy.ROUTER)
        until = time.monotonic() + 20
        while True:  # the port may still belong to a killed process
            try:
                router.bind(endpoint)
                break
            except zmqcy.ZMQError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        while not signals.over():
            try:
                messages = router.recv_multipart_many(100, timeout=20)
            except zmqcy.Again:
                continue
            seen = [(name, *look(unpacked(data))) for name, data in messages]
            stream.write(b"".join(b"%d %d\n" % (epoch, number) for _, _, epoch, number in seen))
            for name, _, epoch, number in seen:
                router.send_multipart([name, b"%d %d" % (epoch, number)])


def unpacked(data):
    return [data[: HEADER.size], data[HEADER.size :]]


def peer_answer(endpoint):
    """Answer each request with the same message."""
    signals = Signals()
    with zmqcy.Context(linger=0) as context:
        rep = context.socket(zmqcy.REP)
        rep.connect(endpoint)
        while not signals.over():
            with contextlib.suppress(zmqcy.Again):
                request = rep.recv_multipart(timeout=20)
                look(request)
                rep.send_multipart(request)


PEERS = {"push": peer_push, "record": peer_record, "answer": peer_answer}


class Peer:
    """A peer process that can be killed, stopped and sent signals."""

    def __init__(self, kind, *arguments):
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `end`)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__, "--peer", kind, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=self.errors, text=True,
        )  # fmt: skip
        self.killed = False
        self.process.stdout.readline()  # wait until it is ready for signals, or has ended

    def send(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self):
        self.killed = True
        self.send(signal.SIGKILL)
        self.end()

    def drop(self):
        """Kill the process after a failure."""
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()
            self.errors.close()

    def end(self):
        """End the process, and check how it ended. Return its last output."""
        if not self.killed:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
        try:
            said, _ = self.process.communicate(timeout=LIMIT / 1000)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise Wrong(f"{self.process.args[4:]} does not end") from None
        self.errors.seek(0)
        errors = self.errors.read()
        self.errors.close()
        if self.process.returncode != (-signal.SIGKILL if self.killed else 0) or errors:
            raise Wrong(f"{self.process.args[4:]} ended with {self.process.returncode}: {errors}")
        return said


# --------------------------------------------------------------------------------------------------------- workloads


class Soak:
    def __init__(self, seconds, seed):
        self.begun = time.monotonic()
        self.until = self.begun + seconds
        self.seed = seed
        self.messages = Counter()
        self.faults = Counter()
        self.met = Counter()  # the effects of faults
        self.wrong = []
        self.samples = []
        self.directory = tempfile.TemporaryDirectory()
        self.names = itertools.count()

    @property
    def over(self):
        return self.wrong or time.monotonic() > self.until

    def endpoint(self, chance, transports=("tcp", "ipc", "inproc")):
        transport = chance.choice(transports)
        return {
            "tcp": "tcp://127.0.0.1:*",
            "ipc": f"ipc://{self.directory.name}/{next(self.names)}",
            "inproc": f"inproc://{next(self.names)}",
        }[transport]

    def fault(self, name, count=1):
        self.faults[name] += count

    def torment(self, chance, peers, renew, kill=True):
        """Disturb one of several processes: kill and replace it, stop it for a while, or send signals."""
        index = chance.randrange(len(peers))
        what = chance.choice(["kill", "stop", "stop", "storm", "signals", "signals"])
        if what == "kill" and kill:
            peers[index].kill()
            peers[index] = renew(index)
            self.fault("killed")
        elif what == "stop":
            peers[index].send(signal.SIGSTOP)
            time.sleep(chance.random() * 0.5)
            peers[index].send(signal.SIGCONT)
            self.fault("stopped")
        elif what == "storm":
            peers[index].send(signal.SIGUSR2)
            self.fault("storms")
        else:
            for _ in range(20):
                peers[index].send(signal.SIGUSR1)
            self.fault("signals", 20)

    # Each of these is one round, of about ROUND seconds.

    def push_pull(self, chance, until):
        """Processes that push, perhaps through a device. All their messages must arrive, in order."""
        hwm, kept = chance.choice([1, 10, 1000]), deque()
        with contextlib.ExitStack() as stack:
            context = stack.enter_context(zmqcy.Context(linger=0))
            pull = stack.enter_context(context.socket(zmqcy.PULL, rcvhwm=hwm))
            device = None
            if chance.random() < 0.5:
                options = {"front_options": {"rcvhwm": hwm}, "back_options": {"sndhwm": hwm}}
                way = chance.choice(["thread", "thread", "process"])
                device = stack.enter_context(
                    Device(zmqcy.STREAMER, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*", run_in=way, **options)
                )
                pull.connect(device.endpoints["back"][0])
                endpoint = device.endpoints["front"][0]
            else:
                pull.bind("tcp://127.0.0.1:*")
                endpoint = pull.last_endpoint
            lives, expected, counts = Counter(), {}, {}

            def start(sender):
                lives[sender] += 1
                return Peer("push", endpoint, sender, lives[sender])

            peers = [start(sender) for sender in range(3)]
            stack.callback(lambda: [peer.drop() for peer in peers])

            def receive(timeout):
                for _ in range(500):
                    try:
                        copy = chance.random() < 0.5
                        message = pull.recv_multipart(copy=copy, timeout=timeout)
                    except zmqcy.Again:
                        return
                    if not copy and len(kept) < 200:
                        kept.append((message, look(message)))
                    sender, life, number = look(message)
                    if expected.get((sender, life), 0) != number:
                        raise Wrong(f"PUSH {sender}, life {life}: {number} after {expected.get((sender, life), 0) - 1}")
                    expected[sender, life] = number + 1
                    self.messages["PUSH PULL"] += 1
                    while kept and chance.random() < 0.3:
                        frames, was = kept.popleft()
                        if look(frames) != was:
                            raise Wrong("a frame has changed")
                        self.met["frames kept"] += 1

            paused, ending = False, []

            def end_all():
                try:
                    for sender, peer in enumerate(peers):
                        counts[sender, lives[sender]] = int(peer.end())
                except Exception as error:
                    ending.append(error)

            while time.monotonic() < until:
                receive(50)
                if chance.random() < 0.1:
                    self.torment(chance, peers, start)
                if device and chance.random() < 0.1:
                    device.resume() if paused else device.pause()
                    paused = not paused
                    self.fault("paused")
            if paused:
                device.resume()
            ender = threading.Thread(target=end_all)
            ender.start()
            patience = time.monotonic() + LIMIT / 1000
            while ender.is_alive() or any(expected.get(k, 0) < n for k, n in counts.items()):
                receive(20)
                if time.monotonic() > patience:
                    raise Wrong(f"PUSH: {counts} were sent, and {expected} came")
            ender.join()
            if ending:
                raise ending[0]
            for key, count in counts.items():
                if expected.get(key, 0) != count:
                    raise Wrong(f"PUSH {key}: {count} were sent, and {expected.get(key, 0)} came")

    def acknowledged(self, chance, until):
        """A DEALER that sends messages without acknowledgment again, to a ROUTER that is killed."""
        record = f"{self.directory.name}/{next(self.names)}.record"
        endpoint = chance.choice(
            [f"tcp://127.0.0.1:{chance.randrange(20_000, 30_000)}", f"ipc://{self.directory.name}/{next(self.names)}"]
        )

        def start(_):
            return Peer("record", endpoint, record)

        peers = [start(0)]
        base = number = 0  # the next message to be acknowledged, and to be sent
        epoch, bases = 0, {}
        with zmqcy.Context(linger=0) as context:
            try:
                while time.monotonic() < until:
                    epoch += 1  # a new socket sends all messages without acknowledgment again, in order
                    bases[epoch], number = base, base
                    dealer = context.socket(zmqcy.DEALER, sndhwm=chance.choice([5, 1000]))
                    dealer.connect(endpoint)
                    heard, process = time.monotonic(), peers[0].process
                    ends = min(until, heard + chance.random() * 4)
                    while time.monotonic() < ends and time.monotonic() < heard + 1:
                        while number < base + 200:
                            header, body = compose(chance, 0, epoch, number, parts=1)
                            if not dealer.try_send(header + body):
                                break
                            number += 1
                        try:
                            acknowledged = dealer.recv_many(1000, timeout=20)
                        except zmqcy.Again:
                            continue
                        first = base
                        for each in acknowledged:
                            if each == b"%d %d" % (epoch, base):
                                base += 1
                            elif peers[0].process is not process:  # the killed process has not acknowledged them
                                ends = 0
                                break
                            else:
                                raise Wrong(f"DEALER, socket {epoch}: {each} is acknowledged, and not {base}")
                        heard = time.monotonic()
                        self.messages["DEALER ROUTER"] += base - first
                        if chance.random() < 0.02:
                            self.torment(chance, peers, start)
                            heard = time.monotonic()
                    dealer.close()  # with messages under way
                    self.fault("closed")
                peers[0].end()
            finally:
                peers[0].drop()
        last, written = {}, set()
        with open(record, "rb") as stream:
            for line in stream:
                each, got = map(int, line.split())
                if got <= last.get(each, bases[each] - 1):
                    raise Wrong(f"ROUTER: {got} came after {last.get(each)} by socket {each}")
                last[each] = got
                written.add(got)
        os.unlink(record)
        if missing := set(range(base)) - written:
            raise Wrong(f"ROUTER: acknowledged, and not written down: {sorted(missing)[:20]}")

    def requests(self, chance, until):
        """REQs that repeat unanswered requests with a new socket, a device, and REPs that are killed."""
        with (
            zmqcy.Context(linger=0) as context,
            Device(zmqcy.QUEUE, self.endpoint(chance, ("tcp",)), self.endpoint(chance, ("tcp",))) as device,
        ):
            front, back = device.endpoints["front"][0], device.endpoints["back"][0]
            peers = [Peer("answer", back) for _ in range(2)]
            try:
                number, req = 0, None
                while time.monotonic() < until:
                    if req is None:
                        req = context.socket(zmqcy.REQ, req_relaxed=True, req_correlate=True)
                        req.connect(front)
                    request = compose(chance, 0, 0, number, parts=0)
                    req.send_multipart(request)
                    try:
                        answer = req.recv_multipart(timeout=chance.choice([200, 1000]))
                    except zmqcy.Again:
                        self.met["asked again"] += 1
                        if chance.random() < 0.5:
                            req.close()
                            req = None
                        continue
                    if look(answer) != look(request):
                        raise Wrong(f"REQ: {look(answer)} answers {look(request)}")
                    number += 1
                    self.messages["REQ REP"] += 1
                    if chance.random() < 0.001:
                        self.torment(chance, peers, lambda _: Peer("answer", back))
                    if chance.random() < 0.001:
                        device.pause()
                        time.sleep(chance.random() * 0.1)
                        device.resume()
                        self.fault("paused")
                for peer in peers:
                    peer.end()
            finally:
                for peer in peers:
                    peer.drop()

    def news(self, chance, until):
        """A PUB, and SUBs in a Poller that are created and closed. Each receives whole messages, in order."""
        with zmqcy.Context(linger=0) as context:
            pub = context.socket(zmqcy.PUB, sndhwm=chance.choice([10, 1000]))
            endpoints = []
            # Both ends close here with messages under way. libzmq survives that over tcp and ipc if they have one part.
            several = chance.random() < 0.5
            for transport in ("inproc",) if several else ("tcp", "ipc", "inproc"):
                pub.bind(self.endpoint(chance, (transport,)))
                endpoints.append(pub.last_endpoint)
            ended = threading.Event()
            failed = []

            def publish():
                mine, number = random.Random(chance.random()), 0
                try:
                    while not ended.is_set():
                        message = [mine.choice([b"a", b"b"]), *compose(mine, 0, 0, number, None if several else 1)]
                        pub.send_multipart(message if several else [b"".join(message)])
                        number += 1
                        if number % 100 == 0:
                            ended.wait(0.005)
                except Exception as error:
                    failed.append(error)

            publisher = threading.Thread(target=publish)
            publisher.start()
            try:
                poller, last = zmqcy.Poller(), {}
                while time.monotonic() < until and not failed:
                    if len(last) < 2 or (len(last) < 12 and chance.random() < 0.02):
                        sub = context.socket(zmqcy.SUB, rcvhwm=chance.choice([10, 1000]))
                        sub.subscribe(topic := chance.choice([b"", b"a", b"b"]))
                        sub.connect(chance.choice(endpoints))
                        poller.register(sub, zmqcy.POLLIN)
                        last[sub] = -1, topic
                    for sub, _ in poller.poll(20):
                        for name, *message in sub.recv_multipart_many(100, flags=zmqcy.DONTWAIT):
                            number = look(message if several else unpacked(name[1:]))[2]
                            before, topic = last[sub]
                            if number <= before or not name.startswith(topic):
                                raise Wrong(f"SUB: {name[:1]} {number} after {before}")
                            last[sub] = number, topic
                            self.messages["PUB SUB"] += 1
                    if len(last) > 2 and chance.random() < 0.02:
                        sub = chance.choice(list(last))
                        poller.unregister(sub)
                        sub.close()
                        del last[sub]
                        self.fault("closed")
            finally:
                ended.set()
                publisher.join()
                pub.close()
            if failed:
                raise failed[0]

    def threads(self, chance, until):
        """Threads that share two sockets without a lock, and a context that is terminated meanwhile."""
        while time.monotonic() < until:
            context = zmqcy.Context(linger=0)
            kinds = chance.choice([(zmqcy.PULL, zmqcy.PUSH), (zmqcy.PAIR, zmqcy.PAIR), (zmqcy.DEALER, zmqcy.DEALER)])
            hwm = chance.choice([1, 10, 1000])
            a, b = context.socket(kinds[0], rcvhwm=hwm), context.socket(kinds[1], sndhwm=hwm)
            a.bind(self.endpoint(chance, ("inproc", "tcp")))
            b.connect(a.last_endpoint)
            # Over tcp both ends close within a message here, which libzmq does not survive for multipart messages.
            parts = None if a.last_endpoint.startswith("inproc") else 0
            sent, got, failed, refused = [], [], [], Counter()

            def work(number, a=a, b=b, parts=parts, sent=sent, got=got, failed=failed, refused=refused):
                mine, count = random.Random(chance.random()), 0
                try:
                    while not failed:
                        try:
                            if number < 3:
                                message = compose(mine, number, 0, count, parts)
                                b.send_multipart(message, timeout=10)
                                sent.append((number, count))
                                count += 1
                            else:
                                got.append(look(a.recv_multipart(timeout=10)))
                        except zmqcy.SocketInUse:
                            refused["refused"] += 1
                            time.sleep(0)
                        except zmqcy.Again:
                            pass
                except zmqcy.ContextTerminated:
                    pass
                except zmqcy.ZMQError as error:
                    if error.errno != zmqcy.ENOTSOCK:
                        failed.append(error)
                except Exception as error:
                    failed.append(error)

            workers = [threading.Thread(target=work, args=[number]) for number in range(5)]
            for worker in workers:
                worker.start()
            time.sleep(chance.random() * 0.3)
            context.shutdown() if chance.random() < 0.7 else context.destroy(0)
            for worker in workers:
                worker.join(LIMIT / 1000)
                if worker.is_alive():
                    raise Wrong("a call goes on after the end of its context")
            context.destroy(0)
            context.term(timeout=LIMIT)
            if failed:
                raise failed[0]
            if len({(s, n) for s, _, n in got}) != len(got) or not {(s, n) for s, _, n in got} <= set(sent):
                raise Wrong(f"threads: {len(got)} came, {len(set(got))} of them once; {len(sent)} were sent")
            self.messages["threads"] += len(got)
            self.fault("contexts ended")
            self.met["refused"] += refused["refused"]

    def forks(self, chance, until):
        """Forked children that use, close or drop inherited objects, create their own, and exit."""
        with zmqcy.Context(linger=0) as context:
            a, b = context.socket(zmqcy.PAIR), context.socket(zmqcy.PAIR)
            a.bind(self.endpoint(chance))
            b.connect(a.last_endpoint)
            number = 0
            while time.monotonic() < until:
                b.send_multipart(message := compose(chance, 0, 0, number))
                what = chance.choice(["use", "close", "nothing"])
                child = os.fork()
                if child == 0:
                    self.child(a, b, context, what)
                _, status = os.waitpid(child, 0)
                if status:
                    raise Wrong(f"a child that was to {what} ended with {os.waitstatus_to_exitcode(status)}")
                if a.recv_multipart(timeout=LIMIT) != message:
                    raise Wrong("a child took, or changed, its parent's message")
                number += 1
                self.messages["forks"] += 1
                self.fault("forked")
                time.sleep(0.02)

    @staticmethod
    def child(a, b, context, what):
        code = 1
        try:
            signal.alarm(30)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            if what == "use":
                for use in (
                    lambda: b.send(b"child"),
                    a.try_recv,
                    lambda: a.poll(0),
                    lambda: context.socket(zmqcy.PAIR),
                ):
                    try:
                        use()
                    except zmqcy.ForkedError:
                        continue
                    os._exit(2)
            elif what == "close":
                a.close()
                context.term()
            with zmqcy.Context(linger=0) as own:
                c, d = own.socket(zmqcy.PAIR), own.socket(zmqcy.PAIR)
                c.bind("inproc://own")
                d.connect("inproc://own")
                d.send(b"own")
                code = 0 if c.recv(timeout=10_000) == b"own" else 3
        finally:
            os._exit(code)

    def coroutines(self, chance, until):
        """Asynchronous sockets: tests/kit/soak_aio.py, one event loop per round."""
        loop = chance.choice(["asyncio", "debug", "uvloop", "anyio", "trio"])
        seconds = max(until - time.monotonic(), 1)
        done = subprocess.run(
            [sys.executable, "-W", "error", Path(__file__).with_name("soak_aio.py"), str(seconds), loop],
            capture_output=True, text=True, timeout=seconds + LIMIT / 1000, check=False,
            env={**os.environ, "SEED": str(chance.randrange(1 << 30))},
        )  # fmt: skip
        if done.returncode or done.stderr:
            raise Wrong(f"soak_aio.py {loop}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        said = done.stdout.replace(",", "").split()
        self.messages["asyncio"] += int(said[said.index("messages") - 1])
        self.met["cancelled"] += int(said[said.index("cancelled") - 1])

    WORKS = (push_pull, acknowledged, requests, news, threads, forks, coroutines)

    # -------------------------------------------------------------------------------------------------------- the run

    def work(self, function):
        chance = random.Random(f"{self.seed} {function.__name__}")
        try:
            while not self.over:
                function(self, chance, min(time.monotonic() + ROUND * (0.5 + chance.random()), self.until))
        except Exception:
            self.wrong.append(f"{function.__name__}: {traceback.format_exc()}")

    def measure(self):
        with open("/proc/self/statm") as stream:
            resident = int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return {
            "time": time.monotonic() - self.begun,
            "messages": sum(self.messages.values()),
            "resident": resident,
            "descriptors": len(os.listdir("/proc/self/fd")),
            "threads": len(os.listdir("/proc/self/task")),
            "faults": sum(self.faults.values()),
        }

    @staticmethod
    def names_of(counter):
        return ", ".join(f"{count:,} {name}" for name, count in sorted(counter.items()))

    def line(self, now):
        return (
            f"{now['time']:6.0f} s  {now['messages']:>11,} messages  RSS {now['resident'] / 1e6:4.0f} MB  "
            f"{now['descriptors']:4} descriptors  {now['threads']:3} threads  faults: {self.names_of(self.faults)}"
        )

    def growth(self, name):
        """Return the growth of a value from the end of the warm-up to the end, by least squares."""
        points = [(each["time"], each[name]) for each in self.samples[len(self.samples) // 3 :]]
        if len(points) < 2:
            return 0
        middle, mean = (sum(axis) / len(points) for axis in zip(*points, strict=True))
        spread = sum((x - middle) ** 2 for x, _ in points)
        slope = sum((x - middle) * (y - mean) for x, y in points) / spread if spread else 0
        return slope * (points[-1][0] - points[0][0])

    def run(self):
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # fork, from 3.12 on
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.signal(signal.SIGALRM, lambda *_: None)
        chance = random.Random(self.seed)
        start = self.measure()
        works = [threading.Thread(target=self.work, args=[function], daemon=True) for function in self.WORKS]
        for work in works:
            work.start()
        minute = 60
        while any(work.is_alive() for work in works):
            works[0].join(0.5)
            time.sleep(0.5)
            if not self.over:  # the end of the run does not count as growth
                self.samples.append(self.measure())
                if self.samples[-1]["time"] >= minute:
                    print(self.line(self.samples[-1]), flush=True)
                    minute += 60
            what = chance.random()
            if what < 0.2 and not self.over:
                signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
                time.sleep(chance.random() * 0.5)
                signal.setitimer(signal.ITIMER_REAL, 0)
                self.fault("storms")
            elif what < 0.6:
                os.kill(os.getpid(), signal.SIGUSR1)
                self.fault("signals")
            if time.monotonic() > self.until + 3 * LIMIT / 1000:
                names = [f.__name__ for f, work in zip(self.WORKS, works, strict=True) if work.is_alive()]
                self.wrong.append(f"hanging: {', '.join(names)}")
                break
        self.end = self.measure()
        for name, most in GROWTH.items():
            if self.growth(name) > most:
                self.wrong.append(f"{name} grew by {self.growth(name):,.0f}, which is more than {most:,}")
        for name in ("descriptors", "threads"):
            if self.end[name] > start[name] + 2 and not self.wrong:
                self.wrong.append(f"{start[name]} {name} were there before, and {self.end[name]} at the end")
        for function, kind in zip(self.WORKS, KINDS, strict=True):
            if not self.messages[kind] and not self.wrong:
                self.wrong.append(f"{function.__name__}: not one message")

    def summary(self):
        grew = ", ".join(f"{name} {self.growth(name):+,.0f}" for name in GROWTH)
        return (
            f"in all: {self.line(self.end).strip()}\n  messages: {self.names_of(self.messages)}\n"
            f"  met: {self.names_of(self.met)}\n  growth after the warm-up: {grew}\n  seed {self.seed}"
        )


KINDS = ("PUSH PULL", "DEALER ROUTER", "REQ REP", "PUB SUB", "threads", "forks", "asyncio")


# -------------------------------------------------------------------------------------------------------- the page


def nice(number):
    """Round up to 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(number))
    return next(digit * power for digit in (1, 2, 5, 10) if number <= digit * power)


def plot(title, points, unit):
    """Draw a line chart over time, as SVG."""
    width, height, left, right, bottom = 900, 200, 80, 30, 30
    top, end = max((y for _, y in points), default=1) or 1, max((x for x, _ in points), default=1)
    y_step, x_step = nice(top / 4), nice(end / 8) if end < 240 else nice(end / 480) * 60
    top = math.ceil(top / y_step) * y_step

    def across(x):
        return left + x / end * (width - left - right)

    def up(y):
        return height - bottom - y / top * (height - bottom - 10)

    marks = "".join(
        f'<line x1="{left}" x2="{width - right}" y1="{up(y):.1f}" y2="{up(y):.1f}" stroke="#ddd"/>'
        f'<text x="{left - 8}" y="{up(y) + 4:.1f}" text-anchor="end">{y:,.10g}</text>'
        for y in (i * y_step for i in range(round(top / y_step) + 1))
    )
    times = "".join(
        f'<text x="{across(x):.0f}" y="{height - 8}" text-anchor="middle">'
        f"{x / 60 if end >= 240 else x:.10g} {'min' if end >= 240 else 's'}</text>"
        for x in (i * x_step for i in range(int(end / x_step) + 1))
    )
    line = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
    return (
        f'<h2>{title} <small>{unit}</small></h2><svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}">'
        f'{marks}{times}<polyline points="{line}" fill="none" stroke="#1660a0" stroke-width="1.5"/></svg>'
    )


def page(soak):
    thin = soak.samples[:: max(len(soak.samples) // 1000, 1)]

    def rate(name):
        return [
            (now["time"], (now[name] - before[name]) / max(now["time"] - before["time"], 0.1))
            for before, now in itertools.pairwise(thin)
        ]

    def level(name, scale=1):
        return [(each["time"], each[name] / scale) for each in thin]

    plots = [
        plot("Messages", rate("messages"), "a second"),
        plot("Resident memory", level("resident", 1e6), "MB"),
        plot("Descriptors", level("descriptors"), ""),
        plot("Threads", level("threads"), ""),
        plot("Faults", level("faults"), "until then"),
    ]
    state = "Wrong" if soak.wrong else "Nothing was wrong"
    text = html.escape("\n".join([soak.summary(), *soak.wrong]))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>zmqcy: soak</title><style>'
        "body{font:15px/1.5 system-ui,sans-serif;max-width:920px;margin:2em auto;padding:0 1em}"
        "h2{font-size:1.05em;margin:1.2em 0 0}small{color:#666;font-weight:normal}"
        "svg{width:100%;font:12px system-ui,sans-serif}pre{white-space:pre-wrap;background:#f4f4f4;padding:1em}"
        f"</style><h1>{state}</h1><pre>{text}</pre>{''.join(plots)}</html>\n"
    )


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--page", type=Path, default=Path("build/soak.html"))
    parser.add_argument("--peer", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if "MALLOC_ARENA_MAX" not in os.environ:
        # glibc gives each new thread one of several arenas: their free memory looks like a leak for minutes
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "MALLOC_ARENA_MAX": "2"})
    if options.peer:
        PEERS[options.peer[0]](*options.peer[1:])
        # the interpreter removes the handlers before it ends
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM])
        return
    soak = Soak(options.minutes * 60, int(os.environ.get("SEED", random.randrange(1 << 30))))
    with soak.directory:
        soak.run()
    print(soak.summary())
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page(soak))
    print(f"the page: {options.page}", flush=True)
    if soak.wrong:
        print("\n".join(soak.wrong), file=sys.stderr, flush=True)
        os._exit(1)  # a hanging workload would block the exit


if __name__ == "__main__":
    main()
