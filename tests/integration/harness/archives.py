# SPDX-License-Identifier: Apache-2.0
"""Archives of files that are there in memory alone: {path: what is in it}."""
import io
import tarfile
import zipfile


def zipped(files, **infos):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in files.items():
            z.writestr(infos.get(name, name), data)
    return out.getvalue()


def tarred(files, how="gz"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{how}") as t:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data.encode() if isinstance(data, str) else data))
    return out.getvalue()
