#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a C file out of ui/dist: each file as it is and compressed, under a name that changes with its content.

usage: embed.py DIST OUTPUT
"""
import gzip
import hashlib
import pathlib
import sys

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8"}


def array(name, data):
    rows = [",".join(str(b) for b in data[i:i + 32]) for i in range(0, len(data), 32)]
    return f"static const unsigned char {name}[] = {{\n" + ",\n".join(rows) + "};\n"


def main():
    dist, output = pathlib.Path(sys.argv[1]), sys.argv[2]
    read = {path.name: path.read_bytes() for path in sorted(dist.iterdir()) if path.suffix in TYPES}
    names = {name: f"{pathlib.Path(name).stem}-{hashlib.sha256(data).hexdigest()[:12]}{pathlib.Path(name).suffix}"
             for name, data in read.items() if name in ("app.js", "style.css")}
    read["index.html"] = read["index.html"].replace(b"SCRIPT", names["app.js"].encode()).replace(b"STYLE", names["style.css"].encode())
    text, rows = '#include "web/pages.h"\n', []
    for i, (name, data) in enumerate(read.items()):
        packed = gzip.compress(data, 9, mtime=0)
        text += array(f"plain_{i}", data) + array(f"packed_{i}", packed)
        rows.append(f'    {{"{names.get(name, name)}", "{TYPES[pathlib.Path(name).suffix]}", plain_{i}, {len(data)}, packed_{i}, {len(packed)}, '
                    f'{"true" if name in names else "false"}}},\n')
    text += "const struct page_file page_files[] = {\n" + "".join(rows) + "};\nconst size_t n_page_files = sizeof page_files / sizeof page_files[0];\n"
    pathlib.Path(output).write_text(text)


main()
