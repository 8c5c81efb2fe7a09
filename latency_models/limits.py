"""How long each step of measuring may take before it is given up."""

from dataclasses import dataclass

from latency_models.target import Target

IMPORT_S = 60.0
"""For starting Python and importing a backend (TVM takes 2 s on an idle core), however busy the machine."""


@dataclass(frozen=True)
class Limits:
    """Seconds.

    Attributes:
        start_s: starting a worker process, importing its backend and reaching the device.
        load_s: preparing a network: opening, compiling, uploading, one inference.
        sample_s: one visit of one candidate.
    """

    start_s: float = IMPORT_S
    load_s: float = 300.0
    sample_s: float = 300.0


def limits_of(target: Target) -> Limits:
    """The limits for a target; a remote device's profile sets its own."""
    if target.remote is None:
        return Limits()
    run_s = target.remote.run_s
    return Limits(start_s=IMPORT_S + target.remote.connect_s, load_s=2 * run_s, sample_s=run_s)
