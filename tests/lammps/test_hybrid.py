"""The models beside other pair styles: a sum of styles gives the sum of what each gives alone."""

import shutil
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from ase.data import atomic_numbers
from lammps_cases import (
    ELEMENT_LIST,
    ELEMENTS,
    EV_PER_A3_IN_BAR,
    PRECISE,
    columns,
    perovskite,
    read_dump,
    succeed,
    write_data,
)

TYPES = (*ELEMENTS, "Ar")  # no model knows argon, the sixth type
NUMBERS = {k: atomic_numbers[element] for k, element in enumerate(TYPES, 1)}
PRESSURE = ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")
RELATIVE = 1e-10


class Term(NamedTuple):
    """A pair style with its settings, and its coefficients as often as it needs them."""

    settings: str
    coefficients: tuple[str, ...]
    also: str = ""


TERMS = {
    "zero": Term("zero 5.0", ("* * zero",)),
    "model": Term("mliap unified energy.safetensors 0 dtype float64", (f"* * mliap {ELEMENT_LIST} NULL",)),
    "first": Term("mliap unified energy.safetensors 0 dtype float64", ("* * mliap 1 Pb I NULL NULL NULL NULL",)),
    "second": Term("mliap unified other.safetensors 0 dtype float64", ("* * mliap 2 NULL NULL C N H NULL",)),
    "zbl": Term(
        "zbl 2.0 3.5", tuple(f"{i} {j} zbl {NUMBERS[i]} {NUMBERS[j]}" for j in NUMBERS for i in range(1, j + 1))
    ),
    "d3": Term("dispersion/d3 original pbe 8.0 6.0", (f"* * dispersion/d3 {' '.join(TYPES)}",)),
    "coulomb": Term("coul/long 6.0", ("* * coul/long",), also="kspace_style ewald 1e-6"),
    "argon": Term("lj/cut 5.0", ("*5 6 lj/cut 0.01 3.0", "6 6 lj/cut 0.02 3.4")),
}
SUMS = {
    "with zbl": ("hybrid/overlay", {"model": 1, "zbl": 1}),
    "with d3": ("hybrid/overlay", {"model": 1, "d3": 1}),
    "with ewald": ("hybrid/overlay", {"coulomb": 1, "model": 1}),
    "with zbl and d3": ("hybrid/overlay", {"zbl": 1, "model": 1, "d3": 1}),
    "beside argon": ("hybrid", {"model": 1, "argon": 1}),
    "scaled": ("hybrid/scaled", {"model": 0.25, "zbl": 1.5}),
    "two models": ("hybrid/overlay", {"first": 1, "second": 1, "zero": 1}),
}


def pair_commands(style, weights):
    """The pair commands of some terms; a weight is written where the style takes one."""
    scaled = style == "hybrid/scaled"
    settings = [
        f"{weight} {TERMS[name].settings}" if scaled else TERMS[name].settings for name, weight in weights.items()
    ]
    coefficients = [row for name in weights for row in TERMS[name].coefficients]
    if not {"first", "second"} <= set(weights):  # LAMMPS numbers a style only where there are several
        coefficients = [row.replace("mliap 1", "mliap").replace("mliap 2", "mliap") for row in coefficients]
    also = [TERMS[name].also for name in weights]
    return "\n".join(
        [f"pair_style {style} {' '.join(settings)}", *(f"pair_coeff {row}" for row in coefficients), *also]
    )


def structure():
    """A perovskite with three atoms of argon."""
    atoms = perovskite((2, 1, 1), seed=50, tilt=0.1)
    argon = atoms[:3].copy()
    argon.symbols[:] = "Ar"
    argon.positions += (0.5, 2.9, 3.1)
    return atoms + argon


def deck(name, commands):
    """An evaluation of energies, forces and stresses."""
    return f"""
clear
units metal
atom_style charge
read_data start.data
{commands}
neighbor 1.0 bin
compute energy all pe/atom
compute stress all stress/atom NULL virial
thermo_style custom step pe vol {" ".join(PRESSURE).lower()}
{PRECISE}
dump 1 all custom 1 "{name}.dump" id fx fy fz c_energy c_stress[*]
dump_modify 1 format float %.17g
run 0
"""


