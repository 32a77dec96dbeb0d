"""Compare our counts with the parameters `transformers` builds and the FLOPs `torch` counts, weightless.

Each model type's default configuration, and each preset that names its model type, is built on torch's meta
device (eager attention, experts as batched matmuls) and run forward and backward under torch's FLOP counter.

    python scripts/maintain/compare_with_transformers.py                  # every type and preset
    python scripts/maintain/compare_with_transformers.py llama deepseek_v3
    python scripts/maintain/compare_with_transformers.py --write          # also records the results for the test suite

Needs the `torch` extra: pip install "roofline[torch]".
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.auto import modeling_auto

from roofline.config.run import TrainConfig
from roofline.counting.step import build_ops
from roofline.errors import RooflineError
from roofline.model.family import class_defaults, family_ids, load_family, recognised_fields
from roofline.model.huggingface import model_from_config
from roofline.model.load import load_model
from roofline.model.parameters import count_parameters
from roofline.model.presets import load_preset_values, model_ids
from roofline.model.spec import ModelConfig

RECORD = Path(__file__).resolve().parents[2] / "tests" / "data" / "transformers_counts.jsonl"
BATCH, SEQ_LEN = 2, 256
TOLERANCE = 1e-4  # of matmul FLOPs: negligible extras of a family; parameters agree to the digit

# Classes whose defaults cannot be built, or are a special case, with the smallest change that helps.
ADJUSTED: Mapping[str, Mapping[str, Any]] = {
    "qwen3_vl_vision": {"deepstack_visual_indexes": [0, 1, 2]},  # layers that a shallow one has, too
    "big_bird": {"attention_type": "original_full"},
    "deepseek_v2": {"num_experts_per_tok": 6, "first_k_dense_replace": 1},
    "diffllama": {"num_hidden_layers": 2},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 20,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [24, 20, 20]},
            "full_attention": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [24, 20, 20]},
        },
    },
    "dbrx": {
        "n_layers": 2,
        "d_model": 512,
        "attn_config": {"kv_n_heads": 4, "rope_theta": 1e4, "clip_qkv": 8},
    },
    "dots1": {
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "num_experts_per_tok": 6,
        "first_k_dense_replace": 1,
    },
    "electra": {"embedding_size": 256},
    "glm4_moe": {"head_dim": 128, "use_qk_norm": True},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128, "num_experts": 8, "moe_topk": 2},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 16},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"] * 8},
    "megatron-bert": {"num_hidden_layers": 2},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8, "head_dim": 128},
    "xlstm": {"mode": "train", "num_hidden_layers": 4, "num_blocks": 4},
    "zamba": {"layers_block_type": ["linear_attention", "hybrid", "hybrid", "linear_attention"] * 19},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid", "hybrid", "linear_attention"] * 13 + ["hybrid"] * 2},
    "whisper": {"max_source_positions": SEQ_LEN, "max_target_positions": SEQ_LEN},
}
# Run on real (small) tensors: their forward pass reads values, which the meta device has not.
REAL = frozenset(
    {
        "big_bird",
        "bloom",
        "dbrx",
        "diffllama",
        "megatron-bert",
        "openai-gpt",
        "opt",
        "roformer",
        "whisper",
    }
)
LARGEST_REAL = 600e6  # parameters; of larger ones only the parameters are compared
# Why a count differs, for those that do.
_CHUNK_SCORES = "transformers forms part of the scores within a chunk element by element"
_SCAN = "transformers reads the scan's states out with a matmul; the fused kernel does so element by element"
_CHUNK_STATES = "transformers combines the states of chunks by a matmul over pairs; kernels pass them on in turn"
_COPIES = "transformers mixes the copies of the residual stream with matmuls of four by four, which we leave out"
_IDENTITIES = "transformers allocates matrices for the identities among the experts, which checkpoints do not hold"
_EVERY_EXPERT = "transformers runs every expert on every token; we count the experts a token is routed to"
KNOWN: Mapping[str, str] = {
    "bailing_hybrid": _CHUNK_SCORES,
    "bamba": _CHUNK_STATES,
    "falcon_mamba": _SCAN,
    "gemma3n": _COPIES,
    "gemma3n_text": _COPIES,
    "jamba": _SCAN,
    "longcat_flash": _IDENTITIES,
    "kimi_linear": _CHUNK_SCORES,
    "mamba": _SCAN,
    "mamba2": _CHUNK_STATES,
    "minimax": "the state after a sequence's last chunk takes no gradient: less at longer sequences",
    "llama4": _EVERY_EXPERT,
    "preset llama-4-maverick": _EVERY_EXPERT,
    "preset llama-4-scout": _EVERY_EXPERT,
    "llama4_text": _EVERY_EXPERT,
}
# Fields of a preset's transformers configuration that do not follow from its flat keys one by one.
_FALCON = {"new_decoder_architecture": True, "num_kv_heads": 8}
PRESET_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "command-r-plus-104b": {"use_qk_norm": True},
    "deepseek-v2-lite": {"q_lora_rank": None},
    "falcon-40b": _FALCON,
    "falcon-180b": _FALCON,
    "gemma-3-1b": {"sliding_window": 512},
    "gemma-3-4b": {"sliding_window": 1024},
    "gemma-3-12b": {"sliding_window": 1024},
    "gemma-3-27b": {"sliding_window": 1024},
    "glm-4.5": {"use_qk_norm": True},
    "gpt-neo-2.7b": {"attention_types": [[["global", "local"], 16]]},
    "kimi-k2": {"n_group": 1, "topk_group": 1, "num_key_value_heads": 64},
    "llama-4-maverick": {"interleave_moe_layer_step": 2},
    "opt-350m": {"do_layer_norm_before": False},
    "t5-small": {"num_layers": 6},
    "t5-base": {"num_layers": 12},
    "t5-large": {"num_layers": 24},
    "t5-3b": {"num_layers": 24},
    "t5-11b": {"num_layers": 24},
}


def default_config(model_type: str, *, adjusted: bool = True) -> Any:
    """The default configuration of a model type, or of its language model where it has several towers."""
    changes = ADJUSTED.get(model_type, {}) if adjusted else {}
    config = transformers.AutoConfig.for_model(model_type, **changes)
    text = config.get_text_config()
    if text.model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not config.is_encoder_decoder:
        return text
    return config


def model_class(model_type: str, kind: str) -> Any:
    """The class that runs what we count: language model, masked language model, or vision backbone."""
    if kind == "vision":
        return transformers.AutoModel
    if model_type in modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES:
        return transformers.AutoModelForSpeechSeq2Seq
    if kind == "encoder-decoder":
        return transformers.AutoModelForSeq2SeqLM
    masked = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if kind == "encoder" and model_type not in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and model_type in masked:
        return transformers.AutoModelForMaskedLM
    return transformers.AutoModelForCausalLM


def build(config: Any, kind: str, device: str) -> Any:
    """The model on `device`, without pooler; on the meta device it holds shapes alone."""
    options: dict[str, Any] = {"attn_implementation": "eager"}
    cls = model_class(config.model_type, kind)
    if config.model_type in {"vit", "deit"}:
        options["add_pooling_layer"] = False
    if load_family(config.model_type).fields.get("n_experts"):
        options["experts_implementation"] = "batched_mm"
    with torch.device(device):
        return cls.from_config(config, **options).eval()  # no dropout, no layer dropped at random


def inputs(model: Any, ours: ModelConfig, device: str) -> tuple[dict[str, Any], int]:
    """Inputs of the model, and the tokens per sequence they stand for."""
    config = model.config
    if ours.kind == "vision":
        size = config.image_size
        pixels = torch.zeros(BATCH, config.num_channels, size, size, device=device)
        return {"pixel_values": pixels}, ours.learned_positions  # patches, and class and distillation tokens
    ids = torch.zeros(BATCH, SEQ_LEN, dtype=torch.long, device=device)
    if config.model_type == "whisper":
        features = torch.zeros(BATCH, config.num_mel_bins, 2 * SEQ_LEN, device=device)
        return {"input_features": features, "decoder_input_ids": ids, "use_cache": False}, SEQ_LEN
    if ours.kind == "encoder-decoder":
        return {"input_ids": ids, "decoder_input_ids": ids, "use_cache": False}, SEQ_LEN
    if config.model_type in {"mamba", "falcon_mamba"}:
        return {"input_ids": ids, "use_cache": False}, SEQ_LEN
    if device == "meta" and ours.kind == "decoder":  # a ready mask: making one reads values
        return {
            "input_ids": ids,
            "attention_mask": torch.zeros(BATCH, 1, SEQ_LEN, SEQ_LEN, device=device),
            "use_cache": False,
        }, SEQ_LEN
    return {"input_ids": ids}, SEQ_LEN


def convolution_backward_flops(
    grad: list[int], x: list[int], w: list[int], *rest: Any, out_shape: Any = None, **_: Any
) -> int:
    """FLOPs of a convolution's backward: as many as forward for each gradient asked for.

    torch's own rule takes the weight gradient of a depthwise convolution for that of a dense one.
    """
    del x, out_shape
    wanted = rest[-1] if rest and isinstance(rest[-1], (list, tuple)) else (True, True)
    # grad [b, c_out, ...] against weights [c_out, c_in / groups, ...]
    forward = 2 * math.prod(grad) * math.prod(w[1:])
    return forward * sum(map(bool, wanted[:2]))


def measure(config: Any, ours: ModelConfig) -> dict[str, int]:
    """Parameters, and matmul FLOPs forward and backward, as transformers and torch have them."""
    model = build(config, ours.kind, "meta")
    parameters = sum(p.numel() for p in model.parameters())
    device = "meta"
    if config.model_type in REAL:
        if parameters > LARGEST_REAL:
            return {"parameters": parameters, "seq_len": SEQ_LEN}
        device = "cpu"
        model = build(config, ours.kind, device)
    arguments, seq_len = inputs(model, ours, device)
    with FlopCounterMode(display=False) as forward:
        output = model(**arguments)
    result = output.logits if hasattr(output, "logits") else output.last_hidden_state
    corrected = {torch.ops.aten.convolution_backward: convolution_backward_flops}
    with FlopCounterMode(display=False, custom_mapping=corrected) as backward:
        result.sum().backward()
    return {
        "parameters": parameters,
        "seq_len": seq_len,
        "flops_forward": forward.get_total_flops(),
        "flops_backward": backward.get_total_flops(),
    }


def our_counts(model: ModelConfig, seq_len: int) -> dict[str, int]:
    """The same counts by roofline."""
    train = TrainConfig(micro_batch=BATCH, seq_len=seq_len, attention="unfused", stack="eager", dtype="fp32")
    flops = {"forward": 0.0, "backward": 0.0}
    for op in build_ops(model, train):
        if op.kind == "matmul":
            flops[op.phase] += op.flops * op.count
    return {
        "parameters": count_parameters(model).total,
        "flops_forward": round(flops["forward"]),
        "flops_backward": round(flops["backward"]),
    }


def preset_config(model_id: str) -> Any | None:
    """The transformers configuration of a preset, or None where it names no model type."""
    values = load_preset_values(model_id)
    model_type = values.get("model_type")
    if model_type is None:
        return None
    default = transformers.AutoConfig.for_model(model_type, **ADJUSTED.get(str(model_type), {}))
    fields: dict[str, Any] = {} if "window" in values or values.get("variations") else {"sliding_window": None}
    for key, expression in load_family(str(model_type)).fields.items():
        words = expression.split(" or ")
        names = [word for word in words if word.isidentifier() and hasattr(default, word)]
        if key in values and words[0].isidentifier() and not names and key == "head_dim":
            names = [key]
        if key in values and names and words[0].isidentifier():
            fields[names[0]] = values[key]
    if "dense_first_layers" in values:
        fields["first_k_dense_replace"] = values["dense_first_layers"]
    if "n_shared_experts" in values:
        fields["n_shared_experts"] = values["n_shared_experts"]
    return transformers.AutoConfig.for_model(model_type, **fields, **PRESET_FIELDS.get(model_id, {}))


def same(one: ModelConfig, other: ModelConfig) -> bool:
    """Whether two models cost the same: names, sources and assumptions aside."""

    def cost(model: ModelConfig) -> dict[str, Any]:
        described = {"name", "source", "assumptions", "max_seq_len"}
        return {field: getattr(model, field) for field in model.__struct_fields__ if field not in described}

    return cost(one) == cost(other)


def cases(names: list[str]) -> Iterator[tuple[str, Any, ModelConfig]]:
    """(name, transformers configuration, our model) of every type and preset asked for."""
    every = [(name, default_config) for name in family_ids()] + [(name, preset_config) for name in model_ids()]
    for name, configure in every:
        if names and name not in names:
            continue
        try:
            config = configure(name)
            if config is None:
                continue
            ours = model_from_config(fields_of(config), name)
            if configure is preset_config and not same(load_model(name), ours):
                print(f"{name}: the preset and its configuration differ:\n  {load_model(name)}\n  {ours}")
            yield f"preset {name}" if configure is preset_config else name, config, ours
        except (RooflineError, KeyError, ValueError, TypeError, AttributeError) as error:
            print(f"{name}: cannot build its configuration: {type(error).__name__}: {str(error)[:160]}")


def fields_of(config: Any) -> dict[str, Any]:
    """A configuration as its ``config.json`` would state it, cut down to the fields that we read."""
    fields = json.loads(json.dumps(config.to_dict(), default=str))
    if "text_config" in fields:
        fields = fields["text_config"]
    read = recognised_fields(config.model_type)
    read -= {"num_nextn_predict_layers", "mtp_num_hidden_layers"}  # transformers builds no layers that predict ahead
    usual = class_defaults(config.model_type)  # where a null says that there is none
    kept = {key: value for key, value in fields.items() if key in read and (value is not None or key in usual)}
    return {"model_type": config.model_type, **kept}


def compare(name: str, config: Any, ours: ModelConfig) -> dict[str, Any]:
    """One record: what transformers has, and how our counts differ."""
    theirs = measure(config, ours)
    mine = our_counts(ours, theirs["seq_len"])
    differs = {key: round(mine[key] / value - 1, 6) for key, value in theirs.items() if mine.get(key, value) != value}
    record: dict[str, Any] = {"name": name, "config": fields_of(config), "batch": BATCH, **theirs}
    if "parameters" in differs or any(abs(value) > TOLERANCE for value in differs.values()):
        record["differs"] = differs
        record["why"] = KNOWN.get(name, "unknown")
    return record


def write(records: list[dict[str, Any]]) -> None:
    """Record the results; those of types and presets that were not compared this time stay as they were."""
    known = [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []
    merged = {record["name"]: record for record in [*known, *records]}
    ordered = sorted(merged.values(), key=lambda record: (record["name"].startswith("preset "), record["name"]))
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in ordered))


def main() -> int:
    """Compare, print, and record where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", help="model types and presets (default: all)")
    parser.add_argument("--write", action="store_true", help=f"record the results in {RECORD.name}")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    records = []
    for name, config, ours in cases(args.names):
        try:
            record = compare(name, config, ours)
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            print(f"{name}: transformers cannot run it here: {type(error).__name__}: {str(error)[:160]}")
            continue
        records.append(record)
        print(f"{name}: {record.get('differs', 'exact')} {record.get('why', '')}", flush=True)
    exact = sum("differs" not in record for record in records)
    print(f"{len(records)} compared, {exact} agree: parameters to the digit, matmul FLOPs within {TOLERANCE:g}")
    if args.write:
        write(records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
