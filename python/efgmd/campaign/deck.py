"""The LAMMPS commands of a run."""

from pathlib import Path

from ase import Atoms

from efgmd.campaign.spec import SPEC_FILE, DynamicsSpec, RunSpec
from efgmd.files import replacing

START_FILE = "start.data"
LOG_FILE = "log.lammps"
EFG_COMPUTE = "efg"
#: The same tensors with those of each member of the committee; evaluated in place of the other, now and then.
MEMBERS_COMPUTE = "efg_members"
TENSOR_GROUP = "with_tensors"
EXTRAPOLATION_COMPUTE = "extrapolation"
#: Neighbour skin (angstrom): rebuilds every few tens of steps at 300-500 K with hydrogen or deuterium.
SKIN = 1.0


def quoted(path: str | Path) -> str:
    """Quote a path for a LAMMPS command; LAMMPS strips the quotes."""
    return f'"{path}"'


def write_start(folder: Path, atoms: Atoms, spec: DynamicsSpec) -> None:
    """Write the start file of a run, unless the run is there already, with its specification."""
    from ase.io.lammpsdata import write_lammps_data

    if (folder / START_FILE).exists() and (folder / SPEC_FILE).exists():
        return
    tilted = spec.ensemble["kind"] == "npt" and spec.ensemble["pressure_control"] == "tri"
    with replacing(folder / START_FILE) as unfinished, open(unfinished, "w", encoding="utf-8") as stream:
        write_lammps_data(
            stream, atoms, specorder=list(spec.elements), units="metal", atom_style="atomic", force_skew=tilted
        )


def _precision(spec: DynamicsSpec) -> list[str]:
    return [] if spec.dtype == "float32" else ["dtype", spec.dtype]


def system_commands(spec: DynamicsSpec, restart: Path | None = None) -> list[str]:
    """Units, box, atoms and interactions, from a restart file or from the start file in the working folder."""
    types = " ".join(spec.elements)
    read = f"read_restart {quoted(restart)}" if restart else f"read_data {quoted(START_FILE)}"
    commands = ["units metal", "atom_style atomic", "boundary p p p", read]
    commands += [f"mass {index} {mass:.10g}" for index, mass in enumerate(spec.masses, start=1)]
    return [
        *commands,
        " ".join(["pair_style mliap unified", quoted(spec.energy_model), "0", *_precision(spec)]),
        f"pair_coeff * * {types}",
        f"neighbor {SKIN} bin",
        "neigh_modify every 1 delay 0 check yes",
        f"comm_modify cutoff {spec.cutoff + SKIN:.6g}",
        f"timestep {spec.timestep_fs / 1000:.10g}",
        "thermo_style custom step temp press pe vol lx ly lz xy xz yz",
        "thermo_modify flush yes",
    ]


def tensor_commands(spec: RunSpec) -> list[str]:
    """The computes of the EFG tensors, of all atoms that the model knows tensors of."""
    types = [str(k) for k, element in enumerate(spec.elements, start=1) if element not in spec.without_tensors]
    group = f"group {TENSOR_GROUP} type {' '.join(types)}"
    tensors = " ".join([TENSOR_GROUP, "efg/atom", quoted(spec.efg_model), *spec.elements, *_precision(spec)])
    members = [f"compute {MEMBERS_COMPUTE} {tensors} members yes"] if spec.committee > 1 else []
    return [group, f"compute {EFG_COMPUTE} {tensors}", *members]


def watch_commands(spec: RunSpec) -> list[str]:
    """The compute of the grades of extrapolation, if they are watched."""
    if not spec.watch:
        return []
    arguments = ["all extrapolation/atom", quoted(spec.energy_model), *spec.elements, *_precision(spec)]
    return [" ".join([f"compute {EXTRAPOLATION_COMPUTE}", *arguments])]


def start_commands(spec: DynamicsSpec) -> list[str]:
    """Relax the starting structure if asked, and draw velocities."""
    relax = ["min_style cg", "minimize 0.0 0.05 100 500", "reset_timestep 0"] if spec.minimize else []
    return [*relax, f"velocity all create {spec.temperature:.10g} {spec.seed} mom yes rot no dist gaussian"]


def ensemble_commands(spec: DynamicsSpec) -> list[str]:
    """The integrator. Its fix id stays the same over restarts, so that LAMMPS restores the thermostat's state."""
    ensemble = spec.ensemble
    damping = ensemble["temperature_damping_fs"] / 1000
    thermostat = f"temp {spec.temperature:.10g} {spec.temperature:.10g} {damping:.10g}"
    if ensemble["kind"] == "nvt":
        return [f"fix md all nvt {thermostat}"]
    pressure, pressure_damping = ensemble["pressure_bar"], ensemble["pressure_damping_fs"] / 1000
    control = f"{ensemble['pressure_control']} {pressure:.10g} {pressure:.10g} {pressure_damping:.10g}"
    # A flip would change the axes that fractional coordinates and cell parameters are averaged in.
    return [f"fix md all npt {thermostat} {control} flip no"]
