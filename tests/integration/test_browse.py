#!/usr/bin/env python3
"""mds ls, fetch, search, explain and user, as a person at a shell uses them: what they print and how they end."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import unittest

BIN = os.path.abspath(os.environ.get("MDS_BIN_DIR", "build/release/bin"))
MDS = os.path.join(BIN, "mds")

LETTER = (b"From: Ann <ann@example.org>\nTo: bob@example.org\nSubject: =?utf-8?q?gr=C3=BCn?=\nDate: Mon, 1 Jan 2001 00:00:00 +0000\n"
          b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\nworld\n--b\nContent-Type: application/octet-stream\n"
          b"Content-Transfer-Encoding: base64\n\nAAEC\n--b--\n")


def mds(*args, stdin=b""):
    done = subprocess.run([MDS, *args], input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


class Browse(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory(prefix="mds-browse-")
        mail = os.path.join(cls.temp.name, "mail")
        for folder, name, raw in (("", "1.a:2,S", LETTER), ("", "2.b:2,", b"Subject: plain\n\nno more\n"), (".caf\u00e9", "3.c:2,F", b"Subject: x\n\ny\n")):
            where = os.path.join(mail, folder)
            for sub in ("cur", "new", "tmp"):
                os.makedirs(os.path.join(where, sub), exist_ok=True)
            with open(os.path.join(where, "cur", name), "wb") as f:
                f.write(raw)
        cls.store = os.path.join(cls.temp.name, "store")
        cls.archive = ("--store", cls.store, "--archive", "ann")
        rc, _, err = mds("build", *cls.archive, "--from", "maildir++:" + mail, "--progress", "none")
        assert rc == 0, err

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    def check(self, args, status, out=None, err=None, stdin=b""):
        rc, got, said = mds(*args, stdin=stdin)
        self.assertEqual(rc, status, (args, got, said))
        if out is not None:
            self.assertEqual(got, out, args)
        if err is not None:
            self.assertRegex(said, err)
        return got

    def test_ls(self):
        self.check(("ls", "--store", self.store), 0, b"ann\n")
        text = self.check(("ls", *self.archive), 0).decode()
        self.assertEqual([line.split() for line in text.splitlines()], [["2", "INBOX"], ["1", "caf\u00e9"]])
        rows = json.loads(self.check(("ls", *self.archive, "--json", "INB%"), 0))
        self.assertEqual([(r["name"], r["messages"], r["unseen"]) for r in rows], [("INBOX", 2, 1)])
        self.assertIn(b"uidvalidity", self.check(("ls", *self.archive, "-l"), 0))
        self.check(("ls", *self.archive, "none"), 1, b"", "no folder matches")
        self.check(("ls", "--store", self.store, "--archive", "bob"), 1, b"", "bob")
        self.check(("ls", "--store", self.store + "x", "--archive", "ann"), 3, b"", "mds build makes it")
        self.check(("ls",), 2, b"")

    def test_fetch(self):
        fetch = ("fetch", *self.archive)
        self.check((*fetch, "INBOX", "1:*", "FLAGS", "RFC822.SIZE"), 0,
                   b"* 1 FETCH (UID 1 FLAGS (\\Seen) RFC822.SIZE %d)\r\n* 2 FETCH (UID 2 FLAGS () RFC822.SIZE 27)\r\n" % (len(LETTER) + LETTER.count(b"\n")))
        self.check((*fetch, "INBOX", "1", "BODY.PEEK[1]"), 0, b"* 1 FETCH (UID 1 BODY[1] {12}\r\nhello\r\nworld)\r\n")
        self.check((*fetch, "inbox", "1", "BODY.PEEK[HEADER.FIELDS (To)]"), 0,
                   b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (To)] {23}\r\nTo: bob@example.org\r\n\r\n)\r\n")
        whole = self.check((*fetch, "INBOX", "1", "BODY.PEEK[]"), 0)
        self.assertIn(LETTER.replace(b"\n", b"\r\n"), whole)
        self.assertIn(b"ENVELOPE", self.check((*fetch, "INBOX", "1", "ALL"), 0))
        self.check((*fetch, "caf\u00e9", "1:*", "FLAGS"), 0, b"* 1 FETCH (UID 1 FLAGS (\\Flagged))\r\n")
        self.check((*fetch, "INBOX", "99", "FLAGS"), 0, b"")
        self.check((*fetch, "none", "1", "FLAGS"), 1, b"", "NONEXISTENT")
        self.check((*fetch, "INBOX", "1", "FROB"), 2, b"")
        self.check((*fetch, "INBOX", "x", "FLAGS"), 2, b"")
        self.check((*fetch, "INBOX", "1"), 2, b"")

    def test_search(self):
        search = ("search", *self.archive, "INBOX")
        for keys, found in (
            (("ALL",), b" 1 2"), (("UNSEEN",), b" 2"), (("SUBJECT", "gr\u00dcn"), b" 1"), (("BODY", "hello world"), b" 1"), (("NOT BODY \"hello world\"",), b" 2"),
            (("OR SUBJECT plain FROM ann",), b" 1 2"), (("FROM", "ann", "SINCE", "1-Jan-1990"), b" 1"), (("TEXT", "nowhere"), b""), (("SUBJECT", ""), b" 1 2"),
            (("CHARSET", "UTF-8", "SUBJECT", "gr\u00dcn"), b" 1"),
        ):
            self.check((*search, *keys), 0, b"* SEARCH" + found + b"\r\n")
        self.check((*search, "FROB"), 2, b"")
        self.check(("search", *self.archive, "none", "ALL"), 1, b"")

    def test_explain(self):
        text = self.check(("explain", *self.archive, "INBOX", "1"), 0).decode()
        for word in ("UID 1, number 1, in INBOX", "(\\Seen)", "base64", "maildir", "Bodystructure"):
            self.assertIn(word, text)
        self.check(("explain", *self.archive, "INBOX", "9"), 1, b"")
        self.check(("explain", *self.archive, "INBOX", "0"), 2, b"")

    def test_output_that_cannot_be_written_is_not_done(self):
        source = ("--from", "maildir++:" + os.path.join(self.temp.name, "mail"))
        for args in (("ls",), ("fetch", "INBOX", "1", "FLAGS"), ("search", "INBOX", "ALL"), ("explain", "INBOX", "1"), ("stat",), ("stat", "--json"),
                     ("dump",), ("verify",), ("build", *source), ("build", "--json", *source)):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([MDS, args[0], *self.archive, *args[1:]], stdout=full, stderr=subprocess.PIPE, check=False)
            self.assertEqual(done.returncode, 3, (args, done.stderr))
            self.assertTrue(done.stderr, args)

    def test_user(self):
        user = ("user", "--store", self.store)
        self.check((*user, "--archive", "ann", "add", "ann"), 0, b"", stdin=b"secret word\n")
        self.check((*user, "--archive", "ann", "--no-scram", "add", "bob"), 0, b"", stdin=b"no line end")
        self.check((*user, "list"), 0, b"ann\tann\tyescrypt,scram-sha-256\nbob\tann\tyescrypt\n")
        self.check((*user, "remove", "bob"), 0, b"")
        self.check((*user, "remove", "bob"), 1, b"")
        self.check((*user, "--archive", "none", "add", "x"), 1, b"", stdin=b"x\n")
        for bad in (b"", b"\n", b"a\0b\n", b"a\x01b\n", b"\xff\n", b"x" * 2000 + b"\n"):
            self.check((*user, "--archive", "ann", "add", "x"), 2, b"", stdin=bad)
        self.check((*user, "add", "x"), 2, b"", stdin=b"x\n")
        self.check((*user, "list"), 0, b"ann\tann\tyescrypt,scram-sha-256\n")
        with open(os.path.join(self.store, "catalogue/data.mdb"), "rb") as f:
            self.assertNotIn(b"secret word", f.read())

    def type_passwords(self, *lines):
        """What a terminal sees, and the exit status."""
        pid, fd = pty.fork()
        if pid == 0:
            os.execv(MDS, [MDS, "user", *self.archive, "add", "carl"])
        seen = b""
        for line in lines:
            while not re.search(rb"(Password|Again): $", seen):
                self.assertTrue(select.select([fd], [], [], 60)[0], seen)
                seen += os.read(fd, 1000)
            os.write(fd, line + b"\n")
            seen += b"\0"
        try:
            while chunk := os.read(fd, 1000):
                seen += chunk
        except OSError:  # the end of a terminal
            pass
        os.close(fd)
        return seen, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def test_a_terminal_is_asked_twice_without_echo(self):
        seen, status = self.type_passwords(b"geheim", b"geheim")
        self.assertEqual((status, b"geheim" in seen), (0, False), seen)
        seen, status = self.type_passwords(b"geheim", b"gehein")
        self.assertEqual((status, b"gehei" in seen), (2, False), seen)
        self.check(("user", "--store", self.store, "remove", "carl"), 0)


if __name__ == "__main__":
    if not os.path.exists(MDS):
        print(f"{MDS} is not built")
        sys.exit(77)
    unittest.main(verbosity=2)
