import pytest

from roofline.counting.mfu import model_flops_per_token
from roofline.counting.textbook import (
    COLUMNS,
    accounting,
    accounting_rows,
    adamw_accounting,
    plain_parameters,
    shortcut_6nd,
    textbook_model,
)
from roofline.errors import RooflineError
from roofline.model.spec import Attention, LayerGroup, Mlp, ModelConfig, Moe, Norm

from ..records import records

# layers, d_model, heads, tokens; d_ff 6400 and vocabulary 50257 for all
SHAPES = {
    "small": (12, 768, 12, 1024),
    "medium": (24, 1024, 16, 1024),
    "large": (36, 1280, 20, 1024),
    "xl": (48, 1600, 25, 1024),
    "xl, 16k tokens": (48, 1600, 25, 16384),
}
TABLE = records("accounting_flops.csv")
ROWS = [(row["Level-1"], row["Level-2"], row["Level-3"]) for row in TABLE]
FLOPS = {name: [int(row[name]) for row in TABLE] for name in SHAPES}


def shapes(name: str) -> dict[str, int]:
    layers, d_model, heads, _ = SHAPES[name]
    return {"n_layers": layers, "d_model": d_model, "n_heads": heads, "d_ff": 6400, "vocab_size": 50257}


XL = textbook_model(**shapes("xl"), positions=1024)


@pytest.mark.parametrize("name", SHAPES)
def test_five_tables_exactly(name):
    frame = accounting(**shapes(name), seq_len=SHAPES[name][3])
    assert list(frame.index) == ROWS
    assert (*frame.index.names, *frame.columns) == COLUMNS
    assert frame["FLOPs"].tolist() == FLOPS[name]
    overall = FLOPS[name][-1]
    assert frame["FLOPs_proportion"].tolist() == [flops / overall for flops in FLOPS[name]]


def test_table_by_hand():
    # T = 2*3 = 6 tokens, d 4, 2 heads of 2, F 10, V 7, 5 layers
    rows = accounting_rows(
        textbook_model(n_layers=5, d_model=4, n_heads=2, d_ff=10, vocab_size=7), seq_len=3, micro_batch=2
    )
    flops = {row.levels[2] or row.levels[1] or row.levels[0]: row.flops for row in rows}
    assert flops["RMSNorm_1"] == 6 * (3 * 4 + 2)
    assert flops["QKV_proj"] == 2 * 6 * 4 * 12
    assert flops["Attention_scores"] == flops["Attention_weighted"] == 2 * 2 * 3 * 3 * 4
    assert flops["Softmax"] == 5 * 2 * 2 * 3 * 3
    assert flops["O_proj"] == 2 * 6 * 4 * 4
    assert flops["FFN"] == 2 * (2 * 6 * 4 * 10) + 5 * 6 * 10
    assert flops["LM_head"] == 2 * 6 * 4 * 7
    block = 2 * 84 + 576 + 2 * 144 + 180 + 192 + 1260
    assert flops["Overall_Transformer_block"] == 5 * block
    assert flops["Overall_TransformerLM"] == 3 * (5 * block + 84 + 336)


def test_formatted_and_proportions_as_published():
    frame = accounting(**shapes("xl"), seq_len=1024)
    assert frame.loc[("Transformer_block", "Overall_Transformer_block", ""), "FLOPs_fmt"] == "3.35e+12"
    assert frame["FLOPs_proportion"].iloc[1] == pytest.approx(0.001491554, abs=5e-10)
    assert frame["FLOPs_proportion"].iloc[9] == pytest.approx(0.317716, abs=5e-7)
    long = accounting(**shapes("xl"), seq_len=16384)
    assert long["FLOPs_proportion"].iloc[9] == pytest.approx(0.3268301, abs=5e-8)


def test_linear_in_the_batch():
    one, four = accounting_rows(XL, 1024), accounting_rows(XL, 1024, 4)
    assert [row.flops for row in four] == [4 * row.flops for row in one]


def test_parameters_without_biases_and_norms():
    assert plain_parameters(XL) == 1_637_020_800
    assert f"{4 * plain_parameters(XL) / 2**30:.2f}" == "6.10"
    assert f"{2 * plain_parameters(XL) / 2**30:.2f}" == "3.05"


@pytest.mark.parametrize(
    ("name", "ratio"),
    [("small", 1.0975), ("medium", 1.0014), ("large", 0.9683), ("xl", 0.9538), ("xl, 16k tokens", 0.3972)],
)
def test_how_far_6nd_is_off(name, ratio):
    flops, off = shortcut_6nd(textbook_model(**shapes(name), positions=1024), SHAPES[name][3])
    assert off == flops / FLOPS[name][-1] == pytest.approx(ratio, abs=5e-5)


def test_tied_head_costs_the_same():
    tied = textbook_model(**shapes("small"), tied=True)
    assert accounting_rows(tied, 1024)[-1].flops == FLOPS["small"][-1]
    assert plain_parameters(textbook_model(**shapes("small"))) - plain_parameters(tied) == 768 * 50257


