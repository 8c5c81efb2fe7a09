"""A run: a folder that a search fills, that can be resumed, looked at, moved, and exported from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import nn

from nas.config import Settings, read_settings
from nas.confirm import STUDENTS
from nas.errors import UserError
from nas.export import load_student, save_pt2, saved_example
from nas.files import write_atomic
from nas.front import Front
from nas.fronts import fronts_of
from nas.latencies import everywhere
from nas.ledger import LEDGER_FILE, open_ledger
from nas.loading import task_of
from nas.record import Record
from search_spaces.recipe import Site

Format = Literal["onnx", "safetensors", "pt2"]


@dataclass(frozen=True, eq=False)
class Run:
    """What a search found.

    Attributes:
        folder: where everything of it lies.
    """

    folder: Path

    @classmethod
    def open(cls, folder: Path | str) -> "Run":
        """The run in a folder, finished or not.

        Raises:
            UserError: it is no run.
        """
        folder = Path(folder)
        if not (folder / LEDGER_FILE).is_file():
            raise UserError(f"{folder} is not a run: it has no {LEDGER_FILE}.", "Name the folder of a run in results/.")
        return cls(folder)

    @cached_property
    def settings(self) -> Settings:
        """As resolved when the search began."""
        return read_settings(self.folder)

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """Everything in the ledger, the teacher first."""
        with open_ledger(self.folder, create=False) as ledger:
            return tuple(ledger.records())

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        """The teacher's sites by name."""
        saved = self._fact("sites") or []
        return {name: Site(name, kind, tuple(choices)) for name, kind, choices in saved}

    @cached_property
    def teacher(self) -> Record:
        """The teacher's record.

        Raises:
            UserError: the search was cut off before it had one.
        """
        for record in self.records:
            if not record.recipe:
                return record
        raise UserError(f"{self.folder} has no results yet.", f"Go on with `nas resume {self.folder}`.")

    @cached_property
    def fronts(self) -> Mapping[str, Front]:
        """The front of each target by its label, in the order they were asked for: on the test set once the run is
        finished, until then on the validation set."""
        metric = str(self._fact("metric") or "accuracy")
        return fronts_of(self.records, self.teacher, tuple(everywhere(self.teacher)), metric=metric)

    @property
    def front(self) -> Front:
        """The front of the first target."""
        return next(iter(self.fronts.values()))

    @property
    def finished(self) -> bool:
        """Whether the search came to its end."""
        return bool(self._fact("confirmed"))

    @property
    def budget_ratios(self) -> Mapping[str, float]:
        """The latency budget as a share of the teacher's latency on each target."""
        latencies = everywhere(self.teacher)
        return {label: self.settings.budget.as_ratio(latency.median_s) for label, latency in latencies.items()}

    def front_on(self, target: str | None = None) -> Front:
        """The front of a target, by its name (`tvm-cpu`) or label (`tvm-cpu-1t`); by default the first one.

        Raises:
            UserError: the run has no such target, or more than one of that name.
        """
        if target is None:
            return self.front
        found = [label for label in self.fronts if label == target or label.rpartition("-")[0] == target]
        if len(found) != 1:
            raise UserError(f"This run has no target `{target}`.", f"Its targets are {', '.join(self.fronts)}.")
        return self.fronts[found[0]]

    def choice(self, target: str | None = None) -> Record:
        """The student this search was for: the most accurate that meets the latency budget and the accuracy drop.

        Args:
            target: name or label; by default the first one.

        Raises:
            UserError: there is none (the nearest miss is named), exit status 1.
        """
        front = self.front_on(target)
        return front.pick(
            "accurate",
            max_accuracy_drop=self.settings.max_accuracy_drop_share,
            latency_budget_ratio=self.budget_ratios[front.target],
        )

    def export(
        self, record: Record, out: Path | str, format: Format | None = None, teacher: nn.Module | None = None
    ) -> Path:
        """Writes a student as a file.

        Args:
            record: from `front.pick`.
            out: file to write.
            format: `onnx` is the very file that was timed and scored; `safetensors` holds weights and recipe, for
                `nas.load_student`; `pt2` is a `torch.export` program (float32 only). By default the ending of `out`.
            teacher: only for `pt2` of a run whose teacher was given from Python.

        Raises:
            UserError: unknown format, a student without such a file, or the file has changed since it was scored.
        """
        out = Path(out)
        kind = format or out.suffix.removeprefix(".")
        if not record.ok or (kind != "onnx" and not record.recipe):
            raise UserError(f"{record.id} cannot be exported as {kind}.", "Choose a student of the front.")
        if not out.parent.is_dir():
            raise UserError(f"The folder {out.parent} does not exist.", "Make it first, or write elsewhere.")
        if out.is_dir() or not os.access(out.parent, os.W_OK):
            raise UserError(f"{out} cannot be written.", "Name a file in a folder that is yours.")
        if kind == "onnx":
            write_atomic(out, self.artifact_file(record).read_bytes())
            return out
        weights = self.folder / STUDENTS / f"{record.id}.safetensors"
        if kind in ("safetensors", "pt2") and not weights.is_file():
            raise UserError(
                f"{record.id} was not confirmed, so its weights were not kept.", "Choose a student of the front."
            )
        if kind == "safetensors":
            write_atomic(out, weights.read_bytes())
            return out
        if kind == "pt2":
            module = teacher if teacher is not None else task_of(self.settings).teacher
            student = load_student(weights, module)
            if student.precision != "float32":
                raise UserError(f"{record.id} is int8, which a .pt2 file cannot hold here.", "Export it as .onnx.")
            return save_pt2(student, saved_example(weights), out)
        raise UserError(f"`{kind}` is not a format.", "Name the file .onnx, .safetensors or .pt2, or give --format.")

    def artifact_file(self, record: Record) -> Path:
        """The file that a record was timed and scored with.

        Raises:
            UserError: it is missing or has changed.
        """
        from latency_models.artifact import Artifact

        path = self.folder / record.artifact
        if not path.is_file() or Artifact.from_file(path, "float32").digest != record.artifact_digest:
            raise UserError(
                f"{path} is missing or no longer the file that was timed and scored.",
                "Restore it from a copy of the run, or search again.",
            )
        return path

    def _fact(self, key: str) -> Any:
        with open_ledger(self.folder, create=False) as ledger:
            return ledger.get_fact(key)
