"""A kernel of ipykernel, driven by the client of jupyter_client: both run on the same binding."""

import time

import steps
import zmq
from jupyter_client.manager import start_new_kernel

MEGABYTES = 10


class Cell:
    """A cell, and the messages that it sent while it ran."""

    def __init__(self, client, code, answer=None, timeout=30):
        self.messages = []
        client.allow_stdin = answer is not None
        self.reply = client.execute_interactive(
            code,
            output_hook=self.messages.append,
            stdin_hook=lambda message: client.input(answer),
            allow_stdin=answer is not None,
            timeout=timeout,
        )["content"]

    def of(self, kind):
        return [message["content"] for message in self.messages if message["msg_type"] == kind]

    @property
    def text(self):
        return "".join(content["text"] for content in self.of("stream"))


def start_a_kernel(_):
    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=60)
    return manager, client


def run_cells(kernel):
    _, client = kernel
    assert Cell(client, "import zmq; print(zmq.Context.__module__)").text.strip() == zmq.Context.__module__
    cell = Cell(client, "x = 6 * 7\nx")
    assert cell.of("execute_result")[0]["data"]["text/plain"] == "42"
    assert Cell(client, "print(x)").text == "42\n"
    assert Cell(client, "1 / 0").reply["ename"] == "ZeroDivisionError"
    assert Cell(client, "import asyncio; await asyncio.sleep(0.01); print(x + 1)").text == "43\n"
    return kernel


def print_ten_megabytes(kernel):
    cell = Cell(kernel[1], f"print('x' * ({MEGABYTES} << 20), end='')", timeout=60)
    assert len(cell.text) == MEGABYTES << 20
    cell = Cell(
        kernel[1],
        f"from IPython.display import display; display({{'text/plain': 'y' * ({MEGABYTES} << 20)}}, raw=True)",
    )
    assert len(cell.of("display_data")[0]["data"]["text/plain"]) == MEGABYTES << 20
    return kernel


def print_from_ten_threads(kernel):
    code = """
import sys, threading
def work(number):
    for turn in range(50): sys.stdout.write(f"{number} {turn}\\n")  # print makes several writes
threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
for each in threads: each.start()
for each in threads: each.join()
"""
    cell = Cell(kernel[1], code)
    assert sorted(cell.text.splitlines()) == sorted(f"{number} {turn}" for number in range(10) for turn in range(50))
    return kernel


def answer_a_prompt_on_stdin(kernel):
    assert Cell(kernel[1], "print('hello', input('who? '))", answer="world").text.endswith("hello world\n")
    return kernel


def exchange_comm_messages(kernel):
    _, client = kernel
    code = """
from comm import get_comm_manager
def target(comm, message):
    @comm.on_msg
    def answer(message):
        comm.send({"twice": message["content"]["data"]["number"] * 2}, buffers=[memoryview(b"z" * 100_000)])
get_comm_manager().register_target("doubler", target)
"""
    assert Cell(client, code).reply["status"] == "ok"
    opening = client.session.msg("comm_open", {"comm_id": "1", "target_name": "doubler", "data": {}})
    client.shell_channel.send(opening)
    client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": "1", "data": {"number": 21}}))
    end = time.monotonic() + 20
    while time.monotonic() < end:
        message = client.get_iopub_msg(timeout=20)
        if message["msg_type"] == "comm_msg":
            assert message["content"]["data"] == {"twice": 42}
            assert bytes(message["buffers"][0]) == b"z" * 100_000
            return kernel
    raise TimeoutError("no comm_msg")


def interrupt_a_cell(kernel):
    manager, client = kernel
    asked = client.execute("import time\nprint('begun', flush=True)\ntime.sleep(60)")
    while client.get_iopub_msg(timeout=20)["msg_type"] != "stream":
        pass
    manager.interrupt_kernel()
    while (reply := client.get_shell_msg(timeout=20))["parent_header"].get("msg_id") != asked:
        pass
    assert reply["content"]["ename"] == "KeyboardInterrupt", reply["content"]

    def run_the_next():
        cell = Cell(client, "print('still here')")
        return cell if cell.reply["status"] != "aborted" else None

    # A kernel aborts requests that arrive right after an error.
    assert steps.until(run_the_next, "a cell after the interrupt").text == "still here\n"
    return kernel


def restart_the_kernel(kernel):
    manager, client = kernel
    manager.restart_kernel(now=False)
    client.wait_for_ready(timeout=60)
    assert Cell(client, "x").reply["ename"] == "NameError"
    return kernel


def check_the_heartbeat(kernel):
    _, client = kernel
    client.hb_channel.unpause()
    steps.until(client.hb_channel.is_beating, "heartbeat")
    assert client.is_alive()
    return kernel


def shut_down_the_kernel(kernel):
    manager, client = kernel
    client.stop_channels()
    manager.shutdown_kernel(now=False)
    assert not manager.is_alive()
    return kernel


if __name__ == "__main__":
    steps.run(
        start_a_kernel,
        run_cells,
        print_ten_megabytes,
        print_from_ten_threads,
        answer_a_prompt_on_stdin,
        exchange_comm_messages,
        interrupt_a_cell,
        restart_the_kernel,
        check_the_heartbeat,
        shut_down_the_kernel,
    )
