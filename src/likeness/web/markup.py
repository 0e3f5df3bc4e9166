"""The parts of the page that are plain HTML; every text of a client is escaped."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape
from math import ceil
from typing import Any

from likeness.web.views import JobView, in_words

CARD_SIDE, CARD_PAD, CARD_TEXT = 256, 8, 520  # layout of the sheet of cards, see pipeline/cards.py
FIGURES = {"psnr": "PSNR (dB)", "ssim": "SSIM", "lpips": "LPIPS", "identity_cosine": "identity"}
FOOTER = """<footer class="lk-footer">A restored face is an estimate, no proof of who somebody is. Files and results are
deleted {kept} after the restoration. Licence of the weights: non-commercial research only. Code: MIT.
<a href="/docs" target="_blank" rel="noopener">API</a></footer>"""
TOGGLE_THEME = "() => { localStorage.theme = document.body.classList.toggle('dark') ? 'dark' : 'light' }"
RECALL_THEME = """() => {
  if (localStorage.theme) document.body.classList.toggle('dark', localStorage.theme === 'dark')
}"""
CAMERA = """<div id="lk-camera"><button type="button" id="lk-camera-toggle" class="lg primary" data-address="{address}">
Start camera</button>
<p role="status" id="lk-camera-status">Pictures of the camera are restored on this page's server and not kept.</p>
<div class="lk-live"><figure><figcaption>Camera</figcaption><video id="lk-camera-before" muted playsinline
aria-label="camera"></video></figure><figure><figcaption>Restored</figcaption><img id="lk-camera-result" alt="newest
restored picture"></figure></div></div>"""


def progress_rows(views: Sequence[JobView], clips: Collection[str]) -> str:
    """One row a file: its place in the queue, its steps and the time left, or how it ended.

    Args:
        views: of the jobs.
        clips: ids of those whose steps are frames.
    """
    busy = any(view.status in ("pending", "running") for view in views)
    rows = "".join(_row(view, view.id in clips) for view in views)
    return f'<div role="status" aria-busy="{str(busy).lower()}" id="lk-status">{rows}</div>'


def _row(view: JobView, clip: bool) -> str:
    name = escape(view.name)
    if view.status == "pending":
        before = view.position or 0
        text = "next in the queue" if before == 0 else f"in the queue, {counted(before, 'file')} before it"
    elif view.status == "running":
        done, total = view.progress.done, view.progress.total
        value = f' value="{done / total:.3f}"' if total else ""
        text = f'{_steps(view, clip)}<progress max="1"{value} aria-label="progress of {name}"></progress>'
    elif view.status == "done":
        text = escape(friendly(view.summary or "done"))
    else:
        text = f'<span class="lk-error">{escape(view.error or "stopped").removeprefix(f"{name}: ")}</span>'
    return f'<div class="lk-row"><b>{name}</b>: {text}</div>'


def _steps(view: JobView, clip: bool) -> str:
    done, total = view.progress.done, view.progress.total
    if not done:
        return "looking for faces"
    steps = f"{done} of {total}" if total else f"{done}"
    found = f", {counted(view.progress.faces, 'face')} so far" if clip else ""
    if done == total:
        return f"{steps} {'frames' if clip else 'background tiles'}, writing the file"
    left = f", about {duration(view.seconds / done * (total - done))} left" if total else ""
    return f"{steps} {'frames' if clip else 'background tiles'}{found}{left}"


def duration(seconds: float) -> str:
    """ "40 s", "3 min"; rounded up."""
    return f"{5 * ceil(seconds / 5)} s" if seconds < 90 else f"{ceil(seconds / 60)} min"


