"""A Dask cluster as an executor: ``python -m minidqn.sweep --dask ADDRESS``.

Needs the extra: ``python -m pip install "minidqn[dask]"``.

References
----------
https://distributed.dask.org/en/stable/client.html
"""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path

try:
    import distributed
except ImportError:
    raise ImportError('Dask is missing: python -m pip install "minidqn[dask]"') from None

SECONDS = 10
"""How long to wait for a scheduler to answer."""


@contextlib.contextmanager
def cluster(address: str) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """The workers of a cluster, to be used as any executor is.

    A run whose worker leaves is begun again by the scheduler, on another.

    Parameters
    ----------
    address : str
        Of a scheduler, such as tcp://10.0.0.1:8786, or the path of its scheduler file.

    Yields
    ------
    executor : concurrent.futures.Executor
        Of the cluster.
    workers : callable
        Says how many runs it makes at a time, now.

    Raises
    ------
    ValueError
        If there is no scheduler.
    """
    where = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    if ":" not in address and not Path(address).is_file():
        raise ValueError("there is no such file")
    try:
        client = distributed.Client(**where, timeout=SECONDS)
    except Exception as error:  # of an address, a file, a network
        wanted = "expected an address such as tcp://10.0.0.1:8786, or a scheduler's file"
        raise ValueError(f"no scheduler answers; {wanted}: {error}") from error

    def workers():
        with contextlib.suppress(OSError):
            return sum(client.nthreads().values())
        return 0

    with client:
        executor = client.get_executor(pure=False)
        try:
            yield executor, workers
        finally:
            executor.shutdown(wait=False)  # nobody waits for what is still being made
