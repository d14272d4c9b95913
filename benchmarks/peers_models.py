"""The models of benchmarks/peers.py: how their files are made, and the routes by which they are evaluated.

A route is named `model` or `model/way`. Each is used by `peers_worker.py` in the environment of its package; packages
are imported where they are needed. Models without published weights are small ones with random weights, or trained for
a moment where a tool wants that: their speed is measured, not their forces.
"""

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.io import read
from peers_nep import build_plugin, write_random_model
from peers_worker import ELEMENTS, AseEngine, LammpsEngine

ROOT = Path(__file__).resolve().parents[1]
POTENTIALS = ROOT / "potentials" / "mapbi3"
HELD_OUT = POTENTIALS / "validation" / "held_out.xyz.gz"
NAMES = " ".join(ELEMENTS)
TYPES = {element: element for element in ELEMENTS}


class Route(NamedTuple):
    """How one model is run."""

    environment: str
    how: str
    model: str
    packages: tuple[str, ...]
    prepare: Callable[[Path], None]
    start: Callable
    teacher: str | None = None  # file of frames with the forces it is compared with


def tool(folder: Path, name: str, *arguments):
    """Run a program of this environment in `folder`."""
    with open(folder / f"{name}.log", "a") as log:
        command = [str(Path(sys.executable).with_name(name)), *map(str, arguments)]
        subprocess.run(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, check=True)


def frames_of(folder: Path) -> Path:
    """A file of four labelled frames, for tools that make a model only by training it."""
    path = folder / "frames.xyz"
    if not path.exists():
        with gzip.open(HELD_OUT, "rt") as file:
            lines = file.readlines()
        path.write_text("".join(lines[: 4 * (int(lines[0]) + 2)]))
    return path


def ml_iap(file: str | Path) -> Callable:
    """A model through ML-IAP; `file` is in the folder of models, or anywhere by its whole path."""

    def start(atoms, folder):
        pair = f"pair_style mliap unified {folder / file} 0\npair_coeff * * {NAMES}"
        return LammpsEngine(atoms, pair, folder)

    return start


def through_ase(calculator: Callable) -> Callable:
    """A model through ASE; `calculator` makes the calculator from the folder of models."""
    return lambda atoms, folder: AseEngine(atoms, calculator(folder))


def nothing(folder: Path):
    """Nothing to prepare."""


# SevenNet
def export_sevennet(folder: Path):
    if not (folder / "sevennet.pt").exists():
        tool(folder, "sevenn", "get_model", "7net-0", "--use_mliap", "-o", "sevennet")


def sevennet_calculator(folder: Path):
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator("7net-0", device="cpu")


# CHGNet
def chgnet_calculator(folder: Path):
    from chgnet.model.dynamics import CHGNetCalculator

    return CHGNetCalculator(use_device="cpu")


# MACE
MACE_TRAINING = """
--name mace --model ScaleShiftMACE --r_max 5.0 --num_interactions 2 --num_channels 32 --max_L 0 --max_ell 2
--correlation 2 --num_radial_basis 8 --batch_size 2 --valid_batch_size 2 --max_num_epochs 1 --device cpu
--default_dtype float32 --energy_key energy --forces_key forces --E0s average --seed 1 --plot False
"""


def train_mace(folder: Path):
    if not (folder / "mace.model").exists():
        frames = frames_of(folder)
        tool(folder, "mace_run_train", *MACE_TRAINING.split(), "--train_file", frames, "--valid_file", frames)


def export_mace(folder: Path):
    train_mace(folder)
    if not (folder / "mace.model-mliap_lammps.pt").exists():
        tool(folder, "mace_create_lammps_model", "mace.model", "--format", "mliap", "--dtype", "float32")


def mace_calculator(folder: Path):
    from mace.calculators import MACECalculator

    return MACECalculator(model_paths=[str(folder / "mace.model")], device="cpu", default_dtype="float32")


