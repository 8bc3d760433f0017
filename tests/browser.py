"""A real browser for tests: headless Chromium, driven over the DevTools protocol.

Messages are JSON that ends with a zero byte, on two pipes that the browser has as
descriptors 3 (it reads) and 4 (it writes); no port is opened, and nothing but the
standard library is needed. See https://chromedevtools.github.io/devtools-protocol/.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NAMES += ("microsoft-edge", "msedge")
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
FLAGS += ["--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"]
# The browser wants its pipes as 3 and 4, whatever numbers they have here.
WRAPPER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
PATIENCE = 60
"""Seconds that are waited for an answer."""
CODES = {"Tab": 9, "Enter": 13, " ": 32, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36}
CODES |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


def find():
    """The browser's path, or None if there is none that can be driven here."""
    if os.name == "nt":  # descriptors 3 and 4 are not passed on there
        return None
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A running browser with one page at a time.

    Attributes
    ----------
    events : list of dict
        What the page has reported since it was opened: console, network, ...
    """

    def __init__(self, path):
        import fcntl  # not on Windows

        self._profile = tempfile.mkdtemp(prefix="minidqn-browser-")
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Numbers above 9 are out of the way of 3 and 4.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
        command = [sys.executable, "-c", WRAPPER, *map(str, ends), path, *FLAGS]
        command += [f"--user-data-dir={self._profile}", "about:blank"]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, pass_fds=ends, **silent)
        for end in (*ends, theirs_in, theirs_out):
            os.close(end)
        self._count, self._buffer, self._session, self.events = 0, b"", {}, []
        self._target = None

    def close(self):
        """End the browser, and remove its profile."""
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method, **parameters):
        """Send a command to the page, and return its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters} | self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def _receive(self):
        """The next message from the browser."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], PATIENCE)
            data = os.read(self._in, 1 << 20) if ready else b""
            if not data:
                raise RuntimeError("the browser does not answer")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, path, width=1280, height=720, touch=False, **media):
        """Open a file in a new page, wait until it is loaded, and forget the page before.

        `media` are CSS media features, such as prefers_color_scheme="dark".
        """
        self._session = {}
        if self._target is not None:
            self.send("Target.closeTarget", targetId=self._target)
        self._target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility", "DOM"):
            self.send(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.send("Emulation.setTouchEmulationEnabled", enabled=touch)
        features = [{"name": key.replace("_", "-"), "value": media[key]} for key in media]
        self.send("Emulation.setEmulatedMedia", features=features)
        self.events.clear()
        self.send("Page.navigate", url=Path(path).resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def evaluate(self, expression):
        """The value of a JavaScript expression in the page; promises are waited for."""
        how = {"returnByValue": True, "awaitPromise": True}
        answer = self.send("Runtime.evaluate", expression=expression, **how)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def center(self, selector):
        """Where the middle of an element is on the window, after it was scrolled into it."""
        return self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )

    def mouse(self, kind, x, y, **held):
        """A mouse event: "Moved", "Pressed" or "Released"."""
        button = "none" if kind == "Moved" and not held else "left"
        event = {"type": f"mouse{kind}", "x": x, "y": y, "button": button, "clickCount": 1}
        self.send("Input.dispatchMouseEvent", **event, **held)

    def click(self, selector):
        """Click the middle of an element."""
        x, y = self.center(selector)
        for kind in ("Moved", "Pressed", "Released"):
            self.mouse(kind, x, y)

    def drag(self, start, end):
        """Press the mouse at one place, move it to another, and release it."""
        self.mouse("Moved", *start)
        self.mouse("Pressed", *start)
        self.mouse("Moved", *end, buttons=1)
        self.mouse("Released", *end)

    def swipe(self, start, end):
        """Put a finger down at one place, move it to another, and lift it."""
        for kind, place in (("Start", [start]), ("Move", [end]), ("End", [])):
            points = [{"x": x, "y": y} for x, y in place]
            self.send("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=points)

    def key(self, key):
        """Press and release a key, by the name that JavaScript has for it."""
        event = {"key": key, "code": key.replace(" ", "Space"), "windowsVirtualKeyCode": CODES[key]}
        text = {"text": key.replace("Enter", "\r")} if key in ("Enter", " ") else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **event, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **event)
