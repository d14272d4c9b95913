"""Memory of one rank grows with the number of atoms and not faster; LAMMPS' own coupling fails at 16,000 atoms."""

import pickle
import re
from pathlib import Path

import lennard_jones
import numpy as np
import pytest
from lammps_cases import ELEMENT_LIST, columns, perovskite, read_dump, succeed, write_data

# Called by LAMMPS: peak memory of LAMMPS' own process.
NOTE_PEAK = "grep VmHWM /proc/$PPID/status > peak\n"
OWN = f"pair_style mliap unified energy.safetensors 0\npair_coeff * * {ELEMENT_LIST}"
PICKLED = "pair_style mliap unified object.pickle 0\npair_coeff * * Ar Kr Ar Kr Ar"
DECK = """
units metal
read_data start.data
replicate {copies[0]} {copies[1]} {copies[2]}
mass * 40.0
{pair}
neighbor 1.0 bin
fix 1 all nve
timestep 0.0001
dump 1 all custom 2 out.dump id fx fy fz
thermo_modify norm no
run 2
shell exec sh peak.sh
"""


@pytest.mark.slow
@pytest.mark.parametrize("pair", [OWN, PICKLED], ids=["own model", "pickled object"])
def test_memory_per_atom_does_not_grow(workdir, pair):
    """The atoms between 16,000 and 100,000 need no more memory each than those up to 16,000; forces repeat in space."""
    unit = perovskite((2, 2, 2), seed=3, shake=0.03)
    write_data(workdir / "start.data", unit)
    (workdir / "object.pickle").write_bytes(pickle.dumps(lennard_jones.ByPairs()))
    (workdir / "peak.sh").write_text(NOTE_PEAK)
    variables = {"EFGMD_ALLOW_PICKLE": "1", "PYTHONPATH": str(Path(__file__).parent)}
    atoms, peaks = [], []
    for copies in [(1, 1, 1), (5, 6, 6), (10, 10, 11)]:
        finished = succeed(workdir, DECK.format(copies=copies, pair=pair), timeout=600, **variables)
        (size,) = re.findall(r"Loop time of .* for 2 steps with (\d+) atoms", finished.output)
        atoms.append(int(size))
        peaks.append(1024 * int((workdir / "peak").read_text().split()[1]))
        forces = columns(read_dump(workdir / "out.dump")[0], "fx", "fy", "fz")
        if copies == (1, 1, 1):
            expected = forces
        repeated = forces.reshape(-1, len(unit), 3) - expected
        assert np.abs(repeated).max() < 1e-4 * np.abs(expected).max()
    assert atoms == [96, 17280, 105600]
    per_atom = np.diff(peaks) / np.diff(atoms)
    print(f"peak memory {[round(peak / 2**20) for peak in peaks]} MB, bytes per further atom {per_atom.round()}")
    assert per_atom[1] < 1.1 * per_atom[0]
