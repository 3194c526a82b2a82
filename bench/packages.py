# SPDX-License-Identifier: Apache-2.0
"""Packages: what it takes to unpack one, and to have what it requires."""
import base64
import io
import os
import tarfile
import tempfile
import zipfile

from measure import bench, median, seconds_of, time_each
from harness.archives import zipped
from harness.index import Index

FILES, FILE_BYTES = 10_000, 10_000
PROGRAM = b"""
import sys
result = 42
if sys.argv[1:]:
    import os
    result = sum(len(names) for _, _, names in os.walk(sys.argv[1]))
"""


def contents():
    """100 MB in 10,000 files, 100 to a folder, which pack to three quarters: neither text nor noise."""
    for i in range(FILES):
        yield f"data/{i // 100:02}/{i:05}.txt", base64.b64encode(os.urandom(FILE_BYTES))[:FILE_BYTES]


def write_packages(folder):
    """{name: path} of one package as a zip and as a tar.gz."""
    paths = {"zip": folder / "package.zip", "tar.gz": folder / "package.tar.gz"}
    with zipfile.ZipFile(paths["zip"], "w", zipfile.ZIP_DEFLATED) as z, tarfile.open(paths["tar.gz"], "w:gz", compresslevel=6) as t:
        for name, data in [("main.py", PROGRAM), *contents()]:
            z.writestr(name, data)
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_700_000_000
            t.addfile(info, io.BytesIO(data))
    return paths


def unpacked_by(archive, *command):
    """Seconds of a program that unpacks it into memory, where a workspace is, too."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="hivemind-bench-") as folder:
        return seconds_of(*command, archive, "-d" if command[0] == "unzip" else "-C", folder)


def run_of(node, package, want=42, **fields):
    """Seconds from when its process was let go to its end, as the node has measured; from ExecuteTask to the answer of WaitTask."""
    ended = []
    whole, = time_each(1, lambda: ended.append(node.run(package, task_type="package", **fields)))
    task, result = ended[0]
    assert result == str(want).encode(), (task.message, task.error, node.output(task.task_id))
    return task.usage.wall_us / 1e6, whole / 1000


@bench
def package(c):
    """
    A package of 100 MB in 10,000 files, all of which come. What unpacking takes is the time of its run less that of one with nothing but the program;
    beside it unzip and tar, into memory as well, and bsdtar, which has the same library.
    """
    paths = write_packages(c.folder)
    peers = {"zip": (("unzip", ("unzip", "-q")), ("bsdtar", ("bsdtar", "-x", "-f"))),
             "tar.gz": (("tar", ("tar", "-x", "-f")), ("bsdtar", ("bsdtar", "-x", "-f")))}
    node = c.node(max_concurrent_tasks=1).start()
    for kind, path in paths.items():
        data, ours, whole, theirs = path.read_bytes(), [], [], {}
        run_of(node, data, FILES, args=["data"])
        for _ in range(c.runs):
            small, small_whole = run_of(node, zipped({"main.py": PROGRAM}))
            run, all_of_it = run_of(node, data)
            ours.append(run - small)
            whole.append(all_of_it - small_whole)
            for name, command in peers[kind]:
                theirs.setdefault(name, []).append(unpacked_by(path, *command))
        for name, seconds in theirs.items():
            c.report.add(f"a {kind} of 100 MB in 10,000 files, unpacked", ours, "s", "ratio at most 1.5", name, seconds)
        c.report.add(f"that {kind}, from ExecuteTask to WaitTask", whole, "s")
    node.stop()


@bench
def environment(c):
    """A package that requires what was installed before, one after the other; beside it one that requires nothing, and pip itself."""
    with Index() as index:
        index.add("low", "1.0", "n = 7")
        index.add("high", "2.0", "import low\nn = low.n + 1", requires=["low>=1"])
        requires = zipped({"main.py": "import high\nresult = high.n + 34", "requirements.txt": "high\n"})
        plain = zipped({"main.py": "result = 42"})
        there, nothing, first, pip = [], [], [], []
        for i in range(c.runs):
            node = c.node(package_index=index.url).start()
            run_of(node, plain)
            first.append(run_of(node, requires)[1] * 1000)
            fetched = len(index.asked)
            pip.append(1000 * seconds_of("/usr/bin/python3", "-I", "-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check",
                                         "--root-user-action=ignore", "--only-binary=:all:", "--index-url", index.url, "--target", c.folder / f"installed{i}", "high"))
            asked_by_pip = len(index.asked) - fetched
            for package_of, times in ((requires, there), (plain, nothing)):
                times.append(median(run_of(node, package_of)[1] * 1000 for _ in range(100)))
            assert len(index.asked) == fetched + asked_by_pip, "it was installed once more"
            node.stop()
    c.report.add("a package, its environment there: p50", there, "ms", "", "that requires nothing", nothing)
    c.report.add("a package, its environment to be installed", first, "ms", "", "pip install", pip)
