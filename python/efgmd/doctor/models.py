"""The models: torch, its devices, and a tiny model in LAMMPS against the same model in ASE."""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from efgmd.doctor.findings import Finding, Part
from efgmd.doctor.installed import REINSTALL
from efgmd.doctor.lammps import Program, lmp
from efgmd.doctor.processes import Outcome, ask, run

PART = Part("models")
TOLERANCE = 1e-8  # relative; both sides compute in double precision
DECK = """units metal
read_data start.data
pair_style {pair}
pair_coeff * * {coefficients}
comm_modify cutoff 5.0
neighbor 1.0 bin
compute efg all efg/atom efg.safetensors C H dtype float64
variable square atom c_efg[1]^2+c_efg[2]^2+c_efg[3]^2+2*(c_efg[4]^2+c_efg[5]^2+c_efg[6]^2)
compute square all reduce sum v_square
compute force all reduce maxabs fx fy fz
thermo_style custom step pe c_square c_force[1] c_force[2] c_force[3]
thermo_modify format float %.16g norm no
run 0
"""


def examine(program: Program, limit: float) -> Iterator[Finding]:
    """Look at torch and CUDA, then compare LAMMPS with ASE."""
    with tempfile.TemporaryDirectory(prefix="efgmd-doctor-") as folder:
        answer = ask("model", limit, folder, folder=folder)
        told = answer.told
        if "torch" not in told:
            fix = "pip install --force-reinstall torch, with the versions of constraints.txt"
            yield PART.wrong("torch", answer.trouble, answer.remedy(fix))
            yield PART.skipped("LAMMPS against ASE", "torch does not work")
            return
        yield PART.ok("torch", f"{told['torch']}, {told['threads']} threads by default")
        if "cuda" in told:
            yield _cuda(told, limit)
        else:
            yield PART.wrong("CUDA", answer.trouble, answer.remedy("reinstall torch"))
        if answer.trouble:
            fix = answer.remedy(f"reinstall what the message names, or {REINSTALL}")
            yield PART.wrong("model in ASE", answer.trouble, fix)
            yield PART.skipped("LAMMPS against ASE", "the models do not work in ASE")
        elif not program.python:
            yield PART.skipped("LAMMPS against ASE", "Python does not run inside lmp")
        else:
            yield _compare(told, program, limit, folder)


def _cuda(told: dict[str, Any], limit: float) -> Finding:
    if told["cuda"]:
        return PART.ok("CUDA", f"{told['cuda_build']}: {', '.join(told['devices'])}")
    if not shutil.which("nvidia-smi"):
        return PART.ok("CUDA", "no GPU; models run on the processor")
    listed = run(["nvidia-smi", "-L"], limit)
    if listed.status != 0:
        return PART.ok("CUDA", "no usable GPU; models run on the processor")
    gpu = listed.output.strip().splitlines()[0] if listed.output.strip() else "a GPU"
    build = f"built for CUDA {told['cuda_build']}" if told["cuda_build"] else "a build without CUDA"
    fix = "to train on it, install a torch with CUDA that fits the driver (see nvidia-smi)"
    return PART.note("CUDA", f"{gpu}, but torch does not see it ({build})", fix)


def _compare(told: dict[str, Any], program: Program, limit: float, folder: str) -> Finding:
    assert program.path
    pair, coefficients = ("mliap unified energy.safetensors 0 dtype float64", "C H") if program.pair else ("zero 5", "")
    deck = DECK.format(pair=pair, coefficients=coefficients)
    launcher = (str(Path(sys.executable).with_name("mpiexec")), "-n", "2") if program.ranks else ()
    outcome = lmp(program.path, deck, limit, launcher, folder)
    title = "LAMMPS against ASE"
    values = _row(outcome)
    if values is None:
        fix = outcome.remedy("mend what the message names; a bug report helps if it is unclear")
        return PART.wrong(title, outcome.complaint(), fix)
    energy, efg, *forces = values
    pairs = {"tensors": (efg, told["efg"])}
    if program.pair:
        pairs |= {"energy": (energy, told["energy"]), "largest force": (max(forces), told["force"])}
    for name, (ours, theirs) in pairs.items():
        if not abs(ours - theirs) <= TOLERANCE * abs(theirs):
            text = f"the {name} of a tiny model is {ours:.10g} in LAMMPS but {theirs:.10g} in ASE"
            return PART.wrong(title, text, f"do not trust results of this installation: {REINSTALL}, or report it")
    return PART.ok(title, f"{', '.join(pairs)} of a tiny model are the same{' on 2 ranks' * program.ranks}")


def _row(outcome: Outcome) -> list[float] | None:
    """Columns of the one line of thermodynamic output, without the step."""
    match = re.search(r"^\s*Step .*\n\s*0 (.*)$", outcome.output, re.MULTILINE)
    if outcome.status != 0 or not match:
        return None
    try:
        return [float(word) for word in match[1].split()]
    except ValueError:
        return None
