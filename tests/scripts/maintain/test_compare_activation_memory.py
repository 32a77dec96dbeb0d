"""What we count as kept for backward against what torch keeps for real models (recorded; no torch needed)."""

import csv
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RECORD = ROOT / "tests" / "data" / "activation_memory.csv"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location(
        "compare_activation_memory", ROOT / "scripts" / "maintain" / "compare_activation_memory.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def rows():
    with RECORD.open(encoding="utf-8") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


@pytest.mark.parametrize(("family", "attention", "dtype", "saved_bytes"), rows())
def test_counted_bytes_match_what_torch_saves(script, family, attention, dtype, saved_bytes):
    counted = sum(script.counted(family, attention, dtype).values())
    assert counted == pytest.approx(int(saved_bytes), rel=script.LIMIT)


@pytest.mark.parametrize("family", ["gpt2", "gpt2-dropout", "llama"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_fp32_counts_are_exact_but_for_the_loss_scalar(script, family, attention):
    (saved,) = [int(row[3]) for row in rows() if row[:3] == (family, attention, "fp32")]
    assert saved - sum(script.counted(family, attention, "fp32").values()) == 4


def test_record_covers_every_case(script):
    assert len(rows()) == 4 * len(script.CONFIGS)
