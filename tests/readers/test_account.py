"""What became of a key: a size that no rule knows is refused, everything else passes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from roofline.errors import RooflineError
from roofline.readers.account import is_harmless, is_neutral, plain, refuse_size, shown
from roofline.readers.read import read_run
from roofline.readers.values import Unresolved

RULES: Any = SimpleNamespace(
    where="run.yaml (X)",
    files=SimpleNamespace(parts={"deepspeed"}, documents=[SimpleNamespace(form="yaml")]),
    framework=SimpleNamespace(harmless=["log_*", "optim.eps"], neutral={"sparse": False, "a.rank": 0}),
)


@pytest.mark.parametrize(
    ("key", "value"), [("my_micro_batch_size", 4), ("model.num_layers", 12), ("tensor_parallel_extra", 2)]
)
def test_a_name_of_a_size_is_refused(key: str, value: Any) -> None:
    with pytest.raises(RooflineError, match=rf"^run\.yaml \(X\): {key} = {value} is not understood"):
        refuse_size(RULES, key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("eval_batch_size", 4), ("micro_batch_size", 1), ("micro_batch_size", True), ("micro_batch_size", "x"), ("lr", 4)],
)
def test_what_sizes_no_training_passes(key: str, value: Any) -> None:
    refuse_size(RULES, key, value)


def test_harmless_by_its_path_or_its_last_part() -> None:
    assert is_harmless(RULES, "trainer.log_every")
    assert is_harmless(RULES, "optim.eps")
    assert not is_harmless(RULES, "other.eps")


def test_options_of_a_launcher_are_harmless_in_a_script_alone() -> None:
    script = SimpleNamespace(parts=set(), documents=[SimpleNamespace(form="shell")])
    assert is_harmless(SimpleNamespace(**{**vars(RULES), "files": script}), "rdzv_id")  # type: ignore[arg-type]
    assert not is_harmless(RULES, "rdzv_id")


def test_neutral_at_its_value_and_refused_at_any_other() -> None:
    assert is_neutral(RULES, "model.sparse", value=False)
    assert is_neutral(RULES, "sparse", value=None)
    assert not is_neutral(RULES, "b.rank", value=3)  # named by its path: another's
    with pytest.raises(RooflineError, match=r"a\.rank = 3 changes what a step costs .* \(without it it is 0\)"):
        is_neutral(RULES, "a.rank", value=3)


def test_a_key_as_its_own_file_has_it() -> None:
    assert shown(RULES, "deepspeed.zero.stage") == "zero.stage"
    assert shown(RULES, "training.zero") == "training.zero"


def test_a_variable_is_its_text_in_json() -> None:
    assert plain(Unresolved(text="${A}", name="A")) == "${A}"
    assert plain(3) == 3


PACKED = """
base_model: meta-llama/Meta-Llama-3-8B
adapter: qlora
sequence_len: 2048
micro_batch_size: 1
relora: false
sample_packing: {}
"""


@pytest.mark.parametrize(("packed", "noted"), [("true", False), ("false", True)])
def test_a_key_that_only_decides_a_note_is_read(tmp_path: Path, packed: str, noted: bool) -> None:
    path = tmp_path / "axolotl.yaml"
    path.write_text(PACKED.format(packed), encoding="utf-8")
    run = read_run(path, framework="axolotl")
    options = {key.key: key.option for key in run.report.read}
    assert options["sample_packing"] == "note"
    assert options["base_model"] == "model"  # notes that fill it in are no further use of it
    assert run.report.ignored == ["relora"]  # it would have been refused, and says nothing at its value
    assert any("without sample packing" in note for note in run.notes) is noted


@pytest.mark.parametrize("adapter", ["qlora", "lora"])
def test_bits_beside_an_adapter_that_implies_them_are_read(tmp_path: Path, adapter: str) -> None:
    path = tmp_path / "axolotl.yaml"
    text = PACKED.format("true").replace("adapter: qlora", f"adapter: {adapter}\nload_in_4bit: true")
    path.write_text(text, encoding="utf-8")
    run = read_run(path, framework="axolotl")
    assert (run.options["train"], run.options["base_dtype"]) == ("qlora", "nf4")
    assert {key.key: key.option for key in run.report.read}["load_in_4bit"] == "train, base_dtype"
