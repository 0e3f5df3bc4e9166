"""The page: Gradio Blocks over the same jobs as the API. Gradio only carries paths; workers decode."""

from __future__ import annotations

import asyncio
import hmac
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from likeness.errors import LikenessError
from likeness.media.files import kind_of
from likeness.media.naming import MEDIA_SUFFIXES
from likeness.pipeline.config import RestorerConfig
from likeness.web import markup
from likeness.web.guard import file_key
from likeness.web.jobs import UNFINISHED, Job, Jobs, stored_suffix
from likeness.web.views import include_from, view

HERE = Path(__file__).parent
SAMPLES = {
    "Sample photo": HERE / "sample.jpg",
    "Sample clip": HERE / "sample.mp4",
}  # NASA portrait, public domain
POLL = 0.3  # seconds
AUTOMATIC = "automatic"
TYPES = sorted(MEDIA_SUFFIXES)


def mount_page(app: FastAPI, jobs: Jobs, token: str, upload_mb: int) -> None:
    """Mounts the page at /. With a token, a login asks for it (any name)."""
    auth = (lambda name, password: hmac.compare_digest(password.encode(), token.encode())) if token else None
    gr.mount_gradio_app(
        app,
        build_page(jobs, token),
        path="/",
        auth=auth,
        auth_message="Any name; the password is the server's token." if token else None,
        max_file_size=upload_mb * 2**20,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        css_paths=HERE / "page.css",
        head=f"<script>{(HERE / 'page.js').read_text()}</script>",
        theme=gr.themes.Default(
            primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ).set(  # AA contrast
            button_primary_background_fill="*primary_700",
            button_primary_background_fill_dark="*primary_700",
            link_text_color="*primary_700",
            link_text_color_dark="*primary_300",
        ),
        i18n=gr.I18n(en={"common.upload": "Add files"}),
    )


def option_words(
    preset: str, strength: float, fidelity: float, mask: str, background: str, smallest: float, repair: str
) -> tuple[str, ...]:
    """The `key=value` words of the page's controls; what stands at its default is left to the server's owner."""
    start = RestorerConfig()
    chosen = {
        "preset": (preset, start.preset),
        "strength": (strength, start.strength),
        "expert_t.fidelity": (fidelity, start.expert_t.fidelity),
        "composite.mask": (mask, start.composite.mask),
        "background.name": (background, AUTOMATIC),
        "route.skip_below": (smallest, start.route.skip_below),
        "repair.name": (repair, start.repair.name),
    }
    return ("compare=yes", *(f"{key}={value}" for key, (value, usual) in chosen.items() if value != usual))


def queue_file(
    jobs: Jobs, path: Path, words: Sequence[str], reference: Path | None = None, name: str | None = None
) -> Job:
    """Copies an upload into a job of its own."""
    jobs.check_room()
    folder = jobs.new_folder()
    try:
        source = folder / f"input{stored_suffix(path.name)}"
        shutil.copyfile(path, source)
        truth = None
        if reference is not None:
            truth = folder / f"reference{stored_suffix(reference.name)}"
            shutil.copyfile(reference, truth)
        return jobs.accept(folder, name or path.name, source.name, words, truth.name if truth else None)
    except BaseException:
        jobs.discard(folder)
        raise


