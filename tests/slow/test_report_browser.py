# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a report in a real Chromium: what is drawn is there, nothing is asked for, and everybody can read it."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._report._write import write_reports
from ansible_collections.holdfast.ops.tests.support.browser import Browser, Page, chromium
from ansible_collections.holdfast.ops.tests.support.maintenance import past, sample_run, with_texts

HOSTILE = """</style></title><script>document.title = 'owned'</script>
<img src="http://127.0.0.1:PORT/x.png" onerror="document.title='owned'">
<style>@import "http://127.0.0.1:PORT/x.css"; * { background: url(http://127.0.0.1:PORT/y.png) }</style>
<link rel="stylesheet" href="http://127.0.0.1:PORT/z.css">'"><iframe src=http://127.0.0.1:PORT/></iframe>"""
"""A text that would run, load and restyle, each in more than one way; PORT is one that somebody listens at."""

CONTRASTS = """
(() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const over = (top, below) => {
    const alpha = top[3] ?? 1;
    return [0, 1, 2].map(i => top[i] * alpha + below[i] * (1 - alpha));
  };
  const backgroundOf = element => element
    ? over(parse(getComputedStyle(element).backgroundColor), backgroundOf(element.parentElement)) : [255, 255, 255];
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest('title, desc')) continue;
    const style = getComputedStyle(element);
    const colour = parse(element.closest('svg') ? style.fill : style.color);
    found.push([contrast(colour, backgroundOf(element)), 4.5, walker.currentNode.data.trim().slice(0, 40)]);
  }
  for (const each of document.querySelectorAll('.bar .fill, .line .way, .icon, .line .last')) {
    const style = getComputedStyle(each);
    const colour = parse(style.fill === 'none' ? style.stroke : style.fill);
    found.push([contrast(colour, backgroundOf(each.parentElement)), 3, each.className.baseVal]);
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page with a month of figures."""
    directory = tmp_path_factory.mktemp("reports")
    past(directory, days=30)
    return Path(write_reports(sample_run(), str(directory), ["html"])["html"]).as_uri()


