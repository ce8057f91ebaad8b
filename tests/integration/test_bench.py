#!/usr/bin/env python3
"""mds-bench measures what it says: wall time, memory of the whole process tree, bytes on disk; and notices a build that lies. The suites of a
living archive and of its server run at a tiny size and find numbers; no time fails."""

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import unittest

BIN = os.environ.get("MDS_BIN_DIR", "build/release/bin")
GEN, BENCH = (os.path.join(BIN, name) for name in ("mds-gen", "mds-bench"))

# Stands for mds: its build takes half a second, has a child with 64 MiB of its own and leaves a store of 1 MiB.
FAKE = """\
    #!{python}
    import os, subprocess, sys, time
    if sys.argv[1] == "build":
        store = sys.argv[sys.argv.index("--store") + 1]
        os.makedirs(store, exist_ok=True)
        # Never awaited: its memory and its CPU time must count all the same. Only a slow machine keeps it from being there in time.
        there = os.path.join(store, "there")
        subprocess.Popen([sys.executable, "-c", "import time, sys; b = bytearray(b'x') * (64 << 20); open(sys.argv[1], 'w').close()\\n"
                          "time.sleep(0.4)\\nwhile time.process_time() < 0.3: pass", there])
        time.sleep(0.2)
        while not os.path.exists(there):
            time.sleep(0.01)
        time.sleep(0.3)
        with open(os.path.join(store, "data"), "wb") as f:
            f.write(os.urandom(1 << 20))
            os.fsync(f.fileno())
        sys.exit({status})
    print('{{"messages": {messages}}}')
"""


