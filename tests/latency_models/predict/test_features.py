import numpy as np

from latency_models.predict.features import (
    MEASURES,
    column_names,
    counts,
    everything,
    family_of,
    features,
    places,
    table_of,
    totals,
)
from latency_models.predict.kernels import Kernel, Network
from tests.latency_models.predict.networks import chain


def conv(n_in: int, n_out: int, groups: int = 1, window: int = 3, size: int = 8, precision: str = "float32") -> Kernel:
    n_macs = size * size * n_in // groups * n_out * window * window
    elements = size * size
    return Kernel(
        "Conv", n_in, n_out, groups, (window, window), 1, (size, size), precision, ("Add", "HardSwish"), n_macs,
        n_in * elements, n_out * elements, n_in // groups * n_out * window * window,
    )  # fmt: skip


def named(kernel: Kernel) -> dict[str, float]:
    values = features([kernel])
    return {name: value for name, value in zip(column_names(), values.tolist(), strict=True) if value}


def test_channels_are_rounded_up_to_steps() -> None:
    values = named(conv(9, 17))
    macs = [values[f"float32 dense macs{step}"] for step in (1, 8, 16, 32)]
    assert macs == [64 * 9 * product for product in (9 * 17, 16 * 24, 16 * 32, 32 * 32)]
    assert values["float32 dense calls"] == 1
    assert values["float32 dense read"] == 9 * 64
    assert values["float32 dense written"] == values["float32 dense curved"] == values["float32 dense sums"] == 17 * 64


def test_small_maps_leave_the_hardware_idle() -> None:
    values = named(conv(16, 16, size=3))
    assert values["float32 dense macs_small"] == values["float32 dense macs16"] * 32 / 9


def test_depthwise_channels_are_rounded_once() -> None:
    values = named(conv(9, 9, groups=9))
    assert [values[f"float32 depthwise macs{step}"] for step in (1, 8)] == [64 * 9 * 9, 64 * 9 * 16]


def test_families() -> None:
    kernels = [conv(8, 8), conv(8, 8, window=1), conv(8, 8, groups=8), conv(8, 8, groups=2), *chain([4]).kernels[1:]]
    families = ["dense", "pointwise", "depthwise", "grouped", "reduction", "matmul"]
    assert [family_of(kernel) for kernel in kernels] == families


def test_precisions_are_apart() -> None:
    assert {name.split()[0] for name in named(conv(8, 8, precision="int8"))} == {"int8"}


def test_totals_are_sums_over_living_then_removed_kernels() -> None:
    network = Network((conv(16, 16), conv(16, 32)), (conv(16, 16),), (2, 2, 7), 9)
    living = [2, 64 * 9 * 16 * 48, 64 * (16 + 16 + 16 + 32), 9 * 16 * 48]
    assert totals(table_of([network])).tolist() == [[*living, 1, 64 * 9 * 256, 64 * 32, 2, 2, 7, 9]]


def test_places_tell_the_size_of_the_map() -> None:
    assert places([conv(8, 8, size=8), conv(8, 8, size=9)]).nonzero()[0].tolist() == [3, 4]


def test_tables_have_a_row_each_and_can_be_divided() -> None:
    table = table_of([chain([4]), chain([4, 8]), chain([8])])
    assert (len(table), len(table.rows([2, 0]))) == (3, 2)
    np.testing.assert_array_equal(table.rows([2, 0]).columns, table.columns[[2, 0]])
    assert counts(table).shape == (3, 164)
    assert everything(table).shape[0] == 3
    assert len(MEASURES) == 11
