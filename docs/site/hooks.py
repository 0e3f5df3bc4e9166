"""MkDocs hook: adds the lab notes under `experiments/` to the site, and makes links written for the repository fit it.

Pages link as GitHub resolves them. The site holds `docs/` and the Markdown, tables and figures of `experiments/`; a
link to any other file of the repository becomes its path, as the site names no host that has it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
NOTES = "experiments"
SUFFIXES = (".md", ".png", ".csv")
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
CODE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Adds the lab notes, under the paths that they have in the repository."""
    for file in sorted((ROOT / NOTES).rglob("*")):
        if file.suffix in SUFFIXES:
            uri = file.relative_to(ROOT).as_posix()
            files.append(File.generated(config, uri, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Rewrites the links of a page, outside fenced code."""
    parts = CODE.split(markdown)
    parts[::2] = [LINK.sub(lambda m: site_link(m, page.file.src_uri, files), part) for part in parts[::2]]
    return "".join(parts)


def site_link(match: re.Match[str], page: str, files: Files) -> str:
    """The link of a page, as the site needs it.

    Args:
        match: of `LINK`.
        page: the page's path in the site.
        files: of the site.
    """
    target, hash_, anchor = match["target"].partition("#")
    if not target or ":" in target:
        return match[0]
    folder = posixpath.dirname(page if page.startswith(f"{NOTES}/") else f"docs/{page}")
    path = posixpath.normpath(posixpath.join(folder, target))
    uri = path.removeprefix("docs/")
    if uri == path and not path.startswith(f"{NOTES}/"):
        return _as_path(match, path)
    if files.get_file_from_path(uri) is None and path.startswith(f"{NOTES}/"):
        return _as_path(match, path)
    return f"{match['image']}[{match['text']}]({posixpath.relpath(uri, posixpath.dirname(page) or '.')}{hash_}{anchor})"


def _as_path(match: re.Match[str], path: str) -> str:
    if not (ROOT / path).exists():
        return match[0]  # strict mode then names the broken link
    text = match["text"].strip("`")
    return f"`{path}`" if posixpath.basename(path) in text else f"{match['text']} (`{path}`)"
