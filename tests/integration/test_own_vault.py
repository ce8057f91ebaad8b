#!/usr/bin/env python3
"""The own vault by the real program: import (killed, repeated), export and back, undelete, compact beside a live server, backup and restore."""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

from mdslab import Lab, bin_dir

SEED = int(os.environ.get("SEED", "1"))
KILLS = 8


def run(lab, command, *args, archive="own", status=0, store=None):
    done = lab.mds(command, "--store", store or lab.store, "--archive", archive, *args, check=False)
    assert done.returncode == status, (command, args, done.returncode, done.stdout, done.stderr)
    return done.stdout.decode()


def imported(lab, source, archive="own", *args):
    return json.loads(run(lab, "import", "--from", source, "--progress", "none", "--json", *args, archive=archive))


def messages(lab, archive, store=None):
    """Folder name and message rows of the dump, without item ids, which say only what was filed first."""
    names, rows = {}, []
    dump = run(lab, "dump", archive=archive, store=store)
    for line in dump.splitlines():
        folder = re.match(r'folder id=(\d+) .*?name="(.*?)" ', line)
        if folder:
            names[folder.group(1)] = folder.group(2)
    for line in dump.splitlines():
        message = re.match(r"message folder=(\d+) (.*)", line)
        if message:
            rows.append((names[message.group(1)], re.sub(r"item=\d+ ", "", message.group(2))))
    assert rows, dump[:500]
    return sorted(rows)


def strip(rows, *fields):
    return [(folder, re.sub(rf" ({'|'.join(fields)})=\S+", "", row)) for folder, row in rows]


def sound(lab, archive="own", store=None):
    run(lab, "verify", "--items", "--progress", "none", archive=archive, store=store)


def own_bytes(lab, number=1):
    folder = os.path.join(lab.store, f"archives/a{number:08}", "segments")
    return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))


def check_import(lab):
    subprocess.run([os.path.join(bin_dir(), "mds-gen"), "--out", lab.vault, "--messages", "1200", "--folders", "5", "--torture"],
                   check=True, capture_output=True)
    lab.build("inplace", f"auto:{lab.vault}")
    first = imported(lab, f"auto:{lab.vault}")
    assert first["messages_added"] == 1200 and first["own_items"] == first["items_added"], first
    assert messages(lab, "own") == messages(lab, "inplace")
    sound(lab)

    # Again: nothing. Some go, some come: only the new ones are filed, nothing is expunged.
    again = imported(lab, f"auto:{lab.vault}", "own", "--full")
    assert again["messages_added"] == again["own_items"] == again["messages_expunged"] == 0, again
    names = sorted(os.listdir(os.path.join(lab.vault, "cur")))
    for name in names[:300]:
        os.unlink(os.path.join(lab.vault, "cur", name))
    for i in range(7):
        with open(os.path.join(lab.vault, f"cur/9999999999.new{i}:2,F"), "w", encoding="ascii") as f:
            f.write(f"Subject: new {i}\n\nbody\n")
    more = imported(lab, f"auto:{lab.vault}", "own", "--full")
    assert more["messages_added"] == 7 and more["messages_expunged"] == 0 and more["removals_refused"] == 0, more
    assert len(messages(lab, "own")) == 1207

    # The source is not needed any more.
    shutil.move(lab.vault, lab.path("gone"))
    sound(lab)
    run(lab, "import", "--from", f"auto:{lab.vault}", "--progress", "none", status=3)


def check_killed(lab):
    """Killed at random moments, then run to its end: as if nobody had disturbed it."""
    rng = random.Random(SEED)
    args = [os.path.join(bin_dir(), "mds"), "import", "--store", lab.store, "--archive", "killed", "--from",
            f"auto:{lab.path('gone')}", "--progress", "none", "--batch", "50", "--max-rate", "1500"]
    for _ in range(KILLS):
        process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.15 + rng.random() * 0.4)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if os.path.exists(os.path.join(lab.store, "archives/a00000003/data.mdb")):
            done = lab.mds("verify", "--items", "--store", lab.store, "--archive", "killed", "--progress", "none", check=False)
            assert done.returncode == 0 or b"never built" in done.stderr, done
    subprocess.run(args, check=True, capture_output=True)
    sound(lab, "killed")
    imported(lab, f"auto:{lab.path('gone')}", "calm")
    assert messages(lab, "killed") == messages(lab, "calm")


