# SPDX-License-Identifier: Apache-2.0
"""Stored files that tasks find in /inputs: `inputs` of ExecuteTask, and --input."""
import json
import os
import time

import grpc
import pytest

from test_files import content, files, push, refused

LOOK = """
import os, sys
found = {}
for folder, _, names in os.walk("/inputs"):
    for name in names:
        path = os.path.join(folder, name)
        found[os.path.relpath(path, "/inputs")] = open(path, "rb").read(100).decode()
result = found
"""
FOR_EVER = "print('up', flush=True)\nimport time\nwhile True: time.sleep(1000)"


@pytest.fixture(params=["root", "user"])
def fresh(request, make_node):
    """A node of its own, as root and as an ordinary user."""
    user = request.getfixturevalue("ordinary_user" if request.param == "user" else "root")
    return make_node(user=user, max_concurrent_tasks=4).start()


def put(node, pb, name, data):
    return push(node, pb, name, data, user="")


def sets(node):
    return sorted(os.listdir(node.storage / "storage" / "inputs"))


def wait_for_sets(node, n):
    deadline = time.monotonic() + 60
    while len(sets(node)) != n:
        assert time.monotonic() < deadline, sets(node)


def look(node, inputs, **fields):
    task, result = node.wait(node.submit(LOOK, inputs=inputs, **fields))
    assert result, (task.message, task.error)
    return json.loads(result)


# --- what a task sees ---


def test_by_name_by_id_and_elsewhere(fresh, pb):
    first, second = put(fresh, pb, "data/one.csv", b"one"), put(fresh, pb, "two", b"second")
    I = pb.TaskInput
    assert look(fresh, [I(name="data/one.csv"), I(file_id=second.file_id), I(name="two", path="deep/er/down")]) == {
        "data/one.csv": "one", "two": "second", "deep/er/down": "second"}
    assert look(fresh, []) == {}
    shell = fresh.submit("cat /inputs/x; ls /inputs", task_type="shell", inputs=[I(file_id=first.file_id, path="x")])
    assert fresh.wait(shell)[1] == b"onex\n"
    wait_for_sets(fresh, 0)


def test_it_is_told_what_it_was_given(fresh, pb):
    stored = put(fresh, pb, "two", b"second")
    task_id = fresh.submit(LOOK, inputs=[pb.TaskInput(name="two", path="there")])
    assert list(fresh.wait(task_id)[0].inputs) == []  # only one that is asked for says what it was
    assert list(fresh.get(task_id).inputs) == [pb.TaskInput(file_id=stored.file_id, name="two", path="there")]


def test_nothing_can_be_changed(fresh, pb):
    """Not by the task; and what is stored later, or deleted, is not what it sees."""
    put(fresh, pb, "data", b"as it was")
    source = """
import os, time
print('up', flush=True)
open('/tmp/go', 'w').close()
while open('/inputs/data').read() == 'as it was' and not os.path.exists('/workspace/go'):
    time.sleep(0.05)
    tries = []
    for what in (lambda: open('/inputs/data', 'w'), lambda: os.unlink('/inputs/data'), lambda: open('/inputs/new', 'w'),
                 lambda: os.chmod('/inputs/data', 0o777), lambda: os.rename('/inputs/data', '/inputs/other'),
                 lambda: os.symlink('x', '/inputs/link'), lambda: os.listdir('/tmp/.inputs'), lambda: os.stat('/tmp/.inputs')):
        try:
            what(); tries.append('done')
        except OSError as e:
            tries.append(e.errno)
    break
result = [open('/inputs/data').read(), tries]
"""
    task_id = fresh.submit(source, inputs=[pb.TaskInput(name="data")])
    put(fresh, pb, "data", b"another")
    found = files(fresh).FindFile(pb.FileRequest(filename="data"), timeout=30).file
    files(fresh).DeleteFile(pb.FileRequest(file_id=found.file_id), timeout=30)
    task, result = fresh.wait(task_id)
    assert result, (task.message, task.error)
    text, tries = json.loads(result)
    assert text == "as it was" and "done" not in tries, tries


