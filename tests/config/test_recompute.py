"""The words of --recompute: what is read, how it is kept, and what is refused."""

import pytest

from roofline import RooflineError, estimate
from roofline.config.recompute import RECOMPUTES, coarse, read_recompute, recompute_modules
from roofline.config.settle import settle, train_config
from roofline.model.load import load_model

GPT2 = load_model("gpt2")


@pytest.mark.parametrize(
    ("said", "word", "detail"),
    [
        ("none", "none", None),
        ("full", "full", None),
        ("full:4", "full", "full:4"),
        ("uniform:2", "full", "uniform:2"),
        ("uniform:1", "full", None),
        ("every:2", "selective", "every:2"),
        ("matmuls", "selective", "matmuls"),
        ("moe_act, layernorm", "selective", "moe_act,layernorm"),
        ("norm+act", "selective", "layernorm,moe_act"),
        (["core_attn", "mlp"], "selective", "core_attn,mlp"),
    ],
)
def test_what_is_said_and_what_it_becomes(said, word, detail):
    train = train_config({"recompute": said})
    assert (train.recompute, train.recompute_detail) == (word, detail)


def test_the_detail_may_stand_beside_its_word():
    train = train_config({"recompute": "selective", "recompute_detail": "mlp"})
    assert (train.recompute, train.recompute_detail) == ("selective", "mlp")
    assert train_config({"recompute_detail": "full:2"}).recompute == "full"
    with pytest.raises(RooflineError, match="recompute none contradicts recompute_detail mlp"):
        train_config({"recompute": "none", "recompute_detail": "mlp"})


@pytest.mark.parametrize(
    "wrong", ["mpl", "full:0", "full:x", "full:²", "full:" + "9" * 5000, "every:", "core_attn,all", 3]
)
def test_what_is_refused(wrong):
    with pytest.raises(RooflineError, match=r"recompute|unknown"):
        train_config({"recompute": wrong})


def test_another_word_takes_the_place_of_word_and_detail():
    run = settle(GPT2, None, {"recompute": "mlp", "seq_len": 64})
    assert run.changed(recompute="full").train.recompute_detail == "full"
    assert run.changed(recompute="none").train.recompute_detail == "none"


@pytest.mark.parametrize("word", ["full", "none", "selective", "full:4", "uniform:2", "matmuls"])
def test_what_goes_by_layers_is_not_joined_with_modules(word):
    with pytest.raises(RooflineError, match=f"recompute '{word}' stands alone: join modules only"):
        read_recompute(f"mlp,{word}")


def test_every_word_is_its_own():
    for name in recompute_modules():
        assert read_recompute(name) == name
        assert coarse(name) == "selective"
    others = [word for module in recompute_modules().values() for word in module.also]
    assert len({*others, *recompute_modules(), *RECOMPUTES}) == len(others) + len(recompute_modules()) + len(RECOMPUTES)


def test_recompute_costs_time_and_saves_memory():
    def run(recompute):
        found = estimate("llama-3-8b", "h100-sxm-80gb", micro_batch=1, seq_len=2048, recompute=recompute)
        return found.step_time_s, found.memory.phases[0].activations

    ladder = [run(recompute) for recompute in ("none", "mlp", "mlp,layernorm", "full")]
    assert [time for time, _ in ladder] == sorted(time for time, _ in ladder)
    assert [size for _, size in ladder] == sorted((size for _, size in ladder), reverse=True)
