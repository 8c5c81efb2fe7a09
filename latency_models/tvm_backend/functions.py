"""Elementary functions as tensor expressions that vectorise.

LLVM calls the C library lane by lane for exp, tanh and erf; TVM's `fast_*` are polynomials instead, with errors near
1e-6 of the result. In half precision they are computed in float32 between conversions.
"""

from collections.abc import Callable
from typing import Any

from tvm import te, tirx, topi

SQRT_HALF = 0.7071067811865476
SQRT_2_OVER_PI = 0.7978845608028654


def _in_float32(function: Callable[..., te.Tensor]) -> Callable[..., te.Tensor]:
    def wrapped(x: te.Tensor, *parameters: Any) -> te.Tensor:
        if x.dtype == "float32":
            return function(x, *parameters)
        return topi.cast(function(topi.cast(x, "float32"), *parameters), x.dtype)

    return wrapped


@_in_float32
def exp(x: te.Tensor) -> te.Tensor:
    """e to the x."""
    return topi.fast_exp(x)


@_in_float32
def tanh(x: te.Tensor) -> te.Tensor:
    """Hyperbolic tangent."""
    return topi.fast_tanh(x)


@_in_float32
def erf(x: te.Tensor) -> te.Tensor:
    """The error function."""
    return topi.fast_erf(x)


@_in_float32
def sigmoid(x: te.Tensor) -> te.Tensor:
    """1 / (1 + exp(-x))."""
    one = tirx.const(1.0, "float32")
    return topi.divide(one, topi.add(topi.fast_exp(topi.negative(x)), one))


@_in_float32
def softplus(x: te.Tensor) -> te.Tensor:
    """log(1 + exp(x)), as max(x, 0) + log(1 + exp(-|x|)) so that nothing overflows."""
    tail = topi.log(topi.add(topi.fast_exp(topi.negative(topi.abs(x))), tirx.const(1.0, "float32")))
    return topi.add(topi.nn.relu(x), tail)


@_in_float32
def elu(x: te.Tensor, alpha: float) -> te.Tensor:
    """x where positive, alpha (exp(x) - 1) elsewhere."""
    below = topi.subtract(topi.fast_exp(topi.minimum(x, tirx.const(0.0, "float32"))), tirx.const(1.0, "float32"))
    return topi.add(topi.nn.relu(x), topi.multiply(below, tirx.const(alpha, "float32")))


@_in_float32
def gelu(x: te.Tensor) -> te.Tensor:
    """x Phi(x) (Hendrycks & Gimpel 2016)."""
    half = topi.multiply(x, tirx.const(0.5, "float32"))
    return topi.multiply(half, topi.add(topi.fast_erf(topi.multiply(x, tirx.const(SQRT_HALF, "float32"))), _one()))


@_in_float32
def gelu_tanh(x: te.Tensor) -> te.Tensor:
    """The same with tanh in place of erf."""
    cube = topi.multiply(topi.multiply(x, x), topi.multiply(x, tirx.const(0.044715, "float32")))
    inner = topi.multiply(topi.add(x, cube), tirx.const(SQRT_2_OVER_PI, "float32"))
    half = topi.multiply(x, tirx.const(0.5, "float32"))
    return topi.multiply(half, topi.add(topi.fast_tanh(inner), _one()))


def clip(x: te.Tensor, low: float | None, high: float | None) -> te.Tensor:
    """Between two bounds, either of which may be missing."""
    if low is not None:
        x = topi.maximum(x, tirx.const(low, x.dtype))
    return x if high is None else topi.minimum(x, tirx.const(high, x.dtype))


def leaky_relu(x: te.Tensor, alpha: float) -> te.Tensor:
    """x where positive, alpha x elsewhere."""
    zero = tirx.const(0.0, x.dtype)
    return topi.add(topi.maximum(x, zero), topi.multiply(topi.minimum(x, zero), tirx.const(alpha, x.dtype)))


def prelu(x: te.Tensor, slope: te.Tensor) -> te.Tensor:
    """The same with a slope for each channel."""
    zero = tirx.const(0.0, x.dtype)
    return topi.add(topi.maximum(x, zero), topi.multiply(topi.minimum(x, zero), slope))


def hard_sigmoid(x: te.Tensor, alpha: float, beta: float) -> te.Tensor:
    """alpha x + beta between 0 and 1."""
    return clip(topi.add(topi.multiply(x, tirx.const(alpha, x.dtype)), tirx.const(beta, x.dtype)), 0.0, 1.0)


def hard_swish(x: te.Tensor) -> te.Tensor:
    """x times its hard sigmoid (Howard et al. 2019, section 5.2)."""
    return topi.multiply(x, hard_sigmoid(x, 1 / 6, 0.5))


def reciprocal(x: te.Tensor) -> te.Tensor:
    """1 / x."""
    return topi.divide(tirx.const(1.0, x.dtype), x)


def power(x: te.Tensor, exponent: Any) -> te.Tensor:
    """x to a number (small whole ones by multiplying) or to another tensor."""
    number = getattr(exponent, "value", None)
    if number == 2:
        return topi.multiply(x, x)
    if number == 3:
        return topi.multiply(topi.multiply(x, x), x)
    return topi.sqrt(x) if number == 0.5 else topi.power(x, exponent)


def _one() -> Any:
    return tirx.const(1.0, "float32")
