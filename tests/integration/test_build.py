#!/usr/bin/env python3
"""mds build and its kin from the command line: statuses, messages, reports, manifests, signals, rebuild."""
import json
import os
import signal
import subprocess
import time

from mdslab import Lab, bin_dir


def maildir(path, mails=()):
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(path, sub), exist_ok=True)
    for i, subject in mails:
        with open(os.path.join(path, "cur", f"{1000 + i}.m{i}.host:2,"), "w") as f:
            f.write(f"From: a@example.org\nSubject: {subject}\nMessage-ID: <{i}@x>\n\nbody {i}\n")
    return path


def messages(lab, archive="mail"):
    return json.loads(lab.mds("stat", "--store", lab.store, "--archive", archive, "--json").stdout)["messages"]


def usage(lab):
    rows = [
        ([], 2), (["nonsense"], 2), (["build"], 2), (["build", "--store", lab.store], 2),
        (["build", "--store", lab.store, "--archive", "a"], 2),
        (["build", "--store", lab.store, "--archive", "a", "--from", "what:/x"], 2),
        (["build", "--store", lab.store, "--archive", "a", "--from", "maildir:/x", "--progress", "loud"], 2),
        (["build", "--store", lab.store, "--archive", "a", "--from", "maildir:/x", "--headers", "a b"], 2),
        (["build", "--store", lab.store, "--archive", "a", "--from", "maildir:/x", "extra"], 2),
        (["build", "--store", lab.store, "--archive", "a", "--from", "maildir:/nonexistent"], 3),
        (["dump", "--store", "/nonexistent", "--archive", "a"], 3),
        (["--help"], 0), (["--version"], 0), (["help", "build"], 0),
    ] + [([name, "--help"], 0) for name in ("build", "verify", "rebuild", "dump", "stat")]
    for args, want in rows:
        got = lab.mds(*args, check=False)
        assert got.returncode == want, (args, got.returncode, got.stderr)
        assert got.stdout if want == 0 else got.stderr, (args, "nothing was said")


def headers(lab):
    source = "maildir:" + maildir(lab.path("h"), [(1, "x")])
    lab.build("h", source, extra=["--headers", "subject,x-label"])
    lab.build("h", source)  # follows the archive
    other = lab.build("h", source, extra=["--headers", "all"], check=False)
    assert other.returncode == 2 and b"rebuild" in other.stderr, other.stderr
    lab.mds("rebuild", "--store", lab.store, "--archive", "h", "--headers", "all", "--progress", "none")
    lab.build("h", source, extra=["--headers", "all"])


def lost_store(lab):
    """A store whose data.mdb went away is not begun anew: UID 1 would become another message under the same UIDVALIDITY."""
    source = "maildir:" + maildir(lab.path("lost"), [(1, "x")])
    lab.build("lost", source)
    found = [os.path.join(folder, "data.mdb") for folder, _, names in os.walk(os.path.join(lab.store, "archives"))
             if "data.mdb" in names]
    newest = max(found, key=lambda path: os.stat(os.path.dirname(path)).st_ctime_ns)
    os.rename(newest, newest + ".away")
    for empty in (False, True):
        if empty:
            open(newest, "w").close()
        again = lab.build("lost", source, check=False)
        assert again.returncode == 3 and b"backup" in again.stderr, again
    os.rename(newest + ".away", newest)
    lab.build("lost", source)
    assert messages(lab, "lost") == 1


def manifest(lab):
    names = []
    with open(lab.path("manifest"), "w") as f:
        f.write("# archives\n\n")
        for i in range(5):
            names.append(f"user{i}")
            f.write(f"user{i}\tmaildir:{maildir(lab.path(f'm{i}'), [(n, 'x') for n in range(i + 1)])}\n")
        f.write(f"user0\tmaildir:{maildir(lab.path('more'), [(99, 'more')])}=Old\n")
    done = lab.mds("build", "--store", lab.store, "--manifest", lab.path("manifest"), "--json", "--progress", "none")
    *reports, total = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["archive"] for r in reports] == names
    assert total["archive"] is None and total["archives_built"] == 5 and total["messages_added"] == 16, total
    assert [messages(lab, n) for n in names] == [2, 2, 3, 4, 5]
    with open(lab.path("bad"), "w") as f:
        f.write("no tab here\n")
    bad = lab.mds("build", "--store", lab.store, "--manifest", lab.path("bad"), check=False)
    assert bad.returncode == 2 and b"line 1" in bad.stderr, bad.stderr


