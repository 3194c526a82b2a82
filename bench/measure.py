# SPDX-License-Identifier: Apache-2.0
"""What the measurements share: their list, their report, and the programs that they ask."""
import re
import statistics
import struct
import subprocess
import time

from machine import what_else_runs
from harness.node import Node

BENCHES = {}
IN_FLIGHT = 16
PYTHON = ["/usr/bin/python3", "-I", "-c", "result = 42"]
BWRAP = ["bwrap", "--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib",
         "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin", "--proc", "/proc", "--dev", "/dev"]


def bench(f):
    BENCHES[f.__name__] = f
    return f


def median(values):
    return statistics.median(values)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Report:
    """Values are single ones, or a list with one for each run. Peers that were measured run by run are compared so."""

    def __init__(self):
        self.rows, self.beside = [], ""

    def begin(self, name):
        self.beside = what_else_runs()
        print(f"\n{name} ({self.beside})", flush=True)

    def add(self, name, value, unit, target="", peer="", peer_value=None):
        row = {"name": name, "unit": unit, "target": target, "beside": self.beside}
        if isinstance(value, list):
            row["runs"] = value
        if peer_value:
            pairs = zip(value, peer_value) if isinstance(value, list) and isinstance(peer_value, list) else None
            peer_value = median(peer_value) if isinstance(peer_value, list) else peer_value
            ratio = median([a / b for a, b in pairs]) if pairs else self.single(value) / peer_value
            row |= {"peer": peer, "peer_value": peer_value, "ratio": ratio}
        row["value"] = self.single(value)
        text = f"{name:<52} {row['value']:>12,.2f} {unit:<6} {target:<20}"
        if "peer" in row:
            text += f" {peer}: {peer_value:,.2f} (ratio {row['ratio']:.2f})"
        self.rows.append(row)
        print(text.rstrip(), flush=True)

    @staticmethod
    def single(value):
        return median(value) if isinstance(value, list) else value


class Context:
    def __init__(self, programs, stubs, folder, runs, report):
        self.programs, self.stubs, self.folder = programs, stubs, folder
        self.runs, self.report, self.count = runs, report, 0

    def node(self, **settings):
        self.count += 1
        return Node(self.programs, self.stubs, self.folder / f"node{self.count}", **settings)

    def program(self, name, *arguments):
        """What a program of bench/ prints."""
        command = [self.programs.build / "bench" / name, *arguments]
        return subprocess.run([str(a) for a in command], stdout=subprocess.PIPE, text=True, check=True).stdout

    def slot_rate(self, *arguments):
        """Tasks per second as slot_bench prints them."""
        out = self.program("slot_bench", self.programs.libexec, *arguments)
        return float(re.match(r"\w+ ([\d.]+) /s", out).group(1))

    def grpc_client(self, node, what, count, in_flight=1, pause_ms=0):
        """Calls per second, p50 and p99 in ms, as grpc_bench prints them; it has compared what came back."""
        out = self.program("grpc_bench", node.address, what, count, in_flight, pause_ms)
        rate, p50, p99 = re.fullmatch(r"rate ([\d.]+) p50 (\d+) p99 (\d+)\n", out).groups()
        return float(rate), int(p50) / 1000, int(p99) / 1000

    def bwrap_rate(self, count):
        return self.slot_rate("spawn", count, IN_FLIGHT, *BWRAP, *PYTHON)


def grpc_frame(message):
    return b"\0" + struct.pack(">I", len(message)) + message


def h2load(url, body, count, clients=4, streams=100):
    """Requests per second; every one of them must have been answered with HTTP 200. It believes every certificate."""
    call = ["-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers"] if body else []
    out = subprocess.run(["h2load", "-n", str(count), "-c", str(clients), "-m", str(streams), *call, url],
                         capture_output=True, text=True, check=True).stdout
    rate = next(line for line in out.splitlines() if line.startswith("finished in"))
    assert f"{count} succeeded" in out, out
    return float(rate.split(",")[1].split()[0])


def time_each(count, f):
    times = []
    for _ in range(count):
        begun = time.monotonic()
        f()
        times.append((time.monotonic() - begun) * 1000)
    return times


def seconds_of(*command):
    began = time.monotonic()
    subprocess.run([str(a) for a in command], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {condition.__name__}")
        time.sleep(0.05)
