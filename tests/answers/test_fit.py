"""Whether a step fits, in words."""

from typing import Any

import msgspec

from roofline.answers.fit import fit_words, total_words
from roofline.config.settle import train_config
from roofline.counting.step import Step, build_step
from roofline.footprint.parts import memory_of
from roofline.hardware import load_device
from roofline.model.load import load_model

H100 = load_device("h100-sxm-80gb")


def step_of(model: str, **options: Any) -> Step:
    """The step of a preset."""
    return build_step(load_model(model), train_config({"micro_batch": 1, **options}))


def test_what_fits_says_how_much_is_left() -> None:
    words = total_words(memory_of(step_of("gpt2"), H100))
    assert words.startswith("fits: ")
    assert words.endswith(" to spare")


def test_what_does_not_fit_says_how_much_is_missing() -> None:
    words = total_words(memory_of(step_of("llama-2-70b"), H100))
    assert words.startswith("DOES NOT FIT: ")
    assert words.endswith(" short per device")


def test_without_a_device_there_is_nothing_to_fit_in() -> None:
    unknown = msgspec.structs.replace(memory_of(step_of("gpt2"), H100), capacity_bytes=None)
    assert "name a --device" in total_words(unknown)


def test_what_lives_elsewhere_is_said() -> None:
    assert fit_words(memory_of(step_of("gpt2", offload="optimizer"), H100)).endswith(" in the memory of each host")
