"""Every sentence of advice that a command prints, read back from its output: the change applied gives what it says."""

import json
import re

import msgspec
import pytest

import roofline
from roofline.footprint.spreads import SURE
from roofline.units import format_bytes, format_share
from roofline.view.cells import points, seconds, share, size
from roofline.view.table import cell_text

# models, devices, layouts and software that differ in what there is to change
RUNS = {
    "one card": ("gpt2-xl", "a100-sxm-40gb", {"micro_batch": 16}),
    "slow software": ("gpt2", "h100-sxm-80gb", {"micro_batch": 8, "stack": "eager"}),
    "adapters": ("llama-2-7b", "rtx-4090", {"train": "lora", "lora_rank": 16, "micro_batch": 1}),
    "sharded": ("llama-3-8b", "h100-sxm-80gb", {"num_devices": 8, "global_batch": 64, "sharding": "fsdp"}),
    "full": ("llama-2-13b", "a100-sxm-80gb", {"num_devices": 8, "micro_batch": 1}),
    "split": (
        "llama-3-70b",
        "h100-sxm-80gb",
        {"num_devices": 64, "tp": 8, "pp": 4, "global_batch": 64, "sequence_parallel": False},
    ),
    "experts": ("mixtral-8x7b", "h100-sxm-80gb", {"num_devices": 32, "ep": 8, "global_batch": 256, "micro_batch": 1}),
}


@pytest.fixture(params=RUNS)
def asked(request):
    return RUNS[request.param]


@pytest.fixture
def ask(run, monkeypatch):
    """Run a command about a model, a device and options: its output in lines, and its JSON."""
    monkeypatch.setenv("COLUMNS", "300")  # nothing wraps

    def asking(command, model, device, options, *more, statuses=(0, 3)):
        words = [command, model, "-d", device, *flags(options), *more]
        plain, told = run(*words), run(*words, "--format", "json")
        assert plain.status in statuses, plain.err
        return plain.out, json.loads(told.out)

    return asking


def flags(options):
    """Options as they are typed."""
    words = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        words += [f"--{flag}"] if value is True else [f"--no-{flag}"] if value is False else [f"--{flag}", str(value)]
    return words


def rows_of(out, title):
    """The cells of the table whose first heading, or the title above it, is `title`."""
    lines = out.splitlines()
    start = next((place for place, line in enumerate(lines) if line.startswith(title)), None)
    if start is None:
        return []
    start = next(place for place in range(start, len(lines)) if lines[place].startswith("──"))
    rows = []
    for line in lines[start + 1 :]:
        if not line.strip():
            break
        rows.append(re.split(r"\s{2,}", line.strip()))
    return rows


def held(out, title):
    """What a heading says is kept of the run, as options."""
    said = re.search(rf"^{re.escape(title)} \(all else as here: (.*)\)$", out, re.MULTILINE)
    words = re.findall(r"--(\S+) (\S+)", said[1]) if said else []
    return {name.replace("-", "_"): int(value) if value.isdigit() else value for name, value in words}


def remade(asked, given, what, options):
    """The run with a change: its options, or what its words say of model and device; the batch stays unless changed."""
    model, device, own = asked
    kept = {name: getattr(given.train, name) for name in ("micro_batch", "global_batch", "stack")}
    device = roofline.load_device(device)
    if padded := re.fullmatch(r"vocabulary padded to ([0-9,]+)", what):
        model = roofline.load_model(model, {"vocab_size": int(padded[1].replace(",", ""))})
    elif card := re.fullmatch(r"the card is (\S+)", what):
        device = roofline.load_device(card[1])
    elif clock := re.fullmatch(r"the device is throttled to ([0-9]+)% of its clock", what):
        peaks = {dtype: peak * int(clock[1]) / 1e14 for dtype, peak in device.peaks.items()}
        device = roofline.override(device, peak_tflops=peaks)
    elif "talk over PCIe" in what:
        device = roofline.override(device, topology="p2p-root")
    elif host := re.search(r"launches kernels at 1/([0-9]+)", what):
        launch = msgspec.structs.replace(device.measured.launch, slowdown=float(host[1]))
        device = msgspec.structs.replace(device, measured=msgspec.structs.replace(device.measured, launch=launch))
    else:
        assert options, what
    return roofline.estimate(model, device, **{**own, **kept, **options})


