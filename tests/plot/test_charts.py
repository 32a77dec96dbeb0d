"""Waterfalls and bars of memory as they are drawn."""

import pytest

from roofline import plot
from roofline.answers.estimate import estimate
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.units import format_time


def test_waterfall_bars_join_end_to_end(xl):
    data = plot.waterfall_data([xl])
    axes = plot.draw(data).axes[0]
    rectangles = [bar for bar in axes.patches if bar.get_height() > 0]  # the key's own have none
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in rectangles]
    peak, *losses, mfu = bars
    assert peak == (0, 1)
    assert mfu == (0, pytest.approx(xl.mfu))
    edge = 1.0
    for left, right in losses:
        assert right == pytest.approx(edge, abs=1e-3)  # terms below 0.05 % have no bar
        edge = left
    assert edge == pytest.approx(xl.mfu, abs=1e-3)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "dense peak"
    assert labels[-1] == "MFU"
    assert len(labels) == len(bars)


def test_one_capacity_is_one_line_with_its_figure(xl):
    sweep = plot.memory_sweep(load_model("gpt2-xl"), load_device("a100-sxm-80gb"))
    figure = plot.draw(sweep)
    assert len([line for line in figure.axes[0].lines if len(line.get_ydata()) == 2]) == 1
    assert "capacity 80.0 GiB" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(("width", "said"), [(None, "25.0\nborderline"), (2.5, "25")])
def test_a_bar_that_may_fit_is_called_borderline(width, said):
    batches = (1, 2, 4) if width is None else tuple(range(1, 9))
    options = {"train": "qlora", "seq_len": 2048, "stack": "compiled"}
    sweep = plot.memory_sweep(load_model("llama-3-8b"), load_device("rtx-4090"), batches, **options)
    figure = plot.draw(sweep, width=width)
    assert said in [text.get_text() for text in figure.axes[0].texts]
    key = " ".join(text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts())
    assert ("a little pale: borderline" in key) is (width is not None)  # where bars have no room for the word


def test_a_caption_says_what_may_not_fit():
    options = {"train": "qlora", "seq_len": 2048, "stack": "compiled"}
    captions = [
        plot.roofline_data([estimate("llama-3-8b", "rtx-4090", micro_batch=batch, **options)]).panels[0].caption
        for batch in (1, 2, 4)
    ]
    assert "memory" not in captions[0]
    assert ", borderline in memory" in captions[1]
    assert ", does not fit in memory" in captions[2]


def test_a_long_step_is_told_in_minutes_or_hours():
    slow = estimate("llama-3-8b", "epyc-9654", micro_batch=8)
    caption = plot.roofline_data([slow]).panels[0].caption
    assert caption.startswith(f"step {format_time(slow.step_time_s)} (")
    assert " min (" in caption
