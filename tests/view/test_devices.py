"""The catalog and one device, as they are read."""

from roofline.hardware import load_device
from roofline.view import devices as view
from roofline.view.table import cell_text

A100, T4 = load_device("a100-sxm-80gb"), load_device("t4")


def test_a_row_has_dense_peaks_and_a_dash_for_no_engine():
    (table,) = view.catalog([A100, T4]).tables
    a100, t4 = ([cell_text(cell) for cell in row] for row in table.rows)
    heads = list(table.columns)
    assert a100[heads.index("bf16")] == "312"
    assert t4[heads.index("bf16")] == "-"
    assert a100[heads.index("GB/s")] == "2,039"
    assert table.rows[0][heads.index("bf16")].value == 312e12


def test_no_device_is_of_no_vendor():
    assert view.catalog([]).notes[0].startswith("0 devices. Peaks")
    assert view.catalog([T4]).notes[0].startswith("1 device (1 NVIDIA). Peaks")


def test_notes_count_vendors_and_mark_low_confidence():
    notes = view.catalog([A100, T4]).notes
    assert notes[0].startswith("2 devices (2 NVIDIA)")
    low = sum(device.confidence == "low" for device in (A100, T4))
    assert len(notes) == 2 + bool(low)


def test_one_device_has_a_source_for_every_figure():
    shown = view.one(A100)
    rows = {row[0]: row for row in shown.tables[0].rows}
    assert rows["bf16 peak"][1] == "312 TFLOP/s (tensor core, fp32 accumulate)"
    assert rows["memory bandwidth"][1] == "2039 GB/s"
    assert all(row[2] for name, row in rows.items() if name != "units")
    figures = {figure["figure"]: figure["source"] for figure in shown.data["figures"]}
    assert figures["bf16 peak"] in {source for _, _, source in view.sources(A100)}


def test_programs_get_base_units():
    found = view.data(A100)
    assert found["peak_flops_per_s"]["bf16"] == 312e12
    assert found["links"]["scale_up"]["bytes_per_s"] == 300e9  # 600 GB/s both ways
    assert found["network_bytes_per_s"] == A100.node.network_gbit_per_s * 1e9 / 8
    assert "figures" not in found
