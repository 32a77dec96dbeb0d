"""Cases side by side: ratios, causes that add up, sentences."""

import pytest

import roofline
from roofline.answers.comparison import device_time_per_token
from roofline.view import comparison as view
from roofline.view.table import cell_text

TWO = roofline.compare("gpt2", ["a100-sxm-80gb", "h100-sxm-80gb"], micro_batch=8, stack="compiled")
MANY = roofline.compare("gpt2", "a100-sxm-80gb", micro_batch=[1, 2, 4, 8, 4096], stack="compiled")


def rows_of(table):
    return {cell_text(row[0]): row[1:] for row in table.rows}


def test_a_column_per_case_with_its_ratio_to_the_first():
    rows = rows_of(view.tables(TWO)[0])
    a, h = TWO.estimates
    assert rows["device"] == ["a100-sxm-80gb", "h100-sxm-80gb"]
    assert rows["against A"] == ["1.00x", f"{h.tokens_per_s / a.tokens_per_s:.2f}x"]
    assert rows["fits"] == ["yes", "yes"]


def test_causes_add_up_to_the_difference_of_device_time():
    rows = rows_of(view.tables(TWO)[1])
    total_a, total_h, change = (cell.value for cell in rows.pop("total"))
    assert total_a == pytest.approx(1e6 / float(TWO.estimates[0].tokens_per_s_per_device))
    assert change == pytest.approx(total_h - total_a)
    # lines below a fifth of a percent are left out
    assert sum(row[2].value for row in rows.values()) == pytest.approx(change, abs=0.02 * total_a)


def test_a_sentence_says_which_is_faster_and_by_how_much():
    ratio = float(TWO.estimates[1].tokens_per_s_per_device / TWO.estimates[0].tokens_per_s_per_device)
    assert view.notes(TWO)[0].startswith(f"B is {ratio:.2f}x faster than A per device: a million tokens take ")


def test_more_than_four_cases_are_rows_and_the_fastest_that_fits_is_named():
    (table,) = view.tables(MANY)
    assert [row[0] for row in table.rows] == [1, 2, 4, 8, 4096]
    assert [row[-2] for row in table.rows] == ["yes", "yes", "yes", "yes", "no"]
    fastest = max((e for e in MANY.estimates if e.fits), key=lambda e: e.tokens_per_s_per_device).train.micro_batch
    assert f"Fastest per device that fits: micro_batch {fastest}." in view.notes(MANY)
    assert f"micro batch {fastest}" in view.pieces(MANY)[0]


def test_programs_get_every_case_in_base_units():
    found = view.data(TWO)["cases"]
    assert [case["device"] for case in found] == ["a100-sxm-80gb", "h100-sxm-80gb"]
    assert found[1]["device_time_per_token_s"] == device_time_per_token(TWO.estimates[1])
    assert sum(found[0]["difference_to_first_s"].values()) == 0
    assert view.records(TWO).rows[0][list(view.records(TWO).columns).index("mfu")] == TWO.estimates[0].mfu


def test_the_times_of_a_row_are_in_one_unit():
    found = roofline.compare("llama-2-7b", "h100-sxm-80gb", num_devices=64, tp=(1, 2))
    rows = {row[0]: [cell.text for cell in row[1:]] for row in view.causes_table(view._pairs(found)).rows}
    assert rows["total"][0].endswith(" min")
    for texts in rows.values():
        assert len({text.split()[1] for text in texts if text != "0"}) == 1, texts
