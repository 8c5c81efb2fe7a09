"""A made-up run: the teacher, five students that no other beats, three that are beaten, and a failure."""

from dataclasses import replace

import numpy as np

from latency_models.latency import Latency, Visit
from nas.record import Record
from search_spaces.recipe import Choice, Recipe, Site

TEACHER_S = 2.6e-3
TARGET = "cpu-1t"
ENVIRONMENT = {"processor": "AMD EPYC 7B13", "onnxruntime": "1.23.2", "torch": "2.13.0+cpu"}

SITES: dict[str, Site] = {
    **{
        f"channels:blocks.{i}.conv1": Site(f"channels:blocks.{i}.conv1", "channels", (width, width // 2, width // 4))
        for i, width in enumerate((32, 32, 64, 64, 128, 128))
    },
    **{f"depth:blocks.{i}": Site(f"depth:blocks.{i}", "depth", ("keep", "drop")) for i in (1, 3, 5)},
    "factorize:blocks.4.conv2": Site("factorize:blocks.4.conv2", "factorize", ("keep", "tucker2:0.5", "spatial:0.25")),
    "precision": Site("precision", "precision", ("float32", "int8")),
}


def make_latency(ratio: float, half_width: float = 0.01, n_samples: int = 8, n_visits: int = 2) -> Latency:
    """A latency of `ratio` of the teacher's, its interval `half_width` (relative) to either side."""
    rng = np.random.default_rng(round(1e6 * ratio))
    visits = []
    for _ in range(n_visits):
        anchor = TEACHER_S * rng.lognormal(0.0, 0.01, n_samples)
        visits.append(Visit(tuple((anchor * ratio).tolist()), tuple(anchor.tolist())))
    low, high = ratio * (1 - half_width), ratio * (1 + half_width)
    seconds = (TEACHER_S * ratio, TEACHER_S * low, TEACHER_S * high)
    return Latency(*seconds, ratio, low, high, "measured", TARGET, tuple(visits), ENVIRONMENT)


def make_student(
    choices: dict[str, Choice], accuracy: float, test_accuracy: float | None, ratio: float, half_width: float = 0.01
) -> Record:
    recipe = Recipe.of(choices)
    return Record(
        recipe=recipe,
        rung=2 if test_accuracy is not None else 0,
        accuracy=accuracy,
        test_accuracy=test_accuracy,
        latency=make_latency(ratio, half_width),
        n_parameters=round(700_000 * ratio),
        n_macs=round(40_000_000 * ratio),
        size_bytes=round(2_800_000 * ratio),
        artifact=f"artifacts/{recipe.digest}.onnx",
        artifact_digest=recipe.digest.ljust(64, "0"),
        seed=7,
        train_s=95.5,
        note="planned",
        environment=ENVIRONMENT,
    )


def widths(share: int, *blocks: int) -> dict[str, Choice]:
    """The first convolution of these blocks cut to 1 / share of its channels."""
    return {f"channels:blocks.{i}.conv1": int(SITES[f"channels:blocks.{i}.conv1"].unchanged) // share for i in blocks}


TEACHER = Record(
    Recipe(),
    accuracy=0.9372,
    test_accuracy=0.9361,
    latency=replace(make_latency(1.0), ratio_low=1.0, ratio_high=1.0),
    n_parameters=700_000,
    n_macs=40_000_000,
    size_bytes=2_800_000,
    artifact="artifacts/teacher.onnx",
    artifact_digest="ab" * 32,
    environment=ENVIRONMENT,
)
INT8: dict[str, Choice] = {"precision": "int8"}
DROP: dict[str, Choice] = {"depth:blocks.1": "drop", "depth:blocks.3": "drop"}
MEMBERS = (
    make_student({**widths(4, 0, 2, 4, 5), **DROP, **INT8}, 0.9081, 0.9070, 0.082),
    make_student({**widths(4, 0, 2), **widths(2, 4, 5), **DROP, **INT8}, 0.9240, 0.9229, 0.118),
    make_student({**widths(2, 0, 2, 4, 5), **DROP, **INT8}, 0.9313, 0.9305, 0.190, 0.03),
    make_student({**widths(2, 0, 1, 2, 3, 4, 5), **INT8}, 0.9340, 0.9332, 0.198, 0.03),
    make_student({**widths(2, 4, 5), "factorize:blocks.4.conv2": "tucker2:0.5"}, 0.9368, 0.9358, 0.610),
)
DOMINATED = (
    make_student({**widths(4, 4), **DROP}, 0.9202, 0.9190, 0.520),
    make_student(widths(2, 0), 0.9350, None, 0.880),
    make_student({"factorize:blocks.4.conv2": "spatial:0.25"}, 0.9295, None, 0.930),
)
FAILED = Record(Recipe.of({"channels:blocks.3.conv1": 16}), failure="export: outputs differ by 0.3", seed=7)
RECORDS = (DOMINATED[0], MEMBERS[4], FAILED, MEMBERS[0], MEMBERS[2], DOMINATED[1], MEMBERS[1], DOMINATED[2], MEMBERS[3])
