# SPDX-License-Identifier: Apache-2.0
"""Tasks that go on running while their node is restarted (SIGUSR2, SHUTDOWN_MODE=detach)."""
import json
import os
import signal
import socket
import threading
import time

import grpc
import pytest

from harness import processes
from harness.node import StartError

FOR_EVER = "print('up', flush=True)\nimport time\nwhile True: time.sleep(1000)"
POLITE = ("import signal, sys\ndef end(*_):\n print('goodbye', flush=True)\n sys.exit(0)\nsignal.signal(signal.SIGTERM, end)\n"
          + FOR_EVER)
COUNT = "import time\nfor i in range({n}):\n print(i, flush=True)\n time.sleep({pause})\nresult = 'whole'"


@pytest.fixture(params=["root", "user"])
def fresh(request, make_node):
    """A node of its own, as root and as an ordinary user."""
    user = request.getfixturevalue("ordinary_user" if request.param == "user" else "root")
    return make_node(user=user, max_concurrent_tasks=4).start()


def running(node, pb, source=FOR_EVER, wanted=b"up", **fields):
    task_id = node.submit(source, **fields)
    node.wait_for_output(task_id, wanted)
    return task_id


def lines(n):
    return b"".join(b"%d\n" % i for i in range(n))


# --- what goes on ---


def test_log_and_result_are_whole(fresh, pb):
    """Printed before, meanwhile and after; nothing is missing, nothing is there twice, and it was one attempt."""
    python = running(fresh, pb, COUNT.format(n=100, pause=0.05), b"5\n")
    shell = running(fresh, pb, "i=0; while [ $i -lt 100 ]; do echo $i; i=$((i+1)); sleep 0.05; done", b"5\n", task_type="shell")
    fresh.detach()
    fresh.start()
    assert "2 that run" in fresh.log()
    for task_id, wanted in (python, b'"whole"'), (shell, lines(100)):
        task, result = fresh.wait(task_id)
        assert (task.state, task.attempt, result) == (pb.Task.COMPLETED, 1, wanted), task.message
        assert fresh.output(task_id) == lines(100)
        assert task.receipt.layers and task.usage.wall_us >= 4_900_000
    assert not list((fresh.storage / "launchers").iterdir())


def test_what_ends_meanwhile(make_node, pb):
    """The verdict, the result and the traceback wait too."""
    node = make_node(max_concurrent_tasks=4).start()
    large = "x" * 300_000  # does not fit into a pipe: the task waits for its reader
    well = running(node, pb, f"print('up', flush=True)\nimport time; time.sleep(0.5)\nresult = '{large}'")
    badly = running(node, pb, "print('up', flush=True)\nimport time; time.sleep(0.5)\nraise ValueError('of its own')")
    coded = running(node, pb, "echo up; sleep 0.5; exit 7", task_type="shell")
    flood = running(node, pb, "print('up', flush=True)\nimport time; time.sleep(0.5)\nfor i in range(100000): print(i)\n")
    node.detach()
    time.sleep(1)  # all of them end, or stand before a full pipe; were they slower, the test would only see less
    node.start()
    task, result = node.wait(well)
    assert (task.state, json.loads(result)) == (pb.Task.COMPLETED, large), task.message
    task, _ = node.wait(badly)
    assert (task.state, task.reason) == (pb.Task.FAILED, pb.Task.EXIT_CODE) and "of its own" in task.error
    task, result = node.wait(coded)
    assert (task.reason, task.exit_code, result) == (pb.Task.EXIT_CODE, 7, b"up\n")
    task, _ = node.wait(flood)
    assert task.state == pb.Task.COMPLETED and node.output(flood) == b"up\n" + lines(100000)


def test_from_one_to_the_next_and_the_next(fresh, pb):
    """Four daemons; each leaves what it has begun and what it was left."""
    tasks = []
    for _ in range(3):
        tasks.append(running(fresh, pb, POLITE))
        fresh.detach()
        fresh.start()
    assert "3 that run" in fresh.log()
    for task_id in tasks:
        task = fresh.stop_task(task_id).task
        assert (task.state, task.attempt, fresh.output(task_id)) == (pb.Task.STOPPED, 1, b"up\ngoodbye\n"), task.message
    status = fresh.status()
    assert (status.running_tasks, status.cpu_millis_allocated, status.memory_bytes_allocated) == (0, 0, 0)


