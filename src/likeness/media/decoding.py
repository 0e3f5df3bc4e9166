"""Errors of picture decoders as ours."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageCms, UnidentifiedImageError

from likeness.errors import InputError, one_line

# What Pillow and its plug-ins raise on damaged files, as found by fuzzing.
DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, RuntimeError, ArithmeticError, AttributeError,
    MemoryError, struct.error, zlib.error, ImageCms.PyCMSError,
)  # fmt: skip


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turns what a decoder raises for `path` into one line.

    Raises:
        InputError: no picture that can be read, damaged, or far too large.
    """
    try:
        yield
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: claims more pixels than Pillow's limit for safety ({error}); reduce it") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: is no picture that can be read; convert it to PNG or JPEG") from error
    except DECODER_ERRORS as error:
        why = one_line(error) or type(error).__name__
        raise InputError(f"{path}: is damaged or incomplete ({why}); get or export it again") from error
