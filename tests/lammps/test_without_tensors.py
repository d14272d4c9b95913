"""`compute efg/atom` of a model that knows no tensors of some elements."""

import numpy as np
import pytest
from lammps_cases import ELEMENT_LIST, efg_columns, header, perovskite, read_dump, run_lmp, succeed, write_data

from efgmd.models.io import load_model, save_model

DUMP = "dump 1 all custom 1 out.dump id c_some[*]\ndump_modify 1 format float %.17g"
COMPUTE = f"compute some {{group}} efg/atom some.safetensors {ELEMENT_LIST} dtype float64"


@pytest.fixture
def folder(workdir):
    """With a model like efg.safetensors that knows iodine only."""
    model = load_model(workdir / "efg.safetensors", dtype="float64")
    model.set_scales({e: s if e == "I" else float("nan") for e, s in zip(model.elements, model.scales, strict=True)})
    save_model(workdir / "some.safetensors", model)
    return workdir


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_group_of_known_elements_is_as_with_the_whole_model(folder, ranks):
    from efgmd.calculators import EFGCalculator

    atoms = perovskite((2, 1, 1), seed=3, tilt=0.1)
    write_data(folder / "start.data", atoms)
    number = ELEMENT_LIST.split().index("I") + 1
    group = f"group iodine type {number}\n{COMPUTE.format(group='iodine')}"
    succeed(folder, f"{header()}\n{group}\n{DUMP}\nrun 0\n", ranks)
    (frame,) = read_dump(folder / "out.dump")
    iodine = np.array(atoms.get_chemical_symbols()) == "I"
    expected = EFGCalculator(folder / "efg.safetensors", dtype="float64").get_property("efg", atoms)
    found = efg_columns(frame, "some")
    assert np.abs(found - expected)[iodine].max() < 1e-8 * np.abs(expected).max()
    assert (found[~iodine] == 0).all()


@pytest.mark.parametrize("ranks", [1, 2])
def test_other_elements_are_refused_by_name(folder, ranks):
    write_data(folder / "start.data", perovskite((2, 1, 1)))
    finished = run_lmp(folder, f"{header()}\n{COMPUTE.format(group='all')}\n{DUMP}\nrun 0\n", ranks)
    assert finished.status != 0
    assert "the model knows no tensors of Pb: write a group without such atoms in place of all" in finished.output


def test_an_element_that_enters_the_group_in_the_run_is_named(folder):
    """A group that follows what atoms do is empty of lead at first."""
    write_data(folder / "start.data", perovskite((1, 1, 1)))
    script = f"""{header()}
variable seen atom "type == 2 || (type == 1 && step > 1)"
group late dynamic all var seen every 1
{COMPUTE.format(group="late")}
{DUMP}
fix move all nve
run 3
"""
    finished = run_lmp(folder, script, 1)
    assert finished.status != 0
    assert "the model knows no tensors of Pb: write a group without such atoms in place of late" in finished.output
