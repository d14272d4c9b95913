"""One spectrum as asked for on the command line: from couplings or a campaign to a picture, CSV and JSON."""

import csv
import json
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from efgmd import larmor
from efgmd.analysis.powder import ExactPowder, unit_area, valid_coupling
from efgmd.analysis.results import read_results
from efgmd.analysis.spectra import PowderSpectrum, SpectrumSite, spectrum_reach
from efgmd.analysis.table import frequency_text
from efgmd.campaign.provenance import versions
from efgmd.errors import ConfigError, DataError
from efgmd.nuclei import nqr_transitions, nucleus
from efgmd.report.svg import SETTINGS, STYLES

FloatArray = NDArray[np.float64]

FORMAT = "efgmd-spectrum"
SCHEMA = 1
_MARGIN = 1.2
_NARROWED = 0.45  # spinning about the magic angle removes more than half of the width of a central transition
_ORIENTATIONS = 100_000
_BROADENING_POINTS = 4
_WEAKEST_LINE = 0.01
_BAND_REACH = 2.0


class SpectrumRequest:
    """A spectrum of one nucleus.

    Parameters
    ----------
    name
        Nucleus, for example ``14N``.
    kind
        ``nqr`` (lines in zero field), ``static`` or ``mas`` (mrsimulator), ``exact`` (static, by diagonalisation).
    field_tesla, larmor_mhz
        One of them, for every kind but ``nqr``.
    spinning_khz
        Magic-angle spinning, for ``mas``.
    transitions
        ``all`` or ``central``.
    width_khz
        None to hold all lines.
    points
        Frequencies.
    broadening_khz
        Full width of a Gaussian; None for four points.
    band
        Whether to show the spectra within the errors of Cq and eta.
    spin
        For nuclei that are not built in.

    Raises
    ------
    ConfigError
        When the settings do not fit together.
    """

    def __init__(
        self,
        name: str,
        kind: Literal["nqr", "static", "mas", "exact"],
        field_tesla: float | None = None,
        larmor_mhz: float | None = None,
        spinning_khz: float = 10.0,
        transitions: Literal["all", "central"] = "all",
        width_khz: float | None = None,
        points: int = 2048,
        broadening_khz: float | None = None,
        band: bool = False,
        spin: str | None = None,
    ) -> None:
        if not name:
            raise ConfigError("name the nucleus of the spectrum, for example --nucleus 14N")
        if kind != "nqr" and (field_tesla is None) == (larmor_mhz is None):
            raise ConfigError("give the magnetic field (--field) or the Larmor frequency (--larmor), one of them")
        if band and kind not in ("static", "mas"):
            raise ConfigError("a band of spectra (--band) is drawn for the kinds static and mas")
        if kind == "exact" and transitions == "central":
            raise ConfigError("the exact spectrum has all transitions; choose a width that shows the central one")
        self._given_spin, self._spin = spin, Fraction(0)
        self._name, self._kind, self._spinning = name, kind, spinning_khz if kind == "mas" else 0.0
        self._transitions, self._width, self._points = transitions, width_khz, points
        self._broadening, self._show_band = broadening_khz, band
        self._larmor = larmor_mhz if field_tesla is None else larmor.larmor_mhz(name, field_tesla)
        self._sites: list[SpectrumSite] = []
        self._origin: dict[str, Any] = {}
        self._zeros = 0
        self._found: dict[str, Any] | None = None

    def add_coupling(self, cq: float | None, eta: float) -> None:
        """Add a site with a given Cq (MHz) and eta.

        Raises
        ------
        ConfigError
            When they make no spectrum, and for nuclei that are not built in if their spin is not given.
        """
        if cq is None:
            raise ConfigError("give a coupling constant (--cq, MHz) or the output folder of a campaign")
        # The moment is not used: spectra start from Cq.
        self._spin = nucleus(self._name, None if self._given_spin is None else 1.0, self._given_spin).spin
        self._sites.append(SpectrumSite(*valid_coupling(cq, eta)))
        self._origin = {"given": "Cq and eta"}

    def add_campaign(self, folder: Path, temperature: float | None, cq: float | None) -> None:
        """Add the sites of the nucleus at one temperature of a campaign (the first, unless given).

        Raises
        ------
        ConfigError
            When the campaign has no such nucleus or temperature, or the nucleus has no coupling there.
        """
        if cq is not None:
            raise ConfigError("give either a campaign's folder or --cq, not both")
        if self._given_spin is not None:
            raise ConfigError("--spin is for --cq; a campaign has the spins of its nuclei")
        results = read_results(folder)
        entries = {float(entry["temperature_K"]): entry for entry in results["temperatures"]}
        chosen = min(entries) if temperature is None else temperature
        if chosen not in entries:
            raise ConfigError(f"{folder} has no results at {chosen:g} K; it has {', '.join(f'{t:g}' for t in entries)}")
        if self._name not in results["nuclei"]:
            raise ConfigError(f"{folder} has no results for {self._name}; it has {', '.join(results['nuclei'])}")
        self._spin = Fraction(results["nuclei"][self._name]["spin"])
        for site in entries[chosen]["sites"]:
            if site["nucleus"] != self._name:
                continue
            self._zeros += int(site["compatible_with_zero"])
            if site["cq_MHz"]:  # otherwise zero by symmetry
                errors = site["cq_error_sampling_MHz"], site["eta_error_sampling"]
                self._sites.append(SpectrumSite(site["cq_MHz"], site["eta"], site["count"], *errors))
        if not self._sites:
            raise ConfigError(
                f"{folder}: {self._name} has no coupling at {chosen:g} K, by symmetry; there are no lines"
            )
        self._origin = {"campaign": results["campaign_file"], "temperature_K": chosen}

    def compute(self) -> "SpectrumRequest":
        """Simulate.

        Raises
        ------
        ConfigError
            When the spectrum cannot be simulated; the message says what to change.
        """
        found: dict[str, Any] = {
            "format": FORMAT,
            "schema": SCHEMA,
            "nucleus": self._name,
            "spin": str(self._spin),
            "kind": self._kind,
            "origin": self._origin,
            "sites": [
                {"cq_MHz": s.cq, "cq_error_MHz": s.cq_error, "eta": s.eta, "eta_error": s.eta_error, "weight": s.weight}
                for s in self._sites
            ],
            "versions": versions(),
        }
        if self._kind == "nqr":
            lines = [nqr_transitions(self._spin, site.cq, site.eta) for site in self._sites]
            found["lines"] = [
                {"site": number, "frequency_MHz": float(frequency), "strength": float(strength)}
                for number, line in enumerate(lines)
                for frequency, strength in zip(*line, strict=True)
            ]
        else:
            found |= self._powder()
        self._found = found
        return self

    def _powder(self) -> dict[str, Any]:
        field = self._larmor
        assert field is not None
        sizes = [
            abs(site.cq) + (_BAND_REACH * (site.cq_error or 0.0) if self._show_band else 0.0) for site in self._sites
        ]
        reach = spectrum_reach(self._spin, max(sizes), field, self._transitions)
        if self._kind == "exact":  # in a weak field the lines are those of NQR, each split by up to 2I times the field
            highest = max(float(nqr_transitions(self._spin, site.cq, site.eta)[0].max()) for site in self._sites)
            reach = max(highest - field, min(reach, highest + (2 * float(self._spin) - 1) * field))
        if self._kind == "mas" and self._transitions == "central" and self._spinning > 1000 * reach:
            reach *= _NARROWED
        width = self._width / 1000 if self._width is not None else 2 * _MARGIN * reach
        step = width / self._points
        fwhm = self._broadening / 1000 if self._broadening is not None else _BROADENING_POINTS * step
        band = None
        if self._kind == "exact":
            grid = field + (np.arange(self._points) - self._points // 2) * step
            grid = grid[grid > step]
            strengths = np.zeros(len(grid))
            for site in self._sites:
                powder = ExactPowder(self._spin, site.cq, site.eta, field, _ORIENTATIONS).compute()
                strengths += site.weight * powder.strengths(grid)
            offsets, intensity = grid - field, unit_area(strengths, grid, fwhm)
        else:
            simulated = PowderSpectrum(
                self._spin, field, width, self._points, self._spinning, self._transitions, 1000 * fwhm
            ).compute(self._sites, self._show_band)
            offsets, intensity, band = simulated.frequencies_mhz, simulated.spectrum, simulated.band
        return {
            "larmor_MHz": field,
            "spinning_kHz": self._spinning,
            "transitions": self._transitions,
            "broadening_kHz": 1000 * fwhm,
            "offset_kHz": (1000 * offsets).tolist(),
            "intensity_per_kHz": (intensity / 1000).tolist(),
            "band68_per_kHz": None if band is None else [(edge / 1000).tolist() for edge in band],
        }

    @property
    def results(self) -> dict[str, Any]:
        """What the JSON file holds.

        Raises
        ------
        DataError
            Before `compute`.
        """
        if self._found is None:
            raise DataError("call compute() before asking for its results")
        return self._found

    def write(self, path: Path, console: Console) -> None:
        """Write the picture, and CSV and JSON beside it; print what was simulated."""
        found = self.results
        if path.suffix not in (".png", ".svg", ".pdf"):
            raise ConfigError(f"{path}: a picture is written as .png, .svg or .pdf")
        path.parent.mkdir(parents=True, exist_ok=True)
        _draw(found, path)
        path.with_suffix(".json").write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        with open(path.with_suffix(".csv"), "w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(_table(found))
        for site in found["sites"]:
            text = (
                f"{found['nucleus']}: Cq {frequency_text(site['cq_MHz'], site['cq_error_MHz'])}, eta {site['eta']:.3g}"
            )
            console.print(text, soft_wrap=True, highlight=False)
        for line in found.get("lines", []):
            if line["strength"] >= _WEAKEST_LINE:
                text = f"line at {frequency_text(line['frequency_MHz'])}, strength {line['strength']:.2f}"
                console.print(text, soft_wrap=True, highlight=False)
        if self._zeros:
            text = f"{self._zeros} of {len(self._sites)} tensors are compatible with zero: what is drawn there is noise"
            console.print(text, soft_wrap=True, highlight=False)
        console.print(f"spectrum: {path}", soft_wrap=True, highlight=False)


def _table(found: dict[str, Any]) -> list[list[Any]]:
    if found["kind"] == "nqr":
        rows = [[line["site"], line["frequency_MHz"], line["strength"]] for line in found["lines"]]
        return [["site", "frequency_MHz", "strength"], *rows]
    columns = {"offset_kHz": found["offset_kHz"], "intensity_per_kHz": found["intensity_per_kHz"]}
    if found["band68_per_kHz"] is not None:
        columns |= dict(zip(("low68_per_kHz", "high68_per_kHz"), found["band68_per_kHz"], strict=True))
    return [list(columns), *map(list, zip(*columns.values(), strict=True))]


def _draw(found: dict[str, Any], path: Path) -> None:
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(6.0, 3.2), layout="constrained")
        axes = figure.add_subplot()
        colour = STYLES[0][0]
        if found["kind"] == "nqr":
            for line in (line for line in found["lines"] if line["strength"] >= _WEAKEST_LINE):
                site_colour, marker, _ = STYLES[line["site"] % len(STYLES)]
                weight = found["sites"][line["site"]]["weight"]
                axes.vlines(line["frequency_MHz"], 0, weight * line["strength"], color=site_colour)
                axes.plot(line["frequency_MHz"], weight * line["strength"], marker=marker, color=site_colour)
            axes.set_xlabel(f"NQR frequency of {found['nucleus']} (MHz)")
            axes.set_xlim(left=0)
        else:
            largest = max(abs(found["offset_kHz"][0]), abs(found["offset_kHz"][-1]))
            factor, unit = (1e-3, "MHz") if largest > 5000 else (1.0, "kHz")
            offset = factor * np.array(found["offset_kHz"])
            if found["band68_per_kHz"] is not None:
                axes.fill_between(offset, *found["band68_per_kHz"], color=colour, alpha=0.3, linewidth=0)
            axes.plot(offset, found["intensity_per_kHz"], color=colour, linewidth=1.0)
            spinning = f", {found['spinning_kHz']:g} kHz spinning" if found["spinning_kHz"] else ""
            axes.set_xlabel(f"offset of {found['nucleus']} from {found['larmor_MHz']:.4g} MHz ({unit}{spinning})")
            axes.set_xlim(offset[0], offset[-1])
        axes.set_ylim(bottom=0)
        axes.set_yticks([])
        axes.set_ylabel("intensity")
        figure.savefig(path, dpi=150, facecolor="white")
