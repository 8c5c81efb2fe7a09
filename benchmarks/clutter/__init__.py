"""The peer benchmark: cluttered digits, what is run on it, and how everything is scored."""

import os

# One thread for every contender. Read when the libraries are loaded, so before torch is; processes inherit it.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
