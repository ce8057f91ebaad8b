#!/usr/bin/env python3
"""SEARCH answers what reading every message would, with an index, without one, with half of one, and after changes.

The other side is support/search_naive.py, which shares no code with the program. Of well-formed mail the texts that the program
searches (`mds explain --texts`) are first held against Python's own reading, one by one; of broken mail, where readers differ by
taste, the program's are taken. Then random trees of keys, drawn from the texts and from noise, are asked of the server.

MDS_CORPUS_ALL=1: 20,000 queries over a sample of the real mail (MDS_CORPUS), else a short run on generated and hand-written mail.
SEED repeats a run.
"""
import datetime
import os
import random
import re
import subprocess
import sys
import time

import search_naive as naive
from mdslab import Lab, Server, bin_dir, corpus_dir

ALL = os.environ.get("MDS_CORPUS_ALL") == "1" and corpus_dir()
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 1 << 30)
# unindexed, indexed, half indexed, indexed again, after changes, indexed after changes
COUNTS = (200, 5000, 3000, 6000, 3000, 3000) if ALL else (40, 150, 80, 100, 80, 100)
COUNTS = tuple(int(n) for n in os.environ["QUERIES"].split(",")) if "QUERIES" in os.environ else COUNTS
MUTATIONS = 10000 if ALL else 150

print(f"SEED={SEED}")
rng = random.Random(SEED)

BY_HAND = [
    # encoded words that split characters, other charsets, base64 that splits words
    b"From: =?utf-8?B?SsO2cmc=?= <joerg@example.org>\r\nTo: ann (Ann (the first) A.) @ example . org, \"b. c\" <b.c@example.net>\r\n"
    b"Subject: =?utf-8?B?0J/RgNC40LI=?= =?utf-8?B?0LXRgiDQvNC40YA=?=\r\n folded =?iso-8859-1?Q?caf=E9_cr=E8me?=\r\n"
    b"Message-ID: <1@example.org>\r\nX-Odd: one\r\n\ttwo\r\n three\r\nReceived: from secretroute by nowhere\r\nX-Spam-Status: hiddenverdict\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"R3LDvMOfZSBhdXMgS8O2bG4sIHVuZCBkYXMgU3RyYcOfZW5iYWhuLUVuZGU=\r\n",
    # quoted-printable soft breaks in words, blanks at line ends
    b"From: a@example.org\nCc: c@example.com\nBcc: hidden@example.com\nSubject: soft\nContent-Type: text/plain; charset=utf-8\n"
    b"Content-Transfer-Encoding: quoted-printable\n\nunbreak=\nable word =C3=A9t=C3=A9   \nnext line=20\nlast=\n",
    # CJK, Thai, Hebrew, combining marks, full width, ligatures, titlecase letters
    "From: k@example.jp\nSubject: \u65e5\u672c\u8a9e\u306e\u4ef6\u540d\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
    "\u6771\u4eac\u90fd\u5343\u4ee3\u7530\u533a \u304b\u306a\u30ab\u30ca \ud55c\uad6d\uc5b4 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u05e9\u05dc\u05d5\u05dd\u05c1 "
    "e\u0301cole \ufb01nancial \u01c6ep \uff21\uff22\uff23 \u1f80\u03b9 stra\u00dfe \u0130stanbul \u212bngstr\u00f6m\n".encode(),
    # an attached message with an attached message, a digest, a part without a text
    b"From: f@example.org\nSubject: outer\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b1\n\npreamble is no text\n--b1\n"
    b"Content-Type: text/html\nX-Part-Note: partnote\n\n<p>Hello&nbsp;<b>w</b>orld</p>\n--b1\nContent-Type: message/rfc822\nContent-Description: attachedpart\n\n"
    b"From: inner@example.net\nSubject: innersubject\nReceived: innerroute\nContent-Type: multipart/mixed; boundary=b2\n\n--b2\n\ninnertext one\n--b2\n"
    b"Content-Type: message/rfc822\n\nSubject: deepest\n\ndeeptext\n--b2--\n--b1\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n"
    b"Content-Disposition: attachment; filename=\"picturename.png\"\n\nbm90YXRleHQ=\n--b1--\nepilogue is no text\n",
    # nothing, no body, one long word, long lines of separators
    b"Subject: \n\n", b"Subject: only header\n", b"From: x@example.org\n\n" + b"Z" * 5000 + b"needlewithinalongrun" + b"y" * 5000 + b"\n",
    b"Subject: a.b-c_d/e+f=g\n\n----- !!! ..... a,b;c:d 1.2.3.4 x@y.z http://example.org/path?q=1&r=2 C++ $100 50%\n",
    b"From: latin@example.org\nSubject: t\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n\x80uro \xe4\xf6\xfc \x93quoted\x94\n",
    b"From: raw@example.org\nSubject: raw \xc3\xa9 and \xff\n\nraw \xc3\xa9 and \xff bytes\n",
    b"From: n@example.org\nSubject: nul\n\nbefore\0after\n",
    b"Subject: koi\nContent-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: 8bit\n\n\xf0\xd2\xc9\xd7\xc5\xd4 \xcd\xc9\xd2\n",
]


