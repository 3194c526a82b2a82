# SPDX-License-Identifier: Apache-2.0
"""Starting, draining, dying, coming back, configuration."""
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import time

import grpc
import pytest

from harness import processes
from harness.node import StartError

SLEEP = "print('up', flush=True)\nimport time; time.sleep(1000)"
# Ends when it is told to by its time-out, and not before.
SECONDS = "print('up', flush=True)\nimport time; time.sleep({})\nprint('end')\nresult = 'done'"


def test_starts_fast(make_node, pytestconfig):
    node = make_node().start()
    assert node.ready_after < (0.5 if "build" == node.programs.build.name else 5)
    assert any("READY=1" in m for m in node.messages)


def test_idle_node_leaves_nothing(make_node):
    node = make_node().start()
    node.stop()


def test_starts_without_standard_descriptors(make_node):
    node = make_node()
    node.prefix = ["sh", "-c", 'exec "$@" <&- >&-', "sh"]
    node.start()
    assert node.run("result = 6 * 7")[1] == b"42"
    node.stop()


def test_says_that_it_stops(make_node):
    node = make_node().start()
    node.signal(signal.SIGTERM)
    node.wait_for_notice("STOPPING=1")
    assert node.wait_for_end() == 0


def test_sigterm_drains(make_node, pb):
    node = make_node(max_concurrent_tasks=1, drain_timeout="60s").start()
    running = node.submit(SECONDS.format(1.5), task_id="running")
    node.wait_for_output(running, b"up")
    queued = node.submit("result = 'queued'", task_id="queued")
    waiting = node.stub.WaitTask.future(pb.WaitTaskRequest(task_id=running, include_result=True), timeout=60)
    follow = node.chunks(running, follow=True)
    assert next(follow).data == b"up\n"
    node.signal(signal.SIGTERM)
    node.wait_for_notice("STOPPING=1")
    # New work is refused, from the moment on that the loop has heard of it: what came in just before is kept for later.
    deadline = time.monotonic() + 10
    with pytest.raises(grpc.RpcError) as caught:
        while time.monotonic() < deadline:
            node.stub.ExecuteTask(pb.ExecuteTaskRequest(task_type="python", task_data=b"1"), timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    # What runs may end, and those who wait for it hear of it.
    assert waiting.result().result == b'"done"'
    assert b"".join(c.data for c in follow) == b"end\n"
    assert node.wait_for_end() == 0
    node.close()

    node.start()
    assert node.get("running").state == pb.Task.COMPLETED
    task, result = node.wait(queued)
    assert (task.state, result) == (pb.Task.COMPLETED, b'"queued"')


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_stops_what_runs(make_node, pb, second):
    node = make_node(drain_timeout="600s").start()
    task_id = node.submit(SLEEP)
    node.wait_for_output(task_id, b"up")
    node.signal(signal.SIGTERM)
    node.wait_for_notice("STOPPING=1")
    node.signal(second)
    assert node.wait_for_end(20) == 0
    node.close()
    node.start()
    task = node.get(task_id)
    assert (task.state, task.reason) == (pb.Task.STOPPED, pb.Task.SHUTDOWN)
    assert node.output(task_id) == b"up\n"


def test_drain_has_an_end(make_node, pb):
    node = make_node(drain_timeout="300ms").start()
    task_id = node.submit(SLEEP)
    node.wait_for_output(task_id, b"up")
    node.signal(signal.SIGTERM)
    assert node.wait_for_end(20) == 0
    node.close()
    node.start()
    assert node.get(task_id).reason == pb.Task.SHUTDOWN


@pytest.mark.parametrize("retries", [0, 1])
def test_a_chain_over_an_orderly_stop(make_node, pb, retries):
    node = make_node(drain_timeout="1ms").start()
    node.submit(SLEEP, task_id="first", retries=retries)
    node.wait_for_output("first", b"up")
    node.submit("result = 2", task_id="second", after=["first"])
    node.submit("result = 3", task_id="third", after=["second"])
    node.stop()
    node.start()
    first, second, third = (node.get(i) for i in ("first", "second", "third"))
    if retries:
        node.wait_for_output("first", b"up\nup")
        former = node.stub.ListAttempts(pb.ListAttemptsRequest(task_id="first"), timeout=30).attempts
        assert [(a.attempt, a.reason) for a in former] == [(1, pb.Task.SHUTDOWN)]
        assert second.state == third.state == pb.Task.QUEUED
        node.stop_task("first")
    else:
        assert (first.state, first.reason) == (pb.Task.STOPPED, pb.Task.SHUTDOWN)
        assert second.message == "task first, which it comes after, ended as STOPPED (shutdown)"
        assert third.message == "task second, which it comes after, ended as FAILED (dependency)"
        assert second.reason == third.reason == pb.Task.DEPENDENCY
    node.stop()


def test_clients_that_only_hang_on_do_not_keep_it(make_node, pb, stubs):
    """Open connections without calls, and calls that wait for tasks that will not run any more."""
    node = make_node(max_concurrent_tasks=1, drain_timeout="10s").start()
    idle = socket.create_connection(("127.0.0.1", node.port))
    running = node.submit(SECONDS.format(0.5))
    node.wait_for_output(running, b"up")
    queued = node.submit("result = 1")
    waiting = node.stub.WaitTask.future(pb.WaitTaskRequest(task_id=queued), timeout=60)
    watching = stubs.health_grpc.HealthStub(node.channel).Watch(stubs.health.HealthCheckRequest(), timeout=60)
    next(watching)
    node.signal(signal.SIGTERM)
    assert node.wait_for_end(20) == 0
    with pytest.raises(grpc.RpcError) as caught:
        waiting.result()
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    idle.close()


def test_kill_and_recovery(make_node, pb):
    node = make_node(max_concurrent_tasks=2).start()
    finished, result = node.run("print('log'); result = [1, 2]", task_id="finished")
    failed, _ = node.run("raise ValueError('x')", task_id="failed")
    node.submit(SLEEP, task_id="running")
    node.submit("import os\nprint('attempt', flush=True)\nimport time; time.sleep(2)\nresult = 'again'", task_id="retried", retries=5)
    node.wait_for_output("running", b"up")
    node.wait_for_output("retried", b"attempt")
    for i in range(5):
        node.submit(f"print('queued'); result = {i}", task_id=f"queued{i}", args=["a"], env={"X": "1"})
    node.kill()

    node.start()
    assert node.get_bare("finished") == finished
    assert node.wait("finished")[1] == result
    assert node.output("finished") == b"log\n"
    assert node.get_bare("failed") == failed
    lost, _ = node.wait("running")
    assert (lost.state, lost.reason, lost.attempt) == (pb.Task.FAILED, pb.Task.LOST, 1)
    assert lost.finished_us > 0 and lost.message
    assert node.output("running") == b"up\n"
    task, result = node.wait("retried")
    assert (task.state, task.attempt, result) == (pb.Task.COMPLETED, 2, b'"again"')
    assert node.output("retried") == b"attempt\nattempt\n"
    for i in range(5):
        task, result = node.wait(f"queued{i}")
        assert (task.state, result, task.attempt) == (pb.Task.COMPLETED, b"%d" % i, 1)
        assert node.output(f"queued{i}") == b"queued\n"


def test_retries_are_used_up(make_node, pb):
    node = make_node().start()
    node.submit(SLEEP, task_id="t", retries=2)
    for attempt in (1, 2, 3):
        node.wait_for_output("t", b"up\n" * attempt)
        assert node.get("t").attempt == attempt
        node.kill()
        node.start()
    task, _ = node.wait("t")
    assert (task.state, task.reason, task.attempt) == (pb.Task.FAILED, pb.Task.LOST, 3)


def test_idempotency_survives_a_restart(make_node, pb):
    node = make_node().start()
    request = pb.ExecuteTaskRequest(task_id="once", task_type="python", task_data=b"print('ran')")
    node.stub.ExecuteTask(request, timeout=30)
    node.wait("once")
    node.kill()
    node.start()
    answer = node.stub.ExecuteTask(request, timeout=30)
    assert answer.success and answer.state == pb.Task.COMPLETED
    request.task_data = b"other"
    with pytest.raises(grpc.RpcError) as caught:
        node.stub.ExecuteTask(request, timeout=30)
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert node.output("once") == b"ran\n"


def test_the_launcher_dies(make_node, pb):
    """The node cannot run tasks without it: it says so and ends, or gets a new one; it never hangs or loses a task."""
    node = make_node(max_concurrent_tasks=1).start()
    node.submit(SLEEP, task_id="running")
    node.wait_for_output("running", b"up")
    for i in range(5):
        node.submit(f"result = {i}", task_id=f"queued{i}")
    launcher = [p for p in processes.descendants(node.process.pid) if processes.program_of(p) == "hivemind-launcher"]
    assert launcher
    subprocess.run(["kill", "-KILL", str(launcher[0])], check=True)
    assert node.wait_for_end() != 0
    node._after_end(killed_launcher=launcher[0])
    node.start()
    assert not processes.cgroups(launcher[:1])
    task = node.get("running")
    assert (task.state, task.reason) == (pb.Task.FAILED, pb.Task.LOST)
    for i in range(5):
        task, result = node.wait(f"queued{i}")
        assert (task.state, result) == (pb.Task.COMPLETED, b"%d" % i)


def test_a_slot_dies(make_node, pb):
    node = make_node(max_concurrent_tasks=1).start()
    node.submit(SLEEP, task_id="running")
    node.wait_for_output("running", b"up")
    slots = [p for p in processes.descendants(node.process.pid) if processes.program_of(p) == "hivemind-slot"]
    assert slots
    for pid in slots:
        subprocess.run(["kill", "-KILL", str(pid)], check=False, stderr=subprocess.DEVNULL)
    task, _ = node.wait("running", seconds=30)
    assert (task.state, task.reason) in ((pb.Task.FAILED, pb.Task.LOST), (pb.Task.FAILED, pb.Task.SIGNAL))
    task, result = node.run("result = 1")  # in a new one
    assert result == b"1", task


def test_second_daemon_on_the_same_storage(make_node, pb):
    first = make_node().start()
    second = make_node(storage_path=first.storage)
    with pytest.raises(StartError) as caught:
        second.start()
    assert caught.value.returncode > 0
    assert str(first.storage) in caught.value.log
    assert str(first.process.pid) in caught.value.log
    assert first.run("result = 1")[1] == b"1"


def test_taken_port(make_node, pb):
    """Says which port it is, and touches none of the tasks that wait on disk."""
    first = make_node().start()
    second = make_node(max_concurrent_tasks=1).start()
    second.submit(SLEEP, task_id="running")
    second.wait_for_output("running", b"up")
    for i in range(4):
        second.submit(f"result = {i}", task_id=f"queued{i}")
    second.kill()
    own, second.port = second.port, first.port
    with pytest.raises(StartError) as caught:
        second.start()
    assert caught.value.returncode > 0
    assert str(first.port) in caught.value.log
    second.port = own
    second.start()
    for i in range(4):
        task, result = second.wait(f"queued{i}")
        assert (task.state, task.attempt, result) == (pb.Task.COMPLETED, 1, b"%d" % i)
    second.stop()  # before the first, which would take it for something it left


def slots_of(node):
    """The processes of all sandboxes of `node`, the warm tasks in them too."""
    return [pid for pid in processes.descendants(node.process.pid) if processes.program_of(pid) == "hivemind-slot"]


def test_no_sandboxes_for_a_while(root, make_node, pb):
    """The queue waits until the launcher can make slots again; the node says why."""
    node = make_node(max_concurrent_tasks=2).start()
    for i in range(2):
        node.submit(SLEEP, task_id=f"running{i}")
        node.wait_for_output(f"running{i}", b"up")
    for i in range(10):
        node.submit(f"result = {i}", task_id=f"queued{i}")
    launcher = next(p for p in processes.descendants(node.process.pid) if processes.program_of(p) == "hivemind-launcher")
    limit = resource.prlimit(launcher, resource.RLIMIT_NOFILE)
    resource.prlimit(launcher, resource.RLIMIT_NOFILE, (5, limit[1]))
    # The daemon stands still meanwhile: else a slot that is left takes a queued task when the first has died.
    node.process.send_signal(signal.SIGSTOP)
    try:
        while slots := slots_of(node):
            for pid in slots:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    finally:
        node.process.send_signal(signal.SIGCONT)
    for i in range(2):
        task, _ = node.wait(f"running{i}")
        # A warm task is a fork of its slot and has its name: it may have been hit first.
        assert task.state == pb.Task.FAILED and task.reason in (pb.Task.LOST, pb.Task.SIGNAL)
    deadline = time.monotonic() + 30
    while not any("sandbox" in w for w in node.status().warnings):
        assert time.monotonic() < deadline, "the node does not say that it is in trouble"
    status = node.status()
    assert (status.queued_tasks + status.running_tasks, status.failed_tasks) == (10, 2)
    # What waits meanwhile is left in peace, but for its time-out.
    late, _ = node.wait(node.submit("result = 1", queue_timeout_ms=3000))
    assert late.reason == pb.Task.TIMEOUT_QUEUE
    events = list(node.stub.WatchTasks(pb.WatchTasksRequest(only_past=True), timeout=60))
    starts = [e.task_id for e in events if e.kind == pb.TaskEvent.STARTED and e.task_id.startswith("queued")]
    assert len(starts) <= 4, f"tasks are begun again and again: {starts}"
    resource.prlimit(launcher, resource.RLIMIT_NOFILE, limit)
    for i in range(10):
        task, result = node.wait(f"queued{i}")
        assert (task.state, task.attempt, result) == (pb.Task.COMPLETED, 1, b"%d" % i)


def test_corrupt_database_is_said_and_kept(make_node):
    node = make_node().start()
    node.run("result = 1")
    node.stop()
    databases = [p for p in node.storage.rglob("*") if p.is_file() and p.read_bytes()[:15] == b"SQLite format 3"]
    assert databases
    before = databases[0].read_bytes()
    broken = before[:100] + b"\xff" * (len(before) - 100)
    databases[0].write_bytes(broken)
    with pytest.raises(StartError) as caught:
        node.start()
    assert caught.value.returncode > 0
    assert str(databases[0]) in caught.value.log
    assert databases[0].read_bytes() == broken  # nothing is thrown away by itself


def test_storage_that_cannot_be_written(make_node, tmp_path):
    file = tmp_path / "a-file"
    file.write_text("x")
    node = make_node(storage_path=file)
    with pytest.raises(StartError) as caught:
        node.start()
    assert str(file) in caught.value.log


def test_sighup_reloads(make_node, pb):
    node = make_node()
    node.folder.mkdir(exist_ok=True)
    config = node.folder / "worker.conf"
    config.write_text("MAX_QUEUED_TASKS=5\n")
    config.chmod(0o644)
    node.settings["config"] = config
    node.start()
    assert node.status().max_queued_tasks == 5
    config.write_text("MAX_QUEUED_TASKS=6\nMAX_CONCURRENT_TASKS=2\n")
    node.signal(signal.SIGHUP)
    while node.status().max_queued_tasks != 6:  # each a round trip
        pass
    assert node.status().max_concurrent_tasks == 2
    config.write_text("MAX_QUEUED_TASKS=many\n")
    node.signal(signal.SIGHUP)
    while "MAX_QUEUED_TASKS" not in node.log():  # said in the log, and the old value holds
        node.status()
    assert node.status().max_queued_tasks == 6


def worker(node, *flags, env=None):
    return subprocess.run([str(node.programs.worker), *flags], capture_output=True, text=True, timeout=30,
                          env={**node.environment(), **(env or {})})


def test_show_config_and_precedence(node, tmp_path):
    config = tmp_path / "worker.conf"
    config.write_text("GRPC_PORT=1111\nMAX_QUEUED_TASKS=22\nDEFAULT_TIMEOUT=10s\n# a comment\n\nNODE_ID=\"from file\"\n")
    done = worker(node, f"--config={config}", "--grpc-port=3333", "--show-config",
                  env={"GRPC_PORT": "2222", "MAX_QUEUED_TASKS": "33"})
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.split()}
    assert "3333" in lines["GRPC_PORT"] and "flag" in lines["GRPC_PORT"]
    assert "33" in lines["MAX_QUEUED_TASKS"] and "environment" in lines["MAX_QUEUED_TASKS"]
    assert "10s" in lines["DEFAULT_TIMEOUT"] and str(config) in lines["DEFAULT_TIMEOUT"]
    assert "default" in lines["MAX_CONCURRENT_TASKS"]
    for setting in ("NODE_PORT", "GRPC_HOST", "NODE_ID", "MAX_WORKERS", "MAX_TASK_SIZE", "STORAGE_PATH", "MAX_STORAGE_SIZE"):
        assert setting in lines


