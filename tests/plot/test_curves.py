"""Curves over batch and sequence as they are drawn."""

import pytest

from roofline import plot
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.plot.labels import Box

from .overlap import visible_boxes

GIB = 2**30


def test_batch_marks_what_does_not_fit():
    model, device = load_model("gpt2-xl"), load_device("h100-sxm-80gb")
    data = plot.batch_data(model, [device])
    (curve,) = data.curves
    assert curve.values[-1] == 2 * curve.largest
    above, below = plot.draw(data).axes
    assert any(text.get_text() == "out of memory" for text in above.texts)
    assert any(f"micro batch {curve.largest}" in text.get_text() for text in above.texts)
    assert below.lines[0].get_xdata()[-1] == curve.largest
    assert above.lines[0].get_ydata()[-1] == curve.mfu[curve.largest - 1]
    fits = [row["fits"] for row in data.rows()]
    assert fits == [row["micro_batch"] <= curve.largest for row in data.rows()]


def test_what_may_fit_is_no_part_of_what_is_out_of_memory():
    options = {"train": "qlora", "seq_len": 2048, "stack": "compiled"}
    data = plot.batch_data(load_model("llama-3-8b"), [load_device("rtx-4090")], (1, 2, 4), **options)
    figure = plot.draw(data)
    may, beyond = figure.axes[0].patches
    edges = 2**0.5, 8**0.5  # half way, on the logarithmic axis, between the values that fit, may fit and do not
    assert (may.get_x(), may.get_x() + may.get_width()) == pytest.approx(edges)
    assert beyond.get_x() == pytest.approx(edges[1])
    assert "borderline: may fit" in [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_curves_of_several_devices_mark_what_surely_fits():
    devices = [load_device("h100-sxm-80gb"), load_device("mi300x")]
    data = plot.batch_data(load_model("gpt2-xl"), devices, (8, 16, 18, 20, 24), dtype="bf16")
    tight, roomy = data.curves
    assert 0 < tight.sure < tight.fitting < 5 == roomy.sure
    figure = plot.draw(data)
    for axes in figure.axes:
        marks = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
        rings, discs = (
            [m.get_xdata()[0] for m in marks if (m.get_markerfacecolor() == "white") is w] for w in (True, False)
        )
        assert rings == [tight.values[tight.sure - 1]]
        assert discs == [tight.largest, 24]
    words = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert {"largest that surely fits", "largest likelier than not to fit"} < set(words)


def test_a_model_that_fits_nowhere_still_has_a_picture():
    model, device = load_model("llama-3-70b"), load_device("t4")
    data = plot.batch_data(model, [device])
    assert data.curves[0].largest == 0
    figure = plot.draw(data)
    above, below = figure.axes
    assert below.get_ylim()[1] > data.curves[0].memory_bytes[0] / GIB  # the curve is in the picture
    width, height = figure.canvas.get_width_height()
    (words,) = [text for text in above.texts if "no micro batch fits" in text.get_text()]
    assert words.get_window_extent().x0 > above.get_window_extent().x0
    assert all(box.inside(Box(0, 0, width, height)) for box in visible_boxes(above))
    sweep = plot.memory_sweep(model, device)
    assert not any(bar.fits for bar in sweep.bars)
    assert "none fits" in plot.draw(sweep).axes[0].get_xlabel()


def test_memory_curves_that_coincide_are_told_apart():
    devices = [load_device(name) for name in ("h100-sxm-80gb", "a100-sxm-80gb", "mi300x")]
    below = plot.draw(plot.batch_data(load_model("gpt2"), devices, (1, 2, 4))).axes[1]
    lines = [line for line in below.lines if not line.get_label().startswith("_")]
    assert [line.get_linewidth() for line in lines] == pytest.approx([4.2, 2.7, 1.2])
    assert len({str(line.get_linestyle()) for line in lines}) == 3  # in grey too
    named = [text.get_text() for text in below.texts]
    assert any("h100-sxm-80gb" in text and "a100-sxm-80gb" in text for text in named)
    assert any("mi300x" in text for text in named)
