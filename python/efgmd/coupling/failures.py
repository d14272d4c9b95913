"""How an exception inside the coupling is told in LAMMPS' log."""

import traceback
from types import TracebackType

from efgmd.errors import EfgmdError


def describe(error: BaseException, trace: TracebackType | None = None) -> tuple[str, str]:
    """Message and traceback of an exception.

    Parameters
    ----------
    error
        Whatever the Python half of the plugin raised.
    trace
        Where it was raised; Python before 3.12 keeps this apart from the exception while it passes through C++.

    Returns
    -------
    tuple[str, str]
        One line for the error message, and a traceback; the traceback is empty where the message says it all.
    """
    if isinstance(error, EfgmdError):
        return str(error), ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}", "".join(traceback.format_exception(type(error), error, trace)).rstrip()
