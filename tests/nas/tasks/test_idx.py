"""IDX files, whole and damaged."""

import gzip
from pathlib import Path

import pytest

from nas.errors import UserError
from nas.tasks.idx import read_idx

HEADER = b"\x00\x00\x08\x02" + (2).to_bytes(4, "big") + (3).to_bytes(4, "big")


@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_bytes_in_the_shape_of_the_header(tmp_path: Path, name: str) -> None:
    content = HEADER + bytes([1, 2, 3, 4, 5, 255])
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read_idx(tmp_path / name).tolist() == [[1, 2, 3], [4, 5, 255]]


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (HEADER + bytes(5), "is cut short: its header promises (2, 3), it holds 5 bytes."),
        (b"<html>not found</html>", "is not an IDX file of unsigned bytes."),
        (b"", "is not an IDX file of unsigned bytes."),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, fragment: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_idx(tmp_path / "a")
    assert fragment in caught.value.problem


def test_a_gzip_file_that_is_cut_short(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(HEADER + bytes(6))[:-9])
    with pytest.raises(UserError, match="cannot be read"):
        read_idx(tmp_path / "a.gz")
