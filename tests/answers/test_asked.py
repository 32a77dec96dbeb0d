import pytest

import roofline

DEVICE = "h100-sxm-80gb"


def test_a_settled_run_gives_the_same_answers():
    run = roofline.settle("gpt2-xl", DEVICE, seq_len="1k", recompute="full")
    asked = roofline.estimate("gpt2-xl", DEVICE, seq_len="1k", recompute="full")
    assert roofline.estimate(run=run).to_dict() == asked.to_dict()
    assert roofline.estimate(run=asked.run).step_time_s == asked.step_time_s
    assert roofline.memory(run=run).total_bytes == asked.memory.total_bytes
    assert roofline.count(run=run).tokens == run.train.micro_batch * 1024
    assert roofline.mfu(run=run, step_time_s=asked.step_time_s).verdict == "within"


def test_options_change_a_settled_run():
    run = roofline.settle("gpt2-xl", DEVICE)
    assert roofline.estimate(run=run, micro_batch=2).train.micro_batch == 2
    assert run.train.micro_batch > 2  # the fastest that fits: the run itself stays as it is


def test_a_run_is_one_line():
    assert repr(roofline.settle("gpt2", DEVICE, micro_batch=4)) == (
        "<Run of gpt2 on h100-sxm-80gb: 1 device, micro batch 4, compiled>"
    )
    assert repr(roofline.settle("gpt2")) == "<Run of gpt2: 1 device, micro batch 1, compiled>"
    assert "several layouts" in repr(roofline.settle("gpt2", DEVICE, num_devices=[1, 2]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (roofline.estimate, "no model given"),
        (lambda: roofline.estimate("gpt2"), "no device given"),
        (lambda: roofline.estimate(run=3), "run must be a settled run"),
        (lambda: roofline.estimate("gpt2", DEVICE, run=roofline.settle("gpt2", DEVICE)), "give it alone"),
        (lambda: roofline.estimate(run=roofline.settle("gpt2")), "names no device"),
        (roofline.count, "no model given"),
        (lambda: roofline.load_model("a.py:build"), "trace one"),
    ],
)
def test_what_is_missing_is_named(call, words):
    with pytest.raises(roofline.RooflineError, match=words):
        call()
