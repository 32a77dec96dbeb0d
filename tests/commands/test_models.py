"""``roofline models``: the catalog, one model, a config.json, the model types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roofline.cli import main
from roofline.model.presets import model_ids


def test_the_catalog_lists_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)["models"]
    assert [model["id"] for model in listed] == model_ids()
    assert all(model["source"] and model["params_total"] >= model["params_active"] > 0 for model in listed)


def test_one_model_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "deepseek-v3", "--format", "csv"]) == 0
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines() if line]
    counts = {row[0]: row[1] for row in rows if len(row) > 2 and row[1].isdigit()}
    assert int(counts["total"]) == 671_026_404_352
    parts = [int(value) for name, value in counts.items() if name not in {"total", "active per token"}]
    assert sum(parts) == int(counts["total"])


def test_a_config_says_what_was_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert main(["models", str(path), "--set", "n_layers=3"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "num_key_value_heads is not stated: assumes one per query head" in out
    assert "Not used: rope_theta" in out


def test_types_say_why_they_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--types", "--format", "json"]) == 0
    types = json.loads(capsys.readouterr().out)
    assert "llama" in types["counted"]
    assert types["refused"]["reformer"].startswith("its attention is hashed")


def test_an_unknown_model_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "gpt5"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "unknown model 'gpt5': did you mean 'gpt2'" in error