def write_vault(lab, half):
    """Two halves; each a tree of .eml files by folder."""
    if ALL:
        lists = [sorted(os.path.join(d, f) for d, _, fs in os.walk(lab.path("corpus", split)) for f in fs) for split in sorted(os.listdir(lab.path("corpus")))]
        sizes = {"bulk-lore-linux-usb": 900, "bulk-lore-usrp-users": 250, "bulk-spamassassin-csdmc2010": 900, "torture": 600}
        names = []
        for split, all_names in zip(sorted(os.listdir(lab.path("corpus"))), lists):
            picked = [n for n in all_names if os.path.getsize(n) < 300000]
            names += rng.sample(picked, min(len(picked), sizes.get(split, 300)))
        rng.shuffle(names)
        mails = [open(n, "rb").read() for n in names] + BY_HAND
    else:
        if half == 0:
            subprocess.run([os.path.join(bin_dir(), "mds-gen"), "--out", lab.path("gen"), "--kind", "eml", "--messages", "240", "--torture", "--seed",
                        str(SEED % 1000 + 1)], check=True, capture_output=True)
        names = sorted(os.path.join(d, f) for d, _, fs in os.walk(lab.path("gen")) for f in fs)
        mails = [open(n, "rb").read() for n in names] + BY_HAND
    for i, mail in enumerate(mails):
        folder = lab.path("vault", "two" if i % 5 == 0 else "")
        os.makedirs(folder, exist_ok=True)
        if (i % 2 == 0) == (half == 0):
            with open(os.path.join(folder, f"{half}-{i:06d}.eml"), "wb") as f:
                f.write(mail)


def unpack(lab):
    from test_corpus import unpack as unpack_one
    for name in ("bulk-lore-linux-usb", "bulk-lore-usrp-users", "bulk-spamassassin-csdmc2010", "torture"):
        unpack_one(os.path.join(corpus_dir(), name + ".tar.zst"), lab.path("corpus", name))


# ---- what the folder holds ----------------------------------------------------------------------------

