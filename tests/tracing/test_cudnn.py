"""Recurrences of torch.nn in a traced pass: cuDNN's operator, whose FLOPs are those of the steps it merges."""

# ruff: noqa: E402  torch is optional: it is imported where the suite finds it

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.flop_counter import FlopCounterMode

from roofline.tracing.trace import trace


def counted(module, source):
    """FLOPs of forward and backward as torch counts them in the CPU's operators of each step."""
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        output = module(source)[0]
        forward = counter.get_total_flops()
        output.sum().backward()
    return forward, counter.get_total_flops() - forward


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize(
    "module",
    [
        nn.LSTM(8, 16, 2, dropout=0.1),
        nn.LSTM(8, 16, 3, proj_size=4, bidirectional=True),
        nn.LSTM(8, 16, bias=False, proj_size=4),
        nn.GRU(8, 16, 2, bias=False, bidirectional=True),
        nn.RNN(8, 16, 2, nonlinearity="relu", batch_first=True),
    ],
)
def test_flops_are_those_of_the_steps(module, real):
    source = torch.randn(5, 3, 8)
    found = trace(module, source, loss=lambda output: output[0], real=real)
    assert (found.matmul_flops("forward"), found.matmul_flops("backward")) == counted(module, source)
    assert {"zeros", "cudnn_rnn", "cudnn_rnn_backward"} == {op.name.partition(".")[0] for op in found.ops}


def test_torch_has_its_own_recurrences_back_after_a_trace():
    module, source = nn.GRU(8, 16), torch.randn(5, 3, 8)
    before = torch._VF.gru
    trace(module, source, loss=lambda output: output[0])
    assert torch._VF.gru == before


def test_packed_sequences_run_the_steps_that_there_are():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(8, 16, batch_first=True)

        def forward(self, source, lengths):
            packed = pack_padded_sequence(source, lengths, batch_first=True, enforce_sorted=False)
            return pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0]

    found = trace(Packed(), torch.randn(3, 9, 8), torch.tensor([2, 7, 4]))
    assert found.matmul_flops("forward") == 2 * (2 + 7 + 4) * 4 * 16 * (8 + 16)  # not 3 x 9 rows


@pytest.mark.parametrize(("cls", "gates"), [(nn.LSTMCell, 4), (nn.GRUCell, 3)])
def test_a_cell_is_two_matmuls_and_one_kernel(cls, gates):
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cls(8, 16)

        def forward(self, source):
            found = self.cell(source)
            return found[0] if isinstance(found, tuple) else found

    ops = [op for op in trace(Step(), torch.randn(3, 8)).ops if op.phase == "forward" and op.flops]
    assert [op.kind for op in ops] == ["matmul", "matmul", "elementwise"]
    assert [op.flops for op in ops[:2]] == [2 * 3 * gates * 16 * 8, 2 * 3 * gates * 16 * 16]
