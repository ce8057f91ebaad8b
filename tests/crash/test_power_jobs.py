#!/usr/bin/env python3
"""Power cuts under the operator's commands: import, build, compact, backup, restore, rebuild, export, archives and users made and removed, and a
segment that is followed by another. What a command had done when it ended with status 0 must be there after any later power cut; within a
command, what was there before it or what it was to do.

Then each sync is left out, by its place in the code (power_places_lib.py): in some command something must be missing. And the places that were
reached must be all that the sources have.

MDS_POWER_CUTS=200 for the long run; MDS_POWER_PLACE=TEXT tries only the places that have that text.
"""
import hashlib
import os
import random
import shutil
import subprocess

from live_lib import Broken
from mdslab import Lab
from power_lib import SYNC, WRITE, Disk, records
from power_places_lib import Places, Recorded, assert_complete, places_in_source, program

CUTS = int(os.environ.get("MDS_POWER_CUTS", "12"))
TRIES = max(40, CUTS)
SEED = int(os.environ.get("SEED", "1"))
ONLY = os.environ.get("MDS_POWER_PLACE", "")
MESSAGES = 40


# ---- facts: what can be looked at below a root, and must be as it was

class Looker:
    def __init__(self, lab, root):
        self.lab, self.root = lab, root

    def mds(self, *args, store=None):
        done = self.lab.mds(args[0], *args[1:2] * (args[0] in ("archive", "user")), "--store", store or os.path.join(self.root, "store"),
                            *args[1 + (args[0] in ("archive", "user")):], check=False)
        if done.returncode != 0:
            raise Broken(f"mds {' '.join(args[:2])}: {(done.stdout + done.stderr).decode(errors='replace').strip()[-600:]}")
        return done.stdout

    @staticmethod
    def files(top):
        """{path: digest}, empty if there is nothing."""
        found = {}
        for folder, _, names in os.walk(top):
            for name in names:
                with open(os.path.join(folder, name), "rb") as f:
                    found[os.path.relpath(os.path.join(folder, name), top)] = hashlib.sha256(f.read()).hexdigest()
        return found

    def mail(self, archive, store=None):
        """Every message with its UID, flags and bytes."""
        out = self.lab.path("looked")
        shutil.rmtree(out, ignore_errors=True)
        self.mds("export", "--archive", archive, "--to", f"eml:{out}", store=store)
        self.mds("verify", "--archive", archive, "--items", "--progress", "none", store=store)
        return self.files(out)

    def segments(self, number):
        folder = os.path.join(self.root, "store", "archives", f"a{number:08}", "segments")
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def backup(self, name):
        store = self.lab.path("restored")
        shutil.rmtree(store, ignore_errors=True)
        self.mds("restore", "--archive", "looked", "--from", os.path.join(self.root, name), store=store)
        return self.mail("looked", store)

    def exported(self, name):
        return self.files(os.path.join(self.root, name))

    def archives(self, _):
        return self.mds("archive", "list")

    def users(self, _):
        return self.mds("user", "list")

    def place_of(self, number):
        return os.path.isdir(os.path.join(self.root, "store", "archives", f"a{number:08}"))

    def rolled(self, lines):
        done = subprocess.run([program("crash_roll"), "check", os.path.join(self.root, "roll")], input="".join(lines).encode(),
                              capture_output=True, check=False)
        if done.returncode != 0:
            raise Broken(done.stderr.decode())
        return True

    def look(self, fact):
        return getattr(self, fact[0])(fact[1])


# ---- the commands

class Step:
    """One command: `run(live)`, and the facts that it changes. `between(looker, fact, old, new)` says whether what is found while it runs is right,
    if neither the old nor the new would be."""

    def __init__(self, name, run, facts, between=None):
        self.name, self.run, self.facts, self.between = name, run, facts, between
        self.began = self.done = 0
        self.before, self.after = {}, {}


def more_of(old, new, found):
    """Mail of a batch that was committed: all that was there and some of what comes. A folder's list of flags grows with it."""
    def mails(files):
        return {item for item in files.items() if item[0].endswith(".eml")}
    return mails(old or {}) <= mails(found) <= mails(new)


def within_import(looker, fact, old, new):
    """What was committed of it is there; if that is not even an archive, the same command makes it."""
    if fact[0] == "archives":
        return True
    try:
        listed = looker.mds("archive", "list").decode()
    except Broken:
        listed = ""
    if old is None and f"{fact[1]}\tenabled\n" not in listed:
        command = "build" if fact[1] == "built" else "import"
        looker.mds(command, "--archive", fact[1], "--from", f"maildir:{looker.lab.path('a')}", "--progress", "none")
        return looker.look(fact) == new
    return more_of(old, new, looker.look(fact))


def within_backup(looker, fact, _, new):
    return not os.path.exists(os.path.join(looker.root, fact[1], "manifest")) or looker.look(fact) == new


def within_restore(looker, fact, old, new):
    if old is None and f"{fact[1]}\tenabled\n" not in looker.mds("archive", "list").decode():
        return True
    return looker.look(fact) in (old, new)


