"""The page: Gradio Blocks over the same jobs as the API. Gradio only carries paths; workers decode."""

from __future__ import annotations

import asyncio
import hmac
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from likeness.errors import LikenessError
from likeness.media.naming import MEDIA_SUFFIXES
from likeness.pipeline.config import RestorerConfig
from likeness.web import markup
from likeness.web.guard import file_key
from likeness.web.jobs import RESULTS, UNFINISHED, Job, Jobs, stored_suffix
from likeness.web.views import include_from, view
from likeness.web.work import AFTER, BEFORE

SAMPLE = Path(__file__).with_name("sample.jpg")  # NASA portrait (public domain), degraded
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
        ssr_mode=False,
        enable_monitoring=False,
        css=markup.CSS,
        theme=gr.themes.Default(
            primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ),
    )


def option_words(
    preset: str, strength: float, fidelity: float, mask: str, background: str, smallest: float
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
            raise gr.Error("Choose a photo, video or GIF first.", title="No file")
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
        ids, last = [*new, *ids], None
        while True:
            found = [job for id in new if (job := self.jobs.get(id))]
            shown = markup.progress_rows([view(self.jobs, job) for job in found])
            over = all(job.status not in UNFINISHED for job in found)
            if over:
                break
            if shown != last:
                last = shown
                yield shown, ids, gr.skip()
            await asyncio.sleep(POLL)
        done = [job for id in ids if (job := self.jobs.get(id)) and job.status == "done"]
        first = next((job.id for job in done if job.id in new), done[0].id if done else None)
        numbered = [(f"{len(done) - n}. {job.name}", job.id) for n, job in enumerate(done)]
        yield shown, ids, gr.Radio(numbered, value=first, visible=len(done) > 1)

    def stop(self, ids: list[str]) -> None:
        """Cancels what this page started."""
        for id in ids:
            self.jobs.cancel(id)

    def show(self, id: str | None) -> tuple[Any, ...]:
        """A result: slider, clip, faces, button and downloads."""
        job = self.jobs.get(id) if id else None
        report = self.jobs.report(job) if job else None
        if job is None or report is None:
            return gr.ImageSlider(visible=False), "", "", gr.Button(visible=False), ""
        photo, bound = report["input"]["kind"] == "photo", include_from(report)
        compare = self._url(job, "compare")
        media = "" if photo or "compare" not in job.outputs else markup.clip(compare, report["input"]["kind"], job.name)
        small = gr.Button(f"Include small faces (from {bound} px)", visible=bound is not None)
        files = {"Download": "result", "Before | after": "compare", "Face cards": "cards", "All (zip)": "zip"}
        urls = {
            label: self._url(job, name) for label, name in files.items() if name != "compare" or name in job.outputs
        }
        cards = self._url(job, "cards") if "cards" in job.outputs else None
        return self._slider(job, photo), media, markup.faces(report, cards), small, markup.links(urls)

    def _slider(self, job: Job, photo: bool) -> gr.ImageSlider:
        if not photo:
            return gr.ImageSlider(visible=False)
        folder = Path(tempfile.mkdtemp())  # Gradio serves files of the temporary folder alone
        pair = [str(shutil.copy(self.jobs.folder(job) / RESULTS / name, folder)) for name in (BEFORE, AFTER)]
        return gr.ImageSlider((pair[0], pair[1]), visible=True)

    def _url(self, job: Job, name: str) -> str:
        key = f"?key={file_key(self.token, job.id)}" if self.token else ""
        return f"/v1/jobs/{job.id}/{name}{key}"


def build_page(jobs: Jobs, token: str) -> gr.Blocks:
    """The layout, and which control calls what."""
    page, start = Page(jobs, token), RestorerConfig()
    with gr.Blocks(title="Likeness", analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        ids = gr.State([])
        with gr.Row():
            gr.Markdown("# Likeness\nRestores faces in photos, videos and GIFs without changing the person.")
            theme = gr.Button("Dark / light", size="sm", scale=0, min_width=110)
        files = gr.File(
            file_count="multiple", file_types=TYPES, label="Photos, videos or GIFs", height=150, elem_id="lk-files"
        )
        with gr.Row():
            go = gr.Button("Restore", variant="primary", elem_id="lk-go")
            stop = gr.Button("Stop", elem_id="lk-stop")
            sample = gr.Button("Try a sample", elem_id="lk-sample")
        with gr.Row():
            preset = gr.Radio(["speed", "balanced", "quality"], value=start.preset, label="Preset")
            strength = gr.Slider(0, 1, start.strength, step=0.05, label="Strength", info="0: the input, 1: restored")
        with gr.Accordion("More", open=False, elem_id="lk-more"):
            fidelity = gr.Slider(
                0, 1, start.expert_t.fidelity, step=0.05, label="Fidelity", info="1: closest to the input"
            )
            mask = gr.Radio(["head", "face"], value=start.composite.mask, label="What is pasted")
            background = gr.Dropdown(
                [AUTOMATIC, "lanczos", "waifu2x"], value=AUTOMATIC, label="Background", info="lanczos: enlarged only"
            )
            smallest = gr.Slider(
                20, 100, start.route.skip_below, step=5, label="Smallest face (px)", info="twice the eye distance"
            )
            reference = gr.File(
                file_types=TYPES, label="Reference: the true picture or clip, to compare with", height=120,
                elem_id="lk-reference",
            )  # fmt: skip
        status = gr.HTML()
        results = gr.Radio([], label="Results", visible=False, elem_id="lk-results")
        slider = gr.ImageSlider(
            label="Before | after", visible=False, interactive=False, type="filepath", buttons=["fullscreen"],
            elem_id="lk-slider",
        )  # fmt: skip
        media, links = gr.HTML(), gr.HTML()
        include = gr.Button("Include small faces", visible=False, elem_id="lk-include")
        faces = gr.HTML()
        gr.HTML(markup.FOOTER)

        controls = [preset, strength, fidelity, mask, background, smallest]
        hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        shown = [slider, media, faces, include, links]
        many: dict[str, Any] = {"concurrency_limit": None, **hidden}
        go.click(page.restore, [files, reference, ids, *controls], [status, ids, results], **many).then(
            page.show, results, shown, **hidden
        )
        include.click(page.include, [results, ids], [status, ids, results], **many).then(
            page.show, results, shown, **hidden
        )
        results.input(page.show, results, shown, **hidden)
        stop.click(page.stop, ids, **hidden)
        sample.click(lambda: [str(shutil.copy(SAMPLE, tempfile.mkdtemp()))], None, files, **hidden)
        theme.click(None, js="() => { document.body.classList.toggle('dark') }")
    return blocks
