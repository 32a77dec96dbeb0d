"""A step that was timed is told to every answer, and refused where it cannot be."""

import pytest

import roofline
from roofline.answers.measured import learnt
from roofline.timing.seen import SHARED

WHAT = ("llama-3-8b", "h100-sxm-80gb")
LAYOUT = {"num_devices": 8, "micro_batch": 1, "global_batch": 64, "stack": "nemo"}
WORDS = ("--num-devices", "8", "--micro-batch", "1", "--global-batch", "64", "--stack", "nemo")


@pytest.fixture(scope="module")
def expected():
    return {tp: roofline.estimate(*WHAT, tp=tp, **LAYOUT).step_time_s for tp in (1, 2, 4)}


def test_estimate_of_another_configuration(expected):
    told = roofline.estimate(*WHAT, tp=4, **LAYOUT, measured=1.1 * expected[2], measured_at={"tp": 2})
    assert told.step_time_s == pytest.approx(1.1 ** SHARED["model"] * expected[4])
    assert told.step_time_low_s < told.step_time_s < told.step_time_high_s
    (note,) = [note for note in told.notes if note.startswith("measured: ")]
    assert "tp 2 x dp 4" in note
    assert f"{SHARED['model']:g} where the model is" in note
    assert note in told.to_dict()["notes"]


def test_text_is_read_as_on_the_command_line(expected):
    at = "tp=2, recompute=core_attn,mlp,dtype=bf16"
    told = roofline.estimate(*WHAT, tp=4, **LAYOUT, measured=f"{1000 * expected[2]}ms", measured_at=at)
    assert told.device.seen.train.recompute_detail == "core_attn,mlp"
    assert told.device.seen.seconds == pytest.approx(expected[2])


def test_compare_takes_it_of_the_first_case(expected):
    found = roofline.compare(*WHAT, tp=[2, 4], **LAYOUT, measured=1.1 * expected[2])
    assert [each.step_time_s for each in found.estimates] == pytest.approx(
        [1.1 * expected[2], 1.1 ** SHARED["model"] * expected[4]]
    )


def test_compare_moves_one_device_only(expected):
    found = roofline.compare(
        "llama-3-8b", ["h100-sxm-80gb", "a100-sxm-80gb"], tp=2, **LAYOUT, measured=1.1 * expected[2]
    )
    other = roofline.estimate("llama-3-8b", "a100-sxm-80gb", tp=2, **LAYOUT)
    assert found.estimates[0].step_time_s == pytest.approx(1.1 * expected[2])
    assert found.estimates[1].step_time_s == other.step_time_s


def test_layouts_and_plan_move_what_they_find(expected):
    told = {"measured": 1.1 * expected[2], "measured_at": {"tp": 2, "micro_batch": 1}}
    options = {**LAYOUT, "tp": 4}
    alone, moved = (roofline.layouts(*WHAT, top=1, **options, **more) for more in ({}, told))
    assert moved.layouts[0].step_time_s == pytest.approx(1.1 ** SHARED["model"] * alone.layouts[0].step_time_s)
    assert any(note.startswith("measured: ") for note in moved.notes)
    alone, moved = (roofline.plan(*WHAT, tokens="10B", **options, **more) for more in ({}, told))
    assert moved.layout.step_time_s == pytest.approx(1.1 ** SHARED["model"] * alone.layout.step_time_s)


def test_ops_are_moved_with_the_step(expected):
    times = ({"measured": 1.2 * expected[2]}, {})
    told, alone = (roofline.estimate(*WHAT, tp=2, **LAYOUT, **measured) for measured in times)
    for moved, before in zip(told.ops, alone.ops, strict=True):
        assert moved.expected_s == pytest.approx(1.2 * before.expected_s)
        assert moved.ideal_s == before.ideal_s


def test_the_run_is_not_changed(expected):
    run = roofline.settle(*WHAT, tp=2, **LAYOUT)
    assert roofline.estimate(run=run, measured=2 * expected[2]).step_time_s == pytest.approx(2 * expected[2])
    assert roofline.estimate(run=run).step_time_s == expected[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--measured", "soon"), ("'soon'",)),
        (("--measured", "3ms"), ("faster than the device's peaks allow",)),
        (("--measured", "9h"), ("over 10 times",)),
        (("--measured-at", "tp=2"), ("needs measured",)),
        (("--measured", "3s", "--measured-at", "tp"), ("tp=8,micro_batch=2",)),
        (("--measured", "3s", "--measured-at", "tpp=2"), ("'tpp'", "did you mean 'tp'")),
        (("--measured", "3s", "--measured-at", "tp=3"), ("not a multiple of tp",)),
        (("--measured", "3s", "--phase", "decode"), ("--phase decode",)),
    ],
)
def test_what_cannot_be_is_one_line(refused, arguments, words):
    err = refused("estimate", WHAT[0], "-d", WHAT[1], *WORDS, *arguments)
    assert all(word in err for word in words), err


def test_a_search_asks_which_layout_was_timed(refused):
    for command in (("layouts",), ("plan", "--tokens", "1B")):
        err = refused(*command, WHAT[0], "-d", WHAT[1], "--num-devices", "8", "--measured", "3s")
        assert "measured_at" in err
    err = refused("plan", WHAT[0], "-d", WHAT[1], "-d", "a100-sxm-80gb", "--tokens", "1B", "--measured", "3s")
    assert "one --device" in err


def test_several_configurations_are_refused():
    settled = roofline.settle(*WHAT, **{**LAYOUT, "micro_batch": [1, 2]})
    with pytest.raises(roofline.RooflineError, match="a step that was measured has one value"):
        learnt(settled, 3.0)
    with pytest.raises(roofline.RooflineError, match="measured_at must be options"):
        learnt(roofline.settle(*WHAT, **LAYOUT), 3.0, 5)
