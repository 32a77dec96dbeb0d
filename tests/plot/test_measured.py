"""Pictures of a profile show its figures."""

import pytest

from roofline import plot
from roofline.errors import RooflineError
from roofline.profiling.profile import assemble, read_ranks

US = 1e-6


def test_points_are_measured_rates_with_the_expected_beside(profiled):
    data = plot.measured_data(profiled[1])
    forward = next(point for point in data.panels[0].points if point.phase == "forward")
    flops = 2 * 4096 * 1024 * 2048
    assert forward.flops_per_s == pytest.approx(flops / (100 * US))
    assert forward.expected_flops_per_s > forward.flops_per_s
    assert forward.share == pytest.approx(200 / 1460)
    axes = plot.draw(data).axes[0]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert len(crosses) == len(data.panels[0].points)
    texts = " ".join(text.get_text() for text in axes.figure.texts)
    assert "Mark: measured rate" in texts


def test_a_roofline_needs_a_device(tmp_path, two_steps):
    path = two_steps(device={"id": 0, "name": "Unheard Of"}).write(tmp_path / "t.json")
    with pytest.raises(RooflineError, match="--device"):
        plot.measured_data(assemble(read_ranks([path])))


@pytest.mark.parametrize("picture", ["--roofline", "--timeline"])
def test_both_at_the_width_of_a_column(run, tmp_path, two_steps, picture):
    trace, out = two_steps(rank=0, world_size=8).write(tmp_path / "t.json"), tmp_path / "a.svg"
    status, _, err = run("profile", str(trace), picture, str(out), "--width", "3.3in", "--font-size", "7")
    assert (status, err) == (0, "")
    assert 'width="237.6pt"' in out.read_text()
    status, _, err = run("profile", str(trace), picture, str(tmp_path / "b.svg"), "--width", "1in")
    assert (status, err.count("\n")) == (2, 1)
    assert not (tmp_path / "b.svg").exists()
