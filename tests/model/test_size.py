"""A model given by its size alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.errors import RooflineError
from roofline.model.load import load_model
from roofline.model.parameters import count_parameters
from roofline.model.size import LARGEST, SMALLEST, flat_of_size, is_size


@pytest.mark.parametrize(("size", "preset"), [("7B", "llama-7b"), ("13B", "llama-13b"), ("65B", "llama-65b")])
def test_published_sizes_have_their_published_shape(size, preset):
    assert count_parameters(load_model(size)).total == count_parameters(load_model(preset)).total


@given(st.integers(SMALLEST, LARGEST))
def test_any_size_is_met_nearly(size):
    flat = flat_of_size(str(size))
    assert flat["d_model"] % flat["n_heads"] == 0
    assert flat["n_heads"] % 4 == 0
    total = count_parameters(load_model(str(size))).total
    assert total == pytest.approx(size, rel=0.15)


@pytest.mark.parametrize("text", ["7b", "7e9", "7,000M", "7000000000"])
def test_sizes_are_read_as_typed(text):
    assert count_parameters(load_model(text)).total == count_parameters(load_model("7B")).total


def test_the_shape_is_named_and_can_be_changed():
    model = load_model("7B", {"n_layers": 30})
    assert model.n_layers == 30
    (sentence,) = model.assumptions
    assert "assumes a plain Llama-like decoder of 30 layers, width 4096" in sentence


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("7", "7 parameters\\? did you mean 7B"),
        ("7000", "7,000 parameters .*20M to 100T"),
        ("1000T", "more than any model has"),
        ("1.5", "not a whole number"),
    ],
)
def test_impossible_sizes(text, words):
    with pytest.raises(RooflineError, match=words):
        load_model(text)


def test_words_and_files_are_no_sizes(tmp_path, monkeypatch):
    assert not any(map(is_size, ("gpt2", "b", "7bb", "8x7B", "7B-chat")))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7B").mkdir()
    with pytest.raises(RooflineError, match=r"no model file|config\.json"):
        load_model("7B")


def test_unknown_models_and_types_mention_it(tmp_path, run):
    assert "a size such as 7B" in run("count", "nothing-like-it").err
    config = tmp_path / "config.json"
    config.write_text('{"model_type": "perceptron"}')
    assert "a size such as 7B" in run("count", str(config)).err


def test_the_commands_name_the_assumption(printed):
    cluster = ("-d", "h100-sxm-80gb", "--num-devices", "8")
    for arguments in (
        ("count", "7B"),
        ("memory", "7B"),
        ("estimate", "7B", *cluster),
        ("mfu", "7B", *cluster, "--step-time", "10s"),
        ("compare", "7B", *cluster),
        ("layouts", "7B", *cluster, "--global-batch", "64"),
        ("plan", "7B", *cluster, "--tokens", "1B", "--global-batch", "64"),
    ):
        assert "assumes a plain Llama-like decoder of 32 layers" in " ".join(
            printed(*arguments, statuses=(0, 3)).split()
        )
