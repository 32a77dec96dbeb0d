"""A profiler's trace and a training log: what was measured, beside what we expect."""
