# SPDX-License-Identifier: Apache-2.0
"""Tasks that are packages: a zip or a packed tar with a program in it."""
import json
import stat
import zipfile

import pytest

from harness.archives import tarred, zipped
from test_outputs import kept


@pytest.fixture(params=["root", "user"])
def fresh(request, make_node):
    """A node of its own, as root and as an ordinary user."""
    user = request.getfixturevalue("ordinary_user" if request.param == "user" else "root")
    return make_node(user=user, max_concurrent_tasks=4).start()


def run(node, package, **fields):
    return node.run(package, task_type="package", **fields)


def value(node, files, **fields):
    task, result = run(node, zipped(files), **fields)
    assert result, (task.message, task.error, node.output(task.task_id))
    return json.loads(result)


def refused(node, pb, package, *words):
    task, _ = run(node, package)
    assert task.reason == pb.Task.BAD_INPUT, (task.message, task.error)
    for word in words:
        assert word in task.message, task.message


WHERE = """
import os, sys
result = [__file__, os.getcwd(), sys.argv, os.environ["PYTHONPATH"], os.environ["PYTHONUNBUFFERED"], sorted(os.listdir("."))]
"""


@pytest.mark.parametrize("fresh_interpreter", [False, True])
def test_where_it_runs(fresh, fresh_interpreter):
    got = value(fresh, {"main.py": WHERE, "data/x": "1"}, args=["a", "b c"], fresh_interpreter=fresh_interpreter)
    assert got == ["/workspace/main.py", "/workspace", ["/workspace/main.py", "a", "b c"], "/workspace", "1", ["data", "main.py"]]
    inner = value(fresh, {"top/main.py": WHERE, "top/x": "1"}, fresh_interpreter=fresh_interpreter)
    assert inner[:2] == ["/workspace/top/main.py", "/workspace/top"] and inner[3] == "/workspace/top"


def test_its_own_modules_and_data(fresh):
    files = {"main.py": "import helper\nfrom sub import part\nresult = helper.f() + part.n + int(open('n').read())",
             "helper.py": "def f(): return 1", "sub/__init__.py": "", "sub/part.py": "n = 10", "n": "100"}
    for package in (zipped(files), tarred(files), tarred(files, "")):
        task, result = run(fresh, package)
        assert result == b"111", (task.message, task.error)


@pytest.mark.parametrize("names, first", [
    (["main.py", "run.py", "a.py"], "main.py"), (["task_script.py", "app.py"], "task_script.py"), (["run.py", "app.py"], "run.py"),
    (["app.py", "script.py"], "app.py"), (["script.py", "a.py"], "script.py"), (["b.py", "a.py"], "a.py")])
def test_which_file_is_run(node, names, first):
    assert value(node, {name: f"result = {name!r}" for name in names}) == first


def test_a_script_goes_first(fresh):
    files = {"run_task.sh": "echo $0 $1; cat data; exit 3", "main.py": "print('no')", "data": "x"}
    task, _ = run(fresh, zipped(files), args=["one"])
    assert task.exit_code == 3
    assert fresh.output(task.task_id) == b"./run_task.sh one\nx"


def test_tracebacks_show_its_files(fresh):
    task, _ = run(fresh, zipped({"main.py": "import helper\nhelper.f()", "helper.py": "def f():\n    raise ValueError('no')"}))
    assert 'File "/workspace/main.py", line 2' in task.error
    assert 'File "/workspace/helper.py", line 2, in f\n    raise ValueError' in task.error


def test_what_it_leaves(fresh, pb):
    task, _ = run(fresh, zipped({"main.py": "open('out.txt', 'w').write('made')", "in.txt": "brought"}), outputs=["*.txt"])
    assert kept(fresh, pb, f"{task.task_id}/") == {"out.txt": "made", "in.txt": "brought"}


def test_wheels_that_it_brings(fresh):
    wheel = zipped({"brought/__init__.py": "n = 7", "brought-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: brought\nVersion: 1.0\n",
                    "brought-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
                    "brought-1.0.dist-info/RECORD": ""})
    files = {"main.py": "import brought, subprocess, sys\n"
                        "result = [brought.n, subprocess.run([sys.executable, '-c', 'import brought; print(brought.n)'],"
                        " capture_output=True, text=True).stdout]",
             "requirements.txt": "# of ours\nbrought==1.0\n", "wheels/brought-1.0-py3-none-any.whl": wheel}
    assert value(fresh, files) == [7, "7\n"]
    files["requirements.txt"] = "absent\n"
    task, _ = run(fresh, zipped(files))
    assert "could not be installed from its wheels/" in task.message
    assert b"absent" in fresh.output(task.task_id)


def test_requirements_of_which_there_is_nothing(fresh, pb):
    assert value(fresh, {"main.py": "result = 1", "requirements.txt": "# none\n\n"}) == 1
    refused(fresh, pb, zipped({"main.py": "result = 1", "requirements.txt": "numpy\n"}), "requirements.txt", "wheels/")


def test_hostile_ones(fresh, pb):
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    for package, words in [
            (b"no package at all", "no zip"), (zipped({"a.txt": "x"}), "main.py"),
            (zipped({"main.py": "1", "../up": "x"}), '"../up"'), (zipped({"main.py": "1", "/etc/x": "x"}), "is absolute"),
            (zipped({"main.py": "1", "link": "/etc/passwd"}, link=link), "leads out"),
            (zipped({"main.py": "1"})[:-1], "without its end"), (zipped({"main.py": "1", "Main.py": "2"}), "upper and lower case"),
            (zipped({"main.py": "1", "zeros": bytes(80 << 20)}), "no honest package")]:
        refused(fresh, pb, package, words)
    assert value(fresh, {"main.py": "result = 1"}) == 1


