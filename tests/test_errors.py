"""Errors of one line: what was given, what is allowed, never what a terminal would obey."""

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import roofline
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
        (object(), "<object object>"),
        ("x" * 100, "'" + "x" * 55 + "'..."),
        ("\x1b" * 100, "'" + r"\x1b" * 13 + "'..."),  # an escape is not cut: 14 of them would be 61 letters
        ("'" * 100, '"' + "'" * 55 + '"...'),
        (list(range(100)), f"[{', '.join(map(str, range(15)))}, ...]"),
        ([["a" * 100], 1], f"[['{'a' * 43}'...], ...]"),
        ({"a": [[1] * 50]}, f"{{'a': [[{'1, ' * 11}...]]}}"),
        (("a", 10**80), "('a', 1" + "0" * 46 + "...)"),
        (10**80, "1" + "0" * 56 + "..."),
        ({"a": 1}, "{'a': 1}"),
    ],
)
def test_any_value_is_shown(value, text):
    assert shown(value) == text


VALUES = st.recursive(
    st.none() | st.integers() | st.text("a'\"\\\x1b\n", max_size=90),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(max_size=40), inside),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_that_is_cut_still_closes_its_quotes_and_brackets(value):
    text = shown(value)
    assert len(text) <= 60
    whole = re.sub(r"(?<=['\"])\.\.\.(?=$|[,:\]}])|(?<=\d)\.\.\.(?=$|[,\]}])", "", text)
    ast.parse(whole.replace("...}", "**None}"), mode="eval")


def test_no_message_cuts_what_it_shows_by_itself():
    """A precision on ``!r`` leaves a quote open: `shown` closes it."""
    sources = Path(roofline.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if re.search(r"!r:\.\d|\[:\d+\]!r", path.read_text("utf-8"))] == []


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
