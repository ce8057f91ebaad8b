#!/usr/bin/env python3
"""examples/*.c, built against an installation alone: one lists an archive that `mds build` made, one files a message there."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.environ.get("MDS_SOURCE_DIR", os.getcwd())
BIN = os.path.abspath(os.environ.get("MDS_BIN_DIR", "build/release/bin"))
BUILD = os.path.dirname(BIN)


def run(*args, **kwargs):
    done = subprocess.run(args, capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


def make_maildir(root):
    for folder in ("cur", "new", "tmp", ".Lists/cur", ".Lists/new", ".Lists/tmp"):
        os.makedirs(os.path.join(root, folder))
    for i in range(1, 6):
        with open(os.path.join(root, f"cur/{1000 + i}.m{i}:2,{'S' if i < 3 else ''}"), "w", encoding="utf-8") as f:
            f.write(f"From: a{i}@example.org\nSubject: message {i}\nDate: Mon, 1 Jan 2001 00:00:0{i} +0000\n\nbody {i}\n")
    with open(os.path.join(root, ".Lists/cur/2000.x:2,S"), "w", encoding="utf-8") as f:
        f.write("Subject: of a list\n\nx\n")


class Example(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory(prefix="mds-example-")
        prefix = os.path.join(cls.temp.name, "usr")
        run("cmake", "--install", BUILD, "--prefix", prefix)
        libdir = next(where for where, _, files in os.walk(prefix) if "libmds.so" in files)
        cls.env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(libdir, "pkgconfig"), LD_LIBRARY_PATH=libdir)
        cls.example, cls.filer = (os.path.join(cls.temp.name, name) for name in ("list_archive", "file_message"))
        flags = run("pkg-config", "--cflags", "--libs", "mds", env=cls.env).split()
        for program in (cls.example, cls.filer):
            source = os.path.join(SOURCE, "examples", os.path.basename(program) + ".c")
            run("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", source, "-o", program, *flags, env=cls.env)
        cls.store = os.path.join(cls.temp.name, "store")
        make_maildir(os.path.join(cls.temp.name, "mail"))
        run(os.path.join(BIN, "mds"), "build", "--store", cls.store, "--archive", "ann", "--from", "maildir++:" + os.path.join(cls.temp.name, "mail"),
            "--progress", "none")

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    def test_a_lists_folders_and_newest_messages(self):
        lines = run(self.example, self.store, "ann", env=self.env).splitlines()
        self.assertEqual(lines[0], "INBOX: 5 messages, 3 unseen")
        self.assertEqual([re.match(r"  (\d+) .* bytes .*\"(message \d)\"", line).groups() for line in lines[1:4]],
                         [("3", "message 3"), ("4", "message 4"), ("5", "message 5")])
        self.assertEqual(lines[4], "Lists: 1 messages, 0 unseen")
        self.assertIn('"of a list"', lines[5])
        self.assertEqual(len(lines), 6)

    def test_one_files_and_flags_a_message(self):
        item = "From: ann@example.org\nSubject: filed\n\nby a program\n"
        self.assertEqual(run(self.filer, self.store, "ann", "Lists", input=item, env=self.env), "filed as 2\n")
        self.assertIn('"filed"', run(self.example, self.store, "ann", env=self.env).splitlines()[-1])
        fetched = run(os.path.join(BIN, "mds"), "fetch", "--store", self.store, "--archive", "ann", "Lists", "2", "FLAGS")
        self.assertIn("\\Flagged", fetched)
        run(os.path.join(BIN, "mds"), "verify", "--store", self.store, "--archive", "ann")
        done = subprocess.run([self.filer, self.store, "ann", "Nowhere"], input=item, capture_output=True, text=True, env=self.env)
        self.assertEqual(done.returncode, 1)
        archive = os.path.join(self.store, "archives")
        self.assertTrue(any("segments" in folders for _, folders, _ in os.walk(archive)))

    def test_what_is_not_there_is_said(self):
        for args in ((self.store, "bob"), (self.store + "x", "ann"), ()):
            done = subprocess.run([self.example, *args], capture_output=True, text=True, env=self.env)
            self.assertEqual(done.returncode, 1, args)
            self.assertTrue(done.stderr.strip(), args)


if __name__ == "__main__":
    if not os.path.exists(os.path.join(BUILD, "mds.pc")):
        print(f"{BUILD} has no library to install")
        sys.exit(77)
    with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as cache:
        if re.search(r"^MDS_SANITIZE:\w+=\w", cache.read(), flags=re.M):
            print("a build with sanitizers is not for installing")
            sys.exit(77)
    unittest.main(verbosity=2)
