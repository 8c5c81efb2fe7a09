"""TVM's thread pool, of which a process has one."""

import tvm

SHARE_ALL_CORES = -3
"""TVM's word for workers that may run on every core given: none is pinned (`latency_models.timing.visit` says why)."""


def use_threads(n_threads: int, cores: list[int]) -> None:
    """Makes parallel loops run on `n_threads` threads, this one included, from now on.

    Args:
        n_threads: at least 1.
        cores: numbers of the cores that they may run on.
    """
    configure = tvm.get_global_func("runtime.config_threadpool")
    configure(SHARE_ALL_CORES, n_threads, [str(core) for core in cores])