def device_time(estimate):
    return float(estimate.step_time_s) * estimate.train.num_devices / estimate.train.tokens_per_step


def test_what_makes_a_run_fit_gives_the_memory_and_the_time_it_says(asked, ask):
    given = roofline.estimate(*asked[:2], **asked[2])
    for command in ("memory", "estimate"):
        out, told = ask(command, *asked)
        printed = rows_of(out, "cheapest changes that make it fit")
        fixes = told.get("fixes") or []
        assert [row[0] for row in printed] == [fix["change"] for fix in fixes]
        assert bool(printed) is (not given.fits)
        for (_, saved, needed, sure, step, cost), fix in zip(printed, fixes, strict=True):
            again = remade(asked, given, fix["change"], fix["options"])
            assert again.memory.fits
            assert needed == cell_text(size(again.memory.needed_bytes))
            assert saved == cell_text(size(given.memory.needed_bytes - again.memory.needed_bytes))
            assert sure == f"{100 * again.memory.fit_probability:.0f} %"
            assert step == cell_text(seconds(float(again.step_time_s)))
            assert cost == cell_text(points(device_time(again) / device_time(given) - 1))


# how a change is worded, and the option that it stands for
WORDED = {
    r"([0-9,]+) devices": ("num_devices", int),
    r"micro batch ([0-9,]+)(?: \(as now\))?": ("micro_batch", int),
    r"global batch ([0-9,]+)(?: \(as now\))?": ("global_batch", int),
    r"tensor parallel (\d+)": ("tp", int),
    r"pipeline parallel (\d+)": ("pp", int),
    r"context parallel (\d+)": ("cp", int),
    r"expert parallel (\d+)": ("ep", int),
    r"virtual stages (\d+)": ("vp", int),
    r"(\S+) sharding": ("sharding", str),
    r"(\S+) recompute": ("recompute", str),
    r"(\S+) recomputed": ("recompute", str),
    r"(\S+) stack": ("stack", str),
    r"(\S+) offloaded to the host": ("offload", str),
    r"(8-bit AdamW)": ("optimizer", lambda _: "adamw-8bit"),
    r"(fused AdamW)": ("optimizer", lambda _: "adamw-fused"),
    r"(LoRA) of rank 16": ("train", lambda _: "lora"),
    r"(a base in 4 bits) \(QLoRA\)": ("train", lambda _: "qlora"),
    r"(sequence parallelism)": ("sequence_parallel", bool),
    r"fused (linear )?cross-entropy": ("fused", lambda linear: f"{'linear_' if linear else ''}cross_entropy"),
}


def typed(change):
    """The options that a change names, by its words alone."""
    options = {}
    for words in re.split(r" \+ | with ", change):
        (found,) = [(worded, match) for worded in WORDED if (match := re.fullmatch(worded, words))]
        name, read = WORDED[found[0]]
        options[name] = read((found[1][1] or "").replace(",", ""))
    return options


@pytest.mark.parametrize(
    ("model", "device", "options"),
    [
        *RUNS.values(),
        ("llama-2-7b", "rtx-4090", {}),  # a pipeline fills a larger batch than the run's, unless told
        ("llama-2-13b", "a800-sxm-80gb", {"num_devices": 2, "sharding": "fsdp", "seq_len": 2048}),
        ("gpt2-xl", "a100-sxm-40gb", {"micro_batch": 16, "global_batch": 48}),
        ("llama-3.2-1b", "rtx-4060-laptop", {}),  # adapters alone
    ],
)
def test_what_makes_a_run_fit_does_so_as_it_is_worded(model, device, options):
    """Nothing is held but what was typed, and what the words say."""
    for fix in roofline.memory(model, device, **options).fixes:
        again = roofline.estimate(model, device, **{**options, **typed(fix.change)})
        assert again.memory.needed_bytes == pytest.approx(fix.needed_bytes), fix.change
        assert again.step_time_s == pytest.approx(fix.step_time_s), fix.change


