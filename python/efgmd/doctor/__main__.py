"""The same as ``efgmd doctor``, for environments in which the `efgmd` command itself does not start."""

import argparse
import sys

from efgmd.doctor.examination import LIMIT, doctor

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m efgmd.doctor", description="Check an installation of efgmd.")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds that each check may take")
    options = parser.parse_args()
    sys.exit(doctor(options.json, options.limit))
