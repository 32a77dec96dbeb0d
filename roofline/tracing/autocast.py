"""`torch.autocast` in a traced pass as it works on a GPU; tensors lie on the CPU, which has other functions in fp32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

# PyTorch's reference of torch.amp, "CUDA Ops that can autocast to float32"; what runs in 16 bits is alike on the CPU.
_LISTED = """
    __pow__ __rdiv__ __rpow__ __rtruediv__ acos asin binary_cross_entropy_with_logits cosh cosine_embedding_loss cdist
    cosine_similarity cross_entropy cumprod cumsum dist erfinv exp expm1 group_norm hinge_embedding_loss kl_div l1_loss
    layer_norm log log10 log_softmax log1p log2 margin_ranking_loss mse_loss multilabel_margin_loss multi_margin_loss
    nll_loss norm normalize pdist poisson_nll_loss pow prod reciprocal rsqrt sinh smooth_l1_loss soft_margin_loss
    softmax softmin softplus sum renorm tan triplet_margin_loss
"""
_IN_FP32 = frozenset(_LISTED.split())


@contextlib.contextmanager
def of_gpu(torch: Any) -> Iterator[None]:
    """Regions under autocast for "cuda" or "cpu" cast as those of a GPU do."""
    cls = torch.amp.autocast_mode.autocast
    init, enter, leave = cls.__init__, cls.__enter__, cls.__exit__
    function_mode: Any = torch.overrides.TorchFunctionMode

    class Policy(function_mode):  # type: ignore[misc]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            del types
            if getattr(func, "__name__", "") in _IN_FP32 and torch.is_autocast_enabled("cpu"):
                args, kwargs = torch.utils._pytree.tree_map_only(torch.Tensor, _widened, (args, kwargs or {}))  # noqa: SLF001
            return func(*args, **(kwargs or {}))

    def _widened(tensor: Any) -> Any:
        return tensor.float() if tensor.dtype in {torch.float16, torch.bfloat16} else tensor

    def on_cpu(self: Any, device_type: str, dtype: Any = None, *args: Any, **kwargs: Any) -> None:
        if device_type == "cuda":
            device_type, dtype = "cpu", dtype or torch.get_autocast_dtype("cuda")
        init(self, device_type, dtype, *args, **kwargs)

    def begin(self: Any) -> Any:
        result = enter(self)
        self.policy = Policy()
        self.policy.__enter__()
        return result

    def end(self: Any, *error: Any) -> Any:
        self.policy.__exit__(*error)
        return leave(self, *error)

    cls.__init__, cls.__enter__, cls.__exit__ = on_cpu, begin, end
    try:
        yield
    finally:
        cls.__init__, cls.__enter__, cls.__exit__ = init, enter, leave
