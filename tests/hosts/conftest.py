"""A LAMMPS with Python in its own ML-IAP, built by hand; the environment says where its programs are."""

import os
import shlex
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "lammps"))

import lammps_cases


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    """`host(deck, ranks)`: run a deck with the program EFGMD_HOST_LMP under EFGMD_HOST_MPIEXEC.

    `host.folder` holds random models, the exported form of the energy model, and what the deck writes.
    """
    from efgmd.coupling.export import export_mliap
    from efgmd.coupling.location import plugin_directory

    folder = lammps_cases.save_random_models(tmp_path_factory.mktemp("host"))
    for name in ("energy.mliap", "energy.pt"):
        export_mliap(folder / "energy.safetensors", folder / name, "float64")
    programs = tmp_path_factory.mktemp("programs")
    for name, variable in (("lmp", "EFGMD_HOST_LMP"), ("mpiexec", "EFGMD_HOST_MPIEXEC")):
        assert variable in os.environ, f"set {variable}, see docs/pages/howto/hosts.md"
        # not a link: MPICH's launcher looks for its helpers beside the name it was started by
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(os.environ[variable])} "$@"\n')
        (programs / name).chmod(0o755)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    before, lammps_cases.BIN = lammps_cases.BIN, programs

    def run(deck, ranks=1):
        variables = {"LAMMPS_PLUGIN_PATH": plugin_directory(), "PYTHONPATH": packages}
        return lammps_cases.run_lmp(folder, deck, ranks, **variables)

    run.folder = folder
    yield run
    lammps_cases.BIN = before
