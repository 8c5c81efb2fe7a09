"""The time of each kernel of an inference, from ONNX Runtime's own profiler."""

import itertools
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from latency_models.artifact import Artifact
from latency_models.backend import Feed
from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from latency_models.onnxruntime_groups import Graph, Traced, describe
from latency_models.timing import Plan, Runner, samples_s

N_WARM_UP = 10
"""Profiled inferences that are not counted."""
MIN_RUNS, MAX_RUNS, MAX_EVENTS = 20, 150, 40_000
AIM_S = 0.25
"""Seconds of profiled inferences."""
N_CHAIN = 24
"""Kernels of the networks that the profiler's own cost is read from."""
GLANCE = Plan(n_pairs=32, max_s=0.2)

MakeSession = Callable[[bytes, ort.SessionOptions], ort.InferenceSession]


@dataclass(frozen=True)
class ProfilerCost:
    """What the profiler adds to each kernel it times: it writes down the kernel's inputs before it stops its clock.

    Attributes:
        one_input_s, nine_inputs_s: to a kernel with so many inputs; an int8 convolution has nine.
    """

    one_input_s: float
    nine_inputs_s: float

    def of(self, n_inputs: int) -> float:
        """To a kernel with `n_inputs`; on the straight line through the two."""
        return max(0.0, self.one_input_s + (n_inputs - 1) * (self.nine_inputs_s - self.one_input_s) / 8)


@dataclass(frozen=True)
class Trace:
    """One session's profile.

    Attributes:
        kernels: in order of execution.
        seconds: of one execution of each, with the profiler's cost.
        optimised: the graph that ran.
    """

    kernels: tuple[Traced, ...]
    seconds: tuple[float, ...]
    optimised: Graph


def profiled(
    artifact: Artifact, feed: Feed, runner: Runner, options: Callable[[], ort.SessionOptions]
) -> list[KernelTime]:
    """The kernels of one inference, in order of execution.

    A kernel's time is the mean of the middle half of its executions, as the profiler counts in whole microseconds of
    which a median would show no more; less the profiler's own cost, measured at the same moment on small kernels (2 to
    8 microseconds, as much as a small layer).

    Args:
        artifact: what to run.
        feed: its inputs.
        runner: the artifact, loaded without profiler and checked on the feed.
        options: makes the session's settings.

    Raises:
        LatencyError: the file is no ONNX model.
    """
    model = named_model(artifact)
    one_s = float(np.median(samples_s(runner, GLANCE)))
    n_runs = int(min(MAX_RUNS, max(MIN_RUNS, AIM_S / one_s), max(MIN_RUNS, MAX_EVENTS / max(1, len(model.graph.node)))))
    before = profiler_cost(options)
    trace = run_profiled(model, feed, options(), n_runs)
    after = profiler_cost(options)
    cost = ProfilerCost((before.one_input_s + after.one_input_s) / 2, (before.nine_inputs_s + after.nine_inputs_s) / 2)
    original, claimed = Graph.of(with_shapes(model, feed).graph), set[str]()
    found = [
        describe(traced, max(0.0, seconds - cost.of(len(traced.inputs))), original, trace.optimised, claimed)
        for traced, seconds in zip(trace.kernels, trace.seconds, strict=True)
    ]
    return list(_unique(found))


def run_profiled(model: onnx.ModelProto, feed: Feed, options: ort.SessionOptions, n_runs: int) -> Trace:
    """Runs a model under the profiler."""
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "trace")
        options.optimized_model_filepath = str(optimised)
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        for name, array in feed.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)))
        for output in session.get_outputs():
            binding.bind_output(output.name)
        for _ in range(N_WARM_UP + n_runs):
            session.run_with_iobinding(binding)
        events = json.loads(Path(session.end_profiling()).read_text())
        graph = Graph.of(onnx.load(optimised).graph)
    kernels, seconds = parse_trace(events, N_WARM_UP)
    return Trace(kernels, seconds, graph)


def parse_trace(events: Sequence[Mapping[str, Any]], n_warm_up: int) -> tuple[tuple[Traced, ...], tuple[float, ...]]:
    """Kernels in order of execution and the seconds of one execution of each.

    Kernels inside another one's time (the body of a loop or branch) count as part of it.

    Args:
        events: the profiler's JSON.
        n_warm_up: executions of each kernel that are not counted.
    """
    taken: dict[str, list[float]] = defaultdict(list)
    last: dict[str, Mapping[str, Any]] = {}
    end_us = -1
    nodes = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    for event in sorted(nodes, key=lambda one: (one["ts"], -one["dur"])):
        if event["ts"] < end_us and event["ts"] + event["dur"] <= end_us:
            continue
        end_us = event["ts"] + event["dur"]
        name = event["name"].removesuffix("_kernel_time")
        taken[name].append(1e-6 * event["dur"])
        last[name] = event
    order = sorted(last, key=lambda name: int(last[name]["ts"]))
    kernels = tuple(_traced(name, last[name]["args"]) for name in order)
    return kernels, tuple(_middle_mean(taken[name][n_warm_up:] or taken[name]) for name in order)


