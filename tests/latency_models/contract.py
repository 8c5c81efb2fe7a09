"""What every backend that loads and runs artifacts must do. A test file subclasses `BackendContract`."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latency_models.artifact import Artifact
from latency_models.errors import LatencyError
from latency_models.target import Target
from latency_models.timing import Plan, latency_from_visits, visit


class LoadedRunner(Protocol):
    def run(self) -> None: ...

    def outputs(self, feed: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]: ...


def two_input_network(path: Path, bias: Sequence[float] = (1.0, -1.0)) -> Artifact:
    """y = a @ [[1, 2], [3, 4]] + bias + b; inputs a and b of shape (n, 2)."""
    nodes = [
        helper.make_node("Gemm", ["a", "weight", "bias"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("a", "b", "y")]
    constants = [
        numpy_helper.from_array(np.array([[1, 2], [3, 4]], np.float32), "weight"),
        numpy_helper.from_array(np.array(bias, np.float32), "bias"),
    ]
    graph = helper.make_graph(nodes, "two_input_network", values[:2], values[2:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return Artifact.from_file(path, "float32")


def feed_of(a: Sequence[float], b: Sequence[float]) -> dict[str, NDArray[np.generic]]:
    return {"a": np.array([a], np.float32), "b": np.array([b], np.float32)}


FEED = feed_of([1, 1], [0, 0])


class BackendContract(ABC):
    target: Target

    @abstractmethod
    def load(self, artifact: Artifact, target: Target, feed: Mapping[str, NDArray[np.generic]]) -> LoadedRunner:
        """The backend's `load`."""

    @abstractmethod
    def environment(self, target: Target) -> dict[str, str]:
        """The backend's `environment`."""

    def test_outputs_are_the_networks_own(self, tmp_path: Path) -> None:
        runner = self.load(two_input_network(tmp_path / "n.onnx"), self.target, FEED)
        np.testing.assert_array_equal(runner.outputs(feed_of([1, 2], [10, 20]))[0], [[18, 29]])
        batch = {"a": np.ones((3, 2), np.float32), "b": np.zeros((3, 2), np.float32)}
        np.testing.assert_array_equal(runner.outputs(batch)[0], [[5, 5]] * 3)

    def test_runs_can_be_timed(self, tmp_path: Path) -> None:
        artifact = two_input_network(tmp_path / "n.onnx")
        candidate, anchor = (self.load(artifact, self.target, FEED) for _ in range(2))
        visits = visit({"itself": candidate}, anchor, Plan(n_pairs=16))
        latency = latency_from_visits([visits["itself"]], self.target.label, {}, np.random.default_rng(0))
        assert latency.n_samples == 16
        assert 0 < latency.low_s <= latency.median_s <= latency.high_s < 1

    def test_other_input_names_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(LatencyError, match=r"inputs are \['a', 'b'\], the feed's are \['a', 'c'\]"):
            self.load(two_input_network(tmp_path / "n.onnx"), self.target, {"a": FEED["a"], "c": FEED["b"]})

    def test_missing_and_surplus_inputs_are_refused(self, tmp_path: Path) -> None:
        artifact = two_input_network(tmp_path / "n.onnx")
        for feed in ({"a": FEED["a"]}, {**FEED, "c": FEED["b"]}, {}):
            with pytest.raises(LatencyError, match="one array for each input"):
                self.load(artifact, self.target, feed)

    @pytest.mark.parametrize("shape", [(1, 3), (2,), (1, 2, 1)])
    def test_other_shapes_are_refused(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        runner = self.load(two_input_network(tmp_path / "n.onnx"), self.target, FEED)
        with pytest.raises(LatencyError, match="Input b takes"):
            runner.outputs({"a": FEED["a"], "b": np.zeros(shape, np.float32)})

    def test_shapes_that_fit_singly_but_not_together_are_refused(self, tmp_path: Path) -> None:
        runner = self.load(two_input_network(tmp_path / "n.onnx"), self.target, FEED)
        with pytest.raises(LatencyError, match="cannot run"):
            runner.outputs({"a": np.zeros((3, 2), np.float32), "b": np.zeros((2, 2), np.float32)})

    def test_other_types_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(LatencyError, match="float64"):
            self.load(two_input_network(tmp_path / "n.onnx"), self.target, {**FEED, "b": np.zeros((1, 2))})

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_outputs_that_are_not_finite_are_refused(self, tmp_path: Path, bad: float) -> None:
        with pytest.raises(LatencyError, match="Output y holds NaN or infinite"):
            self.load(two_input_network(tmp_path / "n.onnx", bias=(0.0, bad)), self.target, FEED)

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        artifact = two_input_network(tmp_path / "n.onnx")
        artifact.path.unlink()
        with pytest.raises(LatencyError, match="cannot be read"):
            self.load(artifact, self.target, FEED)

    def test_a_changed_file_is_refused(self, tmp_path: Path) -> None:
        artifact = two_input_network(tmp_path / "n.onnx")
        two_input_network(tmp_path / "n.onnx", bias=(2.0, 2.0))
        with pytest.raises(LatencyError, match="has changed since it was exported"):
            self.load(artifact, self.target, FEED)

    @pytest.mark.parametrize("keep", [0, 10, 100])
    def test_a_file_cut_short_is_refused(self, tmp_path: Path, keep: int) -> None:
        artifact = two_input_network(tmp_path / "n.onnx")
        content = artifact.path.read_bytes()[:keep]
        artifact.path.write_bytes(content)
        cut = replace(artifact, digest=hashlib.sha256(content).hexdigest(), size_bytes=keep)
        with pytest.raises(LatencyError, match="cannot load"):
            self.load(cut, self.target, FEED)

    def test_environment_names_processor_and_threads(self) -> None:
        environment = self.environment(replace(self.target, n_threads=2))
        assert environment["processor"]
        assert environment["n_threads"] == "2"
        assert all(isinstance(value, str) for value in environment.values())
