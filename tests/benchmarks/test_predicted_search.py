"""What the comparison of measured and predicted searches counts and prints."""

from pathlib import Path

from predicted_search import Outcome, counting, report

from latency_models.measured import Measured
from latency_models.target import Target
from latency_models.timing import Plan
from tests.latency_models.small_networks import FEED, convolutional


def test_ratios_are_of_all_seeds_together() -> None:
    measured = [Outcome(0.8, 100, 60, 70), Outcome(0.6, 100, 40, 50)]
    predicted = [Outcome(0.7, 30, 6, 90), Outcome(0.63, 10, 4, 80)]
    lines = report("fashion-mnist", measured, predicted)
    assert lines[0] == "fashion_mnist_seeds=2"
    assert "fashion_mnist_hypervolume_measured=0.7000" in lines
    assert "fashion_mnist_visits_predicted=40" in lines
    assert lines[-3:] == [
        "fashion_mnist_hypervolume_ratio=0.9500",
        "fashion_mnist_networks_ratio=0.1000",
        "fashion_mnist_visits_ratio=0.2000",
    ]


def test_every_visit_counts_and_a_network_once_whatever_its_weights(tmp_path: Path) -> None:
    teacher = convolutional(tmp_path / "teacher.onnx")
    first, again = convolutional(tmp_path / "a.onnx", 4), convolutional(tmp_path / "b.onnx", 4)
    other = convolutional(tmp_path / "c.onnx", 5)
    with counting() as counted, Measured(Target(), teacher, FEED, 0, Plan(n_pairs=2)) as model:
        model.latency(teacher)
        for one in (first, again, other):
            model.latency(one)
        model.visits({"x": first, "y": other})
    assert counted.n_visits == 6
    assert len(counted.networks) == 2
    assert Measured.visits.__name__ == "visits"
