"""A headless Chromium driven over two pipes (the DevTools protocol): no server, no port, no package."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ASKED = ("requestWillBeSent", "loadingFailed")
QUIET = (
    "--headless=new",
    "--no-sandbox",  # as root, as in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def found() -> str | None:
    """The path of a Chromium, where there is one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Page:
    """One tab: what it does, and all that it has said and asked for."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader, self.writer = reader, writer
        self.buffer, self.number, self.session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """One command, and its result."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            more = os.read(self.reader, 1 << 20)
            assert more, "the browser has gone"
            self.buffer += more
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def open(self, path: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Show a file in a window of that size."""
        self.size(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def size(self, width: int, height: int) -> None:
        """A window of that size; narrow ones are phones."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        result = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """One key, down and up."""
        code = {"Tab": 9, "ArrowRight": 39, "ArrowLeft": 37, "Escape": 27}[key]
        for kind in ("rawKeyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self) -> bytes:
        """The whole page as PNG."""
        height = self.run("document.documentElement.scrollHeight")
        width = self.run("innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        return base64.b64decode(self("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"])

    def printed(self) -> bytes:
        """The page as PDF, on the paper that it asks for."""
        return base64.b64decode(self("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])

    def said(self) -> list[str]:
        """Errors and warnings of the console, and exceptions."""
        self.run("1")
        kinds = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
        return [json.dumps(event["params"]) for event in self.events if event.get("method") in kinds]

    def asked_for(self) -> list[str]:
        """Addresses of all requests that the page's own policy does not stop."""
        self.run("1")
        of = {name: [e["params"] for e in self.events if e.get("method") == f"Network.{name}"] for name in ASKED}
        stopped = {each["requestId"] for each in of["loadingFailed"] if each.get("blockedReason") == "csp"}
        sent = of["requestWillBeSent"]
        return [each["request"]["url"] for each in sent if each["requestId"] not in stopped]


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A browser with one tab, its profile in `folder`."""
    program = found()
    assert program is not None
    to_us, from_it = os.pipe()
    to_it, from_us = os.pipe()

    def pipes() -> None:  # the protocol is spoken over descriptors 3 and 4
        low, high = os.dup(to_it), os.dup(from_it)
        os.dup2(low, 3)
        os.dup2(high, 4)

    process = subprocess.Popen(
        [program, *QUIET, f"--user-data-dir={folder}"],
        preexec_fn=pipes,  # noqa: PLW1509 (no thread of ours runs)
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_it)
    os.close(from_it)
    try:
        yield Page(to_us, from_us)
    finally:
        process.kill()
        process.wait()
        os.close(to_us)
        os.close(from_us)


HOSTILE = '</script><script>alert(1)</script><img src=https://example.com/x onerror="alert(2)">'
MODEL = """
source = "made up"
name = {name!r}
n_layers = 2
d_model = 64
n_heads = 2
n_kv_heads = 2
d_ff = 256
gated_mlp = false
activation = "gelu_new"
vocab_size = 100
tied_embeddings = true
norm = "layer"
biases = true
max_seq_len = 128
"""


@pytest.fixture
def hostile(tmp_path):
    """A model whose name and file name are markup."""
    path = tmp_path / "<b onclick=alert(3)>.toml"
    path.write_text(MODEL.format(name=HOSTILE))
    return path


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A page in a real browser; tests that need one are skipped where there is none."""
    if found() is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page
