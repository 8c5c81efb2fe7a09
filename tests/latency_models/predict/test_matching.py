from latency_models.kernel import KernelTime
from latency_models.predict.matching import matched
from tests.latency_models.predict import networks


def time(operator: str, seconds: float, n_in: int, n_out: int, n_flops: int) -> KernelTime:
    return KernelTime("k", operator, seconds, n_flops=n_flops, n_in=n_in, n_out=n_out)


def test_kernels_are_told_by_channels_and_operations_and_what_is_between_counts_to_the_one_before() -> None:
    network = networks.chain([16, 16])
    first, second, pool, linear = network.kernels
    times = [
        time("Reorder", 1e-6, 3, 3, 0),
        time("Conv", 5e-6, 3, 16, 2 * first.n_macs),
        time("Conv", 9e-6, 16, 16, 2 * second.n_macs),
        time("Reorder", 2e-6, 16, 16, 0),
        time("GlobalAveragePool", 3e-6, 0, 16, 77),
        time("Gemm", 1e-6, 16, 10, 2 * linear.n_macs),
    ]
    found = dict(matched(network, times))
    assert found == {first: 6e-6, second: 11e-6, pool: 3e-6, linear: 1e-6}


def test_a_kernel_of_another_window_is_another_one() -> None:
    network = networks.chain([16])
    assert matched(network, [time("Conv", 1e-6, 3, 16, 2 * network.kernels[0].n_macs // 9)]) == ()
