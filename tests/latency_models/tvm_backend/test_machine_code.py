from dataclasses import replace
from pathlib import Path

import pytest

from latency_models.artifact import Artifact
from latency_models.tvm_backend.lowering import lower
from tests.latency_models.tvm_backend.networks import TARGET, network, node, normal

pytest.importorskip("tvm", reason="TVM is not installed")

from latency_models.tvm_backend import build, machine_code

SHAPES = {"x": (1, 8)}


def chain(path: Path, *widths: int) -> Artifact:
    """Linear layers with ReLU, from 8 features through these widths."""
    sizes = [8, *widths]
    constants = {f"w{i}": normal(sizes[i], sizes[i + 1], seed=i) for i in range(len(widths))}
    nodes = []
    for i in range(len(widths)):
        nodes.append(node("MatMul", ["x" if i == 0 else f"r{i - 1}", f"w{i}"], f"m{i}"))
        nodes.append(node("Relu", f"m{i}", "y" if i == len(widths) - 1 else f"r{i}"))
    return network(path, nodes, {"x": normal(1, 8)}, constants)


def test_equal_kernels_of_a_network_are_one(tmp_path: Path) -> None:
    lowered = lower(chain(tmp_path / "n.onnx", 16, 16, 16), TARGET, SHAPES)
    assert [(kernel.n_in, kernel.n_out, kernel.n_calls) for kernel in lowered.kernels] == [(8, 16, 1), (16, 16, 2)]
    assert [lowered.calls.index(name) for name in lowered.calls] == [0, 1, 1]


def test_a_second_network_compiles_only_what_is_new(tmp_path: Path) -> None:
    machine_code.clear_compiled()
    first = build.compile_network(chain(tmp_path / "a.onnx", 16, 32), TARGET, SHAPES)
    second = build.compile_network(chain(tmp_path / "b.onnx", 16, 48), TARGET, SHAPES)
    (one, _), (other, new) = first.codes.values(), second.codes.values()
    assert one == other
    assert not new.module.same_as(one.module)
    assert len({code.symbol for code in (*first.codes.values(), *second.codes.values())}) == 3


def test_another_processor_shares_nothing(tmp_path: Path) -> None:
    assert TARGET.processor is not None
    artifact, narrow = chain(tmp_path / "a.onnx", 16), replace(TARGET.processor, vector_bits=128)
    wide_codes = build.compile_network(artifact, TARGET, SHAPES).codes
    narrow_codes = build.compile_network(artifact, replace(TARGET, processor=narrow), SHAPES).codes
    assert {code.symbol for code in wide_codes.values()}.isdisjoint(code.symbol for code in narrow_codes.values())
