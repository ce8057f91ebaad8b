#!/usr/bin/env python3
"""A disk that fills up during a build: a clear message, status 3, nothing that was committed is lost, and the next run ends the work.

Needs a small tmpfs, hence root; skipped otherwise.
"""
import os
import subprocess
import sys

from mdslab import Lab, bin_dir, skip

ITEMS = 6000


def mounted(path, megabytes):
    os.makedirs(path, exist_ok=True)
    return subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", path], capture_output=True).returncode == 0


def mds(*args):
    return subprocess.run([os.path.join(bin_dir(), "mds"), *args], capture_output=True)


def build(store, source):
    return mds("build", "--store", store, "--archive", "mail", "--from", source, "--progress", "none", "--batch", "500")


def main():
    if os.geteuid() != 0:
        skip("only root can mount a small tmpfs")
    with Lab() as lab:
        lab.generate(messages=ITEMS)
        source = f"maildir++:{lab.vault}"
        small = lab.path("small")
        if not mounted(small, 6):
            skip("mounting a tmpfs is not allowed here")
        try:
            store = os.path.join(small, "store")
            full = build(store, source)
            assert full.returncode == 3, (full.returncode, full.stdout, full.stderr)
            text = full.stderr.decode().lower()
            assert "no space" in text or "full" in text, text
            checked = mds("verify", "--store", store, "--archive", "mail", "--progress", "none")
            assert checked.returncode == 0, checked.stdout + checked.stderr
            some = mds("dump", "--store", store, "--archive", "mail").stdout
            uids = {line.split(b" modseq=")[0] for line in some.splitlines() if line.startswith(b"message ")}
            again = build(store, source)
            assert again.returncode == 3, "still full"

            subprocess.run(["mount", "-o", "remount,size=200m", small], check=True)
            done = build(store, source)
            assert done.returncode == 0, done.stderr
            assert mds("verify", "--store", store, "--archive", "mail", "--progress", "none").returncode == 0
            whole = mds("dump", "--store", store, "--archive", "mail").stdout
            assert whole.count(b"\nmessage ") == ITEMS
            later = {line.split(b" modseq=")[0] for line in whole.splitlines() if line.startswith(b"message ")}
            assert uids <= later, "a message that was committed has changed"
            assert uids, "nothing was committed before the disk was full: the test proves nothing"
            lab.build("mail", source)
            assert lab.dump("mail") == whole, "differs from a store that always had room"
        finally:
            subprocess.run(["umount", "-l", small], capture_output=True)
    print("ok")


main()
