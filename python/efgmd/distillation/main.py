"""From a distillation file to a force field."""

import shutil
from pathlib import Path

from rich.console import Console

from efgmd.campaign.locking import locked
from efgmd.distillation.checks import CheckedDistillation, check_distillation, claim_folder
from efgmd.distillation.config import load_distillation
from efgmd.distillation.results import print_rounds, summarise
from efgmd.distillation.rounds import Rounds
from efgmd.files import replacing

MODEL_FILE = "energy.safetensors"


def distill(path: Path, output: Path | None = None, check_only: bool = False, console: Console | None = None) -> None:
    """Validate and run (or resume) a distillation; the force field is ``energy.safetensors`` of the output folder.

    Raises
    ------
    ConfigError
        Mistakes in the file, one line each.
    StoreError
        The output folder belongs to another distillation, or has more rounds than the file asks for.
    DataError
        The teacher fails on the frames of the first round, or the student survives nowhere.
    """
    console = console or Console()
    config = load_distillation(path)
    checked = check_distillation(config, path)
    chosen = output or path.resolve().parent / (config.output or Path(path.stem + "-run"))
    folder = chosen.resolve()
    _print_plan(checked, folder, console)
    if check_only:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, "efgmd distill"):
        claim_folder(checked, folder)
        rounds = Rounds(checked, folder, console)
        rounds.begin()
        for item in rounds.rounds:
            console.rule(f"round {item.number} of {config.rounds}")
            rounds.label(item)
            rounds.train(item)
            rounds.run(item)
            rounds.hold_out(item)
            entries = summarise(rounds, rounds.rounds[: item.number], folder)
            if item.number < config.rounds:
                rounds.choose(item)
                print_rounds(entries, console)
        with replacing(folder / MODEL_FILE) as unfinished:
            shutil.copyfile(rounds.rounds[-1].student(0), unfinished)
        console.rule("result")
        print_rounds(entries, console)
        console.print(f"force field: {folder / MODEL_FILE}", soft_wrap=True, highlight=False)


def _print_plan(checked: CheckedDistillation, folder: Path, console: Console) -> None:
    config, dynamics = checked.config, checked.config.dynamics
    formulas = ", ".join(atoms.get_chemical_formula() for atoms in checked.structures)
    temperatures = ", ".join(f"{value:g}" for value in dynamics.temperatures)
    runs = len(checked.structures) * len(dynamics.temperatures) * dynamics.runs
    first = len(checked.structures) * config.perturbation.frames
    each, held_out = config.selection.frames, config.selection.held_out
    labels = first + (config.rounds - 1) * each + config.rounds * held_out
    for line in (
        f"teacher {config.teacher.calculator}, students of {' '.join(checked.elements)}; structures {formulas}",
        f"{config.rounds} rounds; {first} frames labelled in the first, at most {each} in each other, at most "
        f"{held_out} in each to judge by: at most {labels} labels",
        f"dynamics of each round: {runs} runs of {dynamics.length_ps:g} ps, {dynamics.ensemble.kind.upper()} at "
        f"{temperatures} K in steps of {dynamics.timestep_fs:g} fs",
        f"output: {folder}",
    ):
        console.print(line, soft_wrap=True, highlight=False)