@pytest.mark.parametrize("setting, value", [
    ("GRPC_PORT", "70000"), ("GRPC_PORT", "x"), ("GRPC_PORT", ""), ("MAX_CONCURRENT_TASKS", "0"), ("MAX_TASK_SIZE", "10X"),
    ("DEFAULT_TIMEOUT", "-5"), ("DEFAULT_TIMEOUT", "soon"), ("GRPC_HOST", "not a host"), ("LOG_LEVEL", "loud")])
def test_bad_values_are_named(node, setting, value):
    for done in (worker(node, "--show-config", env={setting: value}),
                 worker(node, f"--{setting.lower().replace('_', '-')}={value}", "--show-config")):
        if value == "" and done.returncode == 0:
            continue  # an empty variable may count as unset
        assert done.returncode not in (0, -6, -11)
        assert setting in done.stderr or setting.lower().replace("_", "-") in done.stderr
        assert value in done.stderr


def test_unknown_flags_are_named(node):
    done = worker(node, "--grcp-port=5")
    assert done.returncode > 0 and "grcp-port" in done.stderr


def test_address_of_other_machines_needs_insistence(make_node):
    with pytest.raises(StartError) as caught:
        make_node(grpc_host="0.0.0.0", authenticated=True).start()
    assert "insecure-listen" in caught.value.log and "hivemind tls init" in caught.value.log
    with pytest.raises(StartError) as caught:
        make_node(grpc_host="0.0.0.0", insecure_listen=True, dev=True).start()
    assert "--dev" in caught.value.log
    node = make_node(grpc_host="0.0.0.0", insecure_listen=True, authenticated=True).start()
    assert "INSECURE" in node.log()
    assert node.run("result = 1")[1] == b"1"


def test_dev_mode(make_node, pb):
    node = make_node(dev=True, storage_path=None).start()
    assert node.run("result = 1")[1] == b"1"
    assert "dev" in node.log().lower()
    folder = [p for p in node.tmp.iterdir()]
    assert folder, "the temporary storage is in TMPDIR"
    node.stop()
    assert not list(node.tmp.iterdir())


def test_log_is_json_lines(make_node):
    node = make_node().start()
    node.run("result = 1")
    node.stop()
    with open(node.log_path) as f:
        for line in f:
            entry = json.loads(line)
            assert set(entry) >= {"time", "level", "message"}
