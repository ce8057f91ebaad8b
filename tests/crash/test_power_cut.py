#!/usr/bin/env python3
"""Power cuts. A recorder below `mds` (power/recorder.c) logs what archives are made of while clients change one over IMAP; then the power fails at
random moments of that log (power_lib.py says what a disk may keep), `mds serve` starts on what is left, and everything that had been answered
must be there, byte for byte, and `mds verify --items` must find nothing.

Then the test is tested: without any one kind of sync, and without the syncs of any one place in the code, something must be missing.

MDS_POWER_CUTS=200 for the long run; MDS_POWER_IGNORE=TEXT only shows what happens without the syncs whose kind has that text.
"""
import bisect
import os
import random
import shutil
import sys
import time

import live_lib
from live_lib import Broken, Client
from mdslab import Lab
from power_lib import Disk, records
from power_places_lib import Places, Recorded, assert_complete

CUTS = int(os.environ.get("MDS_POWER_CUTS", "12"))
SEED = int(os.environ.get("SEED", "1"))
SECONDS = float(os.environ.get("MDS_POWER_SECONDS", "2"))
CLIENTS = 4


def record(lab, log):
    """The clients, and the log's length when the archive and its user had been made."""
    def clock():
        return os.stat(log).st_size

    root = os.path.dirname(lab.store)
    with Recorded(root, log):
        lab.mds("archive", "add", "--store", lab.store, "mail")
        made = clock()
        lab.add_user("mail", "ann", "secret")
        ready = clock()
        server = lab.serve()
    with server:
        clients = [Client(f"c{k}", SEED, clock) for k in range(CLIENTS)]
        for client in clients:
            client.begin(server, "ann", "secret")
        for client in clients:
            client.start()
        time.sleep(SECONDS)
        for client in clients:
            client.stopping.set()
        for client in clients:
            client.join(60)
            if client.failure:
                raise client.failure
    return clients, made, ready


class Cut:
    """One power cut and what is found after it."""

    def __init__(self, lab, clients, made, ready):
        self.lab, self.clients, self.made, self.ready = lab, clients, made, ready
        self.places = Places()

    def look(self, tree, at):
        """Raises Broken."""
        store, self.lab.store = self.lab.store, os.path.join(tree, "store")
        try:
            if at < self.ready:
                self.look_at_beginnings(at)
            else:
                self.look_at_mail(at)
        finally:
            self.lab.store = store

    def look_at_beginnings(self, at):
        done = self.lab.mds("archive", "list", "--store", self.lab.store, check=False)
        there = done.returncode == 0 and b"mail" in done.stdout
        if at >= self.made and not there:
            raise Broken(f"the archive is not there: {done.stderr.decode(errors='replace')}")
        if not there:
            done = self.lab.mds("archive", "add", "--store", self.lab.store, "mail", check=False)
            if done.returncode != 0:
                raise Broken(f"the archive cannot be made again: {done.stderr.decode(errors='replace')}")

    def look_at_mail(self, at):
        try:
            with self.lab.serve() as server, server.login("ann", "secret") as imap:
                for client in self.clients:
                    live_lib.check(client.name, client.ops, at, client.look(imap))
        except AssertionError as why:
            raise Broken(str(why)) from why
        done = self.lab.mds("verify", "--store", self.lab.store, "--archive", "mail", "--items", "--progress", "none", check=False)
        if done.returncode != 0:
            raise Broken("mds verify: " + (done.stdout + done.stderr).decode(errors="replace")[-1000:])


def moments(log, clients, made, ready, rng, cuts, missing=()):
    """Positions in the log: half of them right after an answer, early answers more often; a few before there was anything. Where syncs are missing, half
    of the answers are the first ones after one of those: what another sync makes good soon is lost only there."""
    ends = [entry[0] for entry in records(log)]
    answers = sorted(op.done for client in clients for op in client.ops if op.done)
    next_to = sorted({answers[k] for k in (bisect.bisect_right(answers, at) for at in missing) if k < len(answers)})
    chosen = [rng.choice([e for e in ends if e < ready]) for _ in range(max(cuts // 8, 1))] + [made]
    while len(chosen) < cuts:
        if next_to and rng.random() < 0.25:
            chosen.append(next_to[int(len(next_to) * rng.random() ** 2)])
        elif rng.random() < 0.5:
            chosen.append(answers[int(len(answers) * rng.random() ** 2)])
        else:
            chosen.append(rng.choice([e for e in ends if e >= ready]))
    return sorted(chosen)


def cut_power(lab, log, cut, positions, rng, ignored=lambda kind, place: False):
    """Cuts at each position; returns the disk as it ended. Raises Broken, with the position in its text."""
    disk = Disk(os.path.dirname(lab.store), cut.places, ignored)
    entries = records(log)
    entry = next(entries)
    tree = lab.path("tree")
    for at in positions:
        while entry and entry[0] <= at:
            disk.play(entry)
            entry = next(entries, None)
        shutil.rmtree(tree, ignore_errors=True)
        disk.write_tree(tree, rng)
        try:
            cut.look(tree, at)
        except Broken as why:
            raise Broken(f"cut at {at}: {why}") from why
    for rest in ([entry] if entry else []):
        disk.play(rest)
    for rest in entries:
        disk.play(rest)
    return disk


def fails_without(lab, log, cut, args, rng, ignored, missing=()):
    """How the first loss looks, or None."""
    for _ in range(4):
        try:
            cut_power(lab, log, cut, moments(log, *args, rng, max(CUTS, 24), missing), rng, ignored)
        except Broken as why:
            return str(why)
    return None


def main():
    print(f"SEED={SEED} cuts={CUTS}")
    rng = random.Random(SEED)
    with Lab() as lab:
        os.mkdir(lab.path("disk"))
        lab.store = lab.path("disk", "store")
        log = lab.path("log")
        clients, made, ready = record(lab, log)
        done = sum(op.done is not None for client in clients for op in client.ops)
        print(f"{done} operations answered, {os.stat(log).st_size} bytes of log")
        assert done > 50, "too little was done"
        assert_complete(os.path.dirname(lab.store), log, lab.path("whole"))
        args = (clients, made, ready)
        cut = Cut(lab, *args)

        only = os.environ.get("MDS_POWER_IGNORE")
        if only:
            print(fails_without(lab, log, cut, args, rng, lambda kind, place: only in kind) or f"nothing is lost without syncs of {only}")
            return
        disk = cut_power(lab, log, cut, moments(log, *args, rng, CUTS), rng)
        print(f"{CUTS} power cuts, nothing that was answered is lost")

        # What the content index syncs is derived from the rest: nobody was promised it.
        promised = [(kind, place) for _, kind, place in disk.syncs if "/text" not in kind]
        kinds = sorted({kind for kind, _ in promised})
        places = sorted({place for _, place in promised if place})
        missed = []
        for name, ignored in [(kind, lambda k, p, kind=kind: k == kind) for kind in kinds] + \
                             [(place, lambda k, p, place=place: p == place) for place in places]:
            missing = [at for at, *what in disk.syncs if ignored(*what)]
            why = fails_without(lab, log, cut, args, rng, ignored, missing)
            print(f"without syncs of {name}: {why.splitlines()[0][:150] if why else 'NOTHING IS LOST'}")
            if not why:
                missed.append(name)
        assert not missed, f"syncs that nothing would miss: {missed}"
    print("ok")


if __name__ == "__main__":
    main()
