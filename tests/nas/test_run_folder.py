from datetime import datetime
from pathlib import Path

from nas.run_folder import fresh_run_folder

NOW = datetime(2026, 11, 22, 3, 15, 0)


def test_a_name_of_task_and_time_with_a_counter_where_taken(tmp_path: Path) -> None:
    folders = [fresh_run_folder(tmp_path / "results", "digits", NOW) for _ in range(3)]
    assert [folder.name for folder in folders] == [
        "digits-20261122-031500",
        "digits-20261122-031500-2",
        "digits-20261122-031500-3",
    ]
    assert all(folder.is_dir() and folder.parent == tmp_path / "results" for folder in folders)


def test_a_teacher_of_the_users_own_gives_its_files_name(tmp_path: Path) -> None:
    assert fresh_run_folder(tmp_path, "some/where/my net.py:build", NOW).name == "my-net-20261122-031500"
    assert fresh_run_folder(tmp_path, "fashion-mnist", NOW).name == "fashion-mnist-20261122-031500"
    assert fresh_run_folder(tmp_path, "../..", NOW).parent == tmp_path
