"""A campaign's folder with stores of a made-up perovskite whose order parameter follows Landau's laws."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from crystals import perovskite, point_charge_tensors
from test_sampling import SPEC

from efgmd.analysis.landau import landau_first_order
from efgmd.store import StoreWriter
from efgmd.tensors import l2_to_cartesian, matrix_to_six, principal_values

TC, LOWEST = 331.0, 250.0
TEMPERATURES = (250.0, 270.0, 290.0, 305.0, 315.0, 325.0, 335.0, 345.0, 360.0, 380.0)
SAMPLES = 64
# What the order parameter 1 does: tilt (degrees), c/a - 1, the tensor of nitrogen (a.u.).
TILT, STRETCH, NITROGEN = 11.0, 0.02, 0.012
# Noise of a sample: tensors of iodine and nitrogen (a.u.), positions (fractions), lengths (angstrom).
NOISE = {"I": 0.3, "N": 0.05, "Pb": 0.1}
SHAKE, BREATHE = 0.004, 0.06


def power_law(exponent):
    """Order parameter ~ (Tc - T)^exponent, 1 at the lowest temperature."""
    return lambda kelvin: (np.maximum(TC - kelvin, 0.0) / (TC - LOWEST)) ** exponent


def first_order(kelvin, width=2.0):
    """Landau's first-order law with Tc - T0 = ``width``, 1 at the lowest temperature."""
    below = np.maximum(TC - np.asarray(kelvin, dtype=float), 0.0)
    return landau_first_order(below, width) / landau_first_order(TC - LOWEST, width) * (below > 0)


def crystal(order):
    """Structure and tensors for a value of the order parameter: tilt linear, strain and nitrogen quadratic in it."""
    atoms = perovskite(TILT * order, 1 + STRETCH * order**2)
    tensors = 300 * point_charge_tensors(atoms)
    centres = atoms.positions[atoms.symbols == "Pb"] + atoms.cell.lengths() / 4
    nitrogen = NITROGEN * order**2 * np.diag([-0.5, -0.5, 1.0])
    return atoms + Atoms(["N"] * len(centres), centres), np.concatenate([tensors, [nitrogen] * len(centres)])


def write_landau_campaign(folder: Path, order, temperatures=TEMPERATURES, samples=SAMPLES, seed=0):
    """Write stores that sample ``order(T)`` with noise; returns the campaign's record (campaign.json)."""
    rng = np.random.default_rng(seed)
    start, _ = crystal(1.0)
    start.write(folder / "structure.extxyz")
    names = []
    for kelvin in temperatures:
        names.append(f"T{kelvin:04.0f}K")
        (folder / names[-1]).mkdir()
        atoms, tensors = crystal(float(order(kelvin)))
        spec = replace(
            SPEC,
            temperature=kelvin,
            symbols=atoms.get_chemical_symbols(),
            samples_per_block=1,
            n_samples=samples,
            equilibration_steps=0,
            sampling_steps=2000,
        )
        spec.write(folder / names[-1])
        _write_store(folder / names[-1] / "efg.h5", spec, atoms, tensors, rng)
    return _record(names, start, samples)


def _write_store(path, spec, atoms, tensors, rng):
    cell = np.array([*atoms.cell.lengths(), 0, 0, 0])
    sizes = np.array([NOISE[symbol] for symbol in atoms.symbols])[:, None]
    scaled = atoms.get_scaled_positions(wrap=False)
    with StoreWriter(path, identity=spec.identity, header={}, symbols=spec.symbols, n_samples=spec.n_samples) as store:
        for row in range(spec.n_samples):
            step = (row + 1) * spec.sampling_steps
            shaken = cell + np.array([*rng.normal(0, BREATHE, 3), 0, 0, 0])
            noisy = tensors + l2_to_cartesian(sizes * rng.normal(size=(len(atoms), 5)))
            scalars = {"temperature": spec.temperature + rng.normal(0, 5), "pressure": 0.0, "potential_energy": -1.0}
            store.write_sample(row, step, {"cell": shaken, "volume": shaken[:3].prod(), **scalars})
            block = {
                "efg": matrix_to_six(noisy),
                "abs_vzz": np.abs(principal_values(noisy)[:, 2]),
                "scaled": scaled + rng.normal(0, SHAKE, scaled.shape),
                "cell": shaken,
            }
            store.write_block(row, step, block)


def _record(names, start, samples):
    return {
        "campaign": {
            "nuclei": [{"name": "127I"}, {"name": "14N"}],
            "sites": {"framework": ["Pb", "I"], "tolerance": 0.3},
            "structure": {"supercell": [1, 1, 1]},
            "ensemble": {"kind": "npt", "pressure_control": "aniso", "pressure_bar": 0.0},
            "transition": {"order_parameters": None, "law": "any", "exponent": None},
            "production_ps": float(samples),
            "equilibration_ps": 0.0,
            "timestep_fs": 0.5,
            "sampling_fs": 1000.0,
        },
        "campaign_file": "landau.yaml",
        "campaign_sha256": "c" * 64,
        "structure_sha256": "s" * 64,
        "cells": [2, 2, 2],
        "n_atoms": len(start),
        "formula": start.get_chemical_formula(),
        "folders": names,
        "models": {kind: {"path": kind, "sha256": kind, "cutoff": 6.0, "training": {}} for kind in ("energy", "efg")},
        "nuclei": {
            "127I": {"spin": "5/2", "moment_mb": -696.0, "source": "test"},
            "14N": {"spin": "1", "moment_mb": 20.44, "source": "test"},
        },
        "masses": {"Pb": 207.2, "I": 126.9, "N": 14.0},
        "notes": [],
        "versions": {"efgmd": "0"},
    }
