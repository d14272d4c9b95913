"""The Python that has GPAW, which need not be the one that has efgmd."""

import os
import subprocess
from pathlib import Path

from efgmd.errors import ConfigError

#: Environment variable that names the interpreter.
VARIABLE = "EFGMD_GPAW_PYTHON"
_DEFAULT = "/usr/bin/python3"
_HINT = "on Debian 12: apt install --no-install-recommends gpaw gpaw-data python3-ase"


def gpaw_python(given: str | None) -> str:
    """Path of a Python with GPAW: the given one, that of ``EFGMD_GPAW_PYTHON``, or ``/usr/bin/python3``.

    Raises
    ------
    ConfigError
        It does not run, has no GPAW, another GPAW than 22.8, or no atomic data sets.
    """
    python = given or os.environ.get(VARIABLE) or _DEFAULT
    # The parts of GPAW that the labels are taken from have other names in later versions.
    probe = (
        "import gpaw, ase, scipy, pathlib; "
        "found = [p for p in gpaw.setup_paths if list(pathlib.Path(p).glob('*.PBE*'))]; "
        "print(gpaw.__version__, 'data' if found else 'none')"
    )
    choose = f"choose another with --python or {VARIABLE} ({_HINT})"
    if not Path(python).exists():
        raise ConfigError(f"{python}: no such program; {choose}")
    try:
        answer = subprocess.run([python, "-c", probe], capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{python}: does not run ({error}); {choose}") from error
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConfigError(f"{python}: cannot import GPAW ({reason}); {choose}")
    version, data = answer.stdout.split()[-2:]
    if not version.startswith("22.8"):
        raise ConfigError(f"{python}: has GPAW {version}, but the tensors are taken from the insides of 22.8; {choose}")
    if data != "data":
        raise ConfigError(f"{python}: GPAW finds no atomic data sets; install gpaw-data, or set GPAW_SETUP_PATH")
    return python