def check_export(lab):
    before = messages(lab, "own")
    run(lab, "export", "--to", f"maildir:{lab.path('out')}")
    run(lab, "export", "--to", f"maildir:{lab.path('out')}", status=3)  # never overwrites
    imported(lab, f"maildir++:{lab.path('out')}", "back")
    assert messages(lab, "back") == before
    run(lab, "export", "--to", f"mbox:{lab.path('boxes')}")
    run(lab, "export", "--to", f"eml:{lab.path('emls')}", "--folder", "INBOX")
    inbox = [row for row in before if row[0] == "INBOX"]
    assert len([n for n in os.listdir(lab.path("emls")) if n.endswith(".eml")]) == len(inbox)
    with open(os.path.join(lab.path("emls"), "flags.txt"), encoding="utf-8") as f:
        assert len(f.readlines()) == len(inbox)
    # mbox keeps all but what its form cannot: see mds(1). Flags, order and dates survive.
    imported(lab, f"mboxrd-tree:{lab.path('boxes')}", "boxes")
    after = messages(lab, "boxes")
    assert len(after) == len(before)
    # A strange item that begins with a continuation line, or with nothing, has no place for flags.
    differ = [(a, b) for a, b in zip(strip(before, "size", "sent"), strip(after, "size", "sent")) if a != b]
    assert len(differ) <= 3 and not [a for a, b in differ if strip([a], "flags") != strip([b], "flags")], differ
    run(lab, "export", "--to", f"maildir:{lab.path('no')}", "--folder", "Nowhere", status=3)
    for name in ("", "/flags.txt", "/0000000001.eml", "/a.b", "/a_b"):  # names of files, and of each other
        os.makedirs(lab.path("odd") + name + "/cur")
        with open(lab.path("odd") + name + "/cur/1.x:2,", "wb") as f:
            f.write(b"Subject: odd\n\n")
    imported(lab, f"maildir-fs:{lab.path('odd')}", "odd")
    for form in ("maildir", "mbox", "eml"):
        out = run(lab, "export", "--to", f"{form}:{lab.path('odd-' + form)}", archive="odd")
        assert "5 messages of 5 folders" in out, out
    # Whatever lines it has, an export comes back as it was.
    for n, line in enumerate((b"From a", b">From a", b">>From a")):
        quoted, source, out = b"Subject: q\n\n" + line + b"\n", lab.path(f"quoted{n}"), lab.path(f"quoted{n}-out")
        os.makedirs(source + "/cur")
        with open(source + "/cur/1.x:2,", "wb") as f:
            f.write(quoted)
        imported(lab, f"maildir:{source}", f"quoted{n}")
        run(lab, "export", "--to", f"mbox:{out}", archive=f"quoted{n}")
        imported(lab, f"mboxrd-tree:{out}", f"quoted{n}-back")
        run(lab, "export", "--to", f"eml:{out}-eml", archive=f"quoted{n}-back")
        with open(out + "-eml/0000000001.eml", "rb") as f:
            assert f.read() == quoted, line
    run(lab, "export", "--to", "tape:/dev/null", status=2)


