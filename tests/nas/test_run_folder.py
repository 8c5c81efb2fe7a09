from datetime import datetime
from pathlib import Path

import pytest

from nas.errors import UserError
from nas.run_folder import claimed_folder, fresh_run_folder, refuse_run

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


def test_a_folder_of_the_users_own_is_made_and_may_be_there(tmp_path: Path) -> None:
    for _ in range(2):
        assert claimed_folder(tmp_path / "a" / "b", "digits", NOW) == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


def test_a_fresh_folder_lies_in_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert claimed_folder(None, "digits", NOW) == Path("results/digits-20261122-031500")


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="cannot be made"):
            claimed_folder(out, "digits", NOW)


def test_a_run_is_refused_and_any_other_folder_is_not(tmp_path: Path) -> None:
    refuse_run(tmp_path)
    refuse_run(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "ledger.sqlite").touch()
    with pytest.raises(UserError, match="holds a run already"):
        refuse_run(tmp_path)
