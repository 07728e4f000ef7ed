"""Run a queue device with a C hook. First run `python setup.py build_ext --inplace`."""

from guard import Guard

import zmqcy
from zmqcy.devices import Device

guard = Guard(largest=10)
with (
    Device(zmqcy.QUEUE, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*", filter=guard) as device,
    zmqcy.Context() as context,
    context.socket(zmqcy.DEALER) as client,
    context.socket(zmqcy.REP) as worker,
):
    client.connect(device.endpoints["front"][0])
    worker.connect(device.endpoints["back"][0])
    for request in (b"too large a request", b"hello"):
        client.send_multipart([b"", request])
    print(worker.recv())
    worker.send(b"a reply of any size")
    print(client.recv_multipart()[-1])
    print("dropped:", guard.dropped)
