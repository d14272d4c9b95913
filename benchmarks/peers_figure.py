"""Figure and table of benchmarks/peers.json.

usage: python benchmarks/peers_figure.py [RESULTS.json [FIGURE.png]]
Writes the figure of docs/pages/speed.md and prints its table.
"""

import json
import sys
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAMES = {
    "efgmd-d3": "efgmd, energy-d3 (default)",
    "efgmd": "efgmd, energy",
    "nep": "NEP_CPU",
    "deepmd": "DeePMD-kit, compressed",
    "allegro": "Allegro",
    "nequip": "NequIP",
    "mace": "MACE",
    "chgnet": "CHGNet",
    "sevennet": "SevenNet-0",
}
MARKERS = "os^vDP*X<"


def fastest(results: dict) -> dict[str, dict]:
    """By model, the record of the route that was measured at the most sizes; among equals the faster one."""
    chosen: dict[str, dict] = {}
    for route, record in results.items():
        if not record["sizes"]:
            continue
        model = route.partition("/")[0]
        if model not in chosen or rank(record) > rank(chosen[model]):
            chosen[model] = record
    return chosen


def on_one_scale(results: dict, chosen: dict[str, dict]):
    """Replace each speed by its ratio to the reference times the median speed of the reference at that size.

    The load of the machine changes from one comparison to the next, and with it the speeds, but not the ratios.
    """
    references: dict[int, list[float]] = {}
    for record in results.values():
        for entry in record["sizes"]:
            speed = entry["processor"]
            references.setdefault(entry["atoms"], []).append(
                speed["atom_steps_per_second"] / speed["relative_to_efgmd"]
            )
    for record in chosen.values():
        for entry in record["sizes"]:
            ratio = entry["processor"]["relative_to_efgmd"]
            entry["processor"]["atom_steps_per_second"] = ratio * median(references[entry["atoms"]])


def rank(record: dict) -> tuple[int, float]:
    return len(record["sizes"]), record["sizes"][0]["processor"]["relative_to_efgmd"]


def middle_ratio(record: dict) -> float:
    return median(entry["processor"]["relative_to_efgmd"] for entry in record["sizes"])


def number(value: float) -> str:
    """Three digits, with separators of thousands."""
    digits = 3 - len(str(int(value)))
    return f"{round(value, digits):,.0f}" if value >= 100 else f"{value:.3g}"


def table(chosen: dict[str, dict], sizes: list[int]) -> str:
    """Markdown, fastest first: atom steps per second, and in brackets the ratio to the default model."""
    lines = ["| model | " + " | ".join(f"{n:,} atoms" for n in sizes) + " | peak memory (MB) | forces (meV/Å) | how |"]
    lines.append("| --- " * (len(sizes) + 4) + "|")
    for model, record in sorted(chosen.items(), key=lambda item: -middle_ratio(item[1])):
        by_size = {entry["atoms"]: entry for entry in record["sizes"]}
        cells = [NAMES[model]]
        for atoms in sizes:
            if atoms in by_size:
                speed = by_size[atoms]["processor"]
                cells.append(f"{number(speed['atom_steps_per_second'])} ({speed['relative_to_efgmd']:.2g})")
            else:
                cells.append("-")
        last = record["sizes"][-1]
        cells.append(f"{last['peak_memory_MB']:,} at {last['atoms']:,}")
        error = record.get("forces_rmse_meV_per_A")
        cells += ["-" if error is None else f"{error:.0f}", record["how"]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(chosen: dict[str, dict], sizes: list[int], path: Path):
    """Atom steps per second against atoms; markers and labels tell the models apart without colour."""
    figure, axes = plt.subplots(figsize=(7.5, 5), layout="constrained")
    for (model, record), marker in zip(chosen.items(), MARKERS, strict=False):
        x = [entry["atoms"] for entry in record["sizes"]]
        y = [entry["processor"]["atom_steps_per_second"] for entry in record["sizes"]]
        own = model.startswith("efgmd")
        style = {"color": "black" if own else "0.45", "linewidth": 2.0 if own else 1.0}
        axes.loglog(x, y, marker=marker, linestyle="-" if own else "--", markersize=6, label=NAMES[model], **style)
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
    axes.minorticks_off()
    axes.set_ylim(bottom=30)
    axes.set_xlabel("atoms")
    axes.set_ylabel("atom steps per second of one core")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path, dpi=150)


def main():
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("peers.json")
    results = json.loads(source.read_text())["results"]
    figure = Path(sys.argv[2]) if len(sys.argv) > 2 else source.parents[1] / "docs" / "pages" / "speed.png"
    chosen = fastest(results)
    on_one_scale(results, chosen)
    sizes = sorted({entry["atoms"] for record in chosen.values() for entry in record["sizes"]})
    draw(chosen, sizes, figure)
    print(table(chosen, sizes))


if __name__ == "__main__":
    main()
