#!/usr/bin/env python3
"""Eight sessions change an archive at once; a naive model says what must be there, and everybody who follows sees the same.

The model is a set of registers: a message's flag is set or cleared by operations that have a begin and an end, and its value
must be that of an operation that no other one followed for certain. Messages are only moved and expunged by the session that
owns their UID (UID modulo the number of sessions), so which of them live is exact.

At each checkpoint these pictures of a folder must be equal, message by message: a fresh session's FETCH, each worker's own, kept
from the untagged responses alone, that of a client that slept in IDLE, of one that was told by NOTIFY, of one that comes back with
QRESYNC, and of one that asks CHANGEDSINCE.
MDS_MODEL_ROUNDS and MDS_MODEL_OPS set the length; SEED the random numbers.
"""
import os
import random
import re
import sys
import threading
import time

from mdslab import Imap, Lab

ROUNDS = int(os.environ.get("MDS_MODEL_ROUNDS", "4"))
OPS = int(os.environ.get("MDS_MODEL_OPS", "40"))
SEED = int(os.environ.get("SEED", "1"))
WORKERS = 8
FOLDERS = ("INBOX", "Deals/2026")
FLAGS = (b"\\Seen", b"\\Answered", b"\\Flagged", b"\\Draft", b"$Forwarded", b"urgent")


def numbers(text):
    """The members of an IMAP set, in its order."""
    got = []
    for part in text.decode().split(","):
        first, _, last = part.partition(":")
        got += range(int(first), int(last or first) + 1)
    return got


def flags_of(text):
    """\\Recent is a session's own and no part of the picture."""
    return frozenset(text.split()) - {b"\\Recent"}


def as_set(uids):
    return ",".join(str(u) for u in uids)


# ---- the model ----------------------------------------------------------------------------------------


class Register:
    """One flag of one message. first(): the values it may have had when the message came to be; asked when all operations are known."""

    def __init__(self, first):
        self.first = first
        self.ops = []  # (begin, end, value, sure): one that is not sure may have found no message

    def possible(self, begin=float("inf"), end=float("inf")):
        """The values that a reader between begin and end may see."""
        before = [op for op in self.ops if op[0] <= end]
        got = {v for _, e, v, _ in before if not any(sure and e < b2 and e2 < begin for b2, e2, _, sure in before)}
        if not any(sure and e < begin for _, e, _, sure in before):
            got |= self.first()
        return got


class Message:
    def __init__(self, flags):
        self.flags = flags  # name -> Register
        self.alive = True


class Model:
    """What the workers say is written down at once and understood when they have stopped: one may copy what another's APPEND is still
    being told of."""

    def __init__(self):
        self.folders = {name: {} for name in FOLDERS}
        self.born, self.stored, self.ended = [], [], []

    def add(self, folder, uid, flags):
        self.born.append((None, folder, uid, lambda _: {f: Register(lambda on=f in flags: {on}) for f in FLAGS}))

    def copy(self, source, uid, dest, new, begin, end, moved):
        self.born.append(((source, uid), dest, new, lambda old: {
            f: Register(lambda register=old.flags[f]: register.possible(begin, end)) for f in FLAGS}))
        if moved:
            self.gone(source, uid)

    def store(self, folder, uid, mode, flags, begin, end, sure):
        self.stored.append((folder, uid, mode, flags, begin, end, sure))

    def gone(self, folder, uid):
        self.ended.append((folder, uid))

    def settle(self):
        while self.born:
            waiting = []
            for origin, folder, uid, flags in self.born:
                old = self.folders[origin[0]].get(origin[1]) if origin else None
                if origin and not old:
                    waiting.append((origin, folder, uid, flags))
                    continue
                assert uid not in self.folders[folder], f"UID {uid} of {folder} was given twice"
                self.folders[folder][uid] = Message(flags(old))
            assert len(waiting) < len(self.born), f"copies of what was never there: {[w[:3] for w in waiting]}"
            self.born = waiting
        for folder, uid, mode, flags, begin, end, sure in self.stored:
            for name in FLAGS:
                if mode == "" or name in flags:
                    self.folders[folder][uid].flags[name].ops.append((begin, end, mode != "-" and name in flags, sure))
        for folder, uid in self.ended:
            self.folders[folder][uid].alive = False
        self.stored, self.ended = [], []

    def check(self, folder, picture):
        live = [u for u, m in sorted(self.folders[folder].items()) if m.alive]
        assert list(picture) == live, f"{folder}: {set(picture) ^ set(live)} should not differ"
        for uid, flags in picture.items():
            for name, register in self.folders[folder][uid].flags.items():
                assert (name in flags) in register.possible(), (folder, uid, name, flags, register.first(), register.ops)