def profiler_cost(options: Callable[[], ort.SessionOptions]) -> ProfilerCost:
    """What the profiler adds to a kernel now, from chains of small kernels that have one input and nine."""
    one, zero = np.float32(1), np.uint8(0)
    convolution = {
        "x_scale": one, "x_zero": zero, "w": np.ones((8, 8, 3, 3), np.int8), "w_scale": one, "w_zero": np.int8(0),
        "y_scale": one, "y_zero": zero, "bias": np.zeros(8, np.int32),
    }  # fmt: skip
    number, image = np.ones((1, 1, 1, 1), np.float32), np.ones((1, 8, 8, 8), np.uint8)
    return ProfilerCost(
        _cost_in(_chain("Neg", number, {}), number, options),
        _cost_in(_chain("QLinearConv", image, convolution, pads=[1, 1, 1, 1]), image, options),
    )


def _cost_in(chain: onnx.ModelProto, x: NDArray[Any], options: Callable[[], ort.SessionOptions]) -> float:
    """What the profiler adds to a kernel of a chain; never below zero."""
    plain, watched = options(), options()
    for one in (plain, watched):
        one.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(chain.SerializeToString(), plain, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x))
    binding.bind_output("y")
    whole_s = float(np.median(samples_s(_Bound(session, binding), GLANCE)))
    with_profiler_s = sum(run_profiled(chain, {"x": x}, watched, MIN_RUNS).seconds)
    return max(0.0, (with_profiler_s - whole_s) / N_CHAIN)


@dataclass(frozen=True)
class _Bound:
    session: ort.InferenceSession
    binding: ort.IOBinding

    def run(self) -> None:
        self.session.run_with_iobinding(self.binding)


def named_model(artifact: Artifact) -> onnx.ModelProto:
    """The artifact with a name for every node, none twice, by which its kernels are found again.

    Raises:
        LatencyError: the file is missing, changed or no ONNX model.
    """
    try:
        model = onnx.load_from_string(artifact.read())
    except DecodeError as error:
        raise LatencyError(f"{artifact.path} is no ONNX file.", "Export the student again.") from error
    seen: set[str] = set()
    for n, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_at_{n}"
        seen.add(node.name)
    return model


def with_shapes(model: onnx.ModelProto, feed: Feed) -> onnx.ModelProto:
    """The model with the shapes that every tensor has on the feed, as far as ONNX can infer them."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        if value.name in feed:
            shape = value.type.tensor_type.shape
            shape.Clear()
            for size in feed[value.name].shape:
                shape.dim.add().dim_value = size
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    del fixed.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(fixed, data_prop=True)


def _traced(name: str, args: Mapping[str, Any]) -> Traced:
    inputs, outputs = (
        tuple((kind, tuple(shape)) for one in args.get(key, []) for kind, shape in one.items())
        for key in ("input_type_shape", "output_type_shape")
    )
    n_activation, n_output = (int(args.get(key, 0)) for key in ("activation_size", "output_size"))
    return Traced(name, args["op_name"], inputs, outputs, n_activation, n_output)


def _middle_mean(seconds: Sequence[float]) -> float:
    """Mean of the middle half."""
    ordered = np.sort(seconds)
    cut = len(ordered) // 4
    return float(np.mean(ordered[cut : len(ordered) - cut]))


def _unique(kernels: Sequence[KernelTime]) -> Iterator[KernelTime]:
    seen: dict[str, int] = defaultdict(int)
    for kernel in kernels:
        seen[kernel.name] += 1
        yield kernel if seen[kernel.name] == 1 else replace(kernel, name=f"{kernel.name}_{seen[kernel.name]}")


def _chain(operator: str, given: NDArray[Any], weights: Mapping[str, Any], **attributes: Any) -> onnx.ModelProto:
    """A network from `x` to `y` that does the same to an input like this again and again."""
    names = ["x", *(f"t{n}" for n in range(N_CHAIN - 1)), "y"]
    nodes = [
        helper.make_node(operator, [before, *weights], [after], name=f"{operator}_{n}", **attributes)
        for n, (before, after) in enumerate(itertools.pairwise(names))
    ]
    kind = helper.np_dtype_to_tensor_dtype(given.dtype)
    x, y = (helper.make_tensor_value_info(name, kind, given.shape) for name in "xy")
    constants = [numpy_helper.from_array(np.asarray(values), name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "chain", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
