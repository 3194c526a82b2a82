# SPDX-License-Identifier: Apache-2.0
"""What packages require, installed from an index: one of our own, on loopback."""
import json
import os

import pytest

from harness.archives import tarred, zipped
from harness.index import Index
from harness.waiting import wait_until


@pytest.fixture
def index():
    with Index() as i:
        i.add("low", "1.0", "n = 7")
        i.add("high", "2.0", "import low\nn = low.n + 1", requires=["low>=1"])
        yield i


@pytest.fixture(params=["root", "user"])
def fresh(request, make_node, index):
    user = request.getfixturevalue("ordinary_user" if request.param == "user" else "root")
    return make_node(user=user, max_concurrent_tasks=4, package_index=index.url).start()


@pytest.fixture
def node(make_node, index):
    return make_node(max_concurrent_tasks=4, package_index=index.url).start()


def package(code, requirements="high\n", **more):
    return zipped({"main.py": code, "requirements.txt": requirements, **more})


def submit(node, code, requirements="high\n", **fields):
    return node.submit(package(code, requirements), task_type="package", **fields)


def value(node, code, requirements="high\n", **fields):
    task, result = node.wait(submit(node, code, requirements, **fields))
    assert result, (task.message, task.error, node.output(task.task_id))
    return json.loads(result)


def environments(node):
    return sorted(p for p in os.listdir(node.storage / "storage" / "inputs") if p[0] in "89abcdef")


USES = """
import high, low, os, socket, subprocess, sys
def writable(path):
    try:
        open(path, "w")
    except OSError:
        return False
    return True
def reachable(port):
    try:
        return bool(socket.create_connection(("127.0.0.1", port), 1))
    except OSError:
        return False
child = subprocess.run([sys.executable, "-c", "import high; print(high.n)"], capture_output=True, text=True)
result = [high.n, child.stdout, high.__file__, writable("/environment/x"), writable(high.__file__),
          high.__spec__.cached is not None and os.path.exists(high.__spec__.cached), reachable(int(sys.argv[1]))]
"""


def test_installed_once_and_used_by_all_that_name_the_same(fresh, index):
    first = submit(fresh, USES, args=[str(index.port)])
    task, result = fresh.wait(first)
    assert result, (task.message, task.error, fresh.output(first))
    n, child, where, below, itself, compiled, network = json.loads(result)
    assert (n, child, where) == (8, "8\n", "/environment/high/__init__.py")
    assert not below and not itself, "a task can write to what others import"
    assert compiled, "its modules were not compiled, or look as if they were older than their source"
    assert not network, "the network is for pip alone"
    assert b"Successfully installed high-2.0 low-1.0" in fresh.output(first)
    index.stop()
    assert value(fresh, "import high\nresult = high.n") == 8
    assert value(fresh, "import high\nresult = high.n", "# the same\nHigh   # said in other words\n", fresh_interpreter=True) == 8
    task, result = fresh.run(tarred({"pack/main.py": "import high\nresult = high.n", "pack/requirements.txt": "high"}), task_type="package")
    assert json.loads(result) == 8
    shell = zipped({"run_task.sh": "python3 -c 'import high; print(high.n)'", "requirements.txt": "high"})
    task, _ = fresh.run(shell, task_type="package")
    assert b"8\n" in fresh.output(task.task_id), task.message


def test_nothing_is_asked_where_nothing_is_required(node, index):
    assert value(node, "result = 1", "# nothing\n") == 1
    assert value(node, "result = 2", "low; python_version < '3'\n") == 2
    task, result = node.run(zipped({"main.py": "result = 3"}), task_type="package")
    assert json.loads(result) == 3
    assert not index.fetched("low")


def test_who_asks_at_once_waits_for_one_installation(node, index):
    asked, go = index.hold("high")
    first = submit(node, "import high\nresult = high.n")
    assert asked.wait(60)
    others = [submit(node, "import high\nresult = high.n") for _ in range(3)]
    for task_id in others:
        wait_until(lambda task_id=task_id: node.get(task_id).state == node.stubs.pb.Task.PREPARING, "it is prepared")
        assert "being installed" in node.get(task_id).message
    go.set()
    for task_id in [first, *others]:
        assert json.loads(node.wait(task_id)[1]) == 8
    assert index.fetched("high") == 1 and len(environments(node)) == 2  # a folder, and its label


