"""The union of all peers: the exported files of its front and their near neighbours, as they came."""

import json

from clutter.results import Point, point_of
from clutter.task import DATA_DIR

FOLDER = DATA_DIR / "peer_front"


def union_points() -> list[Point]:
    """One point for each file of `points.json`, fastest first as they were measured there."""
    listed = json.loads((FOLDER / "points.json").read_text(encoding="utf-8"))
    return [point_of(f"{one['peer']} {one['name']}", FOLDER / one["file"]) for one in listed]
