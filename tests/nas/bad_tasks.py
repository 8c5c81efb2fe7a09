"""Source of teachers and data that a search must refuse, written into files by `test_bad_input.py`."""

TEACHERS = """
import torch
from torch import nn
from torch.nn import functional
from tests.nas.tiny import build, trained

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.b.weight = self.a.weight
    def forward(self, x):
        return self.head(torch.relu(self.b(torch.relu(self.a(x.flatten(1))))))

class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.head = nn.Linear(64, 32), nn.Linear(32, 10)
    def forward(self, x):
        rows = self.a(x.flatten(1)).split(1)
        return torch.cat([self.head(row) if one[0, 4, 4] > 0 else self.head(-row) for one, row in zip(x, rows)])

class HardCoded(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 8, 3, padding=1), nn.Conv1d(4, 10, 128)
    def forward(self, x):
        return self.head(self.conv(x).view(-1, 4, 128)).flatten(1)

class OneByOne(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.head = nn.Linear(64, 32), nn.Linear(32, 10)
    def forward(self, x):
        return torch.stack([self.head(torch.relu(self.a(row))) for row in x.flatten(1)])

class NotANumber(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)
        self.head.weight.data[0, 0] = float("nan")
    def forward(self, x):
        return self.head(x.flatten(1))

def five_classes():
    module = build()
    module.head = nn.Linear(32, 5)
    return module

def list_of_weights():
    return list(build().parameters())
"""
DATAS = """
import torch
from torch.utils.data import DataLoader, TensorDataset
from tests.nas.tiny import make_data

def empty_loader():
    train, validation, test = make_data()
    empty = TensorDataset(torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.long))
    return DataLoader(empty, 32), DataLoader(TensorDataset(*validation)), test

def one_class():
    return tuple((images, torch.zeros_like(labels)) for images, labels in make_data())

def out_of_range():
    return tuple((images, labels + 1) for images, labels in make_data())

def negative():
    return tuple((images, labels - 1) for images, labels in make_data())

def three_channels():
    return tuple((images.repeat(1, 3, 1, 1), labels) for images, labels in make_data())

def two_inputs():
    return tuple((images, images, labels) for images, labels in make_data())

def not_a_number():
    train, validation, test = make_data()
    validation[0][3] = float("nan")
    return train, validation, test

def metric(outputs, labels):
    return 1 / float((outputs * 0).sum())

def two_sets():
    return make_data()[:2]
"""
