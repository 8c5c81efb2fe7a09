"""Where estimates keep what is worth keeping: the compiled plugin and the cycles of kernels."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache folder for estimates (`XDG_CACHE_HOME`, else `~/.cache`); it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy" / "estimate"