def test_what_makes_a_run_faster_gives_the_time_it_says_and_surely_fits(asked, ask):
    given = roofline.estimate(*asked[:2], **asked[2])
    if not given.fits:
        return
    out, told = ask("estimate", *asked)
    printed = rows_of(out, "What would make it faster, and fits")
    kept = held(out, "What would make it faster, and fits")
    for (what, step, mfu, saves), one in zip(printed, told["improvements"], strict=False):
        again = remade(asked, given, what, one["options"])
        if one["options"]:  # as typed: the run's options, what is kept, and the change
            typing = roofline.estimate(*asked[:2], **{**asked[2], **kept, **one["options"]})
            assert device_time(typing) == pytest.approx(device_time(again))
        per_step = device_time(again) / device_time(given) * float(given.step_time_s)
        assert again.memory.fit_probability >= SURE
        assert step == cell_text(seconds(per_step))
        assert mfu == cell_text(share(float(given.mfu * given.step_time_s) / per_step))
        assert saves == f"{100 * (1 - per_step / float(given.step_time_s)):.0f} %"


def test_what_would_explain_a_slow_run_takes_the_time_it_says(asked, ask):
    given = roofline.estimate(*asked[:2], **asked[2])
    own, slow = float(given.step_time_s), 2 * float(given.step_time_s)
    out, told = ask("mfu", *asked, "--step-time-s", repr(slow))
    printed = rows_of(out, "What would explain it, best first")
    kept = held(out, "What would explain it, best first")
    assert printed
    for (what, step, _, explains), one in zip(printed, told["suspects"], strict=False):
        if "waits" in what:
            assert step == cell_text(seconds(slow))
        else:
            again = remade(asked, given, what, one["options"])
            per_step = device_time(again) / device_time(given) * own
            assert step == cell_text(seconds(per_step))
            if one["options"]:  # as typed: the run's options, what is kept, and the suspect
                typing = roofline.estimate(*asked[:2], **{**asked[2], **kept, **one["options"]})
                assert device_time(typing) == pytest.approx(device_time(again))
            assert explains == f"{100 * (per_step - own) / (slow - own):.0f} %"


@pytest.mark.parametrize("name", ["one card", "adapters", "full"])
def test_the_largest_micro_batch_and_the_longest_sequence_are_at_the_edge(name, ask):
    model, device, options = RUNS[name]
    out, told = ask("memory", model, device, options)
    for option, key, step in (("micro_batch", "micro_batch", 1), ("seq_len", "seq_len", 128)):
        for least, found in ((0.5, told[f"max_{key}"]), (SURE, told[f"sure_{key}"])):
            assert found is not None
            assert f"{found:,}" in out or found == 0
            for value, fits in ((found, True), (found + step, False)):
                positions = roofline.load_model(model).learned_positions
                if value and not (option == "seq_len" and positions and value > positions):
                    again = roofline.memory(model, device, **{**options, option: value})
                    assert (again.fit_probability >= least) is fits


def test_how_long_tokens_take(asked, ask):
    out, told = ask("estimate", *asked)
    if "1B tokens take" in out:
        taken = re.search(r"1B tokens take ([^\n]+)", out)[1].strip()
        assert taken == roofline.units.format_time(1e9 / told["tokens_per_s"])


FIGURE = r"([0-9.,]+) %"


@pytest.mark.parametrize(
    ("options", "measured"),
    [
        ({"num_devices": 8, "micro_batch": 8, "global_batch": 512}, ("--tokens-per-s", "8000")),
        ({"num_devices": 8, "micro_batch": 8, "global_batch": 512}, ("--step-time-s", "0.5")),
        ({"micro_batch": 4}, ("--tokens-per-s", "9000", "--reported-mfu", "13.5%")),
        ({"micro_batch": 4, "recompute": "full"}, ("--reported-mfu", "95 %")),
    ],
)
def test_the_arithmetic_of_what_was_counted_otherwise_comes_out(options, measured, ask, run):
    words = ["mfu", "gpt2-xl", "-d", "a100-sxm-80gb", *flags(options), *measured]
    plain = run(*words)
    text = " ".join((plain.out + plain.err).split())
    sums = re.findall(r": ([0-9.]+) % ([^=]*?) = ([0-9.]+) %", text)
    for start, factors, end in sums:
        value = float(start)
        for sign, above, below in re.findall(r"([x/]) \(?([0-9.]+)(?:/([0-9.]+))?", factors):
            factor = float(above) / float(below or 1)
            value = value * factor if sign == "x" else value / factor
        assert value == pytest.approx(float(end), rel=0.02)
    for rate, mfu in re.findall(r"the run does ([0-9,]+) tokens/s: MFU ([0-9.]+) %", text):
        again = run(*words[:4], *flags(options), "--tokens-per-s", rate.replace(",", ""), "--format", "json")
        assert format_share(json.loads(again.out)["mfu"]) == f"{mfu} %"
    assert sums or "the run does" in text or "micro batch" in text


