"""What a search needs to know: from flags and a YAML file, checked, and saved resolved beside the run."""

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from latency_models.errors import LatencyError
from latency_models.profiles import resolve
from latency_models.target import Target
from nas.budget import LatencyBudget, TimeBudget, parse_latency_budget, parse_share, parse_time_budget
from nas.errors import UserError
from nas.files import SETTINGS_FILE, write_atomic

PRECISIONS = ("float32", "float16", "int8")
LATENCIES = ("measured", "predicted")
TRANSFORMS = ("channels", "depth", "resolution", "factorize", "precision")


@dataclass(frozen=True)
class Settings:
    """Settings of one search. Budgets are kept as written and parsed by the properties.

    Attributes:
        task_or_teacher: `digits`, `fashion-mnist`, or `path/teacher.py:build`.
        latency_budget: a time (`2ms`) or a share of the teacher's latency (`40%`), the same on every target.
        target: what latencies hold for; several share all training. See `latency_models.profiles.resolve`.
        weights: safetensors (or a checkpoint of plain tensors) for the teacher, or None.
        data: `path/data.py:make_data`, or None for a built-in task.
        data_dir: folder of a built-in task's files, or None for the usual place.
        latency: `measured`, or `predicted`: students are discarded by latencies that were learned from measured ones,
            and what is on the front is measured.
        max_accuracy_drop: how much worse than the teacher the student of choice may be, in percentage points.
        time_budget: of the whole search, e.g. `5m`; `cpu:5m` counts CPU time of all its processes instead.
        out: the run's folder, or None for a fresh name under `results/`.
        seed: of everything random.
        n_threads: of one inference; 0 takes what the target's profile says (1 for this CPU).
        training_threads: 0 chooses by the machine.
        n_calibration: inputs used for repair and int8 calibration.
        precision: the precisions on offer where a target can do them; the teacher's own, float32, is always among them.
        transforms: the kinds of change on offer.
        quiet: whether progress is left out.

    Raises:
        UserError: a value that cannot be.
    """

    task_or_teacher: str
    latency_budget: str
    target: tuple[str, ...] = ("cpu",)
    weights: Path | None = None
    data: str | None = None
    data_dir: Path | None = None
    latency: str = "measured"
    max_accuracy_drop: str = "1%"
    time_budget: str = "5m"
    out: Path | None = None
    seed: int = 0
    n_threads: int = 0
    training_threads: int = 0
    n_calibration: int = 256
    precision: tuple[str, ...] = PRECISIONS
    transforms: tuple[str, ...] = TRANSFORMS
    quiet: bool = False

    def __post_init__(self) -> None:
        if not self.task_or_teacher.strip():
            raise UserError(
                "The task or teacher is empty.", "Name `digits`, `fashion-mnist` or `path/teacher.py:build`."
            )
        # Parsing is the check.
        _in_range("seed", self.seed, 0, 2**32 - 1)
        _in_range("n_threads", self.n_threads, 0, 1024)
        _ = self.budget, self.max_accuracy_drop_share, self.duration, self.targets
        _in_range("training_threads", self.training_threads, 0, 1024)
        _in_range("n_calibration", self.n_calibration, 1, 10**9)
        _among("latency", (self.latency,), LATENCIES)
        _among("precision", self.precision, PRECISIONS)
        _among("transforms", self.transforms, TRANSFORMS)
        if "float32" not in self.precision:
            raise UserError("precision leaves out float32, the teacher's own.", "Write `float32,int8` or `float32`.")

    @property
    def budget(self) -> LatencyBudget:
        """The latency budget, parsed."""
        return parse_latency_budget(self.latency_budget)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets' profiles, in the order given."""
        try:
            found = tuple(resolve(spec, self.n_threads or None) for spec in self.target)
        except LatencyError as error:
            raise UserError(error.problem, error.remedy) from error
        labels = [target.label for target in found]
        if not labels or len(set(labels)) != len(labels):
            problem = "names one twice" if labels else "is empty"
            raise UserError(f"The setting target {problem}.", "Name each target once, e.g. `cpu`.")
        return found

    @property
    def duration(self) -> TimeBudget:
        """The time budget, parsed."""
        return parse_time_budget(self.time_budget)

    @property
    def max_accuracy_drop_share(self) -> float:
        """The greatest accuracy drop as a fraction: 0.01 for one percentage point."""
        return parse_share(self.max_accuracy_drop)


def load_settings(yaml_path: Path | None, overrides: Mapping[str, object]) -> Settings:
    """The settings of a YAML file, if any, under those of the flags.

    Keys are spelled as the flags, with dashes or underscores. Relative paths, in the file too, start from the working
    directory, and are made absolute, so that a run can be resumed from anywhere.

    Args:
        yaml_path: the file, or None.
        overrides: flags by name; a value of None is a flag that was not given.

    Raises:
        UserError: the file cannot be read, a key is unknown (the nearest known one is named) or given twice, a value is
            of the wrong type or cannot be, or a setting without a default is missing.
    """
    given = {} if yaml_path is None else _checked(_read_yaml(yaml_path), f" in {yaml_path}")
    given |= _checked({key: value for key, value in overrides.items() if value is not None}, "")
    for field in fields(Settings):
        if field.default is MISSING and field.name not in given:
            name = _flag(field.name)
            raise UserError(
                f"The setting {name} is missing.", f"Give it on the command line or as `{name}:` in the YAML."
            )
    return Settings(**given)


