"""Clients that change an archive over IMAP and know what they were promised.

Each Client works in folders of its own (`name`, `name/...`), one operation after the other. An operation counts as promised when its tagged OK
has been read. After a crash the folders must be as all promised operations left them, with the one that was under way either done as a whole or
not at all. `clock` gives a number that only grows; it stands beside the beginning and the end of every operation.
"""
import random
import re
import threading

from mdslab import Closed

FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Label1", "work"]
KEEP = 25  # messages of a folder; beyond them some are expunged


class Broken(AssertionError):
    """A promise was not kept."""


class State:
    """Folders: name -> {uid: (content, flags)}. `fresh`: folder -> [(content, flags)] of messages whose UIDs nobody was told."""

    def __init__(self, folders=None):
        self.folders = {name: dict(messages) for name, messages in (folders or {}).items()}
        self.fresh = {}

    def add(self, folder, messages, uids):
        if uids:
            self.folders[folder].update(zip(uids, messages))
        else:
            self.fresh.setdefault(folder, []).extend(messages)

    def apply(self, op):
        folder = self.folders.get(op.folder)
        if op.kind == "append":
            self.add(op.folder, [(content, frozenset(flags)) for content, flags in op.messages], op.new_uids)
        elif op.kind == "store":
            for uid in op.uids:
                content, flags = folder[uid]
                flags = {"+": flags | op.flags, "-": flags - op.flags, "": op.flags}[op.mode]
                folder[uid] = (content, frozenset(flags))
        elif op.kind in ("copy", "move"):
            self.add(op.to, [folder[uid] for uid in op.uids], op.new_uids)
            if op.kind == "move":
                for uid in op.uids:
                    del folder[uid]
        elif op.kind == "expunge":
            for uid in op.uids:
                del folder[uid]
        elif op.kind == "create":
            self.folders[op.folder] = {}
        elif op.kind == "delete":
            del self.folders[op.folder]
        elif op.kind == "rename":
            self.folders[op.to] = self.folders.pop(op.folder)

    def difference(self, seen):
        """What `seen` ({folder: {uid: (content, flags)}}) has otherwise; None if nothing."""
        if set(seen) != set(self.folders):
            return f"folders {sorted(seen)}, not {sorted(self.folders)}"
        for name, messages in self.folders.items():
            fresh = self.fresh.get(name, [])
            news = sorted(set(seen[name]) - set(messages))
            if [seen[name][uid] for uid in news] != fresh:
                return f"{name}: UIDs {news} are new, of {len(fresh)} messages"
            for uid, message in messages.items():
                if seen[name].get(uid) != message:
                    got = seen[name].get(uid)
                    what = "is gone" if not got else "has other bytes" if got[0] != message[0] else f"has {set(got[1])}, not {set(message[1])}"
                    return f"{name}: UID {uid} {what}"
            if news and messages and news[0] < max(messages):
                return f"{name}: UID {news[0]} is new below {max(messages)}"
        return None


class Op:
    def __init__(self, kind, folder, **more):
        self.kind, self.folder = kind, folder
        self.new_uids, self.began, self.done = [], None, None
        self.__dict__.update(more)

    def __repr__(self):
        return f"{self.kind} {self.folder} {getattr(self, 'uids', '')} {getattr(self, 'to', '')}"


def uid_set(text):
    uids = []
    for part in text.split(b","):
        first, _, last = part.partition(b":")
        uids += range(int(first), int(last or first) + 1)
    return uids


def joined(uids):
    return ",".join(map(str, uids))


def promised(ops, until, start=None):
    """The state that all operations done by then left, and the one that was under way, or None."""
    state = State(start)
    for op in ops:
        if op.done is None or op.done > until:
            return state, op if op.began is not None and op.began <= until else None
        state.apply(op)
    return state, None


def check(name, ops, until, seen, start=None):
    """Raises Broken if `seen` is not what was promised by then."""
    state, open_op = promised(ops, until, start)
    why = state.difference(seen)
    if why and open_op:
        state.apply(_untold(open_op))
        if state.difference(seen) is None:
            return
    if why:
        raise Broken(f"{name}: {why} (under way: {open_op})")


def _untold(op):
    again = Op(op.kind, op.folder)
    again.__dict__.update(op.__dict__)
    again.new_uids = []
    return again


