"""The pictures of the page, docs/images/page*.png: ``python docs/screenshots.py``.

The page is docs/page.html, in headless Chromium: as it comes, while it learns, in a low window
and on a phone; page-snake.png is of a run of Snake that is trained here first.
"""

import base64
import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the package beside it, not one that is installed

from minidqn import command, page  # noqa: E402
from tests.browser import Browser, find  # noqa: E402

SNAKE = "--game snake --grid-size 6 --gamma 0.9 --epsilon 0.1 --epochs 300 --no-images --out"
EPOCH = 150
"""Of the learning in the page, at which its picture is taken."""


def opened(browser, path, width, height, steps=4, **how):
    """Open a page that does not play by itself, and play some steps of a game."""
    browser.open(path, width, height, prefers_reduced_motion="reduce", **how)
    while browser.evaluate("document.body.dataset.ready") is None:
        time.sleep(0.1)
    browser.evaluate("page.chances = new Random(1), newGame()")  # the same game each time
    for _ in range(steps):
        browser.click("#step")
    browser.mouse("Moved", 0, 0)
    browser.evaluate("document.activeElement.blur(), scrollTo(0, 0)")


def save(browser, name):
    """Write a picture of the window, in 256 colours."""
    data = browser.send("Page.captureScreenshot", format="png")["data"]
    picture = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    # One round of k-means brings the large areas back to their very colours.
    how = {"method": Image.Quantize.MAXCOVERAGE, "kmeans": 1, "dither": Image.Dither.NONE}
    picture.quantize(256, **how).save(ROOT / "docs/images" / name, optimize=True)


def main():
    browser = Browser(find())
    try:
        take(browser)
    finally:
        browser.close()


def take(browser):
    """All pictures, one after the other."""
    example = ROOT / "docs/page.html"
    opened(browser, example, 1280, 720)
    save(browser, "page.png")
    opened(browser, example, 1280, 600)
    save(browser, "page-low.png")
    opened(browser, example, 390, 844, touch=True)
    save(browser, "page-phone.png")
    opened(browser, example, 1280, 720, prefers_color_scheme="dark")
    browser.evaluate("byId('scratch').click()")
    while browser.evaluate("page.live.epoch") < EPOCH:
        time.sleep(0.05)
    save(browser, "page-dark.png")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "snake")
        command.main([*SNAKE.split(), str(run)])
        page.main([str(run)])
        opened(browser, run / "page.html", 1280, 720, steps=12)
    save(browser, "page-snake.png")


if __name__ == "__main__":
    main()
