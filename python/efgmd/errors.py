"""Errors with one-line messages: what went wrong, where, and what to do."""

# Puts packages back as this version of efgmd needs them; their names follow.
PIP_AGAIN = "pip install -c constraints.txt --force-reinstall --no-deps"


class EfgmdError(Exception):
    """Base of all errors that a user can cause and mend; its message is one line."""


class ConfigError(EfgmdError):
    """A campaign file or a command-line option is wrong.

    Parameters
    ----------
    problems
        One line per mistake.
    where
        File the mistakes are in, or None.
    """

    def __init__(self, problems: str | list[str], where: str | None = None) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        prefix = f"{where}: " if where else ""
        super().__init__("\n".join(prefix + line for line in self.problems))


class ModelFileError(EfgmdError):
    """A model file is missing, damaged, of the wrong kind, or does not fit the system."""


class CouplingError(EfgmdError):
    """LAMMPS, its plugin, MPI and Python do not fit together."""


class DataError(EfgmdError):
    """Input data (frames, tensors, structures) are missing, inconsistent or not finite."""


class StoreError(EfgmdError):
    """An EFG store is missing, damaged, or belongs to another run."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
