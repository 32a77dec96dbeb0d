"""What we count as kept for backward against what torch keeps for real models (recorded; no torch needed)."""

import pytest

from ...maintain import script
from ...records import records

compare_activation_memory = script("compare_activation_memory")

ROWS = [tuple(row.values()) for row in records("activation_memory.csv")]


@pytest.mark.parametrize(("family", "attention", "dtype", "saved_bytes"), ROWS)
def test_counted_bytes_match_what_torch_saves(family, attention, dtype, saved_bytes):
    counted = sum(compare_activation_memory.counted(family, attention, dtype).values())
    assert counted == pytest.approx(int(saved_bytes), rel=compare_activation_memory.LIMIT)


@pytest.mark.parametrize("family", ["gpt2", "gpt2-dropout", "llama"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_fp32_counts_are_exact_but_for_the_loss_scalar(family, attention):
    (saved,) = [int(row[3]) for row in ROWS if row[:3] == (family, attention, "fp32")]
    assert saved - sum(compare_activation_memory.counted(family, attention, "fp32").values()) == 4


def test_record_covers_every_case():
    assert len(ROWS) == 4 * len(compare_activation_memory.CONFIGS)
