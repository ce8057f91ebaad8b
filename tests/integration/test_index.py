#!/usr/bin/env python3
"""mds index: in the background of a server, after rebuild and restore, with other trace fields, killed at any time; what mds stat
and mds verify --text say of it."""
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request

from mdslab import Lab, Server, bin_dir

MAILS = 600


def stat(lab):
    return json.loads(lab.mds("stat", "--json", "--store", lab.store, "--archive", "mail").stdout)


def search(lab, *keys, extra=()):
    done = lab.mds("search", "--store", lab.store, "--archive", "mail", *extra, "INBOX", *keys)
    return done.stdout.split()[2:], done.stderr.decode()


def index(lab, *extra, check=True):
    return lab.mds("index", "--store", lab.store, "--archive", "mail", "--progress", "none", *extra, check=check)


def verify(lab, *extra, check=True):
    return lab.mds("verify", "--text", "--store", lab.store, "--archive", "mail", "--progress", "none", *extra, check=check)


def archive_dir(lab):
    return os.path.join(lab.store, "archives", os.listdir(os.path.join(lab.store, "archives"))[0])


def build(lab):
    if not os.path.exists(lab.vault):
        lab.generate(messages=MAILS, kind="eml")
        with open(os.path.join(lab.vault, "zz-special.eml"), "wb") as f:
            f.write(b"From: fr(note)ed @ example.org\nReceived: from routeword by mx\nX-Mine: mineword\nSubject: zebra crossing\n\nuniquebodyword here\n")
    lab.build("mail", f"eml-tree:{lab.vault}")


def wait_for(what, check, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what}")


