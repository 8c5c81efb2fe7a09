from dataclasses import replace
from pathlib import Path

import pytest

from latency_models.target import Processor, Target
from latency_models.tvm_backend import environment, tuned_store
from latency_models.tvm_backend.tuned_store import NOTHING, Stored, TunedKernel, folder_for, forget_known, keep, stored

PROCESSOR = Processor(vector_bits=256, n_vector_registers=16)
KERNEL = TunedKernel(
    "00ff00ff00ff00ff", "conv", [[["GetSBlock", [], ["c", "main"], ["b0"]]], []], 2e-6, 1e-6, 0.5, 0.4, 0.6, 9
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget_known()
    return tmp_path


def test_what_is_kept_is_found_again_and_a_search_in_vain_is_no_schedule() -> None:
    keep(KERNEL, PROCESSOR, 1)
    assert stored(PROCESSOR, 1).kernels == {"00ff00ff00ff00ff": KERNEL}
    keep(replace(KERNEL, trace=[]), PROCESSOR, 1)
    assert stored(PROCESSOR, 1) == Stored(searched=frozenset({"00ff00ff00ff00ff"}))


def test_other_threads_and_other_cores_share_nothing() -> None:
    keep(KERNEL, PROCESSOR, 1)
    assert stored(PROCESSOR, 2) == NOTHING
    assert stored(replace(PROCESSOR, vector_bits=512), 1) == NOTHING


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}', '{"format": 1, "facts": {}, "kernel": "other"}'])
def test_a_damaged_file_is_named_and_the_others_are_used(content: str) -> None:
    keep(KERNEL, PROCESSOR, 1)
    path = folder_for(PROCESSOR, 1) / "1111111111111111.json"
    path.write_text(content)
    found = stored(PROCESSOR, 1)
    assert list(found.kernels) == [KERNEL.kernel]
    (words,) = found.damaged
    assert words.startswith(f"The tuned kernel {path} cannot be read and is ignored (")
    assert words.endswith("); delete the file.")


def test_a_file_under_another_kernels_name_is_damaged() -> None:
    path = keep(KERNEL, PROCESSOR, 1)
    path.rename(path.with_stem("2222222222222222"))
    found = stored(PROCESSOR, 1)
    assert not found.kernels
    assert len(found.damaged) == 1


def test_the_environment_tells_tuned_latencies_from_untuned_and_from_otherwise_tuned() -> None:
    target = Target("tvm-cpu", "tvm", processor=PROCESSOR)
    environments = [environment(target)]
    for kernel in (KERNEL, replace(KERNEL, trace=[[], []])):
        keep(kernel, PROCESSOR, 1)
        forget_known()
        environments.append(environment(target))
    assert [one["n_tuned"] for one in environments] == ["0", "1", "1"]
    assert len({one["tuned"] for one in environments}) == 3


def test_a_process_stays_with_what_it_first_found() -> None:
    assert tuned_store.known(PROCESSOR, 1) == NOTHING
    keep(KERNEL, PROCESSOR, 1)
    assert tuned_store.known(PROCESSOR, 1) == NOTHING
