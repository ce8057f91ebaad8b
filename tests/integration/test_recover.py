#!/usr/bin/env python3
"""An archive comes back: by an older backup, by an export of .eml files, by the bare segments of its own vault."""
import hashlib
import os
import re
import shutil
import time

from mdslab import Lab
from test_own_vault import imported, messages, run, sound, strip

EPOCHLESS = 1 << 30  # UIDVALIDITYs that come of names alone are not above it


def append(imap, folder, text):
    mail = f"Subject: {text}\r\n\r\n{text}\r\n".encode()
    imap.command(f"APPEND {folder} {{{len(mail)}+}}\r\n".encode() + mail)


def folders(lab, archive="live"):
    """Name to (uidvalidity, uidnext, highestmodseq)."""
    found = {}
    for line in run(lab, "dump", archive=archive).splitlines():
        if line.startswith("folder id="):
            field = lambda name: int(re.search(rf" {name}=(\d+)", line).group(1))
            found[re.search(r'name="(.*?)"', line).group(1)] = (field("uidvalidity"), field("uidnext"), field("highestmodseq"))
    return found


def subjects(lab, folder, archive="live"):
    lines = run(lab, "fetch", folder, "1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])", archive=archive)
    return {int(uid): text for uid, text in re.findall(r"UID (\d+).*?Subject: (\S+ \S+|\S+)", lines, re.S)}


def restored(lab, backup, *args):
    done = lab.mds("restore", "--store", lab.store, "--archive", "live", "--from", backup, *args, check=False)
    assert done.returncode == 0, done
    return done.stderr.decode()


def check_replace(lab):
    lab.mds("archive", "add", "--store", lab.store, "live")
    lab.add_user("live", "ann", "secret")
    with lab.serve() as server, server.login("ann", "secret") as imap:
        imap.command("CREATE Work")
        imap.command("CREATE Gone")
        for i in range(5):
            append(imap, "INBOX", f"old {i}")
        append(imap, "Work", "work")
    run(lab, "backup", "--to", lab.path("early"), archive="live")
    with lab.serve() as server, server.login("ann", "secret") as imap:
        imap.command("CREATE Later")
        append(imap, "Later", "later")
        imap.command("DELETE Gone")
        imap.command("CREATE Gone")
        append(imap, "Gone", "again")
        for i in range(3):
            append(imap, "INBOX", f"new {i}")
        imap.command("SELECT INBOX")
        imap.command("UID STORE 8 +FLAGS (\\Deleted)")
        imap.command("UID STORE 1 +FLAGS (\\Seen)")
        imap.command("EXPUNGE")
    was = folders(lab)
    said = restored(lab, lab.path("early"), "--replace")
    now = folders(lab)
    for name in ("INBOX", "Work"):
        assert now[name][0] == was[name][0], (name, was, now)
        assert now[name][1] >= was[name][1] and now[name][2] > was[name][2], (name, was, now)
    assert now["Gone"][0] > max(v[0] for v in was.values()), (was, now)
    assert "1 folders are not those that were there" in said, said
    assert "Later" not in now
    sound(lab, "live")
    with lab.serve() as server, server.login("ann", "secret") as imap:
        imap.command("ENABLE QRESYNC")
        told = b"".join(imap.command(f"SELECT INBOX (QRESYNC ({was['INBOX'][0]} {was['INBOX'][2]} 1:8))"))
        assert re.search(rb"VANISHED \(EARLIER\) 6:8", told), told
        assert re.search(rb"UID 1 FLAGS \((\\Recent)?\)", told) and b"UID 2" not in told, told  # that UID 1 was seen is forgotten, and said
        append(imap, "INBOX", "after restore")
        imap.command("CREATE Later")
    assert subjects(lab, "INBOX")[was["INBOX"][1]] == "after restore", subjects(lab, "INBOX")
    assert folders(lab)["Later"][0] > max(v[0] for v in was.values())

    # What was there does not open: nobody knows what it gave.
    was = folders(lab)
    with open(os.path.join(directory(lab), "data.mdb"), "r+b") as f:
        f.truncate(5000)
    said = restored(lab, lab.path("early"), "--replace")
    assert "does not open" in said, said
    now = folders(lab)
    assert min(v[0] for v in now.values()) > max(v[0] for v in was.values()), (was, now)
    sound(lab, "live")

    # Moved to another place there is nobody to mislead.
    run(lab, "restore", "--from", lab.path("early"), archive="live", store=lab.path("elsewhere"))
    assert len(messages(lab, "live", store=lab.path("elsewhere"))) == 6


def directory(lab, number=1):
    return os.path.join(lab.store, f"archives/a{number:08}")


