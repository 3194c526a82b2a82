# SPDX-License-Identifier: Apache-2.0
"""What a running daemon has taken away from itself, and how the programs were built."""
import json
import os
import pathlib
import re
import subprocess

import pytest

from harness import processes
from harness.node import StartError


def status_of(pid, thread=None):
    path = f"/proc/{pid}/task/{thread}/status" if thread else f"/proc/{pid}/status"
    return dict(line.split(":\t", 1) for line in pathlib.Path(path).read_text(encoding="ascii", errors="replace").splitlines()
                if ":\t" in line)


def build_options(programs_for_all, request):
    """Of meson, from the folder that was built in."""
    build = pathlib.Path(request.config.getoption("--build")).resolve()
    raw = (build / "meson-info" / "intro-buildoptions.json").read_text(encoding="utf-8")
    return {o["name"]: o["value"] for o in json.loads(raw)}


@pytest.mark.parametrize("who", ["root", "user"])
def test_nothing_is_left_to_the_daemon(make_node, request, who):
    if who == "root":
        request.getfixturevalue("root")
        node = make_node().start()
    else:
        node = make_node(user=request.getfixturevalue("ordinary_user")).start()
    assert node.run("result = 6 * 7")[1] == b"42"  # the threads of its pool are there
    pid = node.process.pid
    threads = os.listdir(f"/proc/{pid}/task")
    assert len(threads) > 1
    for thread in threads:
        status = status_of(pid, thread)
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[name], 16) == 0, (thread, name, status[name])
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", (thread, status)
        assert status["Umask"] == "0077"
        assert "0" not in status["Uid"].split()
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
    assert re.search(r"Max core file size +0 +0 ", limits)
    launcher = next(p for p in processes.children(pid) if processes.program_of(p) == "hivemind-launcher")
    assert status_of(launcher)["Seccomp"] == "0", "the daemon's filter would bind all tasks"


def test_others_cannot_look_into_the_daemon(make_node, ordinary_user, root, programs_for_all, request):
    """Not even another process of the same user."""
    if build_options(programs_for_all, request)["b_sanitize"] != "none":
        pytest.skip("a sanitizer's leak check attaches to the process")
    node = make_node(user=ordinary_user).start()
    pid = node.process.pid
    script = f"open('/proc/{pid}/mem', 'rb'); print('open')"
    done = subprocess.run(["/usr/bin/python3", "-c", script], user=ordinary_user, group=ordinary_user, extra_groups=[], cwd="/",
                          capture_output=True, text=True)
    assert "PermissionError" in done.stderr and done.stdout == "", done


def test_a_storage_folder_that_others_can_write_to_is_refused(make_node):
    node = make_node()
    node.start()
    node.stop()
    node.storage.chmod(0o770)
    with pytest.raises(StartError) as caught:
        node.start()
    assert "can be written to by others (mode 0770)" in caught.value.log
    node.storage.chmod(0o755)
    node.start()
    assert "was open to others (mode 0755)" in node.log()
    assert node.storage.stat().st_mode & 0o7777 == 0o700


def test_files_are_of_their_owner_alone(make_node):
    """And the folder that all of it is in."""
    node = make_node().start()
    node.run("print('x' * 100000); result = 'y' * 100000")
    node.stop()
    assert node.storage.stat().st_mode & 0o077 == 0
    for path in node.storage.rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o077 == 0, f"{path}: {path.stat().st_mode:o}"


PROGRAMS = {"hivemind-worker": "src/node", "hivemind": "src/cli", "hivemind-launcher": "src/slot", "hivemind-slot": "src/slot",
            "libtaskworker.so": "src/lib"}


def readelf(path, *options):
    return subprocess.run(["readelf", "-W", *options, path], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_how_it_was_built(request, programs_for_all, name):
    build = pathlib.Path(request.config.getoption("--build")).resolve()
    path = build / PROGRAMS[name] / name
    options = build_options(programs_for_all, request)
    header, segments, dynamic = readelf(path, "-h"), readelf(path, "-l"), readelf(path, "-d")
    assert re.search(r"Type: +DYN", header)
    assert ".so" in name or re.search(r"FLAGS_1.*\bPIE\b", dynamic), "not position-independent"
    assert "GNU_RELRO" in segments and re.search(r"FLAGS.*\bBIND_NOW\b|FLAGS_1.*\bNOW\b", dynamic), "no full RELRO"
    assert re.search(r"GNU_STACK.* RW +0x", segments), "the stack is executable"
    assert not re.search(r"LOAD.* RWE ", segments), "memory that can be written to and executed"
    assert "TEXTREL" not in dynamic and "RPATH" not in dynamic.replace("RUNPATH", "")
    symbols = readelf(path, "--dyn-syms")
    assert "__stack_chk_fail" in symbols, "no -fstack-protector"
    if options["b_sanitize"] == "none" and options["optimization"] not in ("0", "plain"):
        assert re.search(r"__\w+_chk\b", symbols.replace("__stack_chk_fail", "")), "no _FORTIFY_SOURCE"
    if os.uname().machine == "x86_64":
        assert path.read_bytes().count(b"\xf3\x0f\x1e\xfa") > 20, "no -fcf-protection"


def test_flags_that_leave_no_trace(request):
    build = pathlib.Path(request.config.getoption("--build")).resolve()
    commands = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    ours = [c["command"] for c in commands if "/src/" in c["file"] or c["file"].startswith("../src/")]
    assert len(ours) > 100
    for command in ours:
        for flag in ("-fstack-clash-protection", "-ftrivial-auto-var-init=zero", "-fstack-protector-strong"):
            assert flag in command, command
