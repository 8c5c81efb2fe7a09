"""What a device is: read from its own files by a small library that is compiled for it, and whether it is emulated."""

import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from latency_models.errors import LatencyError

SOURCE = r"""
// Two functions by TVM's calling convention (tvm/ffi/c_api.h): path, buffer -> bytes read, or a negative error number.
// Files of /proc have no size, which is why TVM's own download does not read them.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

typedef struct { int32_t type_index; uint32_t padding; union { int64_t integer; void* pointer; } value; } Any;
typedef struct {
    void* data; int32_t device[2]; int32_t n_axes; uint8_t type[4]; int64_t* shape; int64_t* strides; uint64_t offset;
} Tensor;

static Tensor* tensor(const Any* argument) {
    int is_object = argument->type_index >= 64;  // then behind a header of 24 bytes
    return (Tensor*)((char*)argument->value.pointer + (is_object ? 24 : 0));
}

static int finish(Any* result, int64_t value) {
    result->type_index = 1;
    result->padding = 0;
    result->value.integer = value < 0 ? -errno : value;
    return 0;
}

int __tvm_ffi_read_file(void* self, const Any* arguments, int32_t n, Any* result) {
    Tensor* into = tensor(&arguments[1]);
    int64_t done = 0, size = into->shape[0], last = 1;
    int file = open((const char*)tensor(&arguments[0])->data, O_RDONLY);
    if (file < 0) return finish(result, -1);
    while (done < size && (last = read(file, (char*)into->data + done, size - done)) > 0) done += last;
    finish(result, last < 0 ? last : done);
    close(file);
    return 0;
}

int __tvm_ffi_read_link(void* self, const Any* arguments, int32_t n, Any* result) {
    Tensor* into = tensor(&arguments[1]);
    return finish(result, readlink((const char*)tensor(&arguments[0])->data, into->data, into->shape[0]));
}
"""

LINKS = ("/proc/thread-self/exe",)
"""What really runs: qemu-user answers for /proc/self/exe with the program it emulates, but not for this one."""

FILES = (
    "/proc/cpuinfo",
    "/proc/version",
    "/proc/sys/kernel/arch",
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "/sys/firmware/devicetree/base/model",
)

EMULATORS = ("qemu", "box64", "box86", "fex", "rosetta", "blink")
FAMILIES = {"aarch64": "arm", "arm64": "arm", "arm": "arm", "x86": "x86", "i386": "x86", "i686": "x86", "amd64": "x86"}


@dataclass(frozen=True)
class Facts:
    """What a device says of itself.

    Attributes:
        texts: path to content, of the files and links that could be read.
        family: of the processors that its programs are compiled for: `arm`, `x86`, or what else the triple begins with.
    """

    texts: Mapping[str, str]
    family: str

    @property
    def emulated(self) -> bool | None:
        """Whether another processor plays this one; None where nothing could be read that tells."""
        program = PurePosixPath(self.texts.get(LINKS[0], "")).name.lower()
        if program.startswith(EMULATORS):
            return True
        kernel = self.texts.get("/proc/sys/kernel/arch", "").strip()
        families = {_family(kernel)} if kernel else set()
        cpuinfo = self.texts.get("/proc/cpuinfo", "")
        if re.search(r"^CPU implementer\s*:", cpuinfo, re.MULTILINE):
            families.add("arm")
        elif re.search(r"^vendor_id\s*:", cpuinfo, re.MULTILINE):
            families.add("x86")
        if families - {self.family}:
            return True
        return False if program and families else None

    def environment(self) -> dict[str, str]:
        """The facts that a latency depends on."""
        told = {
            "processor": self._processor(),
            "board": self.texts.get("/sys/firmware/devicetree/base/model", "").strip("\0\n "),
            "cores_online": self.texts.get("/sys/devices/system/cpu/online", "").strip(),
            "governor": self.texts.get("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "").strip(),
            "os": self.texts.get("/proc/version", "").strip(),
        }
        emulated = {True: "yes", False: "no", None: "unknown"}[self.emulated]
        return {**{name: text for name, text in told.items() if text}, "emulated": emulated}

    def _processor(self) -> str:
        cpuinfo = self.texts.get("/proc/cpuinfo", "")
        named = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
        if named and self.family == "x86":
            return named[1].strip()
        numbers = [re.search(rf"^CPU {key}\s*:\s*(\S+)$", cpuinfo, re.MULTILINE) for key in ("implementer", "part")]
        told = " ".join(
            f"{key} {found[1]}" for key, found in zip(("implementer", "part"), numbers, strict=True) if found
        )
        return f"{self.family} {told}".strip()


def family_of(triple: str) -> str:
    """The processor family of an LLVM triple."""
    return _family(triple.partition("-")[0])


def build(compiler: str, into: Path) -> None:
    """Compiles the library that reads files for a device.

    Raises:
        LatencyError: the compiler is missing or fails.
    """
    command = [compiler, "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(into)]
    try:
        done = subprocess.run(command, input=SOURCE, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LatencyError(
            f"The compiler {compiler} that links for the device is not installed.",
            f"Install it (`apt-get install {_package(compiler)}`), or set `compiler` in the target's profile.",
        ) from error
    if done.returncode:
        raise LatencyError(
            f"{compiler} cannot compile for the device: {' '.join(done.stderr.split())[-300:]}.",
            "Set `compiler` in the target's profile to a C compiler for the device.",
        )


def gather(read: Callable[[str, bool], str | None], triple: str) -> Facts:
    """Reads the facts.

    Args:
        read: a path, and whether to read where it links to, to its text; None where it cannot be read.
        triple: LLVM's, that the device's programs are compiled for.
    """
    found = {path: read(path, True) for path in LINKS} | {path: read(path, False) for path in FILES}
    return Facts({path: text for path, text in found.items() if text is not None}, family_of(triple))


def _family(architecture: str) -> str:
    for name, family in FAMILIES.items():
        if architecture.startswith(name):
            return family
    return architecture


def _package(compiler: str) -> str:
    return compiler if compiler.startswith("gcc") else f"gcc-{compiler.removesuffix('-gcc')}".replace("_", "-")
