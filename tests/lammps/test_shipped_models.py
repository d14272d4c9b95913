"""The potentials that come with the package in LAMMPS: tensors of labelled frames, against first principles."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from lammps_cases import ELEMENT_LIST, efg_columns, read_dump, succeed, write_data

from efgmd.calculators import EFGCalculator

FOLDER = Path(__file__).parents[2] / "potentials" / "mapbi3"


@pytest.mark.parametrize("ranks", [1, 4])
def test_tensors_in_lammps_are_those_of_first_principles(tmp_path, ranks):
    for name in ("energy-d3", "efg"):
        shutil.copy(FOLDER / f"{name}.safetensors", tmp_path)
    unit = [atoms for atoms in read(FOLDER / "data" / "efg_test.xyz.gz", ":") if len(atoms) == 48][-1]
    atoms = unit.repeat((2, 1, 1))
    write_data(tmp_path / "start.data", atoms)
    deck = f"""
units metal
read_data start.data
pair_style mliap unified energy-d3.safetensors 0
pair_coeff * * {ELEMENT_LIST}
neighbor 1.0 bin
comm_modify cutoff 8.0
compute efg all efg/atom efg.safetensors {ELEMENT_LIST}
dump out all custom 1 run.dump id c_efg[*]
dump_modify out format float %.9g
run 0
"""
    succeed(tmp_path, deck, ranks)
    (frame,) = read_dump(tmp_path / "run.dump")
    found = efg_columns(frame)
    expected = EFGCalculator(FOLDER / "efg.safetensors", dtype="float64").get_property("efg", atoms)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    labels = atoms.arrays["efg"].reshape(-1, 3, 3)
    for symbol, largest in {"I": 0.08, "N": 0.2, "H": 0.02, "C": 0.04}.items():
        mine = atoms.symbols == symbol
        error = np.sqrt(np.mean((found[mine] - labels[mine]) ** 2) / np.mean(labels[mine] ** 2))
        assert error < largest, f"{symbol}: {error:.3f}"
