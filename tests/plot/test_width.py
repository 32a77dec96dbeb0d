"""Every kind of picture at the width of a paper's column: nothing cut, nothing over another, nothing too small."""

from itertools import combinations

import pytest

import roofline
from roofline import plot
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.plot.data import Measurement, ValidationData
from roofline.plot.labels import Box
from roofline.plot.style import page

DEVICES = ("h100-sxm-80gb", "a100-sxm-80gb", "mi300x")


def rooflines():
    return plot.roofline_data([roofline.estimate("gpt2-xl", name, micro_batch=8) for name in DEVICES[:2]])


def bare():
    return plot.roofline_data([load_device("h100-sxm-80gb")])


def overlay():
    return plot.roofline_data([load_device(name) for name in DEVICES])


def decode():
    return plot.roofline_data([roofline.infer("llama-3-8b", "h100-sxm-80gb", "decode", micro_batch=32, seq_len=4096)])


def waterfall():
    return plot.waterfall_data([roofline.estimate("gpt2-xl", name, micro_batch=8) for name in DEVICES])


def memory():
    return plot.memory_sweep(load_model("gpt2-xl"), load_device("a100-sxm-80gb"))


def memory_of_devices():
    return plot.memory_data([roofline.estimate("gpt2-xl", name, micro_batch=24) for name in DEVICES])


def batch():
    return plot.batch_data(load_model("gpt2-xl"), [load_device("a100-sxm-80gb")], (1, 2, 4, 8, 16, 32))


def batch_of_devices():
    return plot.batch_data(load_model("gpt2-xl"), [load_device(name) for name in DEVICES], (1, 4, 16, 64))


def none_fits():
    return plot.batch_data(load_model("llama-2-70b"), [load_device(name) for name in DEVICES[:2]], (1, 2, 4))


def sequences():
    options = {"num_devices": 8, "sharding": "fsdp"}
    return plot.sequence_data(load_model("llama-3-8b"), [load_device("h200-sxm-141gb")], (1024, 4096, 16384), **options)


def front():
    return plot.front_data(roofline.layouts("llama-2-7b", "h100-sxm-80gb", num_devices=8, global_batch=64))


def timeline():
    layout = {"num_devices": 8, "tp": 2, "pp": 4, "global_batch": 8, "micro_batch": 1}
    return plot.step_data(roofline.estimate("llama-3-8b", "h100-sxm-80gb", **layout))


def validation():
    figures = {"measured": 1000.0, "predicted": 1100.0, "low": 900.0, "high": 1300.0}
    names = ["h100-sxm-96gb-hbm2e", "a100-sxm-80gb", "a source whose title is much longer than there is room for"]
    runs = [Measurement(id=str(n), device=name, source=name, **figures) for n, name in enumerate(3 * names)]
    return ValidationData(title="Published training runs", by="device", runs=tuple(runs))


KINDS = (
    rooflines,
    bare,
    overlay,
    decode,
    waterfall,
    memory,
    memory_of_devices,
    batch,
    batch_of_devices,
    none_fits,
    sequences,
    front,
    timeline,
    validation,
)


@pytest.fixture(scope="module")
def data_of():
    made = {}
    return lambda kind: made.setdefault(kind, kind())


