"""What tests of the search share."""

import pytest

from roofline.search import question


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of a few rows, so that there are many."""
    monkeypatch.setattr(question, "PIECE", 2000)
