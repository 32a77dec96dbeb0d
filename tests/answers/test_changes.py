"""The catalogue of changes: which apply to a question, and what a run with them is."""

import pytest

import roofline
from roofline.answers.changes import CATALOGUE, EXPLAINS, FASTER, FITS, Change, Row, applied, changes
from roofline.errors import RooflineError

ONE = roofline.settle("gpt2", "h100-sxm-80gb", micro_batch=4, global_batch=16)
EIGHT = roofline.settle("llama-3-8b", "h100-sxm-80gb", num_devices=8, tp=2, micro_batch=1, global_batch=32)


def change(**options) -> Change:
    return Change(kind="test", what="test", options=options)


def test_a_row_says_its_values_in_words():
    row = Row("tp", (FITS,), "tensor parallel {}", lambda run: [run.train.tp * 2])
    (found,) = row.changes(EIGHT)
    assert (found.what, found.options) == ("tensor parallel 4", {"tp": 4})
    other = Row("links", (EXPLAINS,), lambda _, rate: f"at {rate}", lambda _: [5], option="network_gbit_per_s")
    assert next(iter(other.changes(EIGHT))).options == {"network_gbit_per_s": 5}


def test_only_what_applies_is_offered():
    assert "tp" not in changes(FITS, ONE)  # one device has nothing to share with
    assert [each.options["tp"] for each in changes(FITS, EIGHT)["tp"]] == [1, 4, 8]
    assert "clock" in changes(EXPLAINS, ONE)
    assert "clock" not in changes(FASTER, ONE)


def test_every_row_answers_a_question():
    assert all(row.questions for row in CATALOGUE)


def test_batch_stays_unless_it_is_changed():
    changed, options = applied(ONE, [change(micro_batch=2)])
    assert (changed.train.micro_batch, changed.train.global_batch, changed.train.accumulation) == (2, 16, 8)
    assert options == {"micro_batch": 2}


def test_more_devices_take_at_least_as_large_a_batch():
    changed, options = applied(EIGHT, [change(num_devices=96)])
    # tp 2: 48 replicas of one sequence; 32 is raised to 48
    assert changed.train.data_parallel == 48
    assert (changed.train.global_batch, options["global_batch"]) == (48, 48)


def test_a_change_of_degrees_leaves_data_parallelism_what_is_left():
    changed, _ = applied(EIGHT, [change(tp=8)])
    assert (changed.train.tp, changed.train.data_parallel, changed.train.num_devices) == (8, 1, 8)


def test_another_model_or_device_is_an_option_like_others():
    a100 = roofline.load_device("a100-sxm-80gb")
    changed, options = applied(ONE, [change(device=a100), change(recompute="full")])
    assert changed.device is a100
    assert options == {"recompute": "full"}


def test_what_is_not_possible_is_refused():
    with pytest.raises(RooflineError):
        applied(EIGHT, [change(tp=3)])


def test_a_pipeline_that_the_software_does_not_run_is_refused_unless_it_was_asked_for():
    layout = {"num_devices": 8, "micro_batch": 1, "global_batch": 32}
    plain = roofline.settle("llama-3-8b", "h100-sxm-80gb", **layout, pp=2, stack="deepspeed")
    with pytest.raises(RooflineError, match="deepspeed does not run interleaved pipelines"):
        applied(plain, [change(vp=2)])
    asked = roofline.settle("llama-3-8b", "h100-sxm-80gb", **layout, pp=2, vp=2, stack="deepspeed")
    assert applied(asked, [change(vp=4)])[0].train.vp == 4
    whole = roofline.settle("llama-3-8b", "h100-sxm-80gb", **layout, stack="llm-c")
    with pytest.raises(RooflineError, match="llm-c does not run 1f1b pipelines"):
        applied(whole, [change(pp=2)])
