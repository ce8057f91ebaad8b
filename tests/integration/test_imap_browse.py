#!/usr/bin/env python3
"""Every message through IMAP, each response read by the strict grammar.

BODY[] is the vault's bytes (each lone LF gets its CR, NUL becomes 0x80, nothing else changes), HEADER and TEXT make the whole,
every part's size is what BODYSTRUCTURE said and stands in the whole, partials are slices, HEADER.FIELDS are the fields, nested messages
open up. Runs on generated mail with strange messages, on fixtures below and, where it is at hand, on the torture corpus
(MDS_BROWSE_BULK=1: on all of the corpus).
"""
import os
import random
import re
import subprocess
import sys

from imap_strict import StrictImap
from mdslab import Lab, bin_dir, corpus_dir

SEED = int(os.environ.get("SEED", "1"))
BATCH = 50

FIXTURES = {
    "plain": b"From: a@b.c\nSubject: x\n\nhello\nworld\n",
    "crlf": b"From: a@b.c\r\nSubject: x\r\n\r\nhello\r\nworld",
    "mixed ends": b"A: b\r\nC: d\n\nx\r\ny\nz\rw\r\r\n\r",
    "no body": b"Subject: only a header\n",
    "no blank line at the end": b"Subject: x",
    "empty": b"",
    "one LF": b"\n",
    "body only": b"\nbody\n",
    "nul": b"Subject: n\0l\n\n\0\0binary\0\n",
    "8bit header": b"Subject: \xe9\xff\nFrom: \xe9 <\xe9@x>\n\n\xe9\n",
    "folded": b"Subject: a\n b\n\tc\nX: 1\nx: 2\nX : 3\n\nb\n",
    "multipart": b"Content-Type: multipart/mixed; boundary=b\n\npreamble\n--b\n\none\n--b\nContent-Type: text/html\n\n<p>two\n--b--\nepilogue\n",
    "unclosed": b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo",
    "no parts": b"Content-Type: multipart/mixed; boundary=b\n\nnothing\n",
    "nested": b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\n1.1\n--b\n\n1.2\n"
              b"--b--\n--a\nContent-Type: message/rfc822\n\nSubject: in\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\n2.1\n--c--\n--a--\n",
    "rfc822": b"Content-Type: message/rfc822\n\nSubject: in\n\ninner\n",
    "empty rfc822": b"Content-Type: message/rfc822\n\n",
    "group": b"To: g: a@b, c@d;, e@f, undisclosed-recipients:;\nSubject: =?utf-8?q?=C3=A9?=\n\nx\n",
    "quoted": b"Content-Type: text/plain; name=\"a\\\"b\\\\c\"\nSubject: \"q\\\"\n\nx\n",
}


def client_form(stored):
    return re.sub(rb"(?<!\r)\n", b"\r\n", stored).replace(b"\0", b"\x80")


def chunks(numbers, size):
    for i in range(0, len(numbers), size):
        yield numbers[i:i + size]


def leaves(part, path=()):
    """(section, part) of every part that has a number of its own."""
    if part["parts"] is None:
        path = path or (1,)
        yield ".".join(map(str, path)), part
        if "body" in part:
            inner = part["body"]
            yield from leaves(inner, path) if inner["parts"] is not None else leaves(inner, path + (1,))
        return
    for i, child in enumerate(part["parts"], 1):
        yield from leaves(child, path + (i,))


def without_extension(part):
    keep = {k: v for k, v in part.items() if k not in ("md5", "disposition", "language", "location")}
    if part["parts"] is not None:
        keep.pop("params", None)
        keep["parts"] = [without_extension(p) for p in part["parts"]]
    elif "body" in part:
        keep["body"] = without_extension(part["body"])
    return keep


def is_sane(header):
    """Whether it is all fields; what to do with other lines is nobody's rule (the mime room's tests say ours)."""
    first = True
    for line in re.findall(rb"[^\n]*\n|[^\n]+$", header):
        if not re.match(rb"[\x21-\x39\x3b-\x7e]+:" if first else rb"[\x21-\x39\x3b-\x7e]+:|[ \t]|\r\n$", line):
            return False
        first = False
    return True


def header_subset(header, names, invert):
    """Fields by name, the blank line kept: our own reading of RFC 3501."""
    out, take = b"", False
    for line in re.findall(rb"[^\n]*\n|[^\n]+$", header):
        if line in (b"\r\n",):
            out += line
            continue
        if not line[:1] in (b" ", b"\t"):
            name = re.match(rb"([\x21-\x39\x3b-\x7e]+)[ \t]*:", line)
            take = bool(name) and (name.group(1).lower() in names) != invert  # a line that is no field is in neither
        if take:
            out += line
    return out


