"""A cluster of ipyparallel: a controller, two engines and a client."""

import ipyparallel
import steps


def start_a_cluster_of_two_engines(_):
    cluster = ipyparallel.Cluster(n=2)
    cluster.start_cluster_sync()
    client = cluster.connect_client_sync()
    client.wait_for_engines(2, timeout=60)
    return cluster, client


def map_over_the_engines(parts):
    _, client = parts
    assert client[:].map_sync(lambda x: x * x, range(100)) == [x * x for x in range(100)]
    assert client.load_balanced_view().map_sync(lambda x: x + 1, range(50)) == list(range(1, 51))
    return parts


def push_and_pull(parts):
    view = parts[1][:]
    data = {"text": "héllo", "bytes": b"x" * (1 << 20), "list": list(range(1000))}
    view.push(data, block=True)
    for name, value in data.items():
        assert view.pull(name, block=True) == [value, value]
    return parts


def scatter_and_gather(parts):
    view = parts[1][:]
    view.scatter("part", list(range(101)), block=True)
    assert sorted(view.apply_sync(lambda: len(part))) == [50, 51]  # noqa: F821  # `part` is on the engine
    assert view.gather("part", block=True) == list(range(101))
    return parts


def raise_an_error_on_an_engine(parts):
    try:
        parts[1][0].apply_sync(lambda: 1 / 0)
    except ipyparallel.RemoteError as error:
        assert error.ename == "ZeroDivisionError"
        return parts
    raise AssertionError("no error")


def print_on_the_engines(parts):
    result = parts[1][:].execute("print('from an engine')", block=True)
    result.wait_for_output(10)
    assert [text.strip() for text in result.stdout] == ["from an engine"] * 2
    return parts


def stop_the_cluster(parts):
    cluster, client = parts
    client.close()
    cluster.stop_cluster_sync()
    return parts


if __name__ == "__main__":
    steps.run(
        start_a_cluster_of_two_engines,
        map_over_the_engines,
        push_and_pull,
        scatter_and_gather,
        raise_an_error_on_an_engine,
        print_on_the_engines,
        stop_the_cluster,
    )