# ---- what a client knows ---------------------------------------------------------------------------------


class Client(Imap):
    """Keeps its picture of the selected folder from untagged responses."""

    def __init__(self, address, enable=None):
        super().__init__(address)
        self.command("LOGIN ann secret")
        if enable:
            self.command(f"ENABLE {enable}")
        self.uids, self.flags, self.folder = [], {}, None  # uid None: not known yet
        self.modseq, self.uidvalidity = 0, 0
        self.vanished = []

    def select(self, folder, extra=""):
        self.folder, self.uids, self.flags = folder, [], {}
        self.hear(self.command(f'SELECT "{folder}"{extra}'))
        self.learn()

    def hear(self, responses):
        for r in responses:
            self.hear_one(r)
        return responses

    def hear_one(self, r):
        if found := re.match(rb"\* (\d+) EXISTS$", r):
            n = int(found[1])
            assert n >= len(self.uids), f"EXISTS went down to {n} from {len(self.uids)}"
            self.uids += [None] * (n - len(self.uids))
        elif found := re.match(rb"\* (\d+) EXPUNGE$", r):
            uid = self.uids.pop(int(found[1]) - 1)
            self.vanished.append(uid)
            self.flags.pop(uid, None)
        elif found := re.match(rb"\* VANISHED (\(EARLIER\) )?([\d:,]+)$", r):
            for uid in numbers(found[2]):
                if uid in self.flags or not found[1]:
                    self.forget(uid)
                    self.vanished.append(uid)
                self.flags.pop(uid, None)
        elif found := re.match(rb"\* (\d+) FETCH \((.*)\)$", r, re.S):
            self.hear_fetch(int(found[1]), found[2])
        elif found := re.search(rb"\[HIGHESTMODSEQ (\d+)\]", r):
            self.modseq = int(found[1])
        if found := re.search(rb"\[UIDVALIDITY (\d+)\]", r):
            self.uidvalidity = int(found[1])

    def forget(self, uid):
        """VANISHED may name a message of which only EXISTS was told: one without a UID that stands where it must."""
        if uid in self.uids:
            self.uids.remove(uid)
            return
        at = next((i for i, u in enumerate(self.uids) if u is not None and u > uid), len(self.uids))
        assert at > 0 and self.uids[at - 1] is None, f"VANISHED {uid}, which was never there: {self.uids}"
        del self.uids[at - 1]

    def hear_fetch(self, seq, atts):
        uid = re.search(rb"\bUID (\d+)", atts)
        flags = re.search(rb"\bFLAGS \(([^)]*)\)", atts)
        assert seq <= len(self.uids), f"FETCH {seq} of {len(self.uids)}"
        if uid:
            assert self.uids[seq - 1] in (None, int(uid[1])), f"{seq} is UID {self.uids[seq - 1]}, not {uid[1]}"
            self.uids[seq - 1] = int(uid[1])
        if flags and self.uids[seq - 1] is not None:
            self.flags[self.uids[seq - 1]] = flags_of(flags[1])

    def learn(self):
        """Asks for what is not known yet; the untagged responses alone keep it right afterwards."""
        while None in self.uids or any(u not in self.flags for u in self.uids):
            first = min(i for i, u in enumerate(self.uids) if u is None or u not in self.flags) + 1
            self.hear(self.command(f"FETCH {first}:* (UID FLAGS)", None))
            if b" OK " not in self.tagged:
                assert b"[EXPUNGEISSUED]" in self.tagged, self.tagged
                self.do("NOOP")

    def do(self, text, status=b"OK"):
        return self.hear(self.command(text, status))

    def settle(self):
        self.do("NOOP")
        self.learn()
        return self.picture()

    def picture(self):
        return {u: self.flags[u] for u in self.uids}


