# SPDX-License-Identifier: Apache-2.0
"""Files that tasks leave: `outputs` of ExecuteTask, and --output."""
import json

import grpc
import pytest

from harness import processes
from test_files import fetch, files, refused

WRITE = """
import os
for path, text in %r.items():
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
result = 42
"""
FOR_EVER = "open('a.txt', 'w').write('so far')\nprint('up', flush=True)\nimport time\nwhile True: time.sleep(1000)"


@pytest.fixture(params=["root", "user"])
def fresh(request, make_node):
    """A node of its own, as root and as an ordinary user."""
    user = request.getfixturevalue("ordinary_user" if request.param == "user" else "root")
    return make_node(user=user, max_concurrent_tasks=4).start()


def writing(**paths):
    return WRITE % {path.replace("__", "/").replace("_", "."): text for path, text in paths.items()}


def kept(node, pb, prefix):
    """All files below this name: their names without it, and what is in them."""
    found = files(node).ListFiles(pb.ListFilesRequest(prefix=prefix, page_size=1000)).files
    return {f.filename[len(prefix):]: fetch(node, pb, user="", file_id=f.file_id)[1].decode() for f in found}


def ends(node, source, state="COMPLETED", **fields):
    task = node.wait(node.submit(source, **fields))[0]
    assert type(task).State.Name(task.state) == state, (task.message, task.error)
    return task


# --- what is kept ---


def test_what_the_patterns_are_for(fresh, pb):
    source = writing(a_csv="1", out__b_png="2", out__deep__c_png="3", out__d_txt="4", e_txt="5")
    task = ends(fresh, source, outputs=["*.csv", "out/*.png", "none*"])
    assert kept(fresh, pb, f"{task.task_id}/") == {"a.csv": "1", "out/b.png": "2"}
    assert (task.usage.outputs, task.usage.output_bytes) == (2, 2)
    assert task.message == "completed"
    whole = ends(fresh, source, outputs=["out"])
    assert kept(fresh, pb, f"{whole.task_id}/") == {"out/b.png": "2", "out/deep/c.png": "3", "out/d.txt": "4"}
    every = ends(fresh, source, outputs=["**/*.txt"])
    assert kept(fresh, pb, f"{every.task_id}/") == {"out/d.txt": "4", "e.txt": "5"}
    shell = ends(fresh, "echo hello > x; chmod 000 x; mkdir -p d/e; echo deep > d/e/y; chmod 000 d", task_type="shell",
                 outputs=["x", "d"])
    assert kept(fresh, pb, f"{shell.task_id}/") == {"x": "hello\n", "d/e/y": "deep\n"}


def test_it_is_told_what_it_was_given(fresh, pb):
    task = ends(fresh, writing(a_txt="1"), outputs=["a.txt", "b*"])
    assert list(fresh.get(task.task_id).outputs) == ["a.txt", "b*"]
    assert list(fresh.get(ends(fresh, "pass").task_id).outputs) == []


@pytest.mark.parametrize("source, state", [
    ("raise SystemExit(3)", "FAILED"),
    ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "FAILED"),
    ("import os; os.fork() and os._exit(0); import time; time.sleep(1000)", "COMPLETED"),
])
def test_however_it_ends(fresh, pb, source, state):
    task = ends(fresh, writing(a_txt="whole") + source, state, outputs=["a.txt"])
    assert kept(fresh, pb, f"{task.task_id}/") == {"a.txt": "whole"}
    assert task.usage.outputs == 1


def test_one_that_is_stopped_or_takes_too_long(fresh, pb):
    stopped = fresh.submit(FOR_EVER, outputs=["*"])
    fresh.wait_for_output(stopped, b"up")
    fresh.stop_task(stopped)
    task = fresh.wait(stopped)[0]
    assert task.reason == pb.Task.STOPPED_BY_USER
    late = ends(fresh, FOR_EVER, "FAILED", outputs=["*"], timeout_ms=1500)
    assert late.reason == pb.Task.TIMEOUT_WALL
    for task_id in (stopped, late.task_id):
        assert kept(fresh, pb, f"{task_id}/") == {"a.txt": "so far"}


