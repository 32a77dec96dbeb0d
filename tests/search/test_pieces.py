"""A search is the same wherever its pieces run."""

from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import pytest

from roofline.errors import RooflineError
from roofline.search import question

from ..executors import Disorderly
from .small import found, told


def test_threads_and_any_order_give_the_same_answer(small_pieces):
    here = found()
    with ThreadPoolExecutor(3) as executor:
        assert told(found(executor=executor)) == told(here)
    assert told(found(executor=Disorderly())) == told(here)
    assert told(found(executor=Disorderly(seed=1))) == told(here)


def test_processes_give_the_same_answer():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        assert told(found(executor=executor)) == told(found())


def test_pieces_of_any_size_give_the_same_answer(monkeypatch):
    whole = found()
    monkeypatch.setattr(question, "PIECE", 500)
    assert told(found()) == told(whole)


def test_a_lost_process_is_told():
    class Broken:
        def submit(self, *_):
            future = Future()
            future.set_exception(BrokenProcessPool("ended"))
            return future

    with pytest.raises(RooflineError, match="lost a process .*fewer jobs"):
        found(executor=Broken())
