"""Values in a sentence are short."""

from __future__ import annotations

from typing import Any

import pytest

from roofline.readers.rules import short


@pytest.mark.parametrize(
    ("value", "text"), [("text", "text"), (5e-6, "5e-06"), (2.0, "2"), ([1, 2], "[1, 2]"), ("x" * 61, "x" * 57 + "...")]
)
def test_short(value: Any, text: str) -> None:
    assert short(value) == text