class Page:
    """What the controls do.

    Args:
        jobs: of the server.
        token: of the server, for links that a browser can follow.
    """

    def __init__(self, jobs: Jobs, token: str) -> None:
        self.jobs, self.token = jobs, token

    async def restore(
        self, files: list[str] | None, reference: str | None, ids: list[str], *controls: Any
    ) -> AsyncIterator[tuple[Any, ...]]:
        """Queues the files and follows them to their end; yields status, ids and the choice of results."""
        if not files:
            raise gr.Error("Choose a photo, video or GIF, and wait until it is listed.", title="No file yet")
        if reference and len(files) > 1:
            raise gr.Error("A reference belongs to one file; restore that file alone.", title="Several files")
        words, truth = option_words(*controls), None if reference is None else Path(reference)
        try:
            new = [queue_file(self.jobs, Path(file), words, truth).id for file in files]
        except LikenessError as error:
            raise gr.Error(str(error), title="Not accepted") from error
        async for step in self._follow(new, ids):
            yield step

    async def include(self, id: str, ids: list[str]) -> AsyncIterator[tuple[Any, ...]]:
        """Restores a result's file again, with its small faces."""
        job = self.jobs.get(id)
        report = self.jobs.report(job) if job else None
        bound = include_from(report) if report else None
        if job is None or bound is None:
            raise gr.Error("This result is no longer there; restore the file again.", title="Gone")
        folder = self.jobs.folder(job)
        truth = None if job.reference is None else folder / job.reference
        words = (*job.options, f"route.skip_below={bound}")
        try:
            new = queue_file(self.jobs, folder / job.source, words, truth, job.name)
        except LikenessError as error:
            raise gr.Error(str(error), title="Not accepted") from error
        async for step in self._follow([new.id], ids):
            yield step

    async def _follow(self, new: list[str], ids: list[str]) -> AsyncIterator[tuple[Any, ...]]:
        ids, last, chosen = [*ids, *new], None, False
        clips = {id for id in new if (job := self.jobs.get(id)) and _is_clip(self.jobs.folder(job) / job.source)}
        while True:
            found = [job for id in new if (job := self.jobs.get(id))]
            done = [job for id in ids if (job := self.jobs.get(id)) and job.status == "done"]
            over = all(job.status not in UNFINISHED for job in found)
            shown = markup.progress_rows([view(self.jobs, job) for job in found], clips)
            if over and len(done) > 1:
                all_of_them = ",".join(job.id for job in done)
                shown += markup.links({"Every result (zip)": f"/v1/zip/{all_of_them}{self._key(all_of_them)}"})
            if (shown, len(done)) != last:
                last = shown, len(done)
                numbered = [(f"{n}. {job.name}", job.id) for n, job in enumerate(done, 1)]
                first = next((job.id for job in done if job.id in new), None)
                value: dict[str, Any] = (
                    {"value": first} if first and not chosen else {}
                )  # after that, the person chooses
                chosen = chosen or first is not None
                yield shown, ids, gr.Radio(numbered, visible=len(done) > 1, **value)
            if over:
                return
            await asyncio.sleep(POLL)

    def stop(self, ids: list[str]) -> None:
        """Cancels what this page started."""
        for id in ids:
            self.jobs.cancel(id)

    def show(self, id: str | None) -> tuple[Any, ...]:
        """A result: before | after, downloads, faces, and the button that includes small ones."""
        job = self.jobs.get(id) if id else None
        report = self.jobs.report(job) if job else None
        if job is None or report is None:
            return "<p>This result was deleted; restore the file again.</p>" if id else "", gr.Button(visible=False)
        kind, url = report["input"]["kind"], partial(self._url, job.id)
        if kind == "photo":
            picture = markup.slider(url("before"), url("after"), job.name)
        else:
            picture = markup.pair(url("compare"), kind, job.name)
        files = {"Download": "result", "Before | after": "compare", "Face cards": "cards", "These files (zip)": "zip"}
        there = {"result", "zip", *job.outputs} - (set() if report["faces"] else {"cards"})
        urls = {label: url(name) for label, name in files.items() if name in there}
        faces = markup.faces(report, url("cards") if "cards" in job.outputs else None)
        bound = include_from(report)
        small = gr.Button(f"Include small faces (from {bound} px)", visible=bound is not None)
        summary = markup.friendly(report["summary"])
        return f"<h2>{escape(job.name)}</h2><p>{escape(summary)}</p>{picture}{markup.links(urls)}{faces}", small

    def _url(self, id: str, name: str) -> str:
        return f"/v1/jobs/{id}/{name}{self._key(id)}"

    def _key(self, subject: str) -> str:
        return f"?key={file_key(self.token, subject)}" if self.token else ""

    def camera(self) -> str:
        """The camera's tab."""
        return markup.CAMERA.format(address=f"/v1/restore{self._key('restore')}")