class Bench(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory(prefix="mds-bench-")
        self.addCleanup(self.temp.cleanup)
        self.vault = self.path("vault")
        subprocess.run([GEN, "--out", self.vault, "-n", "600", "-f", "5", "--torture", "--quiet"], check=True)

    def path(self, name):
        return os.path.join(self.temp.name, name)

    def fake(self, messages, status=0):
        name = self.path("fake-mds")
        with open(name, "w", encoding="utf-8") as f:
            f.write(textwrap.dedent(FAKE).format(python=sys.executable, messages=messages, status=status))
        os.chmod(name, 0o755)
        return name

    def bench(self, *args):
        out = self.path("out.json")
        run = subprocess.run([BENCH, *args, "--vault", self.vault, "--json", out], capture_output=True, text=True)
        result = None
        if run.returncode == 0:
            with open(out, encoding="utf-8") as f:
                result = json.load(f)
        self.assertEqual([n for n in os.listdir(self.temp.name) if n.startswith("mds-bench")], [], "nothing is left behind")
        return run, result

    def test_floor_parses_every_item_with_threads_and_processes(self):
        run, result = self.bench("floor", "--items", "200,600", "--repeats", "2")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual([row["items"] for row in result["rows"]], [200, 600])
        self.assertLess(result["rows"][0]["bytes"], result["rows"][1]["bytes"])
        for row in result["rows"]:
            for side in ("floor_threads", "floor_processes"):
                self.assertEqual(len(row[side]), 2)
                for sample in row[side]:
                    self.assertGreater(sample["wall_s"], 0)
                    self.assertGreater(sample["user_s"] + sample["system_s"], 0)
            self.assertGreater(row["floor_items_per_s"], 100)

    def test_build_is_measured_over_its_process_tree(self):
        run, result = self.bench("build", "--mds", self.fake(600), "--repeats", "1")
        self.assertEqual(run.returncode, 0, run.stderr)
        row = result["rows"][0]
        build = row["build"][0]
        self.assertTrue(0.5 <= build["wall_s"] < 60, build)
        self.assertTrue(64 << 20 <= build["peak_bytes"] < 200 << 20, build)
        self.assertGreaterEqual(build["samples"], 5)
        self.assertGreaterEqual(build["user_s"] + build["system_s"], 0.3)
        self.assertTrue(1 << 20 <= row["store_bytes"] < 2 << 20, row["store_bytes"])
        self.assertAlmostEqual(row["ratio"], row["build_items_per_s"] / row["floor_items_per_s"])
        self.assertIn("ratio build / floor", run.stdout)

    def test_a_build_that_indexed_less_is_no_result(self):
        run, _ = self.bench("build", "--mds", self.fake(599), "--repeats", "1")
        self.assertEqual(run.returncode, 3)
        self.assertIn("599", run.stderr)

    def test_a_build_that_fails_is_no_result(self):
        run, _ = self.bench("rebuild-unchanged", "--mds", self.fake(600, status=3), "--repeats", "1")
        self.assertEqual(run.returncode, 3)
        self.assertIn("status 3", run.stderr)

    def test_unchanged_builds_are_timed(self):
        run, result = self.bench("rebuild-unchanged", "--mds", self.fake(600), "--repeats", "2")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(len(result["rows"][0]["unchanged"]), 2)

    def test_arguments_of_live_suites_are_checked(self):
        for args in (["store", "--seconds", "0"], ["append", "--size", "1"], ["store", "--own-folders"], ["store", "--build-items", "0"],
                     ["archives", "--archives", "0"], ["archives", "--rounds", "x"], ["idle", "--sessions", "0"], ["connect", "--threads", "65"]):
            run = subprocess.run([BENCH, *args, "--work", self.temp.name], capture_output=True, text=True)
            self.assertEqual(run.returncode, 2, (args, run.stderr))

    def test_arguments_are_checked(self):
        for args in ([], ["brew"], ["floor", "--items", "many"], ["floor", "--repeats", "0"]):
            run, _ = self.bench(*args)
            self.assertEqual(run.returncode, 2, (args, run.stderr))

    def live(self, command, *args):
        out = self.path("live.json")
        run = subprocess.run([BENCH, command, *args, "--json", out, "--work", self.temp.name], capture_output=True, text=True, timeout=300)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertEqual([n for n in os.listdir(self.temp.name) if n.startswith("mds-bench")], [], "nothing is left behind")
        with open(out, encoding="utf-8") as f:
            return json.load(f)

    def check_rows(self, result, sessions):
        self.assertEqual([row["sessions"] for row in result["rows"]], sessions)
        for row in result["rows"]:
            self.assertGreater(row["floor_commits_per_s"], 0, row)
            if row["sessions"] > 0:
                self.assertGreater(row["changes_per_s"], 0, row)
                self.assertGreater(row["commits_per_s"], 0, row)
                self.assertTrue(0 < row["p50_ms"] <= row["p99_ms"] <= row["max_ms"], row)

    def test_changes_are_durable_by_query_and_by_imap(self):
        for command in ("store", "append"):
            for level in ([], ["--relaxed"], ["--imap"], ["--imap", "--own-folders"]):
                with self.subTest(command=command, level=level):
                    result = self.live(command, "--sessions", "1,3", "--seconds", "1", "--size", "500", *level)
                    self.assertEqual((result["command"], result["imap"]), (command, "--imap" in level))
                    self.check_rows(result, [1, 3])

    def test_changes_beside_a_build(self):
        result = self.live("store", "--during-build", "--build-items", "1500", "--sessions", "0,1,3", "--seconds", "1")
        self.check_rows(result, [0, 1, 3])
        for row in result["rows"]:
            self.assertGreater(row["build_items_per_s"], 0, row)

    def test_a_client_in_each_archive(self):
        result = self.live("archives", "--archives", "40", "--seconds", "1", "--settle", "0", "--rounds", "5")
        before, idle = result["before"], result["idle"]
        self.assertGreaterEqual(idle["descriptors"] - before["descriptors"], 80, "a socket and a file for each at least")
        self.assertGreater(idle["virtual_bytes"], before["virtual_bytes"])
        self.assertGreater(idle["private_bytes"], 0)
        self.assertTrue(0 < result["heard_p50_ms"] <= result["heard_max_ms"], result)

    def test_more_archives_than_descriptors_are_not_tried(self):
        run = subprocess.run(["sh", "-c", 'ulimit -n 200 && exec "$0" archives --archives 40 --work "$1"', BENCH, self.temp.name],
                             capture_output=True, text=True)
        self.assertEqual(run.returncode, 77, run.stderr)
        self.assertIn("224 descriptors", run.stdout)
        self.assertIn("--archives 34", run.stdout)

    def test_idle_sessions(self):
        result = self.live("idle", "--sessions", "20", "--messages", "60", "--rounds", "20", "--settle", "0", "--threads", "2")
        self.assertEqual((result["command"], result["sessions"], result["messages"]), ("idle", 20, 60))
        self.assertEqual([row["level"] for row in result["rows"]], ["plain", "tls", "tls-deflate"])
        for row in result["rows"]:
            self.assertIsInstance(row["private_bytes"], float)  # of so few it may be anything
            self.assertIsInstance(row["kernel_bytes"], float)
            self.assertGreater(row["filled_s"], 0)
            for fetch in (row["fetch_alone"], row["fetch_among"]):
                self.assertTrue(0 < fetch["p50_ms"] <= fetch["p99_ms"] <= fetch["max_ms"], row)

    def test_more_sessions_than_descriptors_are_not_tried(self):
        run = subprocess.run(["sh", "-c", 'ulimit -n 200 && exec "$0" idle --sessions 100 --work "$1"', BENCH, self.temp.name],
                             capture_output=True, text=True)
        self.assertEqual(run.returncode, 77, run.stderr)
        self.assertIn("260 descriptors", run.stdout)
        self.assertIn("--sessions 40", run.stdout)

    def test_new_connections(self):
        result = self.live("connect", "--seconds", "1", "--threads", "2", "--messages", "10")
        rows = {row["level"]: row for row in result["rows"]}
        self.assertEqual(list(rows), ["plain", "tls1.3-full", "tls1.3-resumed", "tls1.2-full", "tls1.2-resumed"])
        for level, row in rows.items():
            self.assertGreater(row["connected"], 0, row)
            self.assertGreater(row["connections_per_s"], 0, row)
            of_plain = 0 if level == "plain" else row["connections_per_s"] / rows["plain"]["connections_per_s"]
            self.assertAlmostEqual(row["of_plain"], of_plain, places=6)
            if level.endswith("resumed"):
                self.assertGreaterEqual(row["resumed"], row["connected"] - 2, "all but the first of each thread")
            else:
                self.assertEqual(row["resumed"], 0, row)


if __name__ == "__main__":
    if not all(os.path.exists(name) for name in (GEN, BENCH)):
        sys.exit(f"not both of {GEN}, {BENCH} are built")
    unittest.main(verbosity=2)
