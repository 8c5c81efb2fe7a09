"""Reading the IDX files of the MNIST family."""

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Returns the unsigned bytes of an IDX file, plain or gzipped, in the shape its header states.

    Raises:
        UserError: the file is not IDX of unsigned bytes, or is cut short.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            content = file.read()
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read ({error}).", "Copy the file again.") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise UserError(f"{path} is not an IDX file of unsigned bytes.", "Give the files of the MNIST format.")
    n_axes = content[3]
    header_bytes = 4 + 4 * n_axes
    shape = struct.unpack(f">{n_axes}I", content[4:header_bytes])
    values = np.frombuffer(content, dtype=np.uint8, offset=header_bytes)
    if values.size != int(np.prod(shape)):
        raise UserError(
            f"{path} is cut short: its header promises {shape}, it holds {values.size} bytes.", "Copy the file again."
        )
    return values.reshape(shape)
