import csv
import math
import subprocess
import sys

import pytest

from roofline import plot
from roofline.answers.capacity import max_micro_batch, max_seq_len
from roofline.answers.estimate import estimate
from roofline.cli import main
from roofline.config.settle import settle
from roofline.errors import RooflineError
from roofline.hardware import device_ids, load_device
from roofline.model.load import load_model
from roofline.plot.build import points_of, roof_of
from roofline.plot.data import Measurement, ValidationData
from roofline.plot.labels import Box
from roofline.plot.points import named_groups
from roofline.units import format_time
from roofline.validation.runs import Prediction

from .overlap import overlaps

GIB = 2**30


@pytest.fixture(scope="module")
def xl():
    return estimate("gpt2-xl", "h100-sxm-80gb", micro_batch=8)


@pytest.fixture(scope="module")
def pair(xl):
    return [xl, estimate("gpt2-xl", "a100-sxm-80gb", micro_batch=8)]


def prediction(name, device, measured, predicted, low, high):
    return Prediction(row={"id": name, "device": device}, measured=measured, predicted=predicted, low=low, high=high)


PREDICTIONS = [
    prediction("one-1", "h100-sxm-80gb", 1000.0, 1100.0, 950.0, 1250.0),
    prediction("one-2", "h100-sxm-80gb", 2000.0, 1500.0, 1300.0, 1700.0),
    prediction("two-1", "a100-sxm-80gb", 500.0, 500.0, 450.0, 550.0),
    Prediction(row={"id": "two-2", "device": "t4"}, skipped_reason="tp is not stated"),
]


def visible_boxes(axes):
    """The boxes of all text written into the axes by hand, rotated text apart."""
    from matplotlib.text import Text

    texts = [text for text in axes.texts if text.get_text() and not text.get_rotation()]
    for text in texts:
        text.update_positions(axes.figure.canvas.get_renderer())
    extents = [Text.get_window_extent(text) for text in texts]  # Annotation's own would add the leader line
    return [Box(extent.x0, extent.y0, extent.x1, extent.y1) for extent in extents]


# --- rooflines --------------------------------------------------------------------------------------------


def test_a_roof_holds_every_dense_peak_with_its_ridge_point():
    device = load_device("h100-sxm-80gb")
    roof = roof_of(device, "bf16")
    by_dtype = {dtype: ceiling for ceiling in roof.ceilings for dtype in ceiling.dtypes}
    assert {dtype: ceiling.flops_per_s for dtype, ceiling in by_dtype.items()} == device.peaks
    assert roof.main.dtypes == ("fp16", "bf16")
    assert roof.main.ridge == pytest.approx(989.4e12 / 3.35e12)  # 295 FLOP/byte
    assert [ceiling.used for ceiling in roof.ceilings] == [False, True, False, False]


def test_cache_bandwidth_is_shown_only_where_known():
    assert [slope.level for slope in roof_of(load_device("a100-sxm-80gb")).slopes] == ["HBM2e", "L2"]
    assert [slope.level for slope in roof_of(load_device("h100-sxm-80gb")).slopes] == ["HBM3"]


def test_points_hold_all_flops_of_the_estimate_and_stay_under_the_roof(xl):
    points = points_of(xl)
    flops = sum(point.flops_per_s * point.seconds for point in points)
    assert flops == pytest.approx(sum(op.flops * op.runs for op in xl.ops), rel=1e-9)
    assert all(0 < point.flops_per_s <= point.ideal_flops_per_s * (1 + 1e-9) for point in points)
    bandwidth, peak = xl.device.memory_bandwidth_bytes_per_s, max(xl.device.peaks.values())
    assert all(point.ideal_flops_per_s <= 1.0001 * min(point.intensity * bandwidth, peak) for point in points)
    assert [point.share for point in points] == sorted((point.share for point in points), reverse=True)
    assert {"forward", "backward", "optimizer"} == {point.phase for point in points}