def test_only_its_own(fresh, pb):
    """Not those of the task before in the same sandbox, nor of one beside it."""
    put(fresh, pb, "a", b"secret")
    holder = fresh.submit(FOR_EVER, inputs=[pb.TaskInput(name="a")])
    fresh.wait_for_output(holder, b"up")
    for _ in range(4):
        assert look(fresh, [pb.TaskInput(name="a", path="b")]) == {"b": "secret"}
        assert look(fresh, []) == {}
    assert len(sets(fresh)) == 1
    fresh.stop_task(holder)
    wait_for_sets(fresh, 0)


def test_a_large_one_is_not_copied(node, pb):
    data = content(64 << 20)
    put(node, pb, "large", data)
    source = "import hashlib\nresult = hashlib.sha256(open('/inputs/large', 'rb').read()).hexdigest()"
    task, result = node.wait(node.submit(source, inputs=[pb.TaskInput(name="large")]))
    import hashlib
    assert json.loads(result) == hashlib.sha256(data).hexdigest(), task.message


def test_a_batch_and_an_array(make_node, pb):
    node = make_node(max_concurrent_tasks=2).start()
    put(node, pb, "a", b"A"), put(node, pb, "b", b"B")
    one = lambda name: pb.ExecuteTaskRequest(task_type="python", task_data=LOOK.encode(), inputs=[pb.TaskInput(name=name)])
    ids = node.stub.ExecuteBatch(pb.ExecuteBatchRequest(tasks=[one("a"), one("b")]), timeout=60).task_ids
    assert [json.loads(node.wait(i)[1]) for i in ids] == [{"a": "A"}, {"b": "B"}]
    ids = node.stub.ExecuteBatch(pb.ExecuteBatchRequest(tasks=[one("a")], array_count=5), timeout=60).task_ids
    assert [json.loads(node.wait(i)[1]) for i in ids] == [{"a": "A"}] * 5
    refused(lambda: node.stub.ExecuteBatch(pb.ExecuteBatchRequest(tasks=[one("a"), one("none")]), timeout=60),
            grpc.StatusCode.NOT_FOUND, "task 2 of the batch", "none")
    wait_for_sets(node, 0)


# --- over the life of a task ---


def test_over_kill_retries_and_detach(make_node, pb):
    """A task has its inputs in each attempt, however the node went, and they go with it."""
    node = make_node(max_concurrent_tasks=2).start()
    put(node, pb, "a", b"A")
    source = LOOK + "\nprint('up', flush=True)\nif os.environ.get('N') == '1': import time; time.sleep(1000)"
    tried = node.submit(source, inputs=[pb.TaskInput(name="a")], env={"N": "1"}, retries=5)
    node.wait_for_output(tried, b"up")
    waiting = node.submit(LOOK, inputs=[pb.TaskInput(name="a")], delay_ms=3000)
    files(node).DeleteFile(pb.FileRequest(filename="a"), timeout=30)
    node.kill()
    (node.storage / "storage" / "inputs" / "00000000000000ff").mkdir()
    os.chown(node.storage / "storage" / "inputs" / "00000000000000ff", *[(node.storage / "storage").stat().st_uid] * 2)
    node.start()
    node.wait_for_output(tried, b"up\nup\n")
    node.detach()
    node.start()
    wait_for_sets(node, 2)  # what nobody knew of has gone
    assert json.loads(node.wait(waiting)[1]) == {"a": "A"}
    node.stop_task(tried)
    wait_for_sets(node, 0)