def test_no_file_at_all(fresh, pb):
    task = ends(fresh, "pass", outputs=["*.csv"])
    assert task.message == "completed; no file is one of its outputs"
    assert task.usage.outputs == 0


def test_the_next_attempt_takes_its_place(fresh, pb):
    source = """
import time
open("when", "w").write(str(time.time()))
raise SystemExit(1)
"""
    task = ends(fresh, source, "FAILED", outputs=["when"], retries=1, retry_delay_ms=10)
    found = files(fresh).ListFiles(pb.ListFilesRequest(prefix=f"{task.task_id}/", page_size=1000)).files
    assert [(f.filename, f.version) for f in found] == [(f"{task.task_id}/when", 2)]


def test_a_large_one_and_many(fresh, pb):
    source = """
import os
with open("large", "wb") as f:
    for i in range(48):
        f.write(bytes([i]) * (1 << 20))
os.mkdir("many")
for i in range(300):
    open(f"many/{i}", "w").write(str(i))
"""
    task = ends(fresh, source, outputs=["large", "many/*"])
    found = {f.filename: f.size for f in files(fresh).ListFiles(pb.ListFilesRequest(prefix=f"{task.task_id}/", page_size=1000)).files}
    assert len(found) == 301 and found[f"{task.task_id}/large"] == 48 << 20
    assert task.usage.outputs == 301
    large = fetch(fresh, pb, user="", filename=f"{task.task_id}/large")[1]
    assert large == b"".join(bytes([i]) * (1 << 20) for i in range(48))


# --- hostile ones ---


def test_links_lead_nowhere(fresh, pb):
    source = """
import os
open("real", "w").write("real")
os.symlink("/etc/passwd", "passwd")
os.symlink("/", "root")
os.symlink("real", "link")
os.symlink("..", "up")
os.link("real", "hard")
os.mkfifo("fifo")
import socket
socket.socket(socket.AF_UNIX).bind("socket")
"""
    task = ends(fresh, source, outputs=["**"])
    assert kept(fresh, pb, f"{task.task_id}/") == {"real": "real", "hard": "real"}


def test_its_own_workspace_gone(fresh, pb):
    for source in ("import os, shutil; os.chdir('/'); os.chmod('/workspace', 0)",
                   "import os; os.mkdir('x'); os.chdir('x'); os.rmdir('/workspace/x')",
                   "import os; os.rename('/workspace', '/tmp/w')"):
        task = fresh.wait(fresh.submit(source, outputs=["**"]))[0]
        assert task.usage.outputs == 0 and "no file is one of its outputs" in task.message


def test_names_that_cannot_be(fresh, pb):
    source = "for name in (b'ok', b'a\\nb', b'\\xff', b'\\x1b[31m'):\n    open(name, 'w').write('x')"
    task = ends(fresh, source, "FAILED", outputs=["*"])
    assert task.reason == pb.Task.STORAGE_ERROR
    assert "3 of its outputs could not be kept" in task.message
    assert kept(fresh, pb, f"{task.task_id}/") == {"ok": "x"}


def test_deep_folders(fresh, pb):
    source = """
import os
for i in range(200):
    os.mkdir("d")
    os.chdir("d")
open("bottom", "w").write("x")
"""
    task = ends(fresh, source, "FAILED", outputs=["**"])
    assert task.reason == pb.Task.STORAGE_ERROR


def test_more_than_the_quota(make_node, pb):
    node = make_node(max_concurrent_tasks=2, max_storage_per_owner="1M").start()
    source = "open('a', 'w').write('x' * 500000)\nopen('b', 'w').truncate(1 << 30)\nresult = 7"
    task, result = node.wait(node.submit(source, outputs=["*"]))
    assert task.reason == pb.Task.STORAGE_ERROR, task.message
    assert task.message.startswith("ended well; its output b could not be kept: ")
    assert result == b"7"
    assert list(kept(node, pb, f"{task.task_id}/")) == ["a"]
    assert ends(node, "pass", outputs=["*"])


def test_refused(fresh, pb):
    for patterns, words in [(["/etc/passwd"], "begins with a slash"), (["../x"], "is . or .."), ([""], "is empty"),
                            (["a"] * 65, "at most 64"), (["a", "b["], "pattern 2"), (["x" * 1025], "1024 bytes")]:
        refused(lambda: fresh.stub.ExecuteTask(
            pb.ExecuteTaskRequest(task_type="python", task_data=b"pass", outputs=patterns)), grpc.StatusCode.INVALID_ARGUMENT, words)


