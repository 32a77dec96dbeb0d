"""Each stage of ZeRO shares what the one before shares, and one thing more (arXiv:1910.02054, section 5)."""

from roofline.config.sharding import SHARDINGS


def test_stages_of_zero() -> None:
    shared = {
        name: {what for what in ("optimizer", "gradients", "parameters") if getattr(facts, what)}
        for name, facts in SHARDINGS.items()
    }
    assert shared["none"] == set()
    assert shared["zero1"] == shared["hzero1"] == {"optimizer"}
    assert shared["zero2"] == {"optimizer", "gradients"}
    assert shared["zero3"] == shared["fsdp"] == shared["hsdp"] == {"optimizer", "gradients", "parameters"}


def test_only_hybrids_stay_within_a_node() -> None:
    assert [name for name, facts in SHARDINGS.items() if facts.node] == ["hzero1", "hsdp"]
