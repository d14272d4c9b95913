"""The report as a reader sees it: layout at phone and desktop width, zooming, printing, no errors, no network."""

import json

import pytest
from report_results import results

from efgmd.report.page import write_report

pytestmark = pytest.mark.browser

LAYOUT = """(page, view) => {
  const root = page.documentElement;
  const outside = [...page.querySelectorAll("body *")].filter((element) => {
    if (element.closest(".wide") || element.closest("svg")) return false;
    const box = element.getBoundingClientRect();
    return box.width > 0 && (box.right > root.clientWidth + 1 || box.left < -1);
  });
  return {
    scroll: root.scrollWidth, client: root.clientWidth,
    outside: outside.map((element) => element.outerHTML.slice(0, 80)),
    plots: [...page.querySelectorAll("figure.plot svg")].map((svg) => svg.getBoundingClientRect().width),
    tables: [...page.querySelectorAll(".wide")].map((wide) => wide.clientWidth),
    smallest: Math.min(...[...page.querySelectorAll("svg text")].map((text) => text.getBoundingClientRect().height)),
    dark: [...page.querySelectorAll("p, td, th, figcaption, li")].every((element) =>
      view.getComputedStyle(element).color.match(/\\d+/g).every((part) => +part < 60)),
    white: view.getComputedStyle(page.body).backgroundColor,
    fetched: view.performance.getEntriesByType("resource").map((entry) => entry.name),
  };
}"""

ZOOM = """(page, view) => {
  const figure = page.querySelector("figure.plot"), svg = figure.querySelector("svg");
  const [plus, minus, all] = figure.querySelectorAll(".tools button");
  const state = () => ({
    labels: [...svg.querySelectorAll("text")].filter((text) => text.getBoundingClientRect().height > 0)
      .map((text) => text.textContent),
    paths: [...svg.querySelectorAll("g.data path")].map((path) => path.getAttribute("d")).join(),
    marks: [...svg.querySelectorAll("g.data use")].map((use) => use.getAttribute("x")).join(),
    zoomed: figure.classList.contains("zoomed"),
  });
  const area = svg.dataset.area.split(" ").map(Number), corner = svg.getBoundingClientRect();
  const scale = corner.width / svg.viewBox.baseVal.width;
  const at = (u, v) => ({
    clientX: corner.left + scale * (area[0] + u * area[2]), clientY: corner.top + scale * (area[1] + (1 - v) * area[3]),
    bubbles: true, cancelable: true, pointerId: 1, pointerType: "mouse", button: 0,
  });
  svg.setPointerCapture = () => {};
  const send = (type, u, v) => svg.dispatchEvent(new view.PointerEvent(type, at(u, v)));
  const before = state();
  plus.click();
  const near = state();
  svg.dispatchEvent(new view.KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true, cancelable: true }));
  const right = state();
  all.click();
  const back = state();
  send("pointerdown", 0.25, 0.25); send("pointermove", 0.75, 0.75); send("pointerup", 0.75, 0.75);
  const box = state();
  svg.dispatchEvent(new view.MouseEvent("dblclick", { bubbles: true }));
  minus.click();
  return { before, near, right, back, box, last: state(), limits: svg.dataset.limits };
}"""

PINCH = """(page, view) => {
  const svg = page.querySelector("figure.plot svg"), corner = svg.getBoundingClientRect();
  const send = (type, id, x, y) => svg.dispatchEvent(new view.PointerEvent(type, {
    clientX: corner.left + x * corner.width, clientY: corner.top + y * corner.height,
    bubbles: true, cancelable: true, pointerId: id, pointerType: "touch",
  }));
  const free = svg.style.touchAction;
  send("pointerdown", 1, 0.45, 0.4); send("pointerdown", 2, 0.55, 0.5);
  send("pointermove", 1, 0.3, 0.3); send("pointermove", 2, 0.7, 0.6);
  send("pointerup", 1, 0.3, 0.3); send("pointerup", 2, 0.7, 0.6);
  return { free, held: svg.style.touchAction, zoomed: svg.closest("figure").classList.contains("zoomed") };
}"""


@pytest.fixture
def report(served):
    """The page of made-up results; returns its address."""
    folder, address = served
    (folder / "results.json").write_text(json.dumps(results()))
    write_report(folder)
    return f"{address}/report.html"


@pytest.mark.parametrize("width", [320, 380, 768, 1280])
def test_nothing_is_cut_off_at_any_width(report, probe, width):
    found = probe(LAYOUT, width)
    assert found["scroll"] <= found["client"] and found["outside"] == []
    assert found["plots"] and all(250 < size <= 600 for size in found["plots"])
    assert all(size <= width for size in found["tables"])
    assert found["smallest"] >= 9  # pixels: labels of plots stay readable
    assert found["dark"] and found["white"] == "rgb(255, 255, 255)"
    assert [name for name in found["fetched"] if not name.endswith("favicon.ico")] == []


def test_plots_zoom_by_buttons_keys_and_boxes_and_come_back(report, probe):
    found = probe(ZOOM, 1280)
    assert found["before"] == found["back"] == found["last"] and not found["before"]["zoomed"]
    for name in ("near", "right", "box"):
        assert found[name]["zoomed"]
        assert found[name]["paths"] != found["before"]["paths"] and found[name]["marks"] != found["before"]["marks"]
    assert found["right"]["marks"] != found["near"]["marks"]
    # The labels of the middle half of the axis, and none outside.
    x0, x1 = map(float, found["limits"].split()[:2])
    labels = [float(words) for words in found["box"]["labels"] if words.isdigit() and x0 <= float(words) <= x1]
    assert len(labels) >= 3
    assert all(x0 + 0.24 * (x1 - x0) <= value <= x0 + 0.76 * (x1 - x0) for value in labels)


def test_two_fingers_zoom_and_the_page_still_scrolls_before(report, probe):
    assert probe(PINCH, 380) == {"free": "pan-y", "held": "none", "zoomed": True}


@pytest.mark.parametrize("width", [380, 1280])
def test_photographs(report, photograph, tmp_path, width):
    """To be looked at: pytest --basetemp=FOLDER keeps them."""
    path = tmp_path / f"report-{width}.png"
    photograph(report, path, max(width, 500), 3000)
    assert path.stat().st_size > 50_000
