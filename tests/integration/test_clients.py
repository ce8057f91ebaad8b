#!/usr/bin/env python3
"""Real clients browse an archive: curl, mutt, neomutt, mbsync, Python's imaplib.

Each has a home of its own, loopback, a port of its own. A client that is not installed is noted and left out; if none is there the test
is skipped (77). With MDS_CLIENTS=all, which scripts/test says once it has installed them, each must be there.
MDS_CLIENT_ITEMS: messages of the mbsync pull (20,000).
"""
import email
import imaplib
import os
import re
import shutil
import subprocess
import sys
import time

from mdslab import Lab, skip

ITEMS = int(os.environ.get("MDS_CLIENT_ITEMS", "20000"))
LINES = 'folders with, "odd" & names'


def run(args, timeout=300, **kw):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **kw)


def make_home(lab, name):
    home = lab.path("home-" + name)
    os.makedirs(home)
    env = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TERM")}
    env.update(HOME=home, TERM="xterm", LC_ALL="C.UTF-8")
    return home, env


def make_vault(lab):
    """Generated mail, and a folder with a message that we know byte by byte."""
    lab.generate(messages=300, folders=3)
    known = os.path.join(lab.vault, ".Known.Gr&APwA3w-e &- x")
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(known, sub))
    message = (b"From: Ann <ann@example.org>\nTo: Bob <bob@example.org>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= known\n"
               b"Date: Wed, 1 Jan 2020 00:00:00 +0000\nMessage-ID: <known@example.org>\n"
               b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nneedle in the text\n"
               b"--b\nContent-Type: application/octet-stream; name=x.bin\nContent-Transfer-Encoding: base64\n\nAAECAw==\n--b--\n")
    with open(os.path.join(known, "cur", "1577836800.1.host:2,FS"), "wb") as f:
        f.write(message)
    return message.replace(b"\n", b"\r\n")


# ---- curl ------------------------------------------------------------------------------------


def curl(lab, server, known):
    _, env = make_home(lab, "curl")
    base = f"imap://127.0.0.1:{server.port}"
    folder = "Known/Gr%26APwA3w-e%20%26-%20x"

    def get(path, *more, user="ann:secret", status=0):
        done = run(["curl", "-sS", "--max-time", "60", "-u", user, base + path, *more], env=env)
        assert done.returncode == status, f"curl {path}: {done.returncode} {done.stderr!r}"
        return done.stdout

    listed = get("/")
    assert b'"/" INBOX' in listed and b'"Known/Gr&APwA3w-e &- x"' in listed, listed
    assert get(f"/{folder};UID=1") == known
    assert get(f"/{folder};UID=1;SECTION=1") == b"needle in the text"
    assert get(f"/{folder};UID=1;SECTION=TEXT").startswith(b"--b\r\n")
    assert b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= known\r\n" in get(f"/{folder};UID=1;SECTION=HEADER")
    assert get(f"/{folder}?SUBJECT%20known").strip() == b"* SEARCH 1"
    assert b"MESSAGES" in get("/", "-X", "STATUS INBOX (MESSAGES)")
    assert b'\\Seen' in get(f"/{folder}", "-X", "FETCH 1 (FLAGS)")
    get("/", user="ann:wrong", status=67)
    get("/nowhere;UID=1", status=67)  # curl: "Select failed"
    return "list, fetch, sections, search, status, refusals"


# ---- imaplib ------------------------------------------------------------------------------------


def python_imaplib(lab, server, known):
    with imaplib.IMAP4("127.0.0.1", server.port, timeout=60) as imap:
        try:
            imap.login("ann", "wrong")
            raise AssertionError("wrong password taken")
        except imaplib.IMAP4.error:
            pass
        imap.authenticate("PLAIN", lambda _: b"\0ann\0secret")
        assert imap.namespace()[0] == "OK"
        messages = 0
        for line in imap.list()[1]:
            flags, name = re.fullmatch(rb'\(([^)]*)\) "/" "?(.*?)"?', line).groups()
            if b"\\Noselect" in flags:
                continue
            status, (count,) = imap.select(b'"' + name + b'"', readonly=True)
            assert status == "OK", name
            if int(count) == 0:
                continue
            found = imap.search(None, "ALL")[1][0].split()
            assert len(found) == int(count)
            uids = imap.uid("SEARCH", None, "ALL")[1][0].decode().split()
            status, data = imap.uid("FETCH", "1:*", "(UID FLAGS RFC822.SIZE BODY.PEEK[])")
            bodies = [item for item in data if isinstance(item, tuple)]
            assert status == "OK" and len(bodies) == int(count)
            for head, body in bodies:
                assert int(re.search(rb"RFC822.SIZE (\d+)", head).group(1)) == len(body)
                email.message_from_bytes(body).as_bytes()
                messages += 1
            assert re.search(rb"UID (\d+)", bodies[0][0]).group(1).decode() == uids[0]
        assert imap.select('"Known/Gr&APwA3w-e &- x"', readonly=True)[0] == "OK"
        assert imap.fetch("1", "(BODY[])")[1][0][1] == known
        assert imap.search("UTF-8", "SUBJECT", '"Gr\u00fc\u00dfe"'.encode())[1] == [b"1"]
        assert imap.store("1", "+FLAGS", "\\Deleted")[0] == "NO"
        assert imap.expunge()[0] == "NO"
        assert imap.close()[0] == "OK"
    return f"{messages} messages in every folder"


# ---- mutt and neomutt ---------------------------------------------------------------------------


