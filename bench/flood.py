#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What one peer can do to another: GetStatus of a well-behaved client while an attacker does its worst, and the daemon's memory.

bench/flood.py [--build DIR] [--seconds N] [--json FILE] [NAME...]

The attackers are those of tests/integration/harness/attacks.py, one process each, from another address than the client. The client calls once
each 5 ms over one connection, opens a new one twice a second, and asks for the node's health over that. Exits with 1 where a p99 is above
50 ms, the daemon took more than 100 MB, a new connection was not taken, or the memory did not come back.
"""
import argparse
import json
import pathlib
import ssl
import subprocess
import sys
import tempfile
import time

from machine import ROOT, memory_mb, what_else_runs
from harness import attacks, processes
from harness.node import Node, Programs
from harness.stubs import Stubs
from harness.wire import Closed, Connection

P99_MS, PEAK_MB, BACK_MB, BACK_SECONDS = 50, 100, 12, 20
PAUSE, EVERY_MS = 0.004, 5
HEALTH = "/grpc.health.v1.Health/Check"


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("inf")


def as_asked(took, every):
    """
    What a client would have seen that asks once in so many ms, whether it has its answers or not: while one call takes long, those that it could
    not make meanwhile would have taken long, too.
    """
    seen = []
    for ms in took:
        while ms > 0:
            seen.append(ms)
            ms -= every
    return seen


def connect(node, tls):
    return Connection(node.address, seconds=5, tls=tls)


class Victim:
    def __init__(self, node, tls):
        self.node, self.tls = node, tls
        self.connection, self.stream = connect(node, tls), 1
        self.call()

    def call(self):
        start = time.monotonic()
        response = self.connection.call("GetStatus", stream=self.stream, authorization=f"Bearer {self.node.token}")
        assert response.grpc_status == 0, response.grpc_message
        self.stream += 2
        return (time.monotonic() - start) * 1000

    def newcomer(self):
        """Whether a new connection is taken, and told that the node is well."""
        try:
            with connect(self.node, self.tls) as c:
                return c.call(HEALTH).grpc_status == 0
        except (Closed, OSError):
            return False


def attack(node, name, seconds, tls):
    pid, victim = node.process.pid, Victim(node, tls)
    before = memory_mb(pid)
    attacker = attacks.begin(name, node.address, seconds)
    took, peak, last_new, turned_away = [], before, time.monotonic(), 0
    while attacker.poll() is None:
        took.append(victim.call())
        peak = max(peak, memory_mb(pid))
        if time.monotonic() - last_new > 0.5:
            last_new = time.monotonic()
            turned_away += not victim.newcomer()
        time.sleep(PAUSE)
    count = attacks.outcome(attacker)
    took = as_asked(took, EVERY_MS)
    end = time.monotonic() + BACK_SECONDS
    while memory_mb(pid) > before + BACK_MB and time.monotonic() < end:
        time.sleep(0.1)
    back = BACK_SECONDS - max(0, end - time.monotonic())
    return {"attack": name, "calls": len(took), "p50": percentile(took, 0.5), "p99": percentile(took, 0.99), "max": max(took),
            "before": before, "peak": peak, "after": memory_mb(pid), "back": back, "turned away": turned_away, "attacker": count}


def verdict(row):
    wrong = []
    if row["p99"] > P99_MS:
        wrong.append("p99")
    if row["peak"] > PEAK_MB:
        wrong.append("peak")
    if row["after"] > row["before"] + BACK_MB:
        wrong.append("memory stays")
    if row["turned away"]:
        wrong.append("newcomers")
    return " ".join(wrong)


def show(row):
    print(f"{row['attack']:28} {row['p50']:8.2f} {row['p99']:8.2f} {row['max']:8.1f} {row['before']:7.1f} {row['peak']:7.1f} "
          f"{row['after']:7.1f} {row['back']:6.1f}  {verdict(row) or 'good':14} {json.dumps(row['attacker'])}", flush=True)


def run(node, names, seconds, tls=None):
    rows = []
    for name in names:
        rows.append(attack(node, name, seconds, tls))
        show(rows[-1])
    return rows


def with_tls(programs, folder):
    subprocess.run([programs.cli, "tls", "init", "--dir", folder], check=True, capture_output=True)
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    context.set_alpn_protocols(["h2"])
    return {"tls_cert": folder / "node.crt", "tls_key": folder / "node.key"}, context


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--json")
    parser.add_argument("names", nargs="*", metavar="NAME", help="attacks; default: all")
    options = parser.parse_args()
    wanted = [n for n in attacks.ATTACKS if not options.names or n in options.names]
    plain, guessing = [n for n in wanted if n != "bad tokens"], [n for n in wanted if n == "bad tokens"]
    tls = [n for n in attacks.TLS_ATTACKS if not options.names or n in options.names]
    programs = Programs(options.build)
    if programs.missing():
        sys.exit(f"not built: {' '.join(programs.missing())}")
    rows = []
    with tempfile.TemporaryDirectory(prefix="hivemind-flood-") as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        processes.become_subreaper()
        stubs = Stubs(folder / "stubs")
        print(what_else_runs())
        print(f"{'attack':28} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'before':>7} {'peak':>7} {'after':>7} {'back s':>6}  verdict")
        if plain:
            # One that lets everybody in: the others refuse most of it after the headers.
            node = Node(programs, stubs, folder / "plain", authenticated=False).start()
            rows += run(node, plain, options.seconds)
            node.stop()
        if guessing:
            node = Node(programs, stubs, folder / "asking", authenticated=True).start()
            rows += run(node, guessing, options.seconds)
            node.stop()
        if tls:
            settings, context = with_tls(programs, folder / "tls")
            node = Node(programs, stubs, folder / "secure", authenticated=True, **settings).start()
            rows += run(node, tls, options.seconds, context)
            node.stop()
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    sys.exit(1 if any(map(verdict, rows)) else 0)


if __name__ == "__main__":
    main()
