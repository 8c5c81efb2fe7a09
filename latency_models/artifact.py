"""The exported file of a student: the thing that is timed, scored and shipped."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Precision = Literal["float32", "int8"]


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
