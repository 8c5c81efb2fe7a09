"""What `make_data()` may return, and what is refused."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from nas.data import Data, Split, as_data, as_split
from nas.errors import UserError

X = torch.arange(12.0).reshape(4, 3)
Y = torch.tensor([0, 1, 0, 1])


def test_three_tuples_become_the_three_sets() -> None:
    data = as_data(((X, Y), (X[:2], Y[:2]), [X[:1], Y[:1]]))
    assert [len(split) for split in (data.train, data.validation, data.test)] == [4, 2, 1]
    assert torch.equal(data.train.inputs[0], X)
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [0, 1, 0, 1]


def test_calibration_is_a_synonym_of_validation() -> None:
    data = as_data({"test": (X[:1], Y[:1]), "calibration": (X[:2], Y[:2]), "train": (X, Y)})
    assert [len(split) for split in (data.train, data.validation, data.test)] == [4, 2, 1]


def test_data_is_kept_as_it_is() -> None:
    data = Data(Split((X,), Y), Split((X,), Y), Split((X,), Y))
    assert as_data(data) is data


@pytest.mark.parametrize(
    "made",
    [
        (X, X + 1, Y),
        ((X, X + 1), Y),
        {"image": X, "sums": X + 1, "labels": Y},
        {"inputs": (X, X + 1), "labels": Y},
        DataLoader(TensorDataset(X, X + 1, Y), batch_size=3),
        DataLoader([((x, x + 1), y) for x, y in zip(X, Y, strict=True)], batch_size=3),  # type: ignore[arg-type]
        TensorDataset(X, X + 1, Y),
        Split((X, X + 1), Y),
    ],
)
def test_two_inputs_in_every_form(made: object) -> None:
    split = as_split(made, "train")
    assert len(split.inputs) == 2
    assert torch.equal(split.inputs[0], X)
    assert torch.equal(split.inputs[1], X + 1)
    assert split.labels is not None
    assert split.labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("made", [X, (X,), {"image": X}, TensorDataset(X), DataLoader(TensorDataset(X), 3), X.numpy()])
def test_a_set_without_labels(made: object) -> None:
    split = as_split(made, "train")
    assert split.labels is None
    assert len(split.inputs) == 1
    assert torch.equal(split.inputs[0], X)


def test_two_inputs_without_labels() -> None:
    split = as_split(((X, X + 1),), "train")
    assert (len(split.inputs), split.labels) == (2, None)


def test_types_become_float32_and_int64() -> None:
    split = as_split((X.double().numpy(), np.array([0, 1, 0, 1], dtype=np.uint16)), "train")
    assert split.labels is not None
    assert (split.inputs[0].dtype, split.labels.dtype) == (torch.float32, torch.int64)
    tokens = as_split((torch.tensor([[1], [2]]), torch.tensor([0.5, 1.5], dtype=torch.float64)), "train")
    assert tokens.labels is not None
    assert (tokens.inputs[0].dtype, tokens.labels.dtype) == (torch.int64, torch.float32)


@pytest.mark.filterwarnings("error")
def test_numpy_arrays_that_torch_cannot_wrap() -> None:
    array = np.array([[1.0], [2.0]], dtype=">f4")[::-1]
    array.flags.writeable = False
    assert as_split((array, [0, 1]), "train").inputs[0].tolist() == [[2.0], [1.0]]


def test_a_shuffling_loader_is_read_in_the_same_order_and_leaves_the_generator_alone() -> None:
    loader = DataLoader(TensorDataset(torch.arange(50.0)[:, None]), batch_size=8, shuffle=True)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = as_split(loader, "train").inputs[0]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(as_split(loader, "train").inputs[0], first)
    assert sorted(first.flatten().tolist()) == list(range(50))
    assert first.flatten().tolist() != list(range(50))


class _Rows(Dataset[Tensor]):
    def __init__(self, rows: list[Tensor]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return self.rows[index]


class _Endless(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield torch.zeros(1000)


class _Huge(Dataset[Tensor]):
    """Counts what is read of it."""

    n_read = 0

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> Tensor:
        _Huge.n_read += 1
        return torch.zeros(1000)


def test_an_endless_loader_is_refused() -> None:
    with pytest.raises(UserError, match=r"The train set needs at least 0\.0 GiB of memory"):
        as_split(DataLoader(_Endless(), batch_size=10), "train", limit_bytes=10**6)


def test_a_large_dataset_is_refused_after_its_first_batch() -> None:
    with pytest.raises(UserError, match=r"needs at least 3\.7 GiB of memory; the limit is 1\.0 GiB"):
        as_split(_Huge(), "test", limit_bytes=2**30)
    assert _Huge.n_read == 256


@pytest.mark.parametrize(
    ("made", "fragment"),
    [
        (((X, Y), (X, Y)), "make_data() returned a tuple of 2, not three sets"),
        (X, "make_data() returned a Tensor, not three sets"),
        ({"train": (X, Y), "test": (X, Y)}, "a dict with the keys train, test"),
        (((X, Y), (X, Y[:3]), (X, Y)), "In the validation set inputs and labels differ in their number of samples"),
        (((X, X[:2], Y), (X, X, Y), (X, X, Y)), "In the train set inputs and labels differ"),
        (((X, Y), (X, Y), "test.csv"), "The test set holds a str where a tensor"),
        (((np.array(["a"]), Y), (X, Y), (X, Y)), "The train set holds an array of <U1"),
        (((X, torch.tensor(3)), (X, Y), (X, Y)), "The train set holds a single number"),
        (((X, Y), (X[:0], Y[:0]), (X, Y)), "The validation set is empty"),
        ((DataLoader(_Rows([]), batch_size=2), (X, Y), (X, Y)), "The train set is empty: its loader gave no batch"),
        ((DataLoader(_Rows([torch.zeros(2), torch.zeros(3)]), 2), (X, Y), (X, Y)), "have different shapes"),
        (
            (DataLoader(_Rows([torch.zeros(2), torch.zeros(3)]), 1), (X, Y), (X, Y)),
            "have different shapes: (2,) and (3,)",
        ),
    ],
)
def test_what_is_refused(made: object, fragment: str) -> None:
    with pytest.raises(UserError) as caught:
        as_data(made)
    assert fragment in str(caught.value)
    assert caught.value.exit_status == 2
    assert caught.value.remedy
