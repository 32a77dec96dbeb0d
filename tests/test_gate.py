"""The gate of exported functions: arguments of the wrong kind, of no such name, too many or too few."""

from functools import lru_cache

import numpy as np
import pytest

from roofline.errors import RooflineError
from roofline.gate import FIGURES, FUNCTION, MAPPING, NUMBER, OF_TWO, PATH, PATHS, TEXT, gated, instance


@gated(path=PATH, most=NUMBER)
def read(path, *, most=None, **more):
    return path, most, more


def test_what_is_right_passes(tmp_path):
    assert read(tmp_path, most=np.float32(2), other=1) == (tmp_path, 2.0, {"other": 1})
    assert read("a", most=None) == ("a", None, {})


@pytest.mark.parametrize(
    ("args", "keywords", "words"),
    [
        ((3,), {}, "read: path must be a path, got 3"),
        ((None,), {}, "read: path must be a path, got None"),  # None only where it is the default
        ((), {}, "read needs path as well"),
        (("a", "b"), {}, "read takes path by place, got 2 arguments"),
        (("a",), {"path": "b"}, "read: path is given twice: by place and by name"),
        (("a",), {"most": "many"}, "read: most must be a number, got 'many'"),
    ],
)
def test_what_is_wrong_is_one_sentence(args, keywords, words):
    with pytest.raises(RooflineError) as error:
        read(*args, **keywords)
    assert str(error.value) == words


def test_a_closed_function_names_the_nearest_argument():
    @gated(text=TEXT)
    def show(text, width=80):
        return text, width

    assert show("a", 3) == ("a", 3)
    with pytest.raises(RooflineError, match="show: 'widht': did you mean 'width'"):
        show("a", widht=3)


def test_a_function_that_takes_more_by_place_is_given_them():
    @gated(text=TEXT)
    def join(text, *parts, by=" "):
        return by.join((text, *parts))

    assert join("a", "b", "c", by="-") == "a-b-c"
    with pytest.raises(RooflineError, match="text must be text, got 1"):
        join(1, "b")


def test_a_function_whose_answers_are_kept_can_be_gated():
    @gated(text=TEXT)
    @lru_cache
    def length(text):
        return len(text)

    assert length("abc") == 3
    with pytest.raises(RooflineError, match="length: text must be text, got"):
        length([])


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (PATHS, ["a", "b"], "a"),
        (MAPPING, {"a": []}, {1: 2}),
        (FIGURES, {"a": 1}, {"a": "x"}),
        (FUNCTION, len, 3),
        (NUMBER, 1, True),
        (NUMBER, 1.5, 10**400),
        (instance("a path", str), "a", 1),
    ],
)
def test_kinds(kind, right, wrong):
    assert kind.holds(right)
    assert not kind.holds(wrong)


def test_a_function_of_two_takes_two():
    assert all(OF_TWO.holds(each) for each in (print, [].insert, max, divmod))
    assert not any(OF_TWO.holds(each) for each in (None, 2, len, object, [].clear))
