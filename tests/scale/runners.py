"""What the workers of the tests do; a module of its own, since a spawned process imports it."""

from __future__ import annotations

import os
import time

from likeness.errors import InputError, WeightsError


def start():
    """Loads nothing; tasks are words."""

    def work(task, progress):
        word, _, value = task.partition(" ")
        progress(1, 2, 0)
        if word == "die":
            os._exit(3)
        if word == "hang":
            time.sleep(60)
        if word == "fill":
            return len(bytearray(int(value) * 2**20))
        if word == "bad":
            raise InputError("a bad file")
        if word == "strange":
            raise KeyError("x")
        return f"{word} by {os.getpid()}"

    return work


def start_writing():
    """Tasks are restorations; the worker writes into their folder without end."""

    def work(task, progress):
        while True:
            task.folder.mkdir(parents=True, exist_ok=True)
            (task.folder / "a").write_text("x")
            progress(1, None, 0)

    return work


def broken():
    raise WeightsError("expert_f: no such file")
