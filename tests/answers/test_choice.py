"""The micro batch that nobody said: the fastest power of two that surely fits, the same in every answer."""

import numpy as np
import pytest

import roofline
from roofline.answers.choice import LARGEST_MICRO_BATCH

XL = ("gpt2-xl", "h100-sxm-80gb")
LAYOUTS = ({}, {"num_devices": 8, "global_batch": 96}, {"num_devices": 16, "pp": 4}, {"recompute": "full"})


def rates(options):
    """Tokens per second of every power of two that is possible and fits."""
    found = {}
    for power in range(LARGEST_MICRO_BATCH.bit_length()):
        try:
            result = roofline.estimate(*XL, micro_batch=2**power, **options)
        except roofline.RooflineError:  # it does not divide the global batch
            continue
        if result.memory.verdict == "fits":
            found[2**power] = result.tokens_per_s
    return found


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
def test_it_is_the_fastest_of_those_that_surely_fit(options):
    of = rates(options)
    assert len(of) > 2
    result = roofline.estimate(*XL, **options)
    assert result.train.micro_batch == max(of, key=of.get)
    assert result.run.chosen
    assert any("micro batch" in note and "--micro-batch" in note for note in result.notes)


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
def test_it_is_the_same_in_every_answer(options):
    expected = roofline.estimate(*XL, **options).train
    assert roofline.memory(*XL, **options).train == expected
    assert roofline.compare(*XL, **options).estimates[0].train == expected
    assert roofline.mfu(*XL, step_time_s=100.0, **options).estimate.train == expected


def test_each_of_an_array_has_its_own():
    lengths = [256, 1024]
    together = roofline.estimate(*XL, seq_len=lengths)
    alone = [roofline.estimate(*XL, seq_len=length) for length in lengths]
    assert together.train.micro_batch.tolist() == [one.train.micro_batch for one in alone]
    assert together.step_time_s == pytest.approx(np.array([one.step_time_s for one in alone]), rel=1e-12)


def test_one_where_none_fits():
    result = roofline.estimate("llama-3-70b", "h100-sxm-80gb")
    assert (result.train.micro_batch, result.fits) == (1, False)