def test_matmuls_agree_with_the_mfu_rule():
    """Without norms, softmax and activation, three forward passes are the FLOPs of the default MFU rule."""
    rows = {row.levels[2] or row.levels[1] or row.levels[0]: row.flops for row in accounting_rows(XL, 1024)}
    other = 48 * (2 * rows["RMSNorm_1"] + rows["Softmax"] + 5 * 1024 * 6400) + rows["RMSNorm_final"]
    assert 3 * (rows["forward_pass_TransformerLM"] - other) == 1024 * model_flops_per_token(XL, 1024)


def test_groups_of_layers_and_experts():
    attention = Attention(n_heads=2, n_kv_heads=1, head_dim=2, value_head_dim=2)
    dense = LayerGroup(count=1, attention=attention, mlp=Mlp(d_ff=10, gated=True), norms=(Norm(), Norm()))
    moe = Moe(n_experts=4, experts_per_token=2, expert=Mlp(d_ff=3, gated=True), shared=Mlp(d_ff=5))
    sparse = LayerGroup(count=3, attention=attention, mlp=moe, norms=(Norm(),) * 4)
    model = ModelConfig(name="mixed", d_model=4, vocab_size=7, groups=(dense, sparse))
    frame = accounting(model, seq_len=3)
    ffn = frame.xs("FFN", level="Level-2")["FLOPs"].tolist()
    # gated: 3 matmuls, 5 per activation and 1 per product; experts: router, 2 visited, shared
    assert ffn == [2 * 3 * 120 + 3 * 60, 2 * 3 * (16 + 72 + 40) + 3 * (2 * 18 + 25)]
    blocks = frame.loc[frame.index.get_level_values(1).str.startswith("Overall"), "FLOPs"]
    assert list(blocks.index.get_level_values(1)) == ["Overall_Transformer_block_1", "Overall_Transformer_block_2"]
    forward = frame.loc[("forward_pass_TransformerLM", "", ""), "FLOPs"]
    assert forward == blocks.sum() + 2 * 3 * 4 * 7


def test_adamw_in_fp32():
    need = adamw_accounting(XL, seq_len=1024)
    # weights, gradients, two moments: 4 * 4 bytes
    assert need.static_bytes == 16 * 1_637_020_800
    # a layer keeps 8*S*d + 2*S*F + 2*H*S*S values; then S*d + 2*S*V
    layer = 8 * 1024 * 1600 + 2 * 1024 * 6400 + 2 * 25 * 1024**2
    assert need.activation_bytes_per_sequence == 4 * (48 * layer + 1024 * (1600 + 2 * 50257)) == 15_517_753_344
    assert need.largest_batch(80 * 10**9) == 3
    assert need.peak_memory_bytes(3) <= 80 * 10**9 < need.peak_memory_bytes(4)
    assert need.largest_batch(26 * 10**9) == 0
    assert need.optimizer_flops == 14 * 1_637_020_800
    assert need.step_flops(2) == 2 * 10_545_134_573_568 + need.optimizer_flops
    days = need.training_days(steps=400_000, batch=1024, peak_flops_per_s=19.5e12, mfu=0.5)
    assert days == pytest.approx(5127.4, abs=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_heads": 7}, "n_heads 7 does not divide d_model 768: 6 heads would"),
        ({"n_layers": 0}, "n_layers must be a whole number of at least 1, got 0"),
        ({"d_ff": True}, "d_ff must be a whole number of at least 1, got True"),
    ],
)
def test_bad_shapes(change, message):
    with pytest.raises(RooflineError) as caught:
        accounting(**{**shapes("small"), "seq_len": 1024, **change})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"seq_len": 0}, "seq_len: '0'"),
        ({"micro_batch": -2}, "micro_batch: '-2'"),
        ({"model": "gpt2"}, "takes a model, or the shapes"),
        ({"n_layer": 3}, "did you mean 'n_layers'"),
    ],
)
def test_bad_questions(asked, message):
    with pytest.raises(RooflineError, match=message):
        accounting(**{**shapes("small"), "seq_len": 1024, **asked})
    with pytest.raises(RooflineError, match="d_ff, vocab_size as well"):
        accounting(n_layers=1, d_model=8, n_heads=2, seq_len=1024)
    with pytest.raises(RooflineError, match="takes a model"):
        accounting(seq_len=1024)


def test_a_preset_by_name_is_the_table_of_its_shapes():
    # GPT-2 XL, 16,384 tokens: the norm is T*(3d+2) = 16384 * 4802, the head 2*T*d*V
    frame = accounting("gpt2-xl", seq_len="16k")
    assert frame.loc[("Transformer_block", "RMSNorm_1", ""), "FLOPs"] == 16384 * 4802
    assert frame.loc[("LM_head", "", ""), "FLOPs"] == 2 * 16384 * 1600 * 50257
    assert frame.loc[("LM_head", "", ""), "FLOPs_fmt"] == "2.63e+12"
    assert accounting("gpt2-xl", seq_len=1024).loc[("Transformer_block", "RMSNorm_1", ""), "FLOPs_fmt"] == "4.92e+06"


def test_adamw_accounting_names_what_it_leaves_out():
    moe = Moe(n_experts=4, experts_per_token=2, expert=Mlp(d_ff=3))
    group = LayerGroup(count=1, attention=None, mlp=moe, norms=())
    with pytest.raises(RooflineError, match="roofline memory"):
        adamw_accounting(ModelConfig(name="moe", d_model=4, vocab_size=7, groups=(group,)), 8)
