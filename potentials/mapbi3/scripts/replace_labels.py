"""Take the tensors of some elements in the EFG data files of a folder from another calculation of the same frames.

usage: python replace_labels.py NEW.xyz FOLDER Pb I
Elements need different settings: nitrogen a high cutoff, iodine and lead many k-points. In frames that the new file
lacks, the tensors of these elements become unknown (`efg_known`), so that no label of a file is of the old calculation.
"""

import sys
from pathlib import Path

import numpy as np
from ase.io import read, write


def main():
    elements = sys.argv[3:]
    new = {frame.positions.tobytes(): frame for frame in read(sys.argv[1], ":")}
    for path in sorted(Path(sys.argv[2]).glob("efg_*.xyz.gz")):
        frames, replaced = read(path, ":"), 0
        for frame in frames:
            frame.calc = None  # forces and energy are in dft_forces and dft_energy
            chosen = np.isin(frame.get_chemical_symbols(), elements)
            known = np.asarray(frame.arrays.pop("efg_known", np.ones(len(frame))), dtype=bool)
            other = new.get(frame.positions.tobytes())
            known[chosen] = other is not None
            frame.arrays["efg"][chosen] = other.arrays["efg"][chosen] if other else np.nan
            for key in ("efg_method", "efg_kpoints"):
                name = f"{key}_of_{'_'.join(elements)}"
                frame.info.pop(name, None)
                if other:
                    frame.info[name] = other.info[key]
            if not known.all():
                frame.new_array("efg_known", known)
            replaced += other is not None
        write(path, frames, format="extxyz")
        print(f"{path}: {', '.join(elements)} of {replaced} of {len(frames)} frames")


if __name__ == "__main__":
    main()