def test_it_can_be_stopped_and_counts(make_node, pb):
    """A task that was taken up has its slot and its share, and ends on request, with its grace."""
    node = make_node(max_concurrent_tasks=1).start()
    first = running(node, pb, POLITE)
    second = node.submit("result = 2")
    node.detach()
    node.start()
    assert node.get(first).state == pb.Task.RUNNING
    assert (node.get(second).state, node.get(second).message) == (pb.Task.QUEUED, "waits for a free slot")
    assert node.status().memory_bytes_allocated > 0
    assert node.stop_task(first).task.state == pb.Task.STOPPED
    assert node.output(first) == b"up\ngoodbye\n"
    assert node.wait(second)[1] == b"2"


def test_time_goes_on(make_node, pb):
    """The wall time-out counts the time in which there was no node; processor time is watched again."""
    node = make_node(max_concurrent_tasks=4).start()
    late = running(node, pb, timeout_ms=1500)
    burner = running(node, pb, "print('up', flush=True)\nimport time\ntime.sleep(1)\nwhile True: pass", limits=pb.Limits(cpu_time_us=1_000_000))
    node.detach()
    time.sleep(1.5)  # the time-out itself
    node.start()
    task, _ = node.wait(late)
    assert (task.state, task.reason) == (pb.Task.FAILED, pb.Task.TIMEOUT_WALL)
    task, _ = node.wait(burner)
    assert (task.state, task.reason) == (pb.Task.FAILED, pb.Task.TIMEOUT_CPU), task.message


def test_a_paused_one_stays_paused(make_node, pb):
    node = make_node().start()
    task_id = running(node, pb, COUNT.format(n=40, pause=0.05), b"3\n", timeout_ms=60_000)
    node.stub.PauseTask(pb.PauseTaskRequest(task_id=task_id), timeout=30)
    node.detach()
    node.start()
    assert node.get(task_id).paused
    seen = node.output(task_id)
    node.stub.ResumeTask(pb.ResumeTaskRequest(task_id=task_id), timeout=30)
    task, _ = node.wait(task_id)
    assert task.state == pb.Task.COMPLETED and seen != lines(40) and node.output(task_id) == lines(40)


def test_who_had_not_begun_waits(make_node, pb):
    """Tasks in the queue, after others, or about to begin are where they were."""
    node = make_node(max_concurrent_tasks=2).start()
    first = running(node, pb)
    after = node.submit("result = 'after'", after=[first], after_any=True)
    many = [node.submit("import time; time.sleep(0.05)\nresult = 1") for _ in range(40)]
    node.detach()
    node.start()
    node.stop_task(first)
    assert node.wait(after)[1] == b'"after"'
    for task_id in many:
        task, result = node.wait(task_id)
        assert (task.state, task.attempt, result) == (pb.Task.COMPLETED, 1, b"1"), task.message


def test_memory_is_still_limited(make_node, pb):
    node = make_node().start()
    hungry = "print('up', flush=True)\nimport time; time.sleep(1)\nheld = bytearray(400 << 20)\nfor i in range(0, len(held), 4096): held[i] = 1"
    task_id = running(node, pb, hungry, limits=pb.Limits(memory_bytes=64 << 20))
    if pb.Receipt.CGROUP_MEMORY not in node.run("result = 1")[0].receipt.layers:
        pytest.skip("no control group for memory here")
    node.detach()
    node.start()
    task, _ = node.wait(task_id)
    assert (task.state, task.reason) == (pb.Task.FAILED, pb.Task.OOM), task.message


def test_only_what_runs_is_left(make_node, pb):
    """Idle slots go with their daemon, and so do their control groups."""
    node = make_node(max_concurrent_tasks=8).start()
    for task_id in [running(node, pb) for _ in range(6)]:
        node.stop_task(task_id)
    task_id = running(node, pb)
    old = set(node.launchers)
    node.detach()
    slots = [pid for launcher in old for pid in processes.children(launcher)]
    deadline = time.monotonic() + 30
    while len(slots) > 1:
        assert time.monotonic() < deadline, slots
        slots = [pid for launcher in old for pid in processes.children(launcher)]
    while len({path.rstrip("/").rpartition("/")[2] for path in processes.cgroups(old)}) > 2:  # the launcher's, and the slot's in it
        assert time.monotonic() < deadline, processes.cgroups(old)
    node.start()
    node.stop_task(task_id)


