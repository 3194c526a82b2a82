# SPDX-License-Identifier: Apache-2.0
"""What a task is given, and what becomes of what it does."""
import json

import pytest


def test_python_result_is_json(node, pb):
    task, result = node.run("result = {'a': [1, 2.5, None, True], 'b': 'gr\\u00fc\\u00dfe'}")
    assert task.state == pb.Task.COMPLETED
    assert task.reason == pb.Task.NONE
    assert json.loads(result) == {"a": [1, 2.5, None, True], "b": "grüße"}
    assert task.exit_code == 0 and task.signal == 0
    assert task.attempt == 1
    assert task.result_size == len(result)
    response = node.stub.GetResult(pb.GetResultRequest(task_id=task.task_id), timeout=30)
    assert response.result == result
    assert response.content_type == "application/json"
    response.task.ClearField("limits")  # what it asked for, which wait does not tell
    assert response.task == task


@pytest.mark.parametrize("source", ["pass", "x = 1", "result = None"])
def test_no_result_is_null_or_empty(node, pb, source):
    task, result = node.run(source)
    assert task.state == pb.Task.COMPLETED, task.message
    assert result in (b"null", b"")


def test_result_that_is_no_json_fails_and_says_so(node, pb):
    task, _ = node.run("result = object()")
    assert task.state == pb.Task.FAILED
    assert "result" in task.message + task.error or "JSON" in task.message + task.error


def test_times_are_in_order(node):
    task, _ = node.run("import time; time.sleep(0.05)")
    assert 0 < task.created_us <= task.started_us < task.finished_us
    assert task.usage.wall_us >= 50_000
    assert task.finished_us - task.started_us >= 50_000
    assert task.usage.max_rss_bytes > 1_000_000
    assert task.timeout_ms == 300_000


def test_output_goes_to_its_stream(node, pb):
    task, _ = node.run("import sys\nprint('to out', flush=True)\nprint('to err', file=sys.stderr)")
    assert node.output(task.task_id, pb.StreamLogsResponse.STDOUT) == b"to out\n"
    assert node.output(task.task_id, pb.StreamLogsResponse.STDERR) == b"to err\n"
    assert task.log_size == len("to out\n") + len("to err\n")
    assert not task.log_truncated


def test_output_of_any_bytes_arrives_as_it_is(node):
    task, _ = node.run("import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000)")
    assert node.output(task.task_id) == bytes(range(256)) * 1000


def test_exception_is_a_failure_with_its_traceback(node, pb):
    task, _ = node.run("def inner():\n    raise ValueError('broken on purpose')\ninner()\n")
    assert task.state == pb.Task.FAILED
    assert task.reason == pb.Task.EXIT_CODE
    assert task.exit_code == 1
    assert "Traceback (most recent call last)" in task.error
    assert "in inner" in task.error
    assert task.error.rstrip().endswith("ValueError: broken on purpose")
    assert b"ValueError: broken on purpose" in node.output(task.task_id)


def test_syntax_error_is_said(node, pb):
    task, _ = node.run("this is no python\n")
    assert task.state == pb.Task.FAILED
    assert task.reason in (pb.Task.BAD_INPUT, pb.Task.EXIT_CODE)
    assert "SyntaxError" in task.error + task.message


@pytest.mark.parametrize("code", [1, 3, 255])
def test_sys_exit_keeps_its_code(node, pb, code):
    task, _ = node.run(f"import sys; sys.exit({code})")
    assert task.state == pb.Task.FAILED
    assert task.reason == pb.Task.EXIT_CODE
    assert task.exit_code == code
    assert str(code) in task.message


def test_sys_exit_zero_is_success_and_keeps_the_result(node, pb):
    task, result = node.run("import sys; result = 7; sys.exit(0)")
    assert task.state == pb.Task.COMPLETED
    assert result == b"7"


def test_sys_exit_with_a_text(node, pb):
    task, _ = node.run("import sys; sys.exit('no luck')")
    assert task.state == pb.Task.FAILED
    assert task.exit_code == 1
    assert b"no luck" in node.output(task.task_id)


def test_killed_by_its_own_signal(node, pb):
    task, _ = node.run("kill -KILL $$; sleep 100", task_type="shell")
    assert task.state == pb.Task.FAILED
    assert task.reason == pb.Task.SIGNAL
    assert task.signal == 9


def test_python_killed_by_a_signal(node, pb):
    task, _ = node.run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert task.state == pb.Task.FAILED
    assert task.reason == pb.Task.SIGNAL
    assert task.signal == 11


def test_atexit_runs_and_os_exit_does_not_lie(node, pb):
    task, _ = node.run("import atexit; atexit.register(print, 'bye')")
    assert node.output(task.task_id) == b"bye\n"
    task, _ = node.run("import os; result = 1; os._exit(5)")
    assert task.state == pb.Task.FAILED
    assert task.exit_code == 5


