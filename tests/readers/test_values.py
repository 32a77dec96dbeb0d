"""Words of a run file become the numbers and flags that they are."""

from typing import Any

import pytest

from roofline.readers.values import normal_key, scalar


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("8", 8),
        ("-8", -8),
        (" 1_000 ", 1000),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("3.", 3.0),
        ("TRUE", True),
        ("false", False),
        ("~", None),
        ("null", None),
        ("0x10", "0x10"),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
        ("", ""),
        ("nan", "nan"),
    ],
)
def test_a_word_is_what_it_looks_like(word: str, value: Any) -> None:
    got = scalar(word)
    assert (got, type(got)) == (value, type(value))


def test_more_digits_than_any_size_has_stay_text() -> None:
    assert scalar("9" * 40) == 10**40 - 1
    assert scalar("9" * 41) == "9" * 41


def test_keys_without_dashes() -> None:
    assert normal_key("--micro-batch-size") == "micro_batch_size"
    assert normal_key("model.hidden-size") == "model.hidden_size"
