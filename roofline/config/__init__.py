"""How a model is trained: the options of a run and the software that runs it."""
