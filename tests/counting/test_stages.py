"""Pipeline stages: every layer is dealt out once, in the model's order, and each kind where it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.answers.estimate import estimate
from roofline.config.settle import resolve, settle, train_config
from roofline.counting.stages import Stage, chunk_sizes, chunks, stages
from roofline.counting.step import build_step
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model, model_from_flat
from roofline.timing.ranks import price

PLAIN = {"name": "plain", "d_model": 24, "n_heads": 4, "d_ff": 64, "vocab_size": 70, "max_seq_len": 64}
# six dense layers of which every second is an expert layer; embedding and head at the ends
MIXED = {**PLAIN, "n_layers": 6, "n_experts": 4, "experts_per_token": 2, "d_ff_expert": 16}
MIXED = {**MIXED, "variations": [{"layers": "i % 2 == 0", "n_experts": 0}]}


def found_stages(model, **options):
    """The stages that matter under some options."""
    return stages(model, resolve(train_config(options), model))


def held(model, **options):
    """(layers of each kind) of every stage that matters."""
    return [stage.layers for stage in found_stages(model, **options)]


def test_one_stage_takes_the_place_of_another_element_by_element():
    first, last = Stage(index=0, layers=(2, 1), embedding=1, head=0), Stage(index=1, layers=(1, 2), embedding=0, head=1)
    found = first.replaced(np.array([False, True]), last)
    sums = {("layer", 0): 6.0, ("layer", 1): 30.0, ("head", 0): 100.0}  # 2 and 10 of each of 3 layers
    assert found.holds(sums, model_from_flat(MIXED)).tolist() == [2 * 2 + 1 * 10, 1 * 2 + 2 * 10 + 100]


def test_a_stage_holds_what_there_is_of_each_part():
    model = model_from_flat(MIXED)
    stage = Stage(index=0, layers=(2, 1), embedding=1, head=0.5)
    assert stage.holds({}, model) == 0
    # a later head (of tokens ahead) is another figure's; towers run ahead of the embedding
    sums = {("embedding", 0): 1.0, ("tower", 0): 10.0, ("head", 0): 200.0, ("head", 1): 1e9, ("layer", 0): 3000.0}
    assert stage.holds(sums, model) == 1 + 10 + 100 + 2000
    assert stage.depth == 3


@pytest.mark.parametrize(
    ("layers", "pp", "vp", "expected"),
    [
        (24, 1, 1, [24]),
        (24, 4, 1, [6, 6, 6, 6]),
        (8, 2, 2, [2, 2, 2, 2]),
        (6, 2, 1, [3, 3]),
        (7, 2, 1, [4, 3]),
        (13, 3, 1, [4, 5, 4]),
        (5, 3, 1, [2, 2, 1]),
        (126, 16, 1, [7, *[8] * 14, 7]),  # Llama 3 405B: embedding and head count as a layer each
        (70, 12, 1, [5, *[6] * 10, 5]),  # BLOOM 176B
        (31, 4, 1, [8, 8, 8, 7]),  # the head counts as a layer
        (30, 4, 2, [3, 4, 4, 4, 4, 4, 4, 3]),
        (29, 4, 1, [8, 7, 7, 7]),
        (61, 16, 1, [4] * 13 + [3] * 3),  # DeepSeek-V3
        (32, 33, 1, [1] * 32 + [0]),  # the head alone
    ],
)
def test_layers_of_the_chunks(layers, pp, vp, expected):
    assert chunk_sizes(layers, pp, vp) == expected


@given(st.integers(1, 130), st.integers(1, 40), st.integers(1, 4))
def test_every_layer_is_dealt_out_once(layers, pp, vp):
    sizes = chunk_sizes(layers, pp, vp)
    assert (len(sizes), sum(sizes)) == (pp * vp, layers)
    assert max(sizes) - min(sizes) <= 1


def test_stages_of_a_model_of_unlike_layers():
    # dense and expert layers alternate: 0 1 0 1 0 1
    model = model_from_flat(MIXED)
    assert model.layer_order == (0, 1, 0, 1, 0, 1)
    assert held(model, pp=1) == [(3, 3)]
    # two stages: 0 1 0 with the embedding, 1 0 1 with the head
    assert held(model, pp=2, num_devices=2) == [(2, 1), (1, 2)]
    # interleaved: chunks 0 1, 0, 1, 0 1 -> the first stage has the first and third
    assert chunk_sizes(6, 2, 2) == [1, 2, 2, 1]
    assert held(model, pp=2, vp=2, num_devices=2) == [(2, 1), (1, 2)]


def test_dense_layers_come_first():
    # DeepSeek-V3: three dense layers, then 58 of experts; the first of 16 stages holds them all
    first, second, *_, last = found_stages(load_model("deepseek-v3"), pp=16, num_devices=16)
    assert (first.layers, first.embedding, first.head) == ((3, 1), 1, 0)
    assert (second.layers, second.embedding, second.head) == ((0, 4), 0, 0)
    assert (last.layers, last.embedding, last.head) == ((0, 3), 0, 1)


def test_stages_that_an_earlier_one_outweighs_are_left_out():
    model = model_from_flat({**PLAIN, "n_layers": 24})
    found = found_stages(model, pp=8, num_devices=8)
    assert [(stage.index, stage.layers) for stage in found] == [(0, (3,)), (7, (3,))]


def test_arrays_of_layouts_have_the_stages_of_each():
    model = model_from_flat(MIXED)
    pp, vp = np.array([1, 2, 3, 2]), np.array([1, 1, 1, 2])
    together = found_stages(model, pp=pp, vp=vp, num_devices=pp, micro_batch=1, global_batch=12)
    for i in range(4):
        alone = found_stages(model, pp=int(pp[i]), vp=int(vp[i]), num_devices=int(pp[i]))
        rows = {
            (stage.index[i], stage.embedding[i], stage.head[i], *(n[i] for n in stage.layers)) for stage in together
        }
        assert rows == {(stage.index, stage.embedding, stage.head, *stage.layers) for stage in alone}


def test_a_layout_of_stages_is_taken_as_it_is():
    # alternating dense and expert layers 0 1 0 1 0 1: one, three and two of them
    found = found_stages(model_from_flat(MIXED), pp_layout="1,3,2", num_devices=3)
    assert [(s.index, s.layers, s.embedding, s.head) for s in found] == [
        (0, (1, 0), 1, 0),
        (1, (1, 2), 0, 0),
        (2, (1, 1), 0, 1),
    ]


def test_chunks_lie_in_a_v():
    # zb-v: chunks 0, 1 | 2, 3 of one layer each: the first device has the first and the last, embedding and head
    model = model_from_flat({**PLAIN, "n_layers": 5})
    options = {"schedule": "zb-v", "vp": 2, "pp_layout": "1,1,1,2", "num_devices": 2}
    first, *others = found_stages(model, **options)
    assert (first.layers, first.embedding, first.head) == ((3,), 1, 1)
    assert others == []  # the second has two layers, and nothing else


def test_a_device_of_both_ends_runs_half_of_two_stages():
    model = model_from_flat({**PLAIN, "n_layers": 6})
    found = found_stages(model, schedule="dualpipe", pp_layout="2,1,1,2", num_devices=4)
    # stages 0 and 3, 1 and 2
    assert [(s.layers, s.embedding, s.head) for s in found] == [((2.0,), 0.5, 0.5)]
    with pytest.raises(RooflineError, match="set an even --pp"):
        settle(model, None, {"schedule": "dualpipe", "pp": 3, "num_devices": 3})


@pytest.mark.parametrize(
    ("name", "layout"), [("llama-2-7b", (6, 8, 9, 9)), ("gpt2-xl", (13, 12, 12, 11)), ("qwen2.5-7b", (7, 8, 7, 6))]
)
def test_uneven_stages_by_hand(name, layout):
    device = load_device("h100-sxm-80gb")
    options = {"pp_layout": layout, "num_devices": 4, "micro_batch": 1, "global_batch": 16, "stack": "megatron"}
    result = estimate(name, device, **options)
    model = load_model(name)
    part = {"embedding": 0.0, "layer": 0.0, "head": 0.0, "step": 0.0}
    for item in price(build_step(model, result.train), device):
        part[item.op.part] += float(item.expected * item.op.count)
    seconds = [layers * part["layer"] / model.n_layers for layers in layout]
    seconds[0] += part["embedding"]
    seconds[-1] += part["head"]
    terms = result.schedule
    busiest = terms.matmul + terms.attention + terms.memory_bound
    assert float(busiest) == pytest.approx(16 * max(seconds), rel=1e-9)
    assert float(terms.pipeline_bubble) == pytest.approx(sum(seconds) - max(seconds), rel=0.05)  # and the launches


def test_chunks_hold_the_layers_of_each_kind_in_order():
    model = model_from_flat(MIXED)  # of two layers in a chunk the first is dense, the second has experts
    found = chunks(model, resolve(train_config({"pp": 3, "global_batch": 6}), model))
    assert [chunk.layers for chunk in found] == [(1, 1)] * 3
    assert [(chunk.embedding, chunk.head) for chunk in found] == [(1, 0), (0, 0), (0, 1)]


def test_chunks_are_those_of_the_layout_asked_for():
    model = model_from_flat(MIXED)  # dense and experts in turn, six layers
    found = chunks(model, resolve(train_config({"pp": 3, "pp_layout": "3,1,2", "global_batch": 6}), model))
    assert [chunk.layers for chunk in found] == [(2, 1), (0, 1), (1, 1)]
