"""What the page says and where its links lead, without a browser; tests/web/browser has one."""

from __future__ import annotations

import io
import zipfile

import pytest

from likeness.pipeline.config import RestorerConfig
from likeness.web import markup
from likeness.web.guard import file_key
from likeness.web.page import option_words
from likeness.web.views import JobProgress, JobView

HEADER = {"Authorization": "Bearer secret"}


def job_view(status, position=None, done=0, total=None, faces=0, seconds=0.0, error=None, summary=None):
    progress = JobProgress(done=done, total=total, faces=faces)
    return JobView(
        id="a", name="<b>.mp4", status=status, position=position, progress=progress, seconds=seconds, error=error,
        summary=summary, faces=[], files=[],
    )  # fmt: skip


ROWS = {
    "next": (job_view("pending", 0), "next in the queue"),
    "third": (job_view("pending", 2), "in the queue, 2 files before it"),
    "begun": (job_view("running"), "looking for faces<progress"),
    "frames": (job_view("running", None, 5, 20, 1, 6.0), "5 of 20 frames, 1 face so far, about 20 s left<progress"),
    "minutes": (job_view("running", None, 1, 101, 2, 1.5), "1 of 101 frames, 2 faces so far, about 3 min left<"),
    "no total": (job_view("running", None, 7), "7 frames, 0 faces so far<progress"),
    "done": (job_view("done", summary="1 face: 1 too small (28 px); route.skip_below=25 includes small ones"),
             "1 face: 1 too small (28 px)</div>"),
    "failed": (job_view("failed", error="<b>.mp4: is empty"), '<span class="lk-error">is empty</span>'),
    "stopped": (job_view("cancelled"), '<span class="lk-error">stopped</span>'),
}  # fmt: skip


@pytest.mark.parametrize("case", ROWS)
def test_a_file_is_described_in_words(case):
    view, words = ROWS[case]
    row = markup.progress_rows([view], {"a"})
    assert f"<b>&lt;b&gt;.mp4</b>: {words}" in row
    assert ('aria-busy="true"' in row) == (view.status in ("pending", "running"))


def test_steps_of_a_photo_are_tiles():
    row = markup.progress_rows([job_view("running", None, 3, 4, 0, 3.0)], set())
    assert "3 of 4 background tiles, about 5 s left" in row


def test_names_of_clients_are_escaped():
    for html in (
        markup.slider("/a", "/b", '"><script>'),
        markup.pair("/c", "video", '"><script>'),
        markup.pair("/c", "gif", '"><script>'),
    ):
        assert "<script>" not in html
        assert '"&gt' not in html


def test_only_changed_controls_become_options():
    start = RestorerConfig()
    usual = (start.preset, start.strength, start.expert_t.fidelity, start.composite.mask, "automatic",
             start.route.skip_below, "none")  # fmt: skip
    assert option_words(*usual) == ("compare=yes",)
    words = option_words("speed", 0.5, 1.0, "face", "lanczos", 20, "scratches")
    assert words == ("compare=yes", "preset=speed", "strength=0.5", "expert_t.fidelity=1.0", "composite.mask=face",
                     "background.name=lanczos", "route.skip_below=20",
                     "repair.name=scratches")  # fmt: skip


def accepted(client, name, content):
    answer = client.post("/v1/jobs", files={"file": (name, b"\x89PNG\r\n\x1a\n" + content)}, headers=HEADER)
    id = answer.json()["id"]
    client.app.state.jobs.wait(id, 10)
    return id


def test_one_zip_holds_the_results_of_several_jobs(serve):
    client = serve(token="secret")
    ids = [accepted(client, "a.png", b"1"), accepted(client, "../a.png", b"2")]
    joined = ",".join(ids)
    answer = client.get(f"/v1/zip/{joined}?key={file_key('secret', joined)}")
    assert int(answer.headers["content-length"]) == len(answer.content)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert packed.testzip() is None
        assert packed.namelist() == ["1 a/a_restored.png", "1 a/a_faces.png", "2 a/a_restored.png", "2 a/a_faces.png"]
        assert packed.read("2 a/a_restored.png").endswith(b"2")
    for key in (file_key("secret", ids[0]), file_key("other", joined), ""):
        assert client.get(f"/v1/zip/{joined}?key={key}").status_code == 401
    assert client.get(f"/v1/zip/{ids[0]},{'0' * 32}", headers=HEADER).status_code == 404
    bad = accepted(client, "bad.png", b"bad")
    assert client.get(f"/v1/zip/{ids[0]},{bad}", headers=HEADER).status_code == 404


def test_the_camera_needs_its_own_key(serve):
    client = serve(token="secret")
    picture = {"file": ("camera.png", b"\x89PNG\r\n\x1a\n")}
    assert client.post(f"/v1/restore?key={file_key('secret', 'restore')}", files=picture).status_code == 200
    assert client.post(f"/v1/restore?key={file_key('secret', '0' * 32)}", files=picture).status_code == 401
    assert client.post(f"/v1/jobs?key={file_key('secret', 'restore')}", files=picture).status_code == 401


def test_the_pages_own_policy_names_no_other_host(serve):
    policy = serve().get("/healthz").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "//" not in policy
    assert "*" not in policy
