#!/usr/bin/env python3
"""The suites of mds-bench that hold servers against each other work at a tiny size and give numbers; what a search finds is held against what
was planted. No time fails, and a peer that is not installed is a note."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

BIN = os.environ.get("MDS_BIN_DIR", "build/release/bin")
GEN, BENCH, MDS = (os.path.join(BIN, name) for name in ("mds-gen", "mds-bench", "mds"))


class Suites(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory(prefix="mds-suites-")
        self.addCleanup(self.temp.cleanup)
        os.chmod(self.temp.name, 0o755)  # as root, peers run as nobody

    def path(self, name):
        return os.path.join(self.temp.name, name)

    def run_suite(self, *args, status=0):
        out = self.path("out.json")
        run = subprocess.run([BENCH, *args, "--quick", "--work", self.temp.name, "--json", out], capture_output=True, text=True)
        self.assertEqual(run.returncode, status, run.stderr + run.stdout)
        self.assertEqual([n for n in os.listdir(self.temp.name) if n.startswith("mds-bench")], [], "nothing is left behind")
        with open(out, encoding="utf-8") as f:
            result = json.load(f)
        self.assertGreater(result["machine"]["processors"], 0)
        self.assertTrue(result["machine"]["cpu"] and result["machine"]["time"])
        return result, run

    def check(self, result):
        """Every row has a cell a side, with numbers or with the reason why there are none; the first side has numbers somewhere."""
        for run in result["runs"]:
            sides = [side["name"] for side in run["sides"]]
            self.assertEqual(sides[0], "mds")
            self.assertGreater(run["sides"][0]["disk_bytes"], 0)
            measured = 0
            for row in run["rows"]:
                self.assertEqual([cell["side"] for cell in row["cells"]], sides)
                for cell in row["cells"]:
                    if cell["n"] == 0:
                        self.assertTrue(cell["note"], (row["name"], cell))
                        continue
                    measured += cell["side"] == "mds"
                    self.assertTrue(0 < cell["min_ms"] <= cell["p50_ms"] <= cell["p99_ms"] <= cell["max_ms"], cell)
                    self.assertGreater(cell["bytes"], 0)
            self.assertGreater(measured, 0)

    def test_searches_find_what_was_planted(self):
        result, _ = self.run_suite("search", "--messages", "300,500", "--repeats", "2", "--sides", "mds-scan,dovecot")
        self.check(result)
        self.assertEqual([run["messages"] for run in result["runs"]], [300, 500])
        for run in result["runs"]:
            rows = {row["name"]: row for row in run["rows"]}
            for name in ("ALL", "UNDELETED", "BODY word-0.1%", "TEXT absent", "SUBJECT header-0.7%", "SORT (DATE)", "THREAD REFERENCES"):
                self.assertIn(name, rows)
            planted = [row for row in run["rows"] if "expected" in row]
            self.assertGreater(len(planted), 8)
            for row in planted:
                cell = row["cells"][0]
                self.assertEqual((row["name"], cell["n"] > 0, cell.get("hits")), (row["name"], True, row["expected"]))

    def test_an_answer_that_contradicts_is_a_defect(self):
        vault = self.path("vault")
        subprocess.run([GEN, "--out", vault, "-n", "200", "--quiet"], check=True)
        with open(vault + ".answers", encoding="utf-8") as f:
            text = f.read()
        with open(vault + ".answers", "w", encoding="utf-8") as f:
            f.write(text.replace("absent\tBODY\t0\t", "absent\tBODY\t7\t", 1))
        result, run = self.run_suite("search", "--vault", vault, "--repeats", "1", "--sides", "none", status=1)
        self.assertIn("WRONG", run.stdout)
        wrong = [row["name"] for row in result["runs"][0]["rows"] if row["cells"][0].get("wrong")]
        self.assertEqual(wrong, ["BODY absent"])

    def test_reading(self):
        for suite, some in (("fetch", "ENVELOPE"), ("select", "EXAMINE"), ("list", "LIST-STATUS")):
            with self.subTest(suite=suite):
                result, _ = self.run_suite(suite, "--messages", "300", "--folders", "12", "--repeats", "2", "--sides", "dovecot")
                self.check(result)
                rows = {row["name"]: row for row in result["runs"][0]["rows"]}
                self.assertGreater(rows[some]["cells"][0]["n"], 1)
                if suite == "fetch":
                    self.assertGreater(rows[some]["floor_ms"], 0)
                    self.assertGreater(rows["whole messages"]["cells"][0]["bytes"], 300 * 2000)

    def test_making_an_index_beside_others(self):
        result, _ = self.run_suite("peers", "--messages", "300", "--repeats", "1")
        run = result["runs"][0]
        self.assertEqual(run["items"], 300)
        sides = {side["name"]: side for side in run["sides"]}
        for name in ("mds", "(reading)", "(GMime alone)"):
            self.assertEqual(len(sides[name]["builds"]), 1, sides[name])
            self.assertGreater(sides[name]["items_per_s"], 0)
        for name, side in sides.items():
            self.assertTrue(side["builds"] or side["note"], side)
            if "hits" in side:
                self.assertEqual(side["hits"], sides["mds"]["hits"], "all find the same: " + name)

    def test_many_sessions_at_once(self):
        result, run = self.run_suite("rates", "--messages", "200", "--idle", "5", "--sides", "dovecot")
        mine = [row for row in result["rows"] if row["side"] == "mds"]
        self.assertEqual(len(mine), 5)
        for row in mine:
            self.assertEqual(row["note"], "", run.stdout)
            self.assertGreater(row["per_s"], 0, row)
            self.assertTrue(0 < row["p50_ms"] <= row["p99_ms"], row)
        self.assertEqual((result["totals"][0]["side"], result["totals"][0]["note"]), ("mds", ""))

    def test_people(self):
        result, run = self.run_suite("clients", "--desktops", "6", "--phones", "9", "--messages", "600", "--seconds", "3", "--ramp", "1", "--speed",
                                     "60", "--wave", "1200")
        total = result["totals"][0]
        self.assertEqual((total["side"], total["errors"]), ("mds", 0), run.stdout)
        self.assertEqual(total["newcomers"], 60)
        self.assertGreater(total["commands"], 50)
        rows = {row["ask"]: row for row in result["rows"]}
        for ask in ("connect", "LOGIN", "SELECT", "sync 500", "window 50", "open one", "IDLE", "DONE", "all"):
            self.assertGreater(rows[ask]["answers"], 0, run.stdout)
            self.assertTrue(0 < rows[ask]["p50_ms"] <= rows[ask]["p95_ms"] <= rows[ask]["p99_ms"] <= rows[ask]["max_ms"], rows[ask])

    def test_more_people_than_descriptors_are_not_tried(self):
        run = subprocess.run(["sh", "-c", 'ulimit -n 200 && exec "$0" clients --phones 150 --work "$1"', BENCH, self.temp.name],
                             capture_output=True, text=True)
        self.assertEqual(run.returncode, 77, run.stderr)

    def test_some_suites_in_one_run_and_a_page(self):
        out = self.path("found")
        run = subprocess.run([BENCH, "all", "--quick", "--suites", "select,connect", "--work", self.temp.name, "--out", out],
                             capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr + run.stdout)
        self.assertTrue({"select.json", "select.txt", "connect.json", "connect.txt", "README.md"} <= set(os.listdir(out)))
        with open(os.path.join(out, "README.md"), encoding="utf-8") as f:
            page = f.read()
        for text in ("## select", "| EXAMINE |", "## connect", "| tls1.3-full |", "load "):
            self.assertIn(text, page)
        plotted = any(name.endswith(".svg") for name in os.listdir(out))
        peer = "dovecot" in page and "(not installed" not in page
        self.assertEqual(plotted, peer and shutil.which("gnuplot") is not None)

    def test_a_report_refuses_what_no_suite_wrote(self):
        strange = self.path("strange.json")
        for text in ("{}", "[", "[1]"):
            with open(strange, "w", encoding="utf-8") as f:
                f.write(text)
            run = subprocess.run([BENCH, "report", "--out", self.path("page"), strange], capture_output=True, text=True)
            self.assertEqual(run.returncode, 3, (text, run.stderr))
            self.assertIn(strange, run.stderr)

    def test_arguments_are_checked(self):
        for args in (["peers", "--messages", "0x"], ["rates", "--idle", "-1"], ["clients", "--speed", "0"], ["clients", "--desktops", "0", "--phones", "0"], ["all"],
                     ["report", "--out", self.temp.name],["search", "--messages", "x"], ["fetch", "--repeats", "0x"], ["list", "--folders", "1"], ["select", "stray"],
                     ["search", "--vault", self.path("nothing")]):
            more = [] if args[0] == "report" else ["--work", self.temp.name]
            run = subprocess.run([BENCH, *args, *more], capture_output=True, text=True)
            self.assertEqual(run.returncode, 2, (args, run.stderr))


if __name__ == "__main__":
    if not all(os.path.exists(name) for name in (GEN, BENCH, MDS)):
        sys.exit(f"not all of {GEN}, {BENCH}, {MDS} are built")
    unittest.main(verbosity=2)