def texts_of(figure):
    """What is written into a figure, with the box of each text in pixels; leaders are no part of it."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    texts = list(figure.texts)
    for legend in figure.legends:
        texts += [*legend.get_texts(), legend.get_title()]
    for axes in figure.axes:
        texts += [*axes.texts, axes.xaxis.label, axes.yaxis.label]
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            shown = [tick for tick in ticks if min(low, high) <= tick.get_loc() <= max(low, high)]
            texts += [tick.label1 for tick in shown if tick.label1.get_visible()]
    shown = [text for text in texts if text.get_visible() and text.get_text().strip()]
    extents = [Text.get_window_extent(text) for text in shown]
    return [(text, Box(each.x0, each.y0, each.x1, each.y1)) for text, each in zip(shown, extents, strict=True)]


@pytest.mark.parametrize("inches", [3.3, None])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cut_or_lies_over_another(data_of, kind, inches):
    figure = plot.draw(data_of(kind), width=inches)
    assert inches is None or figure.get_figwidth() == inches
    texts = texts_of(figure)
    width, height = figure.canvas.get_width_height()
    page = Box(0, 0, width, height)
    assert [text.get_text() for text, box in texts if not box.inside(page)] == []
    level = [(text.get_text(), box) for text, box in texts if text.get_rotation() % 180 in {0, 90}]
    over = [(a, b) for (a, one), (b, other) in combinations(level, 2) if one.overlap(other) > 4]
    assert over == []
    assert min(text.get_fontsize() for text, _ in texts) >= 6


def test_the_same_data_at_any_width(data_of):
    one, other = (plot.draw(data_of(rooflines), width=inches) for inches in (3.3, 7.2))
    for narrow, wide in zip(one.axes, other.axes, strict=True):
        marks = [
            [tuple(c.get_offsets()[0]) for c in axes.collections if len(c.get_offsets())] for axes in (narrow, wide)
        ]
        assert marks[0] == marks[1]
        peaks = [{max(line.get_ydata()) for line in axes.lines} for axes in (narrow, wide)]
        assert peaks[0] == peaks[1]


def test_type_is_as_asked(data_of):
    figure = plot.draw(data_of(timeline), width=6, font_size=10)
    sizes = {text.get_fontsize() for text, _ in texts_of(figure)}
    assert sizes == {10.0, 10.5, 12.0}  # normal, labels of axes, heading


def test_devices_of_which_none_fits_have_lines_that_tell_them_apart(data_of):
    below = plot.draw(data_of(none_fits)).axes[1]
    lines = [line for line in below.lines if len(line.get_xdata()) == 3]
    assert len(lines) == 2
    assert list(lines[0].get_ydata()) == list(lines[1].get_ydata())
    assert lines[0].get_linewidth() > 1.5 * lines[1].get_linewidth()
    assert lines[0].get_linestyle() != lines[1].get_linestyle()
    assert lines[1].get_alpha() == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--width", "3.3"], ["'3.3'", "in, cm, mm, pt"]),
        (["--width", "wide"], ["'wide'", "3.3in"]),
        (["--width", "-3in"], ["--width"]),
        (["--width", "1in"], ["width 1in", "2.5in to 30in"]),
        (["--width", "200cm"], ["width 78.7", "2.5in to 30in"]),
        (["--font-size", "3"], ["font size 3pt", "6pt to 36pt"]),
        (["--width", "3.3in", "--font-size", "12"], ["font size 12pt", "6pt to 8.4pt"]),
        (["--font-size", "big"], ["big"]),
    ],
)
def test_measures_out_of_range_are_one_line(refused, tmp_path, options, words):
    picture = tmp_path / "a.png"
    err = refused("plot", "-d", "h100-sxm-80gb", *options, "-o", str(picture))
    assert all(word in err for word in words), err
    assert not picture.exists()


@pytest.mark.parametrize(("text", "inches"), [("3.3in", 3.3), ("8.382cm", 3.3), ("83.82 mm", 3.3), ("237.6pt", 3.3)])
def test_a_width_in_any_unit(run, tmp_path, text, inches):
    picture = tmp_path / "a.svg"
    status, _, _ = run("plot", "-d", "h100-sxm-80gb", "--width", text, "-o", str(picture))
    assert status == 0
    assert f'width="{72 * inches:g}pt"' in picture.read_text()


def test_type_shrinks_to_six_points_and_no_further():
    assert [page(inches).normal for inches in (7.2, 3.4, 2.5)] == pytest.approx([7.5, 7.2, 6.0])
    with pytest.raises(RooflineError, match="30in"):
        page(31)
