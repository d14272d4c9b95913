"""`device cuda`: the pair list kept between rebuilds. Here torch's CPU stands in for the GPU, through the same code."""

import os
import subprocess
import sys

import numpy as np
import pytest
from lammps_cases import BIN, ELEMENT_LIST, OUTPUT, PRECISE, columns, perovskite, read_dump, run_lmp, write_data

DECK = f"""
units {{units}}
atom_modify map array
read_data start.data
pair_style mliap unified energy.safetensors 0 dtype float64 {{device}}
pair_coeff * * {ELEMENT_LIST}
neighbor 0.3 bin
neigh_modify every 2 delay 0 check yes
{OUTPUT}
thermo_style custom step pe pxx pyy pzz pxy pxz pyz c_virial_sum[*] c_centroid_sum[*]
thermo 10
{PRECISE}
velocity all create 900 7 loop geom
timestep {{step}}
dump 1 all custom 30 {{name}}.dump id x y z fx fy fz c_energy c_virial[*]
dump_modify 1 format float %.17g
fix 1 all nve
run 30
"""
SCRIPT = """
import os, sys
import efgmd.coupling.loader as loader
loader.torch_device = lambda device, local_rank: "cpu"
import efgmd.coupling.device as device
device.PAIRS_PER_PORTION = 700
lists = []
plain = device.DeviceEnergy.take_list
device.DeviceEnergy.take_list = lambda self, *a: (lists.append(1), plain(self, *a))[1]
from efgmd.coupling import create_lammps
for name in sys.argv[1:]:
    lmp = create_lammps(["-log", name + ".log", "-screen", "none"])
    lmp.file(name + ".lmp")
    lmp.close()
open("lists." + os.environ.get("PMI_RANK", "0"), "w").write(str(len(lists)))
"""


@pytest.fixture
def prepared(workdir):
    """Folder with models, a structure, and the same run with and without the device."""
    write_data(workdir / "start.data", perovskite((2, 1, 1), seed=20, tilt=0.1))
    for units, step in (("metal", 0.0005), ("real", 0.5)):
        for name, device in ((f"host-{units}", ""), (f"device-{units}", "device cuda")):
            deck = DECK.format(units=units, step=step, device=device, name=name)
            (workdir / f"{name}.lmp").write_text(deck)
    return workdir


@pytest.mark.parametrize(("ranks", "units"), [(1, "metal"), (2, "metal"), (1, "real")])
def test_device_equals_host(prepared, ranks, units):
    """Trajectory, stress, energies and stresses of atoms; the list is handed over only when it is new."""
    (prepared / "script.py").write_text(SCRIPT)
    launcher = [str(BIN / "mpiexec"), "-n", str(ranks)] if ranks > 1 else []
    done = subprocess.run(
        [*launcher, sys.executable, "script.py", f"host-{units}", f"device-{units}"],
        cwd=prepared,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lists = [int(file.read_text()) for file in prepared.glob("lists.*")]
    assert all(2 <= count <= 14 for count in lists) and len(lists) == ranks
    tables = []
    for name in (f"host-{units}", f"device-{units}"):
        log = (prepared / f"{name}.log").read_text().splitlines()
        start = next(k for k, line in enumerate(log) if line.split()[:1] == ["Step"])
        tables.append(np.array([[float(word) for word in line.split()] for line in log[start + 1 : start + 5]]))
        assert "sha256" in "".join(log)
    assert np.abs(tables[0] - tables[1]).max() < 1e-9 * np.abs(tables[0]).max()
    frames = [read_dump(prepared / f"{name}-{units}.dump") for name in ("host", "device")]
    for host, device in zip(*frames, strict=True):
        for names in (["x", "y", "z"], ["fx", "fy", "fz"], ["c_energy"], [f"c_virial[{c + 1}]" for c in range(6)]):
            expected = columns(host, *names)
            assert np.abs(columns(device, *names) - expected).max() < 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("device cuda", ["device cuda was asked for, but", "leave it out"]),
        ("device gpu", ["device must be cpu or cuda, not gpu"]),
        ("dtype float32 device cpu dtype", ["Illegal pair_style command"]),
    ],
)
def test_no_such_device(prepared, arguments, parts):
    deck = f"units metal\nread_data start.data\npair_style mliap unified energy.safetensors 0 {arguments}\n"
    finished = run_lmp(prepared, deck, CUDA_VISIBLE_DEVICES="")
    assert finished.status != 0
    (line,) = finished.errors
    for part in parts:
        assert part in line
