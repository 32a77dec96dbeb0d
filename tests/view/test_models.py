"""Models as they are read."""

import msgspec

import roofline
from roofline.view import models as view
from roofline.view.table import cell_text

LLAMA = roofline.load_model("llama-3-8b")


def test_parts_of_a_model_add_up():
    *parts, total = view.one(LLAMA, "llama-3-8b").tables[0].rows
    assert sum(row[1].value for row in parts) == total[1].value == 8030261248
    sizes = {row[0]: row[1].value for row in parts}
    assert sizes["embedding"] == sizes["head"] == 128256 * 4096
    # q and o 4096 x 4096, k and v 4096 x 1024, of 32 layers
    assert sizes["layers: attention"] == 32 * 2 * (4096 * 4096 + 4096 * 1024)


def test_a_tied_head_is_a_line_of_nothing_and_active_parameters_have_one():
    gpt2 = {row[0]: row[1].value for row in view.one(roofline.load_model("gpt2"), "gpt2").tables[0].rows}
    assert gpt2["head (tied: the embedding's table)"] == 0
    mixtral = {row[0]: row[1].value for row in view.one(roofline.load_model("mixtral-8x7b"), "").tables[0].rows}
    assert mixtral["total"] - mixtral["active per token"] == 32 * 6 * 3 * 4096 * 14336  # six of eight experts rest


def test_layers_are_told_in_words():
    (row,) = view.one(LLAMA, "").tables[1].rows
    assert [cell_text(cell) for cell in row] == [
        "32",
        "GQA, 32 heads of 128, 8 kv",
        "gated 14336 (silu)",
        "2 rms norms",
    ]
    window = view.one(roofline.load_model("mixtral-8x7b", {"window": 4096}), "").tables[1].rows[0]
    assert "window 4096" in window[1]
    assert window[2] == "2 of 8 experts of 14336"


def test_the_catalog_has_every_preset_once():
    shown = view.catalog()
    ids = [row[0] for row in shown.tables[0].rows]
    assert sorted(ids) == sorted(roofline.model_ids())
    first = shown.data["models"][0]
    assert set(shown.tables[0].keys) <= set(first)
    assert msgspec.json.encode(first)


def test_types_are_counted_or_refused_with_a_reason():
    shown = view.types()
    rows = {row[0]: row[1:] for row in shown.tables[0].rows}
    assert rows["llama"] == ["counted", ""]
    assert all(why for status, why in rows.values() if status == "refused")
    assert len(rows) == len(shown.data["counted"]) + len(shown.data["refused"])
