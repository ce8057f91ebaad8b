#!/usr/bin/env python3
"""mds-gen: same seed, same bytes; vaults that an independent reader can read; a shape near that of real mail."""

import collections
import contextlib
import email
import email.utils
import email.policy
import mailbox
import math
import os
import re
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


def answers(path):
    """(class, key, messages, string) of each line."""
    with open(path, encoding="utf-8") as f:
        head, *lines = f.read().splitlines()
    assert head.startswith("# mds-gen answers 1: "), head
    return [tuple(line.split("\t")) for line in lines]


def leaves(message):
    """The decoded texts of all text parts, those of attached messages too."""
    for part in message.walk():
        if part.get_content_maintype() == "text":
            yield (part.get_payload(decode=True) or b"").decode(part.get_content_charset() or "ascii", "replace")


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

    def test_ordered_kinds_are_the_same_for_any_number_of_threads(self):
        for kind in ("mbox", "mh"):
            args = ["-n", 1000, "-f", 3, "-k", kind]
            one = tree(generate(self.path(kind + "1"), *args, "-j", 1))
            many = tree(generate(self.path(kind + "5"), *args, "-j", 5))
            self.assertEqual({name: data for name, (data, _) in one.items()}, {name: data for name, (data, _) in many.items()})

    def test_answers_are_what_reading_every_text_finds(self):
        generate(self.path("whole"), "-n", 4000, "-k", "eml")
        found, rows = collections.Counter(), answers(self.path("whole.answers"))
        for data, _ in tree(self.path("whole")).values():
            message = email.message_from_bytes(lf(data), policy=email.policy.default)
            texts = [text.lower() for text in leaves(message)]
            header = [str(message["Subject"]).lower()]
            author = [str(message["From"]).lower()]
            for row in rows:
                where = {"BODY": texts, "TEXT": texts + header + author, "SUBJECT": header, "FROM": author}[row[1]]
                found[row] += any(row[3].lower() in text for text in where)
        known = [row for row in rows if row[2] != "-"]
        self.assertEqual([(row, str(found[row])) for row in known], [(row, row[2]) for row in known])
        planted = {row[0]: int(row[2]) for row in known if row[1] == "BODY"}
        self.assertEqual(planted["word-one"], 1)
        self.assertEqual(planted["absent"], 0)
        for name, low, high in (("word-1%", 20, 60), ("word-10%", 320, 480), ("phrase-0.1%", 1, 15), ("accents-0.2%", 2, 25)):
            self.assertTrue(low <= planted[name] <= high, (name, planted))
        self.assertEqual({row[1] for row in rows}, {"BODY", "TEXT", "SUBJECT", "FROM"})
        self.assertTrue(any(row[2] == "-" for row in rows))

    def test_answers_of_a_vault_that_grew_are_those_of_the_whole(self):
        generate(self.path("whole"), "-n", 900, "-a", self.path("elsewhere"))
        self.assertFalse(os.path.exists(self.path("whole.answers")))
        generate(self.path("grown"), "-n", 500)
        generate(self.path("grown") + "/", "-n", 400, "--start", 500)
        self.assertEqual(answers(self.path("grown.answers")), answers(self.path("elsewhere")))
        generate(self.path("strange"), "-n", 10, "--torture")
        self.assertFalse(os.path.exists(self.path("strange.answers")), "a strange message promises nothing")

    def test_words_grow_as_in_real_mail(self):
        """Heaps: n words hold some n^0.6 different ones; nearly half of those occur once; ten words are a tenth of all."""
        words, total, sizes = collections.Counter(), 0, []
        for i, (data, _) in enumerate(tree(generate(self.path("w"), "-n", 3000, "-k", "eml")).values()):
            message = email.message_from_bytes(lf(data))
            if message.get_content_type() == "text/plain":
                text = message.get_payload(decode=True).decode(message.get_content_charset() or "ascii")
                found = re.findall(r"\w+", text.lower())
                words.update(found)
                total += len(found)
            if i in (299, 2999):
                sizes.append((total, len(words)))
        exponent = math.log(sizes[1][1] / sizes[0][1]) / math.log(sizes[1][0] / sizes[0][0])
        self.assertTrue(0.5 < exponent < 0.75, (exponent, sizes))
        once = sum(1 for n in words.values() if n == 1) / len(words)
        self.assertTrue(0.35 < once < 0.75, once)
        top = [n for _, n in words.most_common()]
        for n, low, high in ((10, 0.08, 0.14), (100, 0.28, 0.40), (1000, 0.55, 0.70)):
            self.assertTrue(low < sum(top[:n]) / total < high, (n, sum(top[:n]) / total))

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