class Listener:
    """A port of this machine, and what it was asked for."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.hostile = HOSTILE.replace("PORT", str(sock.getsockname()[1]))

    def asked(self, seconds: float = 0.0) -> bytes:
        """What has come, or comes within so many seconds; who only connects beforehand has not asked for anything."""
        end = time.monotonic() + seconds
        with contextlib.ExitStack() as stack:
            waiting = [self._socket]
            while ready := select.select(waiting, [], [], max(0.0, end - time.monotonic()))[0]:
                for each in ready:
                    if each is self._socket:
                        waiting.append(stack.enter_context(each.accept()[0]))
                    elif heard := each.recv(1000):
                        return heard
                    else:
                        waiting.remove(each)
        return b""


@pytest.fixture
def listener() -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield Listener(sock)


@pytest.fixture
def page(browser: Browser) -> Page:
    return Page(browser)


def boxes(page: Page, selector: str) -> list[dict[str, float]]:
    """Width and height of what is drawn, in the units of its drawing."""
    found: list[dict[str, float]] = page.evaluate(
        f"[...document.querySelectorAll({selector!r})].map(each => each.getBBox())"
        ".map(({width, height}) => ({width, height}))"
    )
    return found


def test_every_plot_is_drawn(page: Page, report: str) -> None:
    page.open(report)
    lines = boxes(page, "svg.line path.way")
    assert len(lines) == 6  # one for each figure
    assert all(box["width"] > 200 and box["height"] > 20 for box in lines), lines
    assert len(boxes(page, "svg.line circle")) == 6 * 31
    bars = boxes(page, "svg.bar rect.fill")
    assert len(bars) == 8 + 4 + 3 + 3 + 24  # one for each row of a table with a plotted column
    assert all(box["width"] > 0 and box["height"] > 0 for box in bars[:18]), bars
    columns = boxes(page, "svg:not(.bar) > g > rect.fill")
    assert len(columns) == 24  # one for each hour
    assert [box["height"] for box in columns][17:20] == pytest.approx([41 / 3.88, 100, 112 / 3.88], abs=0.01)
    # On the screen too: a bar is as long as its value is large.
    lengths = page.evaluate(
        "[...document.querySelectorAll('#task-1-table-1 + .scroll .fill')].map(e => e.getBoundingClientRect().width)"
    )
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > 50 and lengths[1] == pytest.approx(lengths[0] / 2**1.7, rel=0.05)


def test_a_line_can_be_read_as_a_table(page: Page, report: str) -> None:
    page.open(report)
    assert page.evaluate("document.querySelectorAll('.figure details').length") == 6
    page.evaluate("document.querySelector('.figure summary').click()")
    rows = page.evaluate(
        "[...document.querySelectorAll('.figure details')[0].querySelectorAll('tr')].map(e => e.innerText)"
    )
    assert len(rows) == 32
    assert rows[1].split("\t") == ["2026-11-22 06:30 UTC", "13.4 GiB"]
    names = page.evaluate("[...document.querySelectorAll('svg.line title:first-child')].map(e => e.textContent)")
    assert names[0] == "Size of the database over time"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_asked_for_and_nothing_complained_of(page: Page, report: str, scheme: str) -> None:
    page.open(report, scheme=scheme)
    assert [each for each in page.requested if not each.startswith("data:")] == [report]
    assert page.complaints == []


def test_a_page_of_hostile_texts_does_nothing(page: Page, tmp_path: Path, listener: Listener) -> None:
    path = Path(write_reports(with_texts(sample_run(), listener.hostile), str(tmp_path), ["html"])["html"])
    page.open(path.as_uri())
    assert [each for each in page.requested if not each.startswith("data:")] == [path.as_uri()]
    assert page.complaints == []
    assert page.evaluate("document.querySelectorAll('script, img, iframe, body style').length") == 0
    assert page.evaluate("document.querySelector('h1').textContent") == listener.hostile
    assert listener.asked() == b""


def test_the_browser_refuses_what_an_unescaped_value_would_do(
    page: Page, report: str, tmp_path: Path, listener: Listener
) -> None:
    """The second wall: the page's own policy, with the markup smuggled in behind the back of the template."""
    written = Path(unquote(urlsplit(report).path)).read_text(encoding="utf-8")
    smuggled, unguarded = tmp_path / "smuggled.html", tmp_path / "unguarded.html"
    smuggled.write_text(written.replace("</h1>", f"</h1>{listener.hostile}"), encoding="utf-8")
    unguarded.write_text(smuggled.read_text(encoding="utf-8").replace("Content-Security-Policy", "X"), encoding="utf-8")
    page.open(smuggled.as_uri())
    assert page.evaluate("document.querySelectorAll('h1 ~ img, h1 ~ script, h1 ~ iframe').length") == 3
    assert page.evaluate("document.title") != "owned"
    assert len([text for text in page.complaints if "Content Security Policy" in text]) >= 5
    assert listener.asked() == b""
    # Without the policy all of it happens, so what was asserted above could have failed.
    page.navigate(unguarded.as_uri())
    assert listener.asked(60).startswith(b"GET /")


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
@pytest.mark.parametrize("hostile", [False, True])
def test_no_width_scrolls_sideways(page: Page, report: str, tmp_path: Path, width: int, hostile: bool) -> None:
    address = report
    if hostile:
        run = with_texts(sample_run(), "an_endless_name_without_a_joint" * 20)
        address = Path(write_reports(run, str(tmp_path), ["html"])["html"]).as_uri()
    page.open(address, width=width, height=800)
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What is wider than that scrolls in itself, and can be reached with the keyboard.
    assert page.evaluate("[...document.querySelectorAll('.scroll')].every(e => e.tabIndex === 0)")


def test_on_a_telephone_findings_and_bars_are_seen_at_once(page: Page, report: str) -> None:
    page.open(report, width=375, height=800)
    assert page.evaluate("document.querySelector('.finding').getBoundingClientRect().top") < 800
    right = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.bar')].map(e => e.getBoundingClientRect().right))"
    )
    assert right <= 375
    assert page.evaluate("getComputedStyle(document.body).fontSize") == "16px"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_everything_has_enough_contrast(page: Page, report: str, scheme: str, width: int) -> None:
    page.open(report, width=width, scheme=scheme)
    found: list[list[Any]] = page.evaluate(CONTRASTS)
    assert len(found) > 200
    assert [each for each in found if each[0] < each[1]] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(int(part) for part in ground[4:-1].split(",")) < 64) == (scheme == "dark")


def test_it_prints_in_light_without_what_only_a_screen_needs(page: Page, report: str) -> None:
    page.open(report, width=794, scheme="dark", media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.evaluate("document.querySelector('nav').checkVisibility()")
    assert page.evaluate("document.documentElement.scrollWidth") <= 794
    assert page.pdf().startswith(b"%PDF-")


def test_a_click_selects_the_whole_command(page: Page, report: str) -> None:
    page.open(report)
    box = page.evaluate(
        "(() => { const r = document.querySelectorAll('.command code')[2].getBoundingClientRect();"
        " return [r.x + 5, r.y + r.height / 2]; })()"
    )
    for kind in ("mousePressed", "mouseReleased"):
        page.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
    selected = page.evaluate("getSelection().toString()")
    assert selected == "du --one-file-system --human-readable --max-depth=2 /srv | sort -h | tail"