def counted(count: int, noun: str) -> str:
    """ "1 face", "2 faces"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def friendly(summary: str) -> str:
    """The summary without its hint for the command line."""
    return summary.partition("; route.skip_below=")[0]  # the page has a button for it


def slider(before: str, after: str, name: str) -> str:
    """Two pictures of one size on top of each other, and the input that moves the border between them."""
    name = escape(name)
    return (
        f'<div class="lk-slider" id="lk-slider"><img src="{before}" alt="{name} before">'
        f'<img src="{after}" alt="{name} after" class="lk-after"><span class="lk-line"></span>'
        f'<input type="range" value="50" step="1" aria-label="before | after: how much of {name} shows before"></div>'
        '<p class="lk-hint">Left: before. Right: after. Drag, or use the arrow keys.</p>'
    )


def pair(compare: str, kind: str, name: str) -> str:
    """Before and after of a clip: the halves of its comparison, so that both play and look the same everywhere."""
    halves = "".join(
        f"<figure><figcaption>{side.capitalize()}</figcaption>{_half(compare, kind, side, escape(name))}</figure>"
        for side in ("before", "after")
    )
    return f'<div class="lk-pair" id="lk-pair">{halves}</div>'


def _half(url: str, kind: str, side: str, name: str) -> str:
    if kind != "video":
        return f'<img class="lk-{side}" src="{url}" alt="{name} {side}">'
    muted = " muted" if side == "before" else ""
    return (
        # Full screen and the player's own download would show and give both sides.
        f'<video class="lk-{side}" src="{url}" controls controlslist="nofullscreen nodownload" '
        f'disablepictureinpicture loop playsinline preload="auto"{muted} '
        f'aria-label="{name} {side}"></video>'
    )


def links(files: Mapping[str, str]) -> str:
    """Downloads: label to address."""
    items = (f'<a href="{url}" download>{escape(label)}</a>' for label, url in files.items())
    return f'<nav class="lk-links" aria-label="downloads">{"".join(items)}</nav>'


def faces(report: Mapping[str, Any], cards: str | None) -> str:
    """A card for each face: input, result and confidence map out of the sheet at `cards`, and words."""
    found = report["faces"]
    if not found:
        return "<p>No faces were found.</p>"
    shown = sum(face["card"] is not None for face in found) if cards else 0
    items = "".join(
        f"<li>{_crops(cards, face['card'], shown, n) if cards and face['card'] is not None else ''}"
        f"<b>Face {n}</b>: {escape(in_words(face))}{_details(face)}</li>"
        for n, face in enumerate(found, 1)
    )
    note = "Left: input. Middle: result. Right: bright where detail is a guess." if shown else ""
    return f'<p>{note}</p><ul class="lk-faces" id="lk-faces">{items}</ul>{figures(report)}'


def _crops(cards: str, row: int, rows: int, number: int) -> str:
    """A window onto a row of the sheet, which scales with the page."""
    width, height = 3 * CARD_SIDE + CARD_TEXT + 5 * CARD_PAD, rows * (CARD_SIDE + CARD_PAD) + CARD_PAD
    window = 3 * CARD_SIDE + 2 * CARD_PAD
    x = 100 * CARD_PAD / (width - window)
    y = 100 * (CARD_PAD + row * (CARD_SIDE + CARD_PAD)) / (height - CARD_SIDE)
    style = f"background-image:url('{cards}');background-size:{100 * width / window:.3f}%;"
    style += f"background-position:{x:.3f}% {y:.3f}%"
    label = f"face {number}: input, result, confidence"
    return f'<div class="lk-crops" role="img" aria-label="{label}" style="{style}"></div>'


def _details(face: Mapping[str, Any]) -> str:
    if face["identity_distance"] is None or (face["guard"] or {}).get("verdict") == "undecided":
        return ""
    return (
        f"<br><small>Identity distance to the input {face['identity_distance']:.2f} "
        f"(below 0.6: one person). Route: {escape(str(face['expert'] or face['route']))}.</small>"
    )


def figures(report: Mapping[str, Any]) -> str:
    """The figures against a reference; empty without one."""
    given = report.get("reference")
    if not given:
        return ""
    rows = "".join(
        f"<tr><th scope='row'>{label}</th><td>{_figure(given['input'][name])}</td>"
        f"<td>{_figure(given['output'][name])}</td></tr>"
        for name, label in FIGURES.items()
        if name in given["output"]
    )
    head = "<tr><th>against the reference</th><th>input</th><th>result</th></tr>"
    return f'<table class="lk-table" id="lk-figures">{head}{rows}</table>'


def _figure(value: float | None) -> str:
    return "equal" if value is None else f"{value:.3f}"
