"""What the tracing exporter is asked for."""

import onnx
import pytest
import torch
from torch import Tensor, nn

from nas.trace import OPSET, input_names, onnx_bytes


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2)
        self.layer = nn.Conv2d(2, 3, 1)

    def forward(self, image: Tensor, number: Tensor) -> Tensor:
        answer: Tensor = self.norm(self.layer(image)[:, :2]) + number[:, :, None, None]
        return answer


EXAMPLE = (torch.zeros(4, 2, 5, 5), torch.zeros(4, 1))


def test_names_of_inputs() -> None:
    assert input_names(1) == ["input"]
    assert input_names(2) == ["input_0", "input_1"]


def test_the_batch_is_free_and_the_graph_says_its_names() -> None:
    model = onnx.load_from_string(onnx_bytes(TwoInputs().eval(), EXAMPLE))
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"input_0": ["batch", 2, 5, 5], "input_1": ["batch", 1], "output": ["batch", 2, 5, 5]}
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]


@pytest.mark.parametrize(("own_domain", "n_norms"), [(None, 0), ("ours", 1)])
def test_batch_norms_are_folded_unless_the_graph_has_nodes_of_its_own(own_domain: str | None, n_norms: int) -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)).eval()
    model = onnx.load_from_string(onnx_bytes(module, EXAMPLE[:1], own_domain))
    assert [node.op_type for node in model.graph.node].count("BatchNormalization") == n_norms
