"""What a latency holds for: hardware, runtime and threads."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """Hardware, runtime and threads.

    Attributes:
        name: as on the command line and in tables, e.g. `cpu`.
        runtime: `onnxruntime`.
        n_threads: of one inference.
    """

    name: str = "cpu"
    runtime: str = "onnxruntime"
    n_threads: int = 1

    @property
    def label(self) -> str:
        """One word for tables, e.g. `cpu-onnxruntime-1t`."""
        return f"{self.name}-{self.runtime}-{self.n_threads}t"