def within_remove(looker, fact, *_):
    """What is half gone can be removed again."""
    if fact[0] == "archives" and b"copy\t" in looker.look(fact):
        looker.mds("archive", "remove", "copy")
    return True


def anything(*_):
    return True


class Play:
    """Runs the commands, recorded, and keeps what each one left."""

    def __init__(self, lab, root, log):
        self.lab, self.root, self.log = lab, root, log
        self.live = Looker(lab, root)
        self.rolled_at = (1, 0)
        self.lines = []

    def clock(self):
        return os.stat(self.log).st_size if os.path.exists(self.log) else 0

    def path(self, name):
        return os.path.join(self.root, name)

    def change_mail(self):
        with self.lab.serve() as server, server.login("ann", "secret") as imap:
            for i in range(3):
                text = f"Subject: {i}\r\n\r\nfiled by hand\r\n".encode()
                imap.command(b"APPEND INBOX (\\Seen) {%d+}\r\n%s" % (len(text), text))
            imap.command("SELECT INBOX")
            imap.command(f"STORE 1:{MESSAGES * 3 // 4} +FLAGS.SILENT (\\Deleted)")
            imap.command("EXPUNGE")

    def lose(self):
        subprocess.run(["rm", os.path.join(self.root, "store/archives/a00000001/data.mdb")], check=True)

    def roll(self):
        done = subprocess.run([program("crash_roll"), "add", self.path("roll"), *map(str, self.rolled_at), str(len(self.lines)), "12"],
                              capture_output=True, check=True, text=True)
        lines = done.stdout.splitlines(keepends=True)
        self.rolled_at = tuple(map(int, lines[-1].split()[1:]))
        self.lines += lines[:-1]

    def steps(self):
        def mds(*args):
            return lambda: self.live.mds(*args)

        def to(what, *args):
            return mds(what, "--archive", "mail", *args)

        def vault(name):
            return f"maildir:{self.lab.path(name)}"

        mail, copied, built = ("mail", "mail"), ("mail", "copy"), ("mail", "built")
        users, archives = ("users", ""), ("archives", "")
        quiet = ("--progress", "none")
        return [
            Step("import", to("import", "--from", vault("a"), *quiet), [mail, archives], within_import),
            Step("user add", lambda: self.lab.add_user("mail", "ann", "secret"), [users]),
            Step("serve", self.change_mail, [mail], anything),
            Step("import again", to("import", "--from", vault("b"), *quiet), [mail], within_import),
            Step("compact", to("compact", "--grace", "0", "--dead", "1"), [mail, ("segments", 1)], lambda k, fact, old, _:
                 fact[0] == "segments" or k.look(fact) == old),
            Step("build", mds("build", "--archive", "built", "--from", vault("a"), *quiet), [built, archives], within_import),
            Step("backup", to("backup", "--to", self.path("backup")), [("backup", "backup")], within_backup),
            Step("restore", mds("restore", "--archive", "copy", "--from", self.path("backup")), [copied, archives], lambda k, fact, *v:
                 fact == archives or within_restore(k, fact, *v)),
            Step("import more", to("import", "--from", vault("c"), *quiet), [mail], within_import),
            Step("restore over", to("restore", "--replace", "--from", self.path("backup")), [mail]),
            Step("rebuild", to("rebuild", *quiet), [mail]),
            Step("export eml", to("export", "--to", "eml:" + self.path("eml")), [("exported", "eml")], anything),
            Step("export maildir", to("export", "--to", "maildir:" + self.path("maildir")), [("exported", "maildir")], anything),
            Step("export mbox", to("export", "--to", "mbox:" + self.path("mbox")), [("exported", "mbox")], anything),
            Step("disable", mds("archive", "disable", "copy"), [archives, copied]),
            Step("remove", mds("archive", "remove", "copy"), [archives, ("place_of", 3)], within_remove),
            Step("user remove", mds("user", "remove", "ann"), [users]),
            Step("lose", self.lose, [mail]),
            Step("recover", to("rebuild", "--recover", *quiet), [mail]),
        ] + [Step(f"roll {i}", self.roll, [("rolled", i)], anything) for i in range(3)]

    def look(self, step, fact):
        if fact[0] == "rolled":
            return tuple(self.lines)
        if step.name in ("lose", "disable") and fact[0] == "mail":
            return None  # nothing is promised
        return self.live.look(fact)

    def record(self):
        state, steps = {}, self.steps()
        for step in steps:
            step.before, step.began = dict(state), self.clock()
            with Recorded(self.root, self.log):
                step.run()
            step.done = self.clock()
            for fact in step.facts:
                state[fact] = self.look(step, fact)
            step.after = dict(state)
        return steps


# ---- the cuts

def found(looker, fact, value):
    if fact[0] == "rolled":
        return looker.rolled(value)
    return looker.look(fact) == value