class Folder:
    """A mailbox as the client sees it now, for the evaluator."""
    by_id = {}  # EMAILID -> Texts
    compared = broken = 0

    def __init__(self, lab, imap, name):
        self.name, self.rows = name, {}
        imap.command(f"SELECT {name}")
        fresh = {}
        for line in imap.command("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE EMAILID)"):
            m = re.match(rb"\* \d+ FETCH \((.*)\)$", line)
            if not m:
                continue
            uid = int(re.search(rb"UID (\d+)", m[1])[1])
            flags = set(re.search(rb"FLAGS \((.*?)\)", m[1])[1].lower().split())
            day = datetime.datetime.strptime(re.search(rb'INTERNALDATE "\s*([^ ]+)', m[1])[1].decode(), "%d-%b-%Y").date()
            size = int(re.search(rb"RFC822.SIZE (\d+)", m[1])[1])
            ident = re.search(rb"EMAILID \(([^)]*)\)", m[1])[1]
            self.rows[uid] = (flags, day, size, ident)
            if ident not in Folder.by_id:
                fresh[uid] = ident
        if fresh:
            self.learn(lab, imap, fresh)
        self.corpus = naive.Corpus([(uid, Folder.by_id[row[3]]) for uid, row in sorted(self.rows.items())])
        self.uids = sorted(self.rows)

    def learn(self, lab, imap, fresh):
        uids = ",".join(map(str, sorted(fresh)))
        output = lab.mds("explain", "--texts", "--store", lab.store, "--archive", "mail", self.name, uids).stdout
        told = naive.told_texts(output)
        for uid, ident in fresh.items():
            mine = [t for t in told.get(uid, []) if t[0] != "bare"]
            raw = imap.command(f"UID FETCH {uid} BODY.PEEK[]")[0]
            raw = raw[raw.index(b"}\r\n") + 3:] if b"}\r\n" in raw else b""
            raw = raw[:self.rows[uid][2]]
            has_nul = any(b"\0" in text for _, _, text in mine)  # a client sees another byte
            theirs = None if has_nul else naive.read_message(raw)
            if theirs is None:
                Folder.broken += 1
            elif sorted(naive.encode(theirs)) == sorted(mine):
                Folder.compared += 1
            else:
                self.must_be_broken(lab, uid, sorted(naive.encode(theirs)), sorted(mine), raw)
                Folder.broken += 1
            Folder.by_id[ident] = naive.Texts(mine)

    def must_be_broken(self, lab, uid, theirs, mine, raw):
        """Readers may differ only on mail in which the program has found a defect."""
        told = lab.mds("explain", "--store", lab.store, "--archive", "mail", self.name, str(uid)).stdout.decode(errors="replace")
        if not re.search(r"^Defects +none", told, re.M):
            return
        for text in theirs:
            if text not in mine:
                print("Python only:", repr(text)[:1500])
        for text in mine:
            if text not in theirs:
                print("mds only:   ", repr(text)[:1500])
        raise AssertionError(f"{self.name} UID {uid}: texts differ\n{raw[:600]!r}\n{told}")


# ---- queries ------------------------------------------------------------------------------------------

def astring(text):
    data = text.encode()
    return b"{%d+}\r\n" % len(data) + data


def draw_text(folder):
    """A needle: of the texts, or of nothing. (NUL has no place in a command.)"""
    return draw_any_text(folder).replace("\0", "?")


def draw_any_text(folder):
    kind = rng.random()
    if kind < 0.04:
        return rng.choice(["", " ", "a", "e", ".", "-", "\u00e9", "\u65e5", "0", "@", "=", "\n", "\r\n"])
    if kind < 0.12:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz0123456789.-@ \u00e4\u0436\u6771") for _ in range(rng.choice([1, 2, 3, 5, 9, 40])))
    texts = Folder.by_id[folder.rows[rng.choice(folder.uids)][3]]
    source = rng.choice([texts.body, texts.text, texts.text] + [v for pair in texts.fields.values() for v in pair[0][:1]])
    source = source.decode("utf-8", "replace").replace("\ufffd", "?").replace("\n", " ")
    if not source:
        return "nothing"
    if kind < 0.13:
        at = rng.randrange(len(source))
        return source[at:at + rng.choice([1000, 10000])]
    if kind < 0.55:  # a word, or a piece of one
        words = re.findall(r"\w+", source) or [source[:5]]
        word = rng.choice(words)
        if rng.random() < 0.4 and len(word) > 2:
            a = rng.randrange(len(word))
            word = word[a:a + rng.randrange(1, len(word) + 1)] or word
    else:  # whatever stands there, separators too
        at = rng.randrange(len(source))
        word = source[at:at + rng.choice([1, 2, 3, 4, 6, 8, 12, 20, 30, 60])]
    if rng.random() < 0.5:
        word = word.lower()
    if rng.random() < 0.05:
        word += rng.choice(["x", " ", "."])
    return word


