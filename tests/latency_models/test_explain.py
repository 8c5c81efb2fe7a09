"""The rules on made-up kernels: what they find, what they leave alone, and that no time counts twice."""

import pytest

from latency_models.ceilings import Ceilings, Level
from latency_models.explain import explain
from latency_models.explaining.finding import Finding
from latency_models.explaining.matching import Profile, match
from latency_models.kernel import KernelTime

US = 1e-6


def conv(name: str, us: float, n_in: int, n_out: int, groups: int = 1, precision: str = "float32") -> KernelTime:
    """A 1x1 convolution over 10 x 10 pixels."""
    n_flops = 200 * n_in * n_out // groups
    return KernelTime(name, "Conv", us * US, n_flops, 400, n_in, n_out, groups, (1, n_out, 10, 10), precision)


def other(name: str, operator: str, us: float) -> KernelTime:
    return KernelTime(name, operator, us * US, 0, 400, 16, 16, 1, (1, 16, 10, 10))


def profile(*kernels: KernelTime, between_us: float = 0.0) -> Profile:
    return Profile(kernels, sum(kernel.seconds for kernel in kernels) + between_us * US)


def found(student: Profile, teacher: Profile, kind: str, ceilings: Ceilings | None = None) -> list[Finding]:
    return [one for one in explain(student, teacher, 16, ceilings).findings if one.kind == kind]


TEACHER = profile(conv("a.conv1", 40, 32, 32), conv("a.conv2", 40, 32, 32), conv("b.conv", 20, 32, 32))


def test_a_width_off_the_step_is_named_with_what_it_costs_as() -> None:
    student = profile(conv("a.conv1", 38, 32, 24), conv("a.conv2", 38, 24, 32), conv("b.conv", 20, 32, 32))
    (finding,) = found(student, TEACHER, "width")
    assert finding.kernels == ("a.conv1", "a.conv2")
    assert finding.seconds == pytest.approx(76 * US)
    assert "a.conv1 32 → 24 (as 32 → 32)" in finding.words
    assert "a.conv2 24 → 32 (as 32 → 32)" in finding.words
    assert "operations are 75 % of the teacher's, their time 95 %" in finding.words
    assert "Multiples of 16" in finding.words


def test_a_width_off_the_step_that_got_faster_all_the_same_is_left_alone() -> None:
    student = profile(conv("a.conv1", 30, 32, 24), conv("a.conv2", 30, 24, 32), conv("b.conv", 20, 32, 32))
    assert found(student, TEACHER, "width") == []


def test_widths_the_teacher_has_too_are_left_alone() -> None:
    odd = profile(conv("a", 40, 24, 24), conv("b", 60, 32, 10))
    assert explain(odd, odd, 16).findings == ()


def test_without_a_step_widths_are_not_judged() -> None:
    student = profile(conv("a.conv1", 38, 32, 24), conv("a.conv2", 38, 24, 32), conv("b.conv", 20, 32, 32))
    assert "width" not in {one.kind for one in explain(student, TEACHER).findings}


def test_layout_conversions_are_counted_with_the_layers_around_them() -> None:
    student = profile(
        conv("a.conv1", 20, 32, 17), other("r1", "Reorder", 8), conv("a.conv2", 20, 17, 32), other("r2", "Reorder", 4)
    )
    (finding,) = found(student, TEACHER, "layout")
    assert finding.kernels == ("r1", "r2")
    assert finding.seconds == pytest.approx(12 * US)
    assert "a.conv1 (32 → 17), a.conv2 (17 → 32)" in finding.words
    assert "2 layout conversions (the teacher has 0)" in finding.words


def test_conversions_between_precisions_are_counted_by_kind() -> None:
    kernels = [other("q", "QuantizeLinear", 6), conv("a.conv1", 20, 32, 32), other("d", "DequantizeLinear", 4)]
    (finding,) = found(profile(*kernels), TEACHER, "conversion")
    assert finding.seconds == pytest.approx(10 * US)
    assert "(1 QuantizeLinear, 1 DequantizeLinear): q, d" in finding.words


def test_time_between_kernels_is_the_rest_of_the_latency() -> None:
    student = profile(conv("a.conv1", 10, 16, 16), between_us=5)
    (finding,) = found(student, TEACHER, "overhead")
    assert finding.seconds == pytest.approx(5 * US)
    assert finding.words.startswith("5.0 µs of an inference pass between its 1 kernel")


def test_kernels_that_add_up_to_more_than_the_latency_leave_no_time_between_them() -> None:
    slow = Profile((conv("a.conv1", 30, 16, 16),), 20 * US)
    assert slow.between_s == 0.0
    explanation = explain(slow, TEACHER, 16)
    assert explanation.rows[0].share == 1.0
    assert "overhead" not in {one.kind for one in explanation.findings}


