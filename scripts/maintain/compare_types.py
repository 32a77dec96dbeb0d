"""Compare the parameters of every model type of `transformers`, as its classes build them, with ours, weightless.

Each type's default configuration is built on torch's meta device by the class that `tracing/architecture` takes, and
read from its fields as a ``config.json``.

    python scripts/maintain/compare_types.py                  # every type
    python scripts/maintain/compare_types.py clip qwen2_vl
    python scripts/maintain/compare_types.py --write          # also records the results for the test suite

Two conventions: poolers, which no training of these classes uses, are left out; the class of a text part may have no
head, and then ours is left out as well. Layers that predict ahead are taken from the configurations, since transformers
builds none. Needs the `torch` extra.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers

from roofline.errors import NotDescribedError, RooflineError
from roofline.model.expressions import fields_in
from roofline.model.family import recognised_fields
from roofline.model.huggingface import NESTED, model_from_config
from roofline.model.parameters import count_parameters
from roofline.model.towers import table
from roofline.tracing.architecture import Built, build

RECORD = Path(__file__).resolve().parents[2] / "tests" / "data" / "model_types.jsonl"
AHEAD = ("num_nextn_predict_layers", "mtp_num_hidden_layers")
NEEDED: Mapping[str, Mapping[str, Any]] = {  # without which no class is built
    "aya_vision": {"vision_config": {"model_type": "siglip_vision_model", "vision_use_head": False}},
    "autoformer": {"prediction_length": 24},
    "chameleon": {"vocabulary_map": {"<image>": 8711}},
    "dots1": {"n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1},
    "emu3": {"vocabulary_map": {"<image>": 151646}},
    "esm": {"vocab_size": 33},
    "gemma4_assistant": {
        "text_config": {"model_type": "gemma4_text", "hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}
    },
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128, "num_experts": 8, "moe_topk": 2},
    "informer": {"prediction_length": 24},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"] * 8},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8, "head_dim": 128},
    "qwen4_exp_text": {
        "indexer_n_heads": 16,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 256,
        "indexer_budget": 2048,
        "indexer_compress_ratio": 4,
    },
    "reformer": {"is_decoder": True},
    "moonshine_streaming": {"num_key_value_heads": 8},
    "qwen3_omni_moe_talker_text": {"shared_expert_intermediate_size": 1024},
    "t5gemma2_decoder": {"dropout_rate": 0.0},
    "t5gemma2_encoder": {"text_config": {"model_type": "t5gemma2_text", "dropout_rate": 0.0}},
    "t5gemma2_text": {"dropout_rate": 0.0},
    "timm_backbone": {"backbone": "resnet50"},
    "time_series_transformer": {"prediction_length": 24},
}


def default_config(name: str) -> dict[str, Any]:
    """The default configuration of a type as its ``config.json`` states it."""
    config = transformers.AutoConfig.for_model(name, **NEEDED.get(name, {}))
    fields: dict[str, Any] = json.loads(json.dumps(config.to_dict(), default=str))
    return {**fields, "model_type": name}


def without(fields: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a configuration and its parts but for some."""
    return {
        key: without(value, names) if isinstance(value, dict) else value
        for key, value in fields.items()
        if key not in names
    }


def read_fields(fields: Mapping[str, Any], beside: frozenset[str] = frozenset(), usual: str = "") -> dict[str, Any]:
    """A configuration cut down to what we read of it, and to the fields named `beside`; of the `usual` type."""
    name = str(fields.get("model_type") or usual)
    known = {"model_type", "tie_word_embeddings", *beside}
    with contextlib.suppress(NotDescribedError):  # the whole of several models
        known |= recognised_fields(name)
    parts = dict.fromkeys(NESTED, name)
    inner: set[str] = set()
    for tower in table().get(name, {}).values():
        parts[tower.config] = tower.type
        words = [word.split(".") for text in (tower.merge, tower.joins, tower.extra) for word in fields_in(text)]
        known |= {word[0] for word in words}
        inner |= {word[1] for word in words if len(word) > 1}
    return {
        key: read_fields(value, frozenset(inner), parts[key]) if key in parts and isinstance(value, dict) else value
        for key, value in fields.items()
        if value is not None and (key in known or key in parts)
    }


def theirs(built: Built) -> int:
    """Parameters of a module without its poolers."""
    parts = built.module.named_parameters()
    return sum(each.numel() for name, each in parts if "pooler.dense" not in name)


def headless(built: Built) -> bool:
    """Whether the class of a text part has no head."""
    return type(built.module).__name__.endswith("TextModel")


def compare(name: str) -> dict[str, Any]:
    """What there is to record of one type."""
    record: dict[str, Any] = {"type": name}
    built, fields = None, {}
    try:
        fields = default_config(name)
        built = build(fields, name)
    except Exception as error:  # noqa: BLE001 (a class can raise anything)
        record["unbuilt"] = " ".join(str(error).split())[:200]
        if not fields:
            return {**record, "status": "unbuilt"}
    fields = without(fields, AHEAD)
    if built is not None:
        record |= {"class": type(built.module).__name__, "parameters": theirs(built)}
    try:
        model = model_from_config(fields, name)
    except RooflineError as error:
        return {**record, "status": "refused", "why": str(error)[:200]}
    counted = count_parameters(model)
    ours = counted.total - (counted.head if built is not None and headless(built) else 0)
    record |= {"ours": ours, "config": read_fields(fields)}
    if built is None:
        return {**record, "status": "unbuilt"}
    return {**record, "status": "exact" if ours == record["parameters"] else "differs"}


def write(records: list[dict[str, Any]]) -> None:
    """Record the results; those of types that were not compared this time stay as they were."""
    known = [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []
    merged = {record["type"]: record for record in [*known, *records]}
    lines = [json.dumps(merged[name], separators=(",", ":")) for name in sorted(merged)]
    RECORD.write_text("\n".join(lines) + "\n")


def main() -> int:
    """Compare, print, and record where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", help="model types (default: all)")
    parser.add_argument("--write", action="store_true", help=f"record the results in {RECORD.name}")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    names = args.names or sorted(transformers.models.auto.configuration_auto.CONFIG_MAPPING)
    records = []
    for name in names:
        records.append(record := compare(name))
        if args.names or record["status"] == "differs":
            kept = {key: value for key, value in record.items() if key != "config"}
            print(json.dumps(kept), flush=True)
    print(dict(Counter(record["status"] for record in records)))
    if args.write:
        write(records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