def mutt(lab, server, known, program="mutt"):
    """Opens a folder, saves every message to a local mbox, quits."""
    home, env = make_home(lab, program)
    saved = os.path.join(home, "saved")
    folder = f"imap://127.0.0.1:{server.port}/Known/Gr\u00fc\u00dfe & x"
    rc = os.path.join(home, "rc")
    with open(rc, "w", encoding="utf-8") as f:
        f.write(f"set imap_user=ann\nset imap_pass=secret\nset ssl_starttls=no\nset ssl_force_tls=no\nset mbox_type=mbox\n"
                f"set confirmcreate=no\nset confirmappend=no\nset quit=yes\nset charset=utf-8\nset delete=no\nset move=no\n"
                f"set wait_key=no\nset abort_key=\"\\007\"\nset mail_check=3600\nset net_inc=0\nset read_inc=0\n"
                f"set record=\"\"\nset header_cache=\"\"\n")
    keys = f"<tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>{saved}<enter><exit>"
    inner = f"{program} -F {rc} -f '{folder}' -e 'push \"{keys}\"'"
    log = os.path.join(home, "screen")
    done = run(["script", "-qec", f"stty rows 40 cols 120; {inner}", log], env=env, stdin=subprocess.DEVNULL, timeout=120)
    with open(log, "rb") as f:
        screen = f.read()[-3000:]
    assert os.path.exists(saved), f"{program}: nothing saved, status {done.returncode}: {screen!r}"
    with open(saved, "rb") as f:
        got = f.read()
    assert b"needle in the text" in got and b"<known@example.org>" in got, f"{program}: {got[:500]!r}"
    return "opened a folder, saved its message"


def neomutt(lab, server, known):
    return mutt(lab, server, known, "neomutt")


# ---- mbsync ----------------------------------------------------------------------------------------


def mbsync(lab, server, known):
    home, env = make_home(lab, "mbsync")
    mail = os.path.join(home, "mail")
    os.makedirs(mail)
    rc = os.path.join(home, "rc")
    with open(rc, "w") as f:
        f.write(f"FSync no\n\nIMAPAccount mds\nHost 127.0.0.1\nPort {server.port}\nUser big\nPass secret\nSSLType None\nAuthMechs LOGIN\n\n"
                f"IMAPStore far\nAccount mds\n\nMaildirStore near\nPath {mail}/\nInbox {mail}/INBOX\nSubFolders Verbatim\n\n"
                f"Channel all\nFar :far:\nNear :near:\nPatterns *\nSync Pull\nCreate Near\nSyncState *\n")
    began = time.monotonic()
    done = run(["mbsync", "-c", rc, "-a", "-V"], env=env, timeout=840)
    first_s = time.monotonic() - began
    assert done.returncode == 0, f"mbsync: {done.returncode}: {(done.stdout + done.stderr)[-2000:]!r}"

    def snapshot():
        return sorted((os.path.join(d, n), os.stat(os.path.join(d, n)).st_mtime_ns)
                      for d, _, names in os.walk(mail) for n in names if "/cur" in d or "/new" in d)

    files = snapshot()
    assert len(files) == ITEMS, f"mbsync pulled {len(files)} of {ITEMS}"
    began = time.monotonic()
    done = run(["mbsync", "-c", rc, "-a", "-V"], env=env, timeout=300)
    again_s = time.monotonic() - began
    assert done.returncode == 0, f"mbsync again: {done.returncode}: {(done.stdout + done.stderr)[-2000:]!r}"
    assert snapshot() == files, "the second pull changed something"
    # Every body arrived as it stands in the vault (mbsync keeps LF, adds its X-TUID line while a message is new).
    have = set()
    for name, _ in files:
        with open(name, "rb") as f:
            have.add(re.sub(rb"(?m)^X-TUID: .*\n", b"", f.read()))
    missing = 0
    for directory, _, names in os.walk(lab.path("big")):
        for name in names if directory.endswith(("/cur", "/new")) else ():
            with open(os.path.join(directory, name), "rb") as f:
                missing += f.read().replace(b"\r\n", b"\n") not in have
    assert missing == 0, f"{missing} messages differ from the vault"
    return f"{ITEMS} messages in {first_s:.1f} s, then nothing to do in {again_s:.1f} s"


CLIENTS = {"curl": (curl, "curl"), "imaplib": (python_imaplib, "python3"), "mutt": (mutt, "mutt"),
           "neomutt": (neomutt, "neomutt"), "mbsync": (mbsync, "mbsync")}


def main():
    only = sys.argv[1:] or list(CLIENTS)
    there = [name for name in only if shutil.which(CLIENTS[name][1])]
    for name in only:
        if name not in there:
            print(f"note: {name} is not installed, left out")
    if len(there) < len(only) and os.environ.get("MDS_CLIENTS") == "all":
        sys.exit("MDS_CLIENTS=all, but a client is not installed")
    if not there:
        skip("no client is installed")
    with Lab() as lab:
        known = make_vault(lab)
        lab.build("mail", f"maildir++:{lab.vault}")
        lab.add_user("mail", "ann", "secret")
        if "mbsync" in there:
            lab.generate(out=lab.path("big"), messages=ITEMS, folders=4)
            lab.build("big", f"maildir++:{lab.path('big')}")
            lab.add_user("big", "big", "secret")
        with lab.serve() as server:
            for name in there:
                began = time.monotonic()
                print(f"{name}: {CLIENTS[name][0](lab, server, known)} ({time.monotonic() - began:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
