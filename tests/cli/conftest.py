"""Lets the tests of this folder import its helper modules (pytest's importlib mode does not add it to the path)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