# NequIP and Allegro
NEQUIP_TRAINING = """
run: [train]
types: [Pb, I, C, N, H]
loader: {{_target_: torch.utils.data.DataLoader, batch_size: 2}}
data:
  _target_: nequip.data.datamodule.ASEDataModule
  seed: 1
  train_file_path: {frames}
  val_file_path: {frames}
  ase_args: {{format: extxyz}}
  transforms:
    - _target_: nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper
      model_type_names: ${{types}}
      chemical_species_to_atom_type_map: ${{list_to_identity_dict:${{types}}}}
    - {{_target_: nequip.data.transforms.NeighborListTransform, r_max: 5.0}}
  train_dataloader: ${{loader}}
  val_dataloader: ${{loader}}
trainer:
  _target_: lightning.Trainer
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  logger: false
  callbacks:
    - {{_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: {name}, save_last: true}}
training_module:
  _target_: nequip.train.EMALightningModule
  loss: {{_target_: nequip.train.EnergyForceLoss, per_atom_energy: true, coeffs: {{total_energy: 1.0, forces: 1.0}}}}
  val_metrics: {{_target_: nequip.train.EnergyForceMetrics, coeffs: {{total_energy_mae: 1.0, forces_mae: 1.0}}}}
  optimizer: {{_target_: torch.optim.Adam, lr: 0.001}}
  model:
    seed: 1
    model_dtype: float32
    type_names: ${{types}}
    r_max: 5.0
    avg_num_neighbors: 40.0
    per_type_energy_shifts: {{Pb: -4.0, I: -3.0, C: -7.0, N: -7.0, H: -4.0}}
    per_type_energy_scales: 1.0
"""
ARCHITECTURES = {
    "nequip": """
    _target_: nequip.model.NequIPGNNModel
    l_max: 1
    parity: true
    num_layers: 2
    num_features: 32
    radial_mlp_depth: 1
    radial_mlp_width: 64
""",
    "allegro": """
    _target_: allegro.model.AllegroModel
    l_max: 1
    parity: true
    num_layers: 1
    num_scalar_features: 32
    num_tensor_features: 16
    radial_chemical_embed: {_target_: allegro.nn.TwoBodyBesselScalarEmbed, num_bessels: 8}
    allegro_mlp_hidden_layers_depth: 1
    allegro_mlp_hidden_layers_width: 64
""",
}


def train_nequip(name: str, folder: Path) -> Path:
    """The checkpoint of a model of `ARCHITECTURES` after one epoch."""
    checkpoint = folder / name / "last.ckpt"
    if not checkpoint.exists():
        config = NEQUIP_TRAINING.format(frames=frames_of(folder), name=folder / name) + ARCHITECTURES[name].lstrip("\n")
        (folder / f"{name}.yaml").write_text(config)
        tool(folder, "nequip-train", "-cp", folder, "-cn", name, f"hydra.run.dir={folder / name}")
    return checkpoint


def export_nequip(name: str) -> Callable:
    def prepare(folder: Path):
        if not (folder / f"{name}.nequip.lmp.pt").exists():
            checkpoint = train_nequip(name, folder)
            tool(folder, "nequip-prepare-lmp-mliap", checkpoint, f"{name}.nequip.lmp.pt", "--no-compile")

    return prepare


def compile_nequip(name: str) -> Callable:
    def prepare(folder: Path):
        if not (folder / f"{name}.nequip.pt2").exists():
            options = ("--mode", "aotinductor", "--device", "cpu", "--target", "ase")
            tool(folder, "nequip-compile", train_nequip(name, folder), f"{name}.nequip.pt2", *options)

    return prepare


def nequip_calculator(name: str) -> Callable:
    def calculator(folder: Path):
        from nequip.integrations.ase import NequIPCalculator

        file = str(folder / f"{name}.nequip.pt2")
        return NequIPCalculator.from_compiled_model(file, device="cpu", chemical_species_to_atom_type_map=TYPES)

    return calculator


# DeePMD-kit
DEEPMD_MODEL = {
    "type_map": list(ELEMENTS),
    "descriptor": {
        "type": "se_e2_a",
        "sel": "auto",
        "rcut_smth": 0.5,
        "rcut": 6.0,
        "neuron": [25, 50, 100],
        "axis_neuron": 16,
        "type_one_side": True,
        "precision": "float32",
        "seed": 1,
    },
    "fitting_net": {"neuron": [240, 240, 240], "resnet_dt": True, "precision": "float32", "seed": 1},
}


def train_deepmd(folder: Path):
    """Train for a moment, freeze, compress (tabulated embedding networks)."""
    import json

    if (folder / "deepmd.pb").exists():
        return
    system = folder / "deepmd-frames"
    (system / "set.000").mkdir(parents=True, exist_ok=True)
    frames = read(frames_of(folder), ":")
    kinds = [ELEMENTS.index(symbol) for symbol in frames[0].symbols]
    (system / "type.raw").write_text("\n".join(map(str, kinds)))
    (system / "type_map.raw").write_text("\n".join(ELEMENTS))
    np.save(system / "set.000" / "box.npy", [frame.cell[:].ravel() for frame in frames])
    np.save(system / "set.000" / "coord.npy", [frame.positions.ravel() for frame in frames])
    np.save(system / "set.000" / "energy.npy", [frame.get_potential_energy() for frame in frames])
    np.save(system / "set.000" / "force.npy", [frame.get_forces().ravel() for frame in frames])
    config = {
        "model": DEEPMD_MODEL,
        "learning_rate": {"type": "exp", "start_lr": 0.001, "stop_lr": 1e-5, "decay_steps": 10},
        "loss": {"type": "ener"},
        "training": {
            "training_data": {"systems": [str(system)], "batch_size": 1},
            "numb_steps": 20,
            "disp_freq": 10,
            "save_freq": 20,
            "seed": 1,
        },
    }
    (folder / "deepmd.json").write_text(json.dumps(config))
    tool(folder, "dp", "--tf", "train", "deepmd.json")
    tool(folder, "dp", "--tf", "freeze", "-o", "full.pb")
    tool(folder, "dp", "--tf", "compress", "-i", "full.pb", "-o", "deepmd.pb", "-t", "deepmd.json")


