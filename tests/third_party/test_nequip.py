"""A small NequIP model (two layers of messages), trained for one epoch."""

import pytest
from lammps_cases import ELEMENTS
from third_party_cases import compare, compare_moving_slab, perovskite_cell

pytestmark = pytest.mark.third_party
TOLERANCE = 1e-10
TRAINING = """
run: [train]
types: [Pb, I, C, N, H]
loader: {_target_: torch.utils.data.DataLoader, batch_size: 2}
data:
  _target_: nequip.data.datamodule.ASEDataModule
  seed: 1
  train_file_path: FRAMES
  val_file_path: FRAMES
  ase_args: {format: extxyz}
  transforms:
    - _target_: nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper
      model_type_names: ${types}
      chemical_species_to_atom_type_map: ${list_to_identity_dict:${types}}
    - {_target_: nequip.data.transforms.NeighborListTransform, r_max: 4.5}
  train_dataloader: ${loader}
  val_dataloader: ${loader}
trainer:
  _target_: lightning.Trainer
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  logger: false
  callbacks:
    - {_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: out, save_last: true}
training_module:
  _target_: nequip.train.EMALightningModule
  loss: {_target_: nequip.train.EnergyForceLoss, per_atom_energy: true, coeffs: {total_energy: 1.0, forces: 1.0}}
  val_metrics: {_target_: nequip.train.EnergyForceMetrics, coeffs: {total_energy_mae: 1.0, forces_mae: 1.0}}
  optimizer: {_target_: torch.optim.Adam, lr: 0.01}
  model:
    _target_: nequip.model.NequIPGNNModel
    seed: 1
    model_dtype: float64
    type_names: ${types}
    r_max: 4.5
    l_max: 1
    parity: true
    num_layers: 2
    num_features: 8
    radial_mlp_depth: 1
    radial_mlp_width: 8
    avg_num_neighbors: 40.0
    per_type_energy_shifts: {Pb: -4.0, I: -3.0, C: -7.0, N: -7.0, H: -4.0}
    per_type_energy_scales: 1.0
"""


@pytest.fixture(scope="module")
def exported(tool, labelled):
    """Model for ML-IAP and ASE calculator."""
    from nequip.integrations.ase import NequIPCalculator

    (tool.folder / "train.yaml").write_text(TRAINING.replace("FRAMES", str(labelled)))
    tool("nequip-train", "-cp", tool.folder, "-cn", "train", f"hydra.run.dir={tool.folder}")
    checkpoint = tool.folder / "out" / "last.ckpt"
    tool("nequip-prepare-lmp-mliap", checkpoint, "small.nequip.lmp.pt", "--no-compile")
    types = {element: element for element in ELEMENTS}
    calculator = NequIPCalculator._from_saved_model(str(checkpoint), chemical_species_to_atom_type_map=types)
    return tool.folder / "small.nequip.lmp.pt", calculator


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_equal_to_its_calculator(exported, tmp_path, ranks):
    file, calculator = exported
    compare(tmp_path, file, perovskite_cell(), calculator, ranks, TOLERANCE)


def test_ranks_without_atoms(exported, tmp_path):
    file, calculator = exported
    compare_moving_slab(tmp_path, file, calculator, 4, TOLERANCE)
