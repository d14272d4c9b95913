"""`compute efg/atom ... uncertainty yes`: the columns 7 and 8 against the ASE calculator, and models that have none."""

import numpy as np
import pytest
from lammps_cases import (
    ELEMENT_LIST,
    ELEMENTS,
    columns,
    efg_columns,
    full_tensors,
    header,
    perovskite,
    read_dump,
    run_lmp,
    succeed,
    write_data,
)

COMPUTE = f"compute sure all efg/atom committee.safetensors {ELEMENT_LIST} dtype float64 uncertainty yes"


@pytest.mark.parametrize("ranks", [1, 4])
def test_columns_seven_and_eight_are_calibrated_spread_and_grade(workdir, ranks):
    from efgmd.calculators import EFGCalculator

    atoms = perovskite((2, 1, 1), seed=3, tilt=0.1)
    write_data(workdir / "start.data", atoms)
    dump = "dump 1 all custom 1 out.dump id c_sure[*]\ndump_modify 1 format float %.17g"
    succeed(workdir, f"{header()}\n{COMPUTE}\n{dump}\nrun 0\n", ranks)
    (frame,) = read_dump(workdir / "out.dump")
    calculator = EFGCalculator(workdir / "committee.safetensors", dtype="float64")
    tensors = calculator.get_property("efg", atoms)
    expected = calculator.results["efg_uncertainty"]
    assert np.abs(efg_columns(frame, "sure") - tensors).max() < 1e-8 * np.abs(tensors).max()
    assert np.abs(frame["c_sure[7]"] - expected).max() < 1e-8 * expected.max()
    assert expected.min() > 0
    grades = calculator.results["efg_extrapolation"]
    assert np.abs(frame["c_sure[8]"] - grades).max() < 1e-8 * grades.max()
    assert len(set(np.round(grades / expected, 6))) > 1


def test_members_follow_and_have_that_mean_and_spread(workdir):
    atoms = perovskite((1, 1, 1), seed=3)
    write_data(workdir / "start.data", atoms)
    dump = "dump 1 all custom 1 out.dump id c_sure[*]\ndump_modify 1 format float %.17g"
    succeed(workdir, f"{header()}\n{COMPUTE} members yes\n{dump}\nrun 0\n")
    (frame,) = read_dump(workdir / "out.dump")
    assert "c_sure[26]" in frame and "c_sure[27]" not in frame
    members = np.stack(
        [full_tensors(columns(frame, *(f"c_sure[{9 + 6 * m + c}]" for c in range(6)))) for m in range(3)]
    )
    tensors = efg_columns(frame, "sure")
    np.testing.assert_allclose(members.mean(axis=0), tensors, atol=1e-10 * np.abs(tensors).max())
    spread = np.sqrt(members.var(axis=0, ddof=1).mean(axis=(1, 2)))
    scales = dict(zip(ELEMENTS, np.array([0.5, 2.0, 1.0, 3.0, 0.7], dtype=np.float32), strict=True))  # as in the file
    expected = spread * [scales[symbol] for symbol in atoms.get_chemical_symbols()]
    np.testing.assert_allclose(frame["c_sure[7]"], expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (COMPUTE.replace("committee.s", "efg.s"), "efg.safetensors is no committee, so its uncertainty is unknown"),
        (
            COMPUTE.replace("committee.s", "efg.s").replace("uncertainty", "members"),
            "efg.safetensors is no committee, so it has no members: leave out members yes",
        ),
        (COMPUTE.replace("yes", "maybe"), "uncertainty must be yes or no, not maybe"),
        ("pair_style mliap unified energy.safetensors 0 uncertainty yes", "Illegal pair_style command"),
    ],
)
def test_uncertainty_that_cannot_be_had(workdir, text, part):
    write_data(workdir / "start.data", perovskite((1, 1, 1)))
    finished = run_lmp(workdir, f"{header()}\n{text}\nrun 0\n")
    assert finished.status != 0
    (line,) = finished.errors
    assert part in line
