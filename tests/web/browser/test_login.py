"""With a token the page asks for it, and everything that it shows afterwards loads."""

from __future__ import annotations

import pytest

from tests.web.browser.conftest import WAIT, choose, download, links, serving, shoot

TOKEN = "a-long-token-of-this-test"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("guarded"), LIKENESS_TOKEN=TOKEN) as url:
        yield url


def log_in(page, password):
    page.locator("input").nth(0).fill("anybody")
    page.locator("input[type=password]").fill(password)
    page.click("button:has-text('Login')")


def test_a_photo_behind_the_login(browser, guarded, person):
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(guarded)
    page.wait_for_selector("input[type=password]")
    assert page.locator("#lk-go").count() == 0
    shoot(page, "login")
    log_in(page, "wrong")
    page.wait_for_selector("text=Incorrect")
    log_in(page, TOKEN)
    page.wait_for_selector("#lk-go")
    choose(page, person)
    page.click("#lk-go")
    page.wait_for_selector("#lk-slider img")
    page.wait_for_function("[...document.querySelectorAll('#lk-slider img')].every(image => image.naturalWidth)")
    assert download(page, "Download").stat().st_size > 10_000
    address = links(page)["Download"]
    assert TOKEN not in page.content()
    context.close()
    stranger = browser.new_context().request  # no cookie: the key in the link is enough, for this job alone
    assert stranger.get(guarded + address).status == 200
    assert stranger.get(guarded + address.partition("?")[0]).status == 401
    id = address.split("/")[3]
    assert stranger.get(guarded + address.replace(id, id[::-1])).status == 401
