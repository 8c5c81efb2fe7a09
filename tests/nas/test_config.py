from pathlib import Path

import pytest

from nas.budget import TimeBudget
from nas.config import Settings, absolute_profile, load_settings, read_settings, save_settings
from nas.errors import UserError

FLAGS = {"task_or_teacher": "digits", "latency_budget": "40%"}


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "search.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults() -> None:
    settings = load_settings(None, FLAGS)
    assert settings == Settings("digits", "40%")
    assert settings.duration == TimeBudget(300.0)
    assert settings.max_accuracy_drop_share == 0.01
    assert settings.budget.ratio == 0.4
    assert (settings.seed, settings.n_threads, settings.training_threads, settings.n_calibration) == (0, 0, 0, 256)
    assert settings.precision == ("float32", "float16", "int8")
    assert settings.target == ("cpu",)
    assert settings.transforms == ("channels", "depth", "resolution", "factorize", "precision")


def test_flags_override_the_file_and_flags_not_given_do_not(tmp_path: Path) -> None:
    path = write(tmp_path, "task-or-teacher: digits\nlatency_budget: 40%\ntime-budget: 10m\nseed: 3\nquiet: true\n")
    settings = load_settings(path, {"time_budget": "20m", "seed": None, "latency-budget": None})
    assert settings == Settings("digits", "40%", time_budget="20m", seed=3, quiet=True)


def test_lists_are_lists_or_words_with_commas(tmp_path: Path) -> None:
    path = write(tmp_path, "precision: float32\ntransforms: [channels, depth]\n")
    assert load_settings(path, FLAGS).precision == ("float32",)
    assert load_settings(path, FLAGS).transforms == ("channels", "depth")
    assert load_settings(None, {**FLAGS, "precision": "int8, float32"}).precision == ("int8", "float32")


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = {"task_or_teacher": "a/teacher.py:build", "latency_budget": "2ms", "weights": "w.safetensors"}
    settings = load_settings(None, {**flags, "data": "my.module:make_data", "data_dir": Path("d")})
    assert settings.task_or_teacher == f"{tmp_path}/a/teacher.py:build"
    assert settings.weights == tmp_path / "w.safetensors"
    assert settings.data == "my.module:make_data"
    assert settings.data_dir == tmp_path / "d"


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("latency_bugdet: 40%", "no setting `latency_bugdet`", "`latency-budget`"),
        ("task: digits", "no setting `task`", "`task-or-teacher`"),
        ("zzz: 1", "no setting `zzz`", "The settings are task-or-teacher,"),
        ("seed: 1\nSeed: 2", "no setting `Seed`", "`seed`"),
        ("time-budget: 5m\ntime_budget: 6m", "time-budget is given twice", "Keep one"),
        ("seed: '3'", "seed in .* is '3', which is not a whole number", "whole number"),
        ("seed: true", "seed in .* is True, which is not a whole number", "whole number"),
        ("seed: -1", "seed is -1", "from 0 to"),
        ("n-threads: -1", "n-threads is -1", "from 0 to"),
        ("time-budget: 90", "time-budget in .* is 90, which is not a text", "such as 5m"),
        ("time-budget: banana", "time budget `banana`", "`5m`"),
        ("latency-budget: 0.4", "latency-budget in .* is 0.4, which is not a text", "such as 40%"),
        ("max-accuracy-drop: 200%", "more than 100", "percentage points"),
        ("quiet: 1", "not true or false", "true or false"),
        ("weights: 3", "weights in .* is 3, which is not a path", "path"),
        ("precision: [float32, int4]", "unknown `int4`", "float32, float16, int8"),
        ("precision: [float32, 8]", "not a list of words", "list of words"),
        ("precision: int8", "leaves out float32", "float32"),
        ("transforms: []", "transforms is empty", "channels, depth"),
        ("transforms: [depth, depth]", "names one twice", "Choose among"),
        ("task-or-teacher: ''", "is empty", "digits"),
        ("- 1", "hold a list", "name: value"),
        ("a: [", "are not YAML", "name: value"),
        ("!!python/object/apply:os.system ['touch pwned']", "are not YAML", "name: value"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, problem: str, remedy: str) -> None:
    path = write(tmp_path, text)
    base = {key: value for key, value in FLAGS.items() if key.replace("_", "-") not in text}
    with pytest.raises(UserError, match=problem) as caught:
        load_settings(path, base)
    assert remedy in caught.value.remedy
    assert caught.value.exit_status == 2


def test_what_has_no_default_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="latency-budget is missing"):
        load_settings(write(tmp_path, ""), {"task_or_teacher": "digits"})
    with pytest.raises(UserError, match="cannot be read"):
        load_settings(tmp_path / "missing.yaml", FLAGS)


def test_saved_settings_come_back_wherever_the_run_has_gone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    settings = load_settings(None, {**FLAGS, "seed": 7, "weights": "w", "out": run, "precision": ["float32"]})
    save_settings(settings, run)
    assert "max-accuracy-drop: 1%\n" in (run / "settings.yaml").read_text()
    assert read_settings(run) == settings
    moved = run.rename(tmp_path / "moved")
    assert read_settings(moved).out == moved


def test_a_folder_without_settings_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        read_settings(tmp_path)


def test_targets_are_profiles_each_named_once(tmp_path: Path) -> None:
    assert [target.label for target in load_settings(None, FLAGS).targets] == ["cpu-1t"]
    two = load_settings(write(tmp_path, "target: [cpu, tvm-cpu]\n"), FLAGS)
    assert [target.label for target in two.targets] == ["cpu-1t", "tvm-cpu-1t"]
    assert absolute_profile("tvm-rpc:pi4.yaml") == f"tvm-rpc:{Path.cwd() / 'pi4.yaml'}"
    assert absolute_profile("pi4.yaml") == str(Path.cwd() / "pi4.yaml")
    assert absolute_profile("estimate:cortex-a72") == "estimate:cortex-a72"
    with pytest.raises(UserError, match="names one twice"):
        load_settings(None, {**FLAGS, "target": ["cpu", "cpu"]})
    with pytest.raises(UserError, match="tvm-cpu"):
        load_settings(None, {**FLAGS, "target": ["tvm-cpuu"]})
