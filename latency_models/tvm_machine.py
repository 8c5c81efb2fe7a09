"""A compiled network in TVM's virtual machine on one device, timed by that device's own clock."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from latency_models.backend import Feed
from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime

TVM_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError)
"""What TVM raises; its exceptions have no base of their own."""
NETWORK = "main"
"""The network's function in TVM's module."""
N_REPEATS = 7
"""Samples of a kernel, of which the median is its time."""
N_RUNS = 10
"""Executions in a row for one of them."""
OPERATORS = (
    ("conv2d_transpose", "ConvTranspose"), ("conv3d", "Conv"), ("conv2d", "Conv"), ("conv1d", "Conv"),
    ("matmul", "MatMul"), ("max_pool", "MaxPool"), ("adaptive_avg_pool", "GlobalAveragePool"),
    ("avg_pool", "AveragePool"), ("log_softmax", "LogSoftmax"), ("softmax", "Softmax"),
    ("layer_norm", "LayerNormalization"), ("group_norm", "GroupNormalization"), ("mean", "ReduceMean"),
    ("sum", "ReduceSum"), ("resize", "Resize"), ("concatenate", "Concat"), ("transpose", "Transpose"),
    ("take", "Gather"), ("strided_slice", "Slice"), ("reshape", "Reshape"), ("gelu", "Gelu"), ("sigmoid", "Sigmoid"),
    ("clip", "Clip"), ("relu", "Relu"), ("multiply", "Mul"), ("divide", "Div"), ("subtract", "Sub"), ("add", "Add"),
    ("cast", "Cast"),
)  # fmt: skip
"""What TVM's kernel names contain, the most work first, in ONNX's words."""


@dataclass(frozen=True, eq=False)
class Built:
    """A compiled network.

    Attributes:
        executable: TVM's, for a virtual machine.
        inputs: names, in the order of the network's parameters.
        n_flops: kernel to floating-point operations; 0 where they cannot be counted.
    """

    executable: Any
    inputs: tuple[str, ...]
    n_flops: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Machine:
    """Satisfies `Loaded` and `SelfTimed`. Made by `on`.

    Attributes:
        built: the network.
        module: its code, loaded.
        device: TVM's handle of the device.
        machine: the virtual machine.
        bound: the feed in the device's memory, in the order of the network's parameters.
        expected: name, type and shape of each input.
    """

    built: Built
    module: Any
    device: Any
    machine: Any
    bound: tuple[Any, ...]
    expected: tuple[tuple[str, str, tuple[int, ...]], ...]

    @classmethod
    def on_gpu(cls, built: Built, feed: Feed) -> Self:
        """On this machine's first NVIDIA GPU; see `on`."""
        return cls.on(built, feed, tvm.cuda(0))

    @classmethod
    def on(cls, built: Built, feed: Feed, device: Any) -> Self:
        """Loads a compiled network and binds the feed.

        Raises:
            LatencyError: the device refuses the code, or has no memory for it.
        """
        arrays = {name: feed[name] for name in built.inputs}
        expected = tuple((name, array.dtype.name, array.shape) for name, array in arrays.items())
        try:
            module = built.executable.jit()
            machine = relax.VirtualMachine(module, device)
            bound = tuple(tvm.runtime.tensor(np.ascontiguousarray(array), device) for array in arrays.values())
            machine.set_input(NETWORK, *bound)
        except TVM_ERRORS as error:
            raise LatencyError(
                f"TVM cannot load the network on {device}: {error}.", "Check the device's log."
            ) from error
        return cls(built, module, device, machine, bound, expected)

    def run(self) -> None:
        """One inference of the bound feed, finished on return."""
        self.machine.invoke_stateful(NETWORK)
        self.device.sync()

    def sample_s(self, n_samples: int, n_inferences: int) -> Sequence[float]:
        """Seconds of one inference, each the mean over `n_inferences` in a row, by the device's clock."""
        timed = self.machine.time_evaluator("invoke_stateful", self.device, number=n_inferences, repeat=n_samples)
        return [float(sample) for sample in timed(NETWORK).results]

    def outputs(self, feed: Feed) -> list[NDArray[np.generic]]:
        """The network's outputs for another feed of the same shapes.

        Raises:
            LatencyError: the feed does not fit, or an output is NaN or infinite.
        """
        given = tuple((name, array.dtype.name, array.shape) for name, array in feed.items())
        if sorted(given) != sorted(self.expected):
            raise LatencyError(
                f"The network was compiled for the inputs {list(self.expected)}, the feed has {list(given)}.",
                "Give arrays of the names, types and shapes that it was loaded with.",
            )
        arrays = [tvm.runtime.tensor(np.ascontiguousarray(feed[name]), self.device) for name, _, _ in self.expected]
        found = self._fresh()[NETWORK](*arrays)
        tensors = [found] if hasattr(found, "numpy") else list(found)
        outputs = [np.asarray(tensor.numpy()) for tensor in tensors]
        for array in outputs:
            if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
                raise LatencyError(
                    "An output holds NaN or infinite values.", "Check the network's weights and the inputs for NaN."
                )
        return outputs

    def kernels(self) -> list[KernelTime]:
        """The time of each kernel of one inference, in order of execution, with the operands that it has there."""
        calls: list[tuple[str, tuple[Any, ...]]] = []

        def note(function: Any, name: str, before: bool, result: Any, *arguments: Any) -> None:
            if before and not name.startswith("vm."):
                calls.append((name, arguments))

        machine = self._fresh()
        machine.set_instrument(note)
        machine[NETWORK](*self.bound)
        code, seen, times = self.module.imports[0], dict[str, int](), []
        for name, arguments in calls:
            timed = code.time_evaluator(name, self.device, number=N_RUNS, repeat=N_REPEATS)
            seconds = statistics.median(timed(*arguments).results)
            seen[name] = seen.get(name, 0) + 1
            unique = name if seen[name] == 1 else f"{name}_call{seen[name]}"
            times.append(_described(unique, name, arguments, float(seconds), self.built.n_flops.get(name, 0)))
        return times

    def _fresh(self) -> Any:
        """Another machine around the same code: one whose inputs are set can be called in no other way."""
        return relax.VirtualMachine(self.module, self.device)