def start_deepmd(atoms, folder: Path):
    return LammpsEngine(atoms, f"pair_style deepmd {folder / 'deepmd.pb'}\npair_coeff * * {NAMES}", folder)


# NEP
def prepare_nep(folder: Path):
    write_random_model(folder / "nep.txt")
    build_plugin(folder)


def start_nep(atoms, folder: Path):
    plugin = f"plugin load {folder / 'peers_nepplugin.so'}\n"
    return LammpsEngine(atoms, f"{plugin}pair_style nep {folder / 'nep.txt'}\npair_coeff * * {NAMES}", folder)


def nep_calculator(folder: Path):
    from nep_adapters.ase import NepAseCalculator

    return NepAseCalculator(str(folder / "nep.txt"), backend="cpu")


EFGMD = ("efgmd", "lammps", "torch")
THROUGH_EFGMD = "LAMMPS, ML-IAP of efgmd"
SEVENNET = "SevenNet-0: 5 angstrom, 5 layers, l up to 2, float32"
MACE = "MACE, random: 5 angstrom, 2 layers, 32 scalar channels, l up to 2, products of 2, float32"
NEQUIP = "NequIP, random: 5 angstrom, 2 layers, 32 features, l up to 1, float32"
ALLEGRO = "Allegro, random: 5 angstrom, 1 layer, 32 scalars, 16 tensors, l up to 1, float32"
NEP = "NEP4, random: 8 (radial) and 4 angstrom (angular), n_max 4 4, basis 8 8, l_max 4 2 0, 30 neurons"
IN_MACE = ("mace-torch", "e3nn", "cuequivariance-torch", "torch")
IN_NEQUIP = ("nequip", "nequip-allegro", "torch")
PLAIN, WITH_D3 = "held_out.xyz.gz", "held_out_d3.xyz.gz"

ROUTES = {
    "efgmd-d3": Route(
        "efgmd",
        "LAMMPS",
        "energy-d3.safetensors",
        EFGMD,
        nothing,
        ml_iap(POTENTIALS / "energy-d3.safetensors"),
        WITH_D3,
    ),
    "efgmd": Route(
        "efgmd", "LAMMPS", "energy.safetensors", EFGMD, nothing, ml_iap(POTENTIALS / "energy.safetensors"), PLAIN
    ),
    "nep/lammps": Route(
        "nep", "LAMMPS, NEP_CPU with tabulated radial functions", NEP, ("lammps",), prepare_nep, start_nep
    ),
    "nep/ase": Route("nep", "ASE, nep-adapters", NEP, ("nep-adapters",), prepare_nep, through_ase(nep_calculator)),
    "deepmd/lammps": Route(
        "deepmd",
        "LAMMPS, DeePMD-kit's own plugin, compressed model, TensorFlow",
        "DeePMD se_e2_a, random: 6 angstrom, networks 25-50-100 and 240-240-240, float32",
        ("deepmd-kit", "tensorflow-cpu", "lammps"),
        train_deepmd,
        start_deepmd,
    ),
    "allegro/ase": Route(
        "sevenn",
        "ASE, AOTInductor",
        ALLEGRO,
        IN_NEQUIP,
        compile_nequip("allegro"),
        through_ase(nequip_calculator("allegro")),
    ),
    "allegro/ml-iap": Route(
        "sevenn",
        THROUGH_EFGMD,
        ALLEGRO,
        (*IN_NEQUIP, *EFGMD),
        export_nequip("allegro"),
        ml_iap("allegro.nequip.lmp.pt"),
    ),
    "nequip/ase": Route(
        "sevenn",
        "ASE, AOTInductor",
        NEQUIP,
        IN_NEQUIP,
        compile_nequip("nequip"),
        through_ase(nequip_calculator("nequip")),
    ),
    "nequip/ml-iap": Route(
        "sevenn", THROUGH_EFGMD, NEQUIP, (*IN_NEQUIP, *EFGMD), export_nequip("nequip"), ml_iap("nequip.nequip.lmp.pt")
    ),
    "mace/ase": Route("mace", "ASE", MACE, IN_MACE, train_mace, through_ase(mace_calculator)),
    "mace/ml-iap": Route(
        "mace", THROUGH_EFGMD, MACE, (*IN_MACE, *EFGMD), export_mace, ml_iap("mace.model-mliap_lammps.pt")
    ),
    "chgnet/ase": Route(
        "chgnet", "ASE", "CHGNet 0.3.0", ("chgnet", "torch"), nothing, through_ase(chgnet_calculator), PLAIN
    ),
    "sevennet/ase": Route("sevenn", "ASE", SEVENNET, ("sevenn", "torch"), nothing, through_ase(sevennet_calculator)),
    "sevennet/ml-iap": Route(
        "sevenn", THROUGH_EFGMD, SEVENNET, ("sevenn", *EFGMD), export_sevennet, ml_iap("sevennet.pt")
    ),
}