def draw_leaf(folder):
    """(IMAP, function to a set of UIDs)"""
    all_uids = set(folder.uids)
    kind = rng.random()
    if kind < 0.75:
        key = rng.choice(["BODY", "BODY", "TEXT", "TEXT", "SUBJECT", "FROM", "TO", "CC", "BCC", "HEADER", "HEADER"])
        needle = draw_text(folder)
        if key != "HEADER":
            return key.encode() + b" " + astring(needle), lambda f: f.corpus.find(key, None, needle)
        texts = Folder.by_id[folder.rows[rng.choice(folder.uids)][3]]
        names = [n.decode("latin-1") for n in texts.fields if re.fullmatch(rb"[!-9;-~]+", n)] + ["Subject", "From", "X-None", "Received"]
        name = rng.choice(names)
        if rng.random() < 0.4 and name.encode() in texts.fields:
            value = rng.choice(texts.fields[name.encode()][0]).decode("utf-8", "replace").replace("\ufffd", "?")
            at = rng.randrange(len(value) + 1)
            needle = value[at:at + rng.choice([0, 1, 3, 7, 15])]
        return b"HEADER " + astring(name) + b" " + astring(needle), lambda f: f.corpus.find("HEADER", name, needle)
    if kind < 0.85:
        word = rng.choice(["SEEN", "FLAGGED", "DELETED", "ANSWERED", "DRAFT"])
        flag = b"\\" + word.lower().encode()
        if rng.random() < 0.5:
            return b"UN" + word.encode(), lambda f: {u for u in f.uids if flag not in f.rows[u][0]}
        return word.encode(), lambda f: {u for u in f.uids if flag in f.rows[u][0]}
    if kind < 0.93:
        a, b = sorted(rng.choices(folder.uids, k=2))
        if rng.random() < 0.5:
            return b"UID %d:%d" % (a, b), lambda f: {u for u in f.uids if a <= u <= b}
        size = folder.rows[a][2]
        return b"LARGER %d" % size, lambda f: {u for u in f.uids if f.rows[u][2] > size}
    day = folder.rows[rng.choice(folder.uids)][1]
    text = f"{day.day}-{day.strftime('%b')}-{day.year:04d}".encode()
    what = rng.choice(["SINCE", "BEFORE", "ON"])
    test = {"SINCE": lambda d: d >= day, "BEFORE": lambda d: d < day, "ON": lambda d: d == day}[what]
    return what.encode() + b" " + text, lambda f: {u for u in f.uids if test(f.rows[u][1])}


def draw(folder, depth=0):
    kind = rng.random()
    if depth >= 3 or kind < 0.55:
        return draw_leaf(folder)
    if kind < 0.7:
        text, test = draw(folder, depth + 1)
        return b"NOT " + (b"(" + text + b")" if rng.random() < 0.3 else text), lambda f: set(f.uids) - test(f)
    a, b = draw(folder, depth + 1), draw(folder, depth + 1)
    if kind < 0.85:
        return b"OR " + a[0] + b" " + b[0], lambda f: a[1](f) | b[1](f)
    return b"(" + a[0] + b" " + b[0] + b")", lambda f: a[1](f) & b[1](f)


def ask(imap, text):
    got = [r for r in imap.command(b"UID SEARCH CHARSET UTF-8 " + text) if r.startswith(b"* SEARCH")]
    assert len(got) == 1, got
    return set(map(int, got[0].split()[2:]))


def ask_many(lab, imap, names, count, phase):
    began = time.monotonic()
    folders = [Folder(lab, imap, name) for name in names]
    selected, hits = None, 0
    for i in range(count):
        folder = rng.choice([f for f in folders if f.uids])
        if selected is not folder:
            imap.command(f"SELECT {folder.name}")
            selected = folder
        text, test = draw(folder)
        want = test(folder)
        got = ask(imap, text)
        hits += len(got)
        if got != want:
            print(lab.mds("search", "--explain", "--store", lab.store, "--archive", "mail", folder.name, "ALL", check=False).stderr.decode())
            raise AssertionError(f"{phase}, query {i} in {folder.name}: {text[:2000]!r}\nmissing: {sorted(want - got)[:20]}\nextra: {sorted(got - want)[:20]}")
    print(f"{phase}: {count} queries, {hits} hits, {time.monotonic() - began:.1f} s")


