"""Which kernels a feed-forward layer runs: dense, or a mixture of experts with its dispatch.

The notation is that of `layers`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..arrays import Number, divide, is_scalar, where
from ..config.dispatch import dispatcher
from ..config.recompute import Module
from ..config.run import BYTES, known_word
from ..config.stack import Fusion
from ..model.projections import feed_forward_projections, mlp_projections
from ..model.spec import Block, Mlp, Moe
from . import traffic
from .gradients import add_gradients, cast_inputs, join_gradients
from .op import Collective, Saved
from .projection import kept_of_copies, project
from .recorder import Tape

# of a feed-forward block by its name: its matrices, and its activation
_MODULES: dict[str, tuple[Module, Module]] = {
    "experts": ("experts", "moe_act"),
    "shared_expert": ("shared_experts", "shared_experts"),
}

# activations that are no one kernel which keeps its input: their kernels, and the tensors kept beside their output,
# which what follows keeps; the gradients of the last four need nothing else
_FORMS: dict[str, tuple[traffic.Passes, float]] = {
    "gelu_10": (traffic.GELU_CLIPPED_EAGER, 2),
    "gelu_accurate": (traffic.GELU_NEW_EAGER, 4),
    "gelu_fast": (traffic.GELU_FAST_EAGER, 7),
    "gelu_new": (traffic.GELU_NEW_EAGER, 4),
    "gelu_python": (traffic.GELU_ERF_EAGER, 3),
    "gelu_python_tanh": (traffic.GELU_NEW_EAGER, 4),
    "laplace": (traffic.LAPLACE_EAGER, 1),
    "quick_gelu": (traffic.QUICK_GELU_EAGER, 2),
    "relu2": (traffic.RELU2_EAGER, 1),
    "sqrtsoftplus": (traffic.SQRT_SOFTPLUS_EAGER, 1),
    "xielu": (traffic.XIELU_EAGER, 4.5),
    "linear": (traffic.NOTHING, 0),
    "relu": (traffic.ACTIVATION, 0),
    "sigmoid": (traffic.ACTIVATION, 0),
    "tanh": (traffic.ACTIVATION, 0),
}


def mlp(
    tape: Tape,
    spec: Mlp,
    d_model: int,
    rows: Number,
    name: Block = "mlp",
    *,
    tp: Number | None = None,
    count: int = 1,
    here: Number = 1,
    saves: Number = 0,
    made_by: Module | None = None,
) -> None:
    """Up (and gate), activation, down: `rows` tokens through each of the `here` experts, of `count`, on this device.

    `saves` is the input, which `made_by` wrote, as kept for backward: a shard of it under sequence parallelism,
    gathered again when needed.
    """
    es, routed = tape.es, tape.routed
    *up, down = mlp_projections(spec, d_model, name, count)
    matrices, inner = _MODULES.get(name, ("mlp", "mlp"))
    epilogue = routed and tape.experts_in_one
    sizes: dict[str, Any] = {"tp": tp, "count": here}
    with tape.within(matrices):
        before: Fusion | None = None if routed else "cast"
        saves = kept_of_copies(tape, name, saves, len(up)) if spec.inputs_copied else saves
        input_: dict[str, Any] = {"saves": saves, "made_by": made_by, "quantised_by": before}
        joint = spec.joint_up or tape.fused("gate_up") or (routed and tape.stack.expert_launches != "loop")
        if not joint:
            cast_inputs(tape, f"{name}.up", here * rows * d_model, len(up))
            add_gradients(tape, f"{name}.up", here * rows * d_model, len(up))
        project(tape, up, rows, **sizes, **input_, quantises_gradient=not epilogue)
    d_ff = divide(spec.d_ff, tape.train.tp if tp is None else tp)
    elements = here * rows * d_ff
    # the last projection keeps its input, in low precision where it runs in that
    product = 0 if spec.sub_norm is not None else elements * es
    with tape.within(inner):
        activate(tape, spec, name, elements, made_by=matrices)
        if spec.gated and joint and not tape.fused("activation"):
            join_gradients(tape, f"{name}.up", 2 * elements)
    with tape.within(matrices):
        if spec.sub_norm is not None:
            tape.norm(f"{name}.sub_norm", spec.sub_norm, here * rows, d_ff, saves=elements * es, made_by=inner)
        fusion: Fusion | None = ("expert_epilogue" if epilogue else None) if routed else "activation_cast"
        project(tape, (down,), rows, **sizes, saves=product, made_by=inner, quantised_by=fusion)
        if routed and down.bias and not (epilogue or tape.fused("expert_bias")):
            times = divide(here, tape.experts)  # where the whole expert is not repeated
            tape.repeated("experts.bias", here * rows * d_model, traffic.EXPERT_BIAS_EAGER, times, flops=2)


def activate(tape: Tape, spec: Mlp, name: str, elements: Number, made_by: Module | None = None) -> None:
    """The activation over `elements` that `made_by` wrote, and what of its inputs and factors is kept."""
    es = tape.inner_es
    chain, kept = _activation(tape, spec)
    kept = kept + (spec.sub_norm is not None)
    stored = BYTES["fp8"] if tape.train.saved_dtype == "fp8" else es
    inputs = (2 if spec.gated else 1) * elements * stored  # recompute reads them as they are stored
    saved = Saved(made_by=made_by, input=inputs, whole=inputs)
    kept_bytes = kept * elements * stored
    tape.elementwise(f"{name}.activation", elements, chain, flops=5, saves=kept_bytes, es=es, saved=saved)


def _activation(tape: Tape, spec: Mlp) -> tuple[traffic.Passes, float]:
    """The kernels of an activation, and how many tensors of its width they keep for backward."""
    fused = tape.fused("activation")
    if spec.gated and tape.routed and tape.experts_in_one:
        return traffic.GATED_EPILOGUE, 2
    if spec.gated:
        return _gated_activation(tape, spec)
    chain, kept = _FORMS.get(spec.activation, (traffic.ACTIVATION, 1))
    return (traffic.ACTIVATION, 1) if fused and kept else (chain, kept)


def _gated_activation(tape: Tape, spec: Mlp) -> tuple[traffic.Passes, float]:
    """The same of an activation that multiplies the other half: it keeps gate and up; unfused its two factors."""
    fused = tape.fused("activation")
    if spec.activation == "swiglu_clamped" and not tape.fused("clamped_activation"):
        # both inputs, and both as clamped; eager, what is clamped of the gate, sigmoid, both factors
        return (traffic.GATED_CLAMPED, 4) if fused else (traffic.GATED_CLAMPED_EAGER, 6)
    if fused:
        return traffic.GATED, 2
    if spec.activation == "situ":  # Kimi K3: tanh where gpt-oss clamps gate and up, likewise scaled
        return traffic.GATED_CLAMPED_EAGER, 6
    if spec.activation_fp32 and tape.upcasts:  # both inputs cast up, and what the activation made
        return traffic.GATED_FP32_EAGER, 3 * BYTES["fp32"] / tape.inner_es
    if spec.activation == "silu_clamped":  # both inputs, the clamped gate, both factors
        return traffic.GATED_CLAMPS_EAGER, 5
    chain, kept = _FORMS.get(spec.activation, (traffic.ACTIVATION, 1))
    return traffic.joined(chain, traffic.PRODUCT), kept + 2


def moe(tape: Tape, spec: Moe, d_model: int) -> None:
    """Router, dispatch to the experts' devices, grouped feed-forward, combine; shared experts see every token.

    Without sequence parallelism every tp rank has every token, and each expert is split over tp like a dense layer.
    With it, and without tensor parallelism, ranks route tokens of their own; an expert that etp ranks share gathers the
    tokens of all of them (parallel folding: arXiv:2504.14960).
    """
    train, es = tape.train, tape.es
    apart, etp = train.sequence_parallel, train.expert_tensor_parallel
    tokens = tape.norm_tokens if apart else tape.tokens
    gathered = etp if apart else 1 if etp is train.tp else where(train.tp == 1, etp, 1)
    experts_here = divide(spec.n_experts, train.ep)
    routed = tokens * spec.experts_per_token  # rows that leave this device
    _route(tape, spec, tokens, d_model)
    # the router, what deals tokens out, the shared experts and their gate read one tensor
    add_gradients(tape, "moe", tokens * d_model, 2 + (spec.shared is not None) + spec.shared_gate)
    width = spec.latent_dim or d_model
    latent = [each for each in feed_forward_projections(spec, d_model) if each.block == "mlp"]
    moved = routed * width
    alone = experts_here if tape.stack.expert_launches == "loop" else 1  # one expert after the other
    with tape.within("dispatch"):
        for down in latent[:1]:
            project(tape, (down,), tokens)
        _take(tape, routed, tokens, width, alone)
        _exchange(tape, spec, "moe.dispatch", moved * es, gathered)
        _sort(tape, "moe.sort", moved * gathered, experts_here)
    if tape.decoding:  # few tokens reach few experts: of E, E*(1 - (1 - k/E)^tokens) are read
        reached = 1 - (1 - spec.experts_per_token / spec.n_experts) ** tokens
        experts_here = experts_here * reached
    rows, many = divide(routed * gathered, experts_here), spec.n_experts
    sizes: dict[str, Any] = {"tp": etp, "count": many, "here": experts_here, "saves": moved * gathered * es}
    with tape.routing(alone):
        mlp(tape, spec.expert, width, rows, "experts", made_by="dispatch", **sizes)
    with tape.within("dispatch"):
        _sort(tape, "moe.unsort", moved * gathered, experts_here)
        _exchange(tape, spec, "moe.combine", moved * es, gathered)
        _sum(tape, spec, moved, alone)
        for up in latent[1:]:
            project(tape, (up,), tokens, saves=tokens * width * es)
    if spec.shared is not None:
        with tape.within("shared_experts"):
            mlp(tape, spec.shared, d_model, tape.tokens, "shared_expert", made_by="layernorm")
            if spec.shared_gate:
                project(tape, feed_forward_projections(spec, d_model)[-1:], tape.tokens)


def _take(tape: Tape, rows: Number, tokens: Number, width: int, alone: Number) -> None:
    """Rows of tokens in the order of their experts, or taken by each of so many experts `alone`."""
    looped = tape.stack.expert_launches == "loop"
    chain: dict[str, Any] = {"kind": "embedding", "flops": 0}
    copy = traffic.EXPERT_TAKES if looped else traffic.COPY
    tape.repeated("moe.permute", rows * width, copy, alone, saves=rows * 28, role="dispatch", **chain)
    if looped:  # each expert's gradient of its input is one of all tokens
        tape.repeated("moe.sum", alone * tokens * width, traffic.EXPERT_GRADIENT, alone, **chain)


def _sum(tape: Tape, spec: Moe, elements: Number, alone: Number) -> None:
    """What a token's experts made of it, by their weights; those are looked up where each expert adds its own."""
    part = 1 / spec.experts_per_token
    weighted = not tape.fused("expert_weights")  # what is multiplied is kept for the gradient of the weights
    chain = traffic.Passes(reads=1, writes=part, back_reads=part + weighted, back_writes=1)
    if tape.stack.expert_launches == "loop":
        chain = msgspec.structs.replace(chain, kernels=4, back_kernels=8)
    elif not tape.fused("norm"):  # the code that has norms as chains
        chain = traffic.expert_sum(part, 1 if spec.weights_cast else BYTES["fp32"] / tape.es)
    outputs = elements * tape.es * weighted
    saved = Saved(made_by="experts", input=outputs, whole=outputs)
    tape.repeated("moe.unpermute", elements, chain, alone, flops=2, kind="embedding", saves=outputs, saved=saved)


