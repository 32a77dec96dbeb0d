"""Records a pass of a PyTorch module: every operator call with its place, phase, cost and what it keeps.

`trace.py` runs the pass and hands over the torch package; what a call costs is in `rules.py`.
"""

# ruff: noqa: SLF001  autograd's node numbers, operator schemas and storages have no public name
from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar

import msgspec

from ..counting.op import GRADIENT_WORDS, Op, Phase
from ..errors import RooflineError
from ..result import Result
from . import algebra, matmul, norms, recurrence  # noqa: F401  register their rules
from .flow import Buffers, Node, nodes
from .fusion import Fused, fuse
from .places import ancestors, is_compiled, places_of, plain
from .rules import Call, Cost, Operand, costs

_DTYPES = {"float64": "fp64", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


class ModuleCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one module costs, its submodules included.

    Attributes:
        flops_forward: FLOPs of the forward pass.
        flops_backward: FLOPs of the backward pass, recompute included.
        bytes: Bytes read and written in both.
        activation_bytes: Bytes kept for backward.
    """

    flops_forward: int | float = 0
    flops_backward: int | float = 0
    bytes: int = 0
    activation_bytes: int = 0


class Trace(Result, msgspec.Struct, frozen=True, kw_only=True):
    """One forward and backward pass of a module.

    Attributes:
        name: Class of the module.
        ops: Kernels in the order they first run; equal ones merged, equal layers too (``h.*.mlp``).
        parameters: Parameters, shared ones once.
        trainable_parameters: Those that require a gradient.
        activation_bytes: Bytes kept for backward, each storage once, parameters and buffers excluded.
        peak_bytes: Largest sum of live tensors during the pass: what is kept, the inputs, the outputs and the
            operands in hand; without parameters, buffers and gradients of parameters (but the one in hand).
        by_module: Cost of each module by its path; "" is the whole.
        idle: Parameters that the pass never reads, by the outermost modules that hold no other.
        compiled: Whether `torch.compile` holds a part of it; `ops` are what the compiler is given.
        fused: The same pass as a compiler runs it.
    """

    VIEW: ClassVar[str] = "trace"

    name: str
    ops: tuple[Op, ...]
    parameters: int
    trainable_parameters: int
    activation_bytes: int
    peak_bytes: int
    by_module: dict[str, ModuleCost]
    idle: dict[str, int] = msgspec.field(default_factory=dict)
    compiled: bool = False
    fused: Fused | None = None

    def __repr__(self) -> str:
        """The pass in one line."""
        from ..units import format_bytes, format_count

        words = f"{self.name}: {format_count(self.parameters)} parameters, {len(self.ops)} kinds of op"
        return f"<Trace of {words}, {format_bytes(self.activation_bytes)} kept for backward>"

    def matmul_flops(self, *phases: Phase) -> Any:
        """Model FLOPs of matmuls, convolutions and full attention in the phases; none given: all."""
        return sum(
            (op.flops if op.model_flops is None else op.model_flops) * op.count
            for op in self.ops
            if op.kind in {"matmul", "attention"} and (not phases or op.phase in phases)
        )


class Recorder:
    """Collects operator calls of a pass: where they ran (module, phase), what they cost, what they kept."""

    def __init__(
        self, torch: Any, module: Any, execute: Callable[[Any, Any, Any], Any], matmul_dtype: str | None
    ) -> None:
        self.torch = torch
        self.execute = execute  # runs (operator, arguments, keyword arguments)
        self._tags = cache(self._find_tags)
        self.module = module
        self.matmul_dtype = matmul_dtype
        self.paths = {submodule: plain(name) for name, submodule in module.named_modules()}
        self.places = places_of(module)
        self.stack: list[str] = [""]
        self.origin: dict[int, str] = {}  # autograd sequence number -> module path of the forward call
        self.saver: dict[int, int] = {}  # autograd sequence number -> record that made the node
        self.records: list[tuple[str, Op]] = []
        self.buffers = Buffers()
        self.nodes: list[Node] = []
        self.results: set[int] = set()  # numbers of what is held when the pass is over
        self.saved: dict[int, tuple[int, str, int]] = {}  # storage -> bytes, module path, sequence number
        self.live: dict[int, int] = {}  # storage -> bytes
        self.live_bytes = self.peak_bytes = 0
        self.forward = False
        self.excluded: dict[int, Any] = {}
        self.state: dict[str, int] = {}  # name of a parameter or buffer -> storage
        self.read: set[int] = set()  # storages of parameters and buffers that an operator took

    def exclude(self, state: Mapping[str, Any]) -> None:
        """Parameters and buffers: no activations, and what tells a data gradient from a weight gradient."""
        for name, tensor in state.items():
            storage = tensor.untyped_storage()
            self.excluded[storage._cdata] = storage
            self.state[name] = storage._cdata
            self.buffers.of(storage._cdata, storage.nbytes(), outside=True)

    def track(self, tree: Any) -> None:
        """Count tensors as live until their storage is freed."""
        for leaf in self.torch.utils._pytree.tree_leaves(tree):
            if not isinstance(leaf, self.torch.Tensor):
                continue
            storage = leaf.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key in self.excluded or key in self.live:
                continue
            self.live[key] = size
            self.live_bytes += size
            self.peak_bytes = max(self.peak_bytes, self.live_bytes)
            weakref.finalize(storage, self._freed, key)

    def _freed(self, key: int) -> None:
        self.live_bytes -= self.live.pop(key)
        self.buffers.forget(key)
        if self.forward:  # of a result that nothing used: nobody keeps it, and its number comes again
            self.saved.pop(key, None)

    def hold(self, tree: Any) -> None:
        """Tensors that are still there when the pass is over."""
        for leaf in self.torch.utils._pytree.tree_leaves(tree):
            if isinstance(leaf, self.torch.Tensor):
                self.results.add(self._operand(leaf).identity[0])

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record operator calls with module paths; a backward call goes to the module that made its node."""
        hooks = self.torch.nn.modules.module
        handles = [
            hooks.register_module_forward_pre_hook(self._enter),
            hooks.register_module_forward_hook(self._leave, always_call=True),
        ]
        try:
            with self._dispatch():
                yield
        finally:
            for handle in handles:
                handle.remove()

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """Note what autograd keeps for backward."""
        self.forward = True
        with self.torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor):
            yield
        self.forward = False

    def _enter(self, module: Any, inputs: Any) -> None:
        del inputs
        self.stack.append(self.paths.get(module, self.stack[-1]))

    def _leave(self, *_: Any) -> None:
        self.stack.pop()

    def _dispatch(self) -> Any:
        record, execute = self._record, self.execute

        mode: Any = self.torch.utils._python_dispatch.TorchDispatchMode

        class Dispatch(mode):  # type: ignore[misc]
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                del types
                result = execute(func, args, kwargs or {})
                record(func, args, kwargs or {}, result)
                return result

        return Dispatch()

    def _keep(self, tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.excluded:
            self.saved.setdefault(storage._cdata, (storage.nbytes(), self.stack[-1], self._sequence()))
        return tensor if tensor.grad_fn is None else tensor.detach()  # a result that holds its node would never go

    def _sequence(self) -> int:
        """Number of the autograd node made last: that of the operator now running, if autograd records it."""
        return int(self.torch.autograd._get_sequence_nr()) - 1

    def _place(self) -> tuple[str, Phase]:
        node = self.torch._C._current_autograd_node()
        if node is None:
            self.origin.setdefault(self._sequence(), self.stack[-1])
            return self.stack[-1], "forward"
        if self.torch.is_grad_enabled():  # a forward call inside backward: activation checkpointing
            path = self.stack[-1] or self.origin.get(node._sequence_nr(), "")
            self.origin.setdefault(self._sequence(), path)
            return path, "recompute"
        return self.origin.get(node._sequence_nr(), ""), "backward"

    def _record(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        if func.namespace in {"prim", "profiler"}:  # questions about a tensor (its device), marks for a profiler
            return
        self.track(result)
        path, phase = self._place()
        call = self._call(func, args, kwargs, result, phase)
        try:
            kernels = costs(call)
        except RooflineError as error:
            raise RooflineError(f"{error} (in {path or type(self.module).__name__}, {phase})") from None
        if kernels and phase == "forward":
            self.saver.setdefault(self._sequence(), len(self.records))
        dtype = self._dtype(args, result)
        ops = [self._op(path, call.name, phase, dtype, cost) for cost in kernels]
        self.records += [(path, op) for op in ops]
        if ops:
            self.nodes += nodes(call, [*zip(kernels, ops, strict=True)], self.places.get(path, path), self.buffers)

    def _op(self, path: str, name: str, phase: Phase, dtype: str, cost: Cost) -> Op:
        operator = name.partition(".")[2].lstrip("_")
        if cost.kind == "attention":  # which fused kernel the CPU picked is beside the point
            operator = "scaled_dot_product_attention" + ("_backward" if phase == "backward" else "")
        words = [self.places.get(path, path), operator, GRADIENT_WORDS[cost.gradient], cost.suffix]
        if self.matmul_dtype and cost.kind in {"matmul", "attention"} and dtype == "fp32":
            dtype = self.matmul_dtype
        return Op(
            name=".".join(word for word in words if word),
            kind=cost.kind,
            gradient=cost.gradient,
            phase=phase,
            part="layer",
            dtype=dtype,
            flops=cost.flops,
            bytes_read=cost.read,
            bytes_written=cost.written,
            shape=cost.shape,
            kernels=cost.kernels,
            library=cost.library,
            model_flops=0 if phase == "recompute" else cost.model_flops,
        )

    def _dtype(self, args: Any, result: Any) -> str:
        """Dtype of the first floating result or argument; integer work runs on the vector units."""
        for leaf in self.torch.utils._pytree.tree_leaves((result, args)):
            if isinstance(leaf, self.torch.Tensor) and leaf.is_floating_point():
                return _DTYPES.get(str(leaf.dtype).removeprefix("torch."), "fp8")
        return "fp32"

    def _call(self, func: Any, args: Any, kwargs: Any, result: Any, phase: Phase) -> Call:
        schema = func._schema
        bound = dict(kwargs)
        mutated: list[Operand] = []
        for index, argument in enumerate(schema.arguments):
            if index < len(args):
                bound[argument.name] = args[index]
            elif argument.name not in bound and argument.has_default_value():
                bound[argument.name] = argument.default_value
        tree_map_only = self.torch.utils._pytree.tree_map_only
        bound = {name: tree_map_only(self.torch.Tensor, self._operand, value) for name, value in bound.items()}
        for argument in schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                mutated += _operands(bound.get(argument.name))
        aliases = [item.alias_info is not None for item in schema.returns]
        fresh = [] if any(aliases) else _operands(tree_map_only(self.torch.Tensor, self._operand, result))
        inputs = {operand.identity: operand for value in bound.values() for operand in _operands(value)}
        return Call(
            name=schema.name.replace("::", "."),
            args=bound,
            inputs=tuple(inputs.values()),
            mutated=tuple(mutated),
            outputs=tuple(fresh),
            tags=self._tags(func),
            view=bool(aliases) and all(aliases) and not mutated,
            backward=phase == "backward",
        )

    def _find_tags(self, func: Any) -> frozenset[str]:
        """Tags of an operator; an in-place one has those of its functional form too."""
        functional = func._schema.name.removesuffix("_").partition("::")[2]
        packet = getattr(self.torch.ops.aten, functional, func.overloadpacket)
        overloads = [func, *(getattr(packet, name) for name in packet.overloads())]
        return frozenset(tag.name for overload in overloads for tag in overload.tags)

    def _operand(self, tensor: Any) -> Operand:
        elements = 1
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
            elements *= size if stride else min(size, 1)
        whole = tensor.untyped_storage()
        storage = whole._cdata
        if storage in self.excluded:
            self.read.add(storage)
        identity = (
            self.buffers.of(storage, whole.nbytes()),
            tensor.storage_offset(),
            tuple(tensor.shape),
            tensor.stride(),
        )
        return Operand(
            shape=tuple(tensor.shape),
            itemsize=tensor.element_size(),
            elements=elements,
            identity=identity,
            parameter=storage in self.excluded,
            is_complex=tensor.is_complex(),
        )

    def result(self) -> Trace:
        """Merge equal ops and sum by module.

        Raises:
            RooflineError: The pass ran no operator at all.
        """
        if not self.records:
            raise RooflineError(f"{type(self.module).__name__} runs no operator on the example inputs: nothing to cost")
        kept = [0] * len(self.records)
        for size, _, sequence in self.saved.values():
            index = self.saver.get(sequence)
            if index is None:  # kept by a view or by a call without kernels: goes with the kernel before it
                index = max((at for number, at in self.saver.items() if number <= sequence), default=0)
            kept[index] += size
        merged: dict[Op, int] = {}
        for (_, op), saved in zip(self.records, kept, strict=True):
            key = msgspec.structs.replace(op, saved_bytes=saved)
            merged[key] = merged.get(key, 0) + 1
        parameters = list(self.module.parameters())
        return Trace(
            name=type(getattr(self.module, "_orig_mod", self.module)).__name__,
            ops=tuple(msgspec.structs.replace(op, count=count) for op, count in merged.items()),
            parameters=sum(parameter.numel() for parameter in parameters),
            trainable_parameters=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
            activation_bytes=sum(size for size, _, _ in self.saved.values()),
            peak_bytes=self.peak_bytes,
            by_module=self._by_module(),
            idle=self._idle(),
            compiled=any(map(is_compiled, self.module.modules())),
            fused=fuse(self.nodes, self.buffers, self.results),
        )

    def _idle(self) -> dict[str, int]:
        """Parameters that no operator took, by the outermost modules of which it took none."""
        sizes = {name: parameter.numel() for name, parameter in self.module.named_parameters()}
        unread = {name for name in sizes if self.state[name] not in self.read}
        busy = {part for name in sizes.keys() - unread for part in ancestors(name)}
        found: dict[str, int] = {}
        for name in sizes.keys() & unread:
            outermost = next((part for part in ancestors(name) if part not in busy), name)
            outermost = plain(outermost)
            found[outermost] = found.get(outermost, 0) + sizes[name]
        return dict(sorted(found.items()))

    def _by_module(self) -> dict[str, ModuleCost]:
        sums: dict[str, dict[str, Any]] = {}

        def add(path: str, field: str, amount: Any) -> None:
            words = path.split(".") if path else []
            for depth in range(len(words) + 1):
                fields = sums.setdefault(".".join(words[:depth]), {})
                fields[field] = fields.get(field, 0) + amount

        for path, op in self.records:
            add(path, "flops_forward" if op.phase == "forward" else "flops_backward", op.flops)
            add(path, "bytes", op.bytes)
        for size, path, _ in self.saved.values():
            add(path, "activation_bytes", size)
        return {path: ModuleCost(**fields) for path, fields in sums.items()}


def _operands(value: Any) -> list[Operand]:
    if isinstance(value, Operand):
        return [value]
    if isinstance(value, (list, tuple)):
        return [operand for item in value for operand in _operands(item)]
    return []