class Client(threading.Thread):
    def __init__(self, name, seed, clock=lambda: 0):
        super().__init__(name=name, daemon=True)
        self.rng = random.Random(f"{seed} {name}")
        self.clock = clock
        self.ops = []
        self.state = State()
        self.imap = None
        self.selected = None
        self.failure = None
        self.stopping = threading.Event()
        self.folders_made = 0
        self.contents = []

    # -- one operation

    def do(self, op, command):
        op.began = self.clock()
        self.ops.append(op)
        self.imap.command(command)
        tagged = self.imap.tagged
        found = re.search(rb"\[(?:APPENDUID \d+|COPYUID \d+ [\d,:]+) ([\d,:]+)\]", tagged)
        if not found and op.kind in ("copy", "move"):  # MOVE says it in an untagged OK
            for line in self.last:
                found = found or re.search(rb"\[COPYUID \d+ [\d,:]+ ([\d,:]+)\]", line)
        if op.kind in ("append", "copy", "move"):
            if not found:
                raise Broken(f"{op}: no UIDs in {tagged}")
            op.new_uids = uid_set(found.group(1))
        op.done = self.clock()
        self.state.apply(op)

    def text(self):
        if self.contents and self.rng.random() < 0.2:
            return self.rng.choice(self.contents)
        n = len(self.contents)
        size = int(self.rng.choice((50, 500, 5000, 60000)) * self.rng.random())
        body = "".join(f"{self.rng.getrandbits(120):x}\r\n" for _ in range(size // 32))
        text = f"From: {self.name}@example.org\r\nSubject: {n} {self.rng.random()}\r\nMessage-ID: <{n}@{self.name}>\r\n\r\n{body}".encode()
        self.contents.append(text)
        return text

    def some_flags(self):
        return frozenset(self.rng.sample(FLAGS, self.rng.randrange(0, 3)))

    def append(self, folder):
        messages = [(self.text(), self.some_flags()) for _ in range(self.rng.choice((1, 1, 1, 2, 3)))]
        command = f'APPEND "{folder}"'.encode()
        for content, flags in messages:
            command += b" (%s) {%d+}\r\n%s" % (" ".join(sorted(flags)).encode(), len(content), content)
        self.do(Op("append", folder, messages=messages), command)

    def select(self, folder):
        if self.selected != folder:
            self.imap.command(f'SELECT "{folder}"')
            self.selected = folder

    def some_uids(self, folder):
        uids = sorted(self.state.folders[folder])
        return sorted(self.rng.sample(uids, min(len(uids), self.rng.choice((1, 1, 2, 5)))))

    def change(self, folder):
        uids = self.some_uids(folder)
        what = self.rng.random()
        self.select(folder)
        if len(self.state.folders[folder]) > KEEP or what < 0.1:
            uids = self.some_uids(folder)
            self.do(Op("store", folder, uids=uids, mode="+", flags=frozenset(["\\Deleted"])), f"UID STORE {joined(uids)} +FLAGS.SILENT (\\Deleted)")
            self.do(Op("expunge", folder, uids=uids), f"UID EXPUNGE {joined(uids)}")
        elif what < 0.55:
            mode, flags = self.rng.choice(("+", "-", "")), self.some_flags()
            self.do(Op("store", folder, uids=uids, mode=mode, flags=flags), f"UID STORE {joined(uids)} {mode}FLAGS ({' '.join(sorted(flags))})")
        else:
            kind = "copy" if what < 0.75 else "move"
            to = self.rng.choice(sorted(self.state.folders))
            if kind == "move" and to == folder:
                kind = "copy"
            self.do(Op(kind, folder, uids=uids, to=to), f'UID {kind.upper()} {joined(uids)} "{to}"')

    def folders(self):
        extra = sorted(f for f in self.state.folders if "/x" in f)
        what = self.rng.random()
        self.folders_made += 1
        fresh = f"{self.name}/x{self.folders_made}"
        if len(extra) < 2 or (what < 0.3 and len(extra) < 4):
            self.do(Op("create", fresh), f'CREATE "{fresh}"')
            return
        folder = self.rng.choice(extra)
        if self.selected == folder:
            self.imap.command("UNSELECT")
            self.selected = None
        if what < 0.6:
            self.do(Op("rename", folder, to=fresh), f'RENAME "{folder}" "{fresh}"')
        else:
            self.do(Op("delete", folder), f'DELETE "{folder}"')

    def step(self):
        names = sorted(self.state.folders)
        what = self.rng.random()
        if self.name not in names:
            self.do(Op("create", self.name), f'CREATE "{self.name}"')
            return
        folder = self.rng.choice(names)
        if what < 0.06:
            self.folders()
        elif what < 0.4 or not self.state.folders[folder]:
            self.append(folder)
        else:
            self.change(folder)

    # -- a life

    def begin(self, server, user, password):
        self.imap = server.login(user, password)
        plain = self.imap.command

        def command(text, status=b"OK"):
            self.last = plain(text, status)
            return self.last

        self.imap.command = command
        self.selected = None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.step()
        except (Closed, OSError):
            pass  # the server died: what was under way is open
        except BaseException as why:  # pylint: disable=broad-except
            self.failure = why
        finally:
            try:
                self.imap.__exit__()
            except OSError:
                pass

    def look(self, imap):
        """{folder: {uid: (content, flags)}} as a new session sees it."""
        seen = {}
        for line in imap.command(f'LIST "" ("{self.name}" "{self.name}/*")'):
            found = re.match(rb'\* LIST \(([^)]*)\) "/" "?([^"]*)"?$', line)
            if b"\\Non" in found.group(1) or b"\\No" in found.group(1):
                continue
            seen[found.group(2).decode()] = {}
        for folder, messages in seen.items():
            imap.command(f'EXAMINE "{folder}"')
            for line in imap.command("UID FETCH 1:* (UID FLAGS BODY.PEEK[])"):
                found = re.match(rb"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) BODY\[\] (?:\{(\d+)\}\r\n|\"\")", line)
                if not found:
                    continue
                size = int(found.group(3) or 0)
                flags = frozenset(f.decode() for f in found.group(2).split()) - {"\\Recent"}
                messages[int(found.group(1))] = (line[found.end():found.end() + size], flags)
        return seen

