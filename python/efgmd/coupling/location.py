"""Where the compiled LAMMPS plugin lies."""

from pathlib import Path

import efgmd

PLUGIN = "efgmdplugin.so"


def plugin_directory() -> str:
    """Directory that holds the plugin; the ``lammps`` package adds it to ``LAMMPS_PLUGIN_PATH``.

    Returns
    -------
    str
        An absolute path. When nothing is compiled (sources on ``PYTHONPATH``) it names the place where the plugin
        would be installed, which LAMMPS passes over.
    """
    # An editable installation has two places: the sources, and site-packages with what was compiled.
    places = [Path(place).resolve() / "lammps_plugin" for place in efgmd.__path__]
    return str(next((place for place in places if (place / PLUGIN).is_file()), places[0]))
