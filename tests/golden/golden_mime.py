#!/usr/bin/env python3
"""Every fixture gives the summary that a person read and agreed to (rewrite_mime.py writes them anew).

A fixture in defects/ must show the defect that it is named after.
"""
import difflib
import os
import sys

import mime_lib


def main():
    if not os.path.exists(mime_lib.DUMP):
        print(f"golden_mime: {mime_lib.DUMP} is not built: skipped")
        return 77
    wrong = seen = 0
    for path in mime_lib.fixtures():
        seen += 1
        got = mime_lib.summary(path)
        with open(path[:-4] + ".txt", encoding="ascii") as f:
            want = f.read()
        name = os.path.basename(path)[:-4]
        defects = [line for line in got.split("\n") if line.startswith("defects:")][0].split()[1:]
        if os.path.basename(os.path.dirname(path)) == "defects" and name not in defects:
            print(f"golden_mime: {name}: the defect is not seen, but {defects}")
            wrong += 1
        if got != want:
            wrong += 1
            sys.stdout.writelines(difflib.unified_diff(want.splitlines(True), got.splitlines(True), f"{name}.txt", "now"))
    print(f"golden_mime: {seen} fixtures, {wrong} wrong")
    return 1 if wrong or seen < 30 else 0


if __name__ == "__main__":
    sys.exit(main())
