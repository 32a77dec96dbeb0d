"""The words every report shares."""

from typing import Any

import pytest

from roofline.config.run import TrainConfig
from roofline.config.settle import resolve, train_config
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.view.words import (
    adapter_words,
    batch_words,
    device_notes,
    device_words,
    length_words,
    model_words,
    unit_words,
)

GPT = load_model("gpt2-xl")


def train(**fields: Any) -> TrainConfig:
    return resolve(train_config({"stack": "megatron", **fields}), GPT)


def test_the_batch_shows_its_arithmetic() -> None:
    words = batch_words(train(num_devices=8, micro_batch=2, global_batch=64, seq_len=1024), GPT)
    # 2 x 4 x 8 = 64; 64 x 1024 = 65,536
    assert words == (
        "micro batch 2 x 4 accumulation steps x 8 data parallel = 64 sequences of 1,024 tokens: 65,536 tokens a step"
    )


def test_one_micro_batch_is_all_there_is_to_say() -> None:
    words = batch_words(train(micro_batch=2, seq_len=512), GPT, chosen=True)
    assert words == "micro batch 2 (assumed) of 512 tokens: 1,024 tokens a step"


def test_a_model_by_its_parameters() -> None:
    assert model_words(GPT) == "gpt2-xl (1.56B parameters)"  # 1,557,611,200: arXiv of GPT-2, 1558M
    assert "active)" in model_words(load_model("mixtral-8x7b"))
    assert unit_words(GPT) == "tokens"


def test_a_device_by_its_dense_peak() -> None:
    assert device_words(load_device("a100-sxm-80gb"), "bf16").endswith(", bf16 at 312.00 TFLOP/s dense peak")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "LoRA of rank 8 on all projections"),
        ({"lora_variant": "dora", "lora_dropout": 0.05}, "DoRA of rank 8 on all projections with dropout 0.05"),
        (
            {"base_dtype": "nf4", "double_quant": True},
            "LoRA of rank 8 on all projections over a base in nf4 (scales quantised as well)",
        ),
    ],
)
def test_adapters(fields: dict[str, Any], words: str) -> None:
    plain = TrainConfig(micro_batch=1, seq_len=8, lora_rank=8, lora_modules="all", **fields)
    assert adapter_words(plain) == words


def test_samples_shorter_than_the_sequence() -> None:
    assert length_words(TrainConfig(micro_batch=1, seq_len=8, mean_len=8)) == ""
    assert length_words(TrainConfig(micro_batch=1, seq_len=1024, mean_len=700, packing="packed")) == (
        " (samples of 700, packed)"
    )


def test_low_confidence_is_said() -> None:
    notes = device_notes(load_device("h100-sxm-80gb"))
    assert not any("confidence" in note for note in notes)
    assert all(note.startswith("Note: ") and note.endswith(".") and ".." not in note for note in notes)
