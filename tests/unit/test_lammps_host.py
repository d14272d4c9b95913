"""Where CMake looks for the LAMMPS that the plugin is compiled for."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
include("{root}/lammps_plugin/LammpsHost.cmake")
message("found ${{HOST_VERSION}} ${{HOST_DEFINITIONS}} ${{HOST_INCLUDE}} ${{HOST_MPI_INCLUDE}}")
"""


def found(folder, **settings):
    """What the script finds, or what it says when it does not, in one line."""
    (folder / "script.cmake").write_text(SCRIPT.format(root=ROOT))
    given = [f"-D{name}={value}" for name, value in settings.items()]
    command = [Path(sys.executable).with_name("cmake"), *given, "-P", "script.cmake"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return " ".join(done.stderr.split())


def install(prefix, library="lib", version="2026.7.4.0", flags="-DLAMMPS_SMALLBIG"):
    """The files of an installed LAMMPS that count."""
    (prefix / "include" / "lammps").mkdir(parents=True)
    (prefix / "include" / "lammps" / "pair.h").touch()
    (prefix / library / "pkgconfig").mkdir(parents=True)
    text = f"Name: liblammps\nVersion: {version}\nCflags: -I${{includedir}}  {flags}\n"
    (prefix / library / "pkgconfig" / "liblammps.pc").write_text(text)


@pytest.mark.parametrize("library", ["lib", "lib64", "lib/x86_64-linux-gnu"])
@pytest.mark.parametrize("sizes", ["SMALLBIG", "BIGBIG"])
def test_prefix(tmp_path, library, sizes):
    install(tmp_path / "host", library, flags=f"-DLAMMPS_{sizes}")
    told = found(tmp_path, LAMMPS_PREFIX=tmp_path / "host", EFGMD_MPI_INCLUDE="/mpi")
    assert f"found 20260704 LAMMPS_{sizes} {tmp_path}/host/include/lammps /mpi" in told


@pytest.mark.parametrize(
    ("text", "date"), [("4 Jul 2026", 20260704), ("22 Jul 2025", 20250722), ("10 December 2025", 20251210)]
)
def test_source_tree(tmp_path, text, date):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "version.h").write_text(f'#define LAMMPS_VERSION "{text}"\n')
    told = found(tmp_path, LAMMPS_SOURCE_DIR=tmp_path, EFGMD_MPI_INCLUDE="/mpi", LAMMPS_SIZES="bigbig")
    assert f"found {date} LAMMPS_BIGBIG {tmp_path}/src /mpi" in told


def test_what_is_not_there_is_told(tmp_path):
    folder = tmp_path / "host"
    assert f"no installed LAMMPS in {folder}" in found(tmp_path, LAMMPS_PREFIX=folder, EFGMD_MPI_INCLUDE="/mpi")
    assert f"no LAMMPS sources in {folder}" in found(tmp_path, LAMMPS_SOURCE_DIR=folder, EFGMD_MPI_INCLUDE="/mpi")
    assert "are both set: give one" in found(tmp_path, LAMMPS_PREFIX=folder, LAMMPS_SOURCE_DIR=folder)
    install(folder, version="stable")
    assert "no LAMMPS version (year.month.day)" in found(tmp_path, LAMMPS_PREFIX=folder, EFGMD_MPI_INCLUDE="/mpi")


def test_requirements_without_lammps_are_those_of_the_package():
    listed = (ROOT / "lammps_plugin" / "requirements-host.txt").read_text().splitlines()
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert set(listed) >= {name for name in needed if not name.startswith("lammps")}
    assert not [name for name in listed if name.startswith("lammps")]
    assert [name for name in listed if name.startswith("-")] == ["--no-binary mpi4py"]
