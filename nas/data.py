"""Training, validation and test data, in memory."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from nas.errors import UserError

Metric = Callable[[NDArray[np.float32], NDArray[np.int64]], float]
"""(outputs (n, ...), labels (n, ...)) to a number, higher is better."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs (n, ...), labels (n, ...)) to a scalar."""

MAX_DATA_BYTES = 4 * 2**30
"""Largest set that is collated into memory."""

SET_NAMES = ("train", "validation", "test")
_FORMS = (
    "A set is (inputs, labels), (input_1, input_2, labels), ((input_1, input_2), labels), a dict with `labels`, "
    "a Dataset or a DataLoader of these; without labels: a bare tensor, (inputs,) or a dict without `labels`."
)


@dataclass(frozen=True)
class Split:
    """Samples as tensors.

    Attributes:
        inputs: one tensor for each input of the network, first axis n samples.
        labels: first axis n samples, or None for a task without labels.
    """

    inputs: tuple[Tensor, ...]
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def take(self, indices: Tensor) -> "Split":
        """The samples at these indices, in that order."""
        labels = None if self.labels is None else self.labels[indices]
        return Split(tuple(tensor[indices] for tensor in self.inputs), labels)

    def first(self, n: int) -> "Split":
        """The first n samples (all of them where there are fewer)."""
        labels = None if self.labels is None else self.labels[:n]
        return Split(tuple(tensor[:n] for tensor in self.inputs), labels)


@dataclass(frozen=True)
class Data:
    """The three sets; the test set is touched once, at the end, for the front only."""

    train: Split
    validation: Split
    test: Split

    @property
    def example(self) -> tuple[Tensor, ...]:
        """One sample of each input, with the batch axis: shapes (1, ...)."""
        return self.train.first(1).inputs


def as_data(made: object, limit_bytes: int = MAX_DATA_BYTES) -> Data:
    """What a user's `make_data()` returned, as `Data`.

    `made` is a `Data`, three sets (train, validation, test) in a tuple or list, or a dict with these keys
    (`calibration` is a synonym of `validation`). A set is one of

    - a tuple or list, its last entry the labels: `(x, y)`, `(x1, x2, y)` or `((x1, x2), y)`;
    - a dict: the key `labels`, and every other key an input, in the order in which `forward` takes them;
    - a `Split`;
    - a `Dataset` whose samples, or a `DataLoader` whose batches, have one of the forms above. It is read once, in
      the order it gives (a shuffling loader with a fixed seed), so random augmentation in it is frozen.

    A task without labels gives sets without labels: a bare tensor, a tuple of one entry `(x,)` or `((x1, x2),)`, or
    a dict without the key `labels`. (Two tensors are always inputs and labels.)

    Tensors and numpy arrays have n samples along the first axis. Floating inputs become float32, whole numbers among
    inputs keep their type, labels become int64 or float32.

    Args:
        made: see above.
        limit_bytes: largest set that may be collated into memory.

    Raises:
        UserError: another form, sets of unequal arity or length, an empty set, or one that is too large.
    """
    if isinstance(made, Data):
        return made
    if isinstance(made, Mapping):
        sets = _three_of_mapping(made)
    elif isinstance(made, tuple | list) and len(made) == 3:
        sets = tuple(made)
    else:
        given = f"{type(made).__name__} of {len(made)}" if isinstance(made, tuple | list) else type(made).__name__
        raise UserError(
            f"make_data() returned a {given}, not three sets.",
            "Return (train, validation, test), or a dict with these keys.",
        )
    return Data(*(as_split(one, name, limit_bytes) for name, one in zip(SET_NAMES, sets, strict=True)))


def as_split(made: object, name: str, limit_bytes: int = MAX_DATA_BYTES) -> Split:
    """One set in any form that `as_data` describes; `name` is what messages call it.

    Raises:
        UserError: as for `as_data`.
    """
    if isinstance(made, Split):
        split = made
    elif isinstance(made, DataLoader):
        split = _collate(made, name, limit_bytes)
    elif isinstance(made, Dataset):
        split = _collate(DataLoader(made, batch_size=256), name, limit_bytes)
    else:
        split = _batch(made, name)
    if not split.inputs or len(split) == 0:
        raise UserError(f"The {name} set is empty.", "Give at least a few hundred samples in each set.")
    return split


def _three_of_mapping(made: Mapping[Any, object]) -> tuple[object, ...]:
    keys = ["validation" if key == "calibration" else key for key in made]
    if sorted(map(str, keys)) != sorted(SET_NAMES):
        raise UserError(
            f"make_data() returned a dict with the keys {', '.join(map(str, made)) or '(none)'}.",
            "The keys are train, validation (or calibration) and test.",
        )
    by_name = dict(zip(keys, made.values(), strict=True))
    return tuple(by_name[name] for name in SET_NAMES)


