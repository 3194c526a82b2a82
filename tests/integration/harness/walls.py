# SPDX-License-Identifier: Apache-2.0
"""Attacks from inside a sandbox.

A payload is a Python source in payloads/ that runs as a task: many small probes, each with the outcomes that are right
(payloads/probing.py). The task only reports what happened; whether that is right is decided here.
"""
import ctypes
import json
import pathlib

PAYLOADS = pathlib.Path(__file__).resolve().parents[1] / "payloads"


def source_of(name, **constants):
    """The payload, with the modules that it imports: `probing`, and `given` with what it must know of the world outside."""
    probing = (PAYLOADS / "probing.py").read_text()
    payload = (PAYLOADS / f"{name}.py").read_text() if name else ""
    return f"""
import sys, types
for name, content in (("probing", {probing!r}), ("given", {"".join(f"{k} = {v!r}{chr(10)}" for k, v in constants.items())!r})):
    sys.modules[name] = types.ModuleType(name)
    exec(compile(content, name, "exec"), sys.modules[name].__dict__)
{payload}
result = sys.modules["probing"].run_probes()
"""


def wrong_ones(report):
    """Of {probe: [outcome, right outcomes]} those that ended otherwise than they should."""
    return {name: f"{outcome}, not one of {', '.join(right)}"
            for name, (outcome, right) in report.items() if outcome not in right}


def attack(node, pb, name, at_least, **constants):
    """Runs the payload as a Python task; every probe of it must have failed in the way that it should."""
    task, result = node.run(source_of(name, **constants), timeout_ms=60_000)
    assert task.state == pb.Task.COMPLETED, f"{task.message}\n{task.error}"
    report = json.loads(result)
    assert len(report) >= at_least, f"{len(report)} probes only"
    wrong = wrong_ones(report)
    assert not wrong, "\n".join(f"{probe}: {what}" for probe, what in sorted(wrong.items()))


def system_call_numbers(names):
    """{name: number} on this machine, as the library of the filter knows them; those that it does not know are left out."""
    library = ctypes.CDLL("libseccomp.so.2")
    numbers = {name: library.seccomp_syscall_resolve_name(name.encode()) for name in names}
    return {name: number for name, number in numbers.items() if number >= 0}


def named(comm):
    """The machine's processes of that name (prctl PR_SET_NAME), by their numbers outside."""
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == comm:
                found.add(int(path.parent.name))
        except OSError:
            pass  # it has ended
    return found


def answers(node):
    """However busy the tasks are, the node has an ear. How soon it answers is for bench/ to say: here the machine decides."""
    return node.status()