def by_hand(lab):
    build(lab)
    assert stat(lab)["index"] is None
    assert verify(lab, check=False).returncode == 3
    assert "there is no content index" in search(lab, "BODY", "the", extra=["--explain"])[1]
    want = {keys: search(lab, *keys) for keys in [("BODY", "uniquebodyword"), ("TEXT", "example"), ("SUBJECT", "zebra cross"), ("NOT", "BODY", "the"),
                                                  ("HEADER", "Received", "routeword"), ("TEXT", "routeword"), ("TEXT", "mineword"), ("FROM", "fred@example"), ("TEXT", "fred@exa"), ("HEADER", "From", "fred"),
                                                  ("TEXT", "FRED"), ("FROM", "d@"), ("TEXT", "d@"), ("FROM", "d "), ("TEXT", ": f"), ("TEXT", " f"), ("BODY", "~"),
                                                  ("BODY", ", "), ("BODY", "e."), ("BODY", " -"), ("SUBJECT", ": "), ("TEXT", "-"), ("HEADER", "X-Mine", ""),
                                                  ("BODY", "\u2014"), ("BODY", "word h"), ("BODY", ".  ")]}
    assert len(want[("FROM", "fred@example")][0]) == 1 and want[("TEXT", "fred@exa")][0] == want[("HEADER", "From", "fred")][0] == []
    assert len(want[("BODY", "uniquebodyword")][0]) == 1 and len(want[("HEADER", "Received", "routeword")][0]) == 1
    assert want[("TEXT", "routeword")][0] == [] and len(want[("TEXT", "mineword")][0]) == 1
    done = json.loads(index(lab, "--json").stdout)
    assert done["items"] == done["indexed"] == done["archive_items"] == stat(lab)["items"] and done["failed"] == 0, done
    for keys, (uids, _) in want.items():
        assert search(lab, *keys)[0] == uids, keys
        assert search(lab, *keys, extra=["--no-index"])[0] == uids, keys
    plan = search(lab, "BODY", "e.", extra=["--explain"])[1]
    assert re.search(r'BODY "e\.": index, .* messages match, 0 may match', plan) and "step items" not in plan, plan
    plan = search(lab, "BODY", "uniquebodyword", extra=["--explain"])[1]
    assert re.search(r'BODY "uniquebodyword": index, 1 items in .* 1 messages match, 0 may match', plan) and "step items" not in plan, plan
    assert len(search(lab, "TEXT", "routeword", extra=["--text-headers=all"])[0]) == 1
    assert "not asked, as was wished" in search(lab, "BODY", "the", extra=["--explain", "--no-index"])[1]
    plan = search(lab, "SUBJECT", "", extra=["--explain"])[1]
    assert re.search(r'SUBJECT "": index, \d+ items in .* may match: nothing in it to look up, only the field', plan), plan
    assert b"sound" in verify(lab).stdout and b"sound: 50 items compared" in verify(lab, "--sample", "50").stdout
    assert json.loads(index(lab, "--json").stdout)["items"] == 0  # nothing is left to do

    # Another list of fields makes it anew; who asks with the old list finds no index and is right all the same.
    done = json.loads(index(lab, "--json", "--trace-fields", "X-Mine").stdout)
    assert done["items"] == done["archive_items"], done
    assert search(lab, "TEXT", "mineword", extra=["--trace-fields", "x-mine"])[0] == []
    assert len(search(lab, "TEXT", "routeword", extra=["--trace-fields", "X-Mine"])[0]) == 1
    assert search(lab, "TEXT", "mineword")[0] == want[("TEXT", "mineword")][0] and search(lab, "TEXT", "routeword")[0] == []
    assert verify(lab, check=False).returncode == 3
    verify(lab, "--trace-fields", "X-Mine")

    # It says so; with the server's configuration all take its list.
    plan = search(lab, "TEXT", "mineword", extra=["--explain"])[1]
    assert "the content index was not asked: it was made with other trace-fields" in plan and "items are read" in plan, plan
    conf = lab.path("lists.conf")
    with open(conf, "w", encoding="utf-8") as f:
        f.write(f"[store]\npath = {lab.store}\n[search]\ntrace-fields = X-Mine\n")
    uids, plan = search(lab, "TEXT", "mineword", extra=["--explain", "--config", conf])
    assert uids == [] and "not asked" not in plan and re.search(r'TEXT "mineword": index, 0 items', plan), plan
    assert len(search(lab, "TEXT", "mineword", extra=["--config", conf, "--trace-fields", "X-Other"])[0]) == 1
    verify(lab, "--config", conf)
    told = json.loads(lab.mds("stat", "--json", "--config", conf, "--archive", "mail").stdout)["index"]
    assert told["indexed"] == stat(lab)["items"], told
    assert stat(lab)["index"] is None
    with open(conf, "a", encoding="utf-8") as f:
        f.write("text-headers = all\n")
    assert len(search(lab, "TEXT", "mineword", extra=["--config", conf])[0]) == 1
    assert search(lab, "TEXT", "mineword", extra=["--config", conf, "--text-headers=common"])[0] == []
    done = json.loads(index(lab, "--json", "--merge").stdout)
    assert done["items"] == done["archive_items"] and done["segments"] == 1, done
    done = json.loads(index(lab, "--json", "--rebuild").stdout)
    assert done["items"] == done["archive_items"], done
    return want


def of_another_archive(lab, want):
    """A rebuilt or restored archive does not take the old index for its own."""
    old = lab.path("old-text")
    shutil.copytree(os.path.join(archive_dir(lab), "text"), old)
    lab.mds("backup", "--store", lab.store, "--archive", "mail", "--to", lab.path("backup"))
    assert not os.path.exists(os.path.join(lab.path("backup"), "text"))
    lab.mds("rebuild", "--store", lab.store, "--archive", "mail", "--progress", "none")
    assert stat(lab)["index"] is None and not os.path.exists(os.path.join(archive_dir(lab), "text"))
    shutil.copytree(old, os.path.join(archive_dir(lab), "text"))
    assert stat(lab)["index"] is None
    for keys, (uids, _) in want.items():
        assert search(lab, *keys)[0] == uids, keys
    index(lab)
    verify(lab)

    # An older copy of the archive, whose next items have ids that the index knows otherwise.
    shutil.rmtree(os.path.join(archive_dir(lab), "text"))
    lab.mds("restore", "--store", lab.store, "--archive", "mail", "--from", lab.path("backup"), "--replace")
    assert stat(lab)["index"] is None
    for n, text in ((1, "first future"), (2, "other future")):
        os.makedirs(lab.path(f"more{n}"))
        with open(os.path.join(lab.path(f"more{n}"), "a.eml"), "wb") as f:
            f.write(f"Subject: {text}\n\n{text}word\n".replace(" ", "").encode())
    index(lab)
    before = lab.path("before.mdb")
    shutil.copy(os.path.join(archive_dir(lab), "data.mdb"), before)
    lab.mds("import", "--store", lab.store, "--archive", "mail", "--from", f"eml-tree:{lab.path('more1')}", "--progress", "none")
    index(lab)
    shutil.copy(before, os.path.join(archive_dir(lab), "data.mdb"))
    assert stat(lab)["index"] is None  # it knows an id that was not given here
    lab.mds("import", "--store", lab.store, "--archive", "mail", "--from", f"eml-tree:{lab.path('more2')}", "--progress", "none")
    assert stat(lab)["index"] is None
    assert len(search(lab, "BODY", "otherfutureword")[0]) == 1 and search(lab, "BODY", "firstfutureword")[0] == []
    index(lab)
    verify(lab)
    assert len(search(lab, "BODY", "otherfutureword")[0]) == 1 and search(lab, "BODY", "firstfutureword")[0] == []


