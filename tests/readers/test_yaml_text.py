"""YAML as plain values: no tag makes an object, and no anchor makes it endless."""

from typing import Any

import pytest

from roofline.errors import RooflineError
from roofline.readers.yaml_text import DEEPEST, parse_yaml


def value(text: str) -> Any:
    (found,), _ = parse_yaml(text, "run.yaml")
    return found


def test_plain_words_are_numbers_and_flags_and_quoted_ones_text() -> None:
    text = "{a: 5e6, b: yes, c: off, d: ~, e: '8', f: 1_024, g: , h: !!str 8, 3: x}"
    assert value(text) == {
        "a": 5e6, "b": True, "c": False, "d": None, "e": "8", "f": 1024, "g": None, "h": "8", "3": "x",
    }  # fmt: skip


def test_several_documents() -> None:
    documents, _ = parse_yaml("a: 1\n---\nb: 2\n", "run.yaml")
    assert documents == [{"a": 1}, {"b": 2}]


def test_merges_lie_under_the_own_keys_and_the_first_wins() -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 9}\n"
    assert value(text)["z"] == {"a": 9, "b": 1, "c": 2}


def test_a_key_that_stands_twice_with_one_value_is_noted() -> None:
    documents, notes = parse_yaml("a: 1\na: 1\n", "run.yaml")
    assert documents == [{"a": 1}]
    assert notes == ["line 2: the key 'a' stands twice: the later one is read"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", r"^run\.yaml: line 2: the key 'a' stands twice in one table, with two values"),
        ("a: !!python/object:os.system x\n", r"line 1: the tag .* asks for an object"),
        ("a: *b\n", r"the anchor \*b is not set"),
        ("a: &a [*a]\n", r"the anchor \*a is not set, or stands inside itself"),
        ("[a, b]: 1\n", r"a key that is a mapping or a list"),
        ("<<: 3\n", r"'<<' takes a mapping"),
        ("a: [1\n", r"^run\.yaml: line \d+: not YAML: "),
        ("[" * (DEEPEST + 1), rf"nested more than {DEEPEST} deep"),
    ],
)
def test_what_is_refused_names_its_line(text: str, message: str) -> None:
    with pytest.raises(RooflineError, match=message):
        parse_yaml(text, "run.yaml")


def test_anchors_that_double_each_other_end() -> None:
    lines = ["a0: &a0 [1, 1]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 30))]
    with pytest.raises(RooflineError, match="values once anchors are filled in"):
        parse_yaml("\n".join(lines), "run.yaml")