def _is_clip(path: Path) -> bool:
    try:
        return kind_of(path) != "photo"  # by its first bytes; nothing is decoded
    except LikenessError:
        return False  # its worker says what is wrong


def build_page(jobs: Jobs, token: str) -> gr.Blocks:
    """The layout, and which control calls what."""
    page = Page(jobs, token)
    with gr.Blocks(title="Likeness", analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        with gr.Row():
            gr.Markdown("# Likeness\nRestores faces in photos, videos and GIFs without changing the person.")
            theme = gr.Button("Dark / light", size="sm", scale=0, min_width=110)
        with gr.Tab("Files"):
            _files_tab(page)
        with gr.Tab("Camera"):
            gr.HTML(page.camera())
        gr.HTML(markup.FOOTER.format(kept=markup.duration(page.jobs.ttl)))
        theme.click(None, js=markup.TOGGLE_THEME)
        blocks.load(None, js=markup.RECALL_THEME)
    return blocks


def _files_tab(page: Page) -> None:
    start, ids = RestorerConfig(), gr.State([])
    files = gr.File(
        file_count="multiple", file_types=TYPES, label="Photos, videos, GIFs: drop or paste", height=200,
        elem_id="lk-files",
    )  # fmt: skip
    with gr.Row():
        go = gr.Button("Restore", variant="primary", min_width=120, elem_id="lk-go")
        stop = gr.Button("Stop", min_width=120, elem_id="lk-stop")
        samples = [gr.Button(name, min_width=120, elem_classes="lk-sample") for name in SAMPLES]
    with gr.Row():
        preset = gr.Radio(["speed", "balanced", "quality"], value=start.preset, label="Preset", min_width=280)
        strength = gr.Slider(
            0, 1, start.strength, step=0.05, label="Strength", info="0: the input, 1: restored", min_width=280
        )
    with gr.Accordion("More", open=False, elem_id="lk-more"):
        fidelity = gr.Slider(
            0,
            1,
            start.expert_t.fidelity,
            step=0.05,
            label="Fidelity",
            info="0: sharper, more of it invented; 1: closest to the input",
        )
        mask = gr.Radio(["head", "face"], value=start.composite.mask, label="Replaced")
        background = gr.Dropdown(
            [AUTOMATIC, "lanczos", "waifu2x"],
            value=AUTOMATIC,
            label="Background",
            info="lanczos: enlarged; waifu2x: cleaned, too",
        )
        smallest = gr.Slider(
            10,
            100,
            start.route.skip_below,
            step=1,
            label="Smallest face (px)",
            info="width in the input; narrower ones are left alone",
        )
        repair = gr.Dropdown(
            ["none", "scratches", "all"],
            value=start.repair.name,
            label="Repair photos",
            info="all: text and stamps too",
        )
        reference = gr.File(
            file_types=TYPES, label="Reference: a sharp original, if you have one, to measure against", height=120,
            elem_id="lk-reference",
        )  # fmt: skip
    status = gr.HTML(elem_id="lk-progress")
    results = gr.Radio([], label="Results", visible=False, elem_id="lk-results")
    include = gr.Button("Include small faces", visible=False, elem_id="lk-include")
    shown = gr.HTML()

    controls = [preset, strength, fidelity, mask, background, smallest, repair]
    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    run: dict[str, Any] = {
        "fn": page.restore, "inputs": [files, reference, ids, *controls], "outputs": [status, ids, results],
        "concurrency_limit": None, **hidden,
    }  # fmt: skip
    go.click(**run)
    for button, path in zip(samples, SAMPLES.values(), strict=True):
        copied = partial(_copies, path)
        button.click(copied, None, files, **hidden).then(**run)
    include.click(page.include, [results, ids], [status, ids, results], concurrency_limit=None, **hidden)
    results.change(page.show, results, [shown, include], **hidden)
    stop.click(page.stop, ids, **hidden)


def _copies(path: Path) -> list[str]:
    return [str(shutil.copy(path, tempfile.mkdtemp()))]  # Gradio serves files of the temporary folder alone
