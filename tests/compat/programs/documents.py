"""bluesky's proxy, publisher and dispatcher: one process sends the documents of an experiment to another."""

import multiprocessing
import threading

import steps
from bluesky.callbacks.zmq import Proxy, Publisher, RemoteDispatcher


def serve(pipe):
    proxy = Proxy()
    pipe.send((proxy.in_port, proxy.out_port))
    proxy.start()


class Run:
    pass


def start_a_proxy(_):
    run = Run()
    run.pipe, theirs = multiprocessing.Pipe()
    run.process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    run.process.start()
    assert run.pipe.poll(30)
    run.ports = run.pipe.recv()
    return run


def send_documents_to_a_dispatcher(run):
    into, out = run.ports
    seen, there = [], threading.Event()
    dispatcher = RemoteDispatcher(f"127.0.0.1:{str(out).rpartition(':')[2]}")

    def note(name, document):
        seen.append((name, document))
        if name == "stop":
            there.set()

    dispatcher.subscribe(note)
    threading.Thread(target=dispatcher.start, daemon=True).start()
    publisher = Publisher(f"127.0.0.1:{str(into).rpartition(':')[2]}")
    # Documents that are published before the subscription has passed the proxy are lost.
    steps.until(lambda: publisher("start", {"uid": "a"}) or seen, "first document")
    publisher("event", {"data": {"x": list(range(10_000))}})
    publisher("stop", {"uid": "a"})
    assert there.wait(20)
    assert seen[-2] == ("event", {"data": {"x": list(range(10_000))}})
    publisher.close()
    return run


def stop_the_proxy(run):
    run.process.terminate()
    run.process.join(20)
    assert run.process.exitcode is not None
    return run


if __name__ == "__main__":
    steps.run(start_a_proxy, send_documents_to_a_dispatcher, stop_the_proxy)
