"""Our counts against a traced pass of each described type (recorded by `compare_traces.py`; no torch needed)."""

from typing import Any

import pytest

from roofline.config.run import TrainConfig
from roofline.counting.step import build_step
from roofline.model.huggingface import model_from_config

from ..records import records

RECORDS = {record["type"]: record for record in records("traced_counts.jsonl")}
LIMIT = 0.03  # of the bytes kept for backward
# chunks or steps of a recurrence; positions resized by a matmul
CHAINS_IN_FP32 = """bailing_hybrid bamba falcon_h1 falcon_mamba kimi_linear mamba mamba2 nemotron_h olmo_hybrid
    qwen3_5_moe_text qwen3_5_text qwen3_next siglip2_vision_model xlstm zamba2"""
# both passes of all element-wise kernels together are within 5 % of the trace's bytes
ELEMENTWISE = """
    afmoe aimv2_text_model aimv2_vision_model albert altclip_vision_model apertus arcee bert-generation bitnet
    blenderbot-small chinese_clip_vision_model clip_text_model clip_vision_model clipseg_text_model
    clipseg_vision_model cohere cohere2 cohere_compass_text cwm deberta-v2 deit doge emu3 emu3_text_model
    ernie4_5_moe ernie4_5_vl_moe_text ernie4_5_vl_moe_vision eurobert exaone exaone4 exaone4_5_vision flex_olmo
    gemma gemma2 gemma3_text git_vision_model glm glm4 glm4_moe glm_ocr_text glm_ocr_vision gpt-sw3 gpt2 gpt_bigcode
    gpt_oss granite granite4_vision_text helium hunyuan_v1_dense hunyuan_v1_moe hyperclovax idefics2_vision
    idefics3_vision ijepa internlm3 iquestcoder jais2 janus_vision_model kosmos_2_vision_model laguna llama
    metaclip_2_text_model metaclip_2_vision_model ministral ministral3 mistral nanochat owlv2_text_model
    owlv2_vision_model owlvit_text_model owlvit_vision_model paddleocr_vl_text phi phi3 phi4_multimodal pixtral
    qwen2 qwen2_5_omni_text qwen2_5_vl_text qwen2_5_vl_vision qwen2_vl_text qwen2_vl_vision qwen3 qwen3_vl_moe_text
    qwen3_vl_text seed_oss siglip2_text_model siglip_text_model smollm3 smolvlm_vision starcoder2
    video_llama_3_vision vit vit_msn xclip_text_model
"""


def counted(record: dict[str, Any]) -> dict[str, float]:
    """FLOPs and bytes of our step, by the names of the record."""
    train = TrainConfig(
        micro_batch=record.get("batch", 2),
        seq_len=record["seq_len"],
        dtype="bf16",
        stack="eager",
        dropout=False,
        master_weights=False,
        attention=record["attention"],
    )
    found = dict.fromkeys([*record, "fp32_flops_forward", "fp32_flops_backward"], 0.0)
    for op in build_step(model_from_config(record["config"], record["type"]), train).ops:
        found["saved_bytes"] += float(op.saved_bytes * op.count)
        if op.phase in {"forward", "backward"} and op.kind in {"matmul", "attention"}:
            flops = float((op.flops if op.model_flops is None else op.model_flops) * op.count)
            found[f"flops_{op.phase}"] += flops
            found[f"fp32_flops_{op.phase}"] += flops * (op.dtype == "fp32")
            found[f"{op.kind}_bytes_{op.phase}"] += float(op.bytes * op.count)
        elif op.phase in {"forward", "backward"}:
            found[f"elementwise_bytes_{op.phase}"] += float(op.bytes * op.count)
    return found


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_our_counts_are_those_of_the_trace(name: str) -> None:
    record = RECORDS[name]
    ours = counted(record)
    assert ours["saved_bytes"] == pytest.approx(record["saved_bytes"], rel=LIMIT)
    for phase in ("forward", "backward"):
        assert ours[f"flops_{phase}"] == pytest.approx(record[f"flops_{phase}"], rel=0.03)
        if name in CHAINS_IN_FP32.split():
            continue
        # the trace reads biases, an input once for each of several projections, and writes an output twice where a
        # matmul adds to it
        assert 0.86 < ours[f"matmul_bytes_{phase}"] / record[f"matmul_bytes_{phase}"] < 1.02


@pytest.mark.parametrize("name", sorted(RECORDS.keys() - set(CHAINS_IN_FP32.split())))
def test_matmuls_in_fp32_are_those_of_the_trace(name: str) -> None:
    """Routers, indexers, scores, mixing weights of residual streams: on no matrix engine of 16 bits."""
    record = RECORDS[name]
    ours = counted(record)
    for phase in ("forward", "backward"):
        assert ours[f"fp32_flops_{phase}"] == pytest.approx(record.get(f"fp32_flops_{phase}", 0.0), rel=0.002)


@pytest.mark.parametrize("name", ELEMENTWISE.split())
def test_element_wise_bytes_are_those_of_the_trace(name: str) -> None:
    record = RECORDS[name]
    ours = counted(record)
    for key in ("elementwise_bytes_forward", "elementwise_bytes_backward"):
        assert ours[key] == pytest.approx(record[key], rel=0.05)


def test_the_record_holds_what_is_described() -> None:
    assert len(RECORDS) >= 239
