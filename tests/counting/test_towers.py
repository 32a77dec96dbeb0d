"""The ops of encoders: FLOPs against torch's own counter (recorded), what freezes, where they run, bad input."""

from typing import Any

import pytest

from roofline.answers.counts import count
from roofline.answers.estimate import estimate
from roofline.counting.op import Op, total
from roofline.model.huggingface import model_from_config
from roofline.model.parameters import count_parameters
from roofline.model.spec import ModelConfig

from ..records import records

RECORDS = records("tower_flops.jsonl")
CONFIGS = {record["type"]: record["config"] for record in RECORDS}
LLAVA = model_from_config(CONFIGS["llava"], "llava")  # two layers of width 1,024; 24 x 24 patches of 336 x 336 pixels


def of_encoders(model: ModelConfig, **options: Any) -> list[Op]:
    """Ops of the encoders of `model`, unfused, at 2,048 tokens."""
    found = count(model, attention="unfused", stack="eager", **{"dtype": "fp32", "seq_len": 2048, **options})
    return [op for op in found.ops if op.name.startswith(tuple(f"{tower.name}." for tower in model.towers))]


def matmul_flops(ops: list[Op], phase: str = "forward") -> float:
    """FLOPs of their matmuls as the model states them."""
    figure = total(
        ops,
        lambda op: op.flops if op.model_flops is None else op.model_flops,
        where=lambda op: op.kind == "matmul" and op.phase == phase,
    )
    return float(figure)


@pytest.mark.parametrize("record", RECORDS, ids=[record["type"] for record in RECORDS])
def test_flops_of_an_encoder_are_those_that_torch_counts(record: dict[str, Any]) -> None:
    model = model_from_config(record["config"], record["type"])
    assert matmul_flops(of_encoders(model, seq_len=8192)) == pytest.approx(record["flops"], rel=1e-3)


def test_ops_go_with_the_number_of_images_and_their_size() -> None:
    one = matmul_flops(of_encoders(LLAVA))
    assert matmul_flops(of_encoders(LLAVA, images_per_sample=3)) == 3 * one
    assert matmul_flops(of_encoders(LLAVA, images_per_sample=0.5)) == one / 2
    small = matmul_flops(of_encoders(LLAVA, image_size=168))  # a quarter of the patches
    assert one / 5 < small < one / 4 * 1.01


def test_without_images_the_encoder_is_there_and_nothing_of_it_runs() -> None:
    assert of_encoders(LLAVA, images_per_sample=0) == []
    assert count(LLAVA, images_per_sample=0, seq_len=512).params_total == count_parameters(LLAVA).total


def test_a_frozen_encoder_has_no_backward_pass_and_what_joins_it_has() -> None:
    ops = of_encoders(LLAVA, freeze="towers")
    names = {op.of for op in ops if op.phase == "backward" and op.kind == "matmul"}
    assert names == {"image.project1", "image.project2"}
    # the first projection's input takes no gradient
    assert not any(op.gradient == "data" and op.of == "image.project1" for op in ops)


def test_adapters_leave_the_encoder_as_it_is() -> None:
    ops = of_encoders(LLAVA, train="lora", lora_rank=8)
    assert matmul_flops(ops, "backward") == 0


def test_an_encoder_is_on_the_first_stage_and_trains_as_the_rest() -> None:
    config = {**CONFIGS["llava"], "text_config": {**CONFIGS["llava"]["text_config"], "num_hidden_layers": 4}}
    model = model_from_config(config, "llava")
    whole, frozen = (
        estimate(model, "h100-sxm-80gb", seq_len=1024, micro_batch=4, pp=2, global_batch=32, **more)
        for more in ({}, {"freeze": "towers"})
    )
    assert whole.memory.total_bytes > frozen.memory.total_bytes
    assert whole.step_time_s > frozen.step_time_s


def test_full_recompute_runs_the_layers_of_an_encoder_again() -> None:
    """All of their matmuls but the last, whose result backward does not read."""
    again = [op for op in of_encoders(LLAVA, recompute="full") if op.phase == "recompute" and op.kind == "matmul"]
    assert {op.part for op in again} == {"tower"}
    layers = [op for op in of_encoders(LLAVA) if op.part == "tower" and not op.name.endswith("mlp.down")]
    assert sum(op.flops * op.count for op in again) == total(
        layers, where=lambda op: op.kind == "matmul" and op.phase == "forward"
    )


def test_an_encoder_alone_has_the_tokens_of_its_image() -> None:
    vision = model_from_config({"model_type": "siglip_vision_model"}, "siglip")
    assert count(vision).tokens == 196
    assert count(vision, image_size=448).tokens == 784
