"""A headless Chromium over the DevTools protocol's pipe: no driver, no port, no package."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-pipe"
)
COMPLAINTS = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
PATIENCE_SECONDS = 60


class Chromium:
    """One browser with one tab."""

    def __init__(self, profile):
        chromium = shutil.which("chromium")
        if chromium is None:
            assert os.environ.get("CI") != "true", "chromium is not on the PATH, and CI wants the page seen"
            pytest.skip("chromium is not on the PATH")
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        # Chromium listens on 3 and answers on 4; both ends are moved out of the way of these numbers first.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 64) for end in (to_read, to_write)]

        def wire():
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        command = [chromium, *FLAGS.split(), f"--user-data-dir={profile}", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, preexec_fn=wire, pass_fds=(3, 4), **quiet)
        for end in (to_read, to_write, *ends):
            os.close(end)
        self._count, self._rest, self._session, self.events = 0, b"", "", []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.screen()

    def call(self, method, /, **parameters):
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        number = self._count
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self.events.append(answer)

    def _next(self):
        while b"\0" not in self._rest:
            part = os.read(self._read, 1 << 20)
            assert part, "chromium ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def screen(self, width=1280, height=900, *, dark=False, mobile=False, media=""):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def open(self, path):
        self.events.clear()
        self.call("Page.navigate", url=Path(path).as_uri())
        self.wait("document.readyState === 'complete' && document.documentElement.dataset.ready === 'true'")

    def js(self, code):
        """The value of an expression; promises are awaited."""
        found = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition):
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            found = self.js(condition)
            if found:
                return found
            time.sleep(0.03)
        raise AssertionError(f"never came true: {condition}; {self.complaints()}")

    def complaints(self):
        """What the page said on the console, threw or was refused since it was opened."""
        self.js("0")
        return [event["params"] for event in self.events if event.get("method") in COMPLAINTS]

    def choose(self, selector, value):
        """Set a select, a checkbox or a field as a user does: with its events."""
        self.js(f"""(() => {{
            const e = document.querySelector({json.dumps(selector)});
            if (!e) throw new Error("nothing is " + {json.dumps(selector)});
            const tick = ["checkbox", "radio"].includes(e.type);
            if (tick && e.checked !== {json.dumps(value)}) e.click();
            if (tick) return;
            e.value = {json.dumps(value)};
            e.dispatchEvent(new Event("input", {{bubbles: true}}));
            e.dispatchEvent(new Event("change", {{bubbles: true}}));
        }})()""")

    def click(self, selector):
        self.js(f"document.querySelector({json.dumps(selector)}).click()")

    def mouse(self, x, y, *, press=True):
        for kind in ("mouseMoved", "mousePressed", "mouseReleased")[: 3 if press else 1]:
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, name, code=0, text=""):
        shared = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **shared)
        self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def text(self, selector):
        return self.js(f"document.querySelector({json.dumps(selector)}).textContent")

    def downloads(self, folder):
        self.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def picture(self, path):
        Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        self._session = ""
        self.call("Browser.close")
        self._process.wait(PATIENCE_SECONDS)
        os.close(self._write)
        os.close(self._read)
