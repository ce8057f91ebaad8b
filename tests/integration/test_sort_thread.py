#!/usr/bin/env python3
"""SORT and THREAD against a naive implementation of RFC 5256 (tests/support/rfc5256.py), byte for byte.

On mail made here (every kind of subject artifact, references that are cut, looped, doubled and missing, equal dates) and on real mail:
all of the torture corpus and a sample of the bulk; MDS_CORPUS_ALL=1 takes everything. Each archive is asked twice, so that answers come from the
store and from memory; random subsets; and again after mail came and went.
"""
import os
import random
import sys

from imap_strict import StrictImap
from mdslab import Lab, corpus_dir
from rfc5256 import Message, sort, thread
from test_corpus import ALL, sample, unpack

SEED = int(os.environ.get("SEED") or 1)
ORDERS = ["ARRIVAL", "DATE", "SIZE", "SUBJECT", "FROM", "TO", "CC", "DISPLAYFROM", "DISPLAYTO", "REVERSE SUBJECT", "SUBJECT DATE",
          "REVERSE SUBJECT REVERSE DATE", "FROM REVERSE DATE SUBJECT", "DISPLAYFROM DISPLAYTO REVERSE SIZE", "CC TO FROM SUBJECT SIZE DATE ARRIVAL"]
ADDRESS_KEYS = {"FROM", "TO", "CC", "DISPLAYFROM", "DISPLAYTO"}
ALGORITHMS = ["ORDEREDSUBJECT", "REFERENCES", "REFS"]
FIELDS = "SUBJECT MESSAGE-ID REFERENCES IN-REPLY-TO DATE FROM TO CC"

WORDS = ["a", "A", "b", "B", "report", "Report", "\u00e4pfel", "\u00c4PFEL", "stra\u00dfe", "STRASSE", "\u01c6", "\u01c4", "\ufb01sh", "fish", "\u03a3\u03c3\u03c2", "z", "[x]",
         "[fwd: b]", "re", "fw:", "(fwd)", "\u6f22\u5b57", "\ud55c\uae00", "e\u0301", "\u00e9", "re:re", "[", "]", "[]"]
LEADERS = ["Re: ", "RE:", "re : ", "Fwd: ", "FW: ", "Fw[1]: ", "[list] ", "[list] Re: ", "[a][b] re: ", "Re[2]: ", "[fwd: ", "  ", "AW: ", "[list]", "re[a][b]: "]
TRAILERS = [" (fwd)", "(FWD)", "]", "  ", "(fwd) (fwd)"]
PEOPLE = ["ann@x.org", "Ann <ann@x.org>", "\"Ann B.\" <bob@x.org>", "bob@y.org", "BOB@y.org", "=?utf-8?q?=C3=84nn?= <zed@y.org>", "Zed Zed <zed@x.org>", "a.b@x", None,
          "Ann <ann@x.org>, Bob <bob@y.org>", "\"\" <carl@x.org>"]


def encoded(text):
    return text if text.isascii() else "=?utf-8?q?%s?=" % "".join("=%02X" % b for b in text.encode())


