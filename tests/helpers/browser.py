"""A real browser, headless, driven over the W3C WebDriver protocol with the standard library."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
ENTER, TAB, SPACE = "\ue007", "\ue004", " "
SHIFT, CONTROL, ALT, LEFT, RIGHT = "\ue008", "\ue009", "\ue00a", "\ue012", "\ue014"
DRIVERS, BROWSERS = ("chromedriver",), ("chromium", "chromium-browser", "google-chrome")


def find_programs() -> tuple[str, str] | None:
    """The driver and the browser; None where one of them is not installed."""
    found = [next(filter(None, map(shutil.which, names)), None) for names in (DRIVERS, BROWSERS)]
    return None if None in found else (found[0], found[1])


class Browser:
    """One window; `errors` and `requests` are all that its console and network saw."""

    def __init__(self, profile: Path, size=(1400, 1000)):
        driver, binary = find_programs()
        log = profile.with_name(profile.name + ".log")
        self._file = log.open("w")
        self._process = subprocess.Popen(
            [driver, "--port=0"], stdout=self._file, stderr=subprocess.STDOUT
        )
        self._session = None
        try:
            self._root = f"http://127.0.0.1:{self._port(log)}"
            options = {
                "binary": binary,
                "args": [
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-quic",
                    "--no-first-run",
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-sync",
                    "--disable-dev-shm-usage",
                    f"--window-size={size[0]},{size[1]}",
                    f"--user-data-dir={profile}",
                ],
            }
            capabilities = {
                "browserName": "chrome",
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }
            made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
            self._session = made["sessionId"]
        except BaseException:
            self.quit()
            raise

    def _port(self, log: Path) -> int:
        for _ in range(200):
            text = log.read_text()
            if "on port " in text.replace("port 0", ""):
                return int(text.rsplit("on port ", 1)[1].split(".")[0])
            time.sleep(0.05)
        raise RuntimeError(f"the driver did not start: {log.read_text()}")

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._root + path, data, {"Content-Type": "application/json"}, method=method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as fault:
            value = json.load(fault)["value"]
            raise RuntimeError(f"{value['error']}: {value['message']}") from None

    def _do(self, method, path, body=None):
        return self._call(method, f"/session/{self._session}{path}", body)

    def open(self, address: str | Path) -> None:
        """Load a page: a path, or an address."""
        if isinstance(address, Path):
            address = address.resolve().as_uri()
        self._do("POST", "/url", {"url": "about:blank"})
        self.requests()  # of the page before
        self._do("POST", "/url", {"url": address})

    def find(self, css: str) -> str:
        found = self._do("POST", "/element", {"using": "css selector", "value": css})
        return found[ELEMENT]

    def click(self, css: str) -> None:
        """Click as a person does: it fails where something else is in the way."""
        self._do("POST", f"/element/{self.find(css)}/click", {})

    def type(self, css: str, text: str) -> None:
        self._do("POST", f"/element/{self.find(css)}/value", {"text": text})

    def press(self, key: str, modifier: str | None = None) -> None:
        """Press a key on what has the focus, with Alt, Ctrl or Shift held down if one is given."""
        keys = [key] if modifier is None else [modifier, key]
        actions = [{"type": "keyDown", "value": one} for one in keys]
        actions += [{"type": "keyUp", "value": one} for one in reversed(keys)]
        self._do("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    def run(self, script: str, *arguments):
        """Run a function body; what it returns."""
        return self._do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def texts(self, css: str) -> list[str]:
        return self.run(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent.trim())",
            css,
        )

    def save_downloads(self, folder: Path) -> None:
        """Let the page save files into a folder."""
        self.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def command(self, name: str, **params):
        """Give a command of the DevTools protocol."""
        return self._do("POST", "/goog/cdp/execute", {"cmd": name, "params": params})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._do("GET", "/screenshot")))

    def print_pdf(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._do("POST", "/print", {"background": True})))

    def resize(self, width: int, height: int) -> None:
        self._do("POST", "/window/rect", {"width": width, "height": height})

    def console(self) -> list[str]:
        """What the console said since the last call."""
        return [entry["message"] for entry in self._do("POST", "/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Addresses that were asked for since the last call, other than data in the page itself.

        `blocked` are those of them that the page's policy stopped before they left.
        """
        entries = self._do("POST", "/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        asked = {
            message["params"]["requestId"]: message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        }
        self.blocked = [
            asked.get(message["params"]["requestId"])
            for message in messages
            if message["method"] == "Network.loadingFailed"
            and message["params"].get("blockedReason") == "csp"
        ]
        return [address for address in asked.values() if not address.startswith("data:")]

    def quit(self) -> None:
        """Close the window and end the driver."""
        try:
            if self._session is not None:
                self._do("DELETE", "")
        finally:
            self._process.terminate()
            self._process.wait(timeout=20)
            self._file.close()
