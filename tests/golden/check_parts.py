#!/usr/bin/env python3
"""The bytes of each part as an independent reader finds them.

For every message the list of parts (path, header range, body range) that tests/support/mime_reader.py finds must equal that
of the part table. Reads the fixtures here and, where it is, the torture corpus.
"""
import os
import re
import subprocess
import sys
import tempfile

from mime_reader import expected, has_empty

HERE = os.path.dirname(os.path.abspath(__file__))
DUMP = os.path.join(os.environ.get("MDS_BIN_DIR", "build/dev/bin"), "stress_mime_parsers")
PART = re.compile(r"part (\d+): (\w+)(?:/(\w+))? parent=(\d+) children=(\d+) encoding=\S+ "
                  r"header=(\d+)\+(\d+)\(\d+\) body=(\d+)\+(\d+)\(")


def table(lines):
    parts = []
    for line in lines:
        m = PART.match(line)
        if m:
            kind, root_kind = m.group(2), m.group(3)
            numbers = [int(x) for x in m.groups()[3:]]
            parts.append(dict(kind=kind, root=root_kind, parent=numbers[0], start=numbers[2], body=numbers[4],
                              end=numbers[4] + numbers[5]))
    paths, counts, rows = {}, {}, []
    for i, p in enumerate(parts):
        if p["kind"] == "root":
            paths[i] = paths[p["parent"]] if i else ""
            if i and parts[p["parent"]]["kind"] == "root":
                paths[i] = (paths[p["parent"]] + "." if paths[p["parent"]] else "") + "1"
            if p["root"] != "multipart":
                rows.append(((paths[i] + "." if paths[i] else "") + "1", p["start"], p["body"], p["end"]))
        else:
            up = p["parent"]
            counts[up] = counts.get(up, 0) + 1
            paths[i] = (paths[up] + "." if paths[up] else "") + str(counts[up])
            rows.append((paths[i], p["start"], p["body"], p["end"]))
    return rows


def dump(files):
    out = subprocess.run([DUMP, "--dump", *files], stdout=subprocess.PIPE, check=True).stdout.decode("latin-1")
    for block in out.split("\n\n"):
        lines = block.split("\n")
        if lines[0].startswith("file: "):
            yield lines[0][6:], lines


def fixtures():
    for folder, _, names in sorted(os.walk(HERE)):
        for name in sorted(names):
            if name.endswith(".eml"):
                yield os.path.join(folder, name)


def corpus_files(temp):
    corpus = os.environ.get("MDS_CORPUS", os.path.join(HERE, "../../../shared/corpus"))
    archive = os.path.join(corpus, "torture.tar.zst")
    if not os.path.exists(archive):
        print("check_parts: no torture corpus: only the fixtures are read")
        return
    zstd = subprocess.Popen(["zstd", "-q", "-dc", archive], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", temp], stdin=zstd.stdout, check=True)
    for folder, _, names in sorted(os.walk(temp)):
        yield from (os.path.join(folder, name) for name in sorted(names))


def main():
    if not os.path.exists(DUMP):
        print(f"check_parts: {DUMP} is not built: skipped")
        return 77
    with tempfile.TemporaryDirectory() as temp:
        files = sys.argv[1:] or list(fixtures()) + list(corpus_files(temp))
        checked = parts = skipped = wrong = 0
        for i in range(0, len(files), 200):
            for name, lines in dump(files[i:i + 200]):
                with open(name, "rb") as f:
                    data = f.read()
                want, root = expected(data)
                # A multipart without any part gets one from us that no reader finds.
                if has_empty(root):
                    skipped += 1
                    continue
                got = table(lines)
                checked += 1
                parts += len(want)
                if got != want:
                    wrong += 1
                    print(f"check_parts: {name}:")
                    for a, b in zip(want + [None] * len(got), got + [None] * len(want)):
                        if a != b:
                            print(f"    expected {a}, table has {b}")
                            break
    print(f"check_parts: {checked} messages, {parts} parts, {wrong} differ, {skipped} with an empty multipart left out")
    return 1 if wrong or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
