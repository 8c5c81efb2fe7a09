"""Everything known of one recipe: scores or the failure, seeds, budget spent, environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from latency_models.latency import Latency
from search_spaces.recipe import Recipe


@dataclass(frozen=True)
class Record:
    """One recipe at one rung. The pair (recipe.digest, rung) is its key in the ledger.

    Attributes:
        recipe: empty for the teacher.
        rung: 0 repaired only, 1 distilled.
        failure: why there are no scores, or None.
        accuracy: share on the validation set, through the artifact (a user's metric: its value).
        test_accuracy: the same on the test set; only for members of the final front.
        latency: end to end on the run's first target, or None where there is none.
        elsewhere: latencies on the run's other targets, by their labels.
        refusals: why there is no latency on a target, by its label: a precision or operator it cannot do.
        n_parameters, n_macs: of the student (multiply-accumulates of one inference).
        size_bytes: of the artifact.
        artifact: path relative to the run's folder, and its SHA-256.
        seed: of the build and training.
        train_s: seconds of distillation spent on these weights.
        note: one line on how it came about (planned, sampled, mutated ...).
        environment: versions, processor.
    """

    recipe: Recipe
    rung: int = 0
    failure: str | None = None
    accuracy: float | None = None
    test_accuracy: float | None = None
    latency: Latency | None = None
    elsewhere: Mapping[str, Latency] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)
    n_parameters: int = 0
    n_macs: int = 0
    size_bytes: int = 0
    artifact: str = ""
    artifact_digest: str = ""
    seed: int = 0
    train_s: float = 0.0
    note: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """How users name it: `teacher`, or the recipe's digest with the rung, e.g. `3f9a1c02b7de-r1`."""
        return "teacher" if not self.recipe else f"{self.recipe.digest}-r{self.rung}"

    @property
    def ok(self) -> bool:
        """Whether it has both scores."""
        return self.failure is None and self.accuracy is not None and self.latency is not None

    def on(self, target: str) -> "Record":
        """The same record with its latency on another target of the run; `failure` says why there is none.

        Args:
            target: label.
        """
        if self.latency is not None and self.latency.target == target:
            return self
        everywhere = dict(self.elsewhere)
        if self.latency is not None:
            everywhere[self.latency.target] = self.latency
        latency = everywhere.pop(target, None)
        failure = self.failure if latency is not None else self.failure or self.refusals.get(target)
        return replace(self, latency=latency, elsewhere=everywhere, failure=failure)
