#!/usr/bin/env python3
"""mds-gen: same seed, same bytes; vaults that an independent reader can read; a shape near that of real mail."""

import collections
import contextlib
import email
import email.utils
import mailbox
import os
import subprocess
import sys
import tempfile
import unittest

GEN = os.path.join(os.environ.get("MDS_BIN_DIR", "build/release/bin"), "mds-gen")


def generate(out, *args):
    subprocess.run([GEN, "--out", out, "--quiet", *map(str, args)], check=True)
    return out


def tree(root):
    """Relative path -> (bytes, mtime in seconds)."""
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            with open(path, "rb") as f:
                found[os.path.relpath(path, root)] = (f.read(), int(os.stat(path).st_mtime))
    return found


def lf(data):
    return data.replace(b"\r\n", b"\n")


class Generator(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory(prefix="mds-gen-")
        self.addCleanup(self.temp.cleanup)

    def path(self, name):
        return os.path.join(self.temp.name, name)

    def test_same_arguments_same_bytes_for_any_number_of_threads(self):
        args = ["-n", 1500, "-f", 9, "--torture"]
        one = tree(generate(self.path("a"), *args, "-j", 1))
        many = tree(generate(self.path("b"), *args, "-j", 5))
        self.assertEqual(len(one), 1500)
        self.assertEqual(one, many)
        other = tree(generate(self.path("c"), *args, "--seed", 2))
        self.assertNotEqual(one.keys(), other.keys())

    def test_a_vault_grows_without_touching_what_was_there(self):
        whole = tree(generate(self.path("whole"), "-n", 700, "-f", 4))
        generate(self.path("grown"), "-n", 300, "-f", 4)
        before = tree(self.path("grown"))
        generate(self.path("grown"), "-n", 400, "--start", 300, "-f", 4)
        self.assertEqual(tree(self.path("grown")), whole)
        self.assertTrue(before.items() <= whole.items())

    def test_kinds_hold_the_same_messages(self):
        count = 400
        raw = {}
        for kind in ("maildir", "eml", "mh"):
            files = tree(generate(self.path(kind), "-n", count, "-f", 7, "-k", kind))
            raw[kind] = collections.Counter(data for name, (data, _) in files.items() if not name.endswith(".mh_sequences"))
            self.assertEqual(sum(raw[kind].values()), count)
        self.assertEqual(raw["maildir"], raw["eml"])
        self.assertEqual(raw["maildir"], raw["mh"])
        generate(self.path("mbox"), "-n", count, "-f", 7, "-k", "mbox")
        ids = collections.Counter()
        for name in tree(self.path("mbox")):
            with contextlib.closing(mailbox.mbox(os.path.join(self.path("mbox"), name), create=False)) as box:
                for message in box:
                    ids[message["Message-ID"]] += 1
        expected = collections.Counter()
        for data, n in raw["eml"].items():
            expected[email.message_from_bytes(data)["Message-ID"]] += n
        self.assertEqual(ids, expected)

    def test_python_reads_the_maildir_with_folders_flags_and_dates(self):
        generate(self.path("m"), "-n", 1200, "-f", 12)
        box = mailbox.Maildir(self.path("m"), create=False)
        folders = box.list_folders()
        self.assertEqual(len(folders), 11)
        self.assertIn("Entw&APw-rfe", folders)
        self.assertIn("Projects.Alpha.Design", folders)
        total, flags, fresh, punctual = 0, collections.Counter(), 0, 0
        for folder in [box] + [box.get_folder(name) for name in folders]:
            for key in folder.keys():
                message = folder[key]
                total += 1
                flags.update(message.get_flags())
                fresh += message.get_subdir() == "new"
                name_seconds = int(key.split(".")[0])
                self.assertEqual(name_seconds, int(message.get_date()))
                sent = email.utils.parsedate_to_datetime(message["Date"]).timestamp()
                punctual += abs(sent - name_seconds) < 600  # a copy keeps its original's date
                self.assertIn("S=", key)
        self.assertEqual(total, 1200)
        self.assertGreater(punctual, 1200 * 0.97)
        self.assertGreater(flags["S"], 800)
        self.assertGreater(flags["R"], 60)
        self.assertGreater(fresh, 20)

    def test_shape_is_near_that_of_real_mail(self):
        count = 5000
        files = tree(generate(self.path("s"), "-n", count))
        sizes, headers, fields, received = [], [], [], []
        types, authors = collections.Counter(), collections.Counter()
        answers = broken = attachments = 0
        ids, answered = set(), []
        for data, _ in files.values():
            message = email.message_from_bytes(lf(data))
            sizes.append(len(data))
            headers.append(lf(data).index(b"\n\n") + 2)
            fields.append(len(message.keys()))
            received.append(len(message.get_all("Received", [])))
            types[message.get_content_type()] += 1
            authors[message["From"]] += 1
            ids.add(message["Message-ID"])
            if message["In-Reply-To"]:
                answers += 1
                answered.append(message["In-Reply-To"])
            for part in message.walk():
                broken += bool(part.defects)
            attachments += any(part.get_filename() for part in message.walk())

        def mean(values):
            return sum(values) / len(values)

        def quantile(values, q):
            return sorted(values)[int(q * len(values))]

        self.assertEqual(broken, 0, "no defects without --torture")
        self.assertTrue(0.8 * 6700 < mean(sizes) < 1.25 * 6700, mean(sizes))
        self.assertTrue(2000 < quantile(sizes, 0.5) < 5000, quantile(sizes, 0.5))
        self.assertTrue(20000 < quantile(sizes, 0.99) < 300000, quantile(sizes, 0.99))
        self.assertTrue(1200 < mean(headers) < 2500, mean(headers))
        self.assertTrue(15 < mean(fields) < 25, mean(fields))
        self.assertTrue(2.5 < mean(received) < 6, mean(received))
        self.assertTrue(0.50 < types["text/plain"] / count < 0.90, types)
        self.assertTrue(0.10 < types["multipart/alternative"] / count < 0.40, types)
        self.assertTrue(0.005 < types["multipart/signed"] / count < 0.05, types)
        self.assertTrue(0.015 < attachments / count < 0.08, attachments)
        self.assertTrue(0.4 < answers / count < 0.8, answers)
        self.assertTrue(all(parent in ids for parent in answered), "answers name messages of the vault")
        top = [n for _, n in authors.most_common()]
        self.assertTrue(0.03 < top[0] / count < 0.12, top[0])
        self.assertTrue(0.3 < sum(top[:100]) / count < 0.65, sum(top[:100]))
        copies = count - len({data for data, _ in files.values()})
        self.assertTrue(count * 0.004 < copies < count * 0.02, copies)

    def test_arguments_are_checked(self):
        for args, status in (
            (["--kind", "pst"], 2),
            (["--messages", "-1"], 2),
            (["--folders", "0"], 2),
            (["--frobnicate"], 2),
            (["stray"], 2),
        ):
            run = subprocess.run([GEN, "--out", self.path("x"), *args], capture_output=True, text=True)
            self.assertEqual(run.returncode, status, (args, run))
            self.assertIn("mds-gen:", run.stderr)
        self.assertFalse(os.path.exists(self.path("x")))
        generate(self.path("y"), "-n", 1)
        run = subprocess.run([GEN, "--out", self.path("y")], capture_output=True, text=True)
        self.assertEqual(run.returncode, 3)
        self.assertIn("not empty", run.stderr)


if __name__ == "__main__":
    if not os.path.exists(GEN):
        print(f"{GEN} is not built")
        sys.exit(77)
    unittest.main(verbosity=2)