def test_the_teachers_time_between_kernels_is_left_out_where_it_cannot_be_seen() -> None:
    student = profile(conv("a.conv1", 10, 16, 16), between_us=5)
    slow = Profile((conv("a.conv1", 30, 32, 32),), 20 * US)
    (finding,) = found(student, slow, "overhead")
    assert "1 kernel: calling" in finding.words
    assert slow.excess == pytest.approx(0.5)
    (finding,) = found(student, profile(conv("a.conv1", 30, 32, 32), between_us=2), "overhead")
    assert "1 kernel (teacher: 2.0 µs): calling" in finding.words


def test_layers_too_small_to_matter_are_those_the_teacher_hardly_notices() -> None:
    teacher = profile(conv("a.big", 999, 64, 64), conv("a.stem", 5, 16, 32))
    student = profile(conv("a.big", 500, 64, 32), conv("a.stem", 3, 16, 16))
    (finding,) = found(student, teacher, "small")
    assert finding.kernels == ("a.stem",)
    assert finding.seconds == pytest.approx(3 * US)
    assert "0.5 % of its time" in finding.words


def test_a_layer_that_became_slower_is_said_with_both_precisions() -> None:
    student = profile(conv("a.conv1", 80, 32, 32, precision="int8"), conv("a.conv2", 10, 32, 32, precision="int8"))
    (finding,) = found(student, TEACHER, "slower")
    assert finding.kernels == ("a.conv1",)
    assert "a.conv1 80 µs in int8 (teacher: 40 µs in float32)" in finding.words
    assert "Leaving such a layer in the teacher's precision" in finding.words
    assert "multiples" not in finding.words


def test_a_slower_odd_width_is_no_width_finding_as_well() -> None:
    student = profile(conv("a.conv1", 80, 32, 24), conv("a.conv2", 20, 32, 32), conv("b.conv", 20, 32, 32))
    assert found(student, TEACHER, "width") == []
    (finding,) = found(student, TEACHER, "slower")
    assert "no multiples of 16" in finding.words


def test_memory_bound_layers_whose_bytes_stayed() -> None:
    ceilings = Ceilings(1, {"float32": 1e12}, (Level("memory", 0, 1e8),))
    student = profile(conv("a.conv1", 38, 32, 16), conv("a.conv2", 20, 32, 32), conv("b.conv", 20, 32, 32))
    (finding,) = found(student, TEACHER, "memory", ceilings)
    assert finding.kernels == ("a.conv1",)
    assert "operations are 50 % of the teacher's, the bytes they move 100 %" in finding.words
    assert found(student, TEACHER, "memory", Ceilings(1, {"float32": 1e9}, (Level("memory", 0, 1e12),))) == []


def test_factors_that_take_as_long_as_the_layer_did() -> None:
    student = profile(conv("a.conv1.0", 20, 32, 8), conv("a.conv1.1", 19, 8, 32), conv("a.conv2", 40, 32, 32))
    (finding,) = found(student, TEACHER, "factorised")
    assert finding.kernels == ("a.conv1.0", "a.conv1.1")
    assert "a.conv1 39 µs (teacher: 40 µs)" in finding.words


def test_depthwise_and_elementwise_kernels_that_stayed() -> None:
    teacher = profile(conv("a.point", 80, 64, 64), conv("a.dw", 10, 64, 64, groups=64), other("add", "Add", 10))
    student = profile(conv("a.point", 20, 32, 32), conv("a.dw", 9, 32, 32, groups=32), other("add", "Add", 9))
    findings = {one.kind: one for one in explain(student, teacher, 16).findings}
    assert findings["no_operations"].kernels == ("a.dw", "add")
    assert findings["no_operations"].seconds == pytest.approx(18 * US)
    assert "take 47 % of the time; in the teacher they take 20 %" in findings["no_operations"].words


def test_no_kernel_is_in_two_findings() -> None:
    student = profile(
        conv("a.conv1", 38, 32, 24), other("r", "Reorder", 9), conv("a.conv2", 60, 24, 32), conv("b.conv", 15, 32, 16),
        other("add", "Add", 10), between_us=30,
    )  # fmt: skip
    explanation = explain(student, TEACHER, 16)
    names = [name for finding in explanation.findings for name in finding.kernels]
    assert sorted(names) == ["a.conv1", "a.conv2", "add", "b.conv", "r"]
    assert sum(one.seconds for one in explanation.findings) == pytest.approx(student.whole_s)
    assert [one.seconds for one in explanation.findings] == sorted(
        (one.seconds for one in explanation.findings), reverse=True
    )