def test_backward_parts_of_an_op_are_one_point(xl):
    ups = [point for point in points_of(xl) if point.name == "mlp.up" and point.kind == "matmul"]
    assert sorted(point.phase for point in ups) == ["backward", "forward"]
    seconds = {point.phase: point.seconds for point in ups}
    parts = [op.expected_s for op in xl.ops if op.name in {"mlp.up.dgrad", "mlp.up.wgrad"}]
    assert seconds["backward"] == pytest.approx(sum(parts))


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
        (
            "llama-3-8b",
            "h100-sxm-80gb",
            {"dtype": "fp8", "recompute": "full", "num_devices": 8, "sharding": "fsdp"},
        ),
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


def test_names_are_shared_by_phases_and_neighbours(xl):
    points = [point for point in points_of(xl) if point.name in {"mlp.up", "mlp.down"} and point.kind == "matmul"]
    near = named_groups(points, [(0.0, 0.0)] * len(points), near=5)
    far = named_groups(points, [(100.0 * hash(p.name) % 977, 0.0) for p in points], near=1e-9)
    assert [len(group) for group in near] == [4]
    assert sorted(len(group) for group in far) == [2, 2]


def test_an_estimate_over_arrays_is_refused():
    import numpy as np

    swept = estimate("gpt2", "h100-sxm-80gb", micro_batch=np.array([1.0, 2.0]))
    for build in (plot.roofline_data, plot.waterfall_data):
        with pytest.raises(RooflineError, match="one configuration"):
            build([swept])


# --- waterfall --------------------------------------------------------------------------------------------


def test_the_waterfall_sums_from_peak_to_mfu(pair):
    for panel, result in zip(plot.waterfall_data(pair).panels, pair, strict=True):
        assert 1 - math.fsum(term.lost for term in panel.terms) == pytest.approx(panel.mfu, abs=1e-12)
        assert panel.terms[-1].remaining == pytest.approx(panel.mfu, abs=1e-12)
        assert panel.mfu == result.mfu
        assert panel.mfu_low <= panel.mfu <= panel.mfu_high


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


# --- memory and batch -------------------------------------------------------------------------------------


def test_memory_bars_stack_to_the_total(pair):
    data = plot.memory_data(pair)
    assert data.axis == "device"
    for bar, result in zip(data.bars, pair, strict=True):
        assert sum(bar.parts.values()) == pytest.approx(result.memory.total_bytes)
    axes = plot.draw(data).axes[0]
    tops = {}
    for patch in axes.patches:
        if patch.get_height() > 0:
            tops[round(patch.get_x(), 3)] = patch.get_y() + patch.get_height()
    assert list(tops.values()) == [pytest.approx(each.memory.total_bytes / GIB) for each in pair]
    capacities = {line.get_ydata()[0] for line in axes.lines if len(line.get_ydata()) == 2}
    assert capacities == {each.memory.capacity_bytes / GIB for each in pair}


def test_memory_sweep_ends_with_the_first_that_does_not_fit():
    model, device = load_model("gpt2-xl"), load_device("a100-sxm-80gb")
    data = plot.memory_sweep(model, device)
    assert data.largest == max_micro_batch(settle(model, device, {}))
    assert [bar.fits for bar in data.bars] == [True] * (len(data.bars) - 1) + [False]
    assert [int(bar.label) for bar in data.bars] == [2**i for i in range(len(data.bars))]
    asked = plot.memory_sweep(model, device, (1, 3))
    assert [bar.total_bytes for bar in asked.bars] == [
        pytest.approx(estimate(model, device, micro_batch=batch).memory.total_bytes) for batch in (1, 3)
    ]


def test_batch_curves_equal_estimates_one_by_one():
    model, device = load_model("gpt2-xl"), load_device("h100-sxm-80gb")
    (curve,) = plot.batch_data(model, [device], (4, 1, 8)).curves  # drawn from small to large
    for index, batch in enumerate((1, 4, 8)):
        one = estimate(model, device, micro_batch=batch)
        assert curve.mfu[index] == pytest.approx(one.mfu)
        assert curve.memory_bytes[index] == pytest.approx(one.memory.total_bytes)
        assert curve.mfu_low[index] <= curve.mfu[index] <= curve.mfu_high[index]


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


