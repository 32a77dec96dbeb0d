"""A framework's base class replaced by a plain one, so that its callback runs without it."""

import importlib
import sys
from types import ModuleType

import pytest


@pytest.fixture
def stand_in(monkeypatch):
    """A module of ours with its framework's base class replaced by a plain one."""

    def make(name, framework, base):
        parts = framework.split(".")
        for depth in range(1, len(parts) + 1):
            module = ModuleType(".".join(parts[:depth]))
            module.__path__ = []
            monkeypatch.setitem(sys.modules, module.__name__, module)
        setattr(module, base, object)
        monkeypatch.delitem(sys.modules, f"roofline.integrations.{name}", raising=False)
        found = importlib.import_module(f"roofline.integrations.{name}")
        del sys.modules[f"roofline.integrations.{name}"]  # the next import is of the real one
        return found

    return make
