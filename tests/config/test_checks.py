"""What cannot be, or cannot be together, is said in one line."""

import math

import numpy as np
import pytest

from roofline.errors import RooflineError
from roofline.model.load import load_model, model_from_flat

from .resolved import resolved

MIXTRAL = load_model("mixtral-8x7b")  # 8 experts


BAD = [
    ({"num_devices": 6, "tp": 4}, ("6", "tp*pp*cp = 4*1*1", "8 devices")),
    ({"num_devices": 16, "dp": 3}, ("--num-devices 3",)),
    ({"global_batch": 10, "micro_batch": 4}, ("10", "8 or 12")),
    ({"global_batch": 1, "micro_batch": 2}, ("use 2",)),
    ({"tp": 3, "num_devices": 3}, ("32 attention heads", "2 or 4")),
    ({"cp": 3, "num_devices": 3}, ("8192 seq_len", "2 or 4")),
    ({"pp": 40, "num_devices": 40}, ("40", "32 layers", "at most 34")),
    ({"vp": 2}, ("--pp",)),
    ({"ep": 2, "num_devices": 2}, ("mixture of experts", "--ep")),
    ({"micro_batch": 0}, ("micro_batch", "0")),
    ({"micro_batch": 2.5}, ("micro_batch", "2.5")),
    ({"network_gbit_per_s": 0.0}, ("network_gbit_per_s",)),
    ({"network_gbit_per_s": math.inf}, ("network_gbit_per_s",)),
]


@pytest.mark.parametrize(("options", "words"), BAD)
def test_what_cannot_be_is_said_in_one_line(options, words):
    with pytest.raises(RooflineError) as error:
        resolved(**options)
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("options", "words"), BAD)
def test_one_bad_element_of_an_array_is_the_same_error(options, words):
    arrays = {name: np.array([1.0, value]) for name, value in options.items()}
    with pytest.raises(RooflineError) as error:
        resolved(**arrays)
    assert all(word in str(error.value) for word in words), error.value


def test_a_pipeline_may_have_as_many_stages_as_it_says():
    assert resolved(pp=34, num_devices=34).pp == 34


def test_ep_must_divide_experts_and_ranks():
    with pytest.raises(RooflineError, match="8 experts"):
        resolved(MIXTRAL, ep=16, num_devices=16)
    with pytest.raises(RooflineError, match=r"dp\*cp = 4"):
        resolved(MIXTRAL, ep=8, num_devices=4)


@pytest.mark.parametrize(
    ("name", "got", "near"),
    [
        ("dtype", "bf1", "bf16"),
        ("sharding", "zero", "zero1"),
        ("recompute", "ful", "full"),
        ("attention", "flash", "flash2"),
        ("optimizer", "adamv", "adamw"),
        ("train", "ful", "full"),
        ("lora_modules", "al", "all"),
    ],
)
def test_a_word_outside_its_list_names_the_nearest(name, got, near):
    with pytest.raises(RooflineError, match=f"did you mean .*'{near}'"):
        resolved(**{name: got})


def test_learned_positions_bound_the_sequence():
    gpt2 = load_model("gpt2")
    assert resolved(gpt2, seq_len=1024).seq_len == 1024
    with pytest.raises(RooflineError, match="learned_positions=1025"):
        resolved(gpt2, seq_len=1025)
    with pytest.raises(RooflineError, match="seq_len 2048"):
        resolved(gpt2, seq_len=np.array([512, 2048]))


def test_registers_of_an_image_need_no_positions():
    sizes = {"n_layers": 1, "d_model": 8, "n_heads": 2, "d_ff": 8, "vocab_size": 0, "gated_mlp": False}
    image = {"kind": "vision", "image_size": 32, "patch_size": 8, "learned_positions": 17, "tokens_beside": 5}
    model = model_from_flat({**sizes, **image})
    assert resolved(model).seq_len == 16 + 5
    with pytest.raises(RooflineError, match="seq_len 22"):
        resolved(model, seq_len=22)
