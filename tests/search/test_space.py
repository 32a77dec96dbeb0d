"""Which layouts make sense: every combination of degrees, tried one by one against the rules."""

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.config.settle import outline, train_config
from roofline.errors import RooflineError
from roofline.search.space import Choices, default_global_batch, divisors, space_of

from ..small import small

PLAIN = small(name="plain", n_layers=12, d_model=768, n_heads=12, d_ff=1536, vocab_size=512, max_seq_len=4096)
UNEVEN = small(name="uneven", n_layers=15, d_model=768, n_heads=12, d_ff=1536, vocab_size=512, max_seq_len=4096)
EXPERTS = small(
    name="experts",
    n_layers=4,
    d_model=768,
    n_heads=12,
    d_ff=1536,
    d_ff_expert=96,
    n_experts=6,
    experts_per_token=2,
    vocab_size=512,
    max_seq_len=4096,
)
WIDTH, EXPERT_WIDTH, HEADS = 1536, 96, 12
DEGREES = ("tp", "pp", "vp", "dp", "cp", "ep")


@given(st.integers(1, 5000))
def test_divisors(number):
    assert divisors(number) == [n for n in range(1, number + 1) if number % n == 0]


def found(model, devices, batch, *, seq_len=4096, domain=4, schedule=None, **choices):
    """Every consistent layout: (degrees ..., devices, micro batch)."""
    train = outline(train_config({"num_devices": 1, "global_batch": batch, "seq_len": seq_len}), model)
    train = msgspec.structs.replace(train, schedule=schedule)
    asked = Choices(**choices)
    space = space_of(model, train, asked, domain, devices)
    names = (*asked.degrees, "num_devices")
    rows, micro = space.consistent.nonzero()
    return [
        (*(int(space.columns[name][row]) for name in names), int(space.micro_batches[place]))
        for row, place in zip(rows, micro, strict=True)
    ]


