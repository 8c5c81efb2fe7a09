"""Outcomes that are kept as they come, so that a benchmark that was killed goes on where it stopped."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from pathlib import Path

from prediction.few_samples import Outcome
from prediction.public_data import ROOT

UNUSED = frozenset(("summed", "matching", "saved", "variants", "within"))
"""Modules that the public tables, which hold no single kernels, do not meet."""


def remembered(keep: Path | None, key: tuple[object, ...], compute: Callable[[], Outcome]) -> Outcome:
    """An outcome, from the file of an earlier time where the predictors' code is still the same.

    Args:
        keep: folder; None computes anew.
        key: what tells this outcome from others.
        compute: makes it.
    """
    if keep is None:
        return compute()
    keep.mkdir(parents=True, exist_ok=True)
    file = keep / f"outcomes-{_code_digest()}.jsonl"
    wanted = json.dumps(key)
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        if line.startswith("{") and line.endswith("}"):
            values = json.loads(line)
            if values.pop("key") == wanted:
                return Outcome(**values)
    outcome = compute()
    with file.open("a", encoding="utf-8") as out:
        out.write("\n" + json.dumps({"key": wanted, **asdict(outcome)}) + "\n")
    return outcome


@cache
def _code_digest() -> str:
    """Of the predictors' code, read once: what is changed while a benchmark runs is not what runs."""
    used = sorted(path for path in (ROOT / "latency_models" / "predict").glob("*.py") if path.stem not in UNUSED)
    parts = [path.read_bytes() for path in (*used, Path(__file__).with_name("few_samples.py"))]
    return sha256(b"".join(parts)).hexdigest()[:16]
