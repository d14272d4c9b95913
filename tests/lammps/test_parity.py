"""LAMMPS on 1, 2 and 4 ranks against the ASE calculators of the same models: one evaluation of each structure."""

import shutil
from functools import cache

import numpy as np
import pytest
from lammps_cases import (
    DUMP,
    EV_PER_A3_IN_BAR,
    OUTPUT,
    PRECISE,
    columns,
    efg_columns,
    header,
    perovskite,
    read_dump,
    succeed,
    write_data,
)

TOLERANCE = {"float64": 1e-8, "float32": 1e-4}
CASES = [("float64", 1), ("float64", 2), ("float64", 4), ("float32", 1), ("float32", 4)]
STRUCTURES = {"orthogonal": perovskite(seed=1), "triclinic": perovskite(seed=2, tilt=0.12)}


@pytest.fixture(scope="module")
def evaluated(models, tmp_path_factory):
    """`evaluated(dtype, ranks)[structure]`: dumped frame and thermodynamic values; one launch for all structures."""

    @cache
    def evaluate(dtype, ranks):
        folder = tmp_path_factory.mktemp(f"{dtype}_{ranks}")
        for file in models.iterdir():
            shutil.copy(file, folder)
        deck = ""
        for name, atoms in STRUCTURES.items():
            write_data(folder / f"{name}.data", atoms)
            deck += f"""
clear
{header(f"{name}.data", dtype)}
group iodine type 2
compute some iodine efg/atom efg.safetensors Pb I C N H dtype {dtype}
compute blind all efg/atom efg.safetensors Pb I NULL NULL NULL dtype {dtype}
{OUTPUT}
thermo_style custom step pe vol pxx pyy pzz pxy pxz pyz c_virial_sum[*] c_centroid_sum[*]
{PRECISE}
dump 1 all custom 1 {name}.dump {DUMP} c_some[*] c_blind[*]
dump_modify 1 format float %.17g
run 0
"""
        finished = succeed(folder, deck, ranks)
        return {
            name: (read_dump(folder / f"{name}.dump")[0], {key: v[0] for key, v in finished.thermo(k).items()})
            for k, name in enumerate(STRUCTURES)
        }

    return evaluate


@pytest.fixture(scope="module")
def expected(models):
    """`expected(dtype, structure)`: results of the ASE calculators."""

    @cache
    def calculate(dtype, name):
        from efgmd.calculators import EFGCalculator, EnergyCalculator

        atoms = STRUCTURES[name].copy()
        atoms.calc = EnergyCalculator(models / "energy.safetensors", dtype=dtype)
        efg = EFGCalculator(models / "efg.safetensors", dtype=dtype).get_property("efg", atoms)
        return {
            "energy": atoms.get_potential_energy(),
            "energies": atoms.get_potential_energies(),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(voigt=False),
            "efg": efg,
        }

    return calculate


def assert_close(ours, theirs, dtype):
    """Equal to the tolerance of the type, relative to the largest value."""
    assert np.max(np.abs(ours - theirs)) < TOLERANCE[dtype] * np.max(np.abs(theirs))


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(("dtype", "ranks"), CASES)
def test_lammps_equals_ase(evaluated, expected, dtype, ranks, structure):
    frame, thermo = evaluated(dtype, ranks)[structure]
    ase = expected(dtype, structure)
    assert_close(thermo["PotEng"], ase["energy"], dtype)
    assert_close(frame["c_energy"], ase["energies"], dtype)
    assert_close(columns(frame, "fx", "fy", "fz"), ase["forces"], dtype)
    pressure = -EV_PER_A3_IN_BAR * ase["stress"]
    ours = np.array([thermo[key] for key in ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")])
    assert_close(ours, pressure[(0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)], dtype)
    assert_close(efg_columns(frame), ase["efg"], dtype)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_ranks_agree(evaluated, dtype, structure):
    one, one_thermo = evaluated(dtype, 1)[structure]
    four, four_thermo = evaluated(dtype, 4)[structure]
    assert_close(one_thermo["PotEng"], four_thermo["PotEng"], dtype)
    assert_close(columns(one, "fx", "fy", "fz"), columns(four, "fx", "fy", "fz"), dtype)
    assert_close(efg_columns(one), efg_columns(four), dtype)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("ranks", [1, 4])
def test_per_atom_virials_add_up_to_the_pressure(evaluated, ranks, structure):
    _, thermo = evaluated("float64", ranks)[structure]
    pressure = np.array([thermo[key] for key in ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")])
    two_body = np.array([thermo[f"c_virial_sum[{c + 1}]"] for c in range(6)])
    centroid = np.array([thermo[f"c_centroid_sum[{c + 1}]"] for c in range(9)])
    assert_close(-two_body / thermo["Volume"], pressure, "float64")
    assert_close(-centroid[:6] / thermo["Volume"], pressure, "float64")
    assert_close(-centroid[6:] / thermo["Volume"], pressure[3:], "float64")


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_tensors_are_traceless(evaluated, dtype, structure):
    tensors = efg_columns(evaluated(dtype, 4)[structure][0])
    trace = np.trace(tensors, axis1=1, axis2=2)
    assert np.abs(trace).max() < {"float64": 1e-14, "float32": 1e-6}[dtype] * np.abs(tensors).max()


@pytest.mark.parametrize("ranks", [1, 4])
def test_only_the_group_is_computed(evaluated, ranks):
    frame, _ = evaluated("float64", ranks)["triclinic"]
    inside = frame["type"] == 2
    assert np.array_equal(efg_columns(frame, "some")[inside], efg_columns(frame)[inside])
    assert np.all(efg_columns(frame, "some")[~inside] == 0.0)


@pytest.mark.parametrize("ranks", [1, 4])
def test_null_types_are_invisible(evaluated, models, ranks):
    from efgmd.calculators import EFGCalculator

    frame, _ = evaluated("float64", ranks)["triclinic"]
    seen = frame["type"] <= 2
    frameworks = STRUCTURES["triclinic"][seen]
    efg = EFGCalculator(models / "efg.safetensors", dtype="float64").get_property("efg", frameworks)
    assert_close(efg_columns(frame, "blind")[seen], efg, "float64")
    assert np.all(efg_columns(frame, "blind")[~seen] == 0.0)
