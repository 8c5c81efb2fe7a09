"""What was measured on our own targets, as two files: the students' graphs without weights, and their latencies."""

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from latency_models.kernel import KernelTime
from latency_models.predict.features import Table, table_of
from latency_models.predict.kernels import Kernel, Network, network_of
from latency_models.predict.matching import matched
from prediction.own_measure import DISTURBED, TARGETS, Levels, lines_of

DATA = Path(__file__).parent.parent / "data" / "latency" / "own"
GRAPHS, LATENCIES = "graphs.tar.xz", "latencies.json"
MAX_VALUES = 16
"""Constants with more elements lose their values: none of them says anything of shapes."""
OF_KERNEL = ("operator", "n_in", "n_out", "groups", "shape", "precision", "n_flops", "seconds")
"""What is kept of a timed kernel, in this order."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """The students of one teacher on one target.

    Attributes:
        teacher, target: names.
        networks: of the students that were measured.
        table: the same in numbers.
        visits_s: of each student the seconds that each visit stands for, in the order of the visits: the ratio times
            `teacher_s`, brought to the undisturbed machine (`undisturbed`).
        teacher_s: the teacher's, undisturbed.
        kernel_s: number of a student to its kernels and their seconds, brought there likewise.
        quiet: share of the visits in which the machine was undisturbed.
    """

    teacher: str
    target: str
    networks: tuple[Network, ...]
    table: Table
    visits_s: tuple[tuple[float, ...], ...]
    teacher_s: float
    kernel_s: dict[int, tuple[tuple[Kernel, float], ...]]
    quiet: float

    @property
    def seconds(self) -> Array:
        """(n,) the visits' median."""
        return np.array([np.exp(np.median(np.log(visits))) for visits in self.visits_s])


def pack(folder: Path, students: dict[str, int], out: Path) -> None:
    """Writes the two files from what was prepared and measured in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    with tarfile.open(out / GRAPHS, "w:xz") as archive:
        for suffix in ("int8.onnx", "onnx"):
            for teacher, n in students.items():
                for i in range(n):
                    content = without_weights((folder / teacher / f"{i}.{suffix}").read_bytes())
                    entry = tarfile.TarInfo(f"{teacher}/{i}.{suffix}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    lines = sorted(lines_of(folder / "measured.jsonl"), key=lambda one: (one["teacher"], one["target"], one["turn"]))
    recipes = {teacher: json.loads((folder / teacher / "recipes.json").read_text()) for teacher in students}
    for one in lines:
        if "kernels" in one:
            one["kernels"] = [[kernel[name] for name in OF_KERNEL] for kernel in one["kernels"]]
    environments = {one["target"]: one.pop("environment", {}) for one in lines}
    parts = [f'"recipes": {json.dumps(recipes)}', f'"environments": {json.dumps(environments)}']
    parts.append('"figures": [\n' + ",\n".join(json.dumps(one) for one in lines) + "\n]")
    (out / LATENCIES).write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


def without_weights(content: bytes) -> bytes:
    """An ONNX file whose large constants have shapes and no values."""
    model = onnx.load_from_string(content)
    for tensor in model.graph.initializer:
        if np.prod(tensor.dims, dtype=np.int64) > MAX_VALUES:
            bare = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
            bare.data_location = onnx.TensorProto.EXTERNAL
            tensor.CopyFrom(bare)
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        node.ClearField("metadata_props")
    stripped: bytes = model.SerializeToString()
    return stripped


def load(folder: Path = DATA) -> list[Group]:
    """Every teacher on every target."""
    networks = _networks(folder / GRAPHS)
    figures = json.loads((folder / LATENCIES).read_text(encoding="utf-8"))["figures"]
    return groups_of(figures, networks)


def groups_of(figures: Sequence[dict[str, Any]], networks: dict[str, Network]) -> list[Group]:
    """Figures by teacher and target.

    Args:
        figures: from `own_measure.lines_of`.
        networks: by entry name.
    """
    levels = Levels(figures)
    of: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in figures:
        if "refused" not in one:
            of.setdefault((one["teacher"], one["target"]), []).append(one)
    return [_group(*key, networks, part, levels.level_s(part[0])) for key, part in of.items()]


def _group(
    teacher: str, target: str, networks: dict[str, Network], figures: Sequence[dict[str, Any]], teacher_s: float
) -> Group:
    suffix = "int8.onnx" if TARGETS[target][1] == "int8" else "onnx"
    of: dict[int, list[dict[str, Any]]] = {}
    for one in sorted(figures, key=lambda one: int(one["at_s"])):
        of.setdefault(one["student"], []).append(one)
    students = sorted(of)
    found = tuple(networks[f"{teacher}/{i}.{suffix}"] for i in students)
    logs = [np.log([one["ratio"] for one in of[i]]) for i in students]
    states = [np.log([one["teacher_s"] / teacher_s for one in of[i]]) for i in students]
    even = undisturbed(logs, states)
    visits_s = tuple(tuple(float(one) for one in np.exp(part) * teacher_s) for part in even)
    kernel_s = {}
    for position, student in enumerate(students):
        timed = [one for one in of[student] if "kernels" in one]
        if timed:
            best = min(timed, key=lambda one: float(one["teacher_s"]))
            times = [_kernel_time(values) for values in best["kernels"]]
            state = visits_s[position][of[student].index(best)] / best["seconds"]
            kernel_s[position] = tuple((k, s * state) for k, s in matched(found[position], times))
    quiet = float(np.mean(np.concatenate(states) <= np.log(DISTURBED)))
    return Group(teacher, target, found, table_of(found), visits_s, teacher_s, kernel_s, quiet)


def _kernel_time(values: Sequence[Any]) -> KernelTime:
    named = dict(zip(OF_KERNEL, values, strict=True))
    return KernelTime(**{"name": "", **named, "shape": tuple(named["shape"])})


def undisturbed(logs: Sequence[Array], states: Sequence[Array]) -> list[Array]:
    """Log-ratios as they would be on an undisturbed machine.

    What slows the teacher down slows its students down more or less than it, by a power of its slowness that is the
    same for all students of a teacher on a target; it is found from students that were visited in several states.

    Args:
        logs: of each student its visits' log-ratios.
        states: of each student by how much the teacher was slower in each visit than at its best, as a logarithm.
    """
    off = np.concatenate([one - one.mean() for one in logs])
    state = np.concatenate([one - one.mean() for one in states])
    spread = float(state @ state)
    slope = float(state @ off) / spread if spread > 0 else 0.0
    return [log - slope * np.maximum(part, 0) for log, part in zip(logs, states, strict=True)]


def _networks(archive: Path) -> dict[str, Network]:
    """Entry name to network, read as the product reads artifacts."""
    found = {}
    with tarfile.open(archive) as opened:
        for entry in opened:
            content = opened.extractfile(entry)
            assert content is not None
            found[entry.name] = network_of(content.read())
    return found