def sensible(model, devices, batch, *, seq_len=4096, domain=4, virtual=None, even=False, **asked):
    """The same by trying every degree up to the devices; `virtual` says which vp a schedule runs."""
    layers, experts = model.n_layers, 6 if model is EXPERTS else 1
    etps = range(1, devices + 1) if asked.get("etp") else [1]
    every = range(1, devices + 1)
    for tp, cp, pp in product(every, every, every):
        if devices % (tp * cp * pp) or HEADS % tp or WIDTH % tp or seq_len % cp:
            continue
        if tp > domain and not asked.get("tp"):
            continue
        if cp > 1 and seq_len // cp < 1024 and not asked.get("cp"):
            continue
        longest = -(-layers // pp)
        if pp > layers or (longest * pp > 1.15 * layers and not asked.get("pp")) or (even and pp % 2):
            continue
        dp = devices // (tp * cp * pp)
        for vp, ep, etp, micro in product(range(1, layers + 1), range(1, experts + 1), etps, range(1, batch + 1)):
            whole = vp == 1 or (pp > 1 and layers % (pp * vp) == 0)
            if not whole or (virtual is not None and vp not in virtual):
                continue
            if experts % ep or (etp > domain) or devices % etp or EXPERT_WIDTH % etp or dp * cp * tp % (ep * etp):
                continue
            passes, left = divmod(batch, dp * micro)
            if left or (vp > 1 and passes % pp):
                continue
            row = {"tp": tp, "pp": pp, "vp": vp, "dp": dp, "cp": cp, "ep": ep, "etp": etp, "micro_batch": micro}
            if all(row[name] in values for name, values in asked.items() if values not in {None, "all"}):
                yield (*(row[name] for name in DEGREES), *([etp] if asked.get("etp") else []), devices, micro)


CASES = {
    "devices": (PLAIN, 24, 48, {}, {}),
    "a small domain": (PLAIN, 12, 24, {"domain": 2}, {}),
    "slices of 1,024 tokens": (PLAIN, 12, 12, {"seq_len": 3072}, {}),
    "no slice so long": (PLAIN, 4, 8, {"seq_len": 768}, {}),
    "layers that few stages divide": (UNEVEN, 30, 30, {}, {}),
    "experts": (EXPERTS, 12, 12, {}, {}),
    "their degrees": (EXPERTS, 12, 12, {"etp": "all"}, {}),
    "degrees asked for": (PLAIN, 24, 24, {"tp": (6, 3), "pp": (1, 2, 8), "cp": (1, 2, 8), "micro_batch": (1, 3)}, {}),
    "others": (PLAIN, 24, 24, {"dp": (2, 4), "vp": (1, 3), "tp": (1, 2)}, {}),
    "experts asked for": (EXPERTS, 12, 12, {"ep": (2, 3), "etp": (4, 2)}, {}),
    "1f1b": (PLAIN, 8, 16, {"schedule": "1f1b"}, {"virtual": {1}}),
    "interleaved": (PLAIN, 8, 16, {"schedule": "interleaved"}, {"virtual": set(range(1, 13))}),
    "zb-v": (PLAIN, 8, 16, {"schedule": "zb-v"}, {"virtual": {2}}),
    "dualpipe": (PLAIN, 12, 12, {"schedule": "dualpipe"}, {"virtual": {1}, "even": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_layout_that_keeps_the_rules_is_there_and_no_other(case):
    model, devices, batch, options, rules = CASES[case]
    said = {name: value for name, value in options.items() if name != "schedule"}
    by_hand = sorted(sensible(model, devices, batch, **said, **rules))
    assert by_hand
    assert sorted(found(model, [devices], batch, **options)) == by_hand


def test_tensor_parallelism_leaves_the_domain_of_fast_links_where_asked():
    tp = {row[0] for row in found(PLAIN, [12], 12, across_nodes=True)}
    assert tp == {1, 2, 3, 4, 6, 12}
    etp = {row[6] for row in found(EXPERTS, [12], 12, across_nodes=True, etp="all")}
    assert etp == {1, 2, 3, 4, 6, 12}
    assert {row[6] for row in found(EXPERTS, [12], 12, etp=(6,))} == {6}  # named is asked, too


def test_numbers_of_devices_without_a_layout_are_left_out():
    assert {row[-2] for row in found(PLAIN, [5, 8, 7], 8)} == {8}
    with pytest.raises(RooflineError, match="be 7 devices"):
        found(PLAIN, [5, 7], 8)


def test_micro_batches_are_no_larger_than_sensible():
    assert {row[-1] for row in found(PLAIN, [1], 256)} == {1, 2, 4, 8, 16, 32, 64, 128}
    assert {row[-1] for row in found(PLAIN, [1], 256, micro_batch=(256, 3))} == {256}


def test_what_has_no_attention_is_not_split_by_context():
    groups = tuple(msgspec.structs.replace(group, attention=None) for group in PLAIN.groups)
    assert {row[4] for row in found(msgspec.structs.replace(PLAIN, groups=groups), [4], 8)} == {1}


def test_stages_may_hold_so_much_more_than_the_average():
    layers = {"d_model": 768, "n_heads": 12, "d_ff": 1536, "vocab_size": 512, "max_seq_len": 4096}
    exactly = small(name="exactly", n_layers=40, **layers)  # 23 stages of up to 2 layers: 46 where there are 40, 1.15
    assert {row[1] for row in found(exactly, [23], 23)} == {1, 23}
    assert {row[1] for row in found(small(name="more", n_layers=39, **layers), [23], 23)} == {1}


def test_experts_are_shared_as_every_layer_can():
    few = {"variations": [{"layers": "i < 2", "n_experts": 4}]}
    keys = {"n_layers": 4, "d_model": 768, "n_heads": 12, "d_ff": 96, "vocab_size": 512, "max_seq_len": 4096}
    model = small(name="two", n_experts=6, experts_per_token=2, **keys, **few)
    assert {row[5] for row in found(model, [12], 12)} == {1, 2}


def test_layers_that_share_weights_are_one_stage():
    shared = small(
        name="shared",
        n_layers=12,
        d_model=768,
        n_heads=12,
        d_ff=1536,
        vocab_size=512,
        max_seq_len=4096,
        variations=[{"layers": "i % 2 == 0", "shares_weights": True}],
    )
    assert {row[1] for row in found(shared, [4], 8)} == {1}


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (PLAIN, {"tp": (5, 7)}, r"no tp of \(5, 7\) divides both the 8 devices and the model's 12 attention heads"),
        (PLAIN, {"cp": (3,)}, r"no cp of \(3\) divides 8 devices and seq_len 4096"),
        (PLAIN, {"pp": (16,)}, r"no pp of \(16\) divides 8 devices within the model's 12 layers$"),
        (PLAIN, {"pp": (1,), "schedule": "dualpipe"}, r"12 layers, in pairs for dualpipe$"),
        (PLAIN, {"pp": (2,), "vp": (5,)}, r"no vp of \(5\) divides .* of pp \(2\): allow another --pp or --vp$"),
        (
            PLAIN,
            {"pp": (8,), "schedule": "zb-v"},
            r"no vp 2 divides .* pp \(8\) for schedule zb-v: allow another --pp$",
        ),
        (PLAIN, {"pp": (2,), "vp": (3,), "schedule": "zb-v"}, r"no vp of \(3\) .* for schedule zb-v: use --vp 2$"),
        (PLAIN, {"ep": (2,)}, "ep 2 needs a mixture of experts, and plain has none"),
        (PLAIN, {"etp": (2,)}, "etp needs a mixture of experts, and plain has none: leave it out"),
        (EXPERTS, {"ep": (4, 5)}, r"no ep of \(4, 5\) divides the \[6\] experts"),
        (EXPERTS, {"etp": (5,)}, r"no etp of \(5\) divides both the 8 devices and an expert's width 96"),
        (
            PLAIN,
            {"tp": (2,), "dp": (3,)},
            r"x dp must be 8 devices, with global_batch 16 a multiple of dp in \(3\): allow",
        ),
        (
            PLAIN,
            {"tp": (1,), "pp": (1,), "cp": (1,), "batch": 12},
            r"of dp: allow more degrees, or use global_batch 16$",
        ),
    ],
)
def test_what_leaves_no_layout_is_named(model, options, words):
    with pytest.raises(RooflineError, match=words):
        found(model, [8], options.pop("batch", 16), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        # 24 sequences on 8: dp 8 leaves 3, micro batches of 1 and 3 work; 16 and 32 are the multiples of 8 beside it
        (
            {"batch": 24, "micro_batch": (2,), "tp": (1,), "pp": (1,), "cp": (1,)},
            (
                r"^global_batch 24 is not micro_batch x dp x a whole number of accumulation steps for any micro_batch "
                r"\(2\) and dp \(8\) allowed: use global_batch 16 or 32, or micro_batch 1 or 3$"
            ),
        ),
        (
            {"batch": 56, "micro_batch": (2,), "tp": (1,), "pp": (1,), "cp": (1,)},
            r"dp \(8\) allowed: use global_batch 48 or 64, or micro_batch 1 or 7$",
        ),
        # rounds of pp 4: dp 2 and micro batch 1 need a multiple of 8
        (
            {"batch": 12, "micro_batch": (1,), "tp": (1,), "pp": (4,), "cp": (1,), "vp": (3,)},
            (
                r"accumulation steps, a multiple of pp where stages interleave for any micro_batch \(1\) and dp \(2\) "
                r"allowed: use global_batch 8 or 16$"
            ),
        ),
        # a micro batch larger than the batch: only larger batches work
        (
            {"batch": 8, "micro_batch": (16,), "tp": (1,), "pp": (1,), "cp": (1,)},
            r"dp \(8\) allowed: use global_batch 128, or micro_batch 1$",
        ),
    ],
)
def test_batches_that_would_work_are_named(options, words):
    with pytest.raises(RooflineError, match=words):
        found(PLAIN, [8], options.pop("batch"), **options)


def test_many_values_are_told_by_the_first_and_the_last():
    with pytest.raises(RooflineError, match=r"no tp of \(5, 7, 9, \.\.\., 17, 19\) divides"):
        found(PLAIN, [8], 16, tp=(5, 7, 9, 10, 11, 13, 14, 17, 19))
    with pytest.raises(RooflineError, match=r"no tp of \(5, 7, 9, 10, 11, 13, 14, 17\) divides"):
        found(PLAIN, [8], 16, tp=(5, 7, 9, 10, 11, 13, 14, 17))


@given(st.integers(1, 4096), st.sampled_from([1024, 2048, 8192]))
def test_default_global_batch_serves_every_device(devices, seq_len):
    batch = default_global_batch(devices, seq_len)
    assert batch % devices == 0
    assert batch * seq_len >= 2**20


@pytest.mark.parametrize(
    ("devices", "seq_len", "options", "expected"),
    [
        (1, 1024, {}, 1024),  # a million tokens
        (1, 1500, {}, 512),  # log2(699) = 9.45
        (1, 2**21, {}, 1),  # one sequence is two million
        (3, 2048, {}, 513),  # 512, as a multiple of 3
        (4, 4096, {"micro_batch": 3}, 264),  # 256, as a multiple of 12
        (600, 2048, {}, 600),  # one each
        (6, 4096, {"fine_tunes": True}, 66),
        (100, 4096, {"fine_tunes": True}, 100),
        (24, 1024, {"largest": 2**14}, 1032),  # a million tokens are wanted whatever the limit: a multiple of 24
        (24, 2**20, {"largest": 2**23}, 6),  # 8 fit: of 1, 2, 3, 4, 6, 8 those that leave a power of two, 3 and 6
        (24, 2**20, {"largest": 2**23, "micro_batch": 2}, 6),  # 2 x 3
        (24, 2**20, {"largest": 3 * 2**20}, 3),  # exactly
        (24, 2**20, {"largest": 24 * 2**20}, 24),
        (5, 2**20, {"largest": 2**22, "micro_batch": 8}, 8),  # not one micro batch fits: devices share one
        (2**15, 2**12, {}, 2**14),  # of 2^26 tokens
    ],
)
def test_default_global_batches_by_hand(devices, seq_len, options, expected):
    assert default_global_batch(devices, seq_len, **options) == expected
