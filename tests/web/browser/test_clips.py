"""Clips on the page: progress, two players in step, sound; GIFs; the camera."""

from __future__ import annotations

import re

import av
import numpy as np
import pytest
from PIL import Image

from tests.web.browser.conftest import choose, download, shoot

WATCH = """() => { window.seen = []; new MutationObserver(() => {
    const status = document.querySelector('#lk-status');
    if (status) window.seen.push(status.innerText);
}).observe(document.body, {childList: true, subtree: true, characterData: true}); }"""


def players(page, expression):
    """The expression for every player, before first."""
    return page.locator("#lk-pair video").evaluate_all(f"players => players.map(p => {expression})")


def wait_for(page, expression):
    page.wait_for_function(f"[...document.querySelectorAll('#lk-pair video')].every(p => {expression})")


def sound_of(path):
    with av.open(str(path)) as file:
        return np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], 1)


def test_a_clip_with_sound(visit, film, person, by_infer, tmp_path):
    page = visit(color_scheme="light")
    page.evaluate(WATCH)
    choose(page, film, person, person)
    page.click("#lk-go")
    page.wait_for_selector("text=Every result (zip)")
    seen = "\n".join(page.evaluate("window.seen"))
    assert re.search(r"film\.mp4: \d+ of 12 frames, 1 face so far, about \d+ s left", seen)
    assert "other.png: next in the queue" in seen
    assert "other.png: in the queue, 1 file before it" in seen
    page.click("#lk-results :text('film')")
    wait_for(page, "p.readyState >= 2")
    assert players(page, "[p.muted, p.currentTime]") == [[True, 0], [False, 0]]
    left, right = (page.locator("#lk-pair video").nth(i).bounding_box() for i in (0, 1))
    assert right == pytest.approx(left | {"x": right["x"]}, abs=0.1)
    assert right["x"] > left["x"] + left["width"]
    assert left["width"] / left["height"] == pytest.approx(256 / 224, rel=0.01)
    page.locator("#lk-pair video").nth(0).evaluate("player => { player.currentTime = 0.5 }")
    wait_for(page, "!p.seeking && Math.abs(p.currentTime - 0.5) < 0.001")
    shoot(page, "clip")
    page.locator("#lk-pair video").nth(1).evaluate("player => player.play()")
    wait_for(page, "!p.paused && p.currentTime !== 0.5")
    page.locator("#lk-pair video").nth(0).evaluate("player => player.pause()")
    wait_for(page, "p.paused && !p.seeking")
    page.wait_for_function(
        "(([a, b]) => Math.abs(a.currentTime - b.currentTime) <= 0.002)(document.querySelectorAll('#lk-pair video'))"
    )
    result = download(page, "Download")
    assert result.read_bytes() == by_infer[film].read_bytes()
    given, kept = sound_of(film), sound_of(result)
    assert np.abs(given).max() > 0.01
    assert np.array_equal(given, kept)


def test_a_gif_shows_both_sides(visit, people, tmp_path):
    gif = tmp_path / "short.gif"
    picture = np.asarray(Image.open(people))
    frames = [Image.fromarray(np.roll(picture, 4 * i, 1)).quantize(64) for i in range(3)]
    frames[0].save(gif, save_all=True, append_images=frames[1:], duration=80, loop=0)
    page = visit()
    choose(page, gif)
    page.click("#lk-go")
    page.wait_for_selector("#lk-pair img")
    page.wait_for_function("[...document.querySelectorAll('#lk-pair img')].every(image => image.style.aspectRatio)")
    boxes = [page.locator("#lk-pair img").nth(i).bounding_box() for i in (0, 1)]
    assert [b["width"] / b["height"] for b in boxes] == [pytest.approx(320 / 224, rel=0.01)] * 2
    assert Image.open(download(page, "Download")).n_frames == 3
    shoot(page, "gif")


def test_the_camera_shows_the_newest_frame_restored(visit):
    page = visit(color_scheme="dark")
    page.click("role=tab[name=Camera]")
    page.click("#lk-camera-toggle")
    page.wait_for_function("document.querySelector('#lk-camera-result').naturalWidth == 320")
    first = page.get_attribute("#lk-camera-result", "src")
    page.wait_for_function(f"document.querySelector('#lk-camera-result').src != '{first}'")
    status = page.inner_text("#lk-camera-status")
    told = re.fullmatch(r"1 face: 1 restored\. ([\d.]+) s behind, ([\d.]+) frames/s, (\d+) frames dropped", status)
    assert told, status
    assert float(told[1]) < 20
    shoot(page, "camera")
    stream = page.evaluate_handle("document.querySelector('#lk-camera-before').srcObject")
    page.click("#lk-camera-toggle")
    assert stream.evaluate("stream => stream.active") is False
    assert page.inner_text("#lk-camera-toggle") == "Start camera"
