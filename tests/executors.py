"""Executors that work in another order than they are asked."""

from concurrent.futures import Future

import numpy as np


class Disorderly:
    """Runs what it is given when some of it is asked for: the last first, or by the throw of a die."""

    def __init__(self, seed=None):
        self.waiting, self.die = [], None if seed is None else np.random.default_rng(seed)

    def submit(self, function, *args):
        future = Future()
        future.result = lambda: self.finish(future)
        self.waiting.append((future, function, args))
        return future

    def finish(self, wanted):
        while self.waiting:
            place = -1 if self.die is None else int(self.die.integers(len(self.waiting)))
            future, function, args = self.waiting.pop(place)
            value = function(*args)
            future.result = lambda value=value: value
        return wanted.result()