def make_mail(rng, folder, n):
    os.makedirs(folder, exist_ok=True)
    ids = [f"{k}@x.org" for k in range(n)]
    for k in range(n):
        lines = []
        subject = " ".join(encoded(rng.choice(WORDS)) for _ in range(rng.choice([0, 1, 1, 1, 2])))
        for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
            leader = rng.choice(LEADERS)
            subject = leader + (" " if subject.startswith("=?") and leader[-1] != " " else "") + subject
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            subject += (" " if subject.endswith("?=") else "") + rng.choice(TRAILERS)
        if rng.random() < 0.97:
            lines.append("Subject: " + subject)
        own = rng.choice(ids[:n // 2] if rng.random() < 0.03 else ids[k:k + 1])
        if rng.random() < 0.95:
            lines.append(rng.choice([f"Message-ID: <{own}>", f"Message-Id:<{own}>", "Message-ID: <\"%s\"@%s>" % tuple(own.split("@"))]))
        near = [ids[max(0, min(n - 1, k + rng.randrange(-12, 5)))] for _ in range(rng.choice([0, 1, 1, 2, 3, 5]))]
        if rng.random() < 0.5:
            near = [f"gone{rng.randrange(n // 4)}@x.org" if rng.random() < 0.3 else r for r in near]
        if near and rng.random() < 0.8:
            lines.append("References: " + rng.choice([" ", "\r\n ", ""]).join(f"<{r}>" for r in near))
        if near and rng.random() < 0.5:
            lines.append("In-Reply-To: " + " ".join(f"<{r}>" for r in near[-2:]))
        if rng.random() < 0.95:
            minute = rng.randrange(60)
            lines.append(f"Date: Mon, 7 Feb 1994 {rng.randrange(10, 14)}:{minute:02}:00 {rng.choice(['+0000', '-0800', '+0530'])}")
        for field in ("From", "To", "Cc"):
            person = rng.choice(PEOPLE)
            if person:
                lines.append(f"{field}: {person}")
        data = "\r\n".join(lines + ["", "x" * rng.randrange(40), ""])
        path = os.path.join(folder, f"{k:05}.eml")
        with open(path, "w", newline="") as f:
            f.write(data)
        os.utime(path, (700000000 + rng.randrange(1000), 700000000 + rng.randrange(1000)))


class Check:
    def __init__(self):
        self.messages = self.broken = self.answers = 0
        self.rng = random.Random(SEED)

    def compare(self, where, got, want):
        self.answers += 1
        if got != want:
            at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
            raise AssertionError(f"{where}: differs at {at}: got ...{got[max(0, at - 60):at + 60]!r}, want ...{want[max(0, at - 60):at + 60]!r}")

    def read(self, imap, n):
        """Messages in order, from the server's bytes of their header, which other tests compare with the items'."""
        out = []
        for first in range(1, n + 1, 200):
            for r in imap.ask(f"FETCH {first}:{min(n, first + 199)} (UID INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER])"):
                if r.kind == "FETCH":
                    out.append(Message(r.atts["UID"], r.atts["BODY[HEADER]"] or b"", seconds(r.atts["INTERNALDATE"]), r.atts["RFC822.SIZE"]))
        return out

    def ask(self, imap, where, messages, orders):
        uids = ",".join(runs([m.uid for m in messages])) or "4294967295"
        plain = [m for m in messages if m.plain_addresses]
        plain_uids = ",".join(runs([m.uid for m in plain])) or "4294967295"
        for order in orders:
            criteria = list(parse_order(order))
            by_address = any(key in ADDRESS_KEYS for key, _ in criteria)
            got = next(r for r in imap.ask(f"UID SORT ({order}) UTF-8 UID {plain_uids if by_address else uids}") if r.kind == "SORT").value
            self.compare(f"{where}: SORT ({order})", got, sort(plain if by_address else messages, criteria))
        for algorithm in ALGORITHMS:
            got = next(r for r in imap.ask(f"UID THREAD {algorithm} UTF-8 UID {uids}") if r.kind == "THREAD").value
            self.compare(f"{where}: THREAD {algorithm}", got.decode(), thread(messages, algorithm))

    def folder(self, imap, where, name):
        imap.ask('EXAMINE "%s"' % name.replace("\\", "\\\\").replace('"', '\\"'))
        messages = self.read(imap, imap.exists)
        plain = [m for m in messages if m.plain]
        self.messages += len(plain)
        self.broken += len(messages) - len(plain)
        self.ask(imap, where, plain, ORDERS)
        self.ask(imap, where, plain, ORDERS[3:4])
        for _ in range(3):
            some = sorted(self.rng.sample(plain, self.rng.randrange(len(plain) + 1)), key=lambda m: m.uid)
            self.ask(imap, where, some, self.rng.sample(ORDERS, 2))
        return len(plain), len(messages)


def seconds(date):
    import calendar
    import time
    text = date.decode().strip('"')
    zone = (int(text[-4:-2]) * 60 + int(text[-2:])) * (-60 if text[-5] == "-" else 60)
    return calendar.timegm(time.strptime(text[:-6].strip(), "%d-%b-%Y %H:%M:%S")) - zone


def parse_order(order):
    reverse = False
    for word in order.split():
        if word == "REVERSE":
            reverse = True
        else:
            yield word, reverse
            reverse = False


def runs(uids):
    """Sorted UIDs as ranges; a sequence set may have 10,000 of them."""
    out, begin = [], None
    for k, uid in enumerate(uids):
        if begin is None:
            begin = uid
        if k + 1 == len(uids) or uids[k + 1] != uid + 1:
            out.append(str(begin) if begin == uid else f"{begin}:{uid}")
            begin = None
    return out


def folders(imap):
    return [r.value[2].decode() for r in imap.ask('LIST "" "*"') if r.kind == "LIST" and b"\\Noselect" not in r.value[0]]


def live(imap, check):
    """Mail that comes and goes while columns are in memory."""
    imap.ask("SELECT INBOX")
    messages = check.read(imap, imap.exists)
    for k in range(5):
        message = f"Subject: Re: new {k % 2}\r\nMessage-ID: <new{k}@x>\r\nReferences: <3@x.org> <new{k - 1}@x>\r\nFrom: a{k}@x\r\n\r\nx\r\n"
        imap.ask(f"APPEND INBOX {{{len(message)}+}}\r\n{message}")
        imap.ask("NOOP")
        messages += check.read(imap, imap.exists)[-1:]
        check.ask(imap, f"live {k}", [m for m in messages if m.plain], ["SUBJECT", "FROM DATE"])
    gone = check.rng.sample(messages, 20)
    imap.ask("UID STORE %s +FLAGS.SILENT (\\Deleted)" % ",".join(str(m.uid) for m in gone))
    imap.ask("EXPUNGE")
    left = [m for m in messages if m not in gone]
    check.ask(imap, "after EXPUNGE", [m for m in left if m.plain], ORDERS)


def main():
    check = Check()
    with Lab() as lab:
        for k in range(4):
            make_mail(check.rng, lab.path("made", str(k)), [5, 60, 400, 400][k])
            lab.build(f"made{k}", f"eml-tree:{lab.path('made', str(k))}")
        names = [f"made{k}" for k in range(4)]
        corpus = corpus_dir()
        for name in sorted(os.listdir(corpus)) if corpus else []:
            if not name.endswith(".tar.zst"):
                continue
            archive = name[:-len(".tar.zst")]
            target = lab.path("mail", archive)
            unpack(os.path.join(corpus, name), target)
            if archive != "torture" and "pipermail" not in archive and not ALL:
                sample(target)
            if "pipermail" in archive or archive == "torture":
                lab.build(archive + "-mbox", f"mbox-tree:{target}", check=False)
                names.append(archive + "-mbox")
            if "pipermail" not in archive:
                lab.build(archive, f"eml-tree:{target}", extra=["--match", "*"], check=False)
                names.append(archive)
        for name in names:
            lab.add_user(name, name, "secret")
        with lab.serve() as server:
            for name in names:
                with StrictImap(server.address) as imap:
                    imap.ask(f"LOGIN {name} secret")
                    plain = messages = 0
                    for folder in folders(imap):
                        some = check.folder(imap, f"{name}/{folder}", folder)
                        plain, messages = plain + some[0], messages + some[1]
                    print(f"{name}: {messages} messages, {plain} of them plain", flush=True)
                    if name.startswith("made"):
                        assert plain == messages, "what is made here is well-formed"
            with StrictImap(server.address) as imap:
                imap.ask("LOGIN made2 secret")
                live(imap, check)
    print(f"{check.answers} answers compared, {check.messages} messages, {check.broken} left out as broken, seed {SEED}")
    return 0 if check.messages and check.answers else 1


if __name__ == "__main__":
    sys.exit(main())
