"""Compare the activation memory we count with what torch saves for backward, on small real models.

    python scripts/maintain/compare_activation_memory.py [--write] [--ops FAMILY]

Needs the `torch` extra. Each model runs forward on the CPU under `torch.autograd.graph.saved_tensors_hooks`;
bytes are counted once per storage, parameters excluded. Dropout runs as on a GPU: one kernel with a mask of
byte per element, and inside fused attention no mask at all. ``--write`` records the figures for the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roofline.config.run import TrainConfig
from roofline.counting.step import build_step
from roofline.model.load import load_model

RECORD = Path(__file__).parents[2] / "tests" / "data" / "activation_memory.csv"
BATCH, SEQ_LEN = 2, 64
COMMON = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 8, "vocab_size": 320}
GROUPED = COMMON | {"num_key_value_heads": 4, "intermediate_size": 256}
GPT2 = {"n_embd": 96, "n_layer": 2, "n_head": 8, "vocab_size": 320, "n_positions": 64, "n_inner": 384}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": GPT2 | {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "gpt2-dropout": GPT2 | {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1},
    "llama": GROUPED,
    "mixtral": GROUPED | EXPERTS,
    "qwen3": GROUPED | {"head_dim": 16},
    "qwen3_moe": GROUPED | {"head_dim": 12, "moe_intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2},
    "starcoder2": GROUPED | {"sliding_window": None},
    "gemma": GROUPED | {"head_dim": 16},
    "olmo2": GROUPED,
    "phi3": GROUPED | {"pad_token_id": 0},
    "gpt_neox": COMMON | {"intermediate_size": 384, "max_position_embeddings": 64},
}
LIMIT = 0.005


def config_of(family: str) -> dict[str, Any]:
    """The ``config.json`` of a small model."""
    return {"model_type": family.removesuffix("-dropout")} | CONFIGS[family]


def counted(family: str, attention: str, dtype: str) -> dict[str, float]:
    """Bytes kept for backward by op, as we count them for the `eager` stack."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(config_of(family)), encoding="utf-8")
        model = load_model(path)
    train = TrainConfig(
        micro_batch=BATCH,
        seq_len=SEQ_LEN,
        dtype=dtype,
        stack="eager",
        dropout=family.endswith("-dropout"),
        master_weights=False,  # the model runs in one dtype throughout, not under autocast
        attention="unfused" if attention == "eager" else "flash2",
    )
    saved: dict[str, float] = {}
    for op in build_step(model, train).ops:
        saved[op.name] = saved.get(op.name, 0) + op.saved_bytes * op.count
    return {name: size for name, size in saved.items() if size}


def measured(family: str, attention: str, dtype: str) -> dict[str, int]:
    """Bytes torch saves for backward by module, each storage once."""
    import torch
    import transformers

    fields = dict(config_of(family))
    config = transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
    config.use_cache = False
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).train()
    model = model.to(torch.bfloat16) if dtype == "bf16" else model
    excluded = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}
    storages: dict[int, tuple[Any, str]] = {}
    place = [""]

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in excluded:
            storages.setdefault(storage.data_ptr(), (storage, place[-1]))
        return tensor

    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: place.append(name))
        module.register_forward_hook(lambda *_: (place.pop(), None)[1])
    ids = torch.randint(0, config.vocab_size, (BATCH, SEQ_LEN))
    with gpu_dropout(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(input_ids=ids, labels=ids)
    by_module: dict[str, int] = {}
    for storage, name in storages.values():
        by_module[name] = by_module.get(name, 0) + storage.nbytes()
    return by_module


@contextlib.contextmanager
def gpu_dropout() -> Iterator[None]:
    """Dropout as a GPU runs it: a mask of one byte per element; none inside fused attention."""
    import torch

    functional = torch.nn.functional
    dropout, attention = functional.dropout, functional.scaled_dot_product_attention

    def one_kernel(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        return torch.native_dropout(x, p, True)[0] if training and p else dropout(x, p, training, inplace)

    def without_mask(*args: Any, dropout_p: float = 0.0, **kwargs: Any) -> Any:
        del dropout_p
        return attention(*args, **kwargs)

    functional.dropout, functional.scaled_dot_product_attention = one_kernel, without_mask
    try:
        yield
    finally:
        functional.dropout, functional.scaled_dot_product_attention = dropout, attention


def main() -> None:
    """Print measured and counted bytes for every case; record them on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"record the measurements in {RECORD.name}")
    parser.add_argument("--ops", metavar="FAMILY", help="list both sides op by op")
    args = parser.parse_args()
    rows = []
    print(f"{'family':14} {'attention':9} {'dtype':5} {'measured':>12} {'counted':>12} {'error':>8}")
    for family in [args.ops] if args.ops else CONFIGS:
        for attention in ("eager", "sdpa"):
            for dtype in ("fp32", "bf16"):
                by_module, by_op = measured(family, attention, dtype), counted(family, attention, dtype)
                ours, torchs = sum(by_op.values()), sum(by_module.values())
                error = ours / torchs - 1
                print(f"{family:14} {attention:9} {dtype:5} {torchs:12} {ours:12.0f} {error:+8.2%}")
                rows.append((family, attention, dtype, torchs))
                for name, size in [*by_module.items(), *by_op.items()] if args.ops else []:
                    print(f"    {name:50} {size:12.0f}")
    if args.write:
        with RECORD.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("family", "attention", "dtype", "saved_bytes"))
            writer.writerows(rows)


if __name__ == "__main__":
    main()
