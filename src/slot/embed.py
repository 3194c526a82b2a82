# SPDX-License-Identifier: Apache-2.0
"""Turns a file into a C array: embed.py INPUT OUTPUT NAME. Lines that are only a comment are left out."""
import sys

source, target, name = sys.argv[1:]
with open(source, "rb") as f:
    data = b"".join(line for line in f if not line.lstrip().startswith(b"#"))
compile(data, source, "exec")  # a syntax error stops the build, not the first task
values = ",".join(str(b) for b in data + b"\0")
with open(target, "w") as f:
    f.write(f"/* Made from {source.rsplit('/', 1)[-1]}. */\nstatic const char {name}[] = {{{values}}};\n")
