"""What tests put into Dask workers; imports nothing else, as each new worker imports it."""

import os

import distributed


class Poison(distributed.WorkerPlugin):
    """Ends the worker whenever it begins a session, by the number of the session."""

    def __init__(self, number):
        self.number = number

    def transition(self, key, start, finish, **kwargs):
        if finish == "executing" and isinstance(key, tuple) and key[1] == self.number:
            os._exit(1)


def die_once(number, mark):
    """End the worker the first time, which the file `mark` tells; then return the number."""
    if not os.path.exists(mark):
        open(mark, "w").close()
        os._exit(1)
    return number
