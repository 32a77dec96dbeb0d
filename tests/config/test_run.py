"""Configurations: what follows from the rest, and what cannot be."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.config.defaults import default_dtype
from roofline.config.run import DTYPES, TrainConfig
from roofline.config.settle import resolve, train_config
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.model.spec import default_seq_len

LLAMA = load_model("llama-3-8b")  # 32 layers, 32 heads
MIXTRAL = load_model("mixtral-8x7b")  # 8 experts


def resolved(model=LLAMA, **options):
    return resolve(train_config(options), model)


def test_defaults_follow():
    train = resolved(num_devices=16, tp=2, pp=4, micro_batch=3)
    # 4 micro batches for each of 4 stages, of 3 sequences on each of 2 replicas
    assert (train.dp, train.global_batch, train.seq_len) == (2, 4 * 4 * 3 * 2, 8192)
    assert (train.accumulation, train.tokens_per_step) == (16, 96 * 8192)
    assert resolved(num_devices=16, tp=2, micro_batch=3).global_batch == 8 * 3  # one pass each


def test_devices_follow_from_degrees():
    train = resolved(tp=2, cp=2, dp=3, global_batch=12)
    assert (train.num_devices, train.accumulation) == (12, 4)


@pytest.mark.parametrize(
    ("name", "expected"), [("gpt2", 1024), ("llama-3-8b", 8192), ("llama-3.1-8b", 4096), ("llama-2-7b", 4096)]
)
def test_default_sequence_length(name, expected):
    assert default_seq_len(load_model(name)) == expected


def test_options_that_are_none_count_as_absent():
    assert train_config({"tp": None, "dtype": None}) == TrainConfig()


@pytest.mark.parametrize("dtype", DTYPES)
def test_low_precision_keeps_the_rest_in_bf16(dtype):
    train = TrainConfig(dtype=dtype)
    assert train.activation_bytes == (4 if dtype in {"fp32", "tf32"} else 2)
    assert train.compute_dtype == ("bf16" if dtype in {"fp8", "mxfp8", "nvfp4"} else dtype)


def test_default_dtype_is_what_the_device_has():
    assert default_dtype(load_device("h100-sxm-80gb")) == "bf16"
    assert default_dtype(load_device("epyc-7742")) == "fp32"


def test_an_unresolved_configuration_says_so():
    with pytest.raises(RooflineError, match="resolve"):
        _ = TrainConfig().accumulation


BAD = [
    ({"num_devices": 6, "tp": 4}, ("6", "tp*pp*cp = 4*1*1", "8 devices")),
    ({"num_devices": 16, "dp": 3}, ("--num-devices 3",)),
    ({"global_batch": 10, "micro_batch": 4}, ("10", "8 or 12")),
    ({"global_batch": 1, "micro_batch": 2}, ("use 2",)),
    ({"tp": 3, "num_devices": 3}, ("32 attention heads", "2 or 4")),
    ({"cp": 3, "num_devices": 3}, ("8192 seq_len", "2 or 4")),
    ({"pp": 40, "num_devices": 40}, ("40", "32 layers")),
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
        ("optimizer", "adam", "adamw"),
        ("train", "ful", "full"),
        ("lora_modules", "al", "all"),
    ],
)
def test_a_word_outside_its_list_names_the_nearest(name, got, near):
    with pytest.raises(RooflineError, match=f"did you mean .*'{near}'"):
        resolved(**{name: got})


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(RooflineError, match="micro_batch"):
        train_config({"microbatch": 4})


def test_learned_positions_bound_the_sequence():
    gpt2 = load_model("gpt2")
    assert resolved(gpt2, seq_len=1024).seq_len == 1024
    with pytest.raises(RooflineError, match="learned_positions=1025"):
        resolved(gpt2, seq_len=1025)
    with pytest.raises(RooflineError, match="seq_len 2048"):
        resolved(gpt2, seq_len=np.array([512, 2048]))


def test_arrays_resolve_element_by_element():
    train = resolved(tp=np.array([1, 2, 4]), dp=np.array([4, 4, 2]), micro_batch=np.array([2, 1, 2]))
    assert train.num_devices.tolist() == [4, 8, 8]
    assert train.global_batch.tolist() == [8, 4, 4]
    assert train.accumulation.tolist() == [1, 1, 1]


@given(
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2]),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_sequences_and_devices_add_up(tp, pp, cp, dp, micro_batch, accumulation):
    train = resolved(
        tp=tp,
        pp=pp,
        cp=cp,
        num_devices=tp * pp * cp * dp,
        micro_batch=micro_batch,
        global_batch=micro_batch * dp * accumulation,
    )
    assert train.dp == dp
    assert train.accumulation == accumulation
    assert type(train.accumulation) is int
    assert resolve(train, LLAMA) == train
