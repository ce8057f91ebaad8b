#!/usr/bin/env python3
"""The manual page and the bash completion know every command and option that the program knows, and no other."""
import os
import re
import subprocess
import sys

from mdslab import bin_dir, source_dir

MDS = os.path.join(bin_dir(), "mds")


def long_options(text):
    return set(re.findall(r"--([a-z][a-z-]+)", text)) - {"version"}


def complete(*words):
    script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mds; printf "%s\\n" "${COMPREPLY[@]}"'
    out = subprocess.run(["bash", "-c", script, "bash", os.path.join(source_dir(), "scripts/completion/mds"), *words],
                         capture_output=True, text=True, check=True)
    return set(out.stdout.split())


def section(manual, command):
    found = re.search(rf"^\.Ss mds {command}\b.*?(?=^\.S[sh] )", manual, re.M | re.S)
    assert found, f"mds(1) has no section of {command}"
    return long_options(found.group(0).replace("Fl Fl ", "--"))


def main():
    with open(os.path.join(source_dir(), "docs/mds.1"), encoding="utf-8") as f:
        manual = f.read()
    top = subprocess.run([MDS, "--help"], capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^  ([a-z]+) {2,}\S", top, re.M)
    assert len(commands) >= 11, top
    assert complete("mds", "") == set(commands) | {"--help", "--version"}, complete("mds", "")
    common = {"store", "archive", "help"}
    for command in commands:
        done = subprocess.run([MDS, command, "--help"], capture_output=True, text=True)
        assert done.returncode == 0, (command, done)
        # Examples in a help text use options of their own command only, so the whole text counts.
        known = long_options(done.stdout)
        described = section(manual, command)
        assert described <= known, f"mds(1) describes {described - known} of {command}, which it does not know"
        assert known - common <= described, f"mds(1) lacks {known - common - described} of {command}"
        completed = {word[2:] for word in complete("mds", command, "--")}
        assert completed == known, f"completion of {command}: {completed ^ known}"
    print(f"{len(commands)} commands agree")


if __name__ == "__main__":
    sys.exit(main())