def test_shell(node, pb):
    task, result = node.run("echo one; echo two >&2; echo three", task_type="shell")
    assert task.state == pb.Task.COMPLETED
    assert result == b"one\nthree\n"
    assert node.output(task.task_id, pb.StreamLogsResponse.STDERR) == b"two\n"
    response = node.stub.GetResult(pb.GetResultRequest(task_id=task.task_id), timeout=30)
    assert response.content_type == "text/plain"
    task, _ = node.run("exit 7", task_type="shell")
    assert (task.state, task.exit_code) == (pb.Task.FAILED, 7)


def test_arguments(node):
    arguments = ["one", "two words", "", "grüße", "-x", "$HOME"]
    _, result = node.run("import sys; result = sys.argv[1:]", args=arguments)
    assert json.loads(result) == arguments
    _, result = node.run('for a in "$@"; do printf "<%s>" "$a"; done', task_type="shell", args=arguments)
    assert result.decode() == "".join(f"<{a}>" for a in arguments)


def test_environment_is_what_was_asked_for_and_little_else(node):
    _, result = node.run("import os; result = dict(os.environ)", env={"GREETING": "grüß dich", "EMPTY": ""})
    environment = json.loads(result)
    assert environment.pop("GREETING") == "grüß dich"
    assert environment.pop("EMPTY") == ""
    # Nothing of the daemon's own environment comes through.
    assert set(environment) <= {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TASK_ID", "USER", "PWD", "SHELL",
                                "LOGNAME", "SHLVL", "_", "PYTHONUNBUFFERED", "PYTHONPATH", "TERM", "PYTHONIOENCODING",
                                "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONUTF8", "TZ", "HOSTNAME"}


def test_standard_input_is_empty(node):
    _, result = node.run("import sys; result = sys.stdin.read()")
    assert result == b'""'


def test_the_sandbox_in_outline(node):
    _, result = node.run("""
import os, pathlib, socket
def tries(function, *arguments):
    try:
        function(*arguments)
        return "done"
    except OSError as error:
        return type(error).__name__
result = {
    "uid": os.getuid(),
    "pids": sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
    "write_root": tries(pathlib.Path("/etc/passwd").write_text, "x"),
    "write_usr": tries(pathlib.Path("/usr/x").write_text, "x"),
    "write_tmp": tries(pathlib.Path("/tmp/x").write_text, "x"),
    "read_shadow": tries(pathlib.Path("/etc/shadow").read_bytes),
    "network": tries(socket.create_connection, ("198.51.100.1", 80), 1),
    "status": {k: v.strip() for k, v in (line.split(":", 1) for line in open("/proc/self/status"))},
}
""")
    seen = json.loads(result)
    assert seen["write_tmp"] == "done"
    assert seen["write_root"] != "done" and seen["write_usr"] != "done"
    assert seen["read_shadow"] != "done"
    assert seen["network"] != "done"
    assert len(seen["pids"]) <= 3
    assert int(seen["status"]["CapEff"], 16) == 0
    assert int(seen["status"]["CapBnd"], 16) == 0 or int(seen["status"]["CapPrm"], 16) == 0
    assert seen["status"]["NoNewPrivs"] == "1"
    assert seen["status"]["Seccomp"] == "2"
    assert seen["uid"] != 0


def test_tmp_is_private_and_gone(node):
    node.run("open('/tmp/left', 'w').write('x')")
    _, result = node.run("import os; result = os.listdir('/tmp')")
    assert result == b"[]"


def test_nothing_of_a_task_survives_it(node, pb):
    """A background process that holds the output open does not keep the task, and dies with it."""
    task, result = node.run("sleep 1000 & echo started", task_type="shell", seconds=30)
    assert task.state == pb.Task.COMPLETED
    assert result == b"started\n"
    assert task.usage.wall_us < 20_000_000


def test_many_tasks_at_once(node, pb):
    ids = [node.submit(f"result = {i} ** 2") for i in range(40)]
    for i, task_id in enumerate(ids):
        task, result = node.wait(task_id)
        assert task.state == pb.Task.COMPLETED
        assert int(result) == i * i


def test_a_large_result_within_the_limit(node, pb):
    task, result = node.run("result = 'x' * (10 * 1024 * 1024)")
    assert task.state == pb.Task.COMPLETED
    assert len(result) == 10 * 1024 * 1024 + 2


def test_a_result_beyond_the_limit_is_an_end_of_its_own(node, pb):
    task, _ = node.run("result = 'x' * (17 * 1024 * 1024)")
    assert task.state == pb.Task.FAILED
    assert task.reason == pb.Task.OUTPUT_LIMIT


def test_shell_result_is_the_tail(node, pb):
    task, result = node.run("head -c 20000000 /dev/zero | tr '\\0' x; echo end", task_type="shell")
    assert task.state == pb.Task.COMPLETED
    assert result.endswith(b"xend\n")
    assert len(result) <= 16 * 1024 * 1024
