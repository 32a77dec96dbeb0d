"""Names on the Hub stand for presets where the endings change no size."""

from pathlib import Path

import pytest

import roofline
from roofline.errors import RooflineError
from roofline.model.hub import _file, config_of, plain_name, preset_of, versioned_name
from roofline.model.presets import model_ids


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("meta-llama/Llama-2-7b-chat-hf", "llama-2-7b"),
        ("mistralai/Mistral-7B-Instruct-v0.3/", "mistral-7b"),
        ("someone/Qwen2.5-7B-Instruct-GPTQ-Int4", "qwen2.5-7b"),
        ("gpt2_xl", "gpt2-xl"),
    ],
)
def test_the_plain_name(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_a_version_stays_where_it_is_asked_for() -> None:
    assert versioned_name("mistralai/Mistral-7B-Instruct-v0.3") == "mistral-7b-v0.3"


def test_an_id_of_a_source_is_exact_and_a_fine_tune_is_said() -> None:
    assert preset_of("meta-llama/Meta-Llama-3-8B") == ("llama-3-8b", None)
    preset, note = preset_of("someone/Llama-3-8B-my-own-tuning")
    assert preset == "llama-3-8b"
    assert note == "someone/Llama-3-8B-my-own-tuning is taken as llama-3-8b, by its name"


def test_an_unknown_name_is_nothing() -> None:
    assert preset_of("nobody/entirely-new-3b") == (None, None)
    assert config_of("nobody/entirely-new-3b") is None


# Parameters as the repositories state them (model.safetensors.index.json, or the model card where there is none).
PUBLISHED = {
    "Qwen/Qwen1.5-0.5B": 463_987_712,
    "Qwen/Qwen-7B": 7_721_324_544,
    "Qwen/Qwen1.5-72B": 72_287_920_128,
    "CohereLabs/c4ai-command-r7b-12-2024": 8_028_033_024,
    "tiiuae/Falcon3-7B-Instruct": 7_455_550_464,
    "bigcode/starcoderbase-1b": 1_137_207_296,
    "google/flan-t5-xl": 2_849_757_184,
    "distilbert/distilgpt2": 81_912_576,
    "facebook/bart-large": 406_291_456,
    "internlm/internlm2_5-7b-chat": 7_737_708_544,
    "nvidia/Minitron-4B-Base": 4_190_509_056,
    "swiss-ai/Apertus-8B-Instruct-2509": 8_053_338_176,
    "LiquidAI/LFM2-1.2B": 1_170_340_608,
    "ai21labs/Jamba-v0.1": 51_570_323_328,
    "microsoft/Phi-3.5-MoE-instruct": 41_873_153_344,
    "state-spaces/mamba-2.8b-hf": 2_768_345_600,
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_models_without_a_preset_have_the_parameters_they_are_published_with(name: str, parameters: int) -> None:
    assert roofline.count(name, seq_len=128).params_total == parameters


@pytest.mark.parametrize("size", [8, 47, 56])
def test_hybrids_are_as_large_as_their_names_say(size: int) -> None:
    found = roofline.count(f"nvidia/Nemotron-H-{size}B-Base-8K", seq_len=128).params_total
    assert found / 1e9 == pytest.approx(size, abs=0.5)


def test_a_fine_tune_named_after_its_base_last() -> None:
    assert preset_of("someone/dolphin-2.6-mistral-7b")[0] == "mistral-7b"
    assert preset_of("someone/llama-3-7b") == (None, None)  # no such size


def test_what_a_model_sees_through_is_left_out_and_said() -> None:
    preset, note = preset_of("Qwen/Qwen2.5-VL-7B-Instruct")
    assert preset == "qwen2.5-7b"
    assert note == (
        "Qwen/Qwen2.5-VL-7B-Instruct is taken as its language model, qwen2.5-7b: what turns images or sound to tokens "
        "is left out"
    )


def test_every_name_leads_to_a_preset_and_every_config_names_its_source() -> None:
    known = set(model_ids())
    assert {preset for table in ("names", "language_models") for preset in _file()[table].values()} <= known
    assert all(config["source"].startswith("https://huggingface.co/") for config in _file()["configs"].values())


def test_a_path_is_no_name_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RooflineError, match="no file or preset for 'runs/gemma-2-27b'"):
        roofline.load_model("./runs/gemma-2-27b")
    assert "taken as gemma-2-27b, by its name" in roofline.load_model("me/gemma-2-27b-mine").assumptions[-1]
