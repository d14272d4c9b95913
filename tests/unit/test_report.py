"""The report as a file: valid, self-contained, small, and with the numbers of results.json."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import html5lib
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from report_results import results

from efgmd.analysis.table import coupling_text
from efgmd.errors import StoreError
from efgmd.report.figures import draw_asymmetry, draw_couplings
from efgmd.report.page import write_report
from efgmd.report.svg import PANEL, SETTINGS, STYLES, panel
from efgmd.report.tables import frequency_list, frequency_range, range_text
from efgmd.report.transition_figures import draw_nqr_lines

XHTML = "{http://www.w3.org/1999/xhtml}"


def written(folder: Path, content):
    (folder / "results.json").write_text(json.dumps(content))
    return write_report(folder).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def content():
    return results()


@pytest.fixture(scope="module")
def page(content, tmp_path_factory):
    return written(tmp_path_factory.mktemp("report"), content)


@pytest.fixture(scope="module")
def tree(page):
    """The page as a browser would parse it; any error of its HTML is an exception."""
    return html5lib.HTMLParser(strict=True).parse(page)


def test_ids_are_unique_and_references_lead_somewhere(page, tree):
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert references and references <= set(ids)


def test_nothing_comes_from_elsewhere(page, tree):
    addresses = set(re.findall(r"[a-z]+://[^\"' )<]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not {element.tag for element in tree.iter()} & {XHTML + tag for tag in ("link", "img", "iframe", "object")}
    assert all(element.get("src") is None for element in tree.iter())
    assert "@import" not in page


def test_plots_are_well_formed_and_can_be_zoomed(page):
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) >= 10
    for plot in plots:
        root = ElementTree.fromstring(plot)
        left, top, width, height = map(float, root.get("data-area").split())
        _, _, full_width, full_height = map(float, root.get("viewBox").split())
        assert left > 0 and top > 0 and left + width < full_width and top + height < full_height
        x0, x1, y0, y1 = map(float, root.get("data-limits").split())
        assert x1 > x0 and y1 > y0
        assert root.get("role") == "img" and root.get("aria-label")
        groups = [group for group in root.iter() if group.get("class") == "data"]
        assert groups
        # The script rewrites absolute coordinates only.
        for path in (path for group in groups for path in group.iter("{http://www.w3.org/2000/svg}path")):
            assert not re.search(r"[a-yAH-KN-PR-Y]", path.get("d").replace("e-", "")), path.get("d")


def test_data_areas_are_where_the_axes_are():
    """A point in the middle of the limits lies in the middle of the area."""
    markup = panel("middle", "a point", lambda axes: axes.plot([0.0, 4.0, 8.0], [0.0, 5.0, 10.0], "o", clip_on=False))
    root = ElementTree.fromstring(markup)
    left, top, width, height = map(float, root.get("data-area").split())
    x0, x1, y0, y1 = map(float, root.get("data-limits").split())
    uses = root.iter("{http://www.w3.org/2000/svg}use")
    marks = [(float(use.get("x")), float(use.get("y"))) for use in uses]
    for x, y in ((0.0, 0.0), (4.0, 5.0), (8.0, 10.0)):
        expected = left + (x - x0) / (x1 - x0) * width, top + (y1 - y) / (y1 - y0) * height
        assert min(abs(a - expected[0]) + abs(b - expected[1]) for a, b in marks) < 0.02


def test_page_is_light_and_readable_everywhere(page, tree):
    assert len(page.encode()) < 700_000
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "@media print" in page and tree.get("lang") == "en"
    titles = [element.text for element in tree.iter(XHTML + "title")]
    assert titles == ["Quadrupolar couplings of PbI3N"]


def test_every_series_has_a_marker_or_dash_of_its_own(page):
    """Without colour, the sites of a plot differ by the shape of their marker."""
    plot = next(plot for plot in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if 'id="cq-127I-' in plot)
    shapes = {
        re.sub(r"\s+", " ", path)
        for path in re.findall(r'<defs>\s*<path id="[^"]*" d="([^"]*)"', plot)
        if path.count("C") + path.count("L") >= 2
    }
    assert len(shapes) >= 3


def different_sites(count):
    """Results in which every temperature has iodine sites of its own, ``count`` in all."""
    content = results(temperatures=[250.0, 300.0])
    number = 0
    for entry in content["temperatures"]:
        (pattern,) = (site for site in entry["sites"] if site["site"] == "4a")
        others = [site for site in entry["sites"] if site["nucleus"] != "127I"]
        share = [number + k for k in range(count // 2)]
        number += len(share)
        entry["sites"] = others + [pattern | {"site": f"{k + 20}aa/{k + 2}a", "count": k + 2} for k in share]
    return content


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("draw", [draw_couplings, draw_asymmetry, draw_nqr_lines])
@pytest.mark.parametrize("count", [4, 16])
def test_many_sites_are_all_drawn_and_leave_room_for_the_plot(draw, count):
    with rc_context(SETTINGS):
        figure = Figure(figsize=PANEL, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        draw(axes, different_sites(count), "127I")
        canvas.draw()
    assert len(axes.containers) == count
    legend = axes.get_legend()
    if count <= len(STYLES):
        assert len(legend.get_texts()) == count
        box, plot = legend.get_window_extent(), axes.get_window_extent()
        assert box.y0 >= plot.y1 and box.x0 >= 0 and box.x1 <= figure.bbox.width
    else:
        assert legend is None and axes.get_title() == "16 series of sites"
    assert axes.get_window_extent().height > 0.5 * figure.bbox.height


def test_numbers_of_the_page_are_those_of_the_results(content, tree):
    text = "".join(tree.itertext())
    for entry in content["temperatures"]:
        for site in entry["sites"]:
            assert coupling_text(site) in text
    assert content["transition"]["text"][1:] in text and "order parameters agree" in text
    for found in content["transition"]["order_parameters"]:
        low, high = found["interval95_K"]
        assert (f"above {low:.1f}" if high is None else f"{low:.1f} to {high:.1f}") in text
    for words in ("c" * 64, "-696 mb (test)", "I4/mcm (140)", "a note of the campaign", "<energy & forces>"):
        assert words in text
    assert "0.0851" in text and "13 test frames" in text  # errors of the EFG model
    for section in ("Couplings", "Transition", "NQR spectra", "Convergence", "Crystal", "Models", "Provenance"):
        assert section in text


def test_incomplete_campaigns_say_so(tmp_path):
    content = results(temperatures=(250.0, 350.0), complete=False)
    text = written(tmp_path, content)
    html5lib.HTMLParser(strict=True).parse(text)
    assert "Incomplete" in text and "T0425K has no samples" in text


def test_one_temperature_makes_a_page(tmp_path):
    text = written(tmp_path, results(temperatures=(300.0,)))
    html5lib.HTMLParser(strict=True).parse(text)
    assert "A transition needs two temperatures" in text


def test_results_of_an_earlier_version_are_refused(tmp_path, content):
    (tmp_path / "results.json").write_text(json.dumps({key: content[key] for key in content if key != "transition"}))
    with pytest.raises(StoreError, match="efgmd analyze"):
        write_report(tmp_path)


def test_other_results_beside_the_page_are_linked(tmp_path, content):
    (tmp_path / "my spectrum.json").write_text('{"format": "efgmd-spectrum"}')
    (tmp_path / "my spectrum.png").touch()
    (tmp_path / "foreign.json").write_text("[1, 2]")
    (tmp_path / "broken.json").write_text("{")
    tree = html5lib.HTMLParser(strict=True).parse(written(tmp_path, content))
    links = [element.get("href") for element in tree.iter(XHTML + "a") if not element.get("href").startswith("#")]
    assert links == ["my%20spectrum.png", "my%20spectrum.json"]


def test_numbers_have_the_digits_of_their_interval():
    assert range_text(0.10213, 0.10978) == "0.1021 to 0.1098"
    assert frequency_range(-511.23, -498.6) == "-511 to -499 MHz"
    assert frequency_range(0.0576, 0.0937) == "58 to 94 kHz"
    assert frequency_list([0.0033, 0.05585]) == "3.3, 55.85 kHz"
