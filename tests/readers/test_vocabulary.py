"""Words of frameworks as ours."""

from typing import Any

import pytest

from roofline.readers.vocabulary import adapter_words, not_projections, our_word


@pytest.mark.parametrize(
    ("kind", "name", "word"),
    [
        ("optimizer", "AdamW", "adamw"),
        ("optimizer", "torch.optim.AdamW", "adamw"),
        ("optimizer", "lomo", "lomo"),  # unknown: itself, for an error to name
        ("optimizer", "", None),
        ("optimizer", None, None),
    ],
)
def test_a_word(kind: str, name: Any, word: str | None) -> None:
    assert our_word(kind, name) == word


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (None, None),
        ("q_proj, v_proj", "q_proj,v_proj"),
        (["model.layers.0.self_attn.q_proj"], "q_proj"),
        (["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], "all"),
        (["lm_head"], None),
    ],
)
def test_targets_of_adapters(targets: Any, words: str | None) -> None:
    assert adapter_words(targets) == words


def test_targets_that_are_no_projection_of_a_layer() -> None:
    assert not_projections(["q_proj", "lm_head", "embed_tokens"]) == ["lm_head", "embed_tokens"]
    assert not_projections("all-linear") == []
