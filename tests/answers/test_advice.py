"""What to change: fixes where it does not fit, improvements where it does, suspects of a slow run."""

import math

import msgspec
import pytest

import roofline
from roofline.answers.advice import FASTER_BY, SHARE, advise, improvements, suspects

RUN = roofline.settle("gpt2", "h100-sxm-80gb", micro_batch=8, stack="eager")
EXPECTED = roofline.estimate(run=RUN)


def test_what_fits_gets_improvements_and_what_does_not_gets_fixes():
    advice = advise(EXPECTED)
    assert (advice.fixes, bool(advice.improvements)) == (None, True)
    too_large = advise(roofline.estimate("gpt2", "t4", micro_batch=64, stack="compiled"))
    assert too_large.improvements is None
    assert too_large.fixes


def test_a_step_that_no_run_was_settled_for_gets_none():
    assert advise(msgspec.structs.replace(EXPECTED, run=None)) is None


def test_improvements_save_the_share_they_say():
    found = improvements(RUN, EXPECTED)
    times = [one.step_time_s for one in found]
    assert times == sorted(times)
    for one in found:
        assert one.explains == pytest.approx(1 - one.step_time_s / EXPECTED.step_time_s)
        assert one.explains > FASTER_BY
    assert "torch.compile" in {one.what for one in found}


def test_a_run_as_fast_as_expected_has_no_suspects():
    assert suspects(RUN, EXPECTED, float(EXPECTED.step_time_s)) == ()


@pytest.mark.parametrize(("layout", "size"), [({"num_devices": 96, "tp": 8}, 4), ({"num_devices": 24, "tp": 2}, 16)])
def test_what_does_not_fit_is_no_suspect_of_a_run_that_does(layout, size):
    """GPT-3 on 80 GB: micro batch 16 takes about twice as long in the bubble, and no device holds it.

    With tensor parallel 8 the run fits, and 4 is the largest micro batch that may; with 2 it does not itself.
    """
    given = {"pp": 12, "micro_batch": 1, "global_batch": 96, "stack": "megatron", **layout}
    run = roofline.settle("gpt3-175b", "a100-sxm-80gb", **given)
    expected = roofline.estimate(run=run)
    assert not roofline.memory(run=run.changed(micro_batch=16)).fits
    found = suspects(run, expected, 2.25 * float(expected.step_time_s))
    assert [one.options["micro_batch"] for one in found if "micro_batch" in one.options] == [size]
    assert bool(expected.fits) is (size == 4)


def test_suspects_explain_their_share_and_waiting_for_data_stands_where_others_explain_it_badly():
    measured = 2 * float(EXPECTED.step_time_s)
    found = suspects(RUN, EXPECTED, measured)
    (waits,) = (one for one in found if one.what.endswith("for data (input-bound)"))
    others = [one for one in found if one is not waits]
    apart = [abs(math.log(one.step_time_s / measured)) for one in others]
    assert apart == sorted(apart)
    assert found.index(waits) == sum(each < math.log(1.5) for each in apart)  # of text: none within half as much again
    assert (waits.step_time_s, waits.explains, waits.mfu) == (measured, 1.0, pytest.approx(EXPECTED.mfu / 2))
    for one in others:
        gap = measured - EXPECTED.step_time_s
        assert one.explains == pytest.approx((one.step_time_s - EXPECTED.step_time_s) / gap)
        assert one.explains >= SHARE
        assert one.measure