def check_undelete_and_compact(lab):
    lab.add_user("own", "ann", "secret")
    before = len(messages(lab, "own"))
    with lab.serve() as server, server.login("ann", "secret") as imap:
        imap.command("SELECT INBOX")
        bodies = imap.command("UID FETCH 1:* BODY.PEEK[]")
        imap.command("UID STORE 1:400 +FLAGS.SILENT (\\Deleted)")
        imap.command("EXPUNGE")
        listed = run(lab, "undelete", "--list").splitlines()
        gone = len(listed)
        assert gone == before - len(messages(lab, "own")) and gone >= 100, (gone, before)
        assert all(line.startswith("INBOX\t") for line in listed)
        run(lab, "undelete", "--folder", "Nowhere", status=1)
        run(lab, "undelete", "--since", "tomorrowish", status=2)
        run(lab, "undelete", "--since", "2100-01-01", status=1)
        run(lab, "undelete", "--since", "1h")
        assert len(messages(lab, "own")) == before
        # They have their bytes, in a session that looked on.
        imap.command("NOOP")
        back = imap.command("UID FETCH 1:* BODY.PEEK[]")
        literal = lambda line: line.split(b"\r\n", 1)[1] if b"\r\n" in line else b""
        assert sorted(literal(b) for b in back) == sorted(literal(b) for b in bodies)

        # Compact under the session's eyes: what is left is read from other segments now.
        imap.command("UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
        imap.command("UID STORE 1:10 -FLAGS.SILENT (\\Deleted)")
        keep = imap.command("UID SEARCH UNDELETED")
        imap.command("EXPUNGE")
        assert "0 expunged" in run(lab, "compact")  # the grace period is not over
        size = own_bytes(lab, 2)
        run(lab, "compact", "--grace", "0", "--dead", "1")
        assert own_bytes(lab, 2) < size, (size, own_bytes(lab, 2))
        assert keep == imap.command("UID SEARCH UNDELETED")
        left = imap.command("UID FETCH 1:* BODY.PEEK[]")
        assert {literal(b) for b in left} <= {literal(b) for b in back}
    sound(lab)
    run(lab, "undelete", status=1)


def check_compact_killed(lab):
    """SIGKILL while segments are rewritten: every message keeps its bytes, and the next run ends it."""
    rng = random.Random(SEED)
    lab.add_user("killed", "carl", "secret")
    with lab.serve() as server, server.login("carl", "secret") as imap:
        imap.command("SELECT INBOX")
        for uid in range(1, 400, 3):
            imap.command(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)")
        imap.command("EXPUNGE")
    before = messages(lab, "killed")
    args = [os.path.join(bin_dir(), "mds"), "compact", "--store", lab.store, "--archive", "killed", "--grace", "0", "--dead", "1"]
    for _ in range(KILLS):
        process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.random() * 0.25)
        process.send_signal(signal.SIGKILL)
        process.wait()
        sound(lab, "killed")
        assert messages(lab, "killed") == before
    size = own_bytes(lab, 3)
    run(lab, "compact", "--grace", "0", "--dead", "1", archive="killed")
    sound(lab, "killed")
    assert messages(lab, "killed") == before
    assert own_bytes(lab, 3) <= size
    run(lab, "undelete", status=1, archive="killed")


def check_backup(lab):
    """A backup while somebody files mail: what it holds is a prefix, whole."""
    before = messages(lab, "own")
    run(lab, "backup", "--to", lab.path("backup"))
    run(lab, "backup", "--to", lab.path("backup"), status=3)
    other = lab.path("other")
    run(lab, "restore", "--from", lab.path("backup"), archive="moved", store=other)
    assert messages(lab, "moved", store=other) == before
    sound(lab, "moved", store=other)
    run(lab, "restore", "--from", lab.path("backup"), archive="moved", store=other, status=3)
    run(lab, "restore", "--from", lab.path("backup"), "--replace")
    assert messages(lab, "own") == before
    run(lab, "restore", "--from", lab.path("gone"), archive="no", store=other, status=3)

    process = subprocess.Popen([os.path.join(bin_dir(), "mds"), "import", "--store", lab.store, "--archive", "own", "--from",
                                f"auto:{lab.path('out')}", "--progress", "none", "--batch", "20", "--max-rate", "800"],
                               stdout=subprocess.DEVNULL)
    for i in range(3):
        time.sleep(0.3)
        run(lab, "backup", "--to", lab.path(f"live{i}"))
        run(lab, "restore", "--from", lab.path(f"live{i}"), archive=f"live{i}", store=other)
        sound(lab, f"live{i}", store=other)
    assert process.wait() == 0

    # Not a byte of it may be another one.
    victim = os.path.join(lab.path("backup"), "data.mdb")
    with open(victim, "r+b") as f:
        f.seek(5000)
        f.write(b"!")
    assert run(lab, "restore", "--from", lab.path("backup"), archive="bad", store=other, status=3) == ""
    os.unlink(os.path.join(lab.path("live0"), "manifest"))
    run(lab, "restore", "--from", lab.path("live0"), archive="bad", store=other, status=3)


def kept(lab, archive):
    return sorted(run(lab, "undelete", "--list", archive=archive).splitlines())