def save_settings(settings: Settings, run: Path) -> None:
    """Write `settings.yaml` into the run's folder, every setting spelled out, `out` being the run.

    Raises:
        UserError: the disk is full.
    """
    resolved = replace(settings, out=run.absolute())
    text = yaml.safe_dump(
        {_flag(field.name): _plain(getattr(resolved, field.name)) for field in fields(Settings)},
        sort_keys=False,
        allow_unicode=True,
    )
    write_atomic(run / SETTINGS_FILE, text.encode())


def read_settings(run: Path) -> Settings:
    """The settings saved in a run, `out` being where the run lies now.

    Raises:
        UserError: the folder is not a run, or its settings are damaged.
    """
    if not (run / SETTINGS_FILE).is_file():
        raise UserError(f"{run} is not a run: it has no {SETTINGS_FILE}.", "Name the folder of a run in results/.")
    return load_settings(run / SETTINGS_FILE, {"out": run})


def _read_yaml(path: Path) -> Mapping[Any, object]:
    remedy = "Write one `name: value` a line, with the names of the flags."
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"The settings {path} cannot be read ({error.strerror}).", "Check the path.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"The settings {path} are not YAML ({' '.join(str(error).split())}).", remedy) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"The settings {path} hold a {type(content).__name__}, not names and values.", remedy)
    return content


def _checked(raw: Mapping[Any, object], where: str) -> dict[str, Any]:
    """Known names in their Python spelling, with values of the right type."""
    kinds = {field.name: field.type for field in fields(Settings)}
    checked: dict[str, Any] = {}
    for key, value in raw.items():
        name = str(key).replace("-", "_")
        if name not in kinds:
            near = [kind for kind in kinds if name in kind.split("_")] or difflib.get_close_matches(name, kinds, n=1)
            hint = f"Did you mean `{_flag(near[0])}`? " if near else ""
            known = ", ".join(_flag(kind) for kind in kinds)
            raise UserError(f"There is no setting `{key}`{where}.", f"{hint}The settings are {known}.")
        if name in checked:
            raise UserError(f"The setting {_flag(name)} is given twice{where}.", "Keep one of the two.")
        if value is not None:
            checked[name] = _convert(name, kinds[name], value, where)
    return checked


def _convert(name: str, kind: Any, value: object, where: str) -> Any:
    """The value as its field's type, or the sentence that says what is wrong with it."""
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind == tuple[str, ...] and isinstance(value, str | list | tuple):
        words = [word.strip() for word in value.split(",")] if isinstance(value, str) else list(value)
        if all(isinstance(word, str) for word in words):
            return tuple(words)
    if kind == Path | None and isinstance(value, str | Path):
        return Path(value).expanduser().absolute()
    if name == "target" and isinstance(value, str | list | tuple):
        return tuple(absolute_profile(word) for word in ([value] if isinstance(value, str) else map(str, value)))
    if kind in (str, str | None) and isinstance(value, str):
        return _absolute_source(value) if name in ("task_or_teacher", "data") else value
    wanted = {bool: "true or false", int: "a whole number", tuple[str, ...]: "a list of words"}.get(kind, "a text")
    if kind == Path | None:
        wanted = "a path"
    example = {"latency_budget": " such as 40%", "time_budget": " such as 5m", "max_accuracy_drop": " such as 1%"}
    raise UserError(
        f"The setting {_flag(name)}{where} is {value!r}, which is not {wanted}.",
        f"Write {wanted}{example.get(name, '')}.",
    )


def _absolute_source(text: str) -> str:
    """`path/file.py:function` with an absolute path; anything else unchanged."""
    path, colon, function = text.rpartition(":")
    return f"{Path(path).expanduser().absolute()}{colon}{function}" if path.endswith(".py") else text


def absolute_profile(spec: str) -> str:
    """A target whose profile is a file, with an absolute path; anything else unchanged."""
    how, colon, path = spec.rpartition(":")
    return f"{how}{colon}{Path(path).expanduser().absolute()}" if path.endswith((".yaml", ".yml")) else spec


def _in_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UserError(f"The setting {_flag(name)} is {value}.", f"Write a whole number from {low} to {high}.")


def _among(name: str, words: tuple[str, ...], known: tuple[str, ...]) -> None:
    wrong = [word for word in words if word not in known]
    if wrong or not words or len(set(words)) != len(words):
        problem = f"names the unknown `{wrong[0]}`" if wrong else "names one twice" if words else "is empty"
        raise UserError(f"The setting {_flag(name)} {problem}.", f"Choose among {', '.join(known)}.")


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