def check_eml(lab):
    with lab.serve() as server, server.login("ann", "secret") as imap:
        imap.command("SELECT INBOX")
        imap.command("UID STORE 1:2 FLAGS (\\Seen \\Flagged $Work Blue)")
        imap.command("UID STORE 3 FLAGS (\\Deleted \\Draft \\Answered $Forwarded)")
    run(lab, "export", "--to", f"eml:{lab.path('emls')}", archive="live")
    for base, _, names in os.walk(lab.path("emls")):
        for name in names:
            if name.endswith(".eml"):
                os.utime(os.path.join(base, name), (5, 5))  # as copying does: flags.txt has the date
    loose = lambda rows: sorted(strip(rows, "modseq", "uid"))
    before = loose(messages(lab, "live"))
    imported(lab, f"eml:{lab.path('emls')}", "copied")
    assert loose(messages(lab, "copied")) == before, (before, loose(messages(lab, "copied")))
    lab.build("inplace", f"eml:{lab.path('emls')}")
    assert loose(messages(lab, "inplace")) == before
    with open(os.path.join(lab.path("emls"), "flags.txt"), "a", encoding="utf-8") as f:
        f.write("my notes\n")
    imported(lab, f"eml:{lab.path('emls')}", "foreign")
    assert len(messages(lab, "foreign")) == len(before) and not any("flags=0x3 " in r for _, r in messages(lab, "foreign"))


def digests(lab):
    folder = os.path.join(directory(lab), "segments")
    return {n: hashlib.sha256(open(os.path.join(folder, n), "rb").read()).digest() for n in sorted(os.listdir(folder))}


def check_bare_segments(lab):
    was, mail = folders(lab), sorted(subjects(lab, "INBOX").values()) + sorted(subjects(lab, "Work").values())
    before = digests(lab)
    refused = lab.mds("rebuild", "--store", lab.store, "--archive", "live", "--recover", "--progress", "none", check=False)
    assert refused.returncode == 2 and b"opens" in refused.stderr, refused
    database = os.path.join(directory(lab), "data.mdb")
    whole = lab.path("whole.mdb")
    shutil.copy(database, whole)
    damaged = {"gone": None, "empty": b"", "foreign": b"no store\n" * 2000}
    for kind, content in damaged.items():
        time.sleep(6)  # where all is lost, UIDVALIDITYs come of the clock, one a second
        os.unlink(database)
        if content is not None:
            with open(database, "wb") as f:
                f.write(content)
        for command in ("rebuild", "import"):
            source = ("--from", f"eml:{lab.path('emls')}") if command == "import" else ()
            done = lab.mds(command, "--store", lab.store, "--archive", "live", "--progress", "none", *source, check=False)
            assert done.returncode == 3 and digests(lab) == before, (kind, done)
            assert command == "import" or b"--recover" in done.stderr, (kind, done)
        done = lab.mds("rebuild", "--store", lab.store, "--archive", "live", "--recover", "--progress", "none", check=False)
        assert done.returncode == 0 and b"Recovered" in done.stderr, (kind, done)
        assert {n: d for n, d in digests(lab).items() if n in before} == before, kind
        assert os.path.exists(f"{database}.lost") == (content is not None), kind
        sound(lab, "live")
        found, now = subjects(lab, "Recovered"), folders(lab)
        assert set(mail) <= set(found.values()) and len(found) == len(set(found.values())), (kind, mail, found)
        assert set(now) == {"INBOX", "Recovered"} and min(v[0] for v in now.values()) > max(max(v[0] for v in was.values()), EPOCHLESS)
        was = now
    # It goes on: new mail gets a segment of its own.
    with lab.serve() as server, server.login("ann", "secret") as imap:
        append(imap, "INBOX", "life goes on")
    assert len(digests(lab)) == len(before) + 1 and {n: d for n, d in digests(lab).items() if n in before} == before
    sound(lab, "live")

    # One damaged record, and half of one behind the end: the sound ones come, the others are said.
    os.unlink(database)
    path = os.path.join(directory(lab), "segments", sorted(before)[0])
    with open(path, "r+b") as f:
        bytes_ = f.read()
        f.seek(bytes_.index(b"old 1"))
        f.write(b"OLD")
        f.seek(0, 2)
        f.write(bytes_[32:100])
    done = lab.mds("rebuild", "--store", lab.store, "--archive", "live", "--recover", "--progress", "none", check=False)
    assert done.returncode == 1, done
    left = set(subjects(lab, "Recovered").values())
    assert "old 1" not in left and set(mail) - {"old 1"} <= left and "life goes" in left, (mail, left)
    sound(lab, "live")


def main():
    with Lab() as lab:
        check_replace(lab)
        check_eml(lab)
        check_bare_segments(lab)


if __name__ == "__main__":
    main()
