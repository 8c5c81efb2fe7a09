"""The processor of this machine, as a compiler needs to know it."""

import os
import platform
import re
from pathlib import Path

from latency_models.target import Processor

CPU_INFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
X86 = ("x86_64", "amd64", "i386", "i686")
X86_REGISTERS = {512: 32, 256: 16, 128: 16}
X86_CORES: tuple[tuple[str, frozenset[str]], ...] = (
    ("sapphirerapids", frozenset({"avx512_fp16", "avx512_bf16", "amx_tile", "avx512_vnni", "avx512vl"})),
    ("znver4", frozenset({"avx512_bf16", "avx512_vnni", "avx512vl", "avx512bw", "avx512dq", "sha_ni", "clwb"})),
    ("icelake-server", frozenset({"avx512_vnni", "avx512vl", "avx512bw", "avx512dq", "clwb"})),
    ("skylake-avx512", frozenset({"avx512vl", "avx512bw", "avx512dq", "clwb"})),
    ("haswell", frozenset({"avx2", "fma", "bmi2", "movbe"})),
)
"""LLVM cores, newest first, with flags of Linux that tell them from the next. A virtual machine may hide its model, or
show one that LLVM takes for an older core; its flags are what the code will run on."""
WIDE = "-prefer-256-bit"
"""Intel's cores are tuned in LLVM for half of a 512-bit register, which would split what LLVM vectorises by itself."""


def host_processor(cpu_info: Path = CPU_INFO, caches: Path = CACHES, machine: str | None = None) -> Processor:
    """This machine's processor, with the LLVM core and features that make use of its registers.

    `triple` stays empty, which means this machine's to a compiler, and `cpu` too where no core is known to fit.

    What the operating system does not tell is left at the least that such a processor has. Half precision is named in
    `features`, as LLVM may take the processor for an older one that lacks it (a virtual Sapphire Rapids for a Rocket
    Lake), and would then compute in float32 between conversions. F16C, which only converts, is not half precision.

    Args:
        cpu_info: the kernel's list of processors, with their flags.
        caches: the kernel's folder of the first core's caches.
        machine: the architecture, None for this machine's.
    """
    flags = cpu_flags(cpu_info)
    x86 = (machine or platform.machine()).lower() in X86
    if x86:
        vector_bits = 512 if "avx512f" in flags else 256 if "avx2" in flags else 128
        n_vector_registers = X86_REGISTERS[vector_bits]
        float16 = "avx512_fp16" in flags and vector_bits == 512
    else:
        vector_bits, n_vector_registers = 128, 32
        float16 = "asimdhp" in flags
    half = "+avx512fp16" if x86 else "+fullfp16"
    features = (half if float16 else "", WIDE if x86 and vector_bits == 512 else "")
    return Processor(
        cpu=next((name for name, needed in X86_CORES if needed <= flags), "") if x86 else "",
        features=",".join(filter(None, features)),
        vector_bits=vector_bits,
        n_vector_registers=n_vector_registers,
        float16=float16,
        cache_bytes=_data_caches(caches),
    )


def cpu_flags(cpu_info: Path = CPU_INFO) -> frozenset[str]:
    """Instruction sets of the first processor in the kernel's list; none where there is no list."""
    if cpu_info.is_file():
        for line in cpu_info.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(value.split())
    return frozenset()


def n_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _data_caches(folder: Path) -> tuple[int, ...]:
    """Bytes of the data caches, innermost first."""
    sizes: dict[int, int] = {}
    for cache in sorted(folder.glob("index*")):
        kind, level, size = (_word(cache / name) for name in ("type", "level", "size"))
        found = re.fullmatch(r"(\d+)([KM]?)", size)
        if kind in ("Data", "Unified") and level.isdigit() and found:
            sizes[int(level)] = int(found[1]) * {"": 1, "K": 2**10, "M": 2**20}[found[2]]
    return tuple(sizes[level] for level in sorted(sizes))


def _word(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""
