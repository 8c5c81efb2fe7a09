"""Latencies of public architectures on public devices, and the tasks that they are used for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from latency_models.predict.features import ARRAYS, Table, table_of
from latency_models.predict.kernels import kernel_from_json, network_of
from prediction import spaces

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / "benchmarks" / "data" / "latency"
READING = ("graph", "shapes", "living", "fusion", "kernels", "features")
CODE = (
    *(ROOT / "latency_models" / "predict" / f"{name}.py" for name in READING),
    Path(__file__).with_name("spaces.py"), Path(__file__).with_name("drawing.py"),
)  # fmt: skip

MEMBERS = ("data", "indices", "indptr")
"""What a sparse matrix consists of."""
SIMULATED = {"nb201": ("eyeriss", "fpga"), "fbnet": ("eyeriss", "fpga", "raspi4", "pixel3")}
"""Devices whose figures are simulated or sums of a table of blocks, not measured end to end."""


@dataclass(frozen=True)
class Task:
    """Source devices, whose tables are known, and target devices, of which only a few samples are.

    Attributes:
        name: as in NASFLAT.
        space: `nb201` or `fbnet`.
        sources, targets: names of devices.
        nasflat: its mean Spearman correlation from 20 samples (Akhauri and Abdelfattah, MLSys 2024).
    """

    name: str
    space: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    nasflat: float


def _task(name: str, space: str, nasflat: float, sources: str, targets: str) -> Task:
    return Task(name, space, tuple(sources.split()), tuple(targets.split()), nasflat)


TASKS = (
    _task("ND", "nb201", 0.959, "1080ti_1 1080ti_32 1080ti_256 silver_4114 silver_4210r samsung_a50 pixel3 "
          "essential_ph_1 samsung_s7", "titan_rtx_256 gold_6226 fpga pixel2 raspi4 eyeriss"),
    _task("NA", "nb201", 0.893, "titan_rtx_1 titan_rtx_32 titanxp_1 2080ti_1 titanx_1 1080ti_1 titanx_32 titanxp_32 "
          "2080ti_32 1080ti_32 gold_6226 samsung_s7 silver_4114 gold_6240 silver_4210r samsung_a50 pixel2",
          "eyeriss gtx1080ti_fp32_latbench edgetpu_int8_latbench"),
    _task("N1", "nb201", 0.967, "edgetpu_int8_latbench eyeriss snapdragon855_adreno640_gpu_int8 pixel3",
          "1080ti_1 titan_rtx_32 titanxp_1 2080ti_32 titan_rtx_1"),
    _task("N2", "nb201", 0.857, "1080ti_1 1080ti_32 titanx_32 titanxp_1 titanxp_32",
          "jetson_nano_fp16 edgetpu_int8_latbench snapdragon855_hexagon690_dsp_int8 pixel3"),
    _task("N3", "nb201", 0.962, "gtx1080ti_fp32_latbench jetson_nano_fp16 eyeriss snapdragon855_adreno640_gpu_int8",
          "1080ti_1 2080ti_1 titanxp_1 2080ti_32 titanxp_32"),
    _task("N4", "nb201", 0.959, "corei7_7820x_fp32 jetson_nano_fp32 edgetpu_int8_latbench eyeriss "
          "snapdragon855_kryo485_cpu_int8 snapdragon855_hexagon690_dsp_int8 snapdragon855_adreno640_gpu_int8 pixel2",
          "1080ti_1 2080ti_1 titan_rtx_1"),
    _task("FD", "fbnet", 0.961, "1080ti_1 1080ti_32 1080ti_64 silver_4114 silver_4210r samsung_a50 pixel3 "
          "essential_ph_1 samsung_s7", "fpga raspi4 eyeriss"),
    _task("FA", "fbnet", 0.577, "1080ti_1 1080ti_32 1080ti_64 2080ti_1 2080ti_32 2080ti_64 titan_rtx_1 titan_rtx_32 "
          "titan_rtx_64 titanx_1 titanx_32 titanx_64 titanxp_1 titanxp_32 titanxp_64",
          "gold_6226 essential_ph_1 samsung_s7 pixel2"),
    _task("F1", "fbnet", 0.809, "2080ti_1 essential_ph_1 silver_4114 titan_rtx_1 titan_rtx_32",
          "eyeriss fpga raspi4 samsung_a50 samsung_s7"),
    _task("F2", "fbnet", 0.871, "essential_ph_1 gold_6226 gold_6240 pixel3 raspi4",
          "1080ti_1 1080ti_32 2080ti_32 titan_rtx_1 titanxp_1"),
    _task("F3", "fbnet", 0.814, "essential_ph_1 pixel2 pixel3 raspi4 samsung_s7",
          "1080ti_1 1080ti_32 2080ti_1 titan_rtx_1 titan_rtx_32"),
    _task("F4", "fbnet", 0.734, "1080ti_64 2080ti_1 eyeriss gold_6226 gold_6240 raspi4 samsung_s7 silver_4210r "
          "titan_rtx_1 titan_rtx_32", "1080ti_1 pixel2 essential_ph_1"),
)  # fmt: skip


@dataclass(frozen=True)
class Space:
    """The architectures of a search space and what they take.

    Attributes:
        name: `nb201`, `fbnet` or `ofa`.
        table: their features, made from their ONNX graphs.
        latencies: one row each, a column for each device; NaN where it was not measured.
        forms: of each architecture what it computes, whatever its edges are called; "" where that is not known.
    """

    name: str
    table: Table
    latencies: pd.DataFrame
    forms: tuple[str, ...]

    def seconds(self, device: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Which architectures were measured on a device, and their latencies."""
        values = self.latencies[device].to_numpy(np.float64) / 1e3
        known = np.flatnonzero(np.isfinite(values))
        return known, values[known]


