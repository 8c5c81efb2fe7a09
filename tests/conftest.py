"""One thread a process: on a busy machine two thread pools on two cores are several times slower than one thread.

Set before torch, numpy and their libraries are loaded, and inherited by the processes that tests start.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
