import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.coupling import ChannelGroup, Member, Unprunable, coupled_groups, first_line, keep_map, verify
from tests.search_spaces.networks import build


def found(name: str) -> tuple[dict[str, ChannelGroup], dict[str, str]]:
    teacher, inputs = build(name)
    groups, refused = coupled_groups(teacher, tuple(tensor[:2] for tensor in inputs))
    return {group.root: group for group in groups}, {item.root: item.reason for item in refused}


def axes(group: ChannelGroup) -> set[tuple[str, str]]:
    return {(member.module, member.side) for member in group.members}


def test_a_residual_stream_is_one_group() -> None:
    groups, refused = found("resnet")
    assert list(groups) == ["stem", "block1.conv1", "down", "stage.0.conv1"]
    assert axes(groups["stem"]) == {
        ("stem", "out"),
        ("block1.conv1", "in"),
        ("block1.conv2", "out"),
        ("block1.bn2", "out"),
        ("down", "in"),
    }
    assert refused == {"head": "its channels are the network's output"}


def test_concatenation_shifts_the_features() -> None:
    groups, _ = found("densenet")
    features = {
        root: {m.module: m.features[:2].tolist() for m in group.members if m.side == "in"}
        for root, group in groups.items()
    }
    assert features == {
        "a": {"b": [[0], [1]], "c": [[0], [1]], "head": [[0, 1, 2, 3], [4, 5, 6, 7]]},
        "b": {"c": [[8], [9]], "head": [[32, 33, 34, 35], [36, 37, 38, 39]]},
        "c": {"head": [[80, 81, 82, 83], [84, 85, 86, 87]]},
    }


def test_depthwise_convolutions_carry() -> None:
    groups, _ = found("mobilenet")
    assert axes(groups["block.body.0"]) == {
        ("block.body.0", "out"),
        ("block.body.1", "out"),
        ("block.body.3", "out"),
        ("block.body.4", "out"),
        ("block.body.6", "in"),
    }
    assert ("depthwise", "out") in axes(groups["stem"])


def test_a_grouped_convolution_is_cut_evenly() -> None:
    groups, _ = found("grouped")
    members = {(m.module, m.side): m.features for m in groups["before"].members}
    assert (groups["before"].n_channels, groups["before"].n_units) == (16, 4)
    assert members["before", "out"].tolist() == [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]
    assert members["grouped", "in"].tolist() == members["before", "out"].tolist()
    assert (groups["grouped"].n_channels, groups["grouped"].n_units) == (24, 6)


def test_reasons() -> None:
    assert found("channel_norm")[1]["a"] == "norm is a LayerNorm, which cannot be cut"
    assert found("upsampling")[1]["conv"] == "up is a ConvTranspose2d, which cannot be cut"
    assert found("hard_coded_view")[1]["conv"].startswith("the network does not run with fewer channels there")
    assert found("tied")[1]["a"] == "a shares its weights with another layer"
    assert found("transformer")[1]["patches"] == "block.norm1 is a LayerNorm, which cannot be cut"
    assert list(found("transformer")[0]) == ["block.fc1"]


class Functional(nn.Module):
    """Two layers with some operation between them."""

    def __init__(self, n_between: int = 12) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 12), nn.Linear(n_between, 3)

    def between(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.between(self.a(x)))


class Softmax(Functional):
    def between(self, x: Tensor) -> Tensor:
        return x.softmax(1)


class Glu(Functional):
    def __init__(self) -> None:
        super().__init__(6)

    def between(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, 1)
        return left * torch.sigmoid(right)


class Swapped(Functional):
    def between(self, x: Tensor) -> Tensor:
        return x.flip(1)


class FirstFour(Functional):
    def __init__(self) -> None:
        super().__init__(4)

    def between(self, x: Tensor) -> Tensor:
        return x[:, :4]


class Scaled(Functional):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.rand(12))

    def between(self, x: Tensor) -> Tensor:
        return x * self.gain


class TwoOutputs(Functional):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x), x


def only(module: nn.Module) -> ChannelGroup | str:
    groups, refused = coupled_groups(module.eval(), (torch.randn(2, 5),))
    reasons = [item.reason for item in refused if item.root in ("a", "(whole network)")]
    return next((group for group in groups if group.root == "a"), None) or reasons[0]