def test_owners_share_nothing(make_node, index, tmp_path):
    node = make_node(authenticated=True, package_index=index.url).start()
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "main.py").write_text("import high\nprint('has', high.n)\n")
    (tmp_path / "pack" / "requirements.txt").write_text("high\n")
    for name in ["ann", "bob", "ann"]:
        if not (tmp_path / name).exists():
            assert node.run_cli("user", "add", "--role", "submitter", name).returncode == 0
            (tmp_path / name).write_bytes(node.run_cli("token", "add", "--user", name, "test").stdout)
            (tmp_path / name).chmod(0o600)
        done = node.run_cli("--token-file", str(tmp_path / name), "run", str(tmp_path / "pack"))
        assert done.returncode == 0 and b"has 8" in done.stdout, (done.stdout, done.stderr)
    assert index.fetched("high") == 2 and len(environments(node)) == 4


def test_two_versions_side_by_side(node, index):
    index.add("low", "2.0", "n = 70")
    for _ in range(2):  # also in interpreters that are forks of the same one
        assert value(node, "import low\nresult = low.n", "low==1.0") == 7
        assert value(node, "import low\nresult = low.n", "low==2.0") == 70


def test_index_that_cannot_be_reached(node, pb, index):
    index.stop()
    task, _ = node.wait(submit(node, "result = 1"))
    assert (task.state, task.reason) == (task.FAILED, pb.Task.ENVIRONMENT_ERROR)
    assert "the package index cannot be reached" in task.message and "Connection refused" in task.message, task.message
    assert not environments(node)
    waiting = submit(node, "import high\nresult = high.n", retries=20, retry_delay_ms=100)
    wait_until(lambda: node.get(waiting).attempt > 1, "it is tried again")
    index.start()
    assert json.loads(node.wait(waiting)[1]) == 8


def test_what_there_is_not(node, pb, index):
    index.files["sdist-1.0.tar.gz"] = tarred({"sdist-1.0/setup.py": "raise SystemExit('code of it was run')"})
    for requirements, words in [("absent", "absent"), ("low>5", "low>5"), ("sdist", "sdist"), ("low --hash=sha256:" + "0" * 64, "hash")]:
        task_id = submit(node, "result = 1", requirements)
        task, _ = node.wait(task_id)
        assert task.reason == pb.Task.ENVIRONMENT_ERROR and words in task.message.lower(), task.message
        assert b"code of it was run" not in node.output(task_id)
    assert not environments(node)


def test_requirements_that_are_none_of_the_index(node, pb, index):
    with open(node.folder / "secret", "w") as f:
        f.write("secret")
    for requirements in ["-i http://127.0.0.1:1/simple\nlow", "low @ file:///etc/passwd", "-r /etc/passwd", "--extra-index-url http://x/\nlow",
                         "-e .", "./wheel.whl", "low\nEND_OF_REQUIREMENTS\ntouch /workspace/x", "low; python_version < '$(id)'", "$(id)"]:
        task, _ = node.wait(submit(node, "result = 1", requirements))
        assert task.reason == pb.Task.BAD_INPUT and "requirements.txt" in task.message, (requirements, task.message)
    assert not index.asked


def test_node_that_fetches_nothing(make_node, pb):
    node = make_node(package_index="off").start()
    task, _ = node.wait(submit(node, "result = 1"))
    assert task.reason == pb.Task.BAD_INPUT and "PACKAGE_INDEX" in task.message


def test_a_wheel_that_wants_to_lie_elsewhere(node, pb, index):
    """pip has a say in that too, and the sandbox the last."""
    index.add("evil", "1.0", "", **{"../../up.py": "x", "evil-1.0.data/data/bin/tool": "x"})
    task, result = node.wait(submit(node, "import os\nresult = [os.path.exists('/up.py'), os.path.exists('/workspace/up.py')]", "evil"))
    assert task.reason == pb.Task.ENVIRONMENT_ERROR or json.loads(result) == [False, False], task.message
    assert not any("up.py" in str(p) for p in node.folder.rglob("*.py"))


def test_more_than_the_task_may_have(node, pb, index):
    index.add("large", "1.0", "", **{"large/data.bin": os.urandom(8 << 20)})
    task, _ = node.wait(submit(node, "result = 1", "large", limits=pb.Limits(workspace_bytes=4 << 20)))
    assert task.reason == pb.Task.ENVIRONMENT_ERROR and "workspace" in task.message, task.message
    assert not environments(node)
    assert value(node, "import large\nresult = 1", "large", limits=pb.Limits(workspace_bytes=64 << 20)) == 1


