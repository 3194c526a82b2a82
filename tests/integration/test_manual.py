# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/tasks.md, docs/functions.md, docs/files.md, docs/packages.md, docs/access.md and the README: each is run, in order, and prints what the document says."""
import dataclasses

import pytest

from harness.examples import Example, Reader, examples, matches
from harness.stubs import ROOT

MANUAL, FUNCTIONS, README = ROOT / "docs" / "tasks.md", ROOT / "docs" / "functions.md", ROOT / "README.md"
FILES, PACKAGES, ACCESS = ROOT / "docs" / "files.md", ROOT / "docs" / "packages.md", ROOT / "docs" / "access.md"


def test_the_manual(make_node, tmp_path):
    node = make_node().start()
    (tmp_path / "proto").symlink_to(ROOT / "proto")
    found = examples(MANUAL)
    assert len(found) > 10 and {e.language for e in found} == {"sh", "python"}
    Reader(MANUAL, node, tmp_path, PYTHONPATH="client").follow(found)
    node.stop()


def test_the_page_about_functions(make_node, stubs, tmp_path):
    """Its first example is the file that the node is started with."""
    found = examples(FUNCTIONS)
    file = tmp_path / "functions.py"
    file.write_text(found[0].source)
    node = make_node(functions=file).start()
    assert [e.language for e in found] == ["python", "sh", "python", "sh"]
    Reader(FUNCTIONS, node, tmp_path, PYTHONPATH=str(stubs.folder)).follow(found[1:])
    node.stop()


def test_the_page_about_files(make_node, stubs, tmp_path):
    node = make_node().start()
    found = [dataclasses.replace(e, source=e.source.replace("127.0.0.1:50053", node.address)) for e in examples(FILES)]
    assert {e.language for e in found} == {"sh", "python"}
    Reader(FILES, node, tmp_path, PYTHONPATH=str(stubs.folder)).follow(found)
    node.stop()


def test_the_page_about_packages(make_node, tmp_path):
    node = make_node().start()
    Reader(PACKAGES, node, tmp_path).follow(examples(PACKAGES))
    node.stop()


def test_the_page_about_access(make_node, tmp_path):
    """What its first token is good for; a home folder of the reader's own, and no token in his environment."""
    node = make_node(authenticated=True).start()
    (tmp_path / "first-token").write_text(node.token + "\n")
    (tmp_path / "home").mkdir()
    found = examples(ACCESS)
    assert len(found) > 3 and {e.language for e in found} == {"sh"}
    Reader(ACCESS, node, tmp_path, HOME=str(tmp_path / "home"), HIVEMIND_TOKEN="").follow(found)
    node.stop()


def test_the_readme(make_node, stubs, tmp_path):
    """Its first task, with this node's programs, port and stubs."""
    node = make_node().start()
    found = [dataclasses.replace(e, source=e.source.replace("build/src/cli/hivemind", "hivemind")
                                 .replace("localhost:50053", node.address))
             for e in examples(README) if e.section == "The first task" and "apt-get" not in e.source]
    assert [e.language for e in found] == ["sh", "python", "python"]
    found[1].shown, found[2].shown = "Task submitted: True", "5 b'42'"
    Reader(README, node, tmp_path, PYTHONPATH=str(stubs.folder)).follow(found)
    node.stop()


def test_each_reason_is_explained(pb):
    table = MANUAL.read_text()
    missing = [name for name in pb.Task.Reason.keys() if f"`{name.lower()}`" not in table]
    assert not missing


# --- that the above can fail ---


def test_what_stands_for_anything():
    assert matches("a\n...\nb\n", "a\nx\ny\nb\n") and matches("a ... b", "a 1 2 b")
    assert not matches("a\n", "a\nb\n") and not matches("a.c", "abc")


def test_a_wrong_document_is_noticed(node, tmp_path):
    def example(language, source, shown=None):
        return Example("section", 1, language, source, shown)

    reader = Reader(MANUAL, node, tmp_path)
    reader.follow([example("sh", "hivemind run -- echo 1", "1\n"), example("python", "x = 1"),
                   example("python", "print(x)", "1\n")])
    for wrong in ([example("sh", "hivemind run -- echo 1", "2\n")], [example("sh", "false")],
                  [example("python", "print(1)", "2\n"), example("python", "print(2)", "2\n")],
                  [example("python", "x = 1 / 0"), example("python", "print(2)")]):
        with pytest.raises(AssertionError):
            reader.follow(wrong)
