"""The page for everybody: keyboard, names for screen readers, contrast, a phone's width."""

from __future__ import annotations

import pytest

from tests.web.browser.conftest import choose, shoot

# Every visible text with the ratio of WCAG 2.2: its colour against the backgrounds under it, blended.
CONTRAST = """() => {
    const context = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
    const rgba = (colour) => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data].map((v) => v / 255);
    };
    const over = (top, below, alpha) => top.slice(0, 3).map((v, i) => v * alpha + below[i] * (1 - alpha));
    const ground = (element) => {
        if (!element) return [1, 1, 1];
        const own = rgba(getComputedStyle(element).backgroundColor);
        return own[3] === 1 ? own.slice(0, 3) : over(own, ground(element.parentElement), own[3]);
    };
    const opacity = (element) => element ? getComputedStyle(element).opacity * opacity(element.parentElement) : 1;
    const light = (c) => c.map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
        if (!text || !element.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
        if (["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName)) continue;
        const colour = rgba(getComputedStyle(element).color), below = ground(element);
        const lights = [light(over(colour, below, colour[3] * opacity(element))), light(below)];
        found.push([text, (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05)]);
    }
    return found;
}"""
# What can be used, without the radio buttons that the arrow keys reach.
CONTROLS = """() => {
    const all = document.querySelectorAll("button, a[href], input:not([type=file]), select, textarea, video[controls]");
    const usable = (e) => e.checkVisibility({visibilityProperty: true}) && !e.disabled && e.tabIndex >= 0
        && !(e.type === "radio" && !e.checked);
    window.controls = [...all].filter(usable);
    window.reached = new Set();
    return window.controls.length;
}"""


@pytest.fixture
def full(visit, people, tmp_path):
    """`full(**options)`: a page that shows all it has: options, an error, a result."""

    def open_page(**options):
        page = visit(**options)
        broken = tmp_path / "broken.png"
        broken.write_bytes(people.read_bytes()[:3000])
        page.click("text=More")
        choose(page, broken, people)
        page.click("#lk-go")
        page.wait_for_selector("#lk-slider img")
        return page

    return open_page


def test_the_chosen_theme_is_kept(visit):
    page = visit(color_scheme="light")
    page.click("text=Dark / light")
    page.wait_for_function("document.body.classList.contains('dark')")
    page.reload()
    page.wait_for_function("document.body.classList.contains('dark')")


def test_keyboard_names_and_contrast(full):
    page = full(color_scheme="light")
    ratios = {"light": page.evaluate(CONTRAST)}
    page.click("text=Dark / light")
    page.wait_for_timeout(500)  # colours change gradually
    ratios["dark"] = page.evaluate(CONTRAST)
    for theme, found in ratios.items():
        assert len(found) > 40
        assert {text: round(ratio, 2) for text, ratio in found if ratio < 4.5} == {}, theme
    check_keyboard(page)
    check_names(page)
    page.click("role=tab[name=Camera]")
    assert {text: ratio for text, ratio in page.evaluate(CONTRAST) if ratio < 4.5} == {}
    check_keyboard(page)
    check_names(page)


def check_keyboard(page):
    count = page.evaluate(CONTROLS)
    assert count > 4
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    for _ in range(count + 30):  # wrappers can be focused, too
        page.keyboard.press("Tab")
        page.evaluate("window.reached.add(document.activeElement)")
    missed = page.evaluate("window.controls.filter(e => !window.reached.has(e)).map(e => e.outerHTML.slice(0, 200))")
    assert missed == []


def check_names(page):
    """By the tree that Chromium gives to screen readers."""
    client = page.context.new_cdp_session(page)
    nodes = client.send("Accessibility.getFullAXTree")["nodes"]
    named = {}
    for node in nodes:
        properties = {p["name"]: p["value"].get("value") for p in node.get("properties", [])}
        if (
            not node["ignored"]
            and properties.get("focusable")
            and node["role"]["value"] not in ("RootWebArea", "generic")
        ):
            named.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert sum(map(len, named.values())) > 4
    assert {role: names for role, names in named.items() if not all(names)} == {}
    assert not any("common." in name for names in named.values() for name in names)


def test_a_phone_shows_all_without_scrolling_sideways(full):
    page = full(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True, is_mobile=True)
    for name in ("phone", "phone_camera"):
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        wide = page.evaluate(
            "[...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && "
            "e.getBoundingClientRect().right > 391).map(e => e.outerHTML.slice(0, 150))"
        )
        assert wide == []
        shoot(page, name)
        page.click("role=tab[name=Camera]")
