"""Four workers in containers, whom nobody configured: `python compute.py`."""

from pycompose import ComposeCluster


def square(number: int) -> tuple[str, int]:
    from distributed import get_worker

    return str(get_worker().name), number * number


if __name__ == "__main__":
    with ComposeCluster() as cluster, cluster.get_client() as client:
        answers = client.gather(client.map(square, range(1000)))
        print(f"{sum(value for _, value in answers):,} by {len({name for name, _ in answers})} workers")
        for address, worker in sorted(client.scheduler_info(n_workers=-1)["workers"].items()):
            print(f"  {worker['name']}  {address}  {worker['memory_limit'] >> 20} MiB")
