# SPDX-License-Identifier: Apache-2.0
"""The command line tool against a real node."""
import json
import os
import signal
import subprocess

import pytest

from harness.node import free_port

SLEEP = "print('up', flush=True)\nimport time; time.sleep(1000)"


def ok(done):
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def lines_of_json(text):
    return [json.loads(line) for line in text.splitlines()]


def test_submit_prints_the_id(node, pb, tmp_path):
    script = tmp_path / "task.py"
    script.write_text("import sys; result = sys.argv[1:]")
    task_id = ok(node.run_cli("submit", script)).strip()
    assert node.wait(task_id)[0].task_type == "python"
    assert ok(node.run_cli("submit", "--id", "chosen", script)) == "chosen\n"
    assert ok(node.run_cli("submit", "--id", "chosen", script)) == "chosen\n"  # the same again is the same
    script.write_text("result = 'other'")
    clash = node.run_cli("submit", "--id", "chosen", script)
    assert clash.returncode != 0 and b"chosen" in clash.stderr and clash.stdout == b""


@pytest.mark.parametrize("name, text, kind", [
    ("a.py", "result = 1", "python"), ("a.sh", "true", "shell"), ("a", "#!/bin/sh\ntrue", "shell"), ("a", "#!/bin/bash\ntrue", "shell"),
    ("a", "#!/usr/bin/env python3\nresult = 1", "python"), ("a", "#!/usr/bin/python3\nresult = 1", "python")])
def test_type_by_ending_or_shebang(node, tmp_path, name, text, kind):
    script = tmp_path / name
    script.write_text(text)
    task_id = ok(node.run_cli("submit", script)).strip()
    assert node.wait(task_id)[0].task_type == kind


def test_type_can_be_said(node, tmp_path):
    script = tmp_path / "a.py"
    script.write_text("echo shell")
    task_id = ok(node.run_cli("submit", "--type", "shell", script)).strip()
    assert node.wait(task_id)[1] == b"shell\n"


def test_submit_from_standard_input(node):
    task_id = ok(node.run_cli("submit", "-", input="result = 6 * 7")).strip()
    assert node.wait(task_id)[1] == b"42"


def test_run_streams_log_and_prints_result(node):
    done = node.run_cli("run", "-", input="import sys\nprint('out')\nprint('err', file=sys.stderr)\nresult = [1, 2]")
    assert done.returncode == 0
    assert "out" in (done.stdout + done.stderr).decode() and "err" in done.stderr.decode()
    assert json.loads(done.stdout.decode().splitlines()[-1]) == [1, 2]


def test_run_exits_as_the_task(node):
    assert node.run_cli("run", "-", input="import sys; sys.exit(7)").returncode == 7
    failed = node.run_cli("run", "-", input="raise ValueError('broken')")
    assert failed.returncode == 1 and b"ValueError: broken" in failed.stderr
    assert node.run_cli("run", "--", "sh", "-c", "exit 9").returncode == 9
    assert node.run_cli("run", "--", "sh", "-c", "kill -9 $$").returncode == 128 + 9
    assert node.run_cli("run", "--", "no-such-command-here").returncode == 127


def test_run_command_with_arguments_as_they_are(node):
    done = node.run_cli("run", "--", "printf", "<%s>", "a b", "$HOME", "'", '"', "*")
    assert done.returncode == 0
    assert "<a b><$HOME><'><\"><*>" in done.stdout.decode()


def test_run_times_out_with_124(node):
    done = node.run_cli("run", "--timeout", "300ms", "-", input="import time; time.sleep(1000)")
    assert done.returncode == 124


def test_no_node_is_125(programs_for_all):
    done = subprocess.run([programs_for_all.cli, "--server", f"127.0.0.1:{free_port()}", "--connect-timeout", "500ms",
                           "run", "-"], input=b"result = 1", capture_output=True, timeout=30)
    assert done.returncode == 125
    assert b"127.0.0.1" in done.stderr


def test_ps_show_result_logs_stop(make_node, pb):
    node = make_node().start()
    node.run("print('log line'); result = {'x': 1}", task_id="good")
    node.run("raise SystemExit(3)", task_id="bad")
    node.submit(SLEEP, task_id="busy")
    node.wait_for_output("busy", b"up")

    text = ok(node.run_cli("ps"))
    assert "busy" in text
    everything = lines_of_json(ok(node.run_cli("ps", "--all", "--json")))
    rows = everything[0]["tasks"] if len(everything) == 1 and "tasks" in everything[0] else everything
    states = {r["task_id"]: r["state"] for r in rows}
    assert states == {"good": "COMPLETED", "bad": "FAILED", "busy": "RUNNING"}

    shown = ok(node.run_cli("show", "bad"))
    assert "bad" in shown and "FAILED" in shown and "exit_code" in shown
    row = json.loads(ok(node.run_cli("show", "--json", "bad")))
    assert (row["task_id"], row["state"], row["reason"], row["exit_code"]) == ("bad", "FAILED", "exit_code", 3)

    assert json.loads(ok(node.run_cli("result", "good"))) == {"x": 1}
    assert ok(node.run_cli("logs", "good")) == "log line\n"
    stopped = node.run_cli("stop", "busy")
    assert stopped.returncode == 0
    assert node.get("busy").state == pb.Task.STOPPED
    status = json.loads(ok(node.run_cli("status", "--json")))
    assert status["state"] == "SERVING" and status["max_concurrent_tasks"] == 4
    assert "SERVING" in ok(node.run_cli("status")).upper()


