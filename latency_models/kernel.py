"""One kernel of an inference and how long it takes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KernelTime:
    """A kernel (a group of fused operators) as it ran once within an inference.

    Attributes:
        name: unique within the network, e.g. `conv2d_relu_3`.
        operator: of the kernel's main work in ONNX's words: `Conv`, `Gemm`, `MatMul`, `MaxPool`, `QuantizeLinear`,
            `Reorder` (a layout conversion) ...
        seconds: median of one execution.
        n_flops: floating-point (or integer) operations, two for a multiply-accumulate; 0 where unknown.
        n_bytes: inputs, weights and outputs, each counted once; 0 where unknown.
        n_in, n_out: channels; 0 where that means nothing.
        groups: of a convolution.
        shape: of the output.
        precision: what it computes in: `float32`, `float16`, `int8`.
    """

    name: str
    operator: str
    seconds: float
    n_flops: int = 0
    n_bytes: int = 0
    n_in: int = 0
    n_out: int = 0
    groups: int = 1
    shape: tuple[int, ...] = ()
    precision: str = "float32"
