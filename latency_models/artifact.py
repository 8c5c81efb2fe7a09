"""The exported file of a student: the thing that is timed, scored and shipped."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from latency_models.errors import LatencyError

Precision = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class Artifact:
    """An ONNX file and its SHA-256.

    Attributes:
        path: the file.
        digest: 64 hexadecimal digits.
        precision: what its convolutions and matrix products compute in.
        size_bytes: of the file.
    """

    path: Path
    digest: str
    precision: Precision
    size_bytes: int

    @classmethod
    def from_file(cls, path: Path, precision: Precision) -> "Artifact":
        """The artifact that lies at `path`."""
        content = path.read_bytes()
        return cls(path, hashlib.sha256(content).hexdigest(), precision, len(content))

    def read(self) -> bytes:
        """The file's content, so that what is timed is what was exported.

        Raises:
            LatencyError: the file is missing or is no longer the one with this digest.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise LatencyError(
                f"{self.path} cannot be read: {error.strerror}.", "Export the student again, or restore the file."
            ) from error
        if hashlib.sha256(content).hexdigest() != self.digest:
            raise LatencyError(
                f"{self.path} has changed since it was exported: its SHA-256 is not {self.digest[:12]}...",
                "Export the student again, or restore the file.",
            )
        return content