def space(name: str, keep: Path | None = None, folder: Path = DATA, n_most: int | None = None) -> Space:
    """A search space; every architecture is drawn as an ONNX graph and read as the product reads artifacts.

    Args:
        name: `nb201`, `fbnet` or `ofa`.
        keep: where features are kept for the next time, under a digest of the code that makes them.
        folder: of the tables.
        n_most: architectures, the first ones; None takes all.
    """
    rows = pd.read_parquet(folder / f"{name}_archs.parquet").sort_values("arch_idx").iloc[:n_most]
    measured = pd.read_parquet(folder / f"{name}_latency.parquet")
    latencies = measured.pivot_table(index="arch_idx", columns="device", values="latency_ms", observed=True)
    records = rows.to_dict("records")
    forms = tuple(form([row[f"op{i}"] for i in range(6)]) if name == "nb201" else "" for row in records)
    return Space(name, _table(name, records, keep), latencies.reindex(rows["arch_idx"]), forms)


def form(operations: Sequence[str]) -> str:
    """What a NAS-Bench-201 cell computes as an expression, equal for isomorphic cells; dead edges are left out."""
    made, waiting = [["x"]], iter(operations)
    for position in range(1, 4):
        made.append([term for source in range(position) for term in _terms(made[source], next(waiting))])
    return "+".join(sorted(made[3]))


def _terms(summands: Sequence[str], operation: str) -> list[str]:
    """What an edge adds to the sum at its end, if a sum stands at its beginning."""
    if operation == "none" or not summands:
        return []
    return list(summands) if operation == "skip_connect" else [f"{operation}({'+'.join(sorted(summands))})"]


def _table(name: str, records: Sequence[Mapping[Any, Any]], keep: Path | None) -> Table:
    digest = sha256(b"".join(path.read_bytes() for path in CODE)).hexdigest()[:16]
    file = keep / f"{name}-{len(records)}-{digest}.npz" if keep is not None else None
    if file is not None and file.is_file():
        return _kept(file)
    table = table_of(network_of(_drawn(name, row)) for row in records)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        _keep(table, file)
    return table


def _keep(table: Table, file: Path) -> None:
    """Writes all of a table."""
    assert table.members is not None
    np.savez_compressed(
        file,
        kernels=json.dumps([list(kernel) for kernel in table.kernels]),
        **{name: getattr(table.members, name) for name in MEMBERS},
        **{name: getattr(table, name) for name in ARRAYS},
    )


def _kept(file: Path) -> Table:
    """Inverse of `_keep`."""
    with np.load(file) as kept:
        kernels = tuple(map(kernel_from_json, json.loads(str(kept["kernels"]))))
        arrays = {name: kept[name] for name in ARRAYS}
        parts = tuple(kept[name] for name in MEMBERS)
    return Table(**arrays, kernels=kernels, members=csr_array(parts, shape=(len(arrays["whole"]), len(kernels))))


def _drawn(name: str, row: Mapping[Any, Any]) -> Any:
    if name == "nb201":
        return spaces.nas_bench_201([row[f"op{i}"] for i in range(6)])
    if name == "fbnet":
        return spaces.fbnet([int(row[f"b{i}"]) for i in range(22)])
    kernels, expansions = ([int(row[f"{key}{i}"]) for i in range(20)] for key in ("ks", "e"))
    return spaces.once_for_all(kernels, expansions, [int(row[f"d{i}"]) for i in range(5)], int(row["r"]))