def interrupted(lab):
    """SIGINT stops cleanly, says how to go on, and what it did is there."""
    lab.generate(out=lab.path("big"), messages=3000)
    args = lab.build_args("big", "maildir++:" + lab.path("big")) + ["--max-rate", "500", "--batch", "50"]
    build = subprocess.Popen([os.path.join(bin_dir(), "mds"), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        got = lab.mds("stat", "--store", lab.store, "--archive", "big", "--json", check=False)
        if got.returncode == 0 and json.loads(got.stdout)["messages"] >= 100:
            break
    build.send_signal(signal.SIGINT)
    _, err = build.communicate(timeout=30)
    assert build.returncode == 3, (build.returncode, err)
    assert b"same command" in err, err
    some = messages(lab, "big")
    assert 100 <= some < 3000, some
    lab.build("big", "maildir++:" + lab.path("big"))
    assert messages(lab, "big") == 3000


def rewritten_meanwhile(lab):
    """An mbox that another program rewrites under a build leaves no halves of mails and loses none."""
    path = lab.path("box")

    def write(numbers):
        with open(path, "w") as f:
            for n in numbers:
                f.write(f"From a@x Mon Jan  1 10:00:00 2024\nSubject: {n}\n\n{'x' * (n * 7 % 100)}\n\n")

    write(range(600))
    build = subprocess.Popen([os.path.join(bin_dir(), "mds"), *lab.build_args("box", "mbox:" + path), "--max-rate", "300",
                              "--batch", "10"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        got = lab.mds("stat", "--store", lab.store, "--archive", "box", "--json", check=False)
        if got.returncode == 0 and json.loads(got.stdout)["messages"] >= 100:
            break
    write(n for n in range(600) if n != 30)
    _, err = build.communicate(timeout=30)
    assert build.returncode == 1, (build.returncode, err)
    stat = json.loads(lab.mds("stat", "--store", lab.store, "--archive", "box", "--json").stdout)
    assert stat["not_readable"] >= 100 and b"not readable" in lab.mds("stat", "--store", lab.store, "--archive", "box").stdout
    assert any("rewritten" in f["reason"] and f["container"] == "" for f in stat["failures"]), stat["failures"]
    report = json.loads(lab.build("box", "mbox:" + path, extra=["--json"]).stdout)
    assert messages(lab, "box") == 599 and report["messages_expunged"] == 1, report
    lab.mds("verify", "--store", lab.store, "--archive", "box", "--items", "--progress", "none")


def progress(lab):
    done = lab.mds("build", "--store", lab.store, "--archive", "p", "--from", "maildir:" + maildir(lab.path("p"), [(1, "x")]),
                   "--progress", "json", "--json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines and lines[-1]["phase"] == "finish" and lines[-1]["items_done"] == 1, lines
    report = json.loads(done.stdout)
    assert report["status"] == 0 and report["messages_added"] == 1 and report["error"] is None, report


def rebuilt(lab):
    """UIDs, flags and UIDVALIDITY stay over a rebuild; what the vault lost is not there."""
    path = maildir(lab.path("r"), [(i, "x") for i in range(60)])
    lab.build("r", "maildir:" + path)
    for i in (0, 7, 8):
        os.unlink(os.path.join(path, "cur", f"{1000 + i}.m{i}.host:2,"))
    lab.build("r", "maildir:" + path)

    def rows(text):
        """(uid, flags, size) of each message, and the folder's UIDVALIDITY and UIDNEXT."""
        found = []
        for line in text.decode().splitlines():
            fields = dict(part.split("=", 1) for part in line.split(" ") if "=" in part)
            if line.startswith("message "):
                found.append((fields["folder"], fields["uid"], fields["flags"], fields["size"]))
            elif line.startswith("folder "):
                found.append((fields["name"], fields["uidvalidity"], fields["uidnext"]))
        return found

    before = rows(lab.dump("r"))
    assert len(before) == 58, len(before)
    lab.mds("rebuild", "--store", lab.store, "--archive", "r", "--progress", "none")
    assert rows(lab.dump("r")) == before
    lab.mds("verify", "--store", lab.store, "--archive", "r", "--items", "--progress", "none")
    emptied = os.path.join(path, "emptied")
    os.rename(os.path.join(path, "cur"), emptied)
    os.mkdir(os.path.join(path, "cur"))
    lost = lab.mds("rebuild", "--store", lab.store, "--archive", "r", "--progress", "none", check=False)
    assert lost.returncode == 3 and b"lacks 57 of 57" in lost.stderr, lost.stderr
    assert rows(lab.dump("r")) == before
    os.rmdir(os.path.join(path, "cur"))
    os.rename(emptied, os.path.join(path, "cur"))
    os.rename(path, path + ".away")
    gone = lab.mds("rebuild", "--store", lab.store, "--archive", "r", "--progress", "none", check=False)
    assert gone.returncode == 3 and b"nothing was changed" in gone.stderr, gone.stderr
    assert rows(lab.dump("r")) == before


def rebuilt_from_damage(lab):
    """A damaged page of messages or items costs the UIDs that stood on it, no other; none is given again."""
    path = maildir(lab.path("d"), [(i, "x") for i in range(600)])
    lab.build("d", "maildir:" + path)

    def uids():
        """Hash of each item to its UID."""
        items, found = {}, {}
        for line in lab.dump("d").decode().splitlines():
            fields = dict(part.split("=", 1) for part in line.split(" ") if "=" in part)
            if line.startswith("item "):
                items[fields["id"]] = fields["hash"]
            elif line.startswith("message "):
                found[fields["item"]] = int(fields["uid"])
        return {items[i]: uid for i, uid in found.items()}

    before = uids()
    archives = os.path.join(lab.store, "archives")
    data = os.path.join(archives, sorted(os.listdir(archives))[-1], "data.mdb")
    with open(data, "rb") as f:
        sound = f.read()
    page, tried = 4096, 0
    for at in range(2 * page, len(sound), page):
        if sound[at + 10] != 2:  # LMDB: P_LEAF and nothing else
            continue
        with open(data, "wb") as f:
            f.write(sound[:at] + bytes(page) + sound[at + page:])
        found = lab.mds("verify", "--store", lab.store, "--archive", "d", "--progress", "none", check=False)
        if not found.stdout.startswith((b"table messages: ", b"table items: ")):
            continue
        tried += 1
        lab.mds("rebuild", "--store", lab.store, "--archive", "d", "--progress", "none")
        now = uids()
        kept = sum(now[h] == uid for h, uid in before.items())
        assert len(now) == 600 and 300 <= kept < 600, kept
        assert all(now[h] == uid or now[h] > 600 for h, uid in before.items()), "a UID was given again"
        lab.mds("verify", "--store", lab.store, "--archive", "d", "--items", "--progress", "none")
    assert tried >= 2, tried


def verified(lab):
    """--items finds an item that was edited in place, and --full takes it."""
    path = maildir(lab.path("v"), [(i, "x") for i in range(20)])
    lab.build("v", "maildir:" + path)
    with open(os.path.join(path, "cur", "1003.m3.host:2,"), "a") as f:
        f.write("edited\n")
    lab.mds("verify", "--store", lab.store, "--archive", "v", "--progress", "none")
    found = lab.mds("verify", "--store", lab.store, "--archive", "v", "--items", "--progress", "none", check=False)
    assert found.returncode == 1 and found.stdout.count(b"\n") == 1, found.stdout
    report = json.loads(lab.build("v", "maildir:" + path, extra=["--full", "--json"]).stdout)
    assert report["messages_added"] == 1 and report["messages_expunged"] == 1, report
    lab.mds("verify", "--store", lab.store, "--archive", "v", "--items", "--progress", "none")


def same_vault(lab):
    """A vault is not filed a second time under another kind, or into another folder."""
    path = maildir(lab.path("same"), [(1, "x"), (2, "y")])
    maildir(path + "=a", [(1, "z")])
    lab.build("s", f"maildir:{path}")
    for other in (f"maildir++:{path}", f"maildir:{path}=Other", f"maildir++:{path}/../same"):
        got = lab.build("s", other, check=False)
        assert got.returncode == 2 and f"is in the archive as maildir:{path}".encode() in got.stderr, (other, got)
    lab.build("s", f"maildir:{path}/../same", f"maildir:{path}=a")
    assert messages(lab, "s") == 3


def main():
    with Lab() as lab:
        for check in (usage, headers, lost_store, manifest, progress, rebuilt, rebuilt_from_damage, verified, interrupted,
                      rewritten_meanwhile, same_vault):
            check(lab)
            print(f"{check.__name__}: ok", flush=True)


main()
