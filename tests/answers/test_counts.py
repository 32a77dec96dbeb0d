"""Counting through the one door: a model, or a run that was settled."""

import numpy as np
import pytest

import roofline
from roofline.answers.counts import count
from roofline.errors import RooflineError


def test_a_settled_run_counts_as_its_model_and_options():
    run = roofline.settle("gpt2", micro_batch=2, seq_len=512)
    assert count(run=run) == count("gpt2", micro_batch=2, seq_len=512)
    assert count(run=run, micro_batch=4).flops_forward == 2 * count(run=run).flops_forward


def test_matmuls_of_gpt2_by_hand():
    found = count("gpt2", micro_batch=1, seq_len=1024)
    weights = 12 * 12 * 768**2 + 768 * 50257  # qkv, out, up and down of each layer; the head
    attention = 12 * 2 * 2 * 1024 * 1024 * 768  # scores and weighted sum, in full
    assert found.matmul_flops_forward == 2 * 1024 * weights + attention


def test_arrays_are_counted_at_once():
    assert count("gpt2", seq_len=512, micro_batch=np.array([1, 3])).flops_step[1] == pytest.approx(
        count("gpt2", seq_len=512, micro_batch=3).flops_step
    )


def test_nothing_to_count_is_refused():
    with pytest.raises(RooflineError, match="model"):
        count()