class Worker:
    def __init__(self, number, server, model):
        self.number, self.model = number, model
        self.rng = random.Random(f"{SEED}.{number}")
        self.enable = (None, "CONDSTORE", "QRESYNC")[number % 3]
        self.imap = Client(server.address, self.enable)
        self.imap.select(FOLDERS[number % 2])
        self.error = None
        self.counts = {}

    def mine(self):
        return [u for u in self.imap.uids if u and u % WORKERS == self.number]

    def some(self, uids, most=6):
        return sorted(self.rng.sample(uids, min(len(uids), self.rng.randint(1, most))))

    def run(self):
        try:
            for _ in range(OPS):
                name, weight = zip(*((n, w) for n, w in (("append", 4), ("store", 8), ("copy", 2), ("move", 2), ("expunge", 2), ("noop", 1),
                                                         ("reselect", 1))))
                op = self.rng.choices(name, weight)[0]
                self.counts[op] = self.counts.get(op, 0) + 1
                getattr(self, op)()
        except Exception as e:  # pylint: disable=broad-except
            self.error = e

    def append(self):
        flags = [f for f in FLAGS if self.rng.random() < 0.3]
        folder = self.rng.choice(FOLDERS)
        body = f"Subject: {self.number} {self.rng.random()}\r\nMessage-ID: <{self.rng.random()}@example.com>\r\n\r\n" + "text\r\n" * self.rng.randint(0, 400)
        n = self.rng.choice((1, 1, 1, 3))
        if n == 1:
            text = b'APPEND "%s" (%s) {%d+}\r\n%s' % (folder.encode(), b" ".join(flags), len(body), body.encode())
        else:
            text = b'APPEND "%s"' % folder.encode() + b"".join(b" (%s) {%d+}\r\n%s" % (b" ".join(flags), len(body), body.encode()) for _ in range(n))
        self.imap.do(text)
        uids = numbers(re.search(rb"\[APPENDUID \d+ ([\d:,]+)\]", self.imap.tagged)[1])
        assert len(uids) == n
        for uid in uids:
            self.model.add(folder, uid, flags)

    def store(self):
        known = [u for u in self.imap.uids if u]
        if not known:
            return
        uids = self.some(known)
        mode = self.rng.choice(("+", "-", ""))
        flags = [f for f in FLAGS if self.rng.random() < 0.4]
        silent = self.rng.choice(("", ".SILENT"))
        condition = ""
        if self.enable and self.rng.random() < 0.3:
            condition = f"(UNCHANGEDSINCE {self.imap.modseq + self.rng.randint(0, 50)}) "
        begin = time.monotonic()
        self.imap.do(f"UID STORE {as_set(uids)} {condition}{mode}FLAGS{silent} ({b' '.join(flags).decode()})", None)
        end = time.monotonic()
        status = self.imap.tagged.split(b" ")[1]
        modified = re.search(rb"\[MODIFIED ([\d:,]+)\]", self.imap.tagged)
        left = set(numbers(modified[1])) if modified else set()
        assert status == b"OK" or b"EXPUNGEISSUED" in self.imap.tagged, self.imap.tagged
        gone = set(uids) - set(u for u in self.imap.uids if u)
        for uid in set(uids) - left:
            self.model.store(self.imap.folder, uid, mode, flags, begin, end, uid not in gone)
        if silent:
            # The client knows what it did; what others did in between it was told.
            self.imap.do(f"UID FETCH {as_set(uids)} (FLAGS)", None)

    def copy(self, move=False):
        known = self.mine() if move else [u for u in self.imap.uids if u]
        if not known:
            return
        uids = self.some(known)
        dest = self.rng.choice(FOLDERS)
        begin = time.monotonic()
        responses = self.imap.do(f'UID {"MOVE" if move else "COPY"} {as_set(uids)} "{dest}"', None)
        end = time.monotonic()
        assert self.imap.tagged.split(b" ")[1] == b"OK" or b"EXPUNGEISSUED" in self.imap.tagged, self.imap.tagged
        found = [m for m in (re.search(rb"\[COPYUID \d+ ([\d:,]+) ([\d:,]+)\]", r) for r in responses + [self.imap.tagged]) if m]
        pairs = [p for m in found for p in zip(numbers(m[1]), numbers(m[2]))]
        if move:
            assert {p[0] for p in pairs} == set(uids), (uids, pairs)
        for uid, new in pairs:
            self.model.copy(self.imap.folder, uid, dest, new, begin, end, move)

    def move(self):
        self.copy(move=True)

    def expunge(self):
        uids = self.mine()
        if not uids:
            return
        uids = self.some(uids)
        for _ in range(20):  # somebody may replace the flags in between
            self.imap.do(f"UID STORE {as_set(uids)} +FLAGS.SILENT (\\Deleted)")
            self.imap.do(f"UID EXPUNGE {as_set(uids)}")
            if not set(uids) & set(self.imap.uids):
                break
        else:
            raise AssertionError(f"{uids} were expunged, but it was not told")
        for uid in uids:
            self.model.gone(self.imap.folder, uid)

    def noop(self):
        self.imap.settle()

    def reselect(self):
        self.imap.select(self.rng.choice(FOLDERS))


