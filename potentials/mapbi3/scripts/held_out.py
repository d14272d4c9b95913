"""Held-out frames and the check that nothing broke, from the dumps of validation/in.stability.

usage: python held_out.py OUT.xyz frames.150.dump frames.250.dump ...
Takes ten frames of each run, evenly spaced after its first 5 ps, and writes for each run the longest C-N, C-H and N-H
bond and the mean lattice constants per pseudo-cubic cell to OUT.json. Exits with 1 if a methylammonium ion broke.
"""

import json
import sys
from pathlib import Path

import numpy as np
from ase.io import read, write
from ase.neighborlist import neighbor_list

ELEMENTS = ["Pb", "I", "C", "N", "H"]
# Longest bonds of an intact ion, angstrom; and how many bonds each has.
BONDS = {("C", "N"): (2.0, 1), ("C", "H"): (1.6, 3), ("N", "H"): (1.6, 3)}


def longest_bonds(atoms) -> dict[str, float]:
    """Length of the longest bond of each kind, or inf where an ion lacks one."""
    out = {}
    for pair, (reach, each) in BONDS.items():
        i, d = neighbor_list("id", atoms, {pair: reach})
        mine = np.array(atoms.get_chemical_symbols())[i] == pair[0]
        complete = mine.sum() == each * atoms.symbols.count(pair[0])
        out["-".join(pair)] = float(d.max()) if complete else np.inf
    return out


def main():
    kept, broken, summary = [], False, {}
    for name in sys.argv[2:]:
        frames = read(name, ":", format="lammps-dump-text", specorder=ELEMENTS)
        temperature = name.split(".")[-2]
        bonds = [longest_bonds(f) for f in frames]
        worst = {kind: max(b[kind] for b in bonds) for kind in bonds[0]}
        broken |= not all(np.isfinite(list(worst.values())))
        lengths = np.mean([f.cell.lengths() for f in frames[5:]], axis=0) / [2 * 2**0.5, 2 * 2**0.5, 4]
        for number in np.linspace(5, len(frames) - 1, 10).astype(int):
            frames[number].info = {"tag": f"heldout-{temperature}K"}
            kept.append(frames[number])
        summary[f"{temperature} K"] = {
            "length_ps": len(frames) - 1,
            "longest_bonds_A": {kind: round(value, 3) for kind, value in worst.items()},
            "pseudo_cubic_a_b_c_A": lengths.round(4).tolist(),
        }
        text = ", ".join(f"{kind} {value:.2f}" for kind, value in worst.items())
        print(f"{temperature} K, {len(frames) - 1} ps: longest bonds {text} A; a, b, c", lengths.round(3), "A")
    write(sys.argv[1], kept, format="extxyz")
    Path(sys.argv[1]).with_suffix(".json").write_text(json.dumps(summary, indent=1) + "\n")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
