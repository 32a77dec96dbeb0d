"""Readers of one value of an option: words of closed lists and what stands beside them."""

import numpy as np
import pytest

from roofline import units
from roofline.config import values


def test_a_dtype_has_other_names_and_mixed_is_none_of_them():
    dtype = values.Word("dtype", ("fp32", "bf16"))
    assert [dtype(text) for text in ("BFloat16", "float", "fp32")] == ["bf16", "fp32", "fp32"]
    assert "half" in dtype.spellings
    with pytest.raises(units.UnitError, match="does not say which"):
        dtype("amp")


def test_a_table_of_words_is_read_when_it_is_needed():
    asked = []
    word = values.Word("colour", lambda: asked.append(1) or ("red", "blue"))
    assert asked == []
    assert word("red") == "red"
    with pytest.raises(units.UnitError, match="did you mean 'blue'"):
        word("bleu")


@pytest.mark.parametrize("value", ["embeddings, positions", ["embeddings", "positions"], ("embeddings", "positions")])
def test_several_words_are_read_from_text_and_lists(value):
    assert values.frozen(value) == ("embeddings", "positions")


@pytest.mark.parametrize("value", [3, [3], None, {"a": 1}])
def test_what_holds_no_words_is_named(value):
    with pytest.raises(units.UnitError, match=r"^freeze must be a word"):
        values.frozen(value)


def test_moments_that_agree_are_one():
    assert values.moments("bf16,bf16") == ("bf16",)
    assert values.moments(["fp8", "fp16"]) == ("fp8", "fp16")


def test_all_is_what_stays_from_step_to_step():
    assert values.offloads("all") == ("optimizer", "parameters")
    assert values.offloads("activations+optimizer") == ("optimizer", "activations")  # in the order of the table
    assert values.offloads("none") == ()
    with pytest.raises(units.UnitError, match="offload: none stands alone, got 'optimizer,none'"):
        values.offloads("optimizer,none")


def test_modules_are_joined():
    assert values.modules("q_proj+k-proj") == values.modules(["q_proj", "k_proj"]) == "q_proj,k_proj"


def test_layers_of_stages_are_numbers_or_text():
    assert values.stage_sizes([7, 8]) == values.stage_sizes("7,8") == "7,8"
    with pytest.raises(units.UnitError, match="must be layers per stage"):
        values.stage_sizes(8)


@pytest.mark.parametrize("value", [True, np.True_])
def test_a_switch_is_a_switch_of_any_library(value):
    assert values.flag(value) is True


@pytest.mark.parametrize("value", [1, "true", np.array([True])])
def test_no_number_or_word_is_a_switch(value):
    with pytest.raises(units.UnitError, match="must be True or False"):
        values.flag(value)


def test_balance_is_a_word_or_the_fullest_over_the_mean():
    balance = values.Balance("expert balance", ("natural", "perfect"))
    assert (balance("natural"), balance("1.5"), balance(np.float32(2))) == ("natural", 1.5, 2.0)
    with pytest.raises(units.UnitError, match="at least 1"):
        balance(0.5)


def test_a_probability_is_below_one():
    assert (values.probability("0.1"), values.probability(np.float64(0))) == (0.1, 0.0)
    for wrong in (1, -0.1, "often", True, float("nan")):
        with pytest.raises(units.UnitError, match="probability from 0 to below 1"):
            values.probability(wrong)


def test_a_path_is_a_profile(tmp_path):
    assert values.profile(tmp_path / "own.toml") == str(tmp_path / "own.toml")
    with pytest.raises(units.UnitError, match="name of a software profile"):
        values.profile(3)


def test_recompute_errors_are_those_of_a_value():
    assert values.recompute("full") == values.recompute_detail("full") == "full"
    with pytest.raises(units.UnitError, match="everything"):
        values.recompute("everything")
