# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/tasks.md: each is run, in order, and prints what the document says."""
import os
import pathlib
import re
import subprocess
import sys

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "tasks.md"


def examples():
    """(line, language, source, expected output or None)"""
    blocks = [(m.group(1), m.group(2), DOCUMENT.read_text()[:m.start()].count("\n") + 1)
              for m in re.finditer(r"^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S)]
    for i, (language, source, line) in enumerate(blocks):
        if language in ("sh", "python"):
            shown = blocks[i + 1] if i + 1 < len(blocks) and blocks[i + 1][0] == "text" else None
            yield line, language, source, shown and shown[1]


def matches(shown, printed):
    """`...` stands for anything, alone on its line for any lines."""
    pattern = re.escape(shown.strip("\n")).replace(re.escape("..."), "(?s:.*)")
    return re.fullmatch(pattern, printed.strip("\n"))


def test_the_examples(make_node, tmp_path):
    node = make_node().start()
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "hivemind").symlink_to(node.programs.cli)
    environment = {**node.environment(), "PATH": f"{tools}:{os.environ['PATH']}", "HIVEMIND_SERVER": node.address,
                   "PYTHONPATH": str(node.stubs.folder)}
    count = 0
    for line, language, source, shown in examples():
        if language == "sh":
            command = ["sh", "-e", "-c", source]
        else:
            command = [sys.executable, "-c", f"SERVER = {node.address!r}\n{source}"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        said = f"docs/tasks.md, line {line}:\n{source}\nprinted:\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, said
        assert shown is None or matches(shown, done.stdout), said
        count += 1
    assert count > 10
    node.stop()
