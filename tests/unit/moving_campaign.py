"""A campaign without LAMMPS: a cubic perovskite whose iodine tensors tumble about their means, exp(-t/tau)."""

import json
from dataclasses import replace

import numpy as np
from crystals import perovskite, point_charge_tensors
from moving_tensors import tumbling
from test_sampling import SPEC

from efgmd.store import StoreWriter
from efgmd.tensors import matrix_to_six

TAU_PS, INTERVAL_PS, FRAMES, SIZE = 0.05, 0.01, 2400, 0.2
TEMPERATURES = (300.0, 400.0)


def write_campaign(folder, samples_per_block=1):
    """Write stores, structure and campaign.json; returns the record."""
    rng = np.random.default_rng(5)
    atoms = perovskite(0.0)
    atoms.write(folder / "structure.extxyz")
    names = [f"T{temperature:04.0f}K" for temperature in TEMPERATURES]
    for name, temperature in zip(names, TEMPERATURES, strict=True):
        spec = replace(
            SPEC,
            temperature=temperature,
            symbols=atoms.get_chemical_symbols(),
            samples_per_block=samples_per_block,
            n_samples=FRAMES,
            equilibration_steps=0,
        )
        (folder / name).mkdir()
        spec.write(folder / name)
        write_store(folder / name / "efg.h5", spec, atoms, rng)
    record = {
        "campaign": {
            "nuclei": [{"name": "127I", "moment_mb": None, "spin": None}],
            "sites": {"framework": None, "tolerance": 0.1},
            "structure": {"supercell": [1, 1, 1]},
            "ensemble": {"kind": "nvt"},
            "production_ps": FRAMES * INTERVAL_PS,
            "equilibration_ps": 0.0,
            "timestep_fs": 0.5,
            "sampling_fs": 1000 * INTERVAL_PS,
        },
        "campaign_file": "toy.yaml",
        "campaign_sha256": "c" * 64,
        "structure_sha256": "s" * 64,
        "cells": [2, 2, 2],
        "n_atoms": len(atoms),
        "formula": "Pb8I24",
        "folders": names,
        "models": {kind: {"path": kind, "sha256": kind, "cutoff": 6.0, "training": {}} for kind in ("energy", "efg")},
        "nuclei": {"127I": {"spin": "5/2", "moment_mb": -696.0, "source": "Pyykkö 2008"}},
        "masses": {"Pb": 207.2, "I": 126.9},
        "notes": [],
    }
    (folder / "campaign.json").write_text(json.dumps(record))
    return record


def write_store(path, spec, atoms, rng):
    per_block = spec.samples_per_block
    means = matrix_to_six(300 * point_charge_tensors(atoms))
    series = means + tumbling(np.diag([-0.5, -0.5, 1.0]) * SIZE, TAU_PS, INTERVAL_PS, FRAMES, len(atoms), rng)
    cell, scaled = np.array([*atoms.cell.lengths(), 0, 0, 0]), atoms.get_scaled_positions(wrap=False)
    scalars = {"temperature": spec.temperature, "pressure": 0.0, "potential_energy": -1.0, "volume": cell[:3].prod()}
    with StoreWriter(
        path,
        identity=spec.identity,
        header={},
        symbols=spec.symbols,
        n_samples=FRAMES,
        samples_per_block=per_block,
    ) as store:
        # Rows are written at once: one call a row would flush the file thousands of times.
        file = store._file
        steps = spec.sampling_steps * np.arange(1, FRAMES + 1)
        for name, value in {"cell": cell, **scalars}.items():
            file["samples"][name][...] = value
        blocks = series.reshape(-1, per_block, *series.shape[1:]).mean(axis=1)
        for name, value in {"efg": blocks, "abs_vzz": 1.0, "scaled": scaled, "cell": cell}.items():
            file["blocks"][name][...] = value
        file["samples"]["step"][...] = steps
        file["blocks"]["step"][...] = steps[per_block - 1 :: per_block]