def test_stopped_meanwhile(fresh, index):
    asked, go = index.hold("low")
    alone = submit(fresh, "import low\nresult = low.n", "low")
    assert asked.wait(60)
    other = submit(fresh, "import low\nresult = low.n", "low")
    wait_until(lambda: "being installed" in fresh.get(other).message, "the other one is prepared")
    assert fresh.stop_task(alone).task.state == fresh.stubs.pb.Task.STOPPED
    go.set()
    assert json.loads(fresh.wait(other)[1]) == 7, "who waits for the same has it all the same"
    del index.held["low"]
    asked, go = index.hold("high")
    last = submit(fresh, "result = 1")
    assert asked.wait(60)
    assert fresh.stop_task(last).task.state == fresh.stubs.pb.Task.STOPPED
    wait_until(lambda: len(environments(fresh)) == 2, "what was begun has gone")


def test_node_that_ends_meanwhile(fresh, index):
    asked, go = index.hold("high")
    task_id = submit(fresh, "import high\nresult = high.n")
    assert asked.wait(60)
    fresh.stop()
    go.set()
    index.held.clear()
    assert not environments(fresh)
    fresh.start()
    assert json.loads(fresh.wait(task_id)[1]) == 8


def test_kill_meanwhile(fresh, index):
    asked, go = index.hold("high")
    task_id = submit(fresh, "import high\nresult = high.n")
    assert asked.wait(60)
    fresh.kill()
    assert len(environments(fresh)) == 1, "a folder, and no label"
    go.set()
    index.held.clear()
    fresh.start()
    assert json.loads(fresh.wait(task_id)[1]) == 8
    assert len(environments(fresh)) == 2


def test_kept_over_starts(fresh, index):
    assert value(fresh, "import high\nresult = high.n") == 8
    fresh.kill()
    fresh.start()
    index.stop()
    assert value(fresh, "import high\nresult = high.n") == 8


def test_damaged_label(node, index):
    assert value(node, "import high\nresult = high.n") == 8
    label, = [p for p in environments(node) if p.endswith(".env")]
    node.stop()
    (node.storage / "storage" / "inputs" / label).write_bytes(b"no label \xff\0")
    node.start()
    assert not environments(node), "what nobody can say is whole was kept"
    assert value(node, "import high\nresult = high.n") == 8


def test_what_is_in_use_stays(make_node, index):
    node = make_node(max_concurrent_tasks=4, package_index=index.url, max_environments_size="1M").start()
    for name in ["one", "two"]:
        index.add(name, "1.0", "n = 1", **{f"{name}/data.bin": os.urandom(700 << 10), f"{name}/late.py": "n = 2"})
    waits = submit(node, "import one, time\nprint('up', flush=True)\ntime.sleep(1000)", "one")
    node.wait_for_output(waits, b"up")
    in_use = environments(node)[0]
    assert value(node, "import two\nresult = two.n", "two") == 1
    wait_until(lambda: len(environments(node)) == 2, "what nobody uses goes, though it was used last")
    node.detach()
    node.start()
    assert value(node, "import two\nresult = two.n", "two") == 1
    wait_until(lambda: len(environments(node)) == 2, "that goes")
    assert (node.storage / "storage" / "inputs" / in_use / "one" / "late.py").exists(), "what a task that goes on uses was taken away"
    node.stop_task(waits)
    assert value(node, "import two\nresult = two.n", "two") == 1
    wait_until(lambda: len(environments(node)) == 2 and in_use not in environments(node), "what is in use no more goes")


def test_folder_that_cannot_be_made(node, index):
    """That is the node's trouble, which passes."""
    inputs = node.storage / "storage" / "inputs"
    mode = inputs.stat().st_mode
    inputs.chmod(0o555)
    try:
        task_id = submit(node, "import high\nresult = high.n")
        wait_until(lambda: "cannot be installed" in node.get(task_id).message or "cannot be installed" in str(node.status().warnings),
                   "the node says why")
    finally:
        inputs.chmod(mode)
    assert json.loads(node.wait(task_id)[1]) == 8


def test_command_line(node, index, tmp_path):
    (tmp_path / "main.py").write_text("import high\nprint('has', high.n)\n")
    (tmp_path / "requirements.txt").write_text("high>=2\n")
    done = node.run_cli("run", str(tmp_path))
    assert done.returncode == 0 and b"has 8" in done.stdout, (done.stdout, done.stderr)
    (tmp_path / "requirements.txt").write_text("absent\n")
    done = node.run_cli("run", str(tmp_path))
    assert done.returncode == 125 and b"absent" in done.stderr, (done.returncode, done.stdout, done.stderr)
