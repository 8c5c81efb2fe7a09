import pytest

from latency_models.kernel import KernelTime
from latency_models.predict.matching import matched
from tests.latency_models.predict import networks


def time(operator: str, seconds: float, n_in: int, n_out: int, n_flops: int) -> KernelTime:
    return KernelTime("k", operator, seconds, n_flops=n_flops, n_in=n_in, n_out=n_out)


def test_kernels_are_told_by_channels_and_operations_and_what_is_between_counts_to_the_next() -> None:
    network = networks.chain([16, 16])
    first, second, pool, linear = network.kernels
    times = [
        time("Reorder", 1e-6, 3, 3, 0),
        time("Conv", 5e-6, 3, 16, 2 * first.n_macs),
        time("Conv", 9e-6, 16, 16, 2 * second.n_macs),
        time("Reorder", 2e-6, 16, 16, 0),
        time("GlobalAveragePool", 3e-6, 0, 16, 77),
        time("Gemm", 1e-6, 16, 10, 2 * linear.n_macs),
        time("Reorder", 4e-6, 10, 10, 0),
    ]
    found = dict(matched(network, times))
    assert found == pytest.approx({first: 6e-6, second: 9e-6, pool: 5e-6, linear: 5e-6})


def test_what_a_runtime_has_fused_behind_may_count_to_the_operations() -> None:
    network = networks.chain([16, 16])
    first, second = network.kernels[:2]
    biased = [time("Conv", 1e-6, one.n_in, 16, 2 * one.n_macs + 2 * one.out_elements) for one in (second, first)]
    assert matched(network, biased) == ((second, 1e-6), (first, 1e-6))


def test_a_kernel_of_another_window_is_another_one() -> None:
    network = networks.chain([16])
    assert matched(network, [time("Conv", 1e-6, 3, 16, 2 * network.kernels[0].n_macs // 9)]) == ()
