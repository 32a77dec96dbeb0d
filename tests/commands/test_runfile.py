"""Run files on the command line: in place of MODEL, with further files, overridden, explained."""

import json
from pathlib import Path

import pytest

from roofline.cli import main

TITAN = """
[model]
name = "llama3"
flavor = "8B"
[training]
local_batch_size = 1
seq_len = 2048
[activation_checkpoint]
mode = "full"
"""


@pytest.fixture
def run_file(tmp_path: Path) -> str:
    path = tmp_path / "run.toml"
    path.write_text(TITAN, encoding="utf-8")
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(list(words))
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("command", ["estimate", "memory", "count"])
def test_json_of_a_command_has_the_config(run_file: str, capsys: pytest.CaptureFixture[str], command: str) -> None:
    device = ["-d", "h100-sxm-80gb"] if command != "count" else []
    status, out, _ = run(capsys, command, run_file, *device, "--num-devices", "8", "--format", "json")
    data = json.loads(out)
    assert status == 0
    assert data["config"]["framework"] == "torchtitan"
    assert set(data["config"]) == {"framework", "files", "read", "assumed", "ignored", "not_understood"}
    assert {"key": "training.seq_len", "value": 2048, "option": "seq_len"} in data["config"]["read"]


def test_the_settled_configuration_is_the_files(run_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "estimate", run_file, "-d", "h100-sxm-80gb", "--num-devices", "8", "--format", "json")
    train = json.loads(out)["train"]
    assert (train["num_devices"], train["dp"], train["global_batch"], train["recompute"]) == (8, 8, 8, "full")


def test_an_option_overrides(run_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["estimate", run_file, "-d", "h100-sxm-80gb", "--num-devices", "8", "--micro-batch", "2"]
    _, out, _ = run(capsys, *words)
    assert "micro batch 2 x 8 data parallel = 16 sequences of 2,048 tokens" in out
    assert "Note: --micro-batch 2 overrides 1 of the file." in out


def test_search_and_comparison_take_a_run_file(run_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [run_file, "-d", "h100-sxm-80gb", "--num-devices", "8", "--global-batch", "64", "--format", "json"]
    status, out, _ = run(capsys, "layouts", *words)
    assert status == 0 and json.loads(out)["layouts"]
    _, out, _ = run(capsys, "memory", *words, "--offload", "optimizer")
    assert "overrides" not in out
    status, out, _ = run(capsys, "compare", run_file, "-d", "h100-sxm-80gb,a100-sxm-80gb", "--num-devices", "8")
    assert status == 0 and "a100" in out.lower()


def test_explain_config_needs_no_device(run_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "estimate", run_file, "--explain-config")
    assert status == 0
    assert "training.local_batch_size" in out and "(torchtitan's default)" in out


def test_explain_config_says_each_line_once(run_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "estimate", run_file, "--explain-config", "--micro-batch", "2")
    assert out.count("assumes 1 device") == 1
    assert out.count("overrides 1 of the file") == 1
    assert "Note: --micro-batch 2 overrides 1 of the file." in out


def test_a_model_with_run_files_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ds.json"
    path.write_text('{"train_micro_batch_size_per_gpu": 2, "zero_optimization": {"stage": 2}}', encoding="utf-8")
    words = ["memory", "gpt2", "--with", str(path), "--seq-len", "512", "--num-devices", "4", "--format", "json"]
    status, out, _ = run(capsys, *words)
    train = json.loads(out)["train"]
    assert (status, train["sharding"], train["micro_batch"], train["seq_len"]) == (0, "zero2", 2, 512)


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("a: !!python/object/apply:os.system [ls]\n", encoding="utf-8")
    status, out, err = run(capsys, "estimate", str(path), "-d", "h100-sxm-80gb")
    assert (status, out, err.count("\n")) == (2, "", 1)
    status, _, err = run(capsys, "estimate", "gpt2", "-d", "h100-sxm-80gb", "--explain-config")
    assert status == 2 and "--explain-config is for the run file" in err


@pytest.mark.parametrize(
    ("framework", "words"), [("megatron", "--tensor-model-parallel-size"), ("torchtitan", "[parallelism]")]
)
def test_layouts_emits_keys(capsys: pytest.CaptureFixture[str], framework: str, words: str) -> None:
    options = ["-d", "h100-sxm-80gb", "--num-devices", "8", "--global-batch", "64", "--emit", framework]
    status, out, _ = run(capsys, "layouts", "llama-3-8b", *options)
    assert status == 0
    assert words in out
    assert "global" in out


def test_an_option_of_several_words_overrides_and_is_one_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ds.json").write_text(
        '{"train_micro_batch_size_per_gpu": 2, "bf16": {"enabled": true}, '
        '"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}',
        encoding="utf-8",
    )
    words = ["gpt2", "--with", str(tmp_path / "ds.json"), "-d", "a100-sxm-80gb", "--num-devices", "8"]
    words += ["--seq-len", "1024"]
    _, out, _ = run(capsys, "memory", *words, "--offload", "optimizer,activations")
    assert "Note: --offload optimizer,activations overrides optimizer of the file." in out
    status, out, _ = run(capsys, "compare", *words, "--case", "--offload none", "--case", "--offload optimizer")
    assert status == 0
    assert "B is 1." in out  # both cases are there, and the second pays for its copies
    assert "exposed copies to and from the host" in out