def test_batch_respects_the_global_batch():
    model, device = load_model("gpt2"), load_device("h100-sxm-80gb")
    (curve,) = plot.batch_data(model, [device], global_batch=48, num_devices=4).curves
    assert curve.values == (1, 2, 3, 4, 6, 12)  # divisors of 48 / 4


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


def test_sequence_curves_equal_estimates_one_by_one():
    model, device = load_model("llama-3-8b"), load_device("h200-sxm-141gb")
    options = {"num_devices": 8, "sharding": "fsdp"}
    data = plot.sequence_data(model, [device], (1024, 4096), **options)
    for index, length in enumerate((1024, 4096)):
        one = estimate(model, device, seq_len=length, micro_batch=1, **options)
        (curve,) = data.curves
        assert curve.step_time_s[index] == pytest.approx(one.step_time_s)
        assert curve.mfu[index] == pytest.approx(one.mfu)
        assert curve.memory_bytes[index] == pytest.approx(one.memory.total_bytes)
    assert [row["seq_len"] for row in data.rows()] == [1024, 4096]
    assert "micro batch 1" in data.title
    assert "fsdp stack" in data.title
    above, times, below = plot.draw(plot.sequence_data(model, [device], **options)).axes
    assert any(text.get_text() == "out of memory" for text in above.texts)
    assert times.get_yscale() == "log"
    assert below.lines[0].get_xdata()[-1] <= max_seq_len(settle(model, device, options))


def test_learned_positions_end_the_sequences():
    (curve,) = plot.sequence_data(load_model("gpt2"), [load_device("h100-sxm-80gb")]).curves
    assert curve.values[-1] == curve.largest == 1024


def test_one_capacity_is_one_line_with_its_figure(xl):
    sweep = plot.memory_sweep(load_model("gpt2-xl"), load_device("a100-sxm-80gb"))
    figure = plot.draw(sweep)
    assert len([line for line in figure.axes[0].lines if len(line.get_ydata()) == 2]) == 1
    assert "capacity 80.0 GiB" in [text.get_text() for text in figure.legends[0].get_texts()]


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


def test_a_long_step_is_told_in_minutes_or_hours():
    slow = estimate("llama-3-8b", "epyc-9654", micro_batch=8)
    caption = plot.roofline_data([slow]).panels[0].caption
    assert caption.startswith(f"step {format_time(slow.step_time_s)} (")
    assert " min (" in caption


# --- validation -------------------------------------------------------------------------------------------


def test_validation_leaves_skipped_rows_out_and_counts_the_interval():
    data = plot.validation_data(PREDICTIONS)
    assert [run.id for run in data.runs] == ["one-1", "one-2", "two-1"]
    assert [run.inside for run in data.runs] == [True, False, True]
    assert [run.source for run in data.runs] == ["one", "one", "two"]
    figure = plot.draw(data)
    words = " ".join(text.get_text() for text in figure.texts)
    assert "3 runs" in words
    assert "67 % of the measurements" in words
    assert "9.1 %" in words  # median of |1000/1100 - 1|, |2000/1500 - 1| and 0
    scatter, errors = figure.axes
    marks = [tuple(mark) for c in scatter.collections for mark in c.get_offsets() if c.get_label() == "h100-sxm-80gb"]
    assert marks == [(1000.0, 1100.0), (2000.0, 1500.0)]
    assert [label.get_text() for label in errors.get_yticklabels()] == ["h100-sxm-80gb", "a100-sxm-80gb"]


def test_many_groups_are_gathered_as_others():
    figures = {"source": "s", "low": 1.0, "high": 1e4}
    runs = tuple(
        Measurement(id=f"{i}", device=f"device-{i % 30}", measured=i + 1.0, predicted=i + 0.9, **figures)
        for i in range(90)
    )
    figure = plot.draw(ValidationData(title="runs", by="device", runs=runs))
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert len(labels) == 14
    assert labels[-1] == "others"


