"""Names of models as people type them."""

import pytest

from roofline.errors import RooflineError
from roofline.model.load import load_model
from roofline.model.names import hub_id, readings, suggestions, words
from roofline.model.presets import load_preset_values, model_ids


@pytest.mark.parametrize(
    ("typed", "preset"),
    [
        ("Llama-3-8B", "llama-3-8b"),
        ("llama3-8b", "llama-3-8b"),
        ("llama 3 8b", "llama-3-8b"),
        ("llama3.1:8b", "llama-3.1-8b"),
        ("GPT-2 XL", "gpt2-xl"),
        ("gpt2xl", "gpt2-xl"),
        ("bert-base-uncased", "bert-base"),
        ("phi3-mini", "phi-3-mini"),
        ("Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama-3-8b"),
        ("unsloth/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("google/gemma-3-27b-it", "gemma-3-27b"),
        ("deepseek-ai/DeepSeek-V3-Base", "deepseek-v3"),
    ],
)
def test_a_unique_reading_is_taken_and_said(typed: str, preset: str) -> None:
    model = load_model(typed)
    assert model.name == preset
    assert model.assumptions == (f"{typed!r} is read as preset {preset!r}",)


@pytest.mark.parametrize("hub", ["Qwen/Qwen3-8B", "openai-community/gpt2", "meta-llama/Llama-3.1-8B"])
def test_the_repository_of_a_preset_is_the_preset(hub: str) -> None:
    assert load_model(hub).assumptions == ()
    assert hub_id(load_model(hub).source) == hub


def test_every_preset_of_the_hub_is_found_by_its_repository() -> None:
    shared: dict[str, list[str]] = {}
    for model_id in model_ids():
        if hub := hub_id(str(load_preset_values(model_id)["source"])):
            shared.setdefault(hub, []).append(model_id)
    sources = {model_id: str(load_preset_values(model_id)["source"]) for model_id in model_ids()}
    for hub, ids in shared.items():
        assert readings(hub, sources) == ids


@pytest.mark.parametrize("model_id", model_ids())
def test_an_id_is_exact_whatever_else_it_could_mean(model_id: str) -> None:
    assert load_model(model_id).name == model_id


@pytest.mark.parametrize("typed", ["t5", "gpt3", "llama", "llama-70b", "mixtral"])
def test_what_could_be_several_or_another_version_asks(typed: str) -> None:
    with pytest.raises(RooflineError, match="did you mean"):
        load_model(typed)


def test_names_that_are_two_presets_are_both_named() -> None:
    assert readings("one 7B", {"one-7b": "", "one7b": ""}) == ["one-7b", "one7b"]


def test_a_hint_stays_in_the_family() -> None:
    for typed in ("gpt3", "qwen3-9b", "llama-3-9b", "org/mistral-70b"):
        hints = suggestions(typed, model_ids())
        assert hints
        assert {words(hint)[0] for hint in hints} == {words(typed.rpartition("/")[2])[0]}
    assert suggestions("foo/bar", model_ids()) == []


def test_overrides_apply_to_a_preset_by_any_name() -> None:
    assert load_model("Llama-3-8B", {"n_layers": 2}).n_layers == 2


def test_a_folder_of_that_name_wins(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Llama-3-8B").mkdir()
    with pytest.raises(RooflineError, match=r"Llama-3-8B.config\.json"):
        load_model("Llama-3-8B")
