"""Parsl's high-throughput executor: its interchange, manager and workers communicate over ZeroMQ."""

import tempfile

import parsl
import steps
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider


@parsl.python_app
def square(number):
    return number * number


@parsl.python_app
def fail():
    return 1 / 0


def start_the_executor(_):
    provider = LocalProvider(init_blocks=1, max_blocks=1)
    executor = HighThroughputExecutor(
        label="here", address="127.0.0.1", loopback_address="127.0.0.1", max_workers_per_node=2, provider=provider,
        encrypted=True,
    )  # fmt: skip
    return parsl.load(Config(executors=[executor], run_dir=tempfile.mkdtemp(), usage_tracking=0))


def run_a_hundred_tasks(kernel):
    futures = [square(number) for number in range(100)]
    assert [future.result(60) for future in futures] == [number * number for number in range(100)]
    return kernel


def chain_tasks(kernel):
    assert square(square(square(3))).result(60) == 6561
    return kernel


def raise_an_error_in_a_task(kernel):
    assert type(fail().exception(60)).__name__ == "ZeroDivisionError"
    return kernel


def shut_down_the_executor(kernel):
    kernel.cleanup()
    parsl.clear()
    return kernel


if __name__ == "__main__":
    steps.run(start_the_executor, run_a_hundred_tasks, chain_tasks, raise_an_error_in_a_task, shut_down_the_executor)
