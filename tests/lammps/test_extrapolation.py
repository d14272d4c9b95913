"""`compute extrapolation/atom`: against the ASE calculator, in LAMMPS' own commands, and models that have no record."""

import json
import re

import numpy as np
import pytest
from lammps_cases import ELEMENT_LIST, header, perovskite, read_dump, run_lmp, succeed, write_data

DUMP = "dump 1 all custom 1 out.dump id type c_far\ndump_modify 1 format float %.17g"


def compute(dtype="float64", group="all", elements=ELEMENT_LIST):
    return f"compute far {group} extrapolation/atom energy.safetensors {elements} dtype {dtype}"


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-8), ("float32", 1e-4)])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_grades_are_those_of_the_calculator(workdir, ranks, dtype, tolerance):
    from efgmd.calculators import EnergyCalculator

    atoms = perovskite((2, 1, 1), seed=3, tilt=0.1)
    atoms.positions[5] += 0.4  # one that stands out
    write_data(workdir / "start.data", atoms)
    succeed(workdir, f"{header(dtype=dtype)}\n{compute(dtype)}\n{DUMP}\nrun 0\n", ranks)
    (frame,) = read_dump(workdir / "out.dump")
    expected = EnergyCalculator(workdir / "energy.safetensors", dtype=dtype).get_property("extrapolation", atoms)
    assert np.abs(frame["c_far"] - expected).max() < tolerance * expected.max()
    assert expected.max() > 1.5 and np.median(expected) < 0.7 * expected.max()


def test_group_and_types_without_element(workdir):
    """Atoms of other groups get 0 but are seen; atoms of a NULL type are not there at all."""
    from efgmd.calculators import EnergyCalculator

    atoms = perovskite((1, 1, 1), seed=3)
    write_data(workdir / "start.data", atoms)
    commands = f"""
group iodine type 2
{compute(group="iodine")}
compute bare all extrapolation/atom energy.safetensors NULL I C N H dtype float64
{DUMP.replace("c_far", "c_far c_bare")}
run 0
"""
    succeed(workdir, header() + commands)
    (frame,) = read_dump(workdir / "out.dump")
    calculator = EnergyCalculator(workdir / "energy.safetensors", dtype="float64")
    iodine, lead = atoms.symbols == "I", atoms.symbols == "Pb"
    expected = np.where(iodine, calculator.get_property("extrapolation", atoms), 0.0)
    np.testing.assert_allclose(frame["c_far"], expected, atol=1e-9)
    bare = calculator.get_property("extrapolation", atoms[~lead])
    np.testing.assert_allclose(frame["c_bare"][~lead], bare, rtol=1e-8)
    assert (frame["c_bare"][lead] == 0).all()


def test_a_run_halts_where_an_atom_leaves_the_training_data(workdir):
    """One hydrogen is pulled away at constant speed; LAMMPS' own commands see it go."""
    atoms = perovskite((1, 1, 1), seed=3, shake=0.05)
    write_data(workdir / "start.data", atoms)
    commands = f"""
group hydrogen type 5
{compute(group="hydrogen")}
compute worst all reduce max c_far
thermo_style custom step c_worst
thermo 1
group one id 12
velocity one set 200 0 0
fix move one move linear 200 0 0
variable worst equal c_worst
fix watch all halt 1 v_worst > 3.0 error soft
timestep 0.0001
run 200
"""
    finished = succeed(workdir, header() + commands)
    worst = finished.thermo()["c_worst"]  # until LAMMPS' line about the halt
    assert 1 < len(worst) < 200 and (worst <= 3.0).all()
    halted = re.search(r"Fix halt condition for fix-id watch met on step (\d+) with value (\S+)", finished.output)
    assert int(halted[1]) == len(worst) and 3.0 < float(halted[2]) < 4.0


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (compute().replace("energy.s", "old.s"), "old.safetensors did not record the atoms that it was trained on"),
        (compute().replace("energy.s", "efg.s"), "is an efg model where an energy model is needed"),
        (compute() + " members yes", "uncertainty and members are options of compute efg/atom"),
        (compute(elements="Pb I"), "2 element names given for 5 atom types"),
        ("compute far all extrapolation/atom", "Illegal compute extrapolation/atom command"),
    ],
)
@pytest.mark.parametrize("ranks", [1, 2])
def test_grades_that_cannot_be_had(workdir, text, part, ranks):
    body = bytearray((workdir / "energy.safetensors").read_bytes())
    length = int.from_bytes(body[:8], "little")
    head = json.loads(body[8 : 8 + length])
    metadata = json.loads(head["__metadata__"]["efgmd"])
    head["__metadata__"]["efgmd"] = json.dumps(metadata | {"training_range": False})
    text_of_head = json.dumps(head).encode()
    (workdir / "old.safetensors").write_bytes(
        len(text_of_head).to_bytes(8, "little") + text_of_head + body[8 + length :]
    )
    write_data(workdir / "start.data", perovskite((1, 1, 1)))
    finished = run_lmp(workdir, f"{header()}\n{text}\nrun 0\n", ranks)
    assert finished.status != 0
    (line,) = finished.errors
    assert part in line