@pytest.fixture(scope="module")
def evaluated(models, tmp_path_factory):
    """`evaluated(ranks)[name]`: energy, pressure, forces, energies and stresses of each sum and each term."""
    import torch

    from efgmd.models import EnergyModel
    from efgmd.models.io import save_model

    @cache
    def evaluate(ranks):
        folder = tmp_path_factory.mktemp(f"hybrid_{ranks}")
        shutil.copy(models / "energy.safetensors", folder)
        torch.manual_seed(8)
        save_model(
            folder / "other.safetensors", EnergyModel(["H", "C", "N"], cutoff=4.0, n_radial=4, channels=4, hidden=6)
        )
        write_data(folder / "start.data", structure(), TYPES)
        text = (folder / "start.data").read_text().replace("# atomic", "# charge")
        head, body = text.split("Atoms # charge\n\n")
        rows = [line.split() for line in body.strip().splitlines()]
        body = "\n".join(" ".join([*row[:2], f"{0.3 * (-1) ** int(row[1])}", *row[2:]]) for row in rows)
        (folder / "start.data").write_text(f"{head}Atoms # charge\n\n{body}\n")

        runs = {name: pair_commands(style, weights) for name, (style, weights) in SUMS.items()}
        runs |= {name: pair_commands("hybrid/overlay", {name: 1, "zero": 1}) for name in TERMS if name != "zero"}
        script = "".join(deck(name.replace(" ", "_"), commands) for name, commands in runs.items())
        finished = succeed(folder, script, ranks)
        results = {}
        for k, name in enumerate(runs):
            (frame,) = read_dump(folder / f"{name.replace(' ', '_')}.dump")
            thermo = {key: values[0] for key, values in finished.thermo(k).items()}
            results[name] = {
                "energy": np.array(thermo["PotEng"]),
                "pressure": np.array([thermo[key] for key in PRESSURE]),
                "forces": columns(frame, "fx", "fy", "fz"),
                "energies": frame["c_energy"],
                "stresses": columns(frame, *(f"c_stress[{c + 1}]" for c in range(6))),
                "volume": thermo["Volume"],
            }
        return results

    return evaluate


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("name", SUMS)
def test_a_sum_of_styles_is_the_sum_of_their_results(evaluated, name, ranks):
    results = evaluated(ranks)
    _, weights = SUMS[name]
    for quantity in ("energy", "pressure", "forces", "energies", "stresses"):
        expected = sum(weight * results[term][quantity] for term, weight in weights.items() if term != "zero")
        assert np.abs(results[name][quantity] - expected).max() < RELATIVE * np.abs(expected).max(), quantity


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize(
    ("term", "file", "elements"),
    [("model", "energy", "Pb I C N H"), ("first", "energy", "Pb I"), ("second", "other", "C N H")],
)
def test_each_model_sees_its_own_types_alone(evaluated, models, tmp_path_factory, term, file, elements, ranks):
    """Energy, forces and pressure are those of ASE for the atoms that are not NULL."""
    from efgmd.calculators import EnergyCalculator

    results = evaluated(ranks)[term]
    everything = structure()
    seen = np.isin(everything.get_chemical_symbols(), elements.split())
    atoms = everything[seen]
    folder = next(tmp_path_factory.getbasetemp().glob(f"hybrid_{ranks}*"))
    atoms.calc = EnergyCalculator(folder / f"{file}.safetensors", dtype="float64")
    forces = atoms.get_forces()
    pressure = -EV_PER_A3_IN_BAR * atoms.get_stress(voigt=False)[(0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)]
    assert results["energy"] == pytest.approx(atoms.get_potential_energy(), rel=1e-8)
    assert np.abs(results["energies"][seen] - atoms.get_potential_energies()).max() < 1e-8
    assert np.abs(results["forces"][seen] - forces).max() < 1e-8 * np.abs(forces).max()
    assert np.abs(results["pressure"] - pressure).max() < 1e-8 * np.abs(pressure).max()
    for quantity in ("energies", "forces", "stresses"):
        assert np.all(results[quantity][~seen] == 0.0)
