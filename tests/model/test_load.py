"""Presets: every file loads, states its source, and has the parameters that its publisher states."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.errors import RooflineError
from roofline.model.load import load_model, model_from_flat
from roofline.model.parameters import count_parameters
from roofline.model.presets import load_preset_values, model_ids
from roofline.model.spec import ModelConfig

from ..records import records

PUBLISHED = records("published_parameters.csv")


def test_there_are_the_models_people_plan_with() -> None:
    wanted = {
        "bert-base",
        "bloom-176b",
        "deepseek-v2",
        "deepseek-v3",
        "falcon-40b",
        "gemma-2-27b",
        "gemma-2b",
        "gemma-3-27b",
        "glm-4.5",
        "gpt-oss-120b",
        "gpt2",
        "gpt2-xl",
        "gpt3-175b",
        "kimi-k2",
        "llama-2-13b",
        "llama-3-8b",
        "llama-3.1-405b",
        "megatron-1.7b",
        "megatron-1t",
        "megatron-530b",
        "mistral-7b",
        "mixtral-8x7b",
        "mpt-7b",
        "olmo-2-7b",
        "opt-175b",
        "phi-4",
        "pythia-12b",
        "qwen2.5-72b",
        "qwen3-235b-a22b",
        "smollm-135m",
        "starcoder2-15b",
        "t5-11b",
        "tinyllama-1.1b",
        "vit-h14",
    }
    assert not wanted - set(model_ids())
    assert len(model_ids()) >= 60


@pytest.mark.parametrize("model_id", model_ids())
def test_every_preset_loads_from_its_file_alone(model_id: str) -> None:
    model = load_model(model_id)
    assert model.name == model_id
    assert model.source.startswith(("https://", "arXiv:", "github:")), "a preset states where its figures come from"
    assert not model.assumptions, "a preset states every figure"
    parameters = count_parameters(model)
    assert 0 < parameters.active <= parameters.total


@pytest.mark.parametrize("row", PUBLISHED, ids=[row["id"] for row in PUBLISHED])
def test_parameters_are_those_published(row: dict[str, str]) -> None:
    assert count_parameters(load_model(row["id"])).total + int(row["buffers"] or 0) == int(row["parameters"])


@pytest.mark.parametrize(
    ("model_id", "billions"),
    [  # arXiv:2104.04473, table 1; arXiv:2204.02311, table 1
        ("megatron-1.7b", 1.7),
        ("megatron-3.6b", 3.6),
        ("megatron-7.5b", 7.5),
        ("megatron-18b", 18.4),
        ("megatron-39b", 39.1),
        ("megatron-76b", 76.1),
        ("megatron-145b", 145.6),
        ("megatron-310b", 310.1),
        ("megatron-530b", 529.6),
        ("megatron-1t", 1008.0),
        ("palm-8b", 8.63),
        ("palm-62b", 62.50),
        ("palm-540b", 540.35),
    ],
)
def test_parameters_round_to_the_papers_figure(model_id: str, billions: float) -> None:
    total = count_parameters(load_model(model_id)).total / 1e9
    assert total == pytest.approx(billions, abs=0.06 if billions > 1.8 else 0.05)


def test_mixture_counts_active_parameters() -> None:
    assert count_parameters(load_model("mixtral-8x7b")).active == 12_879_925_248  # "12.9B", arXiv:2401.04088
    assert count_parameters(load_model("qwen3-235b-a22b")).active / 1e9 == pytest.approx(22.19, abs=0.01)


def test_override_replaces_a_key() -> None:
    assert load_model("gpt2-xl", {"n_layers": 12}).n_layers == 12
    # blocks of 4 d^2 + 2 d d_ff, d = 1600, d_ff = 6400; two tables of 50257 rows, one of 1024 positions
    bare = {"tied_embeddings": False, "biases": False, "norm_weight": False}
    assert count_parameters(load_model("gpt2-xl", bare)).total == 1_637_020_800


def test_override_of_heads_keeps_multi_head_attention() -> None:
    attention = load_model("gpt2", {"n_heads": 24}).groups[0].attention
    assert attention
    assert (attention.n_heads, attention.n_kv_heads, attention.head_dim) == (24, 24, 32)


def test_override_of_a_varying_key_applies_where_it_varies() -> None:
    model = load_model("gemma-3-27b", {"window": 512})
    assert {group.attention.window for group in model.groups if group.attention} == {512, None}


def test_override_of_layers_keeps_the_pattern() -> None:
    model = load_model("gpt-oss-20b", {"n_layers": 5})
    assert [(g.count, g.attention.window) for g in model.groups if g.attention] == [(3, 128), (2, None)]


def test_an_object_passes_through() -> None:
    model = load_model("gpt2")
    assert load_model(model) is model
    with pytest.raises(RooflineError, match="replace its fields"):
        load_model(model, {"n_layers": 2})


def test_a_toml_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("n_layers = 2\nd_model = 64\nn_heads = 4\nd_ff = 256\nvocab_size = 100\n")
    model = load_model(path)
    assert model.n_layers == 2
    assert any("RMSNorm" in sentence for sentence in model.assumptions)


@pytest.mark.parametrize(
    ("spec", "overrides", "message"),
    [
        ("gpt2-xxl", {}, r"unknown model 'gpt2-xxl': did you mean 'gpt2-xl'"),
        ("", {}, "no model given"),
        ("no/such/config.json", {}, "nothing is fetched"),
        ("gpt2\0", {}, "unknown model"),
        ("gpt2", {"n_layer": 2}, "unknown model key 'n_layer': did you mean 'n_layers'"),
        ("gpt2", {"n_layers": 0}, "n_layers must be a whole number from 1"),
        ("gpt2", {"n_layers": True}, "n_layers must be a whole number"),
        ("gpt2", {"n_heads": 11}, r"n_heads = 11 does not divide d_model = 768 .*12, 8 or 6"),
        ("llama-3-8b", {"n_kv_heads": 5}, r"n_kv_heads = 5 does not divide n_heads = 32 \(nearest that do: 4"),
        ("gpt2", {"tied_embeddings": "maybe"}, "tied_embeddings must be true or false"),
        ("mixtral-8x7b", {"experts_per_token": 9}, "experts_per_token = 9 is more than n_experts = 8"),
        ("gpt2", {"dense_first_layers": 1}, "has no meaning without n_experts"),
        ("gpt2", {"norm": "batch"}, "norm must be one of rms, layer"),
    ],
)
def test_bad_input_is_one_line_that_says_what_would_do(spec: str, overrides: dict[str, object], message: str) -> None:
    with pytest.raises(RooflineError, match=message) as error:
        load_model(spec, overrides)
    assert "\n" not in str(error.value)


def test_a_swap_of_layers_and_heads_is_noticed() -> None:
    with pytest.raises(RooflineError, match="did you swap n_layers = 16 and n_heads"):
        model_from_flat({"n_layers": 16, "d_model": 2048, "n_heads": 24, "d_ff": 8192, "vocab_size": 100})


def test_a_table_row_becomes_a_model() -> None:
    row = {
        "n_layers": 24.0,
        "d_model": 2048.0,
        "n_heads": 16.0,
        "n_kv_heads": float("nan"),
        "d_ff": 8192.0,
        "gated_mlp": 0.0,
        "vocab_size": 50368.0,
        "tied_embeddings": 1.0,
        "n_experts": "",
    }
    model = model_from_flat(row)
    assert model.n_layers == 24
    assert any("n_kv_heads is not stated" in sentence for sentence in model.assumptions)
    assert any("LayerNorm" in sentence for sentence in model.assumptions)


def test_loading_one_model_imports_no_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    code = "import sys, roofline.model.load as p; p.load_model('gpt2-xl'); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["rms", "layer", "i % 2", "i > 10 ** 9", "decoder", "vision", "head", ()]),
    st.lists(st.integers(-3, 9), max_size=3),
    st.just([{"layers": "i % 2 == 0", "window": 128}]),
    st.just([{"layers": [0], "n_experts": 0}]),
)


CHANGED = [*sorted(load_preset_values("deepseek-v3")), "variations", "window", "kind", "linears", "nonsense"]


@given(
    changes=st.dictionaries(st.sampled_from(CHANGED), VALUES, max_size=4), base=st.sampled_from(["gpt2", "deepseek-v3"])
)
def test_every_description_is_a_model_or_a_one_line_error(changes: dict[str, object], base: str) -> None:
    message = ""
    try:
        model = model_from_flat({**load_preset_values(base), **changes})
    except RooflineError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 600
    if not message:
        assert isinstance(model, ModelConfig)
        assert count_parameters(model).total > 0


def test_a_folder_of_a_presets_name_is_mentioned(tmp_path, monkeypatch):
    (tmp_path / "gpt2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_model("gpt2").assumptions == ()
    (tmp_path / "gpt2" / "config.json").write_text(
        '{"model_type": "gpt2", "n_layer": 3, "n_embd": 64, "n_head": 2, "vocab_size": 100, "n_positions": 64}'
    )
    assert load_model("gpt2").assumptions == ("this is the preset 'gpt2'; './gpt2' takes the folder of that name",)
    assert load_model("./gpt2").n_layers == 3


def test_without_a_suggestion_the_message_reads_on():
    with pytest.raises(RooflineError, match=r"^unknown model 'zzzzzz' \('roofline models'"):
        load_model("zzzzzz")


def test_the_longest_sequence_follows_the_learned_positions():
    wider = load_model("gpt2-xl", {"learned_positions": 4096})
    assert (wider.learned_positions, wider.max_seq_len) == (4096, 4096)
    assert load_model("opt-1.3b", {"learned_positions": 4098}).max_seq_len == 2048  # not equal: 2 rows are unused
    assert load_model("llama-2-7b", {"learned_positions": 4096}).max_seq_len == 4096
