#!/usr/bin/env python3
"""Real mail through the whole house: every message of the corpus is built, served and fetched back.

For each message: BODY[] equals the stored bytes with line ends made CRLF and NUL made 0x80; RFC822.SIZE is its length;
ENVELOPE, BODYSTRUCTURE and BODY parse by RFC 3501's grammar; BODY[n] of each part equals the part's bytes as an independent
reader finds them, and BODYSTRUCTURE's octets are their number.
All of the torture corpus and a sample of the bulk; MDS_CORPUS_ALL=1 takes everything. Skipped without the corpus.
"""
import os
import re
import subprocess
import sys

from imap_strict import StrictImap
from mdslab import Lab, corpus_dir, skip
from mime_reader import expected, has_empty

ALL = os.environ.get("MDS_CORPUS_ALL") == "1"
SAMPLE = 25  # every n-th message of the bulk
SECTIONS = 30  # of one FETCH command

MONTHS = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
# ctime's "Dec  7 18:01:41 2000" with a zone somewhere, or RFC 822's "7 Dec 2000 18:01:41".
SEPARATOR = re.compile(rb"From [^\n]*?(?:%s +\d{1,2} +\d\d?:\d\d(?::\d\d)?(?: +[A-Za-z/]+| +[+-]\d{4})? +\d{2,4}|"
                       rb"\d{1,2} +%s +\d{2,4} +\d\d?:\d\d(?::\d\d)?)"
                       rb"(?: +[A-Z]+| +[+-]\d{4})?(?: +\([A-Z]+\))?(?: +remote from [^\n]*)?[ \t\r]*$" % (MONTHS, MONTHS))
FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
WRITER = re.compile(rb"(?:Status|X-Status|X-Keywords|X-UID|X-IMAPbase|X-IMAP|Content-Length)[ \t]*:", re.I)


def client_bytes(data):
    return re.sub(rb"(?<!\r)\n", b"\r\n", data).replace(b"\0", b"\x80")


