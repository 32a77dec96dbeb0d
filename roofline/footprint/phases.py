"""What is alive when: the tensors of a step by phase, whose largest sum is the peak.

The loss has its logits beside all activations; a layer's backward pass has its gradients in flight beside them.
Gradients of weights grow while backward frees activations, and both sums are linear between the ends of the pass, so
the peak is in the loss, where backward starts, where it ends, or in the update.
"""

from __future__ import annotations

from typing import Any, Generic, Literal

import msgspec

from ..arrays import N, Number, is_scalar, maximum, minimum, where
from ..config.base import PLAIN
from ..config.optimizer import Optimizer, optimizer
from ..config.profile import on_engine, sums_whole
from ..config.run import BYTES, known_word
from ..config.schedules import pipeline_schedule
from ..counting.optimizer_step import on_one_rank
from ..counting.ownership import Shares, expert_shard_degree, matrices_of, shard_degree
from ..counting.stages import Stage
from ..counting.step import Step
from ..counting.weights import gradient_bytes
from .activations import cache_bytes, gathered_bytes, in_flight, kept_bytes, layer_inputs_held, logits_bytes

SUB_GROUP = 1e9  # parameters that stage 3 updates together: deepspeed/runtime/zero/config.py, sub_group_size

Name = Literal["loss", "backward starts", "backward ends", "update"]


