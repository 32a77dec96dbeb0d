from itertools import pairwise

import pytest

import roofline
from roofline import plot
from roofline.errors import RooflineError


def test_a_lane_for_each_stage_with_its_passes_in_order():
    found = roofline.estimate("llama-3-8b", "h100-sxm-80gb", num_devices=8, tp=2, pp=4, global_batch=8, micro_batch=1)
    data = plot.step_data(found)
    assert [lane.name for lane in data.lanes] == [f"stage {n}" for n in (1, 2, 3, 4)]
    for lane in data.lanes:
        kinds = [bar.kind for bar in lane.bars]
        assert kinds.count("forward") == kinds.count("backward") == 8
        assert kinds[-1] == "update"
        assert all(one.end <= other.start + 1e-9 for one, other in pairwise(lane.bars))
    assert "1f1b, 8 micro batches" in data.caption


def test_it_is_drawn(run, tmp_path):
    picture = tmp_path / "timeline.svg"
    layout = ("--num-devices", "4", "--pp", "4", "--global-batch", "8")
    status, _, err = run("plot", "gpt2", "-d", "h100-sxm-80gb", *layout, "--kind", "timeline", "-o", str(picture))
    assert (status, err) == (0, "")
    assert ">stage 4<" in picture.read_text()


def test_one_device_one_run():
    with pytest.raises(RooflineError, match="micro_batch"):
        plot.step_data(roofline.estimate("gpt2", "h100-sxm-80gb", micro_batch=[1, 2]))


US = 1e-6


def test_the_timeline_has_a_lane_per_stream(profiled):
    ranks, result = profiled
    data = plot.timeline_data(ranks, result)
    assert [lane.name for lane in data.lanes] == ["stream 7", "stream 20"]
    compute, communication = data.lanes
    assert [(bar.kind, bar.start, bar.end) for bar in communication.bars] == [
        ("communication", pytest.approx(200 * US), pytest.approx(400 * US))
    ]
    # forward and backward matmul follow one another: one bar
    assert [bar.kind for bar in compute.bars] == ["matmul", "optimizer", "copy"]
    assert (compute.bars[0].start, compute.bars[0].end) == (0, pytest.approx(300 * US))
    axes = plot.draw(data).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["stream 7", "stream 20"]
    assert axes.get_xlim() == (0, pytest.approx(1.0))  # ms


def test_the_command_draws_both(profiled, tmp_path, refused):
    from roofline.cli import main

    trace = profiled[0][0].trace.path
    roof, time = tmp_path / "roof.svg", tmp_path / "time.png"
    assert main(["profile", trace, "--roofline", str(roof), "--timeline", str(time)]) == 0
    assert roof.read_text().startswith("<?xml")
    assert time.read_bytes()[:4] == b"\x89PNG"
    assert "picture format" in refused("profile", trace, "--timeline", str(tmp_path / "time.gif"))
