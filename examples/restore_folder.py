"""Restores every photo, video and GIF of a folder; a damaged file is named and the others still finish.

python examples/restore_folder.py PHOTOS RESULTS
"""

from __future__ import annotations

import sys
from pathlib import Path

from likeness import Restorer
from likeness.errors import LikenessError
from likeness.media.folders import find_media, output_dirs


def main(folder: Path, results: Path) -> int:
    """Writes each result into a folder of its own below `results`; returns how many files failed."""
    restorer = Restorer(**{"upscale": 2, "faces.min": 60})
    failed = 0
    for file, target in output_dirs(find_media(folder), results, folder).items():
        try:
            print(f"{file}: {restorer.file(file, target).summary}")
        except LikenessError as error:
            print(error, file=sys.stderr)
            failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])) > 0)