def test_validation_by_an_unknown_word_or_of_nothing():
    with pytest.raises(RooflineError, match="device, source"):
        plot.validation_data(PREDICTIONS, by="colour")
    with pytest.raises(RooflineError, match="nothing to draw"):
        plot.validation_data(PREDICTIONS[-1:])


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_same_picture_is_the_same_file(tmp_path, xl, suffix, start):
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    for path in (first, second):
        plot.save(plot.draw(plot.waterfall_data([xl])), path, dpi=72)
    assert first.read_bytes().startswith(start)
    assert first.read_bytes() == second.read_bytes()


def test_dpi_sets_the_pixels(tmp_path, xl):
    import struct

    figure = plot.draw(plot.waterfall_data([xl]))
    plot.save(figure, tmp_path / "a.png", dpi=100)
    width, _ = struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24])
    assert width == round(100 * figure.get_figwidth())


@pytest.mark.parametrize("name", ["a.gif", "a", "missing/a.png"])
def test_a_picture_that_cannot_be_written_is_one_error(tmp_path, xl, name):
    with pytest.raises(RooflineError, match=r"cannot write"):
        plot.save(plot.draw(plot.waterfall_data([xl])), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_data_beside_the_picture(tmp_path, pair):
    for data in (plot.roofline_data(pair), plot.waterfall_data(pair), plot.memory_data(pair)):
        plot.save_data(data, tmp_path / "data.csv")
        with (tmp_path / "data.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(data.rows())
        assert {row.get("device", row.get("h100-sxm-80gb")) for row in rows} >= {
            "h100-sxm-80gb",
            "a100-sxm-80gb",
        }


def test_drawing_leaves_matplotlib_as_it_was(xl):
    import matplotlib as mpl

    mpl.rcParams["font.size"] = 17.0
    before = dict(mpl.rcParams)
    figure = plot.draw(plot.waterfall_data([xl]))
    assert dict(mpl.rcParams) == before
    assert figure.axes[0].get_yticklabels()[0].get_fontsize() == 7.5  # ours, whatever the user's style
    mpl.rcdefaults()


def test_plotting_needs_no_display_and_no_pyplot(tmp_path):
    code = (
        "import sys; from roofline import plot; assert 'matplotlib' not in sys.modules;"
        "from roofline.cli import main;"
        f"assert main(['plot', '-d', 'h100-sxm-80gb', '--output', {str(tmp_path / 'a.png')!r}]) == 0;"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert (tmp_path / "a.png").stat().st_size > 10_000


# --- command ----------------------------------------------------------------------------------------------


def run(*arguments):
    return main(["plot", *arguments])


@pytest.mark.parametrize("kind", ["roofline", "waterfall", "memory", "batch"])
def test_every_kind_from_the_command_line(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    arguments = ["gpt2", "-d", "h100-sxm-80gb", "--kind", kind, "--dpi", "50", "--data", "data.csv"]
    assert run(*arguments) == 0
    assert capsys.readouterr().out == f"wrote {kind}.png and data.csv\n"
    assert (tmp_path / f"{kind}.png").exists()
    assert (tmp_path / "data.csv").read_text().count("\n") > 3


def test_devices_may_repeat_and_be_joined(tmp_path):
    output = str(tmp_path / "a.svg")
    assert run("-d", "h100-sxm-80gb,a100-sxm-80gb", "-d", "mi300x", "--output", output) == 0
    assert run("gpt2", "-d", "h100-sxm-80gb", "-d", "a100-sxm-80gb", "--kind", "memory", "--output", output) == 0


def test_validate_reads_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr("roofline.validation.runs.validate_runs", lambda path: PREDICTIONS if path == "my.csv" else [])
    output = str(tmp_path / "a.png")
    assert run("--kind", "validate", "--runs", "my.csv", "--by", "source", "--output", output) == 0
    assert run("--kind", "validate", "--runs", "my.csv", "-d", "t4", "--output", output) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gpt2", "-d", "t4", "--dtype", "bf16"], ["t4", "bf16", "fp16"]),
        (["gpt2", "-d", "h100-sxm-80gb", "--output", "a.gif"], ["a.gif", ".png, .svg, .pdf"]),
        (["gpt2", "-d", "h100-sxm-80gb", "--data", "no/a.csv"], ["no/a.csv", "folder"]),
        (["gpt2"], ["--device", "roofline devices"]),
        (["-d", "h100-sxm-80gb", "--kind", "memory"], ["memory", "MODEL"]),
        (["-d", "h100-sxm-80gb", "--dtype", "fp4"], ["fp4", "fp8"]),
        (["gpt2", "-d", "h100-sxm-80gb", "--tp", "1,2"], ["--tp", "one value"]),
        (["gpt2", "-d", "h100-sxm-80gb", "--kind", "batch", "--micro-batch", "4"], ["--micro-batch", "list"]),
        (["gpt2", "-d", "t4,h100-sxm-80gb", "--kind", "memory", "--micro-batch", "1,2"], ["one of either"]),
        (["gpt2", "-d", "h100-sxm-80gb", "--dpi", "1"], ["--dpi 1", "30"]),
        (["gpt2", "-d", "t4", "--over", "seq-len"], ["--over", "--kind batch"]),
        (
            ["gpt2", "-d", "t4", "--kind", "batch", "--over", "seq-len", "--seq-len", "64"],
            ["--seq-len", "list"],
        ),
        (["gpt2", "--kind", "validate"], ["validate", "'gpt2'"]),
        (["gpt2", "-d", "h100-sxm-80gb", "--kind", "rooflines"], ["roofline"]),
        (
            ["gpt2", "-d", "h100-sxm-80gb", "--kind", "batch", "--global-batch", "5", "--num-devices", "2"],
            ["5", "2"],
        ),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert all(word in captured.err for word in words), captured.err
    assert not list(tmp_path.iterdir())


def test_ceilings_that_training_does_not_use_leave_its_figure():
    (panel,) = plot.roofline_data([estimate("gpt2", "h100-sxm-80gb")]).panels
    shown = {dtype for ceiling in panel.roof.ceilings for dtype in ceiling.dtypes}
    assert not shown & {"fp64", "int8"}
    assert {"fp8", "bf16", "fp32"} <= shown


def test_caches_are_drawn_for_all_devices_or_none():
    alone = plot.roofline_data([estimate("gpt2", "a100-sxm-80gb")]).panels[0]
    assert [slope.level for slope in alone.roof.slopes] == ["HBM2e", "L2"]
    both = plot.roofline_data([estimate("gpt2", name) for name in ("a100-sxm-80gb", "h100-sxm-80gb")]).panels
    assert [len(panel.roof.slopes) for panel in both] == [1, 1]


def test_backward_marks_are_outlines_so_that_forward_ones_show():
    axes = plot.draw(plot.roofline_data([estimate("gpt2", "h100-sxm-80gb")])).axes[0]
    squares = [mark for mark in axes.collections if len(mark.get_paths()[0]) == 5 and len(mark.get_offsets())]
    assert squares
    assert all(len(mark.get_facecolor()) == 0 for mark in squares)


def test_text_of_an_svg_is_text(tmp_path):
    plot.save(plot.draw(plot.roofline_data([load_device("h100-sxm-80gb")])), tmp_path / "roof.svg")
    assert "arithmetic intensity" in (tmp_path / "roof.svg").read_text()


def test_captions_name_optimizer_and_adapters():
    data = plot.roofline_data([estimate("gpt2", "h100-sxm-80gb", train="lora", lora_rank=8, optimizer="sgd")])
    assert "LoRA of rank 8" in data.title
    assert "sgd" in data.title


def test_memory_curves_that_coincide_are_told_apart():
    devices = [load_device(name) for name in ("h100-sxm-80gb", "a100-sxm-80gb", "mi300x")]
    below = plot.draw(plot.batch_data(load_model("gpt2"), devices, (1, 2, 4))).axes[1]
    lines = [line for line in below.lines if not line.get_label().startswith("_")]
    assert [line.get_linewidth() for line in lines] == pytest.approx([4.2, 2.7, 1.2])
    assert len({str(line.get_linestyle()) for line in lines}) == 3  # in grey too
    named = [text.get_text() for text in below.texts]
    assert any("h100-sxm-80gb" in text and "a100-sxm-80gb" in text for text in named)
    assert any("mi300x" in text for text in named)
