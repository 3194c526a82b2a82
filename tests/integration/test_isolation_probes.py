# SPDX-License-Identifier: Apache-2.0
"""The walls from inside, one small attack after the other: system calls, rights, files, sockets.

Each payload runs as root's and as an ordinary user's task, in a fork of the warm interpreter and in one of its own.
"""
import base64
import json
import os
import pathlib
import platform
import shutil
import socket
import subprocess

import pytest

from harness import walls

# What a task has no business with, whatever its rights: what a container's default profile keeps for those with
# capabilities, what is obsolete, and what the sandbox has its own reasons for.
FORBIDDEN = """
    mount umount2 move_mount fsopen fsconfig fsmount fspick open_tree mount_setattr pivot_root chroot
    unshare setns clone3 ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_getfd kcmp
    add_key keyctl request_key io_uring_setup io_uring_enter io_uring_register bpf userfaultfd perf_event_open
    kexec_load kexec_file_load init_module finit_module delete_module create_module query_module get_kernel_syms
    fanotify_init fanotify_mark open_by_handle_at name_to_handle_at quotactl quotactl_fd swapon swapoff reboot
    settimeofday clock_settime clock_adjtime adjtimex acct syslog sethostname setdomainname vhangup iopl ioperm
    modify_ldt lookup_dcookie nfsservctl uselib ustat sysfs _sysctl vserver remap_file_pages
    shmget shmat shmctl semget semop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink
    migrate_pages move_pages mbind set_mempolicy set_mempolicy_home_node sched_setscheduler sched_setparam
    sched_setattr ioprio_set capset memfd_secret cachestat
""".split()
KNOCKED_AT = [*FORBIDDEN, "clone", "personality", "prctl", "prlimit64", "mlock"]


def test_a_wrong_outcome_is_seen(cell):
    """The probes themselves: a wall that is not there is reported, by name."""
    source = walls.source_of(None) + """
from probing import os, probe, read, run_probes
probe("EPERM")(lambda: read("/etc/passwd") and "read")
probe("EACCES", name="absent")(lambda: read("/etc/shadow"))
probe("SIGKILL", name="killed")(lambda: os.kill(os.getpid(), 9))
probe("7", name="value")(lambda: 7)
result = run_probes()
"""
    task, result = cell.run(source)
    assert walls.wrong_ones(json.loads(result)) == {
        "<lambda>": "read, not one of EPERM", "absent": "ENOENT, not one of EACCES"}, task.error


def test_system_calls(cell, pb):
    numbers = walls.system_call_numbers(KNOCKED_AT)
    assert len(numbers) > 90, "the library of the filter does not know its own calls"
    walls.attack(cell, pb, "kernel", at_least=180, NR=numbers, FORBIDDEN=FORBIDDEN, MACHINE=platform.machine())


def test_files(cell, pb):
    secrets = [str(cell.storage), str(cell.folder), str(cell.log_path), str(cell.programs.libexec), str(pathlib.Path(__file__))]
    walls.attack(cell, pb, "files", at_least=280, SECRETS=secrets)


def test_network(cell, pb):
    with socket.socket(socket.AF_UNIX) as server:
        name = f"hivemind-test-{os.getpid()}-{cell.port}"
        server.bind("\0" + name)
        server.listen()
        walls.attack(cell, pb, "network", at_least=280, PORT=cell.port, ABSTRACT=name,
                     PATHS=[str(cell.folder / "notify"), "/run/docker.sock", "/run/systemd/private", "/run/dbus/system_bus_socket"])


def test_namespaces_are_not_the_hosts(cell):
    kinds = ["user", "pid", "mnt", "net", "ipc", "uts"]
    _, result = cell.run(f"import os\nresult = {{k: os.readlink('/proc/self/ns/' + k) for k in {kinds!r}}}")
    inside = json.loads(result)
    assert set(inside) == set(kinds)
    for kind in kinds:
        for pid in ("self", str(cell.process.pid)):
            if pid == "self" or os.geteuid() == 0:
                assert inside[kind] != os.readlink(f"/proc/{pid}/ns/{kind}"), kind


def test_what_a_task_inherits(cell):
    _, result = cell.run("""
import os
fds = {}
for name in os.listdir("/proc/self/fd"):
    try:
        fds[name] = os.readlink("/proc/self/fd/" + name)
    except FileNotFoundError:
        pass  # the one that lists
result = [fds, os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid(), os.getcwd(), oct(os.umask(0))]
""")
    fds, leads_session, leads_group, folder, umask = json.loads(result)
    assert fds.pop("0") == "/dev/null"
    assert {"1", "2"} <= set(fds) <= {"1", "2", "4"}  # 3 held the source, 4 takes the result
    assert all(what.startswith("pipe:") for what in fds.values()), fds
    assert leads_session and leads_group
    assert (folder, umask) == ("/workspace", "0o22")


def test_what_a_shell_inherits(cell, pb):
    task, result = cell.run("""
echo x 2>&- >&3 || echo "the script cannot be written"
(: > /dev/fd/3) 2>&- || echo "nor emptied"
grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid)' /proc/self/status
ulimit -c; ulimit -Hn
exec ls -l /proc/self/fd
""", task_type="shell")
    assert task.state == pb.Task.COMPLETED, task.message
    lines = result.decode().splitlines()
    links = [line.split(" -> ") for line in lines if " -> " in line]
    fds = {left.split()[-1]: target for left, target in links}
    assert fds.pop("0") == "/dev/null" and fds.pop("1").startswith("pipe:") and fds.pop("2").startswith("pipe:")
    assert fds.pop("3").startswith("/memfd:")
    assert all(what.startswith("/proc/") for what in fds.values()), fds  # what ls itself has opened
    assert "the script cannot be written" in lines and "nor emptied" in lines
    status = dict(line.split(":\t") for line in lines if ":\t" in line)
    assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert status["Uid"] == status["Gid"] == "\t".join(["1000"] * 4)
    at = lines.index("0")
    assert int(lines[at + 1]) <= 65536


SURVIVED = 77


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """The programs of payloads/abi.c by name, base64."""
    if platform.machine() != "x86_64":
        pytest.skip("only x86-64 has other ways into the kernel")
    folder = tmp_path_factory.mktemp("abi")
    compiler = shutil.which("gcc") or shutil.which("clang") or "cc"
    found = {}
    for way in ("NATIVE", "I386", "X32"):
        program = folder / way
        subprocess.run([compiler, "-O1", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", f"-DWAY_{way}", "-o", program,
                        walls.PAYLOADS / "abi.c"], check=True, timeout=60)
        found[way] = base64.b64encode(program.read_bytes()).decode()
    return found


RUN_IT = """
import base64, os, subprocess, sys
with open("/workspace/program", "wb") as f:
    f.write(base64.b64decode(PROGRAM))
os.chmod("/workspace/program", 0o755)
result = subprocess.run(["/workspace/program"]).returncode
"""


@pytest.mark.parametrize("way, right", [("NATIVE", {SURVIVED}),  # a compiled program runs: the others fail for their calls
                                        ("I386", {-31, -11, 38}),  # SIGSYS; SIGSEGV where the kernel has no such way
                                        ("X32", {-31, 38})])
def test_other_ways_into_the_kernel(cell, foreign, way, right):
    _, result = cell.run(f"PROGRAM = {foreign[way]!r}\n{RUN_IT}")
    assert int(result) in right
