"""The one table of what can be compiled: ONNX operator to the function that writes it."""

from tvm import topi

from latency_models.tvm_backend import functions, operators_reduce, operators_shape, operators_spatial
from latency_models.tvm_backend.call import Operator
from latency_models.tvm_backend.operators_elementwise import arithmetic, cast, clip, gelu, identity, unary, where
from latency_models.tvm_backend.operators_elementwise import with_alpha as activation
from latency_models.tvm_backend.operators_matrix import gemm, matmul
from latency_models.tvm_backend.operators_reduce import reduce

OPERATORS: dict[str, Operator] = {
    # spatial
    "Conv": operators_spatial.conv,
    "ConvTranspose": operators_spatial.conv_transpose,
    "MaxPool": operators_spatial.max_pool,
    "AveragePool": operators_spatial.average_pool,
    "GlobalAveragePool": operators_spatial.global_average_pool,
    "Resize": operators_spatial.resize,
    # matrices
    "Gemm": gemm,
    "MatMul": matmul,
    # reductions and normalisations
    "ReduceMean": reduce("ReduceMean", operators_reduce.mean),
    "ReduceSum": reduce("ReduceSum", operators_reduce.total),
    "ReduceMax": reduce("ReduceMax", operators_reduce.maximum),
    "ReduceL2": reduce("ReduceL2", operators_reduce.l2_norm),
    "Softmax": operators_reduce.softmax,
    "LayerNormalization": operators_reduce.layer_normalization,
    "BatchNormalization": operators_reduce.batch_normalization,
    # activations
    "Relu": unary("Relu", topi.nn.relu),
    "Clip": clip,
    "LeakyRelu": activation("LeakyRelu", functions.leaky_relu, alpha=0.01),
    "Sigmoid": unary("Sigmoid", functions.sigmoid),
    "Tanh": unary("Tanh", functions.tanh),
    "HardSigmoid": activation("HardSigmoid", functions.hard_sigmoid, alpha=0.2, beta=0.5),
    "HardSwish": unary("HardSwish", functions.hard_swish),
    "Erf": unary("Erf", functions.erf),
    "Gelu": gelu,
    "Softplus": unary("Softplus", functions.softplus),
    "Elu": activation("Elu", functions.elu, alpha=1.0),
    # arithmetic
    "Exp": unary("Exp", functions.exp, whole=True),
    "Log": unary("Log", topi.log, whole=True),
    "Sqrt": unary("Sqrt", topi.sqrt, whole=True),
    "Reciprocal": unary("Reciprocal", functions.reciprocal, whole=True),
    "Neg": unary("Neg", topi.negative),
    "Abs": unary("Abs", topi.abs),
    "Floor": unary("Floor", topi.floor),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "PRelu", "Equal", "Greater", "Less"), arithmetic),
    "Where": where,
    "Cast": cast,
    "Identity": identity,
    "Dropout": identity,
    # shapes
    "Reshape": operators_shape.reshape,
    "Flatten": operators_shape.flatten,
    "Squeeze": operators_shape.squeeze,
    "Unsqueeze": operators_shape.unsqueeze,
    "Transpose": operators_shape.transpose,
    "Concat": operators_shape.concat,
    "Split": operators_shape.split,
    "Slice": operators_shape.slice_,
    "Gather": operators_shape.gather,
    "Expand": operators_shape.expand,
    "Pad": operators_shape.pad,
}
"""`Constant`, `Shape` and whatever only constants go into are computed while importing."""