# ---- followers ----------------------------------------------------------------------------------------------


def fetch_all(imap):
    got = {}
    for r in imap.command("UID FETCH 1:* (FLAGS)"):
        if found := re.match(rb"\* \d+ FETCH \((.*)\)$", r, re.S):
            uid, flags = re.search(rb"\bUID (\d+)", found[1]), re.search(rb"FLAGS \(([^)]*)\)", found[1])
            if uid and flags:
                got[int(uid[1])] = flags_of(flags[1])
    return got


class Idler:
    """Sits in IDLE while the others work."""

    def __init__(self, server, folder):
        self.imap = Client(server.address)
        self.imap.select(folder)
        self.stopped = False
        self.thread = None

    def begin(self):
        self.imap.tags += 1
        self.tag = b"a%d" % self.imap.tags
        self.imap.send(self.tag + b" IDLE\r\n")
        assert self.imap.response().startswith(b"+")
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()

    def listen(self):
        while not (r := self.imap.response()).startswith(self.tag):
            self.imap.hear_one(r)
        self.tagged = r

    def end(self):
        self.imap.send(b"DONE\r\n")
        self.thread.join(30)
        assert not self.thread.is_alive() and b" OK" in self.tagged
        return self.imap.settle()


class Notified:
    """Is told by NOTIFY, without a command of its own; looks at the socket at the end."""

    def __init__(self, server, folder):
        self.imap = Client(server.address)
        self.imap.select(folder)
        self.imap.do("NOTIFY SET (SELECTED (MessageNew (UID FLAGS) MessageExpunge FlagChange))")

    def picture(self, want):
        """Until nothing more can be missing; without a command."""
        self.imap.socket.settimeout(10)
        try:
            while None in self.imap.uids or any(u not in self.imap.flags for u in self.imap.uids) or self.imap.picture() != want:
                self.imap.hear_one(self.imap.response())
        except TimeoutError:
            return {u: self.imap.flags.get(u) for u in self.imap.uids}
        return self.imap.picture()


