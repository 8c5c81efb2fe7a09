import re
from pathlib import Path

import pytest

from latency_models.host import cpu_flags, host_processor, n_cores
from latency_models.target import Processor

AVX2 = "fpu sse4_2 avx avx2 fma bmi1 bmi2 movbe f16c"
AVX512 = AVX2 + " avx512f avx512bw avx512dq avx512vl avx512cd clwb"
ICE_LAKE = AVX512 + " avx512_vnni"
SAPPHIRE_RAPIDS = ICE_LAKE + " avx512_bf16 avx512_fp16 amx_tile sha_ni"
ZEN_4 = ICE_LAKE + " avx512_bf16 sha_ni"


def cpu_info(folder: Path, line: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: Some Processor\n{line}\nbugs\t\t: none\n")
    return path


@pytest.mark.parametrize(
    ("machine", "line", "wanted"),
    [
        ("x86_64", "flags\t\t: fpu sse2 avx2 f16c", (256, 16, False, "")),
        ("x86_64", "flags\t\t: avx2 avx512f f16c", (512, 32, False, "-prefer-256-bit")),
        ("x86_64", "flags\t\t: avx2 avx512f avx512_fp16", (512, 32, True, "+avx512fp16,-prefer-256-bit")),
        ("x86_64", "flags\t\t: fpu sse2", (128, 16, False, "")),
        ("aarch64", "Features\t: fp asimd evtstrm", (128, 32, False, "")),
        ("aarch64", "Features\t: fp asimd fphp asimdhp", (128, 32, True, "+fullfp16")),
    ],
)
def test_vectors_and_half_precision(
    tmp_path: Path, machine: str, line: str, wanted: tuple[int, int, bool, str]
) -> None:
    found = host_processor(cpu_info(tmp_path, line), tmp_path / "caches", machine)
    assert (found.vector_bits, found.n_vector_registers, found.float16, found.features) == wanted
    assert (found.triple, found.cpu, found.cache_bytes) == ("", "", ())


@pytest.mark.parametrize(
    ("line", "cpu", "features", "vector_bits", "n_registers"),
    [
        (SAPPHIRE_RAPIDS, "sapphirerapids", "+avx512fp16,-prefer-256-bit", 512, 32),
        (ZEN_4, "znver4", "-prefer-256-bit", 512, 32),
        (ICE_LAKE, "icelake-server", "-prefer-256-bit", 512, 32),
        (AVX512, "skylake-avx512", "-prefer-256-bit", 512, 32),
        (AVX2, "haswell", "", 256, 16),
        ("fpu sse4_2", "", "", 128, 16),
    ],
)
def test_x86_cores_are_told_by_their_flags(
    tmp_path: Path, line: str, cpu: str, features: str, vector_bits: int, n_registers: int
) -> None:
    found = host_processor(cpu_info(tmp_path, f"flags\t\t: {line}"), tmp_path, "x86_64")
    assert (found.cpu, found.features) == (cpu, features)
    assert (found.vector_bits, found.n_vector_registers) == (vector_bits, n_registers)


def test_data_caches_innermost_first(tmp_path: Path) -> None:
    for index, (level, kind, size) in enumerate(
        [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("3", "Unified", "30M"), ("2", "Unified", "2048K")]
    ):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{text}\n")
    assert host_processor(tmp_path / "none", tmp_path, "x86_64") == Processor(
        vector_bits=128, n_vector_registers=16, cache_bytes=(48 * 2**10, 2 * 2**20, 30 * 2**20)
    )


def test_a_machine_without_a_list_of_processors(tmp_path: Path) -> None:
    assert cpu_flags(tmp_path / "none") == frozenset()
    assert n_cores() >= 1


@pytest.mark.parametrize(
    ("machine", "line", "cpu", "triple", "instruction"),
    [
        ("x86_64", "flags\t\t: avx512f avx512_fp16", "rocketlake", "x86_64-linux-gnu", r"vfmadd\d+ph"),
        ("aarch64", "Features\t: asimd asimdhp", "cortex-a72", "aarch64-linux-gnu", r"fmla\s+v\d+\.8h"),
    ],
)
def test_the_named_feature_is_what_llvm_needs_to_compute_in_half_precision(
    tmp_path: Path, machine: str, line: str, cpu: str, triple: str, instruction: str
) -> None:
    """The cores lack it in LLVM's books, as a virtual machine's may; float16 is then computed in float32."""
    tvm = pytest.importorskip("tvm", reason="needs apache-tvm")
    from tvm import s_tir, te

    features = host_processor(cpu_info(tmp_path, line), tmp_path, machine).features
    a, b = (te.placeholder((32, 32), "float16", name=name) for name in "ab")
    k = te.reduce_axis((0, 32))
    product = te.compute((32, 32), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="product")
    schedule = s_tir.Schedule(te.create_prim_func([a, b, product]).with_attr("global_symbol", "main"))
    block = schedule.get_sblock("product")
    i, j, inner = schedule.get_loops(block)
    schedule.reorder(i, inner, j)
    schedule.vectorize(j)
    schedule.decompose_reduction(block, inner)
    base = {"kind": "llvm", "mtriple": triple, "mcpu": cpu}
    found = []
    for target in (base, {**base, "mattr": features.split(",")}):
        code = tvm.compile(schedule.mod, target=tvm.target.Target(target)).mod.inspect_source("asm")
        found.append(re.search(instruction, code) is not None)
    assert found == [False, True]
