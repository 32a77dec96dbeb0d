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
