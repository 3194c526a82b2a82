# SPDX-License-Identifier: Apache-2.0
"""The command line tool against a real node."""
import json
import os
import re
import select
import signal
import socket
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


def run_into(node, source, stdout, stderr):
    done = subprocess.run([node.programs.cli, "--server", node.address, "run", "--", "sh", "-c", source], stdin=subprocess.DEVNULL,
                          stdout=stdout, stderr=stderr, timeout=60, env=node.environment())
    assert done.returncode == 128 + 9
    return done


@pytest.mark.parametrize("source, out, err, both", [
    ("printf abc; kill -9 $$", b"abc", b"hivemind: ", b"abc\nhivemind: "),
    ("printf oops >&2; kill -9 $$", b"", b"oops\nhivemind: ", b"oops\nhivemind: "),
    ("echo abc; kill -9 $$", b"abc\n", b"hivemind: ", b"abc\nhivemind: "),
    ("kill -9 $$", b"", b"hivemind: ", b"hivemind: ")])
def test_the_programs_own_words_begin_a_line(node, tmp_path, source, out, err, both):
    apart = run_into(node, source, subprocess.PIPE, subprocess.PIPE)
    assert apart.stdout == out and apart.stderr.startswith(err), apart
    assert run_into(node, source, subprocess.PIPE, subprocess.STDOUT).stdout.startswith(both)
    with open(tmp_path / "out", "wb") as file:
        run_into(node, source, file, subprocess.STDOUT)
    assert (tmp_path / "out").read_bytes().startswith(both)


def test_a_result_begins_a_line(node):
    source = "import sys, time\nprint('abc', end='', flush=True)\nresult = 42"
    assert node.run_cli("run", "-", input=source).stdout == b"abc\n42\n"
    cli = [node.programs.cli, "--server", node.address, "run", "-"]
    both = subprocess.run(cli, input=source.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                          env=node.environment())
    assert both.stdout == b"abc\n42\n"


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


@pytest.mark.parametrize("verb", ["logs", "events"])
@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_a_follower_ends_with_its_reader(node, verb, json_flag):
    """As `hivemind logs -f ID | head -n 1`: at once, and not when there is more to write."""
    task_id = node.submit("import time\nprint('up', flush=True)\nwhile True: time.sleep(1000)")
    node.wait_for_output(task_id, b"up")
    last = node.status().last_event
    words = [task_id] if verb == "logs" else ["--after", str(last - 1)]
    cli = start_cli(node, verb, "-f", *json_flag, *words)
    read_until(cli.stdout, b"\n")
    cli.stdout.close()
    assert cli.wait(60) == 128 + signal.SIGPIPE
    assert cli.stderr.read() == b""
    cli.stderr.close()
    node.stop_task(task_id)


def test_following_all_begins_now(node):
    node.run("result = 1", task_id="past")
    cli = start_cli(node, "events", "-f")
    seen = b""
    while b"accepted" not in seen:  # it may not have come so far with the first of them
        node.run("result = 1")
        if select.select([cli.stdout], [], [], 0.05)[0]:
            seen += os.read(cli.stdout.fileno(), 65536)
    cli.terminate()
    seen += cli.communicate(timeout=30)[0]
    assert b"past" not in seen


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


def test_exit_code_of_what_is_wrong_here(node, tmp_path):
    """The command line and the files it names: 2. The node and the way to it: 125."""
    script = tmp_path / "a.py"
    script.write_text("result = 1")
    for arguments in (["run", tmp_path / "missing.py"], ["run", "--type", "docker", script], ["submit", "--id", "a b", script],
                      ["--server", "localhost", "status"], ["show", ""], ["run", "--env", "a b=1", script]):
        done = node.run_cli(*arguments)
        assert done.returncode == 2, done.stderr
    assert b'"a b"' in done.stderr
    for arguments in (["show", "nothing-like-it"], ["wait", "--label", "nobody=has"], ["events", "nothing-like-it"]):
        done = node.run_cli(*arguments)
        assert done.returncode == 123 and done.stderr, done


@pytest.mark.parametrize("arguments", [["run", "uname"], ["run", "uname", "-a"], ["submit", "a.py", "--epochs", "10"], ["submit", "a.py", "10"]])
def test_forgotten_dashes(node, arguments):
    done = node.run_cli(*arguments)
    assert done.returncode == 2 and b"put --" in done.stderr


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_that_is_no_node(programs_for_all, answer):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        cli = subprocess.Popen([programs_for_all.cli, "--server", address, "wait", "x"], stderr=subprocess.PIPE)
        with server.accept()[0] as connection:
            connection.sendall(answer)
            _, told = cli.communicate(timeout=30)
    assert cli.returncode == 125
    assert address.encode() in told and b"does not answer as gRPC does" in told


