"""Names on the Hub stand for presets where the endings change no size."""

from __future__ import annotations

import pytest

from roofline.readers.hub import config_of, plain_name, preset_of, versioned_name


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
