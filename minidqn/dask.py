"""A Dask cluster as an executor: ``python -m minidqn.sweep --dask ADDRESS``.

Needs the extra: ``python -m pip install "minidqn[dask]"``.

References
----------
https://distributed.dask.org/en/stable/client.html
"""

import contextlib
from pathlib import Path

try:
    import distributed
except ImportError:
    raise ImportError('Dask is missing: python -m pip install "minidqn[dask]"') from None

SECONDS = 10
"""How long to wait for a scheduler to answer."""


@contextlib.contextmanager
def cluster(address):
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
    OSError
        If there is no scheduler.
    """
    where = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    with distributed.Client(**where, timeout=SECONDS) as client:
        executor = client.get_executor(pure=False)
        try:
            yield executor, lambda: sum(client.nthreads().values())
        finally:
            executor.shutdown(wait=False)  # what still runs is of no use to anybody
