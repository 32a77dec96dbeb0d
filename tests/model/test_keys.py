"""Flat keys of a model: every value checked when it is read, every default on record."""

import math

import pytest

from roofline.errors import RooflineError
from roofline.model.keys import INTEGERS, KEYS, Flat, divisors_near, overridden


def test_blank_cells_say_nothing():
    flat = Flat({"n_layers": 12, "d_ff": None, "n_heads": "", "window": math.nan})
    assert ["n_layers" in flat, "d_ff" in flat, "n_heads" in flat, "window" in flat] == [True, False, False, False]
    assert (flat.optional_integer("window"), flat.integer("window", 7)) == (None, 7)


@pytest.mark.parametrize("value", [12, 12.0])
def test_whole_numbers_as_tables_hold_them(value):
    read = Flat({"n_layers": value}).integer("n_layers")
    assert (read, type(read)) == (12, int)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "12", math.inf, 10**9])
def test_no_number_of_layers(value):
    with pytest.raises(RooflineError, match=r"^mine: layers must be a whole number from 1 to 10000, got "):
        Flat({"n_layers": value}, names={"n_layers": "layers"}, where="mine").integer("n_layers")


def test_a_missing_number_says_how_to_give_it():
    with pytest.raises(RooflineError, match="d_model is missing; add it, or pass --set d_model="):
        Flat({}).integer("d_model")


def test_flags_words_and_text():
    flat = Flat({"rotary": 1.0, "norm": "rms", "name": 3, "kind": "tree", "causal": 2})
    assert flat.flag("rotary", default=False) is True
    assert flat.flag("sinks", default=True) is True
    assert flat.word("norm", "layer") == "rms"
    for read, words in (
        (lambda: flat.text("name", ""), "name must be text"),
        (lambda: flat.word("kind", "decoder"), "kind must be one of decoder, encoder"),
        (lambda: flat.flag("causal", default=True), "causal must be true or false"),
    ):
        with pytest.raises(RooflineError, match=words):
            read()


def test_assumptions_are_shared_by_all_layers():
    flat = Flat({"n_layers": 2})
    flat.with_values({"d_ff": 3}).assume("something")
    flat.assume("something")
    assert list(flat.assumptions) == ["something"]


def test_heads_of_keys_follow_those_of_queries_where_there_are_as_many():
    assert overridden({"n_heads": 8, "n_kv_heads": 8}, {"n_heads": 4}) == {"n_heads": 4, "n_kv_heads": 4}
    assert overridden({"n_heads": 8, "n_kv_heads": 2}, {"n_heads": 4}) == {"n_heads": 4, "n_kv_heads": 2}
    assert overridden({"n_heads": 8, "n_kv_heads": 8}, {"n_heads": 4, "n_kv_heads": 1})["n_kv_heads"] == 1


def test_a_key_that_varies_by_layer_is_replaced_where_it_varies():
    found = overridden({"variations": [{"layers": [0], "window": 8}, {"layers": [1], "d_ff": 3}]}, {"window": 16})
    assert found == {"variations": [{"layers": [0], "window": 16}, {"layers": [1], "d_ff": 3}]}


def test_no_such_key_and_no_value():
    with pytest.raises(RooflineError, match="unknown model key 'n_layer': did you mean 'n_layers'"):
        overridden({}, {"n_layer": 2})
    with pytest.raises(RooflineError, match="is no value"):
        overridden({}, {"n_layers": math.nan})


def test_ranges_are_of_keys_that_exist():
    assert set(INTEGERS) <= KEYS
    assert all(low <= high for low, high in INTEGERS.values())
    assert divisors_near(96, 5) == [4, 6, 3]
