#!/usr/bin/env python3
"""scripts/demo --once: from a generated vault to curl reading a message over IMAP."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.environ.get("MDS_SOURCE_DIR", os.getcwd())
BIN = os.path.abspath(os.environ.get("MDS_BIN_DIR", "build/release/bin"))


class Demo(unittest.TestCase):
    def demo(self, *args):
        return subprocess.run(
            [os.path.join(SOURCE, "scripts/demo"), "--bin", BIN, *args],
            capture_output=True, text=True, errors="replace", timeout=300, stdin=subprocess.DEVNULL,
        )

    def test_once_browses_and_ends(self):
        with tempfile.TemporaryDirectory(prefix="mds-demo-") as where:
            # Twice: the second run finds the first one's files.
            for _ in range(2):
                run = self.demo("--once", "--items", "700", "--dir", where)
                self.assertEqual(run.returncode, 0, run.stdout[-3000:] + run.stderr)
            self.assertIn("Lists/linux-usb", run.stdout)
            self.assertRegex(run.stdout, r"STATUS INBOX \(MESSAGES [1-9]")
            self.assertRegex(run.stdout, r"\* 3 FETCH \(UID 3 ")
            with open(os.path.join(where, "message.eml"), "rb") as f:
                self.assertIn(b"\nMessage-ID: <", f.read().replace(b"\r\n", b"\n"))

    def test_wrong_arguments_are_refused(self):
        for args in (["--items"], ["--frobnicate"]):
            run = self.demo(*args)
            self.assertEqual(run.returncode, 2, (args, run.stderr))


if __name__ == "__main__":
    if not (os.path.exists(os.path.join(BIN, "mds")) and shutil.which("curl")):
        print("needs mds and curl")
        sys.exit(77)
    unittest.main(verbosity=2)
