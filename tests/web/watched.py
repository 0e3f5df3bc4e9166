"""`likeness serve` that writes down what it does outside of WATCH_ROOT; worker processes import this file, too."""

from __future__ import annotations

import os
import sys
from typing import Any

ROOT = os.path.realpath(os.environ["WATCH_ROOT"])
LOG = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
PATHS = {"os.mkdir": 1, "os.remove": 1, "os.rmdir": 1, "os.truncate": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2}
ALWAYS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.getaddrinfo")


def watch(event: str, args: tuple[Any, ...]) -> None:
    """Writes a line for a process, a connection, or a change of a file outside of the root."""
    if event in ALWAYS:
        note(event, args)
    elif event == "open" and isinstance(args[0], str | bytes) and (args[2] or 0) & WRITING:
        outside(event, args[0])
    elif event in PATHS:
        folder = next((a for a in args[PATHS[event] :] if isinstance(a, int) and a >= 0 and event != "os.mkdir"), None)
        for path in args[: PATHS[event]]:
            outside(event, path if folder is None else os.path.join(f"/proc/self/fd/{folder}", path))


def outside(event: str, path: Any) -> None:
    """Notes a path unless it lies under the root or is a device."""
    real = os.path.realpath(os.fsdecode(path))
    if not real.startswith((ROOT + os.sep, "/dev/", "/proc/self/")) and real != ROOT:
        note(event, real)


def note(event: str, what: object) -> None:
    """One line of the log."""
    os.write(LOG, f"{event} {what!r}\n".encode(errors="replace"))


sys.addaudithook(watch)

if __name__ == "__main__":
    from likeness.web.serve import serve

    sys.exit(serve(sys.argv[1:]))