# --- what goes wrong ---


def test_nobody_comes(make_node, pb):
    """After DETACH_TIMEOUT the tasks are ended, and count as lost."""
    node = make_node(detach_timeout="1s").start()
    task_id, tried = running(node, pb), running(node, pb, "print('up', flush=True)\nimport os, time\nresult = 1\nif os.environ['N'] == '1': time.sleep(1000)",
                                                retries=1, env={"N": "1"})
    node.detach()
    node.wait_for_launchers()
    node.start()
    assert node.wait(task_id)[0].reason == pb.Task.LOST
    node.wait_for_output(tried, b"up\nup\n")
    assert node.get(tried).attempt == 2
    node.stop_task(tried)


def test_a_start_that_fails_costs_nothing(fresh, pb):
    task_id = running(fresh, pb, COUNT.format(n=100, pause=0.05), b"3\n")
    fresh.detach()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", fresh.port))
        taken.listen()
        with pytest.raises(StartError):
            fresh.start()
    fresh.start()
    task, result = fresh.wait(task_id)
    assert (task.attempt, result, fresh.output(task_id)) == (1, b'"whole"', lines(100)), task.message


def test_kill_while_they_are_left(fresh, pb):
    """kill -9 of the daemon that took them up, and of the launcher while it waits: lost, once, and nothing goes on running."""
    task_id = running(fresh, pb, retries=1)
    fresh.detach()
    fresh.start()
    assert fresh.get(task_id).state == pb.Task.RUNNING  # its loop runs: before that they are not its own
    fresh.kill()
    fresh.start()
    fresh.wait_for_output(task_id, b"up\nup\n")
    assert fresh.get(task_id).attempt == 2
    waiting = fresh.launchers | processes.children(fresh.process.pid)
    fresh.detach()
    for pid in waiting:
        processes.kill(pid)
    fresh.start()
    assert fresh.wait(task_id)[0].reason == pb.Task.LOST


def test_a_visitor_of_another_kind(make_node, pb):
    """Who does not speak as the launcher does is sent away, and so is who says nothing; the tasks go on, and time runs."""
    node = make_node(detach_timeout="20s").start()
    task_id = running(node, pb)
    node.detach()
    address = next((node.storage / "launchers").iterdir())
    for said in b"another version", None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
            other.settimeout(60)
            other.connect(str(address))
            if said:
                other.send(said)
            assert other.recv(1000) == b""
    node.start()
    assert node.get(task_id).state == pb.Task.RUNNING
    assert not address.exists()
    node.stop_task(task_id)


