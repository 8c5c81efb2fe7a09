import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from latency_models.cache import Key, add_visits, load_visits, user_folder
from latency_models.errors import LatencyError
from latency_models.latency import Visit
from latency_models.timing import Plan

KEY = Key("a" * 64, "b" * 64, "cpu-1t", Plan(), {"onnxruntime": "1.0"})
FIRST, SECOND = Visit((0.1 + 0.2,), (1 / 3,)), Visit((1.0, 2.0), (3.0, 4.0))


def test_visits_accumulate_in_order(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    assert load_visits(path, KEY) == ()
    assert not path.exists()
    add_visits(path, KEY, [FIRST])
    add_visits(path, KEY, [SECOND, FIRST])
    assert load_visits(path, KEY) == (FIRST, SECOND, FIRST)
    assert [file.name for file in tmp_path.iterdir()] == ["cache.sqlite"]


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, artifact_digest="c" * 64),
        replace(KEY, anchor_digest="c" * 64),
        replace(KEY, target_label="cpu-onnxruntime-2t"),
        replace(KEY, plan=Plan(n_pairs=1)),
        replace(KEY, environment={"onnxruntime": "1.1"}),
    ],
)
def test_unequal_keys_never_mix(tmp_path: Path, other: Key) -> None:
    path = tmp_path / "cache.sqlite"
    add_visits(path, KEY, [FIRST])
    add_visits(path, other, [SECOND])
    assert load_visits(path, KEY) == (FIRST,)
    assert load_visits(path, other) == (SECOND,)


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_text("something else entirely, long enough to be read as a header of a database file" * 20)
    with pytest.raises(LatencyError, match="cannot be used"):
        load_visits(path, KEY)
    with pytest.raises(LatencyError, match="cannot be used"):
        add_visits(path, KEY, [FIRST])


WRITER = """
import sys
from pathlib import Path
from tests.latency_models.test_cache import FIRST, KEY, SECOND, add_visits
while True:
    add_visits(Path(sys.argv[1]), KEY, [FIRST, SECOND])
    print("added", flush=True)
"""


def test_nothing_is_lost_or_torn_by_kill(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        n_added = sum(writer.stdout.readline() == "added\n" for _ in range(20))
        os.kill(writer.pid, signal.SIGKILL)
        n_added += writer.stdout.read().count("added")
    visits = load_visits(path, KEY)
    assert n_added >= 20
    assert len(visits) in (2 * n_added, 2 * n_added + 2)
    assert visits == (FIRST, SECOND) * (len(visits) // 2)
    add_visits(path, KEY, [FIRST])
    assert load_visits(path, KEY) == (*visits, FIRST)


def test_the_users_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_folder() == tmp_path / "understudy"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert user_folder() == tmp_path / "home" / ".cache" / "understudy"
