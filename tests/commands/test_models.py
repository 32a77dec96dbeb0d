"""``roofline models``: the catalog, one model, a config.json, the model types."""

import json
from pathlib import Path

from roofline.model.presets import model_ids


def test_the_catalog_lists_every_preset(answered) -> None:
    listed = answered("models")["models"]
    assert [model["id"] for model in listed] == model_ids()
    assert all(model["source"] and model["params_total"] >= model["params_active"] > 0 for model in listed)


def test_one_model_adds_up(printed) -> None:
    rows = [line.split(",") for line in printed("models", "deepseek-v3", "--format", "csv").splitlines() if line]
    counts = {row[0]: row[1] for row in rows if len(row) > 2 and row[1].isdigit()}
    assert int(counts["total"]) == 671_026_404_352
    parts = [int(value) for name, value in counts.items() if name not in {"total", "active per token"}]
    assert sum(parts) == int(counts["total"])


def test_a_config_says_what_was_read(tmp_path: Path, printed) -> None:
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 100,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 50,
        "rope_theta": 1e4,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    out = " ".join(printed("models", str(path), "--set", "n_layers=3").split())
    assert "num_key_value_heads is not stated: assumes one per query head" in out
    assert "Not used: rope_theta" in out


def test_types_say_why_they_are_refused(answered) -> None:
    types = answered("models", "--types")
    assert "llama" in types["counted"]
    assert types["refused"]["reformer"].startswith("its attention is hashed")


def test_an_unknown_model_is_one_line_and_status_2(refused) -> None:
    error = refused("models", "gpt5")
    assert error.count("\n") == 1
    assert "unknown model 'gpt5': did you mean 'gpt2'" in error