def test_a_launcher_of_another_version(make_node, pb, tmp_path):
    """The start names it and the ways out; its tasks go on."""
    node = make_node().start()
    task_id = running(node, pb)
    node.detach()
    folder = node.storage / "launchers"
    address = next(folder.iterdir())
    address.rename(tmp_path / "away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.bind(str(address))
        os.chmod(address, 0o777)
        other.listen()
        answers = threading.Thread(target=lambda: [hang_up(other) for _ in range(1000)], daemon=True)
        answers.start()
        with pytest.raises(StartError) as caught:
            node.start()
    assert f"process {os.getpid()}" in str(caught.value) and "DETACH_TIMEOUT" in str(caught.value)
    address.unlink()
    (tmp_path / "away").rename(address)
    node.start()
    assert node.get(task_id).state == pb.Task.RUNNING
    node.stop_task(task_id)


def hang_up(listener):
    try:
        listener.accept()[0].close()
    except OSError:
        pass


def test_too_few_descriptors(make_node, pb):
    """A start that has no room for what was left fails, and costs nothing."""
    node = make_node(max_concurrent_tasks=8).start()
    tasks = [running(node, pb) for _ in range(6)]
    node.detach()
    node.prefix = ["sh", "-c", "ulimit -n 40; exec \"$@\"", "sh"]
    with pytest.raises(StartError) as caught:
        node.start()
    assert "Too many open files" in str(caught.value)
    node.prefix = []
    node.start()
    for task_id in tasks:
        assert node.get(task_id).state == pb.Task.RUNNING
        node.stop_task(task_id)


@pytest.mark.parametrize("told", ["", "SIGUSR2"])
def test_the_new_launcher_dies(make_node, pb, told):
    """Those of the one before go on, for the next start; the node ends by itself."""
    node = make_node(max_concurrent_tasks=4).start()
    old = running(node, pb)
    before = set(node.launchers)
    node.detach()
    node.start()
    new = running(node, pb)
    (own,) = processes.children(node.process.pid) - before
    processes.kill(own)
    if told:
        node.signal(signal.SIGUSR2)
    code = node.wait_for_end()
    assert told or code == 1
    node.left_running = True
    node.close()
    node.start()
    assert node.wait(new)[0].reason == pb.Task.LOST
    assert node.get(old).state == pb.Task.RUNNING
    assert node.stop_task(old).task.state == pb.Task.STOPPED


def test_what_it_holds_is_what_it_took(make_node, pb):
    """Other settings at the next start, or on the way, are for others."""
    node = make_node(max_concurrent_tasks=1, max_log_size="1M").start()
    task_id = running(node, pb, "print('up', flush=True)\nimport time\ntime.sleep(0.2)\nfor i in range(2000): print('x' * 100)\n" + FOR_EVER)
    before = node.status()
    node.detach()
    node.settings.update(max_concurrent_tasks=8, max_log_size="4K")
    node.start()
    after = node.status()
    assert (after.memory_bytes_allocated, after.cpu_millis_allocated) == (before.memory_bytes_allocated, before.cpu_millis_allocated)
    node.wait_for_output(task_id, b"x\nup\n")
    task = node.stop_task(task_id).task
    assert not task.log_truncated and task.log_size > 200_000
    status = node.status()
    assert (status.memory_bytes_allocated, status.cpu_millis_allocated) == (0, 0)


def test_strangers_are_not_heard(make_node, pb, ordinary_user, root):
    node = make_node().start()
    task_id = running(node, pb)
    node.detach()
    folder = node.storage / "launchers"
    address = next(folder.iterdir())
    for path in (node.folder, node.storage, folder, address):
        path.chmod(0o777)
    code = ("import socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\ns.connect(sys.argv[1])\n"
            "try: s.send(b'x'); sys.exit(len(s.recv(10)))\nexcept OSError: pass")
    stranger = node.popen(["/usr/bin/python3", "-c", code, str(address)], user=ordinary_user) if node.user is None else None
    assert stranger.wait(30) == 0
    for path in (node.storage, folder, address):
        path.chmod(0o700)
    node.start()
    assert node.get(task_id).state == pb.Task.RUNNING
    node.stop_task(task_id)


def test_rubbish_in_the_folder(make_node, pb):
    node = make_node().start()
    task_id = running(node, pb)
    node.detach()
    folder = node.storage / "launchers"
    (folder / "file").write_text("no socket")
    (folder / ("n" * 200)).write_text("too long a name")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(folder / "dead"))
    os.chown(folder / "dead", folder.stat().st_uid, folder.stat().st_gid)
    node.start()
    assert node.get(task_id).state == pb.Task.RUNNING
    assert not (folder / "dead").exists()
    node.stop_task(task_id)


def test_who_cannot_be_asked_is_not_passed_over(make_node, pb):
    """It might hold tasks, which would then run twice."""
    node = make_node().start()
    task_id = node.submit("result = 1", not_before_us=time.time_ns() // 1000 + 3600 * 10**6)
    node.stop()
    folder = node.storage / "launchers"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, node.storage.stat().st_uid, node.storage.stat().st_gid)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(folder / "other"))
        os.chmod(folder / "other", 0o777)
        other.listen()
        with pytest.raises(StartError) as caught:
            node.start()
        assert "launchers/other" in str(caught.value)
    node.start()
    assert node.get(task_id).state == pb.Task.QUEUED


STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOR_EVER


