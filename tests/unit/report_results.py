"""Results of campaigns as the report takes them, made up without running anything."""

import numpy as np

from efgmd.analysis.couplings import coupling
from efgmd.analysis.statistics import Estimate
from efgmd.analysis.transition import TransitionAnalysis
from efgmd.nuclei import nucleus
from efgmd.tensors import matrix_to_six

TC = 331.0


def results(temperatures=(250.0, 275.0, 300.0, 315.0, 325.0, 337.5, 350.0, 400.0), seed=1, complete=True):
    """A tetragonal to cubic transition at `TC`: iodine on two sites that merge, nitrogen that loses its coupling."""
    rng = np.random.default_rng(seed)
    nuclei = {
        "127I": {"spin": "5/2", "moment_mb": -696.0, "source": "test"},
        "14N": {"spin": "1", "moment_mb": 20.44, "source": "test"},
    }
    found = {
        "complete": complete,
        "missing": [] if complete else ["T0425K has no samples"],
        "campaign_file": "made-up.yaml",
        "campaign_sha256": "c" * 64,
        "structure_sha256": "s" * 64,
        "formula": "Pb8I24N8",
        "n_atoms": 40,
        "models": {
            "energy": {"path": "<energy & forces>", "sha256": "e" * 64, "cutoff": 6.0, "training": {}},
            "efg": {"path": "efg", "sha256": "f" * 64, "cutoff": 6.0, "training": {"accuracy": _accuracy()}},
        },
        "nuclei": nuclei,
        "masses": {"Pb": 207.2, "I": 126.9, "N": 14.0},
        "notes": ["a note of the campaign"],
        "versions": {"efgmd": "0"},
        "machine": {"processor": "none", "cores": 1, "system": "none"},
        "campaign": {
            "ensemble": {"kind": "npt", "pressure_control": "aniso", "pressure_bar": 1.0},
            "production_ps": 200.0,
            "equilibration_ps": 10.0,
            "timestep_fs": 0.5,
            "sampling_fs": 20.0,
        },
        "temperatures": [_entry(kelvin, rng) for kelvin in temperatures],
    }
    return found | {"transition": TransitionAnalysis().compute(found).entry}


def _accuracy():
    numbers = {"rmse_au": 0.0851, "sigma_au": 1.42, "rmse_per_sigma": 0.06, "r2": 0.9964}
    return {"test": {"frames": 13, "elements": {"I": numbers, "N": numbers | {"rmse_au": 0.0128}}}}


def _entry(kelvin, rng):
    order = np.sqrt(max(TC - kelvin, 0) / (TC - 250))  # quadratic in a tricritical order parameter
    sites = []
    if order > 0:
        sites.append(_site(rng, "127I", "4a", 8, np.diag([-1.6, -1.6, 3.2]) * (1 + 0.02 * order), 0.02))
        tilted = np.diag([-1.6 + 0.08 * order, -1.6 - 0.08 * order, 3.2]) * (1 - 0.02 * order)
        sites.append(_site(rng, "127I", "8h", 16, tilted, 0.02))
        merged = []
    else:
        cubic = np.diag([-1.6, -1.6, 3.2])
        sites.append(_site(rng, "127I", "3d", 24, cubic, 0.02))
        merged = [_site(rng, "127I", label, count, cubic, 0.02) for label, count in (("4a", 8), ("8h", 16))]
    sites.append(_site(rng, "14N", "", 8, 0.012 * order * np.diag([-0.5, -0.5, 1.0]), 0.001))
    lengths = np.array([6.30, 6.30, 6.30 + 0.12 * order]) + rng.normal(0, 0.004, 3)
    time = np.linspace(4, 200, 50)
    return {
        "temperature_K": kelvin,
        "complete": True,
        "samples": 10000,
        "samples_planned": 10000,
        "seed": 7,
        "measured": {name: {"mean": kelvin, "error": 0.5} for name in ("temperature", "pressure", "potential_energy")},
        "lattice": {
            "supercell": {name: {"mean": 90.0, "error": 0.0} for name in ("alpha", "beta", "gamma")},
            "pseudocubic": {name: {"mean": v, "error": 0.004} for name, v in zip("abc", lengths, strict=True)},
            "pseudocubic_covariance": (0.004**2 * np.eye(3)).tolist(),
            "pseudocubic_degrees": 40,
            "unique_axes": [],
        },
        "symmetry": {
            "space_group": "I4/mcm (140)" if order > 0 else "Pm-3m (221)",
            "tolerance_angstrom": 0.3,
            "tolerance_widened": False,
            "assumed_from_start": False,
        },
        "axes": {"segments": []},
        "traces": {
            "time_ps": list(time),
            "temperature_K": list(kelvin + rng.normal(0, 3, 50)),
            "volume": list(2000 + rng.normal(0, 5, 50)),
        },
        "sites": sites,
        "merged_sites": merged,
        "notes": [],
    }


def _site(rng, name, label, count, tensor, noise):
    form = np.diag([1, 1, 1, 0.5, 0.5, 0.5]) - np.pad(np.full((3, 3), 1 / 3), (0, 3))
    covariance = noise**2 * form
    mean = matrix_to_six(tensor) + rng.multivariate_normal(np.zeros(6), covariance)
    estimate = Estimate(mean, covariance, 40, 1.0, 40.0)
    value = coupling(nucleus(name), estimate)
    time = np.linspace(4, 200, 50)
    return {
        "nucleus": name,
        "site": label,
        "count": count,
        "atom_ids": list(range(1, count + 1)),
        "cq_MHz": value.cq,
        "cq_error_sampling_MHz": value.cq_error,
        "cq_interval95_MHz": value.cq_interval,
        "sign_known": value.sign_known,
        "eta": value.eta,
        "eta_error_sampling": value.eta_error,
        "eta_interval95": value.eta_interval,
        "compatible_with_zero": value.is_zero,
        "error_is_rough": False,
        "too_short_reasons": [],
        "cq_error_model_MHz": None,
        "tensor_au": list(mean),
        "covariance_au": covariance.tolist(),
        "degrees_of_freedom": 40,
        "abs_cq_instant_MHz": abs(value.cq) + 0.3,
        "nqr_MHz": list(value.nqr),
        "nqr_error_sampling_MHz": None if value.nqr_error is None else list(value.nqr_error),
        "running": {"time_ps": list(time), "abs_cq_MHz": list(abs(value.cq) + 0.2 / time)},
    }
