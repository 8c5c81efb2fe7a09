import time
from dataclasses import replace
from pathlib import Path

import pytest

from latency_models import tvm_backend
from latency_models.host import n_cores
from tests.latency_models.tvm_backend.networks import TARGET, network, node, normal

pytest.importorskip("tvm", reason="TVM is not installed")


@pytest.mark.skipif(n_cores() < 2, reason="this machine has one core")
def test_as_many_threads_work_as_the_target_says_however_often_it_changes(tmp_path: Path) -> None:
    """Another thread's CPU time is what the process used beyond this thread; this thread spins while it waits."""
    feed = {"x": normal(1, 32, 24, 24)}
    weight = {"w": normal(64, 32, 3, 3)}
    artifact = network(tmp_path / "n.onnx", [node("Conv", "x w", pads=[1, 1, 1, 1])], feed, weight)
    alone_s = 0.0
    for n_threads in (1, 2, 1, 2):
        loaded = tvm_backend.load(artifact, replace(TARGET, n_threads=n_threads), feed)
        all_s, own_s = time.process_time(), time.thread_time()
        for _ in range(100):
            loaded.run()
        all_s, own_s = time.process_time() - all_s, time.thread_time() - own_s
        alone_s = own_s if n_threads == 1 else alone_s
        assert (all_s - own_s > 0.1 * alone_s) == (n_threads == 2)
