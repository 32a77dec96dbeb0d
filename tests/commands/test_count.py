import csv
import io

import pytest

import roofline

# GPT-2 XL, textbook sizes: overall block, forward, overall
XL = {"Overall_Transformer_block": 3_350_357_803_008, "Overall_TransformerLM": 10_545_134_573_568}


def test_json_has_the_keys_of_the_contract(answered):
    data = answered("count", "gpt2-xl")
    assert set(data) >= {
        "params_total",
        "params_active",
        "params_embedding",
        "matmul_flops_forward",
        "matmul_flops_backward",
        "flops_forward",
        "flops_backward",
        "flops_step",
        "rule_6nd_ratio",
        "ops",
    }
    assert data["params_embedding"] == 50257 * 1600
    assert {"name", "phase", "flops", "bytes_read", "bytes_written", "intensity"} <= set(data["ops"][0])


@pytest.mark.parametrize("attention", ["flash2", "unfused"])
def test_matmul_flops_by_hand(attention):
    result = roofline.count("gpt2-xl", micro_batch=2, seq_len=512, attention=attention)
    # per token: 48 layers of 12 d^2 weights and a head of 50257 d; scores, weighted sum: 2 * 512 keys * d
    d, tokens = 1600, 2 * 512
    weights = 48 * 12 * d * d + 50257 * d
    attention_flops = 48 * 2 * 2 * 512 * d
    assert result.matmul_flops_forward == tokens * (2 * weights + attention_flops)
    assert result.matmul_flops_backward == 2 * result.matmul_flops_forward
    assert result.flops_forward > result.matmul_flops_forward
    ratio = 6 * 1_557_611_200 * tokens / (3 * result.matmul_flops_forward)
    assert result.rule_6nd_ratio == pytest.approx(ratio)


def test_flops_do_not_depend_on_how_it_is_split():
    whole = roofline.count("llama-3-8b", micro_batch=1, stack="compiled")  # pads no vocabulary
    split = roofline.count("llama-3-8b", micro_batch=1, num_devices=8, tp=4, pp=2, stack="compiled")
    assert split.matmul_flops_forward == whole.matmul_flops_forward


def test_recompute_adds_a_forward_pass_and_nothing_to_the_model():
    plain, full = (roofline.count("llama-3-8b", recompute=how) for how in ("none", "full"))
    assert plain.flops_recompute == 0
    assert full.flops_forward == plain.flops_forward
    assert full.flops_recompute > 0.8 * (plain.executed_flops_step - plain.flops_optimizer) / 3.5
    assert full.executed_flops_step > plain.executed_flops_step


def test_experts_count_as_visited():
    result = roofline.count("mixtral-8x7b")
    assert result.params_active < 0.3 * result.params_total


def test_tied_and_untied_heads_cost_the_same(run):
    model = roofline.load_model("gpt2")
    untied = roofline.load_model("gpt2", {"tied_embeddings": False})
    assert roofline.count(model).flops_forward == roofline.count(untied).flops_forward
    assert roofline.count(untied).params_total - roofline.count(model).params_total == 50257 * 768


def test_accounting_is_exact_as_csv(printed):
    out = printed("count", "gpt2-xl", "--style", "accounting", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["Level-1", "Level-2", "Level-3", "FLOPs", "FLOPs_fmt", "FLOPs_proportion"]
    found = {row["Level-3"] or row["Level-2"] or row["Level-1"]: int(row["FLOPs"]) for row in rows}
    assert {name: found[name] for name in XL} == XL


def test_accounting_for_people_is_an_outline(printed):
    out = printed("count", "gpt2-xl", "--style", "accounting")
    assert "\n  MultiHeadAttention\n    QKV_proj " in out
    assert "6ND" in out
    assert max(map(len, out.splitlines())) <= 100


def test_csv_of_ops(printed):
    rows = list(csv.DictReader(io.StringIO(printed("count", "gpt2", "--format", "csv"))))
    phases = {row["phase"] for row in rows}
    assert {"forward", "backward", "optimizer"} <= phases
    assert float(rows[0]["bytes_read"]) > 0


def test_frame_has_a_row_per_op():
    result = roofline.count("gpt2")
    assert len(result.to_frame()) == len(result.ops)


def test_needs_no_device(printed):
    out = printed("count", "llama-3-8b", "--micro-batch", "2", "--seq-len", "4k")
    assert "8,030,261,248" in out
    assert "6ND rule" in out


def test_the_remedy_for_too_long_a_sequence_works(run, refused):
    import re

    err = refused("count", "gpt2-xl", "--seq-len", "16384")
    remedy = re.search(r"--set (\S+)", err)[1]
    for style in ("ops", "accounting"):
        assert run("count", "gpt2-xl", "--seq-len", "16384", "--set", remedy, "--style", style).status == 0


def test_causal_attention_is_named_where_less_runs_than_is_counted(printed):
    assert "(causal attention)" in printed("count", "llama-3-8b")
    assert "(causal attention)" not in printed("count", "bert-base")