def test_the_summary_says_what_went_and_what_is_left() -> None:
    student = profile(conv("a.conv1", 38, 32, 24), conv("a.conv2", 38, 24, 32), conv("b.conv", 4, 32, 8))
    assert explain(student, TEACHER, 16).summary == (
        "42 % of the operations went, but only 20 % of the time. Of what is left, 95 % is in 2 layers whose width is "
        "off the vector step of 16 channels."
    )
    half = profile(conv("a.conv1", 20, 32, 16), conv("a.conv2", 20, 16, 32), conv("b.conv", 10, 16, 32))
    assert explain(half, TEACHER, 16).summary == "50 % of the operations went and 50 % of the time."


def test_the_summary_says_when_time_grew_and_in_what_precision() -> None:
    slow = profile(conv("a.conv1", 120, 32, 16, precision="int8"))
    assert explain(slow, TEACHER, 16).summary.startswith(
        "83 % of the operations went, but the time grew by 20 % (in int8). Of what is left, 100 % is in 1 layer"
    )


def test_rows_hold_rates_and_the_share_of_the_roofline() -> None:
    ceilings = Ceilings(1, {"float32": 10e9}, (Level("L1", 1000, 1e9), Level("memory", 0, 1e6)))
    (row,) = explain(profile(conv("a", 40, 32, 32)), profile(conv("a", 40, 32, 32)), 16, ceilings).rows
    assert row.flops_per_s == pytest.approx(204_800 / 40e-6)
    assert row.bytes_per_s == pytest.approx(400 / 40e-6)
    assert row.roofline == pytest.approx(20.48e-6 / 40e-6)
    assert row.bound == "compute"


def test_kernels_are_matched_by_name_and_order() -> None:
    student = [conv("relu", 1, 1, 8), conv("a.relu1", 1, 8, 8), conv("a.conv2", 1, 8, 8), other("r", "Reorder", 1)]
    teacher = [conv("stem", 1, 1, 8), conv("a.conv1", 1, 8, 8), conv("a.conv2", 1, 8, 8), conv("b.conv1", 1, 8, 8)]
    pairs = match(student, teacher)
    assert [(one.student.name if one.student else "", one.teacher.name if one.teacher else "") for one in pairs] == [
        ("relu", "stem"), ("a.relu1", "a.conv1"), ("a.conv2", "a.conv2"), ("r", ""), ("", "b.conv1"),
    ]  # fmt: skip
    assert [pair.name for pair in pairs] == ["stem", "a.conv1", "a.conv2", "r", "b.conv1"]


def test_equal_names_in_another_order_are_joined() -> None:
    student = [conv("a.conv2", 1, 8, 8), conv("a.shortcut", 1, 8, 8)]
    teacher = [conv("a.shortcut", 1, 8, 8), conv("a.conv2", 1, 8, 8)]
    pairs = match(student, teacher)
    assert {(pair.student and pair.student.name, pair.teacher and pair.teacher.name) for pair in pairs} == {
        ("a.conv2", "a.conv2"), ("a.shortcut", "a.shortcut"),
    }  # fmt: skip


def fused(name: str, n_in: int, n_out: int, window: int) -> KernelTime:
    """TVM's kernel of a convolution of 4 x 4 pixels, channels last, with what is fused into it."""
    n_flops = 2 * 16 * n_out * (n_in * window + 2)
    return KernelTime(name, "Conv", US, n_flops, 0, n_in, n_out, 1, (1, 4, 4, n_out))


def test_kernels_without_layers_in_their_names_are_matched_by_their_windows() -> None:
    """A shortcut (1x1) that ran before its convolution in the teacher and after it in the student."""
    teacher = [
        fused("conv2d2_add2_relu1", 32, 64, 9), fused("conv2d4_add2", 32, 64, 1),
        fused("conv2d3_add2_add3_relu1", 64, 64, 9), fused("conv2d3_add2_relu1", 64, 64, 9),
    ]  # fmt: skip
    student = [
        fused("conv2d2_add2_relu1", 8, 16, 9), fused("conv2d4_add2", 16, 16, 9),
        fused("conv2d3_add2_add3_relu1", 8, 16, 1), fused("conv2d4_add2_relu1", 16, 16, 9),
    ]  # fmt: skip
    pairs = match(student, teacher)
    assert [pair.student for pair in pairs] == student
    assert [pair.teacher for pair in pairs] == [teacher[0], teacher[2], teacher[1], teacher[3]]


def test_a_dropped_block_does_not_shift_the_ones_after_it() -> None:
    blocks = [conv(f"blocks.{n}.conv", 1, 8, 8) for n in range(4)]
    pairs = match([blocks[0], blocks[3]], blocks)
    assert [(pair.student is not None, pair.name) for pair in pairs] == [
        (True, "blocks.0.conv"), (False, "blocks.1.conv"), (False, "blocks.2.conv"), (True, "blocks.3.conv"),
    ]  # fmt: skip


def test_a_latency_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        explain(Profile((), 0.0), TEACHER)
