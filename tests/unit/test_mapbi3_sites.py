"""A synthetic trajectory of CH3NH3PbI3: thermal noise, cations that turn at random; sites come out by themselves."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from crystals import perovskite, point_charge_tensors
from scipy.spatial.transform import Rotation
from test_sampling import SPEC

from efgmd.analysis.temperature import TemperatureAnalysis
from efgmd.campaign.config import Sites
from efgmd.nuclei import nucleus
from efgmd.store import StoreWriter
from efgmd.tensors import asymmetry, l2_to_cartesian, matrix_to_six, principal_values, rotate, six_to_matrix

FRAMES = 150
CATION = molecule("H3CNH2")
BODY = CATION.positions - CATION.get_center_of_mass()
OWN = l2_to_cartesian(np.random.default_rng(0).normal(size=(len(CATION), 5)))


def crystal(tilt, stretch):
    """Framework, its exact tensors, and the start with cations in random orientations."""
    rng, framework = np.random.default_rng(1), perovskite(tilt, stretch)
    tensors = 300 * point_charge_tensors(framework)
    centres = (np.array(list(np.ndindex(2, 2, 2))) + 0.5) / 2 @ framework.cell.array
    start = framework.copy()
    for centre in centres:
        start += Atoms(CATION.numbers, positions=BODY @ Rotation.random(rng=rng).as_matrix().T + centre)
    return framework, tensors, start, centres


def analyse(tmp_path, tilt, stretch):
    rng = np.random.default_rng(2)
    framework, tensors, start, centres = crystal(tilt, stretch)
    spec = replace(
        SPEC,
        symbols=start.get_chemical_symbols(),
        samples_per_block=1,
        n_samples=FRAMES,
        equilibration_steps=0,
    )
    spec.write(tmp_path)
    lengths = framework.cell.lengths()
    with StoreWriter(
        tmp_path / "efg.h5", identity=spec.identity, header={}, symbols=spec.symbols, n_samples=FRAMES
    ) as store:
        for row in range(FRAMES):
            positions, efg = [framework.positions], [tensors]
            for centre in centres:
                turn = Rotation.random(rng=rng).as_matrix()
                positions.append(BODY @ turn.T + centre)
                efg.append(rotate(OWN, turn))
            scaled = (np.vstack(positions) + rng.normal(0, 0.15, (len(start), 3))) / lengths
            noisy = matrix_to_six(np.concatenate(efg) + l2_to_cartesian(0.5 * rng.normal(size=(len(start), 5))))
            cell = np.array([*(lengths + rng.normal(0, 0.03, 3)), 0, 0, 0])
            step = (row + 1) * spec.sampling_steps
            scalars = {"temperature": 300.0, "pressure": 0.0, "potential_energy": 0.0, "volume": 1.0}
            store.write_sample(row, step, {"cell": cell, **scalars})
            sizes = np.abs(principal_values(six_to_matrix(noisy))[:, 2])
            store.write_block(row, step, {"efg": noisy, "abs_vzz": sizes, "scaled": scaled, "cell": cell})
    nuclei = [nucleus(name) for name in ("127I", "14N")]
    analysis = TemperatureAnalysis(nuclei, Sites(framework=("Pb", "I"), tolerance=0.2), (2, 2, 2))
    return analysis.compute(tmp_path, start), tensors


def test_tetragonal_iodine_splits_into_4a_and_8h(tmp_path):
    entry, tensors = analyse(tmp_path, 8.0, 1.03)
    assert entry["symmetry"]["space_group"] == "I4/mcm (140)"
    assert not entry["symmetry"]["tolerance_widened"] and not entry["symmetry"]["assumed_from_start"]
    iodine = {site["site"]: site for site in entry["sites"] if site["nucleus"] == "127I"}
    assert {label: site["count"] for label, site in iodine.items()} == {"4a": 8, "8h": 16}
    for site in iodine.values():
        exact = principal_values(tensors[site["atom_ids"][0] - 1])
        assert abs(site["cq_MHz"] - float(nucleus("127I").coupling_mhz(exact[2]))) < 4 * site["cq_error_sampling_MHz"]
        assert site["eta_interval95"][0] - 0.01 <= asymmetry(exact) <= site["eta_interval95"][1] + 0.01
    assert iodine["4a"]["symmetrised"]["eta"] == pytest.approx(0, abs=1e-6)
    assert iodine["8h"]["eta"] > 3 * iodine["8h"]["eta_error_sampling"]
    (nitrogen,) = [site for site in entry["sites"] if site["nucleus"] == "14N"]
    assert nitrogen["count"] == 8 and nitrogen["compatible_with_zero"]


def test_cubic_iodine_is_one_site(tmp_path):
    entry, tensors = analyse(tmp_path, 0.0, 1.0)
    assert entry["symmetry"]["space_group"] == "Pm-3m (221)"
    (iodine,) = [site for site in entry["sites"] if site["nucleus"] == "127I"]
    assert iodine["count"] == 24
    exact = float(nucleus("127I").coupling_mhz(principal_values(tensors[1])[2]))
    assert abs(iodine["cq_MHz"] - exact) < 4 * iodine["cq_error_sampling_MHz"]
    assert "eta compatible with zero" in iodine["notes"]
    (nitrogen,) = [site for site in entry["sites"] if site["nucleus"] == "14N"]
    assert nitrogen["symmetrised"]["free_components"] == 0 and nitrogen["symmetrised"]["forbidden_is_noise"]