class Browser:
    def __init__(self, imap, rng):
        self.imap, self.rng = imap, rng
        self.messages = self.parts = self.partials = 0

    def fetch(self, command):
        return {r.atts["UID"]: r for r in self.imap.ask(command) if r.kind == "FETCH" and "UID" in r.atts}

    def folder(self, quoted, expected):
        """expected: the stored bytes in UID order, or None."""
        got = self.imap.ask(f"EXAMINE {quoted}")
        assert self.imap.tagged.code == b"READ-ONLY"
        exists = next(r.number for r in got if r.kind == "EXISTS")
        assert expected is None or exists == len(expected), f"{quoted}: {exists} messages, {len(expected)} in the vault"
        if not exists:
            return
        metadata = self.fetch("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE)")
        uids = sorted(metadata)
        assert len(uids) == exists and [metadata[u].number for u in uids] == list(range(1, exists + 1))
        stored = dict(zip(uids, expected)) if expected is not None else {}
        for some in chunks(uids, BATCH):
            found = self.fetch("UID FETCH %s (BODY.PEEK[] BODY.PEEK[HEADER] RFC822.TEXT BODY[9.9.9.9] "
                               "BODY.PEEK[HEADER.FIELDS (Subject FROM x)] BODY.PEEK[HEADER.FIELDS.NOT (Received X-Foo)])"
                               % ",".join(map(str, some)))
            for uid in some:
                self.message(uid, metadata[uid].atts, found[uid].atts, stored.get(uid))

    def message(self, uid, meta, atts, stored):
        where = f"UID {uid}"
        whole, header, text = atts["BODY[]"] or b"", atts["BODY[HEADER]"] or b"", atts["RFC822.TEXT"] or b""
        self.messages += 1
        if stored is not None:
            assert whole == client_form(stored), f"{where}: BODY[] differs from the vault"
        assert len(whole) == meta["RFC822.SIZE"], f"{where}: {len(whole)} bytes, RFC822.SIZE {meta['RFC822.SIZE']}"
        assert header + text == whole, f"{where}: HEADER and TEXT are not the whole"
        assert atts["BODY[9.9.9.9]"] is None, f"{where}: a part that does not exist"
        for label, names, invert in (("BODY[HEADER.FIELDS (Subject FROM x)]", (b"subject", b"from", b"x"), False),
                                     ("BODY[HEADER.FIELDS.NOT (Received X-Foo)]", (b"received", b"x-foo"), True)):
            want, got = header_subset(header, names, invert), atts[label] or b""
            # RFC 3501: a header fetch has its blank line but for a message without one and without a body.
            if text and not re.search(rb"(^|\n)\r\n$", header):
                want += b"\r\n"
            assert got == want or not is_sane(header), f"{where}: {label}: {got!r}, not {want!r}, of {header!r}"
        assert without_extension(meta["BODYSTRUCTURE"]) == without_extension(meta["BODY"]), f"{where}: BODY and BODYSTRUCTURE"
        self.sections(uid, whole, list(leaves(meta["BODYSTRUCTURE"])))

    def sections(self, uid, whole, parts):
        parts = parts[:200]
        if not parts:
            return
        start = self.rng.randrange(len(whole) + 2)
        size = self.rng.randrange(1, 3000)
        ask = [f"BODY.PEEK[]<{start}.{size}>"]
        for section, part in parts:
            ask.append(f"BODY.PEEK[{section}]")
            if part["type"] == (b"MESSAGE", b"RFC822"):
                ask += [f"BODY.PEEK[{section}.HEADER]", f"BODY.PEEK[{section}.TEXT]"]
            ask.append(f"BODY.PEEK[{section}.MIME]")
        atts = {}
        for some in chunks(ask, 60):
            for r in self.imap.ask(f"UID FETCH {uid} ({' '.join(some)})"):
                atts.update(r.atts)
        slice_ = atts[f"BODY[]<{start}>"]
        assert slice_ == whole[start:start + size], f"UID {uid}: partial {start}.{size}"
        self.partials += 1
        for section, part in parts:
            body = atts[f"BODY[{section}]"]
            assert body is not None, f"UID {uid}: part {section} does not open"
            assert len(body) == part["octets"], f"UID {uid}: part {section}: {len(body)} bytes, {part['octets']} said"
            assert body in whole, f"UID {uid}: part {section} is not in the message"
            if "lines" in part:
                lines = body.count(b"\n") + (not body.endswith(b"\n") and body != b"")
                assert part["lines"] in (body.count(b"\n"), lines), f"UID {uid}: part {section}: {part['lines']} lines, {lines} seen"
            if part["type"] == (b"MESSAGE", b"RFC822"):
                inner = (atts[f"BODY[{section}.HEADER]"] or b"") + (atts[f"BODY[{section}.TEXT]"] or b"")
                assert inner == body, f"UID {uid}: part {section}: HEADER and TEXT are not the part"
            assert (atts[f"BODY[{section}.MIME]"] or b"") in whole, f"UID {uid}: {section}.MIME"
            self.parts += 1


