#!/usr/bin/env python3
"""Instructions a message of building, fetching and searching, counted by callgrind: they do not depend on the machine's speed or load.

    test_instructions.py             fails where a count is more than the tolerance above benchmarks/instructions.json
    test_instructions.py --update    writes what it counts there

"build" is the process that plans and writes; its parse workers are ended by a signal, before their counts are written, so "parse" counts what they do.
What is counted is the difference between a large and a small run, so that what a program does once drops out. Counts are those of one compiler
and of one version of each library: the file says which, and elsewhere this is skipped (77)."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

BIN = os.environ.get("MDS_BIN_DIR", "build/release/bin")
SOURCE = os.environ.get("MDS_SOURCE_DIR", os.path.join(os.path.dirname(__file__), "..", ".."))
KEPT = os.path.join(SOURCE, "benchmarks", "instructions.json")
GEN, MDS, PARSE = (os.path.join(BIN, name) for name in ("mds-gen", "mds", "mds-parse-bench"))
SMALL, LARGE = 200, 800
SKIPPED = 77


def skip(why):
    print("skipped:", why)
    sys.exit(SKIPPED)


def made_by(program):
    """The compiler that a program names in its .comment, and the libraries whose instructions are counted with ours."""
    dump = subprocess.run(["objdump", "-s", "-j", ".comment", program], capture_output=True, text=True, check=True).stdout
    compiler = re.search(r"GCC: \([^)]*\) \d+(?:\.\d+)*|clang version \d+(?:\.\d+)*", "".join(line[-16:] if len(line) > 40 else "" for line in dump.splitlines()))
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    names = sorted(set(re.findall(r"lib(?:gmime|glib|lmdb|zstd|c|xxhash)[-\w.]*\.so[.\d]*", linked)))
    sanitized = "asan" in linked
    return {"compiler": compiler.group(0) if compiler else "unknown", "machine": os.uname().machine, "libraries": names}, sanitized


def count(*args):
    """Instructions of a program and of the processes that it forks."""
    run = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *args], stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True)
    collected = [int(n) for n in re.findall(r"Collected : (\d+)", run.stderr)]
    if run.returncode != 0 or not collected:
        sys.exit(f"{args} ended with status {run.returncode}:\n{run.stderr}")
    return sum(collected)


def per_message(command):
    return round((command(LARGE) - command(SMALL)) / (LARGE - SMALL))


def measure(temp):
    def path(name):
        return os.path.join(temp, name)

    def build(n):
        store = path(f"store{n}")
        return count(MDS, "build", "--store", store, "--archive", "a", "--from", f"mbox:{path(str(n))}/INBOX", "--progress", "none", "--jobs", "1")

    def fetch(*items):
        return lambda n: count(MDS, "fetch", "--store", path(f"store{LARGE}"), "--archive", "a", "INBOX", f"1:{n}", *items)

    def search(*keys):
        return lambda n: count(MDS, "search", "--store", path(f"store{LARGE}"), "--archive", "a", "INBOX", "UID", f"1:{n}", *keys)

    for n in (SMALL, LARGE):
        subprocess.run([GEN, "--out", path(str(n)), "-n", str(n), "-k", "mbox", "-q"], check=True)
        subprocess.run([GEN, "--out", path(f"eml{n}"), "-n", str(n), "-k", "eml", "-q"], check=True)
    return {
        "parse": per_message(lambda n: count(PARSE, "--once", path(f"eml{n}"))),
        "build": per_message(build),
        "fetch flags": per_message(fetch("UID", "FLAGS")),
        "fetch envelope": per_message(fetch("UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE")),
        "fetch bodystructure": per_message(fetch("UID", "BODYSTRUCTURE")),
        "fetch header fields": per_message(fetch("UID", "BODY.PEEK[HEADER.FIELDS (From To Subject Date Message-ID)]")),
        "fetch whole": per_message(fetch("UID", "BODY.PEEK[]")),
        "search body, not indexed": per_message(search("BODY", "zzqqxxjjkkvv")),
    }


def main():
    if not all(shutil.which(name) for name in ("valgrind", "objdump", "ldd")):
        skip("valgrind, objdump or ldd is not installed")
    made, sanitized = made_by(MDS)
    if sanitized:
        skip(f"{MDS} is not a release build")
    update = "--update" in sys.argv[1:]
    kept = {"tolerance": 0.10, "counts": {}}
    if os.path.exists(KEPT):
        with open(KEPT, encoding="utf-8") as f:
            kept = json.load(f)
    if not update and made != kept.get("made"):
        skip(f"counts are kept for {kept.get('made')}, this is {made}")
    with tempfile.TemporaryDirectory(prefix="mds-instructions-") as temp:
        counts = measure(temp)
    grown = []
    for name, n in counts.items():
        before = kept["counts"].get(name)
        change = n / before - 1 if before else 0
        print(f"{name:28} {n:10} instructions a message" + (f", kept {before} ({change:+.1%})" if before else ""))
        if not before or change > kept["tolerance"]:
            grown.append(name)
        elif change < -kept["tolerance"]:
            print("    less than kept: --update keeps it so")
    if update:
        with open(KEPT, "w", encoding="utf-8") as f:
            json.dump({"made": made, "tolerance": kept["tolerance"], "counts": counts}, f, indent=1)
            f.write("\n")
        return 0
    if grown:
        print(f"more instructions than kept and {kept['tolerance']:.0%}: {', '.join(grown)}. If that is worth it: {sys.argv[0]} --update")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
