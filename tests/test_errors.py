"""Errors of one line: what was given, what is allowed, never what a terminal would obey."""

import numpy as np
import pandas as pd
import pytest

from roofline.errors import RooflineError, look_up, nearest, one_line, printable, shown, unknown


def test_a_message_is_one_line_of_bearable_length():
    error = RooflineError("first\nsecond " + "x" * 10_000)
    assert "\n" not in str(error)
    assert str(error).startswith("first second xxx")
    assert len(str(error)) < 300
    assert str(RooflineError("a  b")) == "a  b"  # one line is left as it is


def test_many_words_keep_their_start_and_end():
    text = one_line("start " + "word " * 2000 + "end")
    assert text.startswith("start")
    assert text.endswith("end")
    assert len(text) < 3100


def test_what_a_terminal_obeys_is_written_out():
    assert printable("\x1b[31mred\u202e") == "\\x1b[31mred\\u202e"
    assert printable("tab\tand ö") == "tab\tand ö"


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros(3, dtype="int8"), "numpy ndarray of int8"),
        (pd.DataFrame({"a": [1]}), "pandas DataFrame of columns"),
        (Hostile(), "Hostile that cannot be shown"),
        ("x" * 100, "'" + "x" * 56 + "..."),
        ({"a": 1}, "{'a': 1}"),
    ],
)
def test_any_value_is_shown(value, text):
    assert shown(value) == text


def test_the_nearest_word_ignores_case():
    assert nearest("ADAMV", ["adamw", "sgd"], 1) == ["adamw"]
    assert nearest("zzz", ["adamw"]) == []


def test_an_unknown_word_names_what_is_allowed_or_what_to_do():
    assert str(unknown("device", 3, ["a", "b"])) == "unknown device 3 (allowed: a, b)"
    assert (
        str(unknown("device", "aa", ["ab"], "see the list")) == "unknown device 'aa': did you mean 'ab'? (see the list)"
    )
    with pytest.raises(RooflineError, match="unknown size 'lage': did you mean 'large'"):
        look_up("size", "lage", {"large": 1})
