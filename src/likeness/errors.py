"""The one error family. Every message says what was given, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb


class LikenessError(Exception):
    """Base of every error that Likeness raises on purpose; the entry points turn it into one line."""

    exit_code = 1


class InputError(LikenessError):
    """A file or an array that was handed in cannot be used (missing, empty, unreadable, wrong shape)."""

    exit_code = 2


class OutputError(LikenessError):
    """A result cannot be written where it was asked for."""

    exit_code = 3


class ConfigError(LikenessError):
    """An option has a value that makes no sense, or options contradict each other."""

    exit_code = 4


class WeightsError(LikenessError):
    """A weight file is missing, damaged, or does not fit the network."""

    exit_code = 5


class MemoryExceeded(LikenessError):
    """Even the smallest piece of work does not fit into the device's memory."""

    exit_code = 7


class UnexpectedError(LikenessError):
    """Something failed that no check foresaw: a fault of Likeness or of a library that it uses."""

    exit_code = 8


class DataError(LikenessError):
    """A data set is missing or its manifest is wrong."""

    exit_code = 6


def one_line(error: BaseException | str) -> str:
    """A message without line ends and runs of blanks."""
    return " ".join(str(error).split())


@contextmanager
def last_net(subject: object) -> Iterator[None]:
    """Turns every exception that is no LikenessError into an UnexpectedError of one line; Ctrl-C passes.

    Args:
        subject: what was worked on, the start of the message.

    Raises:
        UnexpectedError: what failed, where, and how to report it.
    """
    try:
        yield
    except LikenessError:
        raise
    except Exception as error:
        frames = extract_tb(error.__traceback__)
        ours = [frame for frame in frames if Path(frame.filename).is_relative_to(Path(__file__).parent)]
        own, deepest = (f"{'/'.join(Path(f.filename).parts[-2:])}:{f.lineno}" for f in (ours[-1], frames[-1]))
        raise UnexpectedError(
            f"{subject}: unexpected {type(error).__name__} ({one_line(error)}) in {own}, raised at {deepest}; "
            "please report this line as an issue of Likeness, with the file if you may share it"
        ) from error


class WorkerError(LikenessError):
    """A worker process died, took too long, or could not start."""

    exit_code = 9


@contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Turns a missing package into a ConfigError that names the extra to install.

    Args:
        extra: as in pyproject.toml (train, eval, onnx, web, dev).
        what: what the user asked for, the start of the message.

    Raises:
        ConfigError: if an import inside the block fails for a package other than this one.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "likeness":
            raise
        raise ConfigError(f"{what}: {error.name} is not installed; pip install 'likeness[{extra}]'") from error
