"""Take the tensors of some elements in the EFG data files of a folder from another calculation of the same frames.

usage: python replace_labels.py NEW.xyz FOLDER Pb I
Elements need different settings: nitrogen a high cutoff, iodine and lead many k-points. Frames that the new file lacks
keep their tensors of these elements if they come from the same settings; otherwise these become unknown (`efg_known`),
so that all labels of an element are of one kind.
"""

import sys
from pathlib import Path

import numpy as np
from ase.io import read, write

from efgmd.frames.labels import KNOWN, known_atoms

SETTINGS = ("efg_method", "efg_kpoints")


def replace(frame, other, elements, settings):
    """Put the tensors of another calculation into a frame, or mark them unknown."""
    names = [f"{key}_of_{'_'.join(elements)}" for key in SETTINGS]
    if other is None and [frame.info.get(name) for name in names] == settings:
        return
    chosen = np.isin(frame.get_chemical_symbols(), elements)
    known = known_atoms(frame)
    frame.arrays.pop(KNOWN, None)
    known[chosen] = other is not None
    frame.arrays["efg"][chosen] = np.nan if other is None else other.arrays["efg"][chosen]
    if not known.all():
        frame.new_array(KNOWN, known)
    for name, value in zip(names, settings, strict=True):
        frame.info.pop(name, None)
        if other is not None:
            frame.info[name] = value


def main():
    elements = sys.argv[3:]
    frames = read(sys.argv[1], ":")
    new = {frame.positions.tobytes(): frame for frame in frames}
    (settings,) = {tuple(frame.info[key] for key in SETTINGS) for frame in frames}
    for path in sorted(Path(sys.argv[2]).glob("efg_*.xyz.gz")):
        held = read(path, ":")
        for frame in held:
            frame.calc = None  # forces and energy are in dft_forces and dft_energy
            replace(frame, new.pop(frame.positions.tobytes(), None), elements, list(settings))
        write(path, held, format="extxyz")
        unknown = sum(KNOWN in frame.arrays for frame in held)
        print(f"{path}: {len(held)} frames, {unknown} of them with unknown tensors")
    if new:
        sys.exit(f"{sys.argv[1]}: {len(new)} of its frames are in no file of {sys.argv[2]}")


if __name__ == "__main__":
    main()