# ---- changes -------------------------------------------------------------------------------------------

def mutate(lab, imap, count):
    """Append, copy, move, flag, expunge."""
    names = ["INBOX", "two", "three"]
    imap.command("CREATE three", status=None)
    extra = [b"Subject: appended %d\r\nFrom: new@example.org\r\n\r\nbrand new text %d w\xc3\xb6rter\r\n" % (i, i) for i in range(20)]
    done = 0
    while done < count:
        name = rng.choice(names)
        imap.command(f"SELECT {name}")
        uids = [int(u) for r in imap.command("UID SEARCH ALL") if r.startswith(b"* SEARCH") for u in r.split()[2:]]
        for _ in range(rng.randrange(1, 40)):
            done += 1
            what = rng.random()
            other = rng.choice([n for n in names if n != name])
            if what < 0.15 or not uids:
                mail = rng.choice(extra)
                imap.command(b"APPEND " + name.encode() + b" {%d+}\r\n" % len(mail) + mail)
                continue
            uid = rng.choice(uids)
            if what < 0.4:
                flag = rng.choice(["Seen", "Flagged", "Answered", "Draft"])
                imap.command(f"UID STORE {uid} {rng.choice('+-')}FLAGS.SILENT (\\{flag})")
            elif what < 0.6:
                imap.command(f"UID COPY {uid} {other}")
            elif what < 0.85:
                imap.command(f"UID MOVE {uid} {other}")
                uids.remove(uid)
            elif what < 0.93:
                imap.command(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)")
                imap.command(f"UID EXPUNGE {uid}")
                uids.remove(uid)


def main():
    with Lab() as lab:
        if ALL:
            sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
            unpack(lab)
        state = rng.getstate()
        write_vault(lab, 0)
        lab.build("mail", f"eml-tree:{lab.path('vault')}")
        lab.add_user("mail", "ann", "secret")
        with open(lab.path("conf"), "w", encoding="utf-8") as f:
            f.write(f"[store]\npath = {lab.store}\n[search]\nindex = false\n[listener one]\naddress = 127.0.0.1:0\nmode = plain\n")

        def phase(names, count, what, act=None):
            with Server(("--config", lab.path("conf"))) as server, server.login("ann", "secret") as imap:
                if act:
                    act(imap)
                ask_many(lab, imap, names, count, what)

        def index():
            lab.mds("index", "--store", lab.store, "--archive", "mail", "--progress", "none", "--memory", "1")

        def verify():
            print(lab.mds("verify", "--text", "--store", lab.store, "--archive", "mail", "--progress", "none").stdout.decode().strip())

        phase(["INBOX", "two"], COUNTS[0], "unindexed")
        index()
        verify()
        phase(["INBOX", "two"], COUNTS[1], "indexed")
        after = rng.getstate()
        rng.setstate(state)
        write_vault(lab, 1)
        rng.setstate(after)
        lab.build("mail", f"eml-tree:{lab.path('vault')}")
        phase(["INBOX", "two"], COUNTS[2], "half indexed")
        index()
        verify()
        phase(["INBOX", "two"], COUNTS[3], "indexed again")
        phase(["INBOX", "two", "three"], COUNTS[4], "changed", lambda imap: mutate(lab, imap, MUTATIONS))
        lab.mds("undelete", "--store", lab.store, "--archive", "mail")
        lab.mds("compact", "--store", lab.store, "--archive", "mail", "--grace", "0")
        index()
        verify()
        phase(["INBOX", "two", "three"], COUNTS[5], "changed and indexed")
        print(f"texts: {Folder.compared} messages as Python reads them, {Folder.broken} broken ones as told")
        assert Folder.compared > Folder.broken / 4


if __name__ == "__main__":
    main()
