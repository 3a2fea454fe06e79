"""Headless Chromium, driven by its DevTools protocol: pages as a reader sees them, offline, by mouse or keyboard."""

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import websocket

KEYS = {"Tab": (9, ""), "Enter": (13, "\r")}
"""Key to its code and its text."""


def find_chromium() -> str:
    """The path of Chromium or Chrome; skips the test without one."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium on this machine: pages are not opened")


class Browser:
    """A window without network; use it as a context.

    ``problems`` collects what a page complains about: errors on its console, exceptions, files that it cannot load.
    """

    def __init__(self, profile: Path, width: int, height: int):
        self.problems: list[str] = []
        self._number = itertools.count(1)
        command = [find_chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        command += ["--remote-allow-origins=*", f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._socket = websocket.create_connection(self._address(profile), timeout=60)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        self.resize(width, height)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _address(self, profile: Path) -> str:
        port_file = profile / "DevToolsActivePort"
        for _ in range(600):
            if port_file.is_file() and (lines := port_file.read_text().split()):
                listed = urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json")
                targets = [each for each in json.load(listed) if each["type"] == "page"]
                if targets:
                    return targets[0]["webSocketDebuggerUrl"]
            time.sleep(0.05)
        raise TimeoutError("Chromium did not start")

    def send(self, method: str, **parameters) -> dict:
        """Call a method of the protocol; returns its result."""
        number = next(self._number)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            self._note(message)
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def _note(self, message: dict) -> None:
        found = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(str(found["exceptionDetails"])[:500])
            case "Runtime.consoleAPICalled" if found["type"] in ("error", "assert"):
                self.problems.append(str(found["args"])[:500])
            case "Log.entryAdded" if found["entry"]["level"] == "error":
                self.problems.append(str(found["entry"])[:500])
            case "Network.loadingFailed":
                self.problems.append(str(found)[:500])

    def resize(self, width: int, height: int) -> None:
        """Make the window so many CSS pixels large."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, path: Path) -> None:
        """Show a local file, and wait until it is loaded."""
        self.send("Page.navigate", url="about:blank")  # or else the wait might end with the page before
        self.wait_for("location.protocol === 'about:'")
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")

    def evaluate(self, expression: str):
        """The value (JSON) of a JavaScript expression."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript condition holds."""
        for _ in range(400):
            if self.evaluate(condition):
                return
            time.sleep(0.05)
        raise TimeoutError(condition)

    def press(self, key: str) -> None:
        """Press and release one of :data:`KEYS`."""
        code, text = KEYS[key]
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
        self.send("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def screenshot(self, path: Path) -> None:
        """Save what the window shows, as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))
