"""The programs that an estimate runs: which ones, where they are, and running them with a time limit."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latency_models.backend import Missing
from latency_models.errors import LatencyError

LLVM_VERSIONS = range(25, 14, -1)
"""Of Debian's `llvm-N` packages, the newest first: newer ones know more cores."""


@dataclass(frozen=True)
class Architecture:
    """What executes code of one instruction set here.

    Attributes:
        compiler: C compiler that links static programs for it.
        compiler_package: Debian's package of it.
        emulator: of QEMU's user mode.
    """

    compiler: str
    compiler_package: str
    emulator: str


ARCHITECTURES = {
    "aarch64": Architecture("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu", "qemu-aarch64"),
    "x86_64": Architecture("gcc", "gcc", "qemu-x86_64"),
}


@dataclass(frozen=True)
class Tools:
    """Paths of the programs.

    Attributes:
        compiler: links the harness for the core.
        host_compiler: builds QEMU's plugin.
        emulator: runs programs of the core's instruction set.
        llvm_mc, llvm_mca: disassembler and machine-code analyser.
    """

    compiler: str
    host_compiler: str
    emulator: str
    llvm_mc: str
    llvm_mca: str


def architecture_of(triple: str) -> Architecture:
    """What executes code for an LLVM target triple.

    Raises:
        LatencyError: an architecture that no estimate is made for.
    """
    name = triple.split("-", 1)[0]
    if name not in ARCHITECTURES:
        raise LatencyError(
            f"No estimate can be made for the triple {triple!r}.",
            f"Use a core of one of {', '.join(sorted(ARCHITECTURES))}, or measure on a device.",
        )
    return ARCHITECTURES[name]


def missing_tools(triple: str) -> list[Missing]:
    """The programs an estimate for a triple lacks here."""
    architecture = architecture_of(triple)
    wanted = {
        architecture.compiler: architecture.compiler_package,
        "gcc": "gcc",
        architecture.emulator: "qemu-user",
    }
    lacking = [
        Missing(f"the program {program}", f"apt install {package}")
        for program, package in wanted.items()
        if shutil.which(program) is None
    ]
    if None in _llvm():
        lacking.append(Missing("the programs llvm-mc and llvm-mca", "apt install llvm-19"))
    return lacking


def find_tools(triple: str) -> Tools:
    """The programs for a triple.

    Raises:
        LatencyError: one is not installed.
    """
    architecture = architecture_of(triple)
    compiler, host_compiler = shutil.which(architecture.compiler), shutil.which("gcc")
    emulator = shutil.which(architecture.emulator)
    llvm_mc, llvm_mca = _llvm()
    if compiler and host_compiler and emulator and llvm_mc and llvm_mca:
        return Tools(compiler, host_compiler, emulator, llvm_mc, llvm_mca)
    lacking = missing_tools(triple)
    raise LatencyError(
        f"An estimate needs {', '.join(each.what for each in lacking)}, which are not installed.",
        f"Install them: {'; '.join(each.remedy for each in lacking)}.",
    )


def llvm_version(llvm_mca: str) -> str:
    """Version of LLVM, e.g. `19.1.7`; estimates of different versions differ."""
    found = re.search(r"version (\d+[\w.]*)", run_tool([llvm_mca, "--version"], limit_s=10))
    return found[1] if found else "unknown"


def run_tool(command: Sequence[str | Path], limit_s: float, stdin: str = "", statuses: Sequence[int] = (0,)) -> str:
    """Runs a program and returns its standard output.

    Args:
        command: the program and its arguments.
        limit_s: seconds after which it is killed.
        stdin: its standard input.
        statuses: exit statuses that mean success.

    Raises:
        LatencyError: it failed, or did not end in time.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            [str(part) for part in command], input=stdin, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LatencyError(
            f"{name} did not end within {limit_s:.0f} s.", "Estimate a smaller network, or a less busy machine."
        ) from error
    if done.returncode not in statuses:
        said = done.stderr.strip().splitlines()
        raise LatencyError(
            f"{name} failed with status {done.returncode}: {said[-1] if said else 'it said nothing'}.",
            "Check that its version fits the core, or measure on a device.",
        )
    return done.stdout


def _llvm() -> tuple[str | None, str | None]:
    """Paths of llvm-mc and llvm-mca of one version, the newest there is."""
    for suffix in [*(f"-{version}" for version in LLVM_VERSIONS), ""]:
        pair = shutil.which(f"llvm-mc{suffix}"), shutil.which(f"llvm-mca{suffix}")
        if None not in pair:
            return pair
    return None, None
