"""From scheduled kernels to something that runs: here at once, or elsewhere as one shared library."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import tvm_ffi
from tvm import ir, relax, tirx
from tvm.relax.vm_build import VMExecutable, _vmcodegen, _vmlink
from tvm.runtime import Module
from tvm.support import cc

from latency_models.artifact import Artifact
from latency_models.errors import LatencyError
from latency_models.target import Target
from latency_models.tvm_backend.compiler import compiler_target
from latency_models.tvm_backend.graph import Shapes
from latency_models.tvm_backend.lowering import Lowered, lower
from latency_models.tvm_backend.machine_code import Code, compiled, object_files
from latency_models.tvm_backend.tuned_store import Stored


@dataclass(frozen=True)
class Compiled:
    """A network in machine code.

    Attributes:
        lowered: what it was made from.
        builder: holds TVM's byte code, whose function `main` takes the inputs in the graph's order.
        codes: kernel name to its code.
    """

    lowered: Lowered
    builder: relax.ExecBuilder
    codes: dict[str, Code]

    @property
    def module(self) -> Module:
        """What runs in this process."""
        modules = list(dict.fromkeys(code.module for code in self.codes.values()))
        return self._linked(modules).mod

    def _linked(self, modules: list[Module]) -> VMExecutable:
        return _vmlink(self.builder, compiler_target(self.lowered.processor), None, ext_libs=modules)

    def export(self, path: Path, compiler: str) -> Path:
        """Writes one shared library, weights inside, for the processor that it was compiled for.

        Args:
            path: file to write, ending in `.so`.
            compiler: that links for the device, e.g. `aarch64-linux-gnu-gcc`.

        Raises:
            LatencyError: the compiler is missing or fails.
        """
        target = compiler_target(self.lowered.processor)
        linker = cc.cross_compiler(compiler, get_target_triple=lambda: str(target.attrs["mtriple"]))
        try:
            with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
                objects = [str(one) for one in object_files(self.codes.values(), Path(folder))]
                self._linked([]).export_library(str(path), fcompile=linker, addons=objects)
        except (OSError, RuntimeError, ValueError) as error:
            raise LatencyError(
                f"{compiler} cannot link the network for the device: {str(error).strip().splitlines()[-1]}.",
                f"Install {compiler}, or name another compiler in the target's profile.",
            ) from error
        return path


def compile_network(artifact: Artifact, target: Target, shapes: Shapes, tuned: Stored | None = None) -> Compiled:
    """Compiles an artifact for a target's processor and threads.

    Args:
        artifact: the ONNX file.
        target: its processor (None: this machine's) and threads.
        shapes: of every input, batch included.
        tuned: as for `lower`.

    Raises:
        LatencyError: as `lower` says.
    """
    return link(lower(artifact, target, shapes, tuned))


def link(lowered: Lowered) -> Compiled:
    """Compiles the kernels that are not known yet, and puts the network together."""
    codes = compiled(lowered.kernels, lowered.processor, lowered.n_threads)
    builder = relax.ExecBuilder()
    _vmcodegen(builder, _renamed(_finalized(lowered.main), codes))
    return Compiled(lowered, builder, codes)


def _renamed(module: ir.IRModule, codes: dict[str, Code]) -> ir.IRModule:
    """The module with kernels under the symbols that their code has, by which the virtual machine finds them."""
    variables = {name: ir.GlobalVar(code.symbol) for name, code in codes.items()}
    functions: dict[ir.GlobalVar, ir.BaseFunc] = {}
    for variable, function in module.functions_items():
        if isinstance(function, tirx.PrimFunc):
            functions[variables[variable.name_hint]] = function
        else:
            functions[variable] = tvm_ffi.structural_map(
                function, (ir.GlobalVar, lambda old: variables.get(old.name_hint, old))
            )
    return ir.IRModule(functions)


def _finalized(module: ir.IRModule) -> ir.IRModule:
    """Calls by destination with all memory planned, as the virtual machine takes them."""
    for step in (
        relax.transform.ToNonDataflow(),
        relax.transform.RemovePurityChecking(),
        relax.transform.CallTIRRewrite(),
        relax.transform.StaticPlanBlockMemory(),
        relax.transform.LowerAllocTensor(),
        relax.transform.KillAfterLastUse(),
        relax.transform.LowerRuntimeBuiltin(),
        relax.transform.ComputePrimValue(),
        relax.transform.VMShapeLower(),
        relax.transform.AttachGlobalSymbol(),
    ):
        module = step(module)
    return module