def _batch(made: object, name: str) -> Split:
    """A set, or a batch of one, that lies in memory."""
    labels: object = None
    if isinstance(made, Mapping):
        labels = made.get("labels")
        inputs = _flat([value for key, value in made.items() if key != "labels"])
    elif isinstance(made, tuple | list) and made:
        inputs = _flat(made[:-1] if len(made) > 1 else made)
        labels = made[-1] if len(made) > 1 else None
    else:
        inputs = [made]
    tensors = tuple(_tensor(value, name) for value in inputs)
    label_tensor = None if labels is None else _label_tensor(labels, name)
    lengths = [len(t) for t in tensors] + ([] if label_tensor is None else [len(label_tensor)])
    if not tensors or len(set(lengths)) > 1:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors) or "none"
        tail = "" if label_tensor is None else f" and labels of shape {tuple(label_tensor.shape)}"
        raise UserError(
            f"In the {name} set inputs and labels differ in their number of samples: inputs {shapes}{tail}.",
            f"Every tensor has one sample per entry of its first axis. {_FORMS}",
        )
    return Split(tensors, label_tensor)


def _flat(values: Iterable[object]) -> list[object]:
    """One level of nesting undone: ((x1, x2),) and (x1, x2) are the same two inputs."""
    flat: list[object] = []
    for value in values:
        flat.extend(value if isinstance(value, tuple | list) else [value])
    return flat


def _tensor(value: object, name: str) -> Tensor:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        # Torch knows neither foreign byte orders nor negative strides, indexes few
        # unsigned types, and warns of arrays that are read-only.
        wide = value.dtype.kind == "u" and value.dtype.itemsize > 1
        value = torch.from_numpy(np.array(value, dtype=np.int64 if wide else value.dtype.newbyteorder("=")))
    if not isinstance(value, Tensor):
        kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise UserError(f"The {name} set holds {kind} where a tensor or a numpy array of numbers belongs.", _FORMS)
    if value.ndim == 0:
        raise UserError(f"The {name} set holds a single number where a tensor of samples belongs.", _FORMS)
    value = value.detach().cpu()
    return value.float() if value.is_floating_point() else value


def _label_tensor(value: object, name: str) -> Tensor:
    if isinstance(value, tuple | list) and value and all(isinstance(entry, int | float) for entry in value):
        value = np.asarray(value)
    labels = _tensor(value, name)
    return labels if labels.is_floating_point() else labels.long()


def _collate(loader: DataLoader[Any], name: str, limit_bytes: int) -> Split:
    """All batches of a loader, one after the other."""
    batches: list[Split] = []
    n_bytes = 0
    # A shuffling loader draws from torch's own generator: the same order every time, and the caller's draws untouched.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for raw in _batches(loader, name):
            batch = _batch(raw, name)
            batches.append(batch)
            n_bytes += _size_bytes(batch)
            _refuse_large(_expected_bytes(loader, n_bytes, len(batches)), name, limit_bytes)
    if not batches:
        raise UserError(f"The {name} set is empty: its loader gave no batch.", "Give at least a few hundred samples.")
    return _joined(batches, name)


def _batches(loader: DataLoader[Any], name: str) -> Iterator[object]:
    try:
        yield from loader
    except RuntimeError as error:
        if "equal size" not in str(error):
            raise
        raise UserError(
            f"Samples of the {name} set have different shapes ({str(error).splitlines()[0]}).",
            "Resize or pad them to one shape in the dataset.",
        ) from error


def _size_bytes(split: Split) -> int:
    tensors = split.inputs if split.labels is None else (*split.inputs, split.labels)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _expected_bytes(loader: DataLoader[Any], n_bytes: int, n_batches: int) -> float:
    """What the whole loader will need, or what it has needed so far where its length is unknown."""
    if isinstance(loader.dataset, IterableDataset) or not isinstance(loader.dataset, Sized):
        return n_bytes
    return n_bytes / n_batches * len(loader)


def _refuse_large(expected_bytes: float, name: str, limit_bytes: int) -> None:
    if expected_bytes > limit_bytes:
        raise UserError(
            f"The {name} set needs at least {expected_bytes / 2**30:.1f} GiB of memory; "
            f"the limit is {limit_bytes / 2**30:.1f} GiB.",
            "Give a subset (torch.utils.data.Subset): some ten thousand samples are enough to distil from.",
        )


def _joined(batches: list[Split], name: str) -> Split:
    if len({(len(batch.inputs), batch.labels is None) for batch in batches}) > 1:
        raise UserError(f"The batches of the {name} set differ in their number of tensors.", _FORMS)
    columns = [*zip(*(batch.inputs for batch in batches), strict=True)]
    labels = [batch.labels for batch in batches if batch.labels is not None]
    for column in [*columns, labels]:
        shapes = sorted({tuple(tensor.shape[1:]) for tensor in column})
        if len(shapes) > 1:
            raise UserError(
                f"Samples of the {name} set have different shapes: {shapes[0]} and {shapes[1]}.",
                "Resize or pad them to one shape in the dataset.",
            )
    return Split(tuple(torch.cat(column) for column in columns), torch.cat(labels) if labels else None)