def test_a_stop_outlives_the_node(make_node, pb):
    """What was asked for holds: no other attempt, and not what it would be without."""
    node = make_node(max_concurrent_tasks=4).start()
    task_id = running(node, pb, STUBBORN, grace_ms=600_000, retries=3)
    node.stub.StopTask.future(pb.StopTaskRequest(task_id=task_id), timeout=60)
    deadline = time.monotonic() + 60
    while node.get(task_id).message != "is being stopped":
        assert time.monotonic() < deadline
    node.submit("result = 1")  # acknowledged behind it: both are on disk
    node.kill()
    node.start()
    task, _ = node.wait(task_id)
    assert (task.state, task.reason, task.attempt) == (pb.Task.STOPPED, pb.Task.STOPPED_BY_USER, 1), task.message


@pytest.mark.parametrize("how", ["kill", "detach"])
def test_calls_end_with_their_callers(make_node, pb, folder, programs_for_all, how):
    """A function call is nobody's any more when the node has gone: it neither goes on nor waits for another start."""
    path = folder / "functions-of-callers.py"
    path.write_text("import time\nfrom hivemind import function\n@function\ndef nap():\n print('up', flush=True)\n time.sleep(600)\n")
    node = make_node(functions=path, max_concurrent_tasks=1).start()
    stub = node.stubs.grpc.RPCServiceStub(node.channel)
    calls = [stub.CallFunction.future(pb.CallFunctionRequest(function_name="nap"), timeout=100) for _ in range(3)]
    deadline = time.monotonic() + 60
    tasks = []
    while len(tasks) < 3 or not any(t.state == pb.Task.RUNNING for t in tasks):
        assert time.monotonic() < deadline
        tasks = node.stub.ListTasks(pb.ListTasksRequest(), timeout=30).tasks
    (first,) = [t.task_id for t in tasks if t.state == pb.Task.RUNNING]
    node.wait_for_output(first, b"up")
    if how == "kill":
        node.kill()
    else:
        node.signal(signal.SIGUSR2)
        assert node.wait_for_end() == 0
        node.close()
    for one in calls:
        problem = one.exception()
        assert problem.code() == grpc.StatusCode.UNAVAILABLE if problem else not one.result().status
    node.start()
    tasks = [node.wait(t.task_id)[0] for t in node.stub.ListTasks(pb.ListTasksRequest(), timeout=30).tasks]
    assert sorted(t.attempt for t in tasks) == [0, 0, 1]
    for task in tasks:
        lost = how == "kill" and task.task_id == first
        assert (task.state, task.reason) == ((pb.Task.FAILED, pb.Task.LOST) if lost else (pb.Task.STOPPED, pb.Task.SHUTDOWN)), task.message


# --- how it is asked for ---


def test_with_no_time_to_drain(make_node, pb):
    """DRAIN_TIMEOUT=0 is for drains: those that are left have no less of a future."""
    node = make_node(drain_timeout="0").start()
    task_id = running(node, pb)
    node.detach()
    node.start()
    assert node.get(task_id).state == pb.Task.RUNNING
    node.stop_task(task_id)


def test_shutdown_mode(make_node, pb):
    node = make_node(shutdown_mode="detach").start()
    task_id = running(node, pb)
    node.left_running = True
    node.stop()
    node.start()
    assert node.get(task_id).state == pb.Task.RUNNING
    node.stop_task(task_id)


def test_shutdown_mode_stop(make_node, pb):
    node = make_node(shutdown_mode="stop").start()
    task_id = running(node, pb)
    node.stop()
    node.start()
    task = node.get(task_id)
    assert (task.state, task.reason) == (pb.Task.STOPPED, pb.Task.SHUTDOWN)


def test_nothing_runs(make_node, pb):
    """Then there is nothing to leave, and nobody waits."""
    node = make_node().start()
    node.run("result = 1")
    node.signal(signal.SIGUSR2)
    assert node.wait_for_end() == 0
    node.close()
    assert not (node.storage / "launchers").exists()