def tree(path):
    """folder -> stored bytes in order of names, as eml-tree files them."""
    folders = {}
    for directory, dirs, files in os.walk(os.fsencode(path)):
        dirs.sort()
        for name in sorted(files):
            full = os.path.join(directory, name)
            if os.path.isfile(full) and not os.path.islink(full) and not name.startswith(b"."):
                with open(full, "rb") as f:
                    folders.setdefault(os.path.relpath(directory, os.fsencode(path)), []).append(f.read())
    return folders


def browse(lab, archive, source, expected, rng, extra=()):
    built = lab.build(archive, source, extra=extra, check=False)
    assert built.returncode in (0, 1), built.stderr.decode(errors="replace")[-2000:]
    lab.add_user(archive, "ann-" + archive, "secret")
    with lab.serve() as server, StrictImap(server.address) as imap:
        imap.ask(f"LOGIN ann-{archive} secret")
        browser = Browser(imap, rng)
        names = [(r.value[0], r.value[2]) for r in imap.ask('LIST "" *')]
        for flags, name in names:
            if b"\\Noselect" in flags:
                continue
            folder = b"." if name == b"INBOX" else name
            quoted = '"' + name.decode().replace("\\", "\\\\").replace('"', '\\"') + '"'
            browser.folder(quoted, expected.get(folder, []) if expected is not None else None)
        print(f"{archive}: {len(names)} folders, {browser.messages} messages, {browser.parts} parts, {browser.partials} partials")
        if expected is not None:
            total = sum(map(len, expected.values()))
            assert browser.messages == total, f"{archive}: {browser.messages} of {total} messages browsed"
        imap.ask("LOGOUT")


def unpack(lab, name):
    archive = os.path.join(corpus_dir(), name)
    out = lab.path(name.split(".")[0])
    os.makedirs(out)
    subprocess.run(f"zstd -dcq --long=27 {archive} | tar -x -C {out}", shell=True, check=True)
    return out


def main():
    rng = random.Random(SEED)
    print(f"SEED={SEED}")
    with Lab() as lab:
        made = lab.path("fixtures")
        os.makedirs(made)
        for i, (name, data) in enumerate(FIXTURES.items()):
            with open(os.path.join(made, f"{i:02}.eml"), "wb") as f:
                f.write(data)
        browse(lab, "fixtures", f"eml-tree:{made}", tree(made), rng)
        lab.generate(messages=int(os.environ.get("MDS_BROWSE_ITEMS", "500")), kind="eml", folders=4)
        browse(lab, "generated", f"eml-tree:{lab.vault}", tree(lab.vault), rng)
        odd = lab.path("odd")
        subprocess.run([os.path.join(bin_dir(), "mds-gen"), "-o", odd, "-n", "500", "-k", "eml", "-q", "--torture"], check=True)
        browse(lab, "odd", f"eml-tree:{odd}", tree(odd), rng)
        if corpus_dir() and os.path.exists(os.path.join(corpus_dir(), "torture.tar.zst")):
            out = unpack(lab, "torture.tar.zst")
            browse(lab, "torture", f"eml-tree:{out}", tree(out), rng, extra=("--match", "*"))
        else:
            print("note: no torture corpus at hand")
        if os.environ.get("MDS_BROWSE_BULK") and corpus_dir():
            for name in sorted(os.listdir(corpus_dir())):
                if name.startswith("bulk-") and "pipermail" not in name:
                    out = unpack(lab, name)
                    browse(lab, name.split(".")[0], f"eml-tree:{out}", tree(out), rng, extra=("--match", "*"))


if __name__ == "__main__":
    try:
        main()
    except AssertionError as why:
        sys.exit(f"FAILED: {why}")
