#!/usr/bin/env python3
"""SIGKILL at 50 random moments between a build's first commit and its end; then the store must be that of a build nobody disturbed.

Checks: equal dumps, a sound store, and that no more is parsed again than batches in flight hold.
The same for an incremental build (additions, removals, flags, moves between folders).
"""
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

from mdslab import Lab, bin_dir

ITEMS = int(os.environ.get("MDS_KILL_ITEMS", "12000"))
KILLS = int(os.environ.get("MDS_KILLS", "50"))
SEED = int(os.environ.get("SEED", "1"))
BATCH = 250
IN_FLIGHT = (8 + 12 * 2) * 64  # what the pipeline holds ahead of the writer: slots of 2 workers, INGEST_BATCH_ITEMS each
RATE = ITEMS / 6  # so slow that there is something to kill


def helper():
    """crash_build stands beside the tests, not beside the installed programs."""
    for place in (os.environ.get("MDS_TEST_BIN_DIR"), bin_dir(), os.getcwd(), os.path.join(os.getcwd(), "../bin"),
                  os.path.join(os.getcwd(), "bin")):
        if place and os.path.exists(os.path.join(place, "crash_build")):
            return os.path.join(place, "crash_build")
    return None


def count(path):
    with open(path, "rb") as f:
        return struct.unpack("=Q", f.read(8))[0]


def messages(lab, store):
    done = subprocess.run([os.path.join(bin_dir(), "mds"), "stat", "--store", store, "--archive", "mail", "--json"],
                          capture_output=True)
    return json.loads(done.stdout)["messages"] if done.returncode == 0 else 0


def verify(store):
    done = subprocess.run([os.path.join(bin_dir(), "mds"), "verify", "--store", store, "--archive", "mail", "--progress", "none"],
                          capture_output=True)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def dump(store):
    return subprocess.run([os.path.join(bin_dir(), "mds"), "dump", "--store", store, "--archive", "mail"],
                          capture_output=True, check=True).stdout


def commits(store):
    """A number that changes with each commit: the newer of LMDB's two meta pages' transaction ids."""
    path = os.path.join(store, "archives")
    for root, _, names in os.walk(path):
        if "data.mdb" in names:
            with open(os.path.join(root, "data.mdb"), "rb") as f:
                page = f.read(8192)  # page header 16 bytes, then MDB_meta with mm_txnid at 128
            if len(page) < 8192:
                return 0
            return max(struct.unpack_from("=Q", page, at + 16 + 128)[0] for at in (0, 4096))
    return 0


def run_killed(program, rng):
    """Starts a build, kills it some time after its first own commit; True if it was killed, False if it ended by itself."""
    store = program.store
    before = commits(store)
    build = subprocess.Popen(program.args, stderr=subprocess.PIPE)
    while build.poll() is None and commits(store) == before:
        time.sleep(0.002)
    time.sleep(rng.random() ** 2 * 0.25)
    if build.poll() is None:
        build.send_signal(signal.SIGKILL)
    err = build.stderr.read().decode()
    build.stderr.close()
    if build.wait() == -signal.SIGKILL:
        return True
    assert build.returncode == 0, f"status {build.returncode}: {err}"
    return False


class Program:
    def __init__(self, store, source, counter, rate):
        self.store = store
        self.args = [helper(), store, "mail", source, "2", str(BATCH), str(rate), counter]


def mutate(vault, rng):
    """A tenth less a bit removed, some moved, some with other flags, some new: names say which folder they were in."""
    folders = sorted(root for root, dirs, _ in os.walk(vault) if "cur" in dirs)
    files = sorted(os.path.join(f, "cur", n) for f in folders for n in os.listdir(os.path.join(f, "cur")))
    rng.shuffle(files)
    removed, moved, flagged = files[:len(files) // 20], files[len(files) // 20:len(files) // 15], files[len(files) // 15:len(files) // 10]
    for f in removed:
        os.unlink(f)
    for f in moved:
        target = os.path.join(rng.choice(folders), "cur", os.path.basename(f))
        if not os.path.exists(target):
            os.rename(f, target)
    for f in flagged:
        base = os.path.basename(f).split(":")[0]
        os.rename(f, os.path.join(os.path.dirname(f), base + ":2," + rng.choice(("", "S", "FS", "RS", "FRS"))))
    for i in range(len(files) // 20):
        with open(os.path.join(rng.choice(folders), "cur", f"{1900000000 + i}.kill{i}:2,"), "w") as f:
            f.write(f"From: a@example.org\nSubject: new {i}\nMessage-ID: <new{i}@kill>\n\n{rng.random()}\n")


def killed_build(lab, rng, source, store, kills, start=None):
    """Rounds of killed builds until `kills` hit; each round ends with an undisturbed run and a comparison by the caller's dump."""
    hits, rounds, spent = 0, 0, []
    while hits < kills:
        assert rounds < kills, "builds end before they can be killed"
        work = f"{store}.{rounds}"
        counter = f"{work}.count"
        if start:
            shutil.copytree(start, work)
        program = Program(work, source, counter, RATE)
        here = 0
        while hits < kills and run_killed(program, rng):
            hits += 1
            here += 1
        program.args[6] = "0"
        assert subprocess.run(program.args).returncode == 0
        spent.append((work, here, count(counter)))
        rounds += 1
    return spent


def main():
    if not helper():
        print("crash_build is not built")
        sys.exit(77)
    print(f"SEED={SEED} items={ITEMS} kills={KILLS}")
    rng = random.Random(SEED)
    with Lab() as lab:
        lab.generate(messages=ITEMS, folders=6)
        source = f"maildir++:{lab.vault}"
        calm = Program(lab.path("calm"), source, lab.path("calm.count"), 0)
        assert subprocess.run(calm.args).returncode == 0
        items = count(lab.path("calm.count"))
        want = dump(calm.store)
        total_kills = 0
        for work, kills, parsed in killed_build(lab, rng, source, lab.path("killed"), KILLS):
            total_kills += kills
            print(f"{os.path.basename(work)}: {kills} kills, {parsed} parsed of {items}")
            assert dump(work) == want, "a killed and resumed build differs from an undisturbed one"
            assert parsed <= items + kills * (BATCH + IN_FLIGHT), "too much was parsed again"
            verify(work)
            shutil.rmtree(work)
        assert total_kills >= KILLS
        assert want.count(b"\n") > ITEMS, "the dump is not about these messages"

        start = lab.path("start")
        shutil.copytree(calm.store, start)
        time.sleep(1.1)
        mutate(lab.vault, rng)
        assert subprocess.run(calm.args).returncode == 0
        want = dump(calm.store)
        for work, kills, parsed in killed_build(lab, rng, source, lab.path("again"), max(KILLS // 5, 1), start):
            print(f"{os.path.basename(work)}: incremental, {kills} kills, {parsed} parsed")
            assert dump(work) == want, "a killed incremental build differs from an undisturbed one"
            verify(work)
    print("ok")


main()
