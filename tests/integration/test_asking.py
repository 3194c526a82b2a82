# SPDX-License-Identifier: Apache-2.0
"""What a task asks for beside its input, and what is told of it afterwards. Whether the limits hold is for others."""
import contextlib
import json
import signal
import sqlite3

import grpc
import pytest

BIG = 1 << 63


def refusal(node, **fields):
    with pytest.raises(grpc.RpcError) as caught:
        node.submit("result = 1", **fields)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    return caught.value.details()


@contextlib.contextmanager
def database(node):
    path = node.storage / "taskworker.db"
    assert path.exists()
    with contextlib.closing(sqlite3.connect(path)) as db:
        yield db
        db.commit()


@pytest.mark.parametrize("field, value, words", [
    ("memory_bytes", 1 << 50, ["limits.memory_bytes", "at most", "MAX_MEMORY_GB"]),
    ("memory_bytes", 1 << 20, ["limits.memory_bytes", "16777216", "MAX_MEMORY_GB"]),
    ("cpu_millis", 9, ["limits.cpu_millis", "MAX_CPU_CORES"]),
    ("processes", 1025, ["limits.processes", "at most 1024", "TASK_PROCESSES"]),
    ("open_files", 4, ["limits.open_files", "16", "TASK_OPEN_FILES"]),
    ("file_bytes", (4 << 30) + 1, ["limits.file_bytes", "at most 4294967296", "TASK_FILE_SIZE"]),
    ("workspace_bytes", 1, ["limits.workspace_bytes", "65536", "TASK_WORKSPACE_SIZE"]),
    ("tmp_bytes", 1 << 30, ["limits.tmp_bytes", "at most 268435456", "TASK_TMP_SIZE"]),
    ("output_bytes", 65 << 20, ["limits.output_bytes", "at most 67108864", "MAX_LOG_SIZE"]),
    ("cpu_time_us", BIG, ["limits.cpu_time_us", "out of range"])])
def test_too_much_is_refused(node, pb, field, value, words):
    details = refusal(node, limits=pb.Limits(**{field: value}))
    assert all(word in details for word in words), details


@pytest.mark.parametrize("options, words", [
    (["--memory", "1M"], "--memory is 1M: it has to be at least 16M (MAX_MEMORY_GB)"),
    (["--cpu", "0.009"], "--cpu is 0.009: it has to be at least 0.01 (MAX_CPU_CORES)"),
    (["--tmp", "1G"], "--tmp is 1G: this node gives a task at most 256M (TASK_TMP_SIZE)"),
    (["--network", "host"], '--network is "host": this node gives'),
])
def test_the_command_line_is_told_of_its_own_options(node, options, words):
    for verb in (["run"], ["submit"], ["submit", "--array", "2"], ["submit", "--json"]):
        done = node.run_cli(*verb, *options, "-", input="result = 1")
        said = done.stderr.decode().replace('\\"', '"')
        assert done.returncode == 2 and words in said, said


def test_too_much_network_is_refused(node, pb):
    details = refusal(node, network=pb.NETWORK_HOST)
    assert "host" in details and "loopback" in details and "MAX_TASK_NETWORK" in details
    assert "17" in refusal(node, network=17)


def test_the_same_id_with_other_limits_is_another_task(node, pb):
    def submit(**fields):
        return node.submit("result = 1", task_id="asked", **fields)
    limits = pb.Limits(processes=64)
    submit(limits=limits)
    submit(limits=limits)
    for other in ({}, {"limits": pb.Limits(processes=65)}, {"limits": limits, "fresh_interpreter": True},
                  {"limits": limits, "network": pb.NETWORK_LOOPBACK}):
        with pytest.raises(grpc.RpcError) as caught:
            submit(**other)
        assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS


def test_output_is_cut_at_the_limit_of_the_task(node, pb):
    task, result = node.run("print('x' * 10_000)\nresult = 7", limits=pb.Limits(output_bytes=1000))
    assert (task.state, task.log_size, task.log_truncated) == (pb.Task.COMPLETED, 1000, True)
    assert result == b"7" and node.output(task.task_id) == b"x" * 1000


def test_output_beyond_the_limit_stops_the_task(make_node, pb):
    node = make_node(output_limit_action="stop", max_log_size="4K").start()
    task, _ = node.run("while True: print('x' * 100)")
    assert (task.state, task.reason) == (pb.Task.FAILED, pb.Task.OUTPUT_LIMIT)
    assert task.message == "printed more than its 4 KiB of output" and task.log_size == 4096
    task, _ = node.run("while True: print('x' * 100)", limits=pb.Limits(output_bytes=50))
    assert task.reason == pb.Task.OUTPUT_LIMIT and "50 bytes" in task.message and task.log_size == 50
    task, _ = node.run("print('x' * 99)", limits=pb.Limits(output_bytes=100))
    assert (task.state, task.log_truncated) == (pb.Task.COMPLETED, False)


