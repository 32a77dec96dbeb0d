"""Inference as it is read."""

import pytest

import roofline
from roofline.model.huggingface import model_from_config
from roofline.view import inference as view

from ..records import records

DECODE = roofline.infer("llama-2-7b", "a100-sxm-80gb", "decode", micro_batch=4, seq_len=1024)
PREFILL = roofline.infer("llama-2-7b", "a100-sxm-80gb", "prefill", micro_batch=1, seq_len=1024)


def test_each_phase_has_its_own_name_for_its_time():
    assert view.data(DECODE)["time_per_output_token_s"] == DECODE.time_s
    assert view.data(PREFILL)["time_to_first_token_s"] == PREFILL.time_s
    assert "Time per output token" in dict(view.tables(DECODE)[0].rows)
    assert "Time to first token" in dict(view.tables(PREFILL)[0].rows)


def test_the_batch_that_is_bound_by_compute_is_of_decoding_alone():
    assert "Compute-bound" in dict(view.tables(DECODE)[0].rows)
    assert "Compute-bound" not in dict(view.tables(PREFILL)[0].rows)


def test_cached_keys_and_values_by_hand():
    rows = {row[0]: row for row in view.tables(DECODE)[1].rows}
    # 32 layers, keys and values of 4,096 in 16 bits, of 4 sequences
    held = rows["cached keys and values"][1].value
    assert held == pytest.approx(4 * 1024 * 32 * 2 * 4096 * 2, rel=2e-3)
    assert rows["weights"][1].value == pytest.approx(6738415616 * 2, rel=1e-3)


def test_what_does_not_fit_says_what_would():
    result = roofline.infer("llama-2-70b", "a100-sxm-80gb", "decode", micro_batch=1, seq_len=1024)
    assert "DOES NOT FIT" in dict(view.tables(result)[0].rows)["Memory"]
    assert view.tables(result)[2].columns[0] == "smallest changes that make it fit"
    assert "smallest changes" not in str([table.columns for table in view.tables(DECODE)])


def test_encoders_that_are_left_out_of_the_time_are_said():
    (config,) = (record["config"] for record in records("tower_flops.jsonl") if record["type"] == "llava")
    seeing = roofline.infer(model_from_config(config, "llava"), "a100-sxm-80gb", "decode", seq_len=1024)
    assert any("encoders" in note for note in view.notes(seeing))
    assert not any("encoders" in note for note in view.notes(DECODE))
