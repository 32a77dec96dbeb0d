"""Reading a trace piece by piece gives what reading it whole gives, and bad files one clear line."""

import gzip
import json
import os
from pathlib import Path

import pytest

from roofline.errors import RooflineError
from roofline.profiling import stream
from roofline.profiling.nsys import is_export
from roofline.profiling.stream import Event, read_events


def events_of(path: Path) -> tuple[list[Event], dict[str, object]]:
    found: list[Event] = []
    return found, read_events(path, found.extend)


@pytest.mark.parametrize("chunk", [7, 64, 1000, 4 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_pieces_of_any_size_give_the_same_events(tmp_path, monkeypatch, chunk, indent, two_steps):
    monkeypatch.setattr(stream, "CHUNK", chunk)
    trace = two_steps()
    # what looks like the end of an event inside one: a list of objects, and text
    trace.events[3]["args"]["nested"] = [{"a": 1}, {"b": '}, {"'}]
    trace.events[4]["name"] = 'he said "}, {" and é'
    path = trace.write(tmp_path / "t.json", indent=indent)
    found, keys = events_of(path)
    assert [(e.name, e.ts, e.dur) for e in found] == [(e["name"], e["ts"], e["dur"]) for e in trace.events]
    assert keys == trace.keys


def test_keys_after_the_events_a_bare_list_and_gzip_under_any_name(tmp_path, two_steps):
    events = two_steps().events
    path = tmp_path / "after.json"
    path.write_text(json.dumps({"traceEvents": events, "traceName": "x", "n": 12}))
    assert events_of(path)[1] == {"traceName": "x", "n": 12}
    path.write_text(json.dumps(events))
    assert len(events_of(path)[0]) == len(events)
    path.write_text(json.dumps(events), encoding="utf-8-sig")  # behind a byte order mark
    assert len(events_of(path)[0]) == len(events)
    path.write_bytes(gzip.compress(json.dumps(events).encode()))  # .json that is gzipped
    assert len(events_of(path)[0]) == len(events)


def test_numbers_that_are_no_json_are_taken(tmp_path, two_steps):
    """Some writers leave NaN and control characters in; everything else in the file counts all the same."""
    trace = two_steps()
    text = json.dumps({"traceEvents": trace.events}).replace('"stream": 20', '"stream": 20, "occupancy": NaN')
    path = tmp_path / "nan.json"
    path.write_text(text.replace("nvjet_forward", "nvjet\tforward"))
    assert len(events_of(path)[0]) == len(trace.events)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cut off"),
        (b"hello", "not a profiler's trace"),
        (b'{"a": 1}', "no 'traceEvents' (it has a)"),
        (b'{"traceEvents": 5}', "a list of events"),
        (b'{"traceEvents": [5]}', "an event"),
        (b'{"traceEvents": [{"ph": "X", "name"', "cut off"),
        (b'{"traceEvents": [{"ph": "X"}', "cut off"),
        (b'{"traceEvents": [{"ph": "X"}]', "cut off"),
        (b'{"traceEvents": [{"ph": "X"},', "cut off"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, content, says):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(RooflineError) as caught:
        events_of(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_gzip_file_that_ends_early(tmp_path, two_steps):
    path = two_steps().write(tmp_path / "t.json.gz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RooflineError, match="cut off"):
        events_of(path)


def test_no_such_file(tmp_path):
    with pytest.raises(RooflineError, match="cannot read trace"):
        events_of(tmp_path / "none.json")


def test_memory_stays_bounded(tmp_path):
    """Ten times the events take the same room: only the chunk at hand is held."""
    import tracemalloc

    def peak(times: int) -> int:
        path = tmp_path / f"{times}.json"
        event = {
            "ph": "X",
            "cat": "python_function",
            "name": "f",
            "pid": 1,
            "tid": 1,
            "ts": 1.0,
            "dur": 2.0,
            "args": {},
        }
        path.write_text(json.dumps({"traceEvents": [event] * times}))
        tracemalloc.start()
        read_events(path, lambda _: None)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    small, large = peak(150_000), peak(600_000)
    assert large < 1.2 * small


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="no pipes with names here")
@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_of_the_shell_is_opened_once(two_steps, packed):
    trace = two_steps()
    content = json.dumps({"traceEvents": trace.events[:5]}).encode()
    ours, theirs = os.pipe()
    try:
        os.write(theirs, gzip.compress(content) if packed else content)  # less than a pipe holds
        os.close(theirs)
        path = Path(f"/dev/fd/{ours}")
        assert not is_export(path)
        assert [event.name for event in events_of(path)[0]] == [event["name"] for event in trace.events[:5]]
    finally:
        os.close(ours)