def _route(tape: Tape, spec: Moe, tokens: Number, d_model: int) -> None:
    """Scores of the experts for each token, and the best of them."""
    router = feed_forward_projections(spec, d_model)[:1]
    hidden, es, fp32 = tokens * d_model, tape.es, BYTES["fp32"]
    casts = tape.upcasts or (spec.router_outside_autocast and es < fp32)
    upcast = spec.router_fp32 and casts and not tape.fused("norm")  # in the code that has norms as chains
    kept = 0 if upcast and spec.shared is None else hidden * es
    with tape.within("router"):
        own: str | None = "fp32" if upcast else None
        project(tape, router, tokens, tp=1, saves=kept, made_by="layernorm", own_dtype=own)
        if upcast:
            cast = hidden + spec.n_experts * d_model
            tape.elementwise("router.upcast", cast, traffic.UPCAST, flops=0, saves=cast * fp32)
        if spec.extra_params:
            tape.weight("router.extra", spec.extra_params)
        kept = tokens * (4 * spec.n_experts + 12 * spec.experts_per_token + 4)  # fp32 scores, ids and weights
        chain, scores = traffic.ROUTER, tokens * spec.n_experts
        tape.elementwise("router.topk", scores, chain, flops=8, kind="softmax", es=4, saves=kept)


