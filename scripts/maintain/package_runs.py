"""Write the packaged tables of published measurements from a folder of compiled ones.

    python scripts/maintain/package_runs.py FOLDER

Rows come from published tables. Of bulk logs that two projects published (Aleph Alpha's sweep, vTrain's
single-node runs) an evenly spaced sample of at most 40 rows each is kept. Columns that only document how a row
was compiled are left out.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from pathlib import Path

from roofline.config.recompute import read_recompute
from roofline.validation.row_adapters import ADAPTED, adapters_said, upcast_said
from roofline.validation.row_config import fusions_of
from roofline.validation.row_network import network_of

TARGET = Path(__file__).parents[2] / "roofline" / "validation" / "data"
BULK_LOGS = ("aa-", "vtrain-single-")
MOST = 40
LEFT_OUT = {
    "notes",
    "hw_note",
    "sharding_note",
    "unit_printed",
    "value_printed",
    "inter_node",
    "hardware_note",
    "attention_note",
    "quality",
}
KINDS = ("memory_kind", "scope")  # what a row's memory counts, and what a budget covers
UPCAST = "AdamW (fp32 weights, gradients and states)"
NOT_PEAKS = {"(ratio)": "ratio of activations", "weights loaded": "weights loaded"}
# what is recomputed, in the words of sources, and in ours
RECOMPUTED = (
    (r"per-op (?:selective AC|SAC)|selective op AC", "matmuls:2"),
    (r"selective layer AC", "every:2"),
    (r"remat policy minimal_flash", "matmuls"),
    (r"activation checkpointing on ([1-9][0-9]*) layers", r"full:\1"),
    # MaxText's custom policy: what it does not name runs again (src/maxtext/configs/base.yml)
    (r"custom remat: offload decoder_layer_input\+qkv", "layernorm,core_attn,mlp"),
    (r"custom remat: keep layer input", "full"),
    (r"recompute[_ ]modules[=: ]+((?!full|none)[a-z_]+(?:, ?[a-z_]+)*)", r"\1"),
)
# who deals Muon's matrices out to its ranks: modded-nanogpt from this record on, nanochat (nanochat/muon.py DistMuon)
DEALT_OUT = ("KellerJordan/modded-nanogpt records/track_1_short/2024-10-17", "karpathy/nanochat")
# what the script of a run sets and its table lacks: AI-Hypercomputer/maxtext@d32d207fbcce
# MaxText/configs/v5p/gpt3_175b/gpt3_175b_base.sh and v5p_1024.sh; and what its paper does: softmax with the causal mask
# is a kernel of its own (arXiv:2303.17564, section 3.3)
SCRIPTS = {
    "tr-v5p-gpt3-175b": {"dtype": "int8", "recompute": "full", "tp": "8.0", "dp": "64.0"},
    "bloomberggpt-50b": {"attention": "fused_softmax"},
}
# boards that a source's name of the box means: a DGX-2 holds SXM3 modules (hardware/instances.csv)
BOARDS = {"meg20-dgx2-": "v100-sxm3-32gb", "mlm-2020-v100-": "v100-sxm3-32gb"}
# what authors train with where a row runs their kernels (Dao-AILab/flash-attention training/README.md)
OWN_CODE = {"FlashAttention-2 (arXiv:2307.08691)": ("flash", "flash-attn")}
# software of sources that name none in the table of memory: as the same source's runs have it, or of its time
SOFTWARE = {
    "MoE Parallel Folding": "Megatron-Core",
    "HF docs": "HF Trainer (transformers 4.17)",  # its page is of early 2022
}
# of budgets, the papers that their short names mean
PAPERS = {
    "LLaMA Table 15 (quoting OPT)": "OPT (arXiv:2205.01068) as in LLaMA Table 15",
    "BloombergGPT": "BloombergGPT (arXiv:2303.17564)",
    "GLM-130B": "GLM-130B (arXiv:2210.02414)",
}
TABLES = ("published_runs.csv", "published_memory.csv", "published_budgets.csv")


def sample(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """At most 40 rows of each bulk log, evenly spaced, all rows of everything else."""
    for prefix in BULK_LOGS:
        bulk = [row for row in rows if row["id"].startswith(prefix)]
        step = max(1, -(-len(bulk) // MOST))
        dropped = {id(row) for row in bulk} - {id(row) for row in bulk[::step]}
        rows = [row for row in rows if id(row) not in dropped]
    return rows


def upcast(row: dict[str, str]) -> bool:
    """Whether a row trains in fp32 what its notes have in 16 bits.

    The Liger table of fms-acceleration ran with the Trainer's bf16 flag (its scripts/benchmarks/scenarios-liger.yaml
    has `bf16: True` for full fine-tuning, scenarios.yaml has not), under which accelerate trains what FSDP shards in
    fp32 (Accelerator.prepare_model upcasts every flat parameter that is trained).
    """
    flagged = row["source"].partition(" @")[0].endswith("a100_80gb_liger.csv")
    return flagged and row["sharding"] == "fsdp" and row["workload"] == "sft"


def offload_words(row: dict[str, str]) -> str:
    """What a row keeps on the host, of how many layers: as its column says, or its notes."""
    words = row["offload"] or "+".join(
        name for mark, name in (("opt", "optimizer"), ("param", "parameters")) if f"{mark} offload=Y" in row["notes"]
    )
    layers = re.search(r"activations of ([0-9]+) layers", row["notes"])
    return f"{words}:{layers[1]}" if words == "activations" and layers else words


def recompute_detail(row: dict[str, str]) -> str:
    """What a row recomputes where its notes say more than none, selective or full; else blank."""
    if row["recompute"] and "70B: layer input kept" in row["notes"]:  # one note for all rows of its table
        return "full"
    found = ((re.search(pattern, row["notes"]), ours) for pattern, ours in RECOMPUTED)
    return next((read_recompute(match.expand(ours)) for match, ours in found if match), "")


def tidy(row: dict[str, str]) -> dict[str, str]:
    """Words of the source as the figures and short kinds that are read from them."""
    if "notes" in row and "tokens" not in row:  # a run
        row["fused"] = "/".join(fusions_of(row))
        since = next((each for each in DEALT_OUT if each.split()[0] == row["source"].split()[0]), None)
        if since is not None and row["source"] >= since:
            row["sharding"] = "zero1"
        row |= SCRIPTS.get(row["id"], {})
    if "workload" in row:
        row["precision"] = "no fp32 copy" if "no fp32 copy" in row["notes"] else upcast_said(row)
        row["adapters"] = adapters_said(row) if row["workload"] in ADAPTED else ""
    if "inter_node" in row:
        for source, (kernel, software) in OWN_CODE.items():
            if row["source"].startswith(source) and row["attention"].startswith(kernel):
                row["software"] = row["software"] or software
        boxes = (board for box, board in BOARDS.items() if row["id"].startswith(box))
        row["device"] = next(boxes, row["device"])
        row["power_limited"] = "1" if "power limited" in row["hw_note"] else ""
        row["offload"] = offload_words(row)
        network = network_of(row["inter_node"], int(float(row["devices_per_node"] or 8)))
        row["network_gbit_per_s"] = "" if network is None else f"{network:g}"
        row["recompute_detail"] = recompute_detail(row)
    if "memory_kind" in row:
        if upcast(row):
            row |= {"optimizer": UPCAST, "precision": ""}
        named = (name for source, name in SOFTWARE.items() if row["source"].startswith(source))
        row["software"] = row["software"] or next(named, "")
    if "tokens" in row:  # a budget
        row["source"] = PAPERS.get(row["source"], row["source"])
    for column in KINDS:
        if column in row:
            marked = (kind for mark, kind in NOT_PEAKS.items() if mark in row[column])
            row[column] = next(marked, re.split(r"[(;,:]", row[column])[0].strip())
    return row


def main() -> int:
    """Write every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the compiled tables are")
    folder = parser.parse_args().folder
    for name in TABLES:
        with (folder / name).open(encoding="utf-8", newline="") as file:
            rows = sample(list(csv.DictReader(file)))
        rows = [tidy(row) for row in rows]
        columns = [column for column in rows[0] if column not in LEFT_OUT]
        with (TARGET / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        print(f"{name}: {len(rows)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
