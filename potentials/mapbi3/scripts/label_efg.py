"""Label frames with first-principles EFG tensors, forces and energies: GPAW 22.8, PBE, plane waves of 20 Ha.

usage: OMP_NUM_THREADS=1 /usr/bin/python3 label_efg.py IN.xyz OUT.xyz [--processes N]
On Debian 12: apt install --no-install-recommends gpaw gpaw-data python3-ase libopenblas0-serial (its Python need not
have efgmd). Frames are 12-atom pseudo-cubic cells or 48-atom sqrt2 x sqrt2 x 2 cells. Resumable: each finished frame is
a file in the folder OUT.frames. A 12-atom frame takes about 40 s on one core, a 48-atom frame five minutes.
"""

import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np
from ase.io import read, write

# The cell in units of the 12-atom cell. Sets of k-points are the same in all of them, or labels would not agree.
CELLS = {12: np.eye(3), 48: np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 2]])}
CUTOFF = 20 * 27.211386  # eV


def k_points(atoms):
    """The 2x2x2 grid and its shifted twin of the 12-atom cell, folded into the cell of the frame."""
    from ase.dft.kpoints import monkhorst_pack

    grid = np.vstack([monkhorst_pack((2, 2, 2)), monkhorst_pack((2, 2, 2)) + 0.25]) @ CELLS[len(atoms)].T
    folded = []
    for point in grid - np.round(grid - 1e-9):
        apart = [point - other for other in folded]
        if not any(np.abs(d - np.round(d)).max() < 1e-6 for d in apart):
            folded.append(point)
    return np.array(folded)


def label(work):
    """Label one frame and write it to its file; returns what to print."""
    number, atoms, target = work
    from gpaw import GPAW, PW, Mixer
    from gpaw.eigensolvers import Davidson
    from gpaw_efg import efg_tensors

    begin = time.time()
    atoms.calc = GPAW(
        mode=PW(CUTOFF),
        xc="PBE",
        kpts=k_points(atoms),
        symmetry={"point_group": False},
        txt=str(target.with_suffix(".txt")),
        nbands=-4,
        occupations={"name": "fermi-dirac", "width": 0.0},
        eigensolver=Davidson(2),
        mixer=Mixer(0.25, 5, 1),
        maxiter=60,
        convergence={"density": 1e-4, "eigenstates": 1e-2, "energy": 1e-3, "bands": "occupied"},
    )
    try:
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    except Exception as error:  # GPAW's own errors have no common class
        return f"frame {number} failed and is left out: {error!r:.150}"
    homo, lumo = atoms.calc.get_homo_lumo()
    partial = target.with_suffix(".partial.npz")
    np.savez(partial, V=efg_tensors(atoms.calc), E=energy, F=forces, gap=lumo - homo)
    partial.rename(target)
    return f"frame {number}: {time.time() - begin:.0f} s, gap {lumo - homo:.2f} eV"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    frames = read(arguments.input, ":")
    folder = Path(arguments.output + ".frames")
    folder.mkdir(exist_ok=True)
    files = [folder / f"{number:05d}.npz" for number in range(len(frames))]
    work = [(n, frames[n].copy(), files[n]) for n in range(len(frames)) if not files[n].exists()]
    begin = time.time()
    with multiprocessing.get_context("spawn").Pool(arguments.processes, maxtasksperchild=1) as pool:
        for done, text in enumerate(pool.imap(label, work), 1):
            left = (time.time() - begin) / done * (len(work) - done)
            print(f"{text}; {done}/{len(work)}, {left / 60:.0f} min left", flush=True)
    labelled = []
    for atoms, file in zip(frames, files, strict=True):
        if not file.exists():
            continue
        found = np.load(file)
        atoms.arrays["efg"], atoms.arrays["dft_forces"] = found["V"].reshape(-1, 9), found["F"]
        atoms.info.update(dft_energy=float(found["E"]), gap_eV=float(found["gap"]))
        labelled.append(atoms)
    write(arguments.output, labelled, format="extxyz")
    print(f"{len(labelled)} of {len(frames)} frames in {arguments.output}")


if __name__ == "__main__":
    main()
