"""Finished pieces of a clip, kept beside its result until all of it is done.

A piece holds its encoded pictures, its lines of the frames log, and everything that the next piece needs to go on. It
is written with Python's pickle: only what this program wrote for the same source, options and weights is read again.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from likeness import __version__
from likeness.errors import OutputError
from likeness.media.files import atomic_output
from likeness.media.video import Encoded
from likeness.pipeline.cards import Card
from likeness.pipeline.config import RestorerConfig
from likeness.pipeline.report import Tally
from likeness.pipeline.state import ClipState
from likeness.weights.files import file_hash

SECONDS = 10  # of a piece


@dataclass(frozen=True)
class Piece:
    """What is kept of a finished piece.

    Attributes:
        pictures: encoded.
        log: lines of the frames log.
        state, tally, cards: as they were after its last frame.
        begun: time of its first frame, in seconds.
    """

    pictures: list[Encoded]
    log: list[str]
    state: ClipState
    tally: Tally
    cards: dict[int, Card]
    begun: Fraction


class Pieces:
    """The pieces of one clip, in a hidden folder beside its result.

    Args:
        target: the result.
        source: the clip.
        config: all options.
        hashes: sha256 of all weights.
        upscale: as chosen.

    Raises:
        OutputError: if the folder cannot be made.
    """

    def __init__(
        self, target: Path, source: Path, config: RestorerConfig, hashes: Mapping[str, str], upscale: int
    ) -> None:
        options = {k: v for k, v in asdict(config).items() if k != "cards"}
        told = [__version__, file_hash(source), options, dict(hashes), upscale, target.suffix, SECONDS]
        self.folder = target.with_name(f".{target.name}.pieces")
        key, file = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest(), self.folder / "key"
        try:
            if self.folder.is_dir() and not (file.is_file() and file.read_text() == key):
                shutil.rmtree(self.folder)  # of another source, or of other options
            self.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(key)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be written ({error.strerror}); choose another output") from error

    def __len__(self) -> int:
        count = 0
        while self._file(count).is_file():
            count += 1
        return count

    def last(self) -> Piece | None:
        """The last finished piece; None at the start."""
        return self.read(len(self) - 1) if len(self) else None

    def read(self, number: int) -> Piece:
        """One finished piece."""
        piece: Piece = pickle.loads(self._file(number).read_bytes())
        return piece

    def add(self, piece: Piece) -> None:
        """Keeps one more; it is there when it is complete."""
        with atomic_output(self._file(len(self))) as partial:
            partial.write_bytes(pickle.dumps(piece))

    def pictures(self) -> Iterator[Encoded]:
        """Of all pieces, in order; one piece is in memory at a time."""
        for number in range(len(self)):
            yield from self.read(number).pictures

    def log(self) -> Iterator[str]:
        """The frames log of all pieces."""
        for number in range(len(self)):
            yield from self.read(number).log

    def remove(self) -> None:
        """The clip is done."""
        shutil.rmtree(self.folder)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:05d}.piece"
