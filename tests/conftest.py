"""Tests run side by side, each on one thread."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch
