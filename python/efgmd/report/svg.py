"""One plot as inline SVG for a page: scalable, with ids of its own, and what the page's script needs for zooming."""

import html
import io
import json
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter

#: Distinct in hue, in lightness and, through the markers and dashes that go with them, without any colour.
STYLES = (
    ("#0072b2", "o", "-"),
    ("#d55e00", "s", "--"),
    ("#009e73", "^", ":"),
    ("#cc79a7", "D", "-."),
    ("#56b4e9", "v", (0, (5, 1, 1, 1, 1, 1))),
    ("#555555", "P", (0, (1, 1))),
)
SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "lines.linewidth": 1.4,
    "lines.markersize": 5.5,
}
PANEL = (4.2, 3.0)  # inches
_POINTS_PER_INCH = 72


def literal(text: str) -> str:
    """A text of the user's that matplotlib must not take for mathematics."""
    return text.replace("$", r"\$")


def panel(name: str, label: str, draw: Callable[[Axes], None]) -> str:
    """Draw one plot and return its SVG markup.

    Parameters
    ----------
    name
        Begins all ids in the markup; different for each plot of a page.
    label
        What screen readers say.
    draw
        Draws into the axes.

    Returns
    -------
    str
        An ``svg`` element that scales with its container. ``data-area`` holds left, top, width and height of the axes
        in the units of its view box, ``data-limits`` the limits of x and y, ``data-y-ticks`` the names of y values
        that have any; data are in groups of the class ``data``.
    """
    with matplotlib.rc_context(SETTINGS | {"svg.hashsalt": name}):
        figure = Figure(figsize=PANEL, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        for index, artist in enumerate([*axes.lines, *axes.collections, *axes.patches]):
            artist.set_gid(f"data-{index}")
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    box = axes.get_position()
    width, height = (_POINTS_PER_INCH * inches for inches in PANEL)
    area = (box.x0 * width, (1 - box.y1) * height, box.width * width, box.height * height)
    attributes = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-label": label,
        "data-area": " ".join(f"{value:.3f}" for value in area),
        "data-limits": " ".join(f"{value:.9g}" for value in (*axes.get_xlim(), *axes.get_ylim())),
    }
    if isinstance(axes.yaxis.get_major_formatter(), FixedFormatter):
        names = {str(tick.get_position()[1]): tick.get_text() for tick in axes.get_yticklabels()}
        attributes["data-y-ticks"] = json.dumps(names)
    opening = " ".join(f'{key}="{html.escape(value)}"' for key, value in attributes.items())
    inside = _inside(text.getvalue(), name)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {opening}>{inside}</svg>'
    )


def _inside(markup: str, name: str) -> str:
    """What matplotlib wrote inside its svg element, with ids of this plot, without metadata and global styles."""
    markup = markup[markup.index("<svg") :]
    markup = markup[markup.index(">") + 1 : markup.rindex("</svg>")]
    for unwanted in (r"<metadata>.*?</metadata>", r"<style[^>]*>.*?</style>", r"<!--.*?-->", r"<defs>\s*</defs>"):
        markup = re.sub(unwanted, "", markup, flags=re.DOTALL)
    markup = re.sub(r'<g id="(data-\d+)"', r'<g class="data" id="\1"', markup)
    markup = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", markup)
    return re.sub(r"\s*\n\s*", "\n", markup).strip()
