"""The public search spaces as ONNX graphs, so that they go the product's own way from a file to kernels.

NAS-Bench-201 (Dong and Yang 2020), FBNet (Wu et al. 2019) as HW-NAS-Bench (Li et al. 2021) scales it to CIFAR-100, and
the MobileNetV3 space of once-for-all (Cai et al. 2020).
"""

from collections.abc import Sequence

import numpy as np
import onnx

from prediction.drawing import Drawing

CELLS, CELL_CHANNELS, CELL_SIZE = 5, (16, 32, 64), 32
FBNET_LAYERS, FBNET_STRIDES = (1, 4, 4, 4, 4, 4, 1), (1, 1, 2, 2, 1, 2, 1)
FBNET_CHANNELS, FBNET_STEM, FBNET_HEAD = (16, 24, 32, 64, 112, 184, 352), 16, 1504
FBNET_BLOCKS = ((3, 1, 1), (3, 1, 2), (3, 3, 1), (3, 6, 1), (5, 1, 1), (5, 1, 2), (5, 3, 1), (5, 6, 1), None)
"""Of each operation the window, the expansion and the groups of its pointwise convolutions; the last one skips."""
OFA_CHANNELS, OFA_STRIDES = (24, 40, 80, 112, 160), (2, 2, 2, 1, 2)
OFA_SWISH, OFA_GATED = (False, False, True, True, True), (False, True, False, True, True)


def nas_bench_201(operations: Sequence[str], weights: np.random.Generator | None = None) -> onnx.ModelProto:
    """The network of a cell: C = 16, N = 5, 32 x 32 images, 10 classes.

    Args:
        operations: of the edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3.
        weights: as in `Drawing`.
    """
    net = Drawing(CELL_SIZE, weights)
    x = net.conv(net.x, CELL_CHANNELS[0], 3)
    for stage, channels in enumerate(CELL_CHANNELS):
        if stage:
            inner = net.conv(net.relu(net.conv(x, channels, 3, 2)), channels, 3)
            x = net.add(inner, net.conv(net.average(x, 2, 2), channels, 1))
        for _ in range(CELLS):
            x = _cell(net, x, operations)
    return net.model(net.head(net.relu(net.norm(x)), 10))


def _cell(net: Drawing, x: str, operations: Sequence[str]) -> str:
    states, waiting = [x], iter(operations)
    for position in range(1, 4):
        made = [_edge(net, states[source], next(waiting)) for source in range(position)]
        total = made[0]
        for other in made[1:]:
            total = net.add(total, other)
        states.append(total)
    return states[-1]


def _edge(net: Drawing, x: str, operation: str) -> str:
    if operation == "none":
        return net.zeroed(x)
    if operation == "skip_connect":
        return x
    if operation == "avg_pool_3x3":
        return net.average(x, 3, 1)
    return net.conv(net.relu(x), net.channels[x], int(operation[-1]))


def fbnet(blocks: Sequence[int], weights: np.random.Generator | None = None) -> onnx.ModelProto:
    """The network of 22 operations (positions in `FBNET_BLOCKS`) for 32 x 32 images and 100 classes."""
    net = Drawing(32, weights)
    x, size, waiting = net.relu(net.conv(net.x, FBNET_STEM, 3)), 32, iter(blocks)
    for n_layers, n_out, stage_stride in zip(FBNET_LAYERS, FBNET_CHANNELS, FBNET_STRIDES, strict=True):
        for layer in range(n_layers):
            stride = stage_stride if layer == 0 else 1
            x = _fbnet_block(net, x, FBNET_BLOCKS[next(waiting)], n_out, stride, size)
            size //= stride
    return net.model(net.head(net.relu(net.conv(x, FBNET_HEAD, 1)), 100))


def _fbnet_block(net: Drawing, x: str, block: tuple[int, int, int] | None, n_out: int, stride: int, size: int) -> str:
    same = stride == 1 and net.channels[x] == n_out
    if block is None:
        return x if same else net.relu(net.conv(x, n_out, 1, stride))
    kernel, expansion, groups = block
    n_inner = net.channels[x] * expansion
    inner = net.relu(net.conv(x, n_inner, 1, groups=groups))
    if groups > 1:
        inner = net.shuffled(inner, groups, size)
    inner = net.relu(net.conv(inner, n_inner, kernel, stride, groups=n_inner))
    out = net.conv(inner, n_out, 1, groups=groups)
    return net.add(out, x) if same else out


def once_for_all(
    kernels: Sequence[int],
    expansions: Sequence[int],
    depths: Sequence[int],
    size: int,
    weights: np.random.Generator | None = None,
) -> onnx.ModelProto:
    """The network of 5 stages of up to 4 blocks for images of this size and 1000 classes.

    Args:
        kernels, expansions: of 20 blocks; of a stage only as many count as it is deep.
        depths: of the stages.
        size: rows and columns of the image.
        weights: as in `Drawing`.
    """
    net = Drawing(size, weights)
    x = net.hard_swish(net.conv(net.x, 16, 3, 2))
    x = net.add(net.conv(net.relu(net.conv(x, 16, 3, groups=16)), 16, 1), x)
    for stage, n_out in enumerate(OFA_CHANNELS):
        for i in range(depths[stage]):
            n_inner = net.channels[x] * expansions[4 * stage + i]
            activation = net.hard_swish if OFA_SWISH[stage] else net.relu
            stride = OFA_STRIDES[stage] if i == 0 else 1
            inner = activation(net.conv(x, n_inner, 1))
            inner = activation(net.conv(inner, n_inner, kernels[4 * stage + i], stride, groups=n_inner))
            if OFA_GATED[stage]:
                inner = net.gate(inner, -(-n_inner // 4 // 8) * 8)
            out = net.conv(inner, n_out, 1)
            x = net.add(out, x) if i else out
    x = net.node("GlobalAveragePool", net.hard_swish(net.conv(x, 960, 1)), channels=960)
    flat = net.node("Flatten", x, channels=960)
    return net.model(net.linear(net.hard_swish(net.linear(flat, 1280)), 1000))
