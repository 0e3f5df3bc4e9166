"""The API: jobs, files, errors that name what to do, and nothing outside the jobs' root."""

from __future__ import annotations

import io
import json
import logging
import zipfile

import pytest
from prometheus_client.parser import text_string_to_metric_families

from likeness.errors import ConfigError
from likeness.web.guard import JsonFormatter, file_key
from likeness.web.serve import ServeConfig, check_access, settings_of

from .conftest import PNG

PHOTO = PNG + b"a picture"


def post(client, content=PHOTO, name="me.png", path="/v1/jobs", **fields):
    return client.post(path, files={"file": (name, content)}, data=fields)


def done(client, answer):
    assert answer.status_code == 202, answer.text
    id = answer.json()["id"]
    client.app.state.jobs.wait(id, 10)
    return client.get(f"/v1/jobs/{id}").json()


def test_a_job_from_upload_to_deletion(client, tmp_path):
    answer = post(client, options=json.dumps({"upscale": 2, "faces": {"min": 30}}))
    job = done(client, answer)
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["name"], job["summary"]) == (
        "done", "me.png", "2 faces: 1 restored, 1 too small (38 px)",
    )  # fmt: skip
    assert job["files"] == ["result", "cards", "report"]
    assert [f["words"] for f in job["faces"]] == [
        "restored (84 px); checked: still the same person",
        "left alone: too small (38 px)",
    ]
    (task,) = client.app.state.jobs.pool.tasks
    assert (task.config.upscale, task.config.faces.min, task.config.device) == ("2", 30.0, "cpu")
    files = f"/v1/jobs/{job['id']}"
    result = client.get(f"{files}/result")
    assert (result.content, result.headers["content-type"]) == (PHOTO, "image/png")
    assert result.headers["content-disposition"] == "inline; filename*=UTF-8''me_restored.png"
    part = client.get(f"{files}/result", headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")
    report = client.get(f"{files}/report").json()
    assert report["input"]["file"] == "me.png"
    assert str(tmp_path) not in json.dumps(report)
    assert "weights" not in report["settings"]
    with zipfile.ZipFile(io.BytesIO(client.get(f"{files}/zip").content)) as packed:
        assert packed.namelist() == ["me_restored.png", "me_faces.png"]
    assert client.get(f"{files}/compare").status_code == 404
    assert client.delete(files).status_code == 204
    assert client.get(files).status_code == 404
    assert list((tmp_path / "jobs").glob("*")) == []


def test_a_small_photo_is_answered_at_once_and_not_kept(client, tmp_path):
    answer = post(client, path="/v1/restore")
    assert (answer.status_code, answer.content) == (200, PHOTO)
    assert answer.headers["x-likeness-summary"].startswith("2 faces")
    assert list((tmp_path / "jobs").glob("*")) == []
    gif = post(client, b"GIF89a....", "a.gif", "/v1/restore")
    assert (gif.status_code, "use POST /v1/jobs" in gif.json()["detail"]) == (415, True)


OPTIONS = {
    "a misspelt one": ('{"upscle": 2}', "'upscle' is unknown; did you mean upscale?"),
    "a misspelt nested one": ('{"faces": {"mni": 2}}', "did you mean faces.min?"),
    "a value that makes no sense": ('{"strength": 2}', "strength: got 2"),
    "a wrong kind": ('{"faces.min": "wide"}', "faces.min"),
    "a list": ('{"faces.only": [1]}', "got a JSON list"),
    "no object": ("[1]", "got a JSON list"),
    "no JSON": ("{", "no JSON"),
    "deep JSON": ("[" * 9000, "no JSON"),
    "a file of the server": ('{"weights.expert_f": "/etc/passwd"}', "set by the owner"),
    "a mask of the server": ('{"repair.name": "/etc/secret.png"}', "expected none, scratches, all, glasses, mask"),
    "the device": ('{"device": "cuda"}', "set by the owner"),
    "an environment variable": ('{"upscale": "${oc.env:HOME}"}', "without ${"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_wrong_options_are_422_and_named(client, tmp_path, name):
    options, message = OPTIONS[name]
    answer = post(client, options=options)
    assert answer.status_code == 422
    assert message in answer.json()["detail"]
    assert list((tmp_path / "jobs").glob("*")) == []


HOSTILE = {
    "text": ("a.png", b"no picture"),
    "empty": ("a.png", b""),
    "SVG": ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
    "HTML": ("a.png", b"<!doctype html><script>alert(1)</script>"),
    "zip": ("a.zip", b"PK\x03\x04" + bytes(100)),
    "script": ("a.png", b"#!/bin/sh\nrm -rf /\n"),
    "PDF": ("a.jpg", b"%PDF-1.7\n"),
    "ELF": ("a.mp4", b"\x7fELF" + bytes(100)),
    "playlist": ("a.m3u8", b"#EXTM3U\nfile:///etc/passwd\n"),
    "concat": ("a.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_medium_is_refused_with_a_sentence(client, tmp_path, name):
    answer = post(client, HOSTILE[name][1], HOSTILE[name][0])
    assert answer.status_code == 415
    assert str(tmp_path) not in answer.text
    assert list((tmp_path / "jobs").glob("*")) == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../../etc/cron.d/x.png", "x.png"),
        ("C:\\Windows\\x.png", "x.png"),
        ("/absolute.png", "absolute.png"),
        ("a\x00b\n.png", "ab.png"),
        ("n" * 3000 + ".png", "n" * 96 + ".png"),
        ("..", ".."),
        ("job.json", "job.json"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),
    ],
)
def test_file_names_never_become_paths(client, tmp_path, name, shown):
    before = sorted(tmp_path.rglob("*"))
    job = done(client, post(client, name=name))
    assert job["status"] == "done"
    assert job["name"].replace("%00", "").replace("%0A", "") == shown
    written = {p.name for p in tmp_path.rglob("*") if p.is_file() and p not in before}
    assert written <= {"job.json", "input.png", "input", "input_faces.png", "input_report.json"}


def test_a_damaged_file_is_a_failed_job_with_a_sentence(client, tmp_path):
    job = done(client, post(client, PNG + b"bad", "broken.png"))
    assert (job["status"], job["error"]) == (
        "failed", "broken.png: is damaged or incomplete; get or export it again",
    )  # fmt: skip
    assert client.get(f"/v1/jobs/{job['id']}/result").status_code == 404
    assert post(client, PNG + b"bad", path="/v1/restore").status_code == 422


def test_a_full_queue_is_429_and_jobs_know_their_place(client):
    answers = [post(client, PNG + b"wait") for _ in range(4)]
    while client.get("/v1/jobs/" + answers[0].json()["id"]).json()["status"] == "pending":
        pass
    answers.append(post(client, PNG + b"wait"))
    codes = [a.status_code for a in answers]
    assert codes.count(202) in (3, 4)
    full = post(client) if codes.count(202) == 4 else answers[codes.index(429)]
    assert (full.status_code, full.headers["retry-after"]) == (429, "10")
    accepted = [a.json()["id"] for a in answers if a.status_code == 202]
    views = [client.get(f"/v1/jobs/{id}").json() for id in accepted]
    assert [v["position"] for v in views] == [None, *range(len(views) - 1)]
    assert views[0]["progress"] == {"done": 1, "total": 4, "faces": 2}
    assert client.get(f"/v1/jobs/{accepted[0]}/result").status_code == 409
    client.delete(f"/v1/jobs/{accepted[1]}")
    client.app.state.jobs.pool.go.set()
    assert client.app.state.jobs.wait(accepted[-1], 10).status == "done"


def test_events_end_with_the_job(client):
    id = post(client, PNG + b"wait").json()["id"]
    client.app.state.jobs.pool.go.set()
    with client.stream("GET", f"/v1/jobs/{id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    assert events[-1]["status"] == "done"
    assert all(event["id"] == id for event in events)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_upload_is_413(serve, chunked):
    client = serve(upload_mb=1)
    body = PNG + bytes(2**21)
    if chunked:
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        parts = iter([head, body, b"\r\n--x--\r\n"])
        answer = client.post("/v1/jobs", content=parts, headers={"Content-Type": "multipart/form-data; boundary=x"})
    else:
        answer = post(client, body)
    assert (answer.status_code, "larger than 1 MB" in answer.text) == (413, True)


def test_without_the_token_nothing_but_health_answers(serve):
    client = serve(token="secret")
    with_token = {"Authorization": "Bearer secret"}
    for path in ("/v1/jobs/x", "/metrics", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"Authorization": "Bearer secreT"}).status_code == 401
        assert client.get(path, headers=with_token).status_code != 401
    assert post(client).status_code == 401
    assert client.get("/healthz").status_code == 200
    id = client.post("/v1/jobs", files={"file": ("a.png", PHOTO)}, headers=with_token).json()["id"]
    client.app.state.jobs.wait(id, 10)
    key = file_key("secret", id)
    assert client.get(f"/v1/jobs/{id}/result?key={key}").status_code == 200
    assert client.get(f"/v1/jobs/{id}?key={key}").status_code == 401
    assert client.get(f"/v1/jobs/{id}/result?key={file_key('other', id)}").status_code == 401


def test_other_sites_and_rebound_names_are_refused(client):
    assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 421
    assert post(client).status_code == 202
    foreign = client.post("/v1/jobs", files={"file": ("a.png", PHOTO)}, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    preflight = client.options(
        "/v1/jobs", headers={"Origin": "https://e.example", "Access-Control-Request-Method": "GET"}
    )
    assert "access-control-allow-origin" not in preflight.headers


def test_answers_carry_strict_headers_and_an_id(client):
    answer = client.get("/v1/jobs/" + "0" * 32, headers={"X-Request-ID": "abc-1"})
    assert answer.status_code == 404
    assert answer.headers["x-request-id"] == "abc-1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.get("/healthz", headers={"X-Request-ID": "a b\n"}).headers["x-request-id"] != "a b"


def test_health_metrics_and_docs(client):
    assert client.get("/readyz").json() == {"workers": 1}
    client.app.state.jobs.pool.ready = 0
    assert client.get("/readyz").status_code == 503
    done(client, post(client))
    done(client, post(client, PNG + b"bad"))
    figures = {
        (sample.name, sample.labels.get("status")): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }
    assert [figures[("likeness_jobs", s)] for s in ("done", "failed", "running")] == [1, 1, 0]
    assert [figures[("likeness_job_seconds_count", s)] for s in ("done", "failed", "cancelled")] == [1, 1, 0]
    assert 0 < figures[("likeness_job_seconds_sum", "done")] < 10
    assert (figures[("likeness_workers_ready", None)], figures[("likeness_workers_replaced_total", None)]) == (0, 0)
    page = client.get("/docs").text
    assert "https://" not in page.replace("https://fastapi.tiangolo.com/img/favicon.png", "")
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/restore", "/v1/jobs", "/v1/jobs/{id}/events", "/v1/jobs/{id}/result"} <= paths.keys()


def test_log_lines_are_json():
    record = logging.LogRecord("likeness", logging.INFO, "", 0, "%s done", ("a",), None)
    record.status = 200
    line = json.loads(JsonFormatter().format(record))
    assert (line["message"], line["level"], line["status"]) == ("a done", "info", 200)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.org", "::"])
def test_an_open_server_is_refused(host):
    with pytest.raises(ConfigError, match="LIKENESS_TOKEN"):
        check_access(ServeConfig(host=host), "")
    check_access(ServeConfig(host=host), "token")
    check_access(ServeConfig(host=host, insecure=True), "")
    for local in ("127.0.0.1", "localhost", "::1"):
        check_access(ServeConfig(host=local), "")


def test_settings_and_options_are_told_apart():
    settings, rest = settings_of(["port=8000", "workers=2", "background.name=lanczos"])
    assert (settings.port, settings.workers, rest) == (8000, 2, ["background.name=lanczos"])
    for words, message in ((["port=x"], "port=x"), (["workers=0"], "workers: got 0"), (["upscle=2"], "upscle")):
        with pytest.raises(ConfigError, match=message):
            settings_of(words)
