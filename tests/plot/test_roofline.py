"""Roofline diagrams as they are drawn: ceilings, marks, names, and none over another."""

import matplotlib as mpl
import numpy as np
import pytest

from roofline import plot
from roofline.answers.estimate import estimate
from roofline.hardware import device_ids, load_device
from roofline.plot.build import roof_of
from roofline.plot.labels import Box

from .overlap import overlaps, visible_boxes


def test_a_panel_draws_ceilings_ridge_and_one_mark_per_point(pair):
    data = plot.roofline_data(pair)
    figure = plot.draw(data)
    assert len(figure.axes) == 2
    for axes, panel in zip(figure.axes, data.panels, strict=True):
        assert axes.get_xscale() == axes.get_yscale() == "log"
        marks = [c.get_offsets()[0] for c in axes.collections if len(c.get_offsets())]
        expected = [(point.intensity, point.flops_per_s / 1e12) for point in panel.points]
        assert [tuple(mark) for mark in marks] == [pytest.approx(each) for each in expected]
        (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
        assert all(x0 < x < x1 and y0 < y < y1 for x, y in expected)
        peaks = {ceiling.flops_per_s / 1e12 for ceiling in panel.roof.ceilings}
        assert peaks <= {line.get_ydata()[-1] for line in axes.lines}
        words = " ".join(text.get_text() for text in axes.texts)
        assert f"ridge {panel.roof.main.ridge:.0f} FLOP/byte" in words
        assert panel.roof.name in words
        assert "attention.core" in words
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


@pytest.mark.parametrize(
    ("model", "device", "options"),
    [
        ("gpt2-xl", "h100-sxm-80gb", {"micro_batch": 8}),
        ("gpt2-xl", "a100-sxm-80gb", {"micro_batch": 1, "stack": "eager", "attention": "unfused"}),
        ("llama-3-8b", "h100-sxm-80gb", {"dtype": "fp8", "recompute": "full", "num_devices": 8, "sharding": "fsdp"}),
        ("gpt2", "xeon-platinum-8480plus", {"micro_batch": 4}),
        ("deepseek-v3", "h800-sxm-80gb", {}),  # has an fp64 ceiling as low as the name of its bandwidth
    ],
)
def test_no_two_texts_overlap(model, device, options):
    figure = plot.draw(plot.roofline_data([estimate(model, device, **options)]))
    boxes = visible_boxes(figure.axes[0])
    assert len(boxes) > 8
    assert not overlaps(boxes)


@pytest.mark.parametrize("device", ["l20", "b300-sxm", "mi300x", "epyc-9654", "tpu-v5e", "rtx-4090"])
def test_ceilings_of_a_bare_device_are_named_without_overlap(device):
    figure = plot.draw(plot.roofline_data([load_device(device)]))
    assert not overlaps(visible_boxes(figure.axes[0]))
    words = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert all(dtype in words for dtype in load_device(device).peaks)


def test_several_bare_devices_share_one_panel():
    names = ["h100-sxm-80gb", "a100-sxm-80gb", "mi300x", "gb200", "tpu-v5e", "rtx-4090", "l4", "epyc-9654"]
    figure = plot.draw(plot.roofline_data(load_device(name) for name in names))
    (axes,) = figure.axes
    assert {line.get_label() for line in axes.lines} >= set(names)
    styles = {(line.get_color(), str(line.get_linestyle())) for line in axes.lines if line.get_label() in names}
    assert len(styles) == len(names)
    boxes, (width, height) = visible_boxes(axes), figure.canvas.get_width_height()
    assert not overlaps(boxes)
    assert all(box.inside(Box(0, 0, width, height)) for box in boxes)


def test_every_device_with_a_peak_can_be_drawn():
    roofs = [roof_of(load_device(name)) for name in device_ids() if load_device(name).peaks]
    assert all(roof.main.flops_per_s > 0 and roof.main.ridge > 0 for roof in roofs)


def test_devices_share_a_title_and_keep_what_is_their_own():
    data = plot.roofline_data([estimate("gpt2-xl", name) for name in ("h100-sxm-80gb", "tpu-v5e")])
    assert data.title.startswith("gpt2-xl")
    assert "stack" not in data.title
    assert [panel.caption.split(", ")[-1] for panel in data.panels] == ["compiled stack", "jax stack"]


def test_nothing_overlaps_or_is_cut_off_around_four_panels():
    names = ("h100-sxm-80gb", "a100-sxm-80gb", "mi300x", "tpu-v5e")
    figure = plot.draw(plot.roofline_data([estimate("qwen3-30b-a3b", name) for name in names]))
    figure.draw_without_rendering()
    width, height = figure.canvas.get_width_height()
    page = Box(0, 0, width, height)
    key = [legend.get_window_extent() for legend in figure.legends]
    notes = [text.get_window_extent() for text in figure.texts]
    boxes = [Box(each.x0, each.y0, each.x1, each.y1) for each in key + notes]
    boxes += [box for axes in figure.axes for box in visible_boxes(axes)]
    assert not overlaps(boxes)
    assert all(box.inside(page) for box in boxes)
    ticks = [label.get_window_extent() for axes in figure.axes[2:] for label in axes.get_xticklabels()]
    ticks = [Box(each.x0, each.y0, each.x1, each.y1) for each in ticks if 0 < each.x0 < width]
    assert not overlaps(ticks)
    assert all(box.inside(page) for box in ticks)


@pytest.mark.skipif(mpl.__version_info__[:2] < (3, 11), reason="earlier versions measure text otherwise")
def test_the_name_of_a_bandwidth_lies_on_no_mark_and_no_other_text():
    figure = plot.draw(plot.roofline_data([estimate("gpt2-xl", "a100-sxm-80gb", micro_batch=8)]), width=3.3)
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    slanted = next(text for text in texts if text.get_rotation())
    along = slanted_boxes(slanted)
    others = [text.get_window_extent() for text in texts if text is not slanted and not text.get_rotation()]
    assert not [other for other in others for box in along if other.overlaps(box)]


def slanted_boxes(text):
    """Ten boxes along a slanted text, a box each as high as half its letters."""
    from matplotlib.transforms import Bbox

    extent, angle = text.get_window_extent(), np.radians(text.get_rotation())
    height = 0.5 * text.get_fontsize() * text.figure.dpi / 72
    reach = min(extent.width / np.cos(angle), extent.height / np.sin(angle)) - height
    middle = np.array([(extent.x0 + extent.x1) / 2, (extent.y0 + extent.y1) / 2])
    centres = [
        middle + step * reach * np.array([np.cos(angle), np.sin(angle)]) for step in np.linspace(-0.45, 0.45, 10)
    ]
    return [Bbox([centre - height / 2, centre + height / 2]) for centre in centres]
