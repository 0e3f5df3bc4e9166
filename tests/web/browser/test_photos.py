"""Photos on the page: from the upload to the download, which equals what infer.py writes."""

from __future__ import annotations

import base64
import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from tests.web.browser.conftest import choose, download, links, shoot


def boundary(page):
    """Where the slider's line is, as a fraction of the pictures' width, from what is drawn."""
    line, picture = (page.locator(f"#lk-slider {part}").bounding_box() for part in (".lk-line", "img.lk-after"))
    return (line["x"] + line["width"] / 2 - picture["x"]) / picture["width"]


def shown_of_after(page):
    """The left border of the part of the picture after that is shown, in percent."""
    clip = page.evaluate("getComputedStyle(document.querySelector('#lk-slider .lk-after')).clipPath")
    return float(clip.split()[-1].rstrip("%)"))


def test_a_photo_from_upload_to_download(visit, people, by_infer):
    page = visit(color_scheme="light")
    shoot(page, "empty")
    choose(page, people)
    page.click("#lk-go")
    page.wait_for_selector("#lk-slider img")
    assert "1 restored, 1 too small (27 px)" in page.inner_text("#lk-status")
    cards = page.locator("#lk-faces li")
    assert "still the same person" in cards.nth(0).inner_text()
    assert cards.nth(1).inner_text() == "Face 2: left alone: too small (27 px)"
    shoot(page, "light")
    assert download(page, "Download").read_bytes() == by_infer[people].read_bytes()
    assert page.inner_text("#lk-include") == "Include small faces (from 27 px)"
    page.click("#lk-include")
    page.wait_for_selector("#lk-status :text('2 faces: 2 restored')")
    page.wait_for_selector("#lk-results :text('2. family.png')")
    page.wait_for_selector("#lk-faces :text('left alone')", state="detached")
    shoot(page, "included")


def test_one_click_shows_a_sample_under_the_slider(visit):
    page = visit(color_scheme="dark", viewport={"width": 760, "height": 900})
    page.click("text=Sample photo")
    page.wait_for_selector("#lk-slider img")
    pictures = page.locator("#lk-slider img")
    page.wait_for_function("[...document.querySelectorAll('#lk-slider img')].every(image => image.naturalWidth)")
    sizes = pictures.evaluate_all("images => images.map(i => [i.naturalWidth, i.naturalHeight])")
    assert sizes == [[1024, 1024]] * 2
    boxes = [pictures.nth(i).bounding_box() for i in (0, 1)]
    assert boxes[0] == boxes[1]
    assert boundary(page) == pytest.approx(0.5, abs=0.01)
    page.locator("#lk-slider input").scroll_into_view_if_needed()
    box = pictures.first.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, middle, steps=4)
    page.mouse.up()
    assert boundary(page) == pytest.approx(0.2, abs=0.03)
    before = shown_of_after(page)
    for _ in range(24):
        page.keyboard.press("ArrowRight")
    assert shown_of_after(page) == before + 24
    assert boundary(page) == pytest.approx((before + 24) / 100, abs=0.01)
    shoot(page, "page")


def test_a_reference_gives_figures(visit, address, people, tmp_path):
    poor = tmp_path / "poor.png"
    Image.open(people).resize((107, 75)).resize((320, 224), Image.Resampling.BICUBIC).save(poor)
    page = visit(color_scheme="dark")
    page.click("text=More")
    page.set_input_files("#lk-reference input[type=file]", str(people))
    page.wait_for_selector("#lk-reference :text('famil')")
    shoot(page, "more")
    choose(page, poor)
    page.click("#lk-go")
    page.wait_for_selector("#lk-figures")
    rows = [row.inner_text().split("\t") for row in page.query_selector_all("#lk-figures tr")]
    shown = {row[0]: [float(cell) for cell in row[1:]] for row in rows[1:]}
    psnr = peak_signal_noise_ratio(np.asarray(Image.open(people)), np.asarray(Image.open(poor)))
    assert shown["PSNR (dB)"][0] == pytest.approx(psnr, abs=0.001)
    report = page.request.get(address + links(page)["Download"].replace("result", "report")).json()["reference"]
    names = {"PSNR (dB)": "psnr", "SSIM": "ssim", "identity": "identity_cosine"}
    for label, name in names.items():
        assert shown[label] == [pytest.approx(report[side][name], abs=0.001) for side in ("input", "output")]
    assert ("LPIPS" in shown) == ("lpips" in report["output"])
    shoot(page, "dark")


def test_several_files_each_have_a_result_and_one_zip(visit, address, people, person, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(people.read_bytes()[:3000])
    page = visit()
    choose(page, person, broken, people)
    page.click("#lk-go")
    page.wait_for_selector("text=Every result (zip)")
    assert "broken.png: is damaged or incomplete" in page.inner_text("#lk-status")
    results = page.locator("#lk-results label")
    assert results.all_inner_texts() == ["1. other.png", "2. family.png"]
    alone = {}
    for result in results.all():
        result.click()
        name = result.inner_text()[3:]
        page.wait_for_selector(f"h2:text-is('{name}')")
        alone[name] = page.request.get(address + links(page)["Download"]).body()
    with zipfile.ZipFile(download(page, "Every result (zip)")) as packed:
        assert {n for n in packed.namelist() if "_restored" in n} == {
            "1 other/other_restored.png",
            "2 family/family_restored.png",
        }
        assert packed.read("1 other/other_restored.png") == alone["other.png"]
        assert packed.read("2 family/family_restored.png") == alone["family.png"]
    shoot(page, "several")


def test_a_picture_is_pasted(visit, person):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async (data) => {
            const blob = await (await fetch(`data:image/png;base64,${data}`)).blob();
            await navigator.clipboard.write([new ClipboardItem({"image/png": blob})]);
        }""",
        base64.b64encode(person.read_bytes()).decode(),
    )
    page.keyboard.press("Control+V")
    page.wait_for_selector("#lk-files :text('image')")
    page.click("#lk-go")
    page.wait_for_selector("#lk-slider img")
    assert "1 restored" in page.inner_text("#lk-status")
    result = Image.open(io.BytesIO(download(page, "Download").read_bytes()))
    assert result.size == tuple(2 * edge for edge in Image.open(person).size)


def test_two_people_at_once_see_their_own(visit, people, person):
    first, second = visit(), visit()
    for page, file in ((first, people), (second, person)):
        choose(page, file)
        page.click("#lk-go")
    for page, own, other in ((first, "family", "other"), (second, "other", "family")):
        page.wait_for_selector("#lk-slider img")
        status = page.inner_text("#lk-status")
        assert own in status
        assert other not in status
    assert links(first)["Download"] != links(second)["Download"]


def test_without_a_file_the_page_says_so(visit):
    page = visit()
    page.click("#lk-go")
    page.wait_for_selector("text=Choose a photo, video or GIF, and wait until it is listed.")
