"""Compare the FLOPs of encoders and of what joins them to a language model with what torch counts of their classes.

Each model is built on real tensors with two layers of its usual width per encoder and a small language model, and its
features of one image (or clip) are computed under torch's FLOP counter.

    python scripts/maintain/compare_towers.py [MODEL_TYPE ...]
    python scripts/maintain/compare_towers.py --write          # also records the results for the test suite

Needs the `torch` extra.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from roofline.answers.counts import count
from roofline.model.huggingface import model_from_config

RECORD = Path(__file__).resolve().parents[2] / "tests" / "data" / "tower_flops.jsonl"
TEXT = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 1, "num_attention_heads": 4}
TEXT |= {"num_key_value_heads": 4, "vocab_size": 1000, "head_dim": 64}
SHALLOW = {"num_hidden_layers": 2, "depth": 2, "encoder_layers": 2}
OWN: dict[str, dict[str, Any]] = {  # fields that follow from these
    "gemma3": {"vision_config": {"image_size": 448, "patch_size": 14}},
    "idefics3": {"vision_config": {"image_size": 256}},
    "smolvlm": {"vision_config": {"image_size": 256}},
    "paligemma": {"vision_config": {"projection_dim": 256}},
    "mistral3": {"vision_config": {"image_size": 336}},  # 1,540 pixels would make 9 GB of scores
    "qwen2_vl": {"vision_config": {"hidden_size": 256}},
    "qwen2_5_vl": {"vision_config": {"out_hidden_size": 256, "hidden_size": 1280, "fullatt_block_indexes": [1]}},
    "qwen3_vl": {"vision_config": {"out_hidden_size": 256, "deepstack_visual_indexes": [0]}},
    "glm4v": {"vision_config": {"out_hidden_size": 256, "intermediate_size": 512}},
}
PARTS = ("vision_config", "audio_config")
TILES = {"llava_next": 3, "llava_onevision": 2}  # that an image of the usual size becomes: itself small, and a grid


def config_of(name: str) -> Any:
    """A small configuration of a type."""
    whole = transformers.AutoConfig.for_model(name).to_dict()
    fields: dict[str, Any] = {"text_config": {"model_type": whole["text_config"]["model_type"], **TEXT}}
    for part in PARTS:
        if part in whole:
            shallow = {key: value for key, value in SHALLOW.items() if key in whole[part]}
            fields[part] = {**whole[part], **shallow, **OWN.get(name, {}).get(part, {})}
    return transformers.AutoConfig.for_model(name, **fields)


def inputs_of(name: str, config: Any, takes: Any) -> dict[str, Any]:
    """One image, or one clip, of the usual size."""
    (tower,) = model_from_config(fields_of(config, name)).towers
    patches = tower.encoder.patches
    assert patches is not None
    if tower.name == "sound":
        return {"input_features": torch.zeros(1, config.audio_config.num_mel_bins, patches.size)}
    vision = config.vision_config
    side = patches.size // patches.piece
    if "image_grid_thw" in takes:  # patches in a row
        frames = getattr(vision, "temporal_patch_size", 1)
        row = getattr(vision, "in_channels", 3) * frames * patches.piece**2
        grid = torch.tensor([[1, side, side]])
        merges = {"image_merge_sizes": torch.ones(1, dtype=torch.long)} if "image_merge_sizes" in takes else {}
        return {"pixel_values": torch.zeros(side * side, row), "image_grid_thw": grid, **merges}
    pixels = torch.zeros(1, 3, patches.size, patches.size)
    if name in {"idefics3", "smolvlm"}:
        pixels = pixels[None] + 1  # images that are all zero are left out
    if name in TILES:
        pixels = pixels[None].expand(1, TILES[name], -1, -1, -1)
    more = {"image_sizes": torch.tensor([[patches.size, patches.size]])} if "image_sizes" in takes else {}
    return {"pixel_values": pixels, **more}


def fields_of(config: Any, name: str) -> dict[str, Any]:
    """A configuration as its ``config.json`` states it."""
    fields: dict[str, Any] = json.loads(json.dumps(config.to_dict(), default=str))
    return {**fields, "model_type": name}


def _heard(model: Any) -> Any:
    """What a model hears, of one whose class has no method for it."""

    def features(input_features: Any) -> Any:
        return model.multi_modal_projector(model.audio_tower(input_features).last_hidden_state)

    return features


def theirs(name: str, config: Any) -> int:
    """FLOPs of one image's (one tile's) or clip's features, by torch."""
    kinds = (transformers.AutoModelForImageTextToText, transformers.AutoModelForSeq2SeqLM)
    kind = next(kind for kind in kinds if type(config) in kind._model_mapping)  # noqa: SLF001
    model = kind.from_config(config, attn_implementation="eager").eval()
    inner = getattr(model, "model", model)
    names = ("get_audio_features", "get_image_features")
    features = next((getattr(inner, name) for name in names if hasattr(inner, name)), None)
    if features is None:  # of sound, with no method for the two
        features = _heard(inner)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        features(**inputs_of(name, config, inspect.signature(features).parameters))
    return int(counter.get_total_flops()) // TILES.get(name, 1)


def ours(fields: dict[str, Any]) -> int:
    """The same by roofline: matmuls of the forward pass, of the encoder's ops."""
    model = model_from_config(fields)
    found = count(model, attention="unfused", stack="eager", dtype="fp32", seq_len=8192)
    names = tuple(f"{tower.name}." for tower in model.towers)
    chosen = (op for op in found.ops if op.name.startswith(names) and op.phase == "forward" and op.kind == "matmul")
    return round(sum((op.flops if op.model_flops is None else op.model_flops) * op.count for op in chosen))


NAMES = (
    *("llava", "paligemma", "gemma3", "internvl", "mistral3", "idefics3", "smolvlm"),
    *("llava_next", "llava_onevision", "step3p7"),
    *("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v", "cohere2_vision", "qwen2_audio", "voxtral", "video_llama_3"),
    *("ovis2", "video_llava"),
)


def main() -> int:
    """Compare, print, and record where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", help="model types (default: those of the record)")
    parser.add_argument("--write", action="store_true", help=f"record the results in {RECORD.name}")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    known = [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []
    records = {record["type"]: record for record in known}  # those that are not compared this time stay
    for name in args.names or NAMES:
        try:
            config = config_of(name)
            fields = fields_of(config, name)
            measured, counted = theirs(name, config), ours(fields)
        except Exception as error:  # noqa: BLE001 (a class can raise anything)
            print(f"{name:<16} {type(error).__name__}: {' '.join(str(error).split())[:120]}", flush=True)
            continue
        print(f"{name:<16}{measured:>18,}{counted:>18,}{counted / measured - 1:>10.4%}", flush=True)
        records[name] = {"type": name, "flops": measured, "config": fields}
    if args.write:
        lines = [json.dumps(record, separators=(",", ":")) for record in records.values()]
        RECORD.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
