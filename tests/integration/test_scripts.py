# SPDX-License-Identifier: Apache-2.0
"""scripts/run from the first line to Ctrl-C, with the programs under test."""
import os
import signal
import socket
import subprocess

import pytest

from harness import processes
from harness.node import free_port
from harness.stubs import ROOT

RUN = str(ROOT / "scripts" / "run")


class Run:
    def __init__(self, programs, *arguments):
        self.orphans = processes.Orphans()
        self.text = ""
        self.process = subprocess.Popen(
            [RUN, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, env={**os.environ, "HIVEMIND_BUILD": str(programs.build)},
            # Who starts the tests in the background has it ignored, and a shell cannot trap what was.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def read_until(self, words):
        for line in self.process.stdout:
            self.text += line
            if words in line:
                return
        raise AssertionError(f"scripts/run ended without '{words}':\n{self.text}")

    def end(self, seconds=240):
        rest, _ = self.process.communicate(timeout=seconds)
        self.text += rest
        left = self.orphans.check()
        assert not left, f"processes are left: {left}"
        return self.process.returncode


@pytest.fixture
def run(programs):
    started = []

    def start(*arguments):
        started.append(Run(programs, *arguments))
        return started[-1]
    yield start
    for r in started:
        if r.process.poll() is None:
            os.killpg(r.process.pid, signal.SIGKILL)
            r.process.wait()
        r.process.stdout.close()
        r.orphans.check()


@pytest.mark.parametrize("number, to_all", [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_run_shows_a_result_and_stays_until_it_is_ended(run, number, to_all):
    """Ctrl-C goes to all of the terminal's processes; a service manager's SIGTERM to the script alone."""
    port = free_port()
    r = run("--port", str(port))
    r.read_until("Ctrl-C stops the node")
    assert '"greeting":"hello"' in r.text.replace(" ", "")
    assert f"127.0.0.1:{port}" in r.text
    socket.create_connection(("127.0.0.1", port)).close()
    if to_all:
        os.killpg(r.process.pid, number)
    else:
        r.process.send_signal(number)
    assert r.end() == 0, r.text
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_once(run):
    r = run("--port", str(free_port()), "--once")
    assert r.end() == 0, r.text
    assert '"greeting":"hello"' in r.text.replace(" ", "")


def test_taken_port_is_said(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        r = run("--port", str(port))
        assert r.end() == 1
        assert f"port {port} on 127.0.0.1 is taken" in r.text


def test_taken_default_port_is_no_obstacle(run):
    try:
        taken = socket.create_server(("127.0.0.1", 50053))
    except OSError:
        taken = None  # somebody has it already, which is as good
    r = run("--once")
    assert r.end() == 0, r.text
    assert "port 50053 is taken, so the node gets port" in r.text
    if taken:
        taken.close()


def test_node_that_ends_at_once_is_said(run):
    r = run("--port", str(free_port()), "--", "--max-concurrent-tasks=none")
    assert r.end() == 1
    assert "while it started" in r.text and "MAX_CONCURRENT_TASKS" in r.text


@pytest.mark.parametrize("arguments", [["--port", "x"], ["--port", "0"], ["--port", "65536"], ["--port"], ["--no-such-option"]])
def test_wrong_arguments(run, arguments):
    r = run(*arguments)
    assert r.end() == 1
    assert "port" in r.text or "unknown argument" in r.text


def test_setup_is_quiet_when_nothing_is_missing():
    done = subprocess.run([ROOT / "scripts" / "setup", "build", "test"], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
