"""One rank's trace with what its kernels are part of."""

from roofline.profiling.rank import read_rank


def test_every_kernel_has_its_work_and_the_busiest_device_counts(tmp_path, two_steps):
    trace = two_steps()
    trace.events.append(
        {"ph": "X", "cat": "kernel", "name": "other", "pid": 1, "tid": 7, "ts": 1000, "dur": 5, "args": {"device": 1}}
    )
    found = read_rank(trace.write(tmp_path / "t.json"), None)
    assert found.index == 0
    assert len(found.steps.steps) == 2
    assert len(found.work) == 2 * 4  # copies are no work of an operator
    assert {work.term for work in found.work.values()} == {"matmul", "all_reduce_exposed", "optimizer"}
    assert sum(work.sent is not None for work in found.work.values()) == 2
