"""Which step a kernel belongs to."""

import pytest

from roofline.profiling.profile import profile

from .only import only

US = 1e-6


def test_steps_and_terms(result):
    # step 1: from its first kernel at 1000 to the next step's at 2000; step 2 to its last kernel's end
    assert [step.time_s for step in result.steps] == pytest.approx([1000 * US, 460 * US])
    assert [step.busy_s for step in result.steps] == pytest.approx([460 * US, 460 * US])
    assert result.step_time_s == pytest.approx(1000 * US)
    assert result.steps[0].terms == pytest.approx(
        {"matmul": 300 * US, "all_reduce_exposed": 100 * US, "optimizer": 50 * US, "copy": 10 * US, "launch": 540 * US}
    )
    assert sum(result.terms.values()) == pytest.approx(1460 * US)


def test_kernels_launched_before_the_window_are_left_out(tmp_path, two_steps):
    trace = two_steps()
    for start in (900, 950):
        trace.kernel("old", None, start, 40)
    result = profile([trace.write(tmp_path / "t.json")])
    assert result.totals.leading_kernels == 2
    assert result.totals.leading_time_s == pytest.approx(80 * US)
    assert result.attributed_share == 1.0
    assert any("2 kernels" in note for note in result.notes)


def test_kernels_between_without_a_launch_belong_to_the_step(tmp_path, two_steps):
    trace = two_steps()
    trace.kernel("mystery", None, 1600, 10)
    result = profile([trace.write(tmp_path / "t.json")])
    assert only(result.unattributed, name="mystery").why == "no launch in the file"
    assert result.steps[0].kernels == 5


def test_kernels_without_any_launch_are_in_the_step_of_their_time(tmp_path, two_steps):
    trace = two_steps(rank=0, world_size=8)
    for event in trace.events:
        event["args"].pop("correlation", None)
    result = profile([trace.write(tmp_path / "t.json")])
    assert [step.time_s for step in result.steps] == pytest.approx([1000 * US, 460 * US])
    assert {kernel.why for kernel in result.unattributed} == {"no launch in the file"}