def _exchange(tape: Tape, spec: Moe, name: str, payload: Number, gathered: Number) -> None:
    """All-to-all of routed tokens, each as often as it has experts; ranks that share an expert gather what they get."""
    copies, spread = spec.experts_per_token, spec.groups_per_token / spec.groups
    out = name.endswith("combine")
    with tape.routing():
        if not (is_scalar(tape.train.ep) and tape.train.ep == 1):
            tape.collective(name, "all_to_all", "ep", payload, copies=copies, spread=spread)
            tape.collective(f"{name}_grad", "all_to_all", "ep", payload, "backward", copies=copies, spread=spread)
        if not (is_scalar(gathered) and gathered == 1):
            forward: Collective = "reduce_scatter" if out else "all_gather"
            backward: Collective = "all_gather" if out else "reduce_scatter"
            tape.collective(f"{name}_{forward}", forward, "etp", payload * gathered)
            tape.collective(f"{name}_{backward}_grad", backward, "etp", payload * gathered, "backward")


def _sort(tape: Tape, name: str, elements: Number, here: Number) -> None:
    """Rows that arrive ordered by the rank they come from, in the order of the experts here, and back."""
    train = tape.train
    if not dispatcher(known_word(train.dispatcher)).sorts or (is_scalar(train.ep) and train.ep == 1):
        return
    several = where((train.ep > 1) & (here > 1), 1, 0)
    if not (is_scalar(several) and several == 0):
        with tape.routing():
            tape.repeated(name, elements * several, traffic.COPY, several, flops=0, kind="embedding")
