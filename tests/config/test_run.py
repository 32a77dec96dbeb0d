"""Configurations: what follows from the rest, and what cannot be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.config.defaults import default_dtype
from roofline.config.run import DTYPES, TrainConfig
from roofline.config.settle import resolve, train_config
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model, model_from_flat
from roofline.model.spec import default_seq_len

from .resolved import LLAMA, resolved


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


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(RooflineError, match="micro_batch"):
        train_config({"microbatch": 4})


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


def test_positions_bound_a_length_that_is_not_stated() -> None:
    flat = {"name": "x", "n_layers": 1, "d_model": 8, "n_heads": 2, "d_ff": 16, "vocab_size": 16}
    assert default_seq_len(model_from_flat({**flat, "learned_positions": 1948})) == 1948
    assert default_seq_len(model_from_flat({**flat, "rotary": True})) == 4096