def look(looker, steps, at, facts=None):
    """Raises Broken. `facts`: only these."""
    last = max((k for k, s in enumerate(steps) if s.done <= at), default=-1)
    under_way = steps[last + 1] if last + 1 < len(steps) and steps[last + 1].began < at else None
    state = steps[last].after if last >= 0 else {}
    for fact in sorted(set(state) | set(under_way.facts if under_way else []), key=str):
        if facts is not None and fact not in facts:
            continue
        old = state.get(fact)
        if not under_way or fact not in under_way.facts:
            if old is not None and not found(looker, fact, old):
                raise Broken(f"{fact} is not as it was after {steps[last].name}")
            continue
        new = under_way.after[fact]
        if new is None:
            continue
        if under_way.between:
            if not under_way.between(looker, fact, old, new):
                raise Broken(f"{fact} is neither old nor new within {under_way.name}")
        elif old is not None and looker.look(fact) not in (old, new):
            raise Broken(f"{fact} is neither as before {under_way.name} nor as after it")


class Cutter:
    def __init__(self, play, steps):
        self.lab, self.root, self.steps = play.lab, play.root, steps
        self.entries = list(records(play.log))
        self.places = Places()

    def between(self, began, done):
        return [entry for entry in self.entries if began < entry[0] <= done]

    def cut(self, disk, at, rng, facts=None):
        tree = self.lab.path("tree")
        shutil.rmtree(tree, ignore_errors=True)
        disk.write_tree(tree, rng)
        try:
            look(Looker(self.lab, tree), self.steps, at, facts)
        except Broken as why:
            raise Broken(f"cut at {at}: {why}") from why

    def anywhere(self, rng, cuts):
        """Half of the cuts come right after a command."""
        positions = sorted(rng.choice(self.steps).done if rng.random() < 0.5 else rng.choice(self.entries)[0] for _ in range(cuts))
        disk, at = Disk(self.root, self.places), 0
        for position in positions:
            for entry in self.between(at, position):
                disk.play(entry)
            at = position
            self.cut(disk, at, rng)

    def loss_without(self, start, step, place, rng):
        """How the first loss looks if the place's syncs are left out in this one command, or None."""
        entries = self.between(step.began, step.done)
        first = next(e[0] for e in entries if e[1] == SYNC and self.places(e[6]) == place)
        late = [e[0] for e in entries if e[0] >= first]
        commits = [e[0] for e in entries if e[0] >= first and e[1] == WRITE and e[2] & 1] or late  # what refers to things is there: are they?
        for k in range(TRIES):
            at = (step.done, commits[k // 2 % len(commits)], rng.choice(late), commits[k // 2 % len(commits)])[k % 4]
            disk = start.copy(lambda _, where: where == place)
            for entry in entries:
                if entry[0] <= at:
                    disk.play(entry)
            facts = set(step.facts) | {fact for fact in step.before if fact[0] == "mail"}
            try:
                self.cut(disk, at, rng, facts)
            except Broken as why:
                return str(why)
        return None

    def prove(self, rng):
        """Places that were reached, and those of them that nothing would miss."""
        disk = Disk(self.root, self.places)
        proven, reached = set(), set()
        for step in self.steps:
            entries = self.between(step.began, step.done)
            here = sorted({self.places(e[6]) for e in entries if e[1] == SYNC} - proven - {""})
            reached |= set(here)
            for place in here:
                why = self.loss_without(disk, step, place, rng) if ONLY in place else None
                if why:
                    print(f"without {place}, in {step.name}: {why.splitlines()[0][:150]}")
                    proven.add(place)
            for entry in entries:
                disk.play(entry)
        return reached, sorted(place for place in reached - proven if ONLY in place)


def main():
    print(f"SEED={SEED} cuts={CUTS}")
    rng = random.Random(SEED)
    with Lab() as lab:
        for seed, name in enumerate("abc", 1):
            lab.generate(lab.path(name), MESSAGES, seed=seed)
        root, log = lab.path("disk"), lab.path("log")
        os.mkdir(root)
        lab.store = os.path.join(root, "store")
        play = Play(lab, root, log)
        steps = play.record()
        print(f"{len(steps)} commands, {os.stat(log).st_size} bytes of log")
        compacted = next(s for s in steps if s.name == "compact")
        assert compacted.after[("segments", 1)] and "00000001.seg" not in compacted.after[("segments", 1)], "compact removed no segment"
        assert play.rolled_at[0] > 6, "no transaction left several segments behind it"
        assert_complete(root, log, lab.path("whole"))
        cutter = Cutter(play, steps)
        if not ONLY:
            cutter.anywhere(rng, CUTS)
            print(f"{CUTS} power cuts, nothing is lost")
        reached, needless = cutter.prove(rng)
        assert not needless, f"syncs that nothing would miss: {needless}"
        lines = {line for place in reached for line in place.split(" < ")}
        unreached = sorted(places_in_source() - lines)
        assert not unreached, f"syncs that no command of this test reaches: {unreached}"
    print("ok")


if __name__ == "__main__":
    main()