def killed(lab, want):
    """At any time: what is there is whole, and the next run goes on."""
    command = [os.path.join(bin_dir(), "mds"), "index", "--store", lab.store, "--archive", "mail", "--progress", "none", "--memory", "1", "--jobs", "2"]
    began = time.monotonic()
    index(lab, "--memory", "1", "--jobs", "2", "--rebuild")
    whole = time.monotonic() - began
    kills, runs = 0, 14
    for i in range(runs):
        # An index from the beginning, then one that goes on where that was killed.
        share = (i + 0.5) / runs if i % 2 == 0 else 0.4 * (runs - i) / runs
        process = subprocess.Popen(command + (["--rebuild"] if i % 2 == 0 else ["--merge"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(share * whole)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        keys = list(want)[i % len(want)]
        assert search(lab, *keys)[0] == want[keys][0], (keys, share)
        if i % 3 == 0:
            found = verify(lab, check=False)
            assert found.returncode in (0, 3), found
    assert kills >= 5, kills
    index(lab)
    verify(lab)
    assert stat(lab)["index"]["indexed"] == stat(lab)["items"]
    print(f"killed {kills} times")


def has_open_or_ended(pid, path):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        if f.read().rsplit(")", 1)[1].split()[0] == "Z":
            return True
    try:
        return any(os.path.realpath(f"/proc/{pid}/fd/{fd}") == path for fd in os.listdir(f"/proc/{pid}/fd"))
    except (FileNotFoundError, PermissionError):
        return False  # just ending


def segments_of_stopped(lab, kind):
    """How many of the kind there are; None if the stopped process holds a lock that whoever opens the store waits for: LMDB's lock file is locked alone while
    the first process opens it."""
    try:
        return json.loads(lab.mds("stat", "--json", "--store", lab.store, "--archive", "mail", timeout=5).stdout)["index"][kind]
    except subprocess.TimeoutExpired:
        return None


def killed_in_merges(lab, keys_of):
    """While it writes the new segment, and while it clears the old ones away. The process goes on for a millisecond at a time, and is looked at while it
    stands still, so that it matters not how fast the machine is."""
    command = [os.path.join(bin_dir(), "mds"), "index", "--store", lab.store, "--archive", "mail", "--progress", "none", "--merge"]
    index(lab, "--merge")
    hits = {"building_segments": 0, "dead_segments": 0}
    for tries in range(30):
        if min(hits.values()) >= 2:
            break
        os.makedirs(lab.path(f"one{tries}"))  # a small segment beside the large one: nothing that pays to merge, until it is asked for
        with open(lab.path(f"one{tries}", "a.eml"), "w", encoding="ascii") as f:
            f.write(f"Subject: one{tries}\n\none{tries}\n")
        lab.mds("import", "--store", lab.store, "--archive", "mail", "--from", f"eml-tree:{lab.path(f'one{tries}')}", "--progress", "none")
        index(lab)
        before = stat(lab)["index"]
        assert before["segments"] > 1 and before["building_segments"] == before["dead_segments"] == 0, before
        wanted = min(hits, key=hits.get)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not has_open_or_ended(process.pid, os.path.realpath(os.path.join(archive_dir(lab), "text", "data.mdb"))):
            time.sleep(0.001)
        while True:
            os.kill(process.pid, signal.SIGSTOP)  # not process.send_signal, which would wait for it
            pid, status = os.waitpid(process.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            if segments_of_stopped(lab, wanted):
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                break
            os.kill(process.pid, signal.SIGCONT)
            time.sleep(0.001)
        if process.returncode == 0:
            continue  # it was through it between two looks
        assert process.returncode == -signal.SIGKILL, process.returncode
        hits[wanted] += 1
        left = stat(lab)["index"]
        assert left[wanted] > 0 and left["indexed"] == stat(lab)["items"], left
        for keys in keys_of:
            assert search(lab, *keys)[0] == search(lab, *keys, extra=["--no-index"])[0], keys
        verify(lab)
        index(lab, "--merge")
        after = stat(lab)["index"]
        assert after["segments"] == 1 and after["building_segments"] == after["dead_segments"] == 0, after
        verify(lab)
    assert min(hits.values()) >= 2, hits
    print(f"killed in merges: {hits} in {tries} tries")


def in_the_background(lab):
    shutil.rmtree(os.path.join(archive_dir(lab), "text"))
    lab.add_user("mail", "ann", "secret")
    with open(lab.path("conf"), "w", encoding="utf-8") as f:
        f.write(f"[store]\npath = {lab.store}\n[metrics]\nenabled = true\nlisten = 127.0.0.1:0\n[log]\nlevel = error\n[listener one]\naddress = 127.0.0.1:0\nmode = plain\n")
    process = subprocess.Popen([os.path.join(bin_dir(), "mds"), "serve", "--config", lab.path("conf")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    port = metrics = None
    while not (port and metrics):
        line = process.stdout.readline().decode()
        assert line, "mds serve ended"
        port = port or (re.search(r"127\.0\.0\.1:(\d+)", line) or [None, None])[1]
        metrics = metrics or (re.search(r"metrics on port (\d+)", line) or [None, None])[1]

    def counter(name):
        text = urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=30).read().decode()
        return int(re.search(rf"^{re.escape(name)} (\d+)", text, re.M)[1])

    def children():
        out = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout
        return [int(line.split()[0]) for line in out.splitlines() if " index " in line]

    def all_indexed():
        now = stat(lab)
        return now["index"] and now["index"]["indexed"] == now["items"]
    try:
        wait_for("a first index", all_indexed)
        wait_for("its count", lambda: counter('mds_index_items_total{result="ok"}') == stat(lab)["items"])
        server = Server.__new__(Server)
        server.address = ("127.0.0.1", int(port))
        with server.login("ann", "secret") as imap:
            mail = b"Subject: fresh\r\n\r\nfreshlyfiled word\r\n"
            imap.command(b"APPEND INBOX {%d+}\r\n" % len(mail) + mail)
            imap.command("SELECT INBOX")
            found = [r for r in imap.command("UID SEARCH BODY freshlyfiled") if r.startswith(b"* SEARCH")]
            assert len(found[0].split()) == 3, found
            wait_for("an index of what was filed", all_indexed)
            assert [r for r in imap.command("UID SEARCH BODY freshlyfiled") if r.startswith(b"* SEARCH")] == found
            first = children()
            assert len(first) == 1, first
            os.kill(first[0], signal.SIGKILL)
            wait_for("another process", lambda: children() and children() != first)
            assert counter("mds_index_starts_total") >= 2
            last = children()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        process.stdout.close()
    wait_for("its end", lambda: not os.path.exists(f"/proc/{last[0]}"), 20)
    verify(lab)


def main():
    with Lab() as lab:
        want = by_hand(lab)
        of_another_archive(lab, want)
    with Lab() as lab:
        build(lab)
        keys = [("BODY", "uniquebodyword"), ("TEXT", "example"), ("NOT", "BODY", "the"), ("HEADER", "Received", "mx")]
        want = {k: search(lab, *k) for k in keys}
        killed(lab, want)
        killed_in_merges(lab, want)
        in_the_background(lab)


if __name__ == "__main__":
    main()
