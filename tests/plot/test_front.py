import pytest

import roofline
from roofline import plot
from roofline.errors import RooflineError
from roofline.plot.front import front_data


@pytest.fixture(scope="module")
def found():
    return roofline.layouts("llama-2-7b", "h100-sxm-80gb", num_devices=8, global_batch=64)


def test_the_front_rises_in_memory_and_falls_in_time(found):
    data = front_data(found)
    front = [point for point in data.points if not point.recommended]
    assert [p.memory_bytes for p in front] == sorted(p.memory_bytes for p in front)
    assert [p.step_time_s for p in front] == sorted((p.step_time_s for p in front), reverse=True)
    assert max(p.memory_bytes for p in data.points) <= data.capacity_bytes


def test_what_is_recommended_is_there_once(found):
    chosen = [point for point in front_data(found).points if point.recommended]
    best = found.simplest or found.layouts[0]
    assert [(point.step_time_s, point.memory_bytes) for point in chosen] == [(best.step_time_s, best.memory_bytes)]


def test_it_is_drawn_and_written(run, tmp_path):
    picture, data = tmp_path / "front.svg", tmp_path / "front.csv"
    options = ("--num-devices", "8", "--global-batch", "64", "--kind", "layouts", "--data", str(data))
    status, _, err = run("plot", "llama-2-7b", "-d", "h100-sxm-80gb", *options, "-o", str(picture))
    assert (status, err) == (0, "")
    text = picture.read_text()
    assert ">recommended: " in text  # text stays text
    assert "capacity 79.6" in text
    assert data.read_text().startswith("name,layout,software,step_time_s,")


def test_nothing_that_fits_is_nothing_to_draw():
    none = roofline.layouts("llama-2-70b", "t4", num_devices=2, global_batch=8)
    with pytest.raises(RooflineError, match="no layout fits"):
        front_data(none)


def test_several_devices_are_refused(refused):
    err = refused("plot", "gpt2", "-d", "t4", "-d", "l4", "--kind", "layouts")
    assert "one device" in err


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_roofline_of_inference(phase):
    pass_of = roofline.infer("llama-3-8b", "h100-sxm-80gb", phase, micro_batch=4, seq_len=2048)
    panel = plot.roofline_data([pass_of]).panels[0]
    assert {point.phase for point in panel.points} == {"forward"}
    assert sum(point.share for point in panel.points) + panel.rest == pytest.approx(1.0)
    assert "tokens/s" in panel.caption


def test_only_a_roofline_shows_inference(refused):
    err = refused("plot", "gpt2", "-d", "t4", "--kind", "waterfall", "--phase", "decode")
    assert "only a roofline" in err
