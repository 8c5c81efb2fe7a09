"""What was measured of a teacher's students on a target, kept to predict others from: files in the user's cache folder.

Each measurement is written as it comes, so that a calibration that is killed has lost the one at hand. They hold for
one target in one environment (processor, versions, threads) and for one teacher whatever its weights; all of it is in
the folder's name, so that what does not belong together never meets.
"""

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latency_models.artifact import Artifact
from latency_models.cache import WAIT_S, user_folder
from latency_models.errors import LatencyError
from latency_models.latency import Visit
from latency_models.predict.graph import graph_of
from latency_models.predict.kernels import Kernel, Network, kernel_from_json
from latency_models.predict.predictor import Sample
from latency_models.serialize import visit_from_json, visit_to_json
from latency_models.timing import log_ratios, median_anchor_s

FOLDER, FILE = "predictors", "measured.sqlite"
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS measurements (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, "
    "precision TEXT NOT NULL, network TEXT NOT NULL, visits TEXT NOT NULL, kernels TEXT NOT NULL)"
)


@dataclass(frozen=True)
class Measurement:
    """A student that was measured beside its teacher.

    Attributes:
        name: the caller's, unique among one teacher's students on a target.
        precision: of its artifact.
        network: its kernels.
        visits: at least one.
        kernel_shares: single kernels that were timed, each as a share of the teacher's latency.
    """

    name: str
    precision: str
    network: Network
    visits: tuple[Visit, ...]
    kernel_shares: tuple[tuple[Kernel, float], ...] = ()

    @property
    def ratio(self) -> float:
        """Its latency as a share of the teacher's: the median over visits of each one's median log-ratio."""
        return float(np.exp(np.median([np.median(log_ratios(one)) for one in self.visits])))

    def sample(self, anchor_s: float) -> Sample:
        """What a predictor learns from, on the scale of one latency of the teacher for all: ratios hold where
        milliseconds have drifted."""
        kernels = tuple((kernel, share * anchor_s) for kernel, share in self.kernel_shares)
        return Sample(self.network, self.ratio * anchor_s, kernels)


def folder_of(target_label: str, environment: Mapping[str, str], anchor: Artifact, root: Path | None = None) -> Path:
    """Where the measurements of a teacher's students lie; it need not exist.

    Args:
        target_label: where they were made.
        environment: processor, versions, threads.
        anchor: the teacher's artifact, of which all but the weights counts.
        root: instead of the user's cache folder.

    Raises:
        LatencyError: the artifact cannot be read.
    """
    graph = graph_of(anchor)
    parts = {
        "nodes": [[one.operator, one.inputs, one.outputs, repr(sorted(one.attributes.items()))] for one in graph.nodes],
        "constants": [[name, one.shape] for name, one in graph.constants.items()],
        "inputs": list(graph.inputs.items()),
        "environment": dict(environment),
        "fields": list(Kernel._fields),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    return (root or user_folder() / FOLDER) / f"{re.sub('[^A-Za-z0-9.-]', '-', target_label)}-{digest}"


def predictor_path(folder: Path, precision: str) -> Path:
    """Where the predictor that was learned from a folder's measurements lies."""
    return folder / f"{precision}.json"


def keep(folder: Path, measurement: Measurement) -> None:
    """Adds a measurement, or replaces the one of that name; all of it or, if the process is killed meanwhile, none.

    Raises:
        LatencyError: the file is damaged or cannot be written.
    """
    row = (
        measurement.name,
        measurement.precision,
        json.dumps(_network_to_json(measurement.network)),
        json.dumps([visit_to_json(one) for one in measurement.visits]),
        json.dumps([[list(kernel), share] for kernel, share in measurement.kernel_shares]),
    )
    with _opened(folder) as connection:
        connection.execute(
            "INSERT INTO measurements (name, precision, network, visits, kernels) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET precision = excluded.precision, network = excluded.network, "
            "visits = excluded.visits, kernels = excluded.kernels",
            row,
        )


def kept(folder: Path, precision: str | None = None) -> tuple[Measurement, ...]:
    """The measurements in the order in which they were first made; none where the folder does not exist.

    Args:
        folder: of one teacher on one target.
        precision: only of students in this one.

    Raises:
        LatencyError: the file is damaged.
    """
    if not (folder / FILE).is_file():
        return ()
    with _opened(folder) as connection:
        rows = connection.execute(
            "SELECT name, precision, network, visits, kernels FROM measurements "
            "WHERE ? IS NULL OR precision = ? ORDER BY id",
            (precision, precision),
        ).fetchall()
    try:
        return tuple(_measurement(*row) for row in rows)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise _unusable(folder, error) from error


def forget(folder: Path, names: Iterable[str]) -> None:
    """Takes measurements out.

    Raises:
        LatencyError: the file is damaged or cannot be written.
    """
    with _opened(folder) as connection:
        connection.executemany("DELETE FROM measurements WHERE name = ?", [(name,) for name in names])


def reference_s(measurements: Sequence[Measurement]) -> float:
    """One latency of the teacher for all of them, seconds: the median over every visit."""
    return median_anchor_s(visit for one in measurements for visit in one.visits)


def _measurement(name: str, precision: str, network: str, visits: str, kernels: str) -> Measurement:
    return Measurement(
        name,
        precision,
        _network_from_json(json.loads(network)),
        tuple(visit_from_json(one) for one in json.loads(visits)),
        tuple((kernel_from_json(values), float(share)) for values, share in json.loads(kernels)),
    )


def _network_to_json(network: Network) -> dict[str, Any]:
    return {
        "kernels": [list(kernel) for kernel in network.kernels],
        "removed": [list(kernel) for kernel in network.removed],
        "longest": list(network.longest),
        "n_operators": network.n_operators,
    }


def _network_from_json(values: Mapping[str, Any]) -> Network:
    kernels, removed = (tuple(map(kernel_from_json, values[name])) for name in ("kernels", "removed"))
    calls, windows, macs = map(int, values["longest"])
    return Network(kernels, removed, (calls, windows, macs), int(values["n_operators"]))


@contextmanager
def _opened(folder: Path) -> Iterator[sqlite3.Connection]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(folder / FILE, timeout=WAIT_S)) as connection, connection:
            connection.execute(SCHEMA)
            yield connection
    except (sqlite3.Error, OSError) as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: Exception) -> LatencyError:
    return LatencyError(
        f"The measurements in {folder / FILE} cannot be used: {error}.",
        "Free disk space or, where the file is damaged, delete that folder and run `nas calibrate` again.",
    )
