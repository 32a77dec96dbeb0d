"""A count as it is read: totals by hand, ops of one device, the shortcut beside them."""

import roofline
from roofline.view import count as view
from roofline.view.table import cell_text

GPT2 = roofline.count("gpt2", micro_batch=1, seq_len=1024, stack="compiled")
MIXTRAL = roofline.count("mixtral-8x7b", micro_batch=1, seq_len=512)


def rows_of(result):
    return {name: words for name, words in view.tables(result)[0].rows if name}


def test_parameters_and_the_shortcut_are_those_of_the_paper():
    rows = rows_of(GPT2)
    assert cell_text(rows["Parameters"]) == "124,439,808"
    rule = 6 * 124439808 * 1024
    assert rows["6ND rule"].startswith(f"{rule / 1e9:.2f} GFLOPs: ")
    counted = GPT2.matmul_flops_forward + GPT2.matmul_flops_backward
    side = "more" if rule > counted else "less"
    assert f"{100 * abs(rule / counted - 1):.1f} % {side}" in rows["6ND rule"]


def test_active_parameters_are_told_where_they_are_fewer():
    assert ["", f"{MIXTRAL.params_active:,} active: a token passes through these"] in view.tables(MIXTRAL)[0].rows
    assert not any("active" in cell_text(row[1]) for row in view.tables(GPT2)[0].rows[:3])


def test_ops_are_totals_over_their_runs_without_collectives():
    result = roofline.count("gpt2", micro_batch=1, seq_len=1024, tp=2, num_devices=2)
    table = view.ops_table(result)
    by_name = {(row[0], row[1]): row for row in table.rows}
    qkv = by_name["attention.qkv", "forward"]
    assert qkv[2] == 12
    assert qkv[3].value == 12 * 2 * 1024 * 768 * 3 * 768 / 2  # half the columns on each of two devices
    assert not any("all_reduce" in name for name, _ in by_name)
    assert "Ops are those of one device; collectives are left out." in view.notes(result)


def test_arrays_are_a_row_a_case():
    result = roofline.count("gpt2", micro_batch=[1, 2], seq_len=1024)
    (table,) = view.tables(result)
    assert len(table.rows) == 2
    records = view.records(result)
    flops = [row[list(records.columns).index("flops_forward")] for row in records.rows]
    assert flops[1] == 2 * flops[0]
