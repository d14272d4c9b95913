"""Restarts, tensors of stored trajectories, minimisation, and bonded topologies."""

import numpy as np
import pytest
from lammps_cases import (
    DUMP,
    ELEMENT_LIST,
    PRECISE,
    columns,
    efg_columns,
    header,
    perovskite,
    read_dump,
    run_lmp,
    succeed,
    write_data,
)

MODELS = f"""
pair_style mliap unified energy.safetensors 0 dtype float64
pair_coeff * * {ELEMENT_LIST}
compute efg all efg/atom efg.safetensors {ELEMENT_LIST} dtype float64
"""


def test_restart_and_rerun(workdir):
    """A run, its second half from a restart file, and its frames again without any force field."""
    atoms = perovskite((2, 1, 1), seed=30, tilt=0.1)
    velocities = np.random.default_rng(1).normal(scale=5.0, size=(len(atoms), 3))
    write_data(workdir / "start.data", atoms, velocities=velocities)
    dump = f"compute energy all pe/atom\ndump 1 all custom 10 {{}}.dump {DUMP}\ndump_modify 1 format float %.17g\n"
    deck = f"""
{header()}
{dump.format("whole")}
timestep 0.0001
fix 1 all nve
restart 10 half.*.restart
run 20

clear
read_restart half.10.restart
{MODELS}
comm_modify cutoff 7.5
{dump.format("second")}
timestep 0.0001
fix 1 all nve
run 10

clear
units metal
atom_modify map array
read_data start.data
pair_style zero 6.5
pair_coeff * *
compute efg all efg/atom efg.safetensors {ELEMENT_LIST} dtype float64
neighbor 1.0 bin
dump 1 all custom 10 again.dump id c_efg[*]
dump_modify 1 format float %.17g
rerun whole.dump dump x y z
"""
    succeed(workdir, deck)
    whole, second = read_dump(workdir / "whole.dump"), read_dump(workdir / "second.dump")
    assert [frame["step"] for frame in second] == [10, 20]
    for name, tolerance in (("fx", 1e-7), ("c_energy", 1e-9), ("c_efg[4]", 1e-9)):
        assert np.abs(whole[-1][name] - second[-1][name]).max() < tolerance * np.abs(whole[-1][name]).max()
    again = read_dump(workdir / "again.dump")
    assert len(again) == len(whole)
    for a, b in zip(whole, again, strict=True):
        assert np.abs(efg_columns(a) - efg_columns(b)).max() < 1e-10 * np.abs(efg_columns(a)).max()


def test_minimisation_goes_downhill(workdir):
    write_data(workdir / "start.data", perovskite((1, 1, 1), seed=31))
    deck = (
        f"{header()}\nthermo_style custom step pe fnorm\n{PRECISE}\nmin_modify line quadratic\nminimize 0 1e-3 50 500\n"
    )
    thermo = succeed(workdir, deck, 2).thermo()
    assert thermo["PotEng"][-1] < thermo["PotEng"][0] - 0.1
    assert thermo["Fnorm"][-1] < 0.1 * thermo["Fnorm"][0]


@pytest.mark.parametrize("removing", ["", "delete_bonds all bond 1 remove\n"])
@pytest.mark.parametrize("excluding", [True, False])
def test_bonds_must_not_hide_neighbours(workdir, excluding, removing):
    """By default LAMMPS leaves bonded neighbours out of the lists, also those of bonds that were deleted since."""
    atoms = perovskite((1, 1, 1), seed=32)
    write_data(workdir / "plain.data", atoms)
    text = (workdir / "plain.data").read_text().replace("# atomic", "# bond")
    head, body = text.split("Atoms # bond\n\n")
    rows = [line.split() for line in body.strip().splitlines()]
    body = "\n".join(" ".join([row[0], "1", *row[1:]]) for row in rows)
    (workdir / "start.data").write_text(
        head.replace("atom types", "atom types\n1 bonds\n1 bond types")
        + f"Atoms # bond\n\n{body}\n\nBonds\n\n1 1 5 6\n"
    )
    evaluate = (
        f"bond_style zero\nbond_coeff 1 1.5\ncompute energy all pe/atom\ndump 1 all custom 1 run.dump {DUMP}\nrun 0"
    )
    extra = "atom_style bond" + ("" if excluding else "\nspecial_bonds lj/coul 1 1 1")
    bonds = f"bond_style zero\nbond_coeff 1 1.5\npair_style zero 6.0\npair_coeff * *\n{removing}" if removing else ""
    deck = header(extra=extra).replace("pair_style", f"{bonds}bond_style zero\npair_style", 1) + evaluate
    if excluding:
        finished = run_lmp(workdir, deck)
        assert finished.status != 0
        (line,) = finished.errors
        assert "write special_bonds lj/coul 1 1 1" in line
        return
    succeed(workdir, deck)
    (bonded,) = read_dump(workdir / "run.dump")
    succeed(workdir, header("plain.data") + "compute energy all pe/atom\n" + evaluate.split("\n", 3)[3])
    (plain,) = read_dump(workdir / "run.dump")
    assert np.array_equal(columns(bonded, "fx", "fy", "fz"), columns(plain, "fx", "fy", "fz"))