# --- over trouble ---


def test_over_a_detach(fresh, pb):
    task_id = fresh.submit(FOR_EVER.replace("while True: time.sleep(1000)", "time.sleep(3)"), outputs=["*.txt"])
    fresh.wait_for_output(task_id, b"up")
    fresh.detach()
    fresh.start()
    task = fresh.wait(task_id)[0]
    assert (task.state, task.attempt) == (pb.Task.COMPLETED, 1), task.message
    assert kept(fresh, pb, f"{task_id}/") == {"a.txt": "so far"}


def test_ended_while_nobody_was_there(fresh, pb):
    task_id = fresh.submit(FOR_EVER.replace("while True: time.sleep(1000)", "time.sleep(1)"), outputs=["*.txt"])
    fresh.wait_for_output(task_id, b"up")
    pid = fresh.get(task_id).pid
    fresh.detach()
    assert processes.wait_for_exit(pid, 60)
    fresh.start()
    task = fresh.wait(task_id)[0]
    assert (task.state, task.attempt) == (pb.Task.COMPLETED, 1), task.message
    assert kept(fresh, pb, f"{task_id}/") == {"a.txt": "so far"}


def test_killed_meanwhile(fresh, pb):
    """Killed again and again while files are being kept: in the end all are there, or the task says that it was lost."""
    source = "for i in range(400):\n    open(f'{i}', 'w').write('x' * 20000)\nprint('up', flush=True)"
    task_id = fresh.submit(source, outputs=["*"], retries=10, retry_delay_ms=1)
    for _ in range(3):
        fresh.wait_for_output(task_id, b"up")
        fresh.kill()
        fresh.start()
    task = fresh.wait(task_id)[0]
    assert task.state == pb.Task.COMPLETED, task.message
    assert len(kept(fresh, pb, f"{task_id}/")) == 400


def test_from_the_command_line(fresh, tmp_path):
    script = tmp_path / "write.py"
    script.write_text(writing(a_csv="1,2", out__b_png="png"))
    ran = fresh.run_cli("run", "--output", "*.csv", "--output", "out", str(script))
    assert ran.returncode == 0, ran.stderr
    listed = [json.loads(line) for line in fresh.run_cli("storage", "ls", "--json").stdout.splitlines()]
    names = [f["filename"] for f in listed]
    assert sorted(n.split("/", 1)[1] for n in names) == ["a.csv", "out/b.png"]
    shown = fresh.run_cli("show", names[0].split("/")[0]).stdout
    assert b"outputs" in shown and b"*.csv" in shown and b"2 files" in shown


def test_fetched_all_at_once(fresh, tmp_path):
    task = ends(fresh, writing(a_csv="1,2", out__b_png="png"), outputs=["**"])
    got = fresh.run_cli("storage", "get", f"{task.task_id}/", str(tmp_path / "all"))
    assert got.returncode == 0, got.stderr
    assert b"2 files" in got.stderr
    assert (tmp_path / "all" / "out" / "b.png").read_text() == "png"
    assert (tmp_path / "all" / "a.csv").read_text() == "1,2"
    missing = fresh.run_cli("storage", "get", "nothing/", str(tmp_path / "none"))
    assert missing.returncode == 123 and not (tmp_path / "none").exists()
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "out").symlink_to(tmp_path)
    through = fresh.run_cli("storage", "get", f"{task.task_id}/", str(tmp_path / "link"))
    assert through.returncode == 2 and not (tmp_path / "b.png").exists()


def test_how_large_the_workspace_was(fresh):
    """Also what was gone again before the end, if it was there for long enough to be seen."""
    source = "open('a', 'wb').write(bytes(8 << 20))\nimport time, os\ntime.sleep(1.5)\nos.truncate('a', 1 << 20)"
    task = ends(fresh, source)
    assert 8 << 20 <= task.usage.workspace_bytes < 9 << 20
    assert ends(fresh, "pass").usage.workspace_bytes < 1 << 20
