"""Understudy: from a trained PyTorch network and a latency budget to a measured front of faster students.

import nas
run = nas.search(teacher, (train, validation, test), latency_budget="40%", time_budget="10m")
run.front.frame()                                    # pandas
run.export(run.front.pick("fastest", max_accuracy_drop=0.01), "student.onnx")
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.errors import UserError
    from nas.export import load_student
    from nas.run import Run
    from nas.start import resume, search

# Read when OpenMP is loaded, so before torch is. Threads that spin while they wait take the cores from each other as
# soon as anything else runs: on two busy cores a training step took 1.1 to 2.0 s with it and 0.5 to 0.9 s without.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = ["Run", "UserError", "load_student", "resume", "search"]
_HOMES = {
    "Run": "nas.run",
    "UserError": "nas.errors",
    "load_student": "nas.export",
    "resume": "nas.start",
    "search": "nas.start",
}


def __getattr__(name: str) -> Any:
    """Loads torch and its company only once something is used: `nas --help` should not take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
