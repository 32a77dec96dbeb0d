"""Layers of each stage as people and run files say them."""

import pytest

from roofline.config.options import read_options
from roofline.config.settle import settle
from roofline.config.stage_layout import chunk_layers, split_evenly, stage_layout
from roofline.errors import RooflineError
from roofline.model.load import load_model, model_from_flat

PLAIN = {"name": "plain", "n_layers": 6, "d_model": 24, "n_heads": 4, "d_ff": 64, "vocab_size": 70, "max_seq_len": 64}


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("7,8,8,7", (7, 8, 8, 7)),
        ("0, 3, 3", (0, 3, 3)),  # the embedding alone
        ("Et*7|t*8|t*8|t*7L", (7, 8, 8, 7)),
        ("Et*5|t*6|t*5,L", (5, 6, 5)),  # commas mean nothing
        ("E|t|t|L", (0, 1, 1, 0)),
        ("Et*2|(tt|)*5t|tmL", (2, 2, 2, 2, 2, 2, 1, 1)),  # a proxy of DeepSeek-V3, Megatron-LM's functional tests
        ("E((t|)*2t|)*2tL", (1,) * 7),
        ("tt|tt", (2, 2)),
    ],
)
def test_layouts_that_are_read(text: str, layers: tuple[int, ...]) -> None:
    assert stage_layout(text).layers == layers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("7,x", "write layers per stage"),
        ("", "no layout"),
        ("7;8", "no layout"),
        ("tE|t", "the embedding E comes first"),
        ("Et|Lt", "the loss L last"),
        ("Et|mt|tL", "then m"),
        ("|Et|tL", "first stage"),
        ("Et*9999|(t*9999)*9999L", "longer than"),
        ("((((t", "no layout"),
    ],
)
def test_layouts_that_are_not(text: str, words: str) -> None:
    if not text:
        with pytest.raises(RooflineError, match="pp_layout"):
            settle(model_from_flat(PLAIN), None, {"pp_layout": text})
        return
    with pytest.raises(RooflineError, match="pp_layout") as caught:
        stage_layout(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_of_numbers_is_a_layout() -> None:
    assert read_options({"pp_layout": [2, 4]}) == {"pp_layout": "2,4"}
    with pytest.raises(RooflineError, match="pp_layout must be layers per stage"):
        read_options({"pp_layout": 4})


def test_stages_are_as_many_as_the_layout_has() -> None:
    model = model_from_flat(PLAIN)
    assert settle(model, None, {"pp_layout": "2,4"}).train.pp == 2
    assert settle(model, None, {"pp_layout": "1,2,2,1", "vp": 2}).train.pp == 2
    for options, words in (
        ({"pp_layout": "2,4", "pp": 3}, "pp_layout has 2 stages, and pp is 3"),
        ({"pp_layout": "1,2,3", "pp": 2, "vp": 2}, r"3 stages, and pp\*vp = 2\*2 = 4"),
        ({"pp_layout": "3,4"}, "deals out 7 layers, and plain has 6 layers"),
    ):
        with pytest.raises(RooflineError, match=words):
            settle(model, None, options)


def test_layers_ahead_stand_where_the_layout_says_or_last() -> None:
    model = load_model("deepseek-v3")  # 61 layers
    ahead = sum(group.count for group in model.groups if group.ahead)
    plain = ",".join(["4"] * 13 + ["3"] * 3)
    assert chunk_layers(plain, model)[-1] == 3 + ahead
    if ahead:
        assert chunk_layers(f"Et*4|(t*4|)*12(t*3|)*2t*3|m*{ahead}L", model)[-2:] == (3, ahead)


def test_layouts_of_megatrons_other_keys() -> None:
    assert split_evenly(12, 4, first=2, last=2) == "2,4,4,2"
    assert split_evenly(13, 4, first=4) == "4,3,3,3"
    assert split_evenly(126, 16, embedding=True, loss=True) == "7," + "8," * 14 + "7"
    # 31 layers and the loss over 2 stages of 4 chunks: 16 a stage, 4 a chunk, one less in the last
    assert split_evenly(31, 2, 4, loss=True) == "4,4,4,4,4,4,4,3"
    assert split_evenly(12, 4, first=3, last=2) is None  # 7 over two stages
    assert split_evenly(12, 2, first=5, last=6) is None
    assert split_evenly(12, 4, 2, first=1, last=3) is None  # one layer over two chunks