class Returning:
    """Comes back at each checkpoint with what it knew."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        self.known, self.modseq, self.uidvalidity = {}, 0, 0

    def picture(self):
        with Client(self.server.address, "QRESYNC") as imap:
            extra = f" (QRESYNC ({self.uidvalidity} {self.modseq}))" if self.modseq else ""
            imap.folder = self.folder
            for r in imap.command(f'SELECT "{self.folder}"{extra}'):
                if found := re.match(rb"\* VANISHED \(EARLIER\) ([\d:,]+)$", r):
                    for uid in numbers(found[1]):
                        self.known.pop(uid, None)
                elif found := re.match(rb"\* \d+ FETCH \((.*)\)$", r, re.S):
                    uid, flags = re.search(rb"UID (\d+)", found[1]), re.search(rb"FLAGS \(([^)]*)\)", found[1])
                    self.known[int(uid[1])] = flags_of(flags[1])
                else:
                    imap.hear_one(r)
            if not self.modseq:
                self.known = fetch_all(imap)
            self.modseq, self.uidvalidity = imap.modseq, imap.uidvalidity
            return dict(sorted(self.known.items()))


class Asking:
    """Asks for what changed since, and for the list of UIDs."""

    def __init__(self, server, folder):
        self.server, self.folder, self.known, self.modseq = server, folder, {}, 0

    def picture(self):
        with Client(self.server.address, "CONDSTORE") as imap:
            for r in imap.command(f'SELECT "{self.folder}" (CONDSTORE)'):
                imap.hear_one(r)
            modseq = imap.modseq
            for r in imap.command(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {self.modseq})"):
                if found := re.match(rb"\* \d+ FETCH \((.*)\)$", r, re.S):
                    at = int(re.search(rb"MODSEQ \((\d+)\)", found[1])[1])
                    assert at > self.modseq, "not changed since"
                    self.known[int(re.search(rb"UID (\d+)", found[1])[1])] = flags_of(re.search(rb"FLAGS \(([^)]*)\)", found[1])[1])
            there = [r for r in imap.command("UID SEARCH ALL") if r.startswith(b"* SEARCH")]
            uids = [int(u) for u in there[0].split()[2:]]
            self.modseq = modseq
            self.known = {u: self.known[u] for u in uids}
            return dict(self.known)


def compare(name, picture, want):
    if picture == want:
        return
    missing, more = set(want) - set(picture), set(picture) - set(want)
    flags = {u: (picture[u], want[u]) for u in set(want) & set(picture) if want[u] != picture[u]}
    raise AssertionError(f"{name}: lacks {sorted(missing)[:9]}, has {sorted(more)[:9]} too many, flags {dict(list(flags.items())[:5])}")


def main():
    print(f"SEED={SEED} rounds={ROUNDS} operations={OPS} x {WORKERS}")
    with Lab() as lab:
        lab.mds("archive", "add", "--store", lab.store, "mail")
        lab.add_user("mail", "ann", "secret")
        with lab.serve() as server:
            with server.login("ann", "secret") as imap:
                imap.command(f'CREATE "{FOLDERS[1]}"')
            model = Model()
            workers = [Worker(i, server, model) for i in range(WORKERS)]
            returning, asking = [Returning(server, f) for f in FOLDERS], [Asking(server, f) for f in FOLDERS]
            idlers, notified = [Idler(server, f) for f in FOLDERS], [Notified(server, f) for f in FOLDERS]
            for number in range(ROUNDS):
                for idler in idlers:
                    idler.begin()
                threads = [threading.Thread(target=w.run) for w in workers]
                for t in threads:
                    t.start()
                for t in threads:
                    t.join()
                for w in workers:
                    if w.error:
                        raise AssertionError(f"worker {w.number} after {w.counts}") from w.error
                model.settle()
                truth = {}
                for folder in FOLDERS:
                    with Client(server.address) as fresh:
                        fresh.command(f'SELECT "{folder}"')
                        truth[folder] = fetch_all(fresh)
                    model.check(folder, truth[folder])
                for i, folder in enumerate(FOLDERS):
                    want = truth[folder]
                    compare(f"IDLE in {folder}", idlers[i].end(), want)
                    compare(f"NOTIFY in {folder}", notified[i].picture(want), want)
                    compare(f"QRESYNC in {folder}", returning[i].picture(), want)
                    compare(f"CHANGEDSINCE in {folder}", asking[i].picture(), want)
                for w in workers:
                    compare(f"worker {w.number} in {w.imap.folder}", w.imap.settle(), truth[w.imap.folder])
                print(f"round {number}: {', '.join(f'{f}: {len(t)} live, {len(model.folders[f])} ever' for f, t in truth.items())}")
            counts = {}
            for w in workers:
                for op, n in w.counts.items():
                    counts[op] = counts.get(op, 0) + n
            print("operations:", counts)
            assert all(counts.get(op) for op in ("append", "store", "copy", "move", "expunge")), counts
            for client in [w.imap for w in workers] + [i.imap for i in idlers] + [n.imap for n in notified]:
                client.__exit__()
        done = lab.mds("verify", "--items", "--store", lab.store, "--archive", "mail", check=False)
        assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    main()
    sys.exit(0)