def test_a_stop_hurries_it(make_node, pb):
    """What was being ended when the node was told to leave is ended by a second signal."""
    node = make_node().start()
    stubborn = running(node, pb, "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOR_EVER, grace_ms=200_000)
    stop = node.stub.StopTask.future(pb.StopTaskRequest(task_id=stubborn), timeout=60)
    node.get(stubborn)  # answered behind the other call
    node.signal(signal.SIGUSR2)
    node.wait_for_notice("STOPPING=1")
    node.signal(signal.SIGTERM)
    assert node.wait_for_end() == 0
    assert stop.result().task.state == pb.Task.STOPPED
    node.close()


def test_drain_by_a_call(make_node, pb):
    """hivemind drain: waits for what runs, and for the node; what waits is there at the next start."""
    node = make_node(max_concurrent_tasks=1).start()
    running_id = running(node, pb, COUNT.format(n=20, pause=0.05), b"1\n")
    waiting = node.submit("result = 2")
    done = node.run_cli("drain", "--timeout", "1m")
    assert done.returncode == 0 and done.stdout == b"the node has ended; 1 task waits for its next start\n", done
    assert node.wait_for_end() == 0
    node.close()
    node.start()
    assert node.wait(running_id)[1] == b'"whole"' and node.wait(waiting)[1] == b"2"


def test_drain_detach_and_stop_by_a_call(make_node, pb):
    node = make_node().start()
    task_id = running(node, pb)
    done = node.run_cli("drain", "--detach", "--json")
    assert json.loads(done.stdout) == {"ended": True, "mode": "detach", "running_tasks": 1, "queued_tasks": 0, "forgets_queued": False}, done
    node.detached()
    node.start()
    assert node.get(task_id).state == pb.Task.RUNNING
    slow = node.run_cli("drain", "--no-wait")
    assert slow.stdout == b"the node is on its way down; 1 task runs still\n", slow
    assert node.run_cli("drain", "--stop").stdout == b"the node has ended\n"
    assert node.wait_for_end() == 0
    node.close()
    node.start()
    assert node.get(task_id).reason == pb.Task.SHUTDOWN


def test_followers_do_not_hold_a_drain_up(make_node, pb):
    """They are sent all there is, and then told so, before the time that other calls have is over."""
    node = make_node(max_concurrent_tasks=1).start()
    running_id = running(node, pb)
    waiting = node.submit("result = 2")
    events = node.stub.WatchTasks(pb.WatchTasksRequest(), timeout=60)
    log = node.stub.StreamLogs(pb.StreamLogsRequest(task_id=waiting, follow=True), timeout=60)
    node.get(waiting)  # answered behind them
    node.stub.Shutdown(pb.ShutdownRequest(mode=pb.ShutdownRequest.DETACH), timeout=60)
    seen = []
    for stream in (events, log):
        with pytest.raises(grpc.RpcError) as caught:
            seen.extend(stream)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE and "server is" not in caught.value.details()
    assert {e.task_id for e in seen} == {running_id, waiting}
    node.detached()
    node.start()
    node.stop_task(running_id)
    assert node.wait(waiting)[1] == b"2"


def test_drain_detach_where_nothing_can_go_on(make_node, pb):
    """State in a temporary folder: it says what it does instead."""
    node = make_node(dev=True, storage_path=None, max_concurrent_tasks=1).start()
    running(node, pb, COUNT.format(n=10, pause=0.05), b"1\n")
    node.submit("result = 2")
    done = node.run_cli("drain", "--detach")
    assert b"cannot go on without this node" in done.stderr and b"goes on" not in done.stdout, done
    assert done.stdout == b"the node has ended; 1 task that waited is forgotten\n"
    assert node.wait_for_end() == 0
    node.close()


@pytest.mark.parametrize("fields", [{"mode": 4}, {"mode": -1}, {"timeout_ms": -1}, {"timeout_ms": 2**63 - 1}])
def test_a_strange_shutdown(node, pb, fields):
    with pytest.raises(grpc.RpcError) as caught:
        node.stub.Shutdown(pb.ShutdownRequest(**fields), timeout=30)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert node.status().state == pb.GetStatusResponse.SERVING


@pytest.mark.parametrize("arguments", [["--stop", "--detach"], ["--stop", "--timeout", "1s"], ["now"]])
def test_a_strange_drain(node, arguments):
    done = node.run_cli("drain", *arguments)
    assert done.returncode == 2 and done.stderr, done
