import shutil
from pathlib import Path

import pytest

from latency_models.device_facts import FILES, LINKS, build, family_of, gather
from latency_models.errors import LatencyError

A72 = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n"
XEON = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Processor\n"
PYTHON = "/usr/bin/python3.11"
EXE, ARCH = LINKS[0], "/proc/sys/kernel/arch"


@pytest.mark.parametrize(
    ("texts", "triple", "emulated"),
    [
        ({EXE: PYTHON, "/proc/cpuinfo": A72, ARCH: "aarch64\n"}, "aarch64-linux-gnu", False),
        ({EXE: PYTHON, "/proc/cpuinfo": A72}, "aarch64-linux-gnu", False),
        ({EXE: PYTHON, "/proc/cpuinfo": A72, ARCH: "aarch64\n"}, "armv7l-linux-gnueabihf", False),
        ({EXE: PYTHON, "/proc/cpuinfo": XEON, ARCH: "x86_64\n"}, "x86_64-linux-gnu", False),
        ({EXE: "/usr/bin/qemu-aarch64", "/proc/cpuinfo": A72}, "aarch64-linux-gnu", True),
        ({EXE: "/usr/libexec/qemu-binfmt/qemu-aarch64-static"}, "aarch64-linux-gnu", True),
        ({EXE: PYTHON, "/proc/cpuinfo": XEON}, "aarch64-linux-gnu", True),
        ({EXE: PYTHON, "/proc/cpuinfo": A72, ARCH: "x86_64\n"}, "aarch64-linux-gnu", True),
        ({EXE: PYTHON, ARCH: "x86_64\n"}, "aarch64-linux-gnu", True),
        ({EXE: PYTHON}, "aarch64-linux-gnu", None),
        ({"/proc/cpuinfo": A72, ARCH: "aarch64\n"}, "aarch64-linux-gnu", None),
        ({}, "aarch64-linux-gnu", None),
    ],
)
def test_emulation_shows(texts: dict[str, str], triple: str, emulated: bool | None) -> None:
    assert gather(lambda path, _: texts.get(path), triple).emulated is emulated


def test_the_environment_names_what_a_latency_depends_on() -> None:
    texts = {
        EXE: PYTHON,
        "/proc/cpuinfo": A72,
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        "/sys/firmware/devicetree/base/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    }
    assert gather(lambda path, _: texts.get(path), "aarch64-linux-gnu").environment() == {
        "processor": "arm implementer 0x41 part 0xd08",
        "board": "Raspberry Pi 4 Model B Rev 1.4",
        "governor": "ondemand",
        "emulated": "no",
    }


def test_links_and_files_are_asked_for_as_such() -> None:
    asked = []
    gather(lambda path, link: asked.append((path, link)), "aarch64-linux-gnu")  # type: ignore[func-returns-value]
    assert asked == [(path, True) for path in LINKS] + [(path, False) for path in FILES]


def test_families() -> None:
    triples = ["aarch64-linux-gnu", "arm64-apple-darwin", "armv7a-linux", "x86_64-linux-gnu", "i686-linux", "riscv64-x"]
    assert [family_of(triple) for triple in triples] == ["arm", "arm", "arm", "x86", "x86", "riscv64"]


def test_a_missing_compiler_is_named(tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match=r"aarch64-nowhere-gcc .* not installed\. Install it"):
        build("aarch64-nowhere-gcc", tmp_path / "facts.so")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_the_library_compiles_without_warnings(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    build("gcc", tmp_path / "facts.so")
    assert (tmp_path / "facts.so").read_bytes().startswith(b"\x7fELF")
    assert capfd.readouterr().err == ""
    with pytest.raises(LatencyError, match="false cannot compile for the device"):
        build("false", tmp_path / "facts.so")