def test_operations_between_layers() -> None:
    assert only(Softmax()) == "other layers mix its channels (a normalisation or a sum over channels, for instance)"
    glu = only(Glu())
    assert isinstance(glu, ChannelGroup)
    assert (glu.n_channels, glu.n_units) == (12, 6)
    assert glu.members[0].features.tolist()[:2] == [[0, 6], [1, 7]]
    swapped = only(Swapped())
    assert isinstance(swapped, ChannelGroup)
    assert {m.module: m.features[0].tolist() for m in swapped.members} == {"a": [0], "b": [11]}
    assert str(only(Scaled())).startswith("the network does not run with fewer channels there")
    assert isinstance(only(FirstFour()), str)
    assert str(only(TwoOutputs())).startswith("its channels cannot be traced")


class OneWrong(nn.Module):
    """Of two groups the first is scaled by a parameter that is not cut."""

    def __init__(self) -> None:
        super().__init__()
        self.scaled, self.c = Scaled(), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.scaled(x).relu())
        return y


def test_a_wrong_group_does_not_take_the_others_with_it() -> None:
    groups, refused = coupled_groups(OneWrong().eval(), (torch.randn(2, 5),))
    assert [group.root for group in groups] == ["scaled.b"]
    assert {item.root: item.reason.partition(" (")[0] for item in refused} == {
        "scaled.a": "the network does not run with fewer channels there",
        "c": "its channels are the network's output",
    }


def test_parametrised_weights_are_refused() -> None:
    network = Functional()
    nn.utils.parametrizations.weight_norm(network.a)
    assert only(network) == "the weight of a is computed from other parameters"


def test_verify_catches_a_wrong_index() -> None:
    teacher, inputs = build("densenet")
    example = tuple(tensor[:2] for tensor in inputs)
    groups, _ = coupled_groups(teacher, example)
    group = next(g for g in groups if g.root == "b")
    assert verify(teacher, [group], example) is None
    assert verify(teacher, groups, example) is None
    shifted = tuple(Member(m.module, m.side, m.features - 8 if m.module == "c" else m.features) for m in group.members)
    wrong = ChannelGroup(group.root, group.n_channels, group.n_units, shifted)
    assert verify(teacher, [wrong], example) is not None
    assert verify(teacher, [wrong if one is group else one for one in groups], example) is not None


def test_keep_map_joins_groups_on_one_axis() -> None:
    teacher, inputs = build("densenet")
    groups, _ = coupled_groups(teacher, tuple(tensor[:2] for tensor in inputs))
    by_root = {group.root: group for group in groups}
    keeps = keep_map({by_root["a"]: np.arange(2), by_root["b"]: np.array([0, 11])}, teacher)
    np.testing.assert_array_equal(keeps["c"].inputs, [0, 1, 8, 19])
    np.testing.assert_array_equal(keeps["b"].inputs, [0, 1])
    np.testing.assert_array_equal(keeps["b"].outputs, [0, 11])
    assert keeps["c"].outputs is None


def test_first_line() -> None:
    assert first_line(RuntimeError("one\ntwo")) == "one"
    assert first_line(AssertionError()) == "AssertionError"
    assert Unprunable("a", "b") == Unprunable("a", "b")


def test_in_place_operations_do_not_disturb_the_tracing() -> None:
    layers = nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 1), nn.Flatten()
    groups, refused = coupled_groups(nn.Sequential(*layers).eval(), (torch.randn(2, 2, 5, 5),))
    assert [(group.root, axes(group)) for group in groups] == [("0", {("0", "out"), ("1", "out"), ("3", "in")})]
    assert refused == [Unprunable("3", "its channels are the network's output")]


def test_the_batch_may_be_folded_into_other_axes() -> None:
    class Folded(Functional):
        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.relu(self.a(x.reshape(-1, 5)))).reshape(len(x), 3, -1)

    groups, _ = coupled_groups(Folded().eval(), (torch.randn(2, 3, 5),))
    assert [(group.root, group.n_units) for group in groups] == [("a", 12)]


def test_the_encoder_layer_of_torch() -> None:
    network = nn.Sequential(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), nn.Linear(16, 3)).eval()
    groups, refused = coupled_groups(network, (torch.randn(2, 6, 16),))
    assert {group.root for group in groups} <= {"0.linear1"}
    assert refused
