# SPDX-License-Identifier: Apache-2.0
"""The examples of a document: what is in its fences, run as a reader would, and held against what it shows."""
import dataclasses
import os
import re
import subprocess
import sys

SECONDS = 120
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
END_OF_EXAMPLE = "\x1e"


@dataclasses.dataclass
class Example:
    section: str
    line: int
    language: str
    source: str
    shown: str | None  # what it prints, as the document has it


def examples(path):
    """
    Those of language sh and python, in order; a block of language text behind one is what it prints. One of sh with prompts
    has both in it, and may print more at its end.
    """
    text = path.read_text()
    headings = [(m.start(), m.group(1)) for m in re.finditer(r"^#+ (.*)$", FENCE.sub(blanked, text), re.M)]
    found, previous = [], None
    for m in FENCE.finditer(text):
        language, source = m.groups()
        if language in ("sh", "python"):
            section = [title for at, title in headings if at < m.start()][-1]
            found.append(Example(section, text.count("\n", 0, m.start()) + 1, language, *without_prompts(source)))
        elif language == "text" and previous in ("sh", "python"):
            found[-1].shown = source
        previous = language
    return found


def without_prompts(source):
    """(what is typed, what is shown or None)"""
    if not source.startswith("$ "):
        return source, None
    lines = source.splitlines(keepends=True)
    return ("".join(line[2:] for line in lines if line.startswith("$ ")),
            "".join(line for line in lines if not line.startswith("$ ")) + "...")


def blanked(match):
    """A comment in an example is no heading."""
    return " " * len(match.group())


def matches(shown, printed):
    """`...` stands for anything, alone on its line for any lines."""
    pattern = re.escape(shown.strip("\n")).replace(re.escape("..."), "(?s:.*)")
    return re.fullmatch(pattern, printed.strip("\n")) is not None


class Reader:
    """Does what a document says, in a folder, with a node."""

    def __init__(self, path, node, folder, **variables):
        self.path, self.folder = path, folder
        tools = folder / "bin"
        tools.mkdir()
        (tools / "hivemind").symlink_to(node.programs.cli)
        self.environment = {**node.environment(), "PATH": f"{tools}:{os.environ['PATH']}", "HIVEMIND_SERVER": node.address,
                            **variables}

    def follow(self, found):
        """Runs all of them. Those of python that stand in one section, with nothing of sh between them, are one program."""
        while found:
            n = 1
            while found[0].language == "python" and found[n:] and (found[n].language, found[n].section) == (
                    "python", found[0].section):
                n += 1
            self._run(found[:n])
            found = found[n:]

    def _run(self, program):
        if program[0].language == "sh":
            command = ["sh", "-e", "-c", program[0].source]
        else:
            separator = f"\nprint({END_OF_EXAMPLE!r}, end='', flush=True)\n"
            command = [sys.executable, "-c", separator.join(e.source for e in program)]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=SECONDS)
        printed = done.stdout.split(END_OF_EXAMPLE)
        for example, output in zip(program, printed):
            said = (f"{self.path.name}, line {example.line} ({example.section}):\n{example.source}\n"
                    f"exit code {done.returncode}, printed:\n{output}{done.stderr}")
            assert example is not program[-1] or done.returncode == 0, said
            assert example.shown is None or matches(example.shown, output), said
        assert len(printed) == len(program), f"{self.path.name}, line {program[0].line}: {done.stdout}{done.stderr}"
