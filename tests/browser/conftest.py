"""A headless Chromium that opens pages of a folder, and says what it saw."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))  # made-up results

HARNESS = """<!DOCTYPE html><html><body style="margin:0">
<iframe id="page" src="report.html" style="width:{width}px;height:900px;border:0"></iframe>
<script>
const errors = [];
const frame = document.getElementById("page");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument, view = frame.contentWindow;
  let found;
  try {{ found = ({probe})(page, view); }} catch (error) {{ found = {{failure: String(error) + error.stack}}; }}
  const done = document.createElement("pre");
  done.id = "found";
  done.textContent = JSON.stringify(found);
  document.body.append(done);
}});
</script></body></html>"""


@pytest.fixture(scope="session")
def chromium():
    """Path of Chromium: $CHROMIUM, or one of its usual names."""
    names = [os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome", "chrome"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    assert found, "these tests need Chromium: install it, or name it in the environment variable CHROMIUM"
    return found


def _run(chromium, *arguments):
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=20000"]
    return subprocess.run([chromium, *options, *arguments], capture_output=True, text=True, timeout=300, check=True)


@pytest.fixture
def served(tmp_path):
    """A folder served on the local host, and its address."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    handler = functools.partial(quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def probe(chromium, served):
    """Runs a JavaScript function ``(document, window) => result`` in the page at a width; returns its result."""
    folder, address = served

    def ask(function, width):
        (folder / "harness.html").write_text(HARNESS.format(width=width, probe=function), encoding="utf-8")
        text = _run(chromium, "--window-size=1400,1000", "--dump-dom", f"{address}/harness.html").stdout
        answer = text.split('<pre id="found">')[1].split("</pre>")[0]
        found = json.loads(answer.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
        assert not isinstance(found, dict) or "failure" not in found, found["failure"]
        return found

    return ask


@pytest.fixture
def photograph(chromium):
    """Writes a screenshot of a page."""

    def take(address, path, width, height):
        _run(chromium, f"--window-size={width},{height}", f"--screenshot={path}", address)

    return take