def test_more_than_its_workspace(node, pb):
    task, _ = run(node, zipped({"main.py": "1", "large": bytes(range(256)) * (1 << 14)}), limits=pb.Limits(workspace_bytes=1 << 20))
    assert task.reason == pb.Task.BAD_INPUT and "does not fit into the workspace" in task.message


def test_over_kill_and_detach(fresh, pb):
    files = {"main.py": "print('up', flush=True)\nimport time; time.sleep(2)\nresult = open('n').read()", "n": "5"}
    task_id = fresh.submit(zipped(files), task_type="package", retries=1)
    fresh.wait_for_output(task_id, b"up")
    fresh.detach()
    fresh.start()
    task, result = fresh.wait(task_id)
    assert (result, task.attempt) == (b'"5"', 1), task.message
    task_id = fresh.submit(zipped(files), task_type="package", retries=1)
    fresh.wait_for_output(task_id, b"up")
    fresh.kill()
    fresh.start()
    task, result = fresh.wait(task_id)
    assert (result, task.attempt) == (b'"5"', 2), task.message


# --- from the command line ---


def test_a_folder(fresh, tmp_path):
    folder = tmp_path / "project"
    (folder / "part").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "secret").write_text("x")
    (folder / "main.py").write_text("import os, sys\nfrom part.one import n\nprint(sys.argv[1:], os.path.exists('.git'))\nresult = n")
    (folder / "part" / "one.py").write_text("n = 5")
    ran = fresh.run_cli("run", str(folder), "--", "a", "b")
    assert (ran.returncode, ran.stdout) == (0, b"['a', 'b'] False\n5\n"), ran.stderr
    assert b"packed 2 files" in ran.stderr and b"runs main.py" in ran.stderr
    first = json.loads(fresh.run_cli("submit", "--json", "--cache", "use", str(folder)).stdout)
    fresh.wait(first["task_id"])
    assert json.loads(fresh.run_cli("submit", "--json", "--cache", "use", str(folder)).stdout)["task_id"] == first["task_id"]


def test_archives(node, tmp_path):
    for name, data in [("p.zip", zipped({"main.py": "result = 1"})), ("p.tar.gz", tarred({"main.py": "result = 1"})),
                       ("p", tarred({"main.py": "result = 1"}, ""))]:
        (tmp_path / name).write_bytes(data)
        ran = node.run_cli("run", str(tmp_path / name))
        assert (ran.returncode, ran.stdout) == (0, b"1\n"), ran.stderr
    with open(tmp_path / "p.zip", "rb") as file:
        assert node.run_cli("run", "-", input=file.read()).stdout == b"1\n"


def test_folders_that_cannot_be(node, tmp_path):
    (tmp_path / "readme").write_text("x")
    ran = node.run_cli("run", str(tmp_path))
    assert ran.returncode == 2 and b"main.py" in ran.stderr, ran.stderr
    (tmp_path / "main.py").write_text("1")
    (tmp_path / "up").symlink_to("/etc")
    ran = node.run_cli("run", str(tmp_path))
    assert ran.returncode == 2 and b"up" in ran.stderr, ran.stderr
    assert node.run_cli("run", str(tmp_path / "nothing")).returncode == 2


def test_an_operator_can_look_into_it(make_node, pb):
    node = make_node(max_concurrent_tasks=2).start()
    task_id = node.submit(zipped({"main.py": "print('up', flush=True)\nimport time; time.sleep(1000)", "n": "5"}), task_type="package")
    node.wait_for_output(task_id, b"up")
    pid = node.get(task_id).pid
    with open(f"/proc/{pid}/root/workspace/n") as file:
        assert file.read() == "5"
    assert f"/proc/{pid}/root/workspace" in node.run_cli("show", task_id).stdout.decode()
    node.stop_task(task_id)
    assert node.get(task_id).pid == 0


def test_all_that_is_left_in_one_archive(fresh, tmp_path):
    files = {"main.py": "import os\nprint('said')\nos.mkdir('out')\nopen('out/a', 'w').write('made')\nresult = 1", "in": "brought"}
    task, _ = run(fresh, zipped(files), outputs=["out", "in"])
    target = tmp_path / "result.zip"
    done = fresh.run_cli("result", "--archive", str(target), task.task_id)
    assert done.returncode == 0 and b"2 files" in done.stderr, done.stderr
    with zipfile.ZipFile(target) as z:
        assert z.testzip() is None
        assert sorted(z.namelist()) == ["execution_log.txt", "in", "out/a", "task_logs.txt"]
        assert (z.read("out/a"), z.read("in"), z.read("task_logs.txt")) == (b"made", b"brought", b"said\n")
        story = dict(line.split(": ", 1) for line in z.read("execution_log.txt").decode().splitlines())
    assert (story["task_id"], story["status"], story["exit_code"], story["outputs"]) == (task.task_id, "COMPLETED", "0", "2")


def test_the_archive_of_one_that_was_stopped(node, tmp_path):
    task_id = node.submit("print('up', flush=True)\nimport time; time.sleep(1000)")
    node.wait_for_output(task_id, b"up")
    node.stop_task(task_id)
    done = node.run_cli("result", "--archive", str(tmp_path / "r.zip"), task_id)
    assert (tmp_path / "r.zip").exists() and done.returncode != 0, done.stderr
    with zipfile.ZipFile(tmp_path / "r.zip") as z:
        assert sorted(z.namelist()) == ["execution_log.txt", "task_logs.txt", "task_stopped.txt"]
    assert node.run_cli("result", "--archive", str(tmp_path / "no" / "r.zip"), task_id).returncode == 2
    assert not list(tmp_path.glob("*.part*"))