def unpack(archive, target):
    os.makedirs(target, exist_ok=True)
    zstd = subprocess.Popen(["zstd", "-q", "-dc", archive], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", target], stdin=zstd.stdout, check=True)
    assert zstd.wait() == 0


def sample(target):
    names = sorted(os.path.join(folder, name) for folder, _, files in os.walk(target) for name in files)
    for i, name in enumerate(names):
        if i % SAMPLE:
            os.unlink(name)


def files_by_folder(target):
    """Folder name -> bytes of its messages, in the order that an eml-tree promises."""
    folders = {}
    for folder, _, names in os.walk(target):
        relative = os.path.relpath(folder, target)
        found = []
        for name in sorted(os.fsencode(name) for name in names if not name.startswith(".")):  # as a shell's * has it
            with open(os.path.join(os.fsencode(folder), name), "rb") as f:
                found.append(f.read())
        if found:
            folders["INBOX" if relative == "." else relative] = found
    return folders


def split_mbox(data):
    """The rule of mds(1) and vault/README.md, written from the documentation."""
    lines = data.splitlines(keepends=True) if b"\r" not in data else re.findall(rb"[^\n]*\n|[^\n]+", data)
    starts = []
    for i, line in enumerate(lines):
        if not line.startswith(b"From "):
            continue
        if i == 0 or (SEPARATOR.match(line.rstrip(b"\n")) and
                      (not lines[i - 1].strip(b"\r\n") or (i + 1 < len(lines) and FIELD.match(lines[i + 1])))):
            starts.append(i)
    unquote = b"\n>>From " in data
    for start, stop in zip(starts, starts[1:] + [len(lines)]):
        body = lines[start + 1:stop]
        if body and not body[-1].strip(b"\r\n"):
            body.pop()
        kept, in_header, dropping = [], True, False
        for line in body:
            if in_header:
                dropping = dropping if line[:1] in b" \t" else bool(WRITER.match(line))
                in_header = bool(line.strip(b"\r\n"))
                if dropping and in_header:
                    continue
            if unquote and re.match(rb">+From ", line):
                line = line[1:]
            kept.append(line)
        yield b"".join(kept)


def mboxes_by_folder(target):
    folders = {}
    for folder, _, names in os.walk(target):
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                data = f.read()
            relative = os.path.relpath(os.path.join(folder, name), target)
            if not data or data.startswith(b"From "):
                folders[relative] = list(split_mbox(data))
    return folders


def octets_by_path(part, path=""):
    """Octets of each leaf of a parsed BODYSTRUCTURE, by section number."""
    if part["parts"] is not None:
        for number, child in enumerate(part["parts"], 1):
            yield from octets_by_path(child, f"{path}.{number}" if path else str(number))
        return
    name = path or "1"
    yield name, part["octets"]
    if "body" in part:
        inner = part["body"]
        yield from octets_by_path(inner, name if inner["parts"] is not None else name + ".1")


class Check:
    def __init__(self):
        self.messages = self.parts = self.empty = 0
        self.wrong = []

    def fail(self, where, why):
        self.wrong.append(f"{where}: {why}")
        if len(self.wrong) > 20:
            raise AssertionError("\n".join(self.wrong))

    def message(self, imap, where, uid, stored, atts):
        want = client_bytes(stored)
        self.messages += 1
        if atts["BODY[]"] != want and not (want == b"" and atts["BODY[]"] in (None, b"")):
            at = next((i for i, (a, b) in enumerate(zip(want, atts["BODY[]"])) if a != b), min(len(want), len(atts["BODY[]"])))
            self.fail(where, f"BODY[] differs at {at} of {len(want)}: want {want[at:at + 40]!r}, got {atts['BODY[]'][at:at + 40]!r}")
            return
        if atts["RFC822.SIZE"] != len(want):
            self.fail(where, f"RFC822.SIZE {atts['RFC822.SIZE']}, BODY[] has {len(want)}")
        rows, root = expected(stored)
        if has_empty(root):
            self.empty += 1  # a multipart without any part gets one from us that no reader finds
            return
        octets = dict(octets_by_path(atts["BODYSTRUCTURE"]))
        rows = {path: (stored[start:body], stored[body:end]) for path, start, body, end in rows}
        leaves = [path for path in rows if path in octets]
        if set(octets) - set(rows):
            self.fail(where, f"BODYSTRUCTURE has {sorted(set(octets) - set(rows))}, which no reader finds")
        sections = [f"{path}" for path in rows]
        if root.kind == "multipart":
            sections += [f"{path}.MIME" for path in rows]
        got = {}
        for i in range(0, len(sections), SECTIONS):
            items = " ".join(f"BODY.PEEK[{s}]" for s in sections[i:i + SECTIONS])
            for r in imap.ask(f"UID FETCH {uid} ({items})"):
                if r.kind == "FETCH":
                    got.update(r.atts)
        for section in sections:
            path, _, mime = section.partition(".MIME") if section.endswith(".MIME") else (section, "", None)
            bytes_want = client_bytes(rows[path][0 if mime is not None else 1])
            answer = got.get(f"BODY[{section}]")
            if (answer or b"") != bytes_want:
                self.fail(where, f"BODY[{section}]: want {len(bytes_want)} bytes {bytes_want[:60]!r}, got {(answer or b'')[:60]!r}")
        for path in leaves:
            self.parts += 1
            if octets[path] != len(client_bytes(rows[path][1])):
                self.fail(where, f"BODYSTRUCTURE says {octets[path]} octets of part {path}, it has {len(client_bytes(rows[path][1]))}")

    def folder(self, imap, archive, name, stored):
        imap.ask('EXAMINE "%s"' % name.replace("\\", "\\\\").replace('"', '\\"'))
        if imap.exists != len(stored):
            self.fail(f"{archive}/{name}", f"{imap.exists} messages, {len(stored)} expected")
            return
        for first in range(1, len(stored) + 1, 40):
            last = min(first + 39, len(stored))
            seen = 0
            for r in imap.ask(f"UID FETCH {first}:{last} (UID RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[])"):
                if r.kind == "FETCH":
                    seen += 1
                    uid = r.atts["UID"]
                    # One connection asks for parts while the answers of this one are complete: ask() has read them all.
                    self.message(imap, f"{archive}/{name}/{uid}", uid, stored[uid - 1], r.atts)
            if seen != last - first + 1:
                self.fail(f"{archive}/{name}", f"FETCH {first}:{last} gave {seen} messages")


def main():
    corpus = corpus_dir() or skip("no corpus of real mail beside the project (MDS_CORPUS names one)")
    check = Check()
    with Lab() as lab:
        archives = {}
        for name in sorted(os.listdir(corpus)):
            if not name.endswith(".tar.zst"):
                continue
            archive = name[:-len(".tar.zst")]
            target = lab.path("mail", archive)
            unpack(os.path.join(corpus, name), target)
            mboxes = "pipermail" in archive
            if archive != "torture" and not ALL:
                sample(target)
            if mboxes:
                archives[archive] = mboxes_by_folder(target)
                done = lab.build(archive, f"mbox-tree:{target}", check=False)
            else:
                archives[archive] = files_by_folder(target)
                done = lab.build(archive, f"eml-tree:{target}", extra=["--match", "*"], check=False)
            assert done.returncode == 0, (archive, done.returncode, done.stderr.decode(errors="replace")[-2000:])
            lab.add_user(archive, archive, "secret")
        with lab.serve() as server:
            for archive, folders in archives.items():
                before = check.messages
                with StrictImap(server.address) as imap:
                    imap.ask(f"LOGIN {archive} secret")
                    for name, stored in sorted(folders.items()):
                        check.folder(imap, archive, name, stored)
                print(f"{archive}: {len(folders)} folders, {check.messages - before} messages", flush=True)
    print(f"{check.messages} messages, {check.parts} leaf parts compared, {check.empty} with an empty multipart, {len(check.wrong)} wrong")
    print("\n".join(check.wrong))
    return 1 if check.wrong or not check.messages else 0


if __name__ == "__main__":
    sys.exit(main())
