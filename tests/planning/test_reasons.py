"""The words of a plan's reasons: what more devices relieve, and what keeps a layout from the peak."""

from types import SimpleNamespace

import roofline
from roofline.answers.estimate import estimate_step
from roofline.counting.step import build_step
from roofline.planning.reasons import largest_term, relief
from roofline.search.search import search
from roofline.timing.terms import words_of

PLAIN = {"recompute": "none", "micro_batch": 2, "tp": 1, "pp": 1, "cp": 1, "ep": 1, "sharding": "zero1"}


def layout(**changed):
    return SimpleNamespace(**{**PLAIN, **changed})


def test_the_same_layout_is_relieved_of_nothing():
    assert relief(layout(), layout()) == ""


def test_what_more_devices_relieve_is_named_in_order():
    before = layout(recompute="full", micro_batch=1, tp=4, pp=2, sharding="zero3")
    assert relief(before, layout(tp=2)) == (
        "recompute none instead of full, micro batch 2 instead of 1, tp 2 instead of 4, pp 1 instead of 2, "
        "sharding zero1 instead of zero3"
    )


def test_a_heavier_layout_is_no_relief():
    assert relief(layout(), layout(recompute="full", micro_batch=1, tp=4)) == ""


def test_the_largest_loss_is_that_of_the_waterfall():
    model, device = roofline.load_model("gpt2"), roofline.load_device("a100-sxm-80gb")
    found = search(model, device, num_devices=8, seq_len=1024, global_batch=64, top=1).layouts[0]
    worst = max(estimate_step(build_step(model, found.train), device).waterfall, key=lambda step: float(step.lost))
    assert largest_term(model, device, found) == f"{100 * worst.lost:.1f} % of the peak lost to {words_of(worst.term)}"
