"""Machine code of kernels, compiled once per process: a second network pays only for those it does not share."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import tvm_ffi
from tvm import ir
from tvm.runtime import Module

from latency_models.target import Processor
from latency_models.tvm_backend.codegen import machine_code_of
from latency_models.tvm_backend.compiler import compiler_target
from latency_models.tvm_backend.lowering import Kernel

Key = tuple[tvm_ffi.StructuralKey, str, Processor, int]
"""A kernel, its tuned schedule's digest or nothing, and what it is compiled for."""


@dataclass(frozen=True)
class Code:
    """A compiled kernel.

    Attributes:
        symbol: its name in `module`, unique among all kernels of this process.
        module: LLVM's, with the kernels that were compiled together.
    """

    symbol: str
    module: Module


_COMPILED: dict[Key, Code] = {}
_OBJECTS: dict[Module, bytes] = {}


def compiled(kernels: Iterable[Kernel], processor: Processor, n_threads: int) -> dict[str, Code]:
    """Compiles the kernels that are new, all into one module, which is cheaper than one each.

    Returns:
        Kernel name to code.
    """
    keys = {kernel.name: (kernel.key, kernel.tuned, processor, n_threads) for kernel in kernels}
    new = {keys[kernel.name]: kernel for kernel in kernels if keys[kernel.name] not in _COMPILED}
    if new:
        symbols = {key: f"{kernel.name}_{len(_COMPILED) + i}" for i, (key, kernel) in enumerate(new.items())}
        functions = {symbols[key]: kernel.func.with_attr("global_symbol", symbols[key]) for key, kernel in new.items()}
        module = machine_code_of(ir.IRModule(functions), compiler_target(processor))
        _COMPILED.update({key: Code(symbol, module) for key, symbol in symbols.items()})
    return {name: _COMPILED[key] for name, key in keys.items()}


def object_files(codes: Iterable[Code], folder: Path) -> list[Path]:
    """Writes the kernels' modules as object files; what another network has had written is not generated again."""
    paths = []
    for number, module in enumerate(dict.fromkeys(code.module for code in codes)):
        path = folder / f"kernels{number}.o"
        if module not in _OBJECTS:
            module.write_to_file(str(path), "o")
            _OBJECTS[module] = path.read_bytes()
        else:
            path.write_bytes(_OBJECTS[module])
        paths.append(path)
    return paths


def clear_compiled() -> None:
    """Forgets the code compiled so far, as a new process would."""
    _COMPILED.clear()
    _OBJECTS.clear()