class Phase(msgspec.Struct, Generic[N], frozen=True, kw_only=True):
    """Bytes of live tensors at one moment of a step.

    Attributes:
        name: In the loss (activations of all micro batches in flight, and the logits), where backward starts (the last
            layer's in hand), where it ends (the first layer's in hand, all gradients), or in the update of the
            optimizer (with its temporaries).
        weights: Parameters as kept, and their 16-bit copies where autocast makes them.
        gradients: Gradients.
        optimizer: Optimizer state, fp32 master weights, and temporaries of the update.
        activations: What is kept for backward, and the working set.
        logits: Logits, their fp32 copy and their gradient, and what the model hands back beside them.
        communication: Gathered parameters and buckets.
        host: Bytes in host memory instead.
        nvme: Bytes on drives instead.
        paged: Of the optimizer's, those that leave for the host where the device is full.
    """

    name: Name
    weights: N
    gradients: N
    optimizer: N
    activations: N
    logits: N
    communication: N
    host: Number = 0
    nvme: Number = 0
    paged: Number = 0

    @property
    def total(self) -> N:
        """Bytes of all live tensors."""
        # of a search these depend on the degrees alone; what depends on the micro batch as well is added last
        held: list[Any] = [self.weights, self.gradients, self.optimizer, self.communication]
        held += [each for each in (self.activations, self.logits) if not (is_scalar(each) and each == 0)]
        total: N = sum(held)
        return total


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that one device keeps from step to step, and what its update needs beside."""

    weights: Number
    gradients: Number
    optimizer: Number
    temporaries: Number
    casts: Number  # 16-bit copies of fp32 weights, from their first use to the end of backward
    host: Number  # in host memory instead
    nvme: Number  # on drives instead
    paged: Number  # of the optimizer's, what leaves where the device is full


def kept_by(step: Step, shares: Shares) -> Kept:
    """Weights, gradients and optimizer state of a stage.

    Sharding follows ZeRO (arXiv:1910.02054): stage 1 divides the optimizer state, 2 the gradients, 3 the weights.
    """
    train, stack, es = step.train, step.stack, step.train.activation_bytes
    dense_ranks, moe_ranks = shard_degree(train), expert_shard_degree(train)

    def split(dense: Number, expert: Number, shard: bool) -> Number:
        return dense / dense_ranks + expert / moe_ranks if shard else dense + expert

    trained = shares.trainable_dense, shares.trainable_expert
    frozen = (
        shares.dense - shares.trainable_dense - shares.quantised_dense,
        shares.expert - shares.trainable_expert - shares.quantised_expert,
    )
    quantised = shares.quantised_dense_bytes, shares.quantised_expert_bytes
    each = weight_bytes(step)
    # never updated: no fp32 copy, and in fp8 runs of stacks that quantise in their kernels no 16-bit one either
    frozen_bytes = train.recipe.bytes if train.recipe is not None and "cast" in stack.fused else es
    if train.base_dtype in PLAIN and BYTES[train.base_dtype] != es:  # as it was loaded
        frozen_bytes = BYTES[train.base_dtype]
    if train.freeze:  # part of a model that is trained: kept like the rest of it
        frozen_bytes = each
    weights = split(*trained, train.shards_parameters) * each
    weights = weights + split(*frozen, train.shards_parameters) * frozen_bytes
    weights = weights - split(*shares.in_8_bits, train.shards_parameters) * (each - 1)
    weights = weights + split(*quantised, train.shards_parameters)
    whole: Number = 0
    if train.shards_parameters:  # a pipeline keeps them gathered (see `optimizer_step.data_parallel_ops`)
        whole = where(train.pp > 1, sum(shares.stored(es)), 0)
    copies = pipeline_schedule(known_word(train.schedule)).weight_copies
    state = sum(on_one_rank(train, update.dense_state, update.expert_state) for update in shares.updates)
    masters = train.master_bytes if each < 4 else 0
    casts = es < each and not train.shards_parameters  # those of gathered layers live as long as these
    paged = optimizer(train.optimizer).paged
    kept = Kept(
        weights=(weights + whole) * copies,
        gradients=split(*trained, train.reduces_every_pass) * _gradient_bytes(step) * copies,
        optimizer=state + on_one_rank(train, *trained) * masters,
        temporaries=_temporaries(step, shares),
        casts=shares.trainable * es if casts else 0,
        host=0,
        nvme=0,
        paged=state if paged else 0,
    )
    return _offloaded(step, kept, whole, on_one_rank(train, *trained)) if train.offload else kept


def _offloaded(step: Step, kept: Kept, whole: Number, updated: Number) -> Kept:
    """What is kept, with what lives on the host taken from the device; `whole` are weights that stay gathered.

    Gradients wait on the host for the update; sharded ones leave the device bucket by bucket (arXiv:2101.06840, 4.1).
    """
    train = step.train
    changes: dict[str, Number] = {}
    moved: Number = 0
    waiting: Number = 0
    if "optimizer" in train.offload:
        from ..counting.offload import offloaded_gradient_bytes

        moved, waiting = kept.optimizer, updated * offloaded_gradient_bytes(train)
        changes = {"optimizer": 0, "temporaries": 0}
        if train.reduces_every_pass:
            changes["gradients"] = 0
    if "parameters" in train.offload:
        moved = moved + kept.weights - whole
        changes["weights"] = whole
    swapped = train.offload_to == "nvme"
    places = {"host": waiting if swapped else waiting + moved, "nvme": moved if swapped else 0}
    return msgspec.structs.replace(kept, **changes, **places)


def phases_of(step: Step, stage: Stage, shares: Shares) -> tuple[Phase[Any], ...]:
    """The moments of a step at which a stage may need most.

    Autograd frees gradients before a step where nobody keeps buffers for them, so those of a single micro batch do
    not stand beside all activations; those of several do. One compiled graph hands back all gradients of a micro batch
    at once, beside the sums that they are added to.
    """
    train, kept = step.train, kept_by(step, shares)
    several = train.accumulation > 1
    # the buckets of DistributedDataParallel are views of all gradients
    views = train.sharding in {"none", "zero1"} and train.data_parallel > 1
    beside = 1 if step.stack.keeps_gradients else where(several | views, 1, 0)
    held, logits, gathered = (
        kept_bytes(step, stage),
        logits_bytes(step) * where(stage.head > 0, 1, 0) + cache_bytes(step, stage),
        gathered_bytes(step),
    )
    in_hand: Number = held
    gone: Number = 0
    if "activations" in train.offload:  # the layer in hand is here, and the next to come or go
        layer = held / maximum(in_flight(step, stage) * stage.depth, 1)
        in_hand = minimum(held, held * (1 - train.offloaded_share(step.model.n_layers)) + 2 * layer)
        gone = held - in_hand
    summed = kept.gradients  # beside each pass
    if sums_whole(train, step.stack):
        summed = where(several, shares.trainable * train.activation_bytes, summed)
    loss = Phase(
        name="loss",
        weights=kept.weights + kept.casts,
        gradients=summed * beside,
        optimizer=kept.optimizer,
        activations=in_hand,
        logits=logits,
        communication=gathered.loss,
        host=kept.host + gone,
        nvme=kept.nvme,
        paged=kept.paged,
    )
    replaced = msgspec.structs.replace
    start = replaced(
        loss, name="backward starts", activations=in_hand + step.working_bytes, logits=0, communication=gathered.start
    )
    end = replaced(
        start,
        name="backward ends",
        gradients=summed * (1 + where(several, 1, 0) * step.stack.one_graph),
        activations=step.last_bytes + layer_inputs_held(step, stage),
        communication=gathered.end,
        host=kept.host,
    )
    update = replaced(
        end,
        name="update",
        gradients=kept.gradients,
        weights=kept.weights,
        activations=0,
        optimizer=kept.optimizer + kept.temporaries,
        communication=gathered.update,
    )
    return loss, start, end, update


def peak(phases: tuple[Phase[Any], ...]) -> Phase[Any]:
    """The largest; of arrays element by element, by the name of the first that is largest anywhere."""
    largest, *others = phases
    for phase in others:
        largest = choose(phase.total > largest.total, phase, largest)
    return largest


def choose(condition: Any, yes: Phase[Any], no: Phase[Any]) -> Phase[Any]:
    """One of two moments; of arrays element by element, under the name of `no`."""
    if is_scalar(condition):
        return yes if condition else no
    sums = {name: where(condition, getattr(yes, name), getattr(no, name)) for name in Phase.__struct_fields__[1:]}
    return Phase(name=no.name, **sums)


def weight_bytes(step: Step) -> int:
    """Bytes of a weight as kept: fp32 where it is trained in fp32 or cast at each use, 16-bit otherwise."""
    train = step.train
    wide = step.stack.cast_weights or (step.stack.shards_in_fp32 and train.shards_parameters)
    return 4 if wide and train.master_weights else train.activation_bytes


def _gradient_bytes(step: Step) -> int:
    """Bytes of gradient per parameter: fp32 sums stand beside 16-bit gradients unless the matmul adds into them."""
    es = step.train.activation_bytes
    summed = gradient_bytes(step.train)
    whole = step.stack.cast_weights or step.train.shards_parameters or "wgrad_accumulation" in step.stack.fused
    return summed if whole or summed == es else summed + es


def _temporaries(step: Step, shares: Shares) -> Number:
    """Bytes that an update makes: of all tensors at once in chains of kernels, and beside the matrix in hand.

    torch.optim.AdamW takes the square roots of all second moments, in the dtype of the state; DeepSpeed copies the
    gradients of a rank's slice (deepspeed/runtime/zero/stage_1_and_2.py, `single_grad_partition`), in stage 3 group by
    group (stage3.py, `_prepare_fp32_grad_for_sub_group`). Those of fp16 stand with the masters.
    """
    train = step.train
    made: Number = 0
    engine = on_engine(train, step.stack)
    most = SUB_GROUP if engine and train.shards_parameters else float("inf")
    if engine and train.keeps_masters and train.dtype != "fp16":
        made = 4 * minimum(on_one_rank(train, shares.trainable_dense, shares.trainable_expert), most)
    for update in shares.updates:
        how = optimizer(update.optimizer)
        if not how.fused_on(step.stack.fused):
            of = on_one_rank(train, update.dense, update.expert) if step.stack.foreach else _largest(step)
            made = made + minimum(of, most) * how.temporaries * train.moment_bytes
    how = optimizer(train.optimizer)
    if how.in_hand:
        made = made + how.in_hand * _largest(step, how)
    return made


def _largest(step: Step, how: Optimizer | None = None) -> Number:
    """Elements of the largest matrix; with an optimizer, of the largest that it updates as such."""
    found = (weight.matrices if how is None else matrices_of(weight, how) for weight in step.weights)
    return maximum(0, *(each.rows * each.columns for matrices in found for each in matrices))
