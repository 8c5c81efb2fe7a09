import pytest

from latency_models.precisions import native_precisions, offered, refusal
from latency_models.target import Processor, Target

HALF, FULL = Processor(float16=True), Processor()


@pytest.mark.parametrize(
    ("target", "native"),
    [
        (Target(), ("float32", "int8")),
        (Target(device="cuda"), ("float32", "float16")),
        (Target(runtime="tvm", processor=FULL), ("float32",)),
        (Target(runtime="tvm", processor=HALF), ("float32", "float16")),
        (Target(runtime="tvm", device="cuda", processor=FULL), ("float32", "float16")),
        (Target(runtime="tvm", access="estimate", processor=HALF), ("float32", "float16")),
    ],
)
def test_native_precisions(target: Target, native: tuple[str, ...]) -> None:
    assert native_precisions(target) == native


@pytest.mark.parametrize(
    ("target", "precision", "reason"),
    [
        (Target(), "float16", "computes it in float32 on processors"),
        (Target(device="cuda", precisions=("float32",)), "int8", "CUDA provider has no int8 convolution"),
        (Target(runtime="tvm", precisions=("float32",), processor=FULL), "int8", "TVM would compute it in float32"),
        (Target(runtime="tvm", precisions=("float32",), processor=FULL), "float16", "no half-precision arithmetic"),
        (Target(runtime="tvm", precisions=("float32",), processor=HALF), "float16", "its profile leaves it out"),
        (Target(), "bfloat16", "there is no precision bfloat16"),
    ],
)
def test_a_refusal_says_why(target: Target, precision: str, reason: str) -> None:
    assert reason in (refusal(target, precision) or "")


def test_what_a_target_computes_in_is_not_refused() -> None:
    assert [refusal(Target(), precision) for precision in ("float32", "int8")] == [None, None]


def test_a_search_offers_what_one_of_its_targets_computes_in() -> None:
    cpu = Target()
    core = Target(name="tvm-cpu", runtime="tvm", precisions=("float32",), processor=FULL)
    assert offered(("float32", "float16", "int8"), (cpu,))[0] == ("float32", "int8")
    assert offered(("float32", "int8"), (core, cpu)) == (("float32", "int8"), {})
    kept, reasons = offered(("float32", "float16", "int8"), (core,))
    assert kept == ("float32",)
    assert reasons == {
        "float16": "tvm-cpu: its cores have no half-precision arithmetic and would compute in float32",
        "int8": "tvm-cpu: TVM would compute it in float32, between conversions",
    }
