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

# Stands for mds: its searches of three or more stop words never end in time. A server between the suite and the real one.
SLOW = """\
#!{python}
import os, re, signal, socket, subprocess, sys, threading, time
args = ["{mds}", *sys.argv[1:]]
if sys.argv[1] != "serve":
    os.execv(args[0], args)
server = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
def end(*_):
    server.terminate()
    os._exit(server.wait())
signal.signal(signal.SIGTERM, end)
def copy(source, to, slow):
    try:
        while data := source.recv(65536):
            if slow and b'BODY "is the in"' in data:
                time.sleep(30)
            to.sendall(data)
    except OSError:
        pass
    for each in (source, to):
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
def serve(listener, port):
    while True:
        client = listener.accept()[0]
        real = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=copy, args=(client, real, True), daemon=True).start()
        threading.Thread(target=copy, args=(real, client, False), daemon=True).start()
for line in server.stdout:
    at = re.search(r"127\\.0\\.0\\.1:(\\d+)", line)
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener, int(at.group(1))), daemon=True).start()
    print(line.replace(at.group(0), "127.0.0.1:%d" % listener.getsockname()[1]), end="", flush=True)
"""

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

    def test_sizes_of_another_mean_and_tls_beside_plain(self):
        result, _ = self.run_suite("fetch", "--messages", "200,100@20000", "--repeats", "2", "--sides", "mds-tls")
        self.check(result)
        self.assertEqual([(run["messages"], run["mean_bytes"]) for run in result["runs"]], [(200, 6700), (100, 20000)])
        for run in result["runs"]:
            self.assertEqual([side["name"] for side in run["sides"]], ["mds", "mds-tls"])
            for row in run["rows"]:
                plain, tls = row["cells"]
                self.assertTrue(plain["n"] > 0 and tls["n"] > 0, row)
                if "window" not in row["name"] and row["name"] != "one whole message":
                    self.assertEqual(plain["bytes"], tls["bytes"], row)

    def test_a_vault_stands_for_its_size(self):
        vault = self.path("vault")
        subprocess.run([GEN, "--out", vault, "-n", "200", "--quiet"], check=True)
        result, _ = self.run_suite("select", "--vault", vault, "--messages", "100,200", "--repeats", "1", "--sides", "none")
        self.assertEqual([run["messages"] for run in result["runs"]], [100, 200])
        run = subprocess.run([BENCH, "select", "--vault", vault, "--messages", "100", "--work", self.temp.name], capture_output=True, text=True)
        self.assertEqual(run.returncode, 2, run.stderr)

    def test_a_slow_row_makes_skip_its_kind_alone(self):
        """Stands for a slow server: a search of stop words takes longer than the patience, all others answer."""
        vault = self.path("vault")
        subprocess.run([GEN, "--out", vault, "-n", "100", "--quiet"], check=True)
        result, run = self.run_suite("search", "--vault", vault, "--repeats", "1", "--patience", "1", "--sides", "none", "--mds", self.slow_mds())
        rows = {row["name"]: row["cells"][0] for row in result["runs"][0]["rows"]}
        self.assertEqual((rows["BODY stop-words-3"]["n"], rows["BODY stop-words-3"]["note"]), (0, "over 1 s"), run.stdout)
        for name in ("TEXT word-0.1%", "TEXT absent", "TEXT two-characters", "UNDELETED BODY word", "SORT (DATE)"):
            self.assertGreater(rows[name]["n"], 0, run.stdout)

    def slow_mds(self):
        name = self.path("slow-mds")
        with open(name, "w", encoding="utf-8") as f:
            f.write(SLOW.format(python=sys.executable, mds=os.path.abspath(MDS)))
        os.chmod(name, 0o755)
        return name

    def test_making_an_index_of_real_mail(self):
        tree = self.path("tree")
        subprocess.run([GEN, "--out", tree, "-n", "60", "--kind", "eml", "--quiet"], check=True)
        result, _ = self.run_suite("peers", "--mail", tree, "--messages", "50", "--repeats", "1", "--sides", "mds-1,dovecot", "--word", "the")
        run = result["runs"][0]
        self.assertEqual((run["mail"], run["items"]), ("real", 50))
        sides = {side["name"]: side for side in run["sides"]}
        self.assertEqual(len(sides["mds-1"]["builds"]), 1, sides)
        self.assertIn(("mds", "(reading)"), [(ratio["of"], ratio["than"]) for ratio in run["ratios"]])
        for ratio in run["ratios"]:
            self.assertGreater(ratio["wall"], 0)
        if sides["dovecot"]["builds"]:
            self.assertIn(("mds-1", "dovecot"), [(ratio["of"], ratio["than"]) for ratio in run["ratios"]])

    def test_growth_of_builds(self):
        out, vaults = self.path("growth.json"), self.path("vaults")
        os.mkdir(vaults)
        for _ in range(2):  # the second time with the vaults of the first
            run = subprocess.run([BENCH, "growth", "--messages", "100,300", "--vaults", vaults, "--work", self.temp.name, "--json", out],
                                 capture_output=True, text=True)
            self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(sorted(n for n in os.listdir(vaults) if "." not in n), ["mbox-100-2500", "mbox-300-2500"])
        with open(out, encoding="utf-8") as f:
            rows = json.load(f)["rows"]
        self.assertEqual([row["messages"] for row in rows], [100, 300])
        self.assertEqual(rows[0]["of_first"], 1)
        for row in rows:
            self.assertTrue(row["build_items_per_s"] > 0 and row["reading_s"] > 0 and row["store_bytes"] > 0, row)
        self.assertAlmostEqual(rows[1]["of_first"], rows[1]["build_items_per_s"] / rows[0]["build_items_per_s"], places=6)

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
        self.assertEqual(len(mine), 6)
        for row in mine:
            self.assertEqual(row["note"], "", run.stdout)
            self.assertGreater(row["per_s"], 0, row)
            self.assertTrue(0 < row["p50_ms"] <= row["p99_ms"], row)
        self.assertEqual([(total["level"], total["note"]) for total in result["totals"] if total["side"] == "mds"], [("plain", ""), ("tls", "")])

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

    def test_how_many_people(self):
        result, run = self.run_suite("clients", "--find", "--find-seconds", "8", "--desktops", "4", "--phones", "4", "--messages", "200", "--seconds", "1",
                                     "--ramp", "1", "--wave", "0")
        found = result["found"]
        crowds = [total["clients"] for total in result["totals"]]
        self.assertEqual(crowds[0], 8)
        self.assertGreater(len(crowds), 1, run.stdout)
        self.assertEqual(found["carried"], max([total["clients"] for total in result["totals"] if not total["trouble"]], default=0))
        self.assertTrue(found["stopped_by"])
        self.assertIn("clients with p99", run.stdout)

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
        self.assertIn("| resumed TLS 1.3 connections, of plain ones | >= 0.5 x | ", page)
        self.assertIn("| FETCH FLAGS | >= 3 x | | no run of `fetch` says it |", page)
        self.assertEqual([n for n in os.listdir(self.temp.name) if n.startswith("mds-bench")], [], "nothing is left behind")
        plotted = any(name.endswith(".svg") for name in os.listdir(out))
        peer = "dovecot" in page and "(not installed" not in page
        self.assertEqual(plotted, peer and shutil.which("gnuplot") is not None)

    def page_of(self, **files):
        """The page of files {name: JSON}, as its rows of goals {goal: (bound, measured, verdict)}."""
        names = []
        for name, root in files.items():
            names.append(self.path(name + ".json"))
            with open(names[-1], "w", encoding="utf-8") as f:
                json.dump(root, f)
        run = subprocess.run([BENCH, "report", "--out", self.path("page"), *names], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        with open(self.path("page/README.md"), encoding="utf-8") as f:
            goals = f.read().split("## Goals", 1)[1].split("\n## ", 1)[0]
        return {cells[1]: tuple(cells[2:5]) for cells in ([c.strip() for c in line.split("|")] for line in goals.splitlines()) if len(cells) == 6}

    def test_goals_are_held_against_what_was_found(self):
        def cells(**ms):
            return [{"side": side, "n": 3, "p50_ms": value, "p99_ms": value, "hits": 1000} if value else {"side": side, "n": 0, "note": "slow"}
                    for side, value in ms.items()]
        fetch = {"command": "fetch", "runs": [{"messages": 50000, "mean_bytes": 6700, "sides": [], "rows": [
            {"name": "FLAGS", "cells": cells(mds=10, dovecot=50, cyrus=40)},
            {"name": "ENVELOPE", "floor_ms": 7, "cells": cells(**{"mds": 10, "mds-tls": 20, "dovecot": 50, "cyrus": None})}]}]}
        search = {"command": "search", "runs": [{"messages": 1000000, "mean_bytes": 6700, "sides": [], "rows": [
            {"name": "UNSEEN", "cells": cells(mds=4)}, {"name": "FLAGGED", "cells": cells(mds=6)},
            {"name": "BODY absent", "cells": cells(mds=9)}, {"name": "TEXT absent-phrase", "cells": cells(mds=900)},
            {"name": "BODY phrase-0.1%", "cells": cells(mds=79)}, {"name": "BODY stop-words-4", "cells": cells(mds=None)}]}]}
        clients = {"command": "clients", "totals": [{"side": "mds", "clients": 4000, "server_cpu_percent": 12.5}], "rows": []}
        found = self.page_of(fetch=fetch, search=search, clients=clients)
        for goal, expected in {
                "FETCH FLAGS": (">= 3 x", "4.00 x (cyrus)", "reached"),
                "FETCH ENVELOPE": (">= 6 x", "5.00 x (dovecot)", "**not reached**"),
                "ENVELOPE: rate of LMDB and socket alone": (">= 0.6 x", "0.70 x", "reached"),
                "over TLS: FETCH ENVELOPE, of plain": (">= 0.7 x", "0.50 x", "**not reached**"),
                "SEARCH by metadata at 1,000,000, the slowest": ("<= 5 ms", "6.00 ms (FLAGGED)", "**not reached**"),
                "BODY and TEXT of absent strings": ("<= 10 ms", "9.00 ms (BODY absent)", "reached"),
                "phrases and separators, without 30 us a hit": ("<= 50 ms", "49.0 ms (BODY phrase-0.1%)", "reached"),
                "phrases of stop words, the worst case": ("shown", "no answer (BODY stop-words-4)", ""),
                "4,000 mixed clients: share of a core": ("<= 25 %", "12.5 %", "reached"),
                "FETCH HEADER": (">= 2.5 x", "", "no run of `fetch` says it")}.items():
            self.assertEqual(found[goal], expected, goal)
        fetch["quick"] = True
        self.assertEqual(self.page_of(fetch=fetch)["FETCH FLAGS"], (">= 3 x", "4.00 x (cyrus)", ""), "a quick run has no verdict")

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
                     ["report", "--out", self.temp.name],["search", "--messages", "x"], ["fetch", "--repeats", "0x"], ["list", "--folders", "1"], ["fetch", "--messages", "100@7"], ["search", "--budget", "-1"], ["growth", "--messages", "0"], ["select", "stray"],
                     ["search", "--vault", self.path("nothing")]):
            more = [] if args[0] == "report" else ["--work", self.temp.name]
            run = subprocess.run([BENCH, *args, *more], capture_output=True, text=True)
            self.assertEqual(run.returncode, 2, (args, run.stderr))


if __name__ == "__main__":
    if not all(os.path.exists(name) for name in (GEN, BENCH, MDS)):
        sys.exit(f"not all of {GEN}, {BENCH}, {MDS} are built")
    unittest.main(verbosity=2)