def estimated(layout, model, device, batch):
    """A layout of a search as an estimate on its own."""
    names = ("num_devices", "tp", "pp", "vp", "cp", "ep", "micro_batch", "sharding", "recompute", "stack", "attention")
    options = {name: getattr(layout, name) for name in names} | {"global_batch": batch}
    return roofline.estimate(model, device, sequence_parallel=layout.sequence_parallel, **options)


@pytest.mark.parametrize(
    ("model", "device", "options"),
    [
        ("gpt2-xl", "h100-sxm-80gb", {"num_devices": 8, "global_batch": 512}),
        ("llama-3-8b", "a100-sxm-80gb", {"num_devices": 16, "global_batch": 64}),
        ("llama-2-7b", "mi300x", {"num_devices": 8, "global_batch": 64}),
    ],
)
def test_the_layout_that_a_search_recommends_takes_what_it_says(model, device, options, ask):
    out, _ = ask("layouts", model, device, options)
    found = roofline.layouts(model, device, **options)
    line = re.search(r"^Run +(.*)$", out, re.MULTILINE)[1]
    chosen = found.simplest or found.layouts[0]
    again = estimated(chosen, model, device, options["global_batch"])
    assert again.memory.fit_probability >= SURE
    assert roofline.units.format_time(float(again.step_time_s)) + " a step" in line
    assert f"MFU {format_share(float(again.mfu))}" in line
    assert format_bytes(again.memory.needed_bytes) in line
    because = re.search(r"^Because +(.*)$", out, re.MULTILINE)[1]
    slower = re.search(r"cannot be told from the \w+: ([+-][0-9.]+) %", because)
    best = estimated(found.layouts[0], model, device, options["global_batch"])
    ratio = float(again.step_time_s / best.step_time_s) - 1
    assert slower is None or float(slower[1]) == pytest.approx(100 * ratio, abs=0.06)
    assert slower is not None or ratio == pytest.approx(0, abs=1e-9)


