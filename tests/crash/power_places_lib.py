"""Recording programs (power/recorder.c), and where in the code their syncs stand.

A place is a chain of source lines: the line that calls fsync and, as long as that is in a function whose purpose is a sync (WRAPPERS), the line that
calls it. So `dir_sync` has as many places as callers. What is not ours (LMDB) has one, its object's name.
"""
import os
import re
import shutil
import subprocess

from mdslab import bin_dir, skip, source_dir
from power_lib import Disk, records

SYSTEM = ("fsync", "fdatasync", "syncfs", "sync_file_range", "msync", "sync")
WRAPPERS = ("dir_sync", "dir_parent_sync", "env_dirs_sync", "archive_sync_dir", "sync_parent", "sync_all", "segment_writer_sync", "indexer_own_sync")
ROOMS = ("base", "vault", "mime", "ingest", "mds", "filing", "indexer", "query", "imap", "cli")


def program(name):
    for place in (os.environ.get("MDS_TEST_BIN_DIR"), bin_dir(), os.path.join(os.getcwd(), "bin"), os.path.join(os.getcwd(), "../bin")):
        path = os.path.join(place, name) if place else ""
        if os.path.exists(path):
            return os.path.abspath(path)
    return skip(f"{name} is not built")


class Recorded:
    """In its block every program that is started is recorded."""

    def __init__(self, root, log):
        options = os.environ.get("ASAN_OPTIONS", "")
        self.more = {"LD_PRELOAD": program("libpower_recorder.so"), "MDS_POWER_ROOT": root, "MDS_POWER_LOG": log,
                     "ASAN_OPTIONS": options + (":" if options else "") + "verify_asan_link_order=0"}

    def __enter__(self):
        self.before = {name: os.environ.get(name) for name in self.more}
        os.environ.update(self.more)

    def __exit__(self, *_):
        for name, value in self.before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def is_volatile(name):
    """Files that hold nothing: locks, and what LMDB keeps in its reader table."""
    return name.endswith("lock") or name.endswith("lock.mdb") or ".lock" in name


def assert_complete(root, log, scratch):
    """All of the log must give the tree that is there, else the recorder missed something."""
    disk = Disk(root)
    for entry in records(log):
        disk.play(entry)
    disk.write_tree(scratch, None)

    def files(top):
        return {os.path.relpath(os.path.join(folder, name), top) for folder, _, names in os.walk(top) for name in names if not is_volatile(name)}

    assert files(root) == files(scratch), f"the log gives other files: {files(root) ^ files(scratch)}"
    for name in files(root):
        with open(os.path.join(root, name), "rb") as a, open(os.path.join(scratch, name), "rb") as b:
            assert a.read() == b.read(), f"{name}: the log gives other bytes"
    assert len(files(root)) >= 2
    shutil.rmtree(scratch)


def in_source(path):
    """The file as it is called here: objects of a shared compiler cache name another checkout's."""
    parts = os.path.normpath(path).split("/")
    tails = ["/".join(parts[k:]) for k in range(len(parts))]
    return next((tail for tail in tails if tail and tail[0] != "/" and os.path.exists(os.path.join(source_dir(), tail))), path)


class Places:
    """Callable: the callers of a sync as the recorder wrote them -> its place, "file:line < file:line ...". """

    def __init__(self):
        self.frames = {}  # "object+offset" -> [(function, file:line), ...], what was inlined first
        self.known = {}

    def __call__(self, callers):
        if callers not in self.known:
            for at in callers.split():
                if at not in self.frames:
                    self.frames[at] = self.look_up(at)
            self.known[callers] = self.chain([frame for at in callers.split() for frame in self.frames[at]])
        return self.known[callers]

    @staticmethod
    def look_up(at):
        path, _, offset = at.rpartition("+")
        if path == "/proc/self/exe":  # as a server starts its process that indexes
            path = program("mds")
        name = os.path.basename(path).split(".")[0]
        if name in ("libasan", "libubsan"):
            return []  # stand between caller and C library
        if name.startswith("lib"):
            return [("", name)]
        # The call ends before the address to which it returns.
        done = subprocess.run(["addr2line", "-i", "-f", "-e", path, hex(int(offset, 16) - 1)], capture_output=True, text=True, check=True)
        lines = done.stdout.splitlines()
        found = []
        for function, where in zip(lines[::2], lines[1::2]):
            name, _, number = where.split(" ")[0].rpartition(":")
            found.append((function, f"{in_source(name)}:{number}"))
        return found

    @staticmethod
    def chain(frames):
        found = []
        for function, where in frames:
            if where.startswith("tests/"):
                break
            found.append(where)
            if function not in WRAPPERS:
                break
        return " < ".join(found)


def places_in_source():
    """Lines of the rooms that call a sync, or a function whose purpose is one."""
    call = re.compile(r"\b(" + "|".join(SYSTEM + WRAPPERS) + r")\(")
    found = set()
    for room in ROOMS:
        for folder, _, names in os.walk(os.path.join(source_dir(), room)):
            for name in names:
                if not name.endswith(".c"):
                    continue
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as f:
                    for number, line in enumerate(f, 1):
                        if line[:1].isspace() and call.search(line.split("/*")[0]) and not line.strip().startswith("*"):
                            found.add(f"{os.path.relpath(path, source_dir())}:{number}")
    return found
