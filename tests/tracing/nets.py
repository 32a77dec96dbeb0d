"""Modules that tests of tracing share."""

# ruff: noqa: N812  torch is optional: it is imported where the suite finds it; F is its usual name

import pytest

pytest.importorskip("torch")

from torch import nn
from torch.nn import functional as F


def total(result, field, phase, **equal):
    return sum(
        getattr(op, field) * op.count
        for op in result.ops
        if op.phase == phase and all(getattr(op, name) == value for name, value in equal.items())
    )


class Residual(nn.Module):
    """A ResNet basic block with a projected shortcut."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


def resnet():
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        Residual(8, 8, 1),
        Residual(8, 16, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
