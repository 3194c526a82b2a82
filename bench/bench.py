#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The figures of this node, each beside a peer measured in the same run; medians of several runs.

make bench, or: bench/bench.py [--build DIR] [--runs N] [--json FILE] [NAME...]
Nothing here fails because a machine is slow: targets are printed beside the figures, for a person to read.
"""
import argparse
import json
import pathlib
import sys
import tempfile

from machine import ROOT
from measure import BENCHES, Context, Report
import calls
import packages
import storage
import tasks
import web
from harness import processes
from harness.node import Programs
from harness.stubs import Stubs

PARTS = (calls, tasks, storage, packages, web)  # imported, each has put its own measurements into BENCHES


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", help="write the figures to this file as well")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {' '.join(BENCHES)}; default: all")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHES)
    if unknown:
        parser.error(f"no such benchmark: {' '.join(sorted(unknown))}")
    programs = Programs(options.build)
    if programs.missing():
        sys.exit(f"not built: {' '.join(programs.missing())}")
    report = Report()
    with tempfile.TemporaryDirectory(prefix="hivemind-bench-") as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        processes.become_subreaper()
        context = Context(programs, Stubs(folder / "stubs"), folder, options.runs, report)
        print(f"medians of {options.runs} runs; ratios are medians of each run's own")
        for name in options.names or BENCHES:
            report.begin(name)
            BENCHES[name](context)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(report.rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