def test_the_same_task_again(node, pb):
    """An id that is handed in again with the same inputs is the same task; a retry has the files as they are by then."""
    put(node, pb, "again", b"A")
    request = dict(task_id="inputs-again", inputs=[pb.TaskInput(name="again")])
    node.submit("import sys; sys.exit(open('/inputs/again').read() == 'A')", **request)
    node.submit("import sys; sys.exit(open('/inputs/again').read() == 'A')", **request)
    assert node.wait("inputs-again")[0].reason == pb.Task.EXIT_CODE
    refused(lambda: node.submit("import sys; sys.exit(open('/inputs/again').read() == 'A')", task_id="inputs-again"),
            grpc.StatusCode.ALREADY_EXISTS)
    put(node, pb, "again", b"B")
    new = node.stub.RetryTask(pb.RetryTaskRequest(task_id="inputs-again"), timeout=30).task_id
    assert node.wait(new)[0].state == pb.Task.COMPLETED
    files(node).DeleteFile(pb.FileRequest(filename="again"), timeout=30)
    refused(lambda: node.stub.RetryTask(pb.RetryTaskRequest(task_id="inputs-again"), timeout=30), grpc.StatusCode.NOT_FOUND)
    wait_for_sets(node, 0)


# --- what is refused ---


@pytest.mark.parametrize("inputs, code", [
    ([dict(name="missing")], "NOT_FOUND"),
    ([dict(file_id="0" * 32)], "NOT_FOUND"),
    ([dict()], "INVALID_ARGUMENT"),
    ([dict(name="there", file_id="0" * 32)], "INVALID_ARGUMENT"),
    ([dict(name="there", path="../x")], "INVALID_ARGUMENT"),
    ([dict(name="there", path="/x")], "INVALID_ARGUMENT"),
    ([dict(name="there", path="a//b")], "INVALID_ARGUMENT"),
    ([dict(name="there", path="a\nb")], "INVALID_ARGUMENT"),
    ([dict(name="there", path="x" * 2000)], "INVALID_ARGUMENT"),
    ([dict(name="there"), dict(name="there")], "INVALID_ARGUMENT"),
    ([dict(name="there", path="a"), dict(name="there", path="a/b")], "INVALID_ARGUMENT"),
    ([dict(name="there", path="a/b"), dict(name="there", path="a")], "INVALID_ARGUMENT"),
    ([dict(name="there", path=str(i)) for i in range(257)], "INVALID_ARGUMENT"),
    ([dict(name="others")], "NOT_FOUND"),
])
def test_what_cannot_be(node, pb, inputs, code):
    put(node, pb, "there", b"x")
    push(node, pb, "others", b"x", user="somebody")
    refused(lambda: node.submit("result = 1", inputs=[pb.TaskInput(**i) for i in inputs]), grpc.StatusCode[code])
    wait_for_sets(node, 0)


def test_by_hand(node, pb, tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    done = node.run_cli("storage", "put", str(tmp_path / "table.csv"))
    assert done.returncode == 0, done
    (file_id,) = [f.file_id for f in files(node).ListFiles(pb.ListFilesRequest(), timeout=30).files if f.filename == "table.csv"]
    for option in "table.csv", f"@{file_id}", "table.csv=x/y.csv":
        path = option.partition("=")[2] or "table.csv"
        done = node.run_cli("run", "--input", option, "--", "cat", f"/inputs/{path}")
        assert done.returncode == 0 and done.stdout == b"a,b\n1,2\n", done
    task_id = node.run_cli("submit", "--type", "shell", "--input", "table.csv=x", "-", input="true").stdout.decode().strip()
    node.wait(task_id)
    shown = node.run_cli("show", task_id).stdout.decode().splitlines()
    assert ["inputs", "table.csv", "as", "x", f"({file_id})"] in [line.split() for line in shown], shown
    shown = json.loads(node.run_cli("show", "--json", task_id).stdout)
    assert shown["asked"]["inputs"] == [{"file_id": file_id, "name": "table.csv", "path": "x"}]
    done = node.run_cli("run", "--input", "missing", "--", "true")
    assert done.returncode and b"missing" in done.stderr, done
    assert node.run_cli("run", "--input", "a=", "--", "true").returncode == 2