def _described(unique: str, name: str, arguments: Sequence[Any], seconds: float, n_flops: int) -> KernelTime:
    tensors = [argument for argument in arguments if hasattr(argument, "shape") and hasattr(argument, "dtype")]
    shapes = [tuple(int(size) for size in tensor.shape) for tensor in tensors]
    kinds = [str(tensor.dtype) for tensor in tensors]
    operator = next((word for part, word in OPERATORS if part in name), "Other")
    n_in, n_out, groups = _channels(operator, shapes)
    return KernelTime(
        name=unique,
        operator=operator,
        seconds=seconds,
        n_flops=n_flops,
        n_bytes=sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in zip(shapes, kinds, strict=True)),
        n_in=n_in,
        n_out=n_out,
        groups=groups,
        shape=shapes[-1] if shapes else (),
        precision="float16" if "float16" in kinds else "float32",
    )


def _channels(operator: str, shapes: Sequence[tuple[int, ...]]) -> tuple[int, int, int]:
    """Channels in and out, and groups, of a convolution or product on its data and weights; zeros where unclear."""
    if operator == "Conv" and len(shapes) >= 3 and len(shapes[0]) == len(shapes[1]) > 2:
        (_, n_in, *_), (n_out, n_in_of_group, *_) = shapes[0], shapes[1]
        if n_in % n_in_of_group == 0 and shapes[-1][1] == n_out:
            return n_in, n_out, n_in // n_in_of_group
    if operator == "MatMul" and len(shapes) >= 3 and shapes[0] and len(shapes[1]) == 2:
        return shapes[1][0], shapes[1][1], 1
    return 0, 0, 1
