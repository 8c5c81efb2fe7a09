from latency_models.estimate.harness import Argument, Kernel, harness_source


def test_an_argument_knows_its_size() -> None:
    sizes = [Argument((2, 3), "float32"), Argument((2, 3), "float16"), Argument((4,), "int64"), Argument((), "bool")]
    assert [each.size_bytes for each in sizes] == [24, 12, 32, 1]


def test_each_kernel_is_called_once_between_boundaries() -> None:
    source = harness_source([Kernel("conv_3", (Argument((1, 8), "float32"), Argument((4,), "int64")))])
    assert source.count("__tvm_ffi_conv_3(0, a, 2, &result)") == 1
    assert "static int64_t s0[] = {1, 8};" in source
    assert "argument(2, s0, 2, 32), argument(1, s1, 0, 64)" in source
    assert source.count("boundary();") == 2
