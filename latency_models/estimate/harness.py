"""A static program that runs compiled kernels one after the other, so that an emulator can count what they execute."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latency_models.estimate.tools import Tools, run_tool

BOUNDARY = 0x6000000
"""Address of the function that is called before and after each kernel: far from the program, near enough for a
call of any architecture (128 MiB on AArch64)."""

LINK_LIMIT_S = 60.0
DLPACK_CODES = {"int": 0, "uint": 1, "float": 2, "bool": 6}

SOURCE = r"""
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* TVM's calling convention (tvm/ffi/c_api.h, dlpack.h) as far as kernels on tensors need it. */
typedef struct { void *data; int32_t device_type, device_id; int32_t ndim; uint8_t code, bits; uint16_t lanes;
                 int64_t *shape, *strides; uint64_t byte_offset; } tensor_t;
typedef struct { int32_t type_index; uint32_t padding; void *value; } any_t;
enum { TENSOR_POINTER = 7, CPU = 1, FLOAT = 2, ALIGNMENT = 64 };

static void *aligned(uint64_t size) { return aligned_alloc(ALIGNMENT, (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT); }

/* Workspaces are kept and used again, as TVM's runtime does: memory fresh from the system would cost page faults. */
static struct { void *data; uint64_t size; int used; } pool[64];
static char *arena;
static uint64_t arena_left = (uint64_t)1 << 30;
static void *allocate(int type, int id, uint64_t size, int code, int bits) {
  for (int i = 0; i < 64; i++) {
    if (!pool[i].data && size < arena_left) {
      uint64_t whole = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
      pool[i].data = arena; pool[i].size = whole; arena += whole; arena_left -= whole;
    }
    if (!pool[i].used && pool[i].size >= size) { pool[i].used = 1; return pool[i].data; }
  }
  return 0;
}
static int release(int type, int id, void *data) {
  for (int i = 0; i < 64; i++) if (pool[i].data == data) pool[i].used = 0;
  return 0;
}
void *__TVMBackendAllocWorkspace = allocate;
void *__TVMBackendFreeWorkspace = release;
void *TVMBackendAllocWorkspace(int t, int i, uint64_t n, int c, int b) { return allocate(t, i, n, c, b); }
int TVMBackendFreeWorkspace(int t, int i, void *p) { return release(t, i, p); }

__attribute__((noinline, section(".boundary"))) void boundary(void) { __asm__ volatile("" ::: "memory"); }

static any_t argument(int ndim, int64_t *shape, int code, int bits) {
  tensor_t *t = calloc(1, sizeof *t);
  int64_t n = 1;
  t->strides = malloc(8 * (ndim + 1));
  for (int i = ndim - 1; i >= 0; i--) { t->strides[i] = n; n *= shape[i]; }
  uint64_t size = n * bits / 8;
  t->data = aligned(size + ALIGNMENT);
  /* Small positive floats, so that nothing overflows or is subnormal; zeros where indices may be meant. */
  memset(t->data, code == FLOAT ? 0x3c : 0, size);
  t->device_type = CPU; t->ndim = ndim; t->code = code; t->bits = bits; t->lanes = 1; t->shape = shape;
  any_t a = {TENSOR_POINTER, 0, t};
  return a;
}
static void drop(any_t a) { tensor_t *t = a.value; free(t->data); free(t->strides); free(t); }

%(declarations)s
int main(void) {
  any_t result = {0, 0, 0};
  arena = aligned(arena_left);
%(calls)s
  return 0;
}
"""


@dataclass(frozen=True)
class Argument:
    """A tensor that a kernel reads or writes.

    Attributes:
        shape: its extents.
        dtype: e.g. `float32`, `int64`, `bool`.
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def size_bytes(self) -> int:
        """Of all its elements."""
        return math.prod(self.shape) * self.bits // 8

    @property
    def kind(self) -> str:
        """Of its elements: `float`, `int`, `uint` or `bool`."""
        return self.dtype.rstrip("0123456789")

    @property
    def bits(self) -> int:
        """Of one element."""
        return int(self.dtype[len(self.kind) :] or 8)


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel.

    Attributes:
        symbol: its function in the object files, without TVM's prefix.
        arguments: in order, the outputs last.
    """

    symbol: str
    arguments: tuple[Argument, ...]


def harness_source(kernels: Sequence[Kernel]) -> str:
    """C source of a program that calls each kernel once, with `boundary` right before and after each."""
    declarations = "\n".join(f"int __tvm_ffi_{kernel.symbol}(void *, any_t *, int, any_t *);" for kernel in kernels)
    calls = "\n".join(_call(number, kernel) for number, kernel in enumerate(kernels))
    return SOURCE % {"declarations": declarations, "calls": calls}


def link_harness(kernels: Sequence[Kernel], objects: Sequence[Path], folder: Path, tools: Tools) -> Path:
    """Builds the program in a folder and returns its path.

    What kernels refer to beside the C library (TVM's error messages and thread pool) is left unresolved: a kernel that
    comes to need it crashes, and `counting.count_blocks` says so.

    Raises:
        LatencyError: it does not compile or link.
    """
    source, program = folder / "harness.c", folder / "harness"
    source.write_text(harness_source(kernels))
    flags = ["-O1", "-w", "-static", "-no-pie", f"-Wl,--section-start=.boundary={BOUNDARY:#x}"]
    flags.append("-Wl,--unresolved-symbols=ignore-all")
    run_tool([tools.compiler, *flags, source, *objects, "-o", program, "-lm"], LINK_LIMIT_S)
    return program


def _call(number: int, kernel: Kernel) -> str:
    shapes = "".join(
        f"static int64_t s{i}[] = {{{', '.join(map(str, each.shape or (1,)))}}}; "
        for i, each in enumerate(kernel.arguments)
    )
    arguments = ", ".join(_argument(i, each) for i, each in enumerate(kernel.arguments))
    n = len(kernel.arguments)
    return (
        f"  {{ {shapes}any_t a[] = {{{arguments}}}; boundary(); "
        f"if (__tvm_ffi_{kernel.symbol}(0, a, {n}, &result)) return {number % 100 + 2}; "
        f"boundary(); for (int i = 0; i < {n}; i++) drop(a[i]); }}"
    )


def _argument(position: int, argument: Argument) -> str:
    return f"argument({len(argument.shape)}, s{position}, {DLPACK_CODES[argument.kind]}, {argument.bits})"