def test_wait_and_stop_go_on(node):
    node.run("result = 1", task_id="x1")
    done = node.run_cli("wait", "nope", "x1")
    assert done.returncode == 123 and b"nope" in done.stderr and done.stdout == b"x1 COMPLETED\n"


def test_no_result_is_nothing(node):
    node.run("raise ValueError('broken')", task_id="raised")
    done = node.run_cli("result", "raised")
    assert done.returncode == 1 and done.stdout == b"" and b"broken" in done.stderr


def test_show_has_no_exit_code_where_there_is_none(node):
    node.run("import time; time.sleep(1000)", task_id="slow", timeout_ms=200)
    lines = ok(node.run_cli("show", "slow")).splitlines()
    assert any(re.match(r"exit code +-(,|$)", line) for line in lines), lines


def test_a_task_that_is_too_large(make_node, tmp_path):
    script = tmp_path / "large.py"
    script.write_bytes(b"#" * 9_000_000)
    node = make_node(max_task_size="1M").start()
    done = node.run_cli("submit", script)
    assert done.returncode == 2 and b"MAX_TASK_SIZE" in done.stderr and b"1.0 MiB" in done.stderr, done.stderr


def test_other_shells_are_warned_of(node, tmp_path):
    script = tmp_path / "a.sh"
    script.write_text("#!/usr/bin/env bash\ntrue")
    assert b"asks for bash" in node.run_cli("run", script).stderr
    script.write_text("#!/bin/sh\ntrue")
    assert node.run_cli("run", script).stderr == b""


def start_cli(node, *arguments):
    return subprocess.Popen([node.programs.cli, "--server", node.address, *arguments], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=node.environment())


def read_until(file, wanted):
    """Reads up to the line that has it: the program has come to that place."""
    seen = b""
    while wanted not in seen:
        piece = os.read(file.fileno(), 4096)
        assert piece, seen
        seen += piece
    return seen


def connections_to(port):
    """How many are established on this machine."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_under_those_who_wait(make_node, pb, tmp_path, how):
    """A task that waits in the queue is waited for until it has run on the next start."""
    script = tmp_path / "a.py"
    script.write_text("print('ran', flush=True); result = 42")
    node = make_node(max_concurrent_tasks=1).start()
    node.run("result = 1", task_id="good")
    node.submit(SLEEP, task_id="busy")
    node.wait_for_output("busy", b"up")
    # What asks for the first time while the node is away has the time to do so.
    patient = ["--connect-timeout", "30s"]
    followers = [start_cli(node, *patient, "run", "--id", "mine", str(script))]
    while node.status().queued_tasks < 1:
        pass
    followers.append(start_cli(node, *patient, "wait", "good", "mine"))
    assert os.read(followers[1].stdout.fileno(), 100) == b"good COMPLETED\n"
    if how == "stop":  # a connection that is not yet in use would be lost by kill -9 as if there had never been a node
        before = connections_to(node.port)
        followers.append(start_cli(node, *patient, "logs", "-f", "mine"))
        while connections_to(node.port) <= before:
            pass
        node.status()  # an answer that is later than the node's first words on that connection
    node.orphans.before.update(cli.pid for cli in followers)  # they outlive the node
    if how == "stop":
        node.signal(signal.SIGTERM)
        node.wait_for_notice("STOPPING=1")
        node.signal(signal.SIGTERM)
        node.wait_for_end()
        node.stop()
    else:
        node.kill()
    node.start()
    outputs = [cli.communicate(timeout=60) for cli in followers]
    assert not any(cli.returncode for cli in followers), outputs
    assert [out for out, _ in outputs] == [b"ran\n42\n", b"mine COMPLETED\n", b"ran\n"][:len(outputs)]


def test_run_names_the_way_back(node):
    """Its reader leaves, the task does not."""
    cli = start_cli(node, "run", "--id", "left", "--", "sh", "-c", "while echo up; do sleep 0.05; done")
    assert os.read(cli.stdout.fileno(), 2) == b"up"
    cli.stdout.close()
    told = cli.stderr.read()
    assert cli.wait(30) == 125
    cli.stderr.close()
    assert b"hivemind wait left" in told and b"hivemind logs -f left" in told
    node.stop_task("left")


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
