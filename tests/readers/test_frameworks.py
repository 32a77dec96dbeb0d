"""Every framework in files of our own: an answer, a word missing, one that cannot run; the cases are data."""

import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roofline.errors import RooflineError
from roofline.model.parameters import count_parameters
from roofline.model.spec import ModelConfig
from roofline.readers.framework import framework_names, load_framework
from roofline.readers.read import read_run

CASES: list[dict[str, Any]] = [
    case
    for path in sorted((Path(__file__).parent / "cases").glob("*.toml"))
    for case in tomllib.loads(path.read_text(encoding="utf-8"))["case"]
]
ELSEWHERE = {"megatron-lm", "torchtitan", "axolotl", "hf-trl", "deepspeed"}  # in test_read.py


def sizes(model: ModelConfig | None) -> list[int]:
    """Layers, width and parameters of a model."""
    assert model is not None
    return [model.n_layers, model.d_model, count_parameters(model).total]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['framework']}-{case['file']}")
def test_case(case: dict[str, Any], write: Callable[[str, str], Path]) -> None:
    for name, text in case.get("with", {}).items():
        write(name, text)
    path = write(case["file"], case["text"])
    arguments = {"given": case.get("given"), "model": case.get("model")}
    if "error" in case:
        with pytest.raises(RooflineError, match=case["error"]) as caught:
            read_run(path, **arguments)
        assert "\n" not in str(caught.value)
        return
    run = read_run(path, **arguments)
    found = {**run.said, "model": run.model.name if run.model else None}
    assert {name: found.get(name) for name in case["wants"]} == case["wants"]
    if "sizes" in case:
        assert sizes(run.model) == case["sizes"]
    assert run.report.framework == case["framework"]
    assert run.report.not_understood == []
    for words in case.get("notes", []):
        assert any(words in note for note in run.notes)


def test_every_framework_has_three_cases() -> None:
    counts = Counter(case["framework"] for case in CASES)
    backends = {name for name in framework_names() if name.startswith("primus-")}
    for name in set(framework_names()) - ELSEWHERE - backends - {"megatron-moe-zoo-runtime"}:
        assert counts[name] >= 3, name


@pytest.mark.parametrize("name", framework_names())
def test_a_framework_names_its_source(name: str) -> None:
    framework = load_framework(name)
    assert framework.title
    assert "/" in framework.source or framework.source.startswith("transformers")


@pytest.mark.parametrize("name", framework_names())
def test_no_derived_value_hides_a_key(name: str) -> None:
    framework = load_framework(name)
    keys = {mark.partition("=")[0] for mark in framework.marks} | framework.defaults.keys()
    assert not framework.derived.keys() & keys