def test_limits_of_the_node_change_on_sighup(make_node, pb):
    node = make_node()
    settings = node.folder / "worker.conf"
    settings.write_text("TASK_PROCESSES=64\n")
    settings.chmod(0o644)
    node.settings["config"] = settings
    node.start()
    node.run("result = 1", limits=pb.Limits(processes=64))
    settings.write_text("TASK_PROCESSES=32\nMAX_TASK_NETWORK=host\n")
    node.signal(signal.SIGHUP)
    node.wait_for_notice("READY=1")
    assert "at most 32 (TASK_PROCESSES)" in refusal(node, limits=pb.Limits(processes=64))
    task, _ = node.run("result = 1", network=pb.NETWORK_HOST)
    assert task.state == pb.Task.COMPLETED, task.message


def test_from_the_command_line(node, tmp_path):
    options = ["--memory", "64M", "--cpu", "0.5", "--cpu-time", "10s", "--processes", "32", "--open-files", "64",
               "--file-size", "1M", "--workspace", "1M", "--tmp", "1M", "--output-limit", "4", "--network", "loopback", "--fresh"]
    done = node.run_cli("run", *options, "-", input="print('hello')\nresult = 6 * 7")
    assert done.returncode == 0 and done.stdout == b"hell\n42\n", (done.stdout, done.stderr)
    refused = node.run_cli("run", "--memory", "1000T", "-", input="result = 1")
    assert refused.returncode == 2 and b"MAX_MEMORY_GB" in refused.stderr
    wrong = node.run_cli("run", "--network", "internet", "-", input="result = 1")
    assert wrong.returncode == 2 and b"none, loopback or host" in wrong.stderr


def test_show_tells_what_was_used(node):
    node.run("print('x')\nresult = sum(range(100_000))", task_id="shown")
    row = json.loads(node.run_cli("show", "--json", "shown").stdout)
    assert {"wall_us", "user_us", "system_us", "max_rss_bytes", "peak_memory_bytes", "minor_faults", "major_faults", "read_bytes",
            "written_bytes", "waits", "preemptions", "processes", "workspace_bytes", "outputs", "output_bytes"} == set(row["usage"])
    assert row["usage"]["wall_us"] > 0 and row["usage"]["max_rss_bytes"] > 1_000_000 and "receipt" in row
    text = node.run_cli("show", "shown").stdout.decode()
    assert "used " in text and " wall, " in text and "in its largest process" in text


def test_usage_while_it_runs(node, pb):
    task_id = node.submit("print('up', flush=True)\nimport time; time.sleep(1000)", task_id="long")
    node.wait_for_output(task_id, b"up")
    first = node.get(task_id).usage.wall_us
    assert first > 0
    while node.get(task_id).usage.wall_us <= first:  # it moves on; each call is a round trip
        pass
    assert "used so far" in node.run_cli("show", task_id).stdout.decode()
    assert "MEMORY" in node.run_cli("ps").stdout.decode().splitlines()[0]
    node.stop_task(task_id)


def test_a_store_of_the_first_version_is_taken_up(make_node, pb):
    node = make_node().start()
    node.run("print('log')\nresult = 1", task_id="old")
    node.stop()
    node.settings["max_concurrent_tasks"] = 1
    node.start()
    node.submit("import time; time.sleep(1000)", task_id="running", retries=1)
    node.submit("result = 2", task_id="waits")
    node.kill()
    with database(node) as db:
        for table in ("events", "deps", "labels", "attempts"):
            db.execute(f"DROP TABLE {table}")
        for index in ("tasks_by_owner", "tasks_dead", "tasks_by_cache_key"):
            db.execute(f"DROP INDEX {index}")
        for column in ("priority", "not_before_us", "queue_timeout_us", "retry_delay_us", "paused", "retry_of", "stopping", "cache_key"):
            db.execute(f"ALTER TABLE tasks DROP COLUMN {column}")
        db.executescript("DROP TABLE receipts; ALTER TABLE inputs DROP COLUMN options; PRAGMA user_version = 1")
    node.start()
    task, result = node.wait("old")
    assert (task.state, result) == (pb.Task.COMPLETED, b"1") and node.output("old") == b"log\n"
    assert task.usage.max_rss_bytes > 0
    assert node.submit("print('log')\nresult = 1", task_id="old") == "old"  # the digest is that of old
    node.stop_task("running")
    assert node.wait("waits")[1] == b"2"
    assert node.run("result = 3", limits=pb.Limits(processes=50))[1] == b"3"
    node.stop()
    with database(node) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (8,)
        assert json.loads(db.execute("SELECT options FROM inputs WHERE options IS NOT NULL").fetchone()[0]) == {"processes": 50}
