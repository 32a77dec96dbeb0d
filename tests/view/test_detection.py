"""A machine as it is read."""

from pathlib import Path

import msgspec

from roofline.hardware import load_device
from roofline.hardware.detect.answer import detect
from roofline.view import detection as view

FOUND = detect(Path(__file__).parents[1] / "fixtures" / "nvml" / "a100-one-lost.json")


def test_a_row_for_each_gpu_with_what_it_is():
    table = view.records(FOUND)
    assert [row[0] for row in table.rows] == [found.gpu.index for found in FOUND.gpus]
    assert all("a100" in row[2] or row[2] == "unknown" for row in table.rows)
    assert view.data(FOUND)["replayed"] is True
    assert any(note.startswith("GPUs are those of ") for note in view.notes(FOUND))


def test_no_gpu_says_why():
    bare = msgspec.structs.replace(FOUND, gpus=(), why_not="no driver", local=None, no_local="nothing is known")
    notes = view.notes(bare)
    assert notes[0] == "No GPU: no driver."
    assert "nothing is known." in notes
    assert notes[-1].startswith("Next: roofline calibrate")
    assert view.records(bare).title.startswith("CPU")


def test_the_peak_is_that_of_the_dtype_trained_in():
    assert view.peak_of(load_device("a100-sxm-80gb")) == "bf16 312 TFLOP/s"
    assert view.peak_of(load_device("t4")).startswith("fp16 65")


def test_what_to_type_next():
    estimate = "roofline estimate gpt2 --device local"
    assert view.next_command(load_device("t4"), calibrated=False) == estimate
    cpu = load_device("epyc-9654")
    assert view.next_command(cpu, calibrated=True) == estimate
    assert view.next_command(cpu, calibrated=False).startswith("roofline calibrate")
