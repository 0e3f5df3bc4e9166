"""The parts of the page that are plain HTML; every text of a client is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from likeness.web.views import JobView, in_words

CARD_SIDE, CARD_PAD, CARD_TEXT = 256, 8, 520  # layout of the sheet of cards, see pipeline/cards.py
FIGURES = {"psnr": "PSNR (dB)", "ssim": "SSIM", "lpips": "LPIPS", "identity_cosine": "identity"}
FOOTER = """<footer class="lk-footer">A restored face is an estimate, no proof of who somebody is. Files are deleted
after a while. Licence of the weights: non-commercial research only. Code: MIT.
<a href="/docs">API</a></footer>"""
CSS = """
.gradio-container { max-width: 1000px !important; margin: 0 auto !important; }
.gradio-container { --body-text-color-subdued: #52525b; --block-info-text-color: #52525b; }
.dark .gradio-container { --body-text-color-subdued: #d4d4d8; --block-info-text-color: #d4d4d8; }
.lk-row { margin: .5em 0; }
.lk-row progress { width: 100%; height: .6em; accent-color: #2563eb; }
.lk-error { color: #b91c1c; } .dark .lk-error { color: #fca5a5; }
.lk-footer { margin-top: 2em; font-size: .85em; color: var(--body-text-color); }
.lk-footer a, .lk-links a { color: #1d4ed8; text-decoration: underline; }
.dark .lk-footer a, .dark .lk-links a { color: #93c5fd !important; }
.lk-links { display: flex; flex-wrap: wrap; gap: 1em; margin: .5em 0; }
.lk-media { max-width: 100%; border-radius: 6px; }
.lk-faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 1em;
  list-style: none; padding: 0; margin: 0; }
.lk-faces li { border: 1px solid var(--border-color-primary); border-radius: 6px; padding: .6em; }
.lk-crops { background-repeat: no-repeat; width: 100%; aspect-ratio: 784 / 256; border-radius: 4px; }
.lk-table td, .lk-table th { padding: .2em .8em .2em 0; text-align: left; }
"""


def progress_rows(views: Sequence[JobView]) -> str:
    """One row a file: its place in the queue, its steps and the time left, or how it ended."""
    return f'<div role="status" aria-live="polite" id="lk-status">{"".join(map(_row, views))}</div>'


def _row(view: JobView) -> str:
    name, done, total = escape(view.name), view.progress.done, view.progress.total
    if view.status == "pending":
        return f'<div class="lk-row"><b>{name}</b>: waiting, {view.position or 0} before it</div>'
    if view.status == "running":
        steps = f"{done} of {total} steps" if total else (f"{done} steps" if done else "looking for faces")
        left = f", about {view.seconds / done * (total - done):.0f} s left" if total and done else ""
        value = f' value="{done / total:.3f}"' if total else ""
        return (
            f'<div class="lk-row"><b>{name}</b>: {steps}{left}'
            f'<progress max="1"{value} aria-label="progress of {name}"></progress></div>'
        )
    if view.status == "done":
        return f'<div class="lk-row"><b>{name}</b>: {escape(_friendly(view.summary or "done"))}</div>'
    reason = escape(view.error or "stopped")
    return f'<div class="lk-row"><b>{name}</b>: <span class="lk-error">{reason.removeprefix(f"{name}: ")}</span></div>'


def _friendly(summary: str) -> str:
    return summary.partition("; route.skip_below=")[0]  # the page has a button for it


def clip(url: str, kind: str, name: str) -> str:
    """The comparison of a clip: one file with both pictures, which therefore stay in step."""
    label = f"{escape(name)}, before on the left, after on the right"
    if kind == "video":
        return f'<video class="lk-media" src="{url}" controls loop playsinline aria-label="{label}"></video>'
    return f'<img class="lk-media" src="{url}" alt="{label}">'


def links(files: Mapping[str, str]) -> str:
    """Downloads: label to address."""
    items = (f'<a href="{url}" download>{escape(label)}</a>' for label, url in files.items())
    return f'<nav class="lk-links" aria-label="downloads">{"".join(items)}</nav>'


def faces(report: Mapping[str, Any], cards: str | None) -> str:
    """A card for each face: input, result and confidence map out of the sheet at `cards`, and words."""
    found = report["faces"]
    if not found:
        return "<p>No faces were found.</p>"
    shown = min(len(found), report["settings"]["cards"]) if cards else 0
    items = "".join(
        f"<li>{_crops(cards, n, shown) if cards and n < shown else ''}<b>Face {n + 1}</b>: {escape(in_words(face))}"
        f"{_details(face)}</li>"
        for n, face in enumerate(found)
    )
    note = "Left: input. Middle: result. Right: where the network is unsure (bright)." if shown else ""
    return f'<p>{note}</p><ul class="lk-faces" id="lk-faces">{items}</ul>{figures(report)}'


def _crops(cards: str, index: int, rows: int) -> str:
    """A window onto row `index` of the sheet, which scales with the page."""
    width, height = 3 * CARD_SIDE + CARD_TEXT + 5 * CARD_PAD, rows * (CARD_SIDE + CARD_PAD) + CARD_PAD
    window = 3 * CARD_SIDE + 2 * CARD_PAD
    x = 100 * CARD_PAD / (width - window)
    y = 100 * (CARD_PAD + index * (CARD_SIDE + CARD_PAD)) / (height - CARD_SIDE)
    style = f"background-image:url('{cards}');background-size:{100 * width / window:.3f}%;"
    style += f"background-position:{x:.3f}% {y:.3f}%"
    label = f"face {index + 1}: input, result, confidence"
    return f'<div class="lk-crops" role="img" aria-label="{label}" style="{style}"></div>'


def _details(face: Mapping[str, Any]) -> str:
    if face["identity_distance"] is None:
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
