# SPDX-License-Identifier: Apache-2.0
"""hivemind doctor: on this machine as it is, as root and as a user without any rights."""
import json
import os
import pathlib
import socket
import subprocess
import time

import pytest

from conftest import can_make_user_namespaces, skip
from harness import processes
from harness.node import SANITIZER_WORDS, free_port

NOBODY = 65534
CHECKS = """kernel memory swap pressure huge_pages clock user_namespaces namespaces procfs task_uids uid_range seccomp seccomp_notify
landlock overlayfs cgroup_version cgroup_delegation cgroup_controllers open_files processes launcher slot python libpython
storage_space storage_type docker gpu grpc_port web_port wireguard""".split()
RUN_SECONDS = 30  # of a sanitized program on a busy machine; what is promised is measured where it matters


class Doctor:
    def __init__(self, programs, folder, uid):
        self.programs, self.uid = programs, uid
        self.storage = folder / f"doctor-storage-{uid}"

    def run(self, *arguments, **environment):
        """The program's end, after which nothing of it may be left and nothing may have changed."""
        user = {} if self.uid == os.geteuid() else {"user": self.uid, "group": self.uid, "extra_groups": []}
        kept = {k: os.environ[k] for k in ("PATH", "LANG", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS") if k in os.environ}
        environment = {"STORAGE_PATH": f"{self.storage}", "GRPC_PORT": str(free_port()), **kept, **environment}
        orphans, before = processes.Orphans(), (processes.mounts(), set(os.listdir("/tmp")))
        done = subprocess.run([str(self.programs.cli), "doctor", *arguments], env=environment, cwd="/", capture_output=True,
                              timeout=RUN_SECONDS, **user)
        assert not orphans.check(), "processes are left"
        assert processes.mounts() == before[0]
        # What it makes in a /tmp of its own stays there.
        assert not (set(os.listdir("/tmp")) - before[1]) & {"lower", "upper", "work", "merged"}
        assert not self.storage.exists() or self.storage.stat().st_uid == self.uid
        assert not SANITIZER_WORDS.search(done.stderr.decode()), done.stderr.decode()
        return done

    def report(self, *arguments, **environment):
        done = self.run("--json", *arguments, **environment)
        lines = done.stdout.decode().splitlines()
        assert len(lines) == 1 and done.stderr == b"", done.stderr
        report = json.loads(lines[0])
        report["by_name"] = {check["name"]: check for check in report["checks"]}
        assert done.returncode == (0 if report["can_run"] else 1)
        return report


@pytest.fixture(params=["root", "user"])
def doctor(request, programs_for_all, folder):
    if request.param == "root":
        request.getfixturevalue("root")
        return Doctor(programs_for_all, folder, 0)
    uid = NOBODY if os.geteuid() == 0 else os.geteuid()
    made = Doctor(programs_for_all, folder, uid)
    made.storage.mkdir(exist_ok=True)
    os.chown(made.storage, uid, -1)
    return made


def test_every_check_is_there_and_says_what_it_costs(doctor):
    report = doctor.report()
    assert [check["name"] for check in report["checks"]] == CHECKS
    assert report["uid"] == doctor.uid and report["user"] and report["version"]
    for check in report["checks"]:
        assert check["status"] in ("ok", "degraded", "missing", "unknown"), check
        assert all(check[field] for field in ("title", "area", "found", "cost", "fix")), check
    needed = {check["name"] for check in report["checks"] if check["needed"]}
    assert needed == {"user_namespaces", "namespaces", "procfs", "seccomp", "launcher", "slot", "storage_space"}
    lacking = {name for name in needed if report["by_name"][name]["status"] == "missing"}
    assert report["can_run"] == (not lacking)


def test_what_it_says_is_true(doctor):
    """Against what this test can see by itself."""
    found = doctor.report()["by_name"]
    assert os.uname().release in found["kernel"]["found"]
    version = subprocess.run(["/usr/bin/python3", "-c", "import platform; print(platform.python_version())"],
                             capture_output=True, text=True, check=True).stdout.strip()
    assert version in found["python"]["found"] and version in found["libpython"]["found"]
    assert str(doctor.programs.libexec) in found["slot"]["found"]
    asked = {} if doctor.uid == os.geteuid() else {"user": doctor.uid, "group": doctor.uid, "extra_groups": []}
    can = subprocess.run(["unshare", "-Urmpf", "--mount-proc", "true"], capture_output=True, cwd="/", **asked).returncode == 0
    assert can == all(found[name]["status"] == "ok" for name in ("user_namespaces", "namespaces", "procfs"))
    assert found["wireguard"]["status"] != "ok" or any(
        pathlib.Path(p).exists() for p in ("/sys/module/wireguard", f"/lib/modules/{os.uname().release}"))
    pid_max = pathlib.Path("/proc/sys/kernel/pid_max").read_text().strip()
    threads_max = pathlib.Path("/proc/sys/kernel/threads-max").read_text().strip()
    assert str(min(int(pid_max), int(threads_max))) in found["processes"]["found"]
    if doctor.uid != 0:
        assert found["task_uids"]["status"] == "degraded"


def test_a_node_is_as_it_says(node, programs_for_all, folder):
    """The node of this module was started by this user, and its sandboxes are what the doctor promised."""
    report = Doctor(programs_for_all, folder, os.geteuid()).report()
    assert report["can_run"]
    assert node.run("result = 1")[1] == b"1"
    shared = any("share" in warning for warning in node.status().warnings)
    assert shared == (report["by_name"]["task_uids"]["status"] != "ok" or report["by_name"]["uid_range"]["status"] != "ok")


def test_exit_code_1_when_no_task_can_run(doctor):
    report = doctor.report("--libexec-dir", "/nonexistent")
    assert not report["can_run"] and "hivemind-slot" in report["summary"]
    assert report["by_name"]["slot"]["status"] == "missing"
    assert doctor.run(STORAGE_PATH="/proc/none").returncode == 1


def test_exit_code_2_for_a_wrong_line(doctor):
    assert doctor.run("--no-such-option").returncode == 2
    assert doctor.run("word").returncode == 2
    done = doctor.run(SLOT_UID_BASE="many")
    assert done.returncode == 2 and b"SLOT_UID_BASE" in done.stderr


def test_people_read_a_table(doctor):
    short, full = doctor.run().stdout.decode(), doctor.run("--verbose").stdout.decode()
    assert "\033" not in short  # no terminal
    assert short.splitlines()[-1].startswith("A node started by ")
    assert f"(uid {doctor.uid})" in short.splitlines()[0]
    report = doctor.report()
    amiss = sum(check["status"] != "ok" for check in report["checks"])
    assert short.count("\n      cost") == short.count("\n      fix ") == amiss
    assert full.count("\n      cost") == full.count("\n      fix ") == len(CHECKS)
    assert all(f"\n  {check['title']} " in full for check in report["checks"])


def test_ports(doctor):
    with socket.create_server(("127.0.0.1", 0)) as taken:  # takes connections and says nothing
        port = taken.getsockname()[1]
        start = time.monotonic()
        check = doctor.report("--grpc-port", str(port))["by_name"]["grpc_port"]
        assert time.monotonic() - start < 6
    assert check["status"] == "degraded" and str(port) in check["found"]
    if doctor.uid == os.geteuid():
        assert f"process {os.getpid()}" in check["found"]


def test_a_node_on_its_port_is_fine(doctor, node):
    check = doctor.report("--grpc-port", str(node.port))["by_name"]["grpc_port"]
    assert check["status"] == "ok" and "by a node" in check["found"] and node.status().node_id in check["found"]


def test_nothing_that_hangs_holds_it(doctor, folder):
    """Docker takes the connection and never answers; an interpreter never ends; the port is a silent one."""
    path = folder / f"silent-{doctor.uid}.sock"
    python = folder / f"silent-python-{doctor.uid}"
    python.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    python.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as silent, socket.create_server(("127.0.0.1", 0)) as port:
        silent.bind(str(path))
        path.chmod(0o777)
        silent.listen(1)
        start = time.monotonic()
        found = doctor.report("--python", str(python), "--grpc-port", str(port.getsockname()[1]),
                              DOCKER_HOST=f"unix://{path}")["by_name"]
        assert time.monotonic() - start < 6.5
    assert found["docker"]["status"] == "unknown" and "in time" in found["docker"]["found"]
    assert found["python"]["status"] == "unknown" and "in time" in found["python"]["found"]


def test_hostile_words_do_no_harm(doctor):
    done = doctor.run("--verbose", DOCKER_HOST="tcp://\033[2J\u202e", HIVEMIND_PYTHON="/\033]0;x\a")
    text = done.stdout.decode()
    assert "\033" not in text and "\a" not in text and "\u202e" not in text
    assert doctor.report(DOCKER_HOST="tcp://\udcff")["by_name"]["docker"]["status"] == "unknown"


def spoiled(programs, folder, spoil):
    """The report from within namespaces where `spoil` has run first: worlds that this machine is not."""
    command = ["unshare", "-Urm", "sh", "-c", f'{spoil} && exec "$0" doctor --json', str(programs.cli)]
    environment = {"PATH": os.environ["PATH"], "STORAGE_PATH": str(folder / "spoiled"), "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, timeout=RUN_SECONDS)
    assert done.stdout, done.stderr.decode()
    report = json.loads(done.stdout)
    return done.returncode, report, {check["name"]: check for check in report["checks"]}


@pytest.fixture
def can_spoil():
    if not can_make_user_namespaces():
        skip("no user namespaces for this user")


def test_without_user_namespaces_the_cause_is_named(programs_for_all, folder, can_spoil):
    code, report, found = spoiled(programs_for_all, folder, "echo 0 > /proc/sys/user/max_user_namespaces")
    assert code == 1 and not report["can_run"]
    assert found["user_namespaces"]["status"] == "missing"
    assert "user.max_user_namespaces is 0" in found["user_namespaces"]["found"]
    assert "sysctl" in found["user_namespaces"]["fix"]
    assert found["procfs"]["status"] == "missing" and "user namespaces" in report["summary"]


def test_a_covered_proc_is_found_out(programs_for_all, folder, can_spoil):
    code, report, found = spoiled(programs_for_all, folder, "mount -t tmpfs none /proc/tty")
    assert code == 1 and found["user_namespaces"]["status"] == "ok"
    assert found["procfs"]["status"] == "missing" and "covered" in found["procfs"]["found"]
    assert "systempaths=unconfined" in found["procfs"]["fix"]


def test_root_of_a_container_without_ids_to_give(programs_for_all, folder, can_spoil):
    code, report, found = spoiled(programs_for_all, folder, "true")
    assert code == 0 and report["uid"] == 0
    assert found["task_uids"]["status"] == found["uid_range"]["status"] == "degraded"
    assert "all under one user id" in report["summary"]


def test_storage_in_memory_and_a_read_only_one(programs_for_all, folder, can_spoil):
    path = folder / "spoiled"
    path.mkdir(exist_ok=True)
    code, _, found = spoiled(programs_for_all, folder, f"mount -t tmpfs none {path}")
    assert code == 0 and found["storage_type"]["status"] == "degraded" and "tmpfs" in found["storage_type"]["found"]
    code, _, found = spoiled(programs_for_all, folder, f"mount -t tmpfs -o ro none {path}")
    assert code == 1 and found["storage_space"]["status"] == "missing" and "read-only" in found["storage_space"]["found"]
    code, _, found = spoiled(programs_for_all, folder, f"mount -t tmpfs -o size=4m none {path}")
    assert code == 1 and "disk is full" in found["storage_space"]["found"]