def test_what_a_search_says_would_fit_does(printed):
    model, device = "llama-2-7b", "a100-sxm-80gb"
    out = " ".join(printed("layouts", model, "-d", device, statuses=(3,)).split())
    devices, peak = re.search(r"To fit: use ([0-9]+) devices \(.*?: ([0-9.]+ GiB)\)", out).groups()
    more = roofline.layouts(model, device, num_devices=int(devices))
    assert format_bytes(more.simplest.memory_bytes) == peak
    assert not roofline.layouts(model, device, num_devices=int(devices) // 2).layouts
    rank, peak = re.search(r"--train lora --lora-rank ([0-9]+) \(.*?: ([0-9.]+ GiB)\)", out).groups()
    adapted = roofline.layouts(model, device, train="lora", lora_rank=int(rank))
    assert format_bytes(adapted.simplest.memory_bytes) == peak


def test_what_makes_a_pass_of_inference_fit_gives_what_it_says(ask):
    model, device, options = "llama-3-8b", "rtx-4090", {"seq_len": 32768, "micro_batch": 16}
    out, told = ask("estimate", model, device, options, "--phase", "prefill")
    printed = rows_of(out, "smallest changes that make it fit")
    assert printed
    for (_, held, taken), fix in zip(printed, told["fixes"], strict=True):
        again = roofline.infer(model, device, phase="prefill", **{**options, **fix["options"]})
        assert again.fits
        assert held == cell_text(size(again.memory.total_bytes))
        assert taken == cell_text(seconds(again.time_s))


PLAN = ("gpt2-xl", "h100-sxm-80gb")


def planned(**options):
    return roofline.plan(*PLAN, **options)


def days(seconds):
    return seconds / 86400


def test_what_a_plan_says_of_a_missed_deadline_and_budget(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    asked = {"tokens": "300B", "num_devices": 8, "price": 2, "deadline": "5d", "budget": 1000, "stack": "megatron"}
    status, out, _ = run("plan", PLAN[0], "-d", PLAN[1], *flags(asked))
    assert status == 3
    own = planned(tokens="300B", num_devices=8, stack="megatron")
    late, needed = re.search(r"5\.00 days IS MISSED by ([0-9.]+) days: ([0-9,]+) devices would meet it", out).groups()
    assert float(late) == pytest.approx(days(own.wall_time_s) - 5, abs=0.06)
    for devices, in_time in ((int(needed), True), (int(needed) - 8, False)):
        assert (days(planned(tokens="300B", num_devices=devices, stack="megatron").wall_time_s) <= 5) is in_time
    over, bought = re.search(r"1,000 IS EXCEEDED by ([0-9,]+): it buys ([0-9.]+)B tokens there", out).groups()
    assert float(over.replace(",", "")) == pytest.approx(own.device_hours * 2 - 1000, abs=1)
    fewer = planned(tokens=f"{bought}B", num_devices=8, stack="megatron")
    assert fewer.device_hours * 2 == pytest.approx(1000, rel=0.006)


def test_what_a_plan_says_of_chances_of_more_devices_and_other_software(printed, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    asked = {"tokens": "300B", "num_devices": 16, "price": 2, "deadline": "40d", "budget": 9000}
    out = printed("plan", PLAN[0], "-d", PLAN[1], *flags(asked))
    chances = re.findall(r"(?:is met|suffices), ([0-9]+) % sure \(90 % sure: ([0-9.,]+)(?: days)?\)", out)
    own = planned(tokens="300B", num_devices=16)
    most_days, money = (float(most.replace(",", "")) for _, most in chances)
    assert own.chance(most_days * 86400) == pytest.approx(0.9, abs=0.005)
    assert most_days == pytest.approx(days(money / 16 / 2 * 3600), abs=0.06)
    for (percent, _), limit in zip(chances, (40 * 86400, 9000 / 2 / 16 * 3600), strict=True):
        assert int(percent) == round(100 * min(own.chance(limit), 0.99))
    same = {"tokens": "300B", "global_batch": own.layout.train.global_batch}
    taken, speed = re.search(r"Twice the devices +([0-9.]+) days on 32: ([0-9.]+) times as fast", out).groups()
    twice = planned(num_devices=32, stack=own.layout.stack, **same)
    assert float(taken) == pytest.approx(days(twice.wall_time_s), abs=0.06)
    assert float(speed) == pytest.approx(own.wall_time_s / twice.wall_time_s, abs=0.006)
    others = re.findall(r"^On (\S+) +([0-9.]+) days \(([+-][0-9]+) %\)", out, re.MULTILINE)
    assert others
    for name, taken, slower in others:
        other = planned(num_devices=16, stack=name, **same)
        assert float(taken) == pytest.approx(days(other.wall_time_s), abs=0.06)
        assert int(slower) == pytest.approx(100 * (other.wall_time_s / own.wall_time_s - 1), abs=0.6)


def test_what_a_comparison_says_of_the_better_one(printed, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    out = printed("compare", "gpt2-xl", "-d", "a100-sxm-80gb,h100-sxm-80gb")
    times, less = re.search(
        r"B is ([0-9.]+)x faster than A per device: a million tokens take ([0-9.]+) s less", out
    ).groups()
    a, b = (roofline.estimate("gpt2-xl", device) for device in ("a100-sxm-80gb", "h100-sxm-80gb"))
    assert float(times) == pytest.approx(device_time(a) / device_time(b), abs=0.006)
    assert float(less) == pytest.approx(1e6 * (device_time(a) - device_time(b)), abs=0.06)