def test_unknown_task(node):
    for verb in ("show", "logs", "result", "stop"):
        done = node.run_cli(verb, "nothing-like-it")
        assert done.returncode not in (0, 2) and done.stdout == b""
        assert b"nothing-like-it" in done.stderr


def test_errors_as_json(node):
    done = node.run_cli("show", "--json", "nothing-like-it")
    assert done.returncode != 0
    error = json.loads((done.stderr or done.stdout).decode().splitlines()[-1])["error"]
    assert error["code"] == "NOT_FOUND" and "nothing-like-it" in error["message"]


def test_logs_follow(node):
    task_id = node.submit("import time\nfor i in range(3):\n print(i, flush=True)\n time.sleep(0.1)")
    assert ok(node.run_cli("logs", "-f", task_id)) == "0\n1\n2\n"


def test_hostile_output_is_harmless_on_a_terminal(node):
    """Into a file the bytes come as they are. A terminal must not obey a task."""
    task, _ = node.run("print('\\033]0;owned\\007\\033[2J')")
    master, slave = os.openpty()
    cli = subprocess.Popen([node.programs.cli, "--server", node.address, "logs", task.task_id], stdin=subprocess.DEVNULL,
                           stdout=slave, stderr=slave, env=node.environment())
    os.close(slave)
    seen = b""
    try:
        while True:
            seen += os.read(master, 65536)
    except OSError:  # EIO: the other end is closed
        pass
    os.close(master)
    assert cli.wait(30) == 0
    assert b"\033" not in seen and b"owned" in seen


def test_interrupted_run(node, pb):
    """Ctrl-C on `run` ends the task, or leaves it and says so; the program ends by the signal's code."""
    cli = subprocess.Popen([node.programs.cli, "--server", node.address, "run", "--id", "interrupted", "-"],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=node.environment())
    cli.stdin.write(SLEEP.encode())
    cli.stdin.close()
    seen = b""
    while b"up" not in seen:
        piece = os.read(cli.stdout.fileno(), 1000) or os.read(cli.stderr.fileno(), 1000)
        assert piece
        seen += piece
    cli.send_signal(signal.SIGINT)
    assert cli.wait(30) in (130, -signal.SIGINT)
    if node.get("interrupted").state != pb.Task.STOPPED:
        assert b"interrupted" in cli.stderr.read()
        node.stop_task("interrupted")
    cli.stdout.close()
    cli.stderr.close()


def test_closed_pipe(node):
    """`hivemind logs | head` ends quietly."""
    task, _ = node.run("for i in range(200000): print(i)")
    cli = subprocess.Popen([node.programs.cli, "--server", node.address, "logs", task.task_id], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, env=node.environment())
    assert os.read(cli.stdout.fileno(), 10)
    cli.stdout.close()
    cli.wait(30)
    assert b"Sanitizer" not in cli.stderr.read()
    cli.stderr.close()


@pytest.mark.parametrize("arguments", [[], ["no-such-verb"], ["show"], ["run"], ["submit", "/no/such/file"], ["ps", "--no-such-option"],
                                       ["show", "a", "b", "c", "--limit"], ["run", "--timeout", "soon", "-"], ["submit", "--type"]])
def test_wrong_usage(node, arguments):
    done = node.run_cli(*arguments, input="")
    assert done.returncode not in (0, -6, -11)
    assert done.stderr and b"Sanitizer" not in done.stderr


@pytest.mark.parametrize("verb", [None, "submit", "run", "ps", "show", "logs", "result", "stop", "status"])
def test_help(node, verb):
    arguments = [verb, "--help"] if verb else ["--help"]
    text = ok(node.run_cli(*arguments, server=False))
    assert "--json" in text and (verb or "submit") in text


def test_server_from_the_environment(node):
    done = subprocess.run([node.programs.cli, "status"], capture_output=True, timeout=30,
                          env={**node.environment(), "HIVEMIND_SERVER": node.address})
    assert done.returncode == 0, done.stderr