def check_rebuild(lab):
    """Rebuilt, an archive keeps what clients and imports made: own mail, copies, moves, expunged mail, renamed folders."""
    mail = lab.path("inplace2")
    lab.generate(out=mail, messages=60)
    lab.build("mixed", f"maildir++:{mail}")
    imported(lab, f"maildir++:{lab.path('out')}=Old", "mixed")
    lab.add_user("mixed", "bob", "secret")
    with lab.serve() as server, server.login("bob", "secret") as imap:
        imap.command("CREATE Work")
        imap.command("SELECT INBOX")
        imap.command("UID COPY 1:5 Work")
        imap.command("UID MOVE 6:9 Work")
        imap.command("UID STORE 10:14 +FLAGS.SILENT (\\Deleted)")
        imap.command("EXPUNGE")
        imap.command("UID STORE 20:25 +FLAGS.SILENT (\\Flagged $Work)")
        imap.command("UNSELECT")
        text = b"Subject: appended\r\n\r\nby a client\r\n"
        imap.command(b"APPEND Work (\\Seen) {%d+}\r\n" % len(text) + text)
        imap.command("SELECT Old")
        imap.command("UID STORE 1:30 +FLAGS.SILENT (\\Deleted)")
        imap.command("EXPUNGE")
        imap.command("UNSELECT")
        imap.command("RENAME Work Play")
    before, was_kept = messages(lab, "mixed"), kept(lab, "mixed")
    run(lab, "rebuild", "--progress", "none", archive="mixed")
    sound(lab, "mixed")
    after = messages(lab, "mixed")
    loose = lambda rows: strip(rows, "modseq")
    assert loose(after) == loose(before), [r for r in loose(before) if r not in loose(after)][:3]
    assert kept(lab, "mixed") == was_kept and len(was_kept) >= 30
    # And goes on as before: what was let go stays so, what was imported is not imported again.
    lab.build("mixed", f"maildir++:{mail}", extra=("--full",))
    again = imported(lab, f"maildir++:{lab.path('out')}=Old", "mixed", "--full")
    assert again["messages_added"] == 0, again
    assert loose(messages(lab, "mixed")) == loose(before)


def check_damaged(lab):
    """Pages of the metadata damaged: after a rebuild each mail is there, where the old store still said where, else in a folder of its own. What LMDB cannot
    read at all is said, and recovered."""
    def items():
        return json.loads(run(lab, "stat", "--json", archive="killed"))["items"]

    count = items()  # not messages: of several that have one mail, one may be lost with its row
    path = os.path.join(lab.store, "archives/a00000003/data.mdb")
    with open(path, "rb") as f:
        whole = f.read()
    for seed in range(6):
        rng = random.Random(seed)
        damaged = bytearray(whole)
        for _ in range(6):
            damaged[rng.randrange(10, len(whole) // 4096) * 4096 + rng.randrange(16, 4096)] ^= 0xff
        with open(path, "wb") as f:
            f.write(damaged)
        rebuild = ["rebuild", "--store", lab.store, "--archive", "killed", "--progress", "none"]
        done = lab.mds(*rebuild, check=False)
        if done.returncode == 3 and b"--headers=default" in done.stderr:
            done = lab.mds(*rebuild, "--headers=default", check=False)
        if done.returncode == 3:
            assert b"mds rebuild --recover" in done.stderr, (seed, done)
            done = lab.mds(*rebuild, "--recover", check=False)
        assert done.returncode == 0, (seed, done)
        sound(lab, "killed")
        assert items() >= count, (seed, items(), count)


def check_deleted_folder(lab):
    """A folder of the vault that a client deleted comes back with the first new mail there, and with it alone."""
    sent = lab.path("fed", ".Sent", "cur")
    for sub in ("cur", ".Sent/new", ".Sent/cur"):
        os.makedirs(lab.path("fed", sub))

    def put(number):
        with open(os.path.join(sent, f"{number}.x:2,S"), "wb") as f:
            f.write(b"Subject: %d\n\n" % number)

    put(1)
    source = f"maildir++:{lab.path('fed')}"
    lab.build("fed", source)
    lab.add_user("fed", "dora", "secret")
    with lab.serve() as server, server.login("dora", "secret") as imap:
        imap.command("DELETE Sent")
        lab.build("fed", source)
        assert not [r for r in imap.command('LIST "" *') if b"Sent" in r]
        put(2)
        lab.build("fed", source)
        assert [r for r in imap.command('LIST "" *') if b"Sent" in r]
        imap.command("SELECT Sent")
        subjects = [r for r in imap.command("FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]") if b"Subject:" in r]
        assert len(subjects) == 1 and b"Subject: 2\r" in subjects[0], subjects
    sound(lab, "fed")


def main():
    with Lab() as lab:
        check_import(lab)
        check_killed(lab)
        check_export(lab)
        check_undelete_and_compact(lab)
        check_compact_killed(lab)
        check_backup(lab)
        check_rebuild(lab)
        check_damaged(lab)
        check_deleted_folder(lab)


if __name__ == "__main__":
    main()
