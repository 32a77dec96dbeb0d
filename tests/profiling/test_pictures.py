"""Pictures of a profile show its figures."""

from __future__ import annotations

import pytest

from roofline import plot
from roofline.errors import RooflineError
from roofline.profiling.profile import assemble, read_ranks

US = 1e-6


@pytest.fixture(scope="module")
def found(tmp_path_factory, two_steps):
    ranks = read_ranks([two_steps(rank=0, world_size=8).write(tmp_path_factory.mktemp("t") / "t.json")])
    return ranks, assemble(ranks)


def test_points_are_measured_rates_with_the_expected_beside(found):
    data = plot.measured_data(found[1])
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


def test_the_timeline_has_a_lane_per_stream(found):
    ranks, result = found
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


def test_the_command_draws_both(found, tmp_path, capsys):
    from roofline.cli import main

    trace = found[0][0].trace.path
    roof, time = tmp_path / "roof.svg", tmp_path / "time.png"
    assert main(["profile", trace, "--roofline", str(roof), "--timeline", str(time)]) == 0
    assert roof.read_text().startswith("<?xml")
    assert time.read_bytes()[:4] == b"\x89PNG"
    assert main(["profile", trace, "--timeline", str(tmp_path / "time.gif")]) == 2
    assert "picture format" in capsys.readouterr().err


@pytest.mark.parametrize("picture", ["--roofline", "--timeline"])
def test_both_at_the_width_of_a_column(run, tmp_path, two_steps, picture):
    trace, out = two_steps(rank=0, world_size=8).write(tmp_path / "t.json"), tmp_path / "a.svg"
    status, _, err = run("profile", str(trace), picture, str(out), "--width", "3.3in", "--font-size", "7")
    assert (status, err) == (0, "")
    assert 'width="237.6pt"' in out.read_text()
    status, _, err = run("profile", str(trace), picture, str(tmp_path / "b.svg"), "--width", "1in")
    assert (status, err.count("\n")) == (2, 1)
    assert not (tmp_path / "b.svg").exists()
