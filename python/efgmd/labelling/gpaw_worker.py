"""Label one frame with GPAW: a program for the Python that has GPAW.

usage: python gpaw_worker.py JOB.json RESULT.npz

The job holds ``numbers``, ``positions`` and ``cell`` (angstrom), ``kpoints`` (fractions of the reciprocal cell),
``cutoff`` (Hartree), ``xc``, ``convergence`` (of GPAW) and ``identity``. The result holds ``V`` (N, 3, 3) in a.u.,
``E`` and ``gap`` in eV, ``F`` (N, 3) in eV/angstrom, ``sym``, ``pos``, ``cell``, ``method`` and ``identity``. It is
there only when it is complete.
What goes wrong is one line on standard error and exit status 1. Imports nothing of efgmd.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

EV_PER_HARTREE = 27.211386


def calculate(job: dict[str, Any], log: str) -> dict[str, Any]:
    """Run GPAW on the structure of a job and return the arrays of the result."""
    import gpaw
    from ase import Atoms
    from gpaw import GPAW, PW, Mixer
    from gpaw.eigensolvers import Davidson
    from gpaw_efg import efg_tensors

    atoms = Atoms(job["numbers"], positions=job["positions"], cell=job["cell"], pbc=True)
    atoms.calc = GPAW(
        mode=PW(job["cutoff"] * EV_PER_HARTREE),
        xc=job["xc"],
        kpts=np.array(job["kpoints"]),
        symmetry={"point_group": False},
        txt=log,
        nbands=-4,
        occupations={"name": "fermi-dirac", "width": 0.0},
        eigensolver=Davidson(2),
        mixer=Mixer(0.6, 8, 1),
        maxiter=60,
        convergence=job["convergence"],
    )
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    homo, lumo = atoms.calc.get_homo_lumo()
    if not lumo - homo > 0:
        raise ValueError(f"no band gap ({lumo - homo:.2f} eV); only non-magnetic insulators can be labelled")
    return {
        "V": efg_tensors(atoms.calc),
        "E": energy,
        "F": forces,
        "gap": lumo - homo,
        "sym": atoms.get_chemical_symbols(),
        "pos": atoms.positions,
        "cell": atoms.cell.array,
        "method": f"GPAW {gpaw.__version__} {job['xc']} {job['cutoff']:g} Ha",
        "identity": job["identity"],
    }


def main() -> None:
    """Run the job named on the command line."""
    job_file, result = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        found = calculate(json.loads(job_file.read_text(encoding="utf-8")), str(result.with_suffix(".txt")))
    except Exception as error:  # GPAW's errors have no common class
        sys.exit(" ".join(f"{type(error).__name__}: {error}".split()))
    partial = result.with_suffix(".partial.npz")
    np.savez(partial, **found)
    os.replace(partial, result)


if __name__ == "__main__":
    main()
