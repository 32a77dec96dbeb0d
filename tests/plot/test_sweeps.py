"""Sweeps of batch, sequence and memory: each point is an estimate of its own."""

import pytest

from roofline import plot
from roofline.answers.capacity import max_micro_batch, max_seq_len
from roofline.answers.estimate import estimate
from roofline.config.settle import settle
from roofline.hardware import load_device
from roofline.model.load import load_model

GIB = 2**30


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


def test_bars_of_devices_say_what_differs_between_them():
    pair = [estimate("gpt2-xl", device, dtype="bf16") for device in ("h100-sxm-80gb", "mi300x")]
    data = plot.memory_data(pair)
    assert [bar.words for bar in data.bars] == [
        f"micro batch {each.train.micro_batch} of 1,024 tokens" for each in pair
    ]
    labels = [label.get_text().replace("\n", " ") for label in plot.draw(data).axes[0].get_xticklabels()]
    assert [bar.words in label for bar, label in zip(data.bars, labels, strict=True)] == [True, True]


def test_parts_are_called_as_the_command_calls_them():
    ran = [estimate("gpt2", "h100-sxm-80gb", stack=stack) for stack in ("eager", "megatron")]
    words = [plot.memory_data([each]).part_words for each in ran]
    assert [each["optimizer_bytes"] for each in words] == ["optimizer state", "optimizer state and master weights"]


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


QLORA = {"train": "qlora", "seq_len": 2048, "stack": "compiled"}


def test_what_may_fit_is_called_borderline_as_by_memory():
    model, device = load_model("llama-3-8b"), load_device("rtx-4090")
    batches = (1, 2, 4)
    said = [str(estimate(model, device, micro_batch=batch, **QLORA).memory.verdict) for batch in batches]
    assert said == ["fits", "borderline", "does not fit"]
    bars, curves = (
        plot.memory_sweep(model, device, batches, **QLORA),
        plot.batch_data(model, [device], batches, **QLORA),
    )
    for data in (bars, curves):
        assert [row["verdict"] for row in data.rows()] == said
        assert [row["fits"] for row in data.rows()] == [True, False, False]  # likelier than not


def test_moments_of_a_step_have_a_verdict():
    bars = plot.phase_data(estimate("llama-3-8b", "rtx-4090", micro_batch=4, **QLORA)).bars
    assert {bar.verdict for bar in bars} == {"fits", "does not fit"}
    assert all(bar.fits == (bar.verdict == "fits") for bar in bars)


def test_batch_curves_equal_estimates_one_by_one():
    model, device = load_model("gpt2-xl"), load_device("h100-sxm-80gb")
    (curve,) = plot.batch_data(model, [device], (4, 1, 8)).curves  # drawn from small to large
    for index, batch in enumerate((1, 4, 8)):
        one = estimate(model, device, micro_batch=batch)
        assert curve.mfu[index] == pytest.approx(one.mfu)
        assert curve.memory_bytes[index] == pytest.approx(one.memory.total_bytes)
        assert curve.mfu_low[index] <= curve.mfu[index] <= curve.mfu_high[index]


def test_batch_respects_the_global_batch():
    model, device = load_model("gpt2"), load_device("h100-sxm-80gb")
    (curve,) = plot.batch_data(model, [device], global_batch=48, num_devices=4).curves
    assert curve.values == (1, 2, 3, 4, 6, 12)  # divisors of 48 / 4


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
