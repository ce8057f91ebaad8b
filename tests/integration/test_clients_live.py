#!/usr/bin/env python3
"""Real clients change an archive over TLS: imaplib, curl, mbsync both ways, offlineimap, neomutt, fetchmail, imapfilter.

Each has a home of its own and an archive of its own, loopback, a certificate made here that it verifies. A client that is not
installed is noted and left out; with MDS_CLIENTS=all, which scripts/test says once it has installed them, each must be there.
"""
import imaplib
import os
import re
import shutil
import ssl
import subprocess
import sys
import time

from mdslab import Lab, make_certificate, skip

MESSAGE = (b"From: Ann <ann@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: %s\r\nDate: Wed, 1 Jan 2020 00:00:00 +0000\r\n"
           b"Message-ID: <%s@example.org>\r\n\r\nhello from %s\r\n")


def message(name):
    return MESSAGE % (name.encode(), name.encode(), name.encode())


def run(args, timeout=120, status=0, **kw):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **kw)
    assert done.returncode == status, f"{args[0]}: {done.returncode}: {(done.stdout + done.stderr)[-3000:].decode(errors='replace')}"
    return done.stdout


class Home:
    """A client's home: files, environment, and an archive with a few messages to work on."""

    def __init__(self, lab, server, name):
        self.lab, self.port, self.name = lab, server.port, name
        self.dir = lab.path("home-" + name)
        self.ca = lab.path("cert.pem")
        os.makedirs(self.dir)
        self.env = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "TERM")}
        self.env.update(HOME=self.dir, TERM="xterm", LC_ALL="C.UTF-8", SSL_CERT_FILE=self.ca)
        with self.imap() as imap:
            for n in range(5):
                assert imap.append("INBOX", "(\\Seen)" if n % 2 else None, None, message(f"seed-{n}"))[0] == "OK"

    def imap(self):
        imap = imaplib.IMAP4_SSL("localhost", self.port, ssl_context=ssl.create_default_context(cafile=self.ca), timeout=60)
        imap.login(self.name, "secret")
        return imap

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o600)
        return path

    def folder(self, name):
        """What the archive holds: subject -> flags."""
        with self.imap() as imap:
            status, data = imap.select(name, readonly=True)
            assert status == "OK", data
            if data == [b"0"]:
                return {}
            got = {}
            for item in imap.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
                if isinstance(item, tuple):
                    subject = re.search(rb"Subject: (\S+)", item[1])[1].decode()
                    assert subject not in got, f"{subject} stands twice in {name}"
                    got[subject] = set(re.search(rb"FLAGS \(([^)]*)\)", item[0])[1].decode().split()) - {"\\Recent"}
            return got


def python_imaplib(home):
    with home.imap() as imap:
        assert imap.create("Work/Deep")[0] == "OK"
        assert imap.select("INBOX")[0] == "OK"
        assert imap.store("1", "+FLAGS", "(\\Flagged urgent)")[0] == "OK"
        assert imap.copy("1:2", "Work/Deep")[0] == "OK"
        assert imap.uid("MOVE", "3", "Work/Deep")[0] == "OK"
        assert imap.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
        assert imap.expunge()[1][-1:] == [b"1"]  # it may also keep what MOVE said
        assert imap.rename("Work", "Desk")[0] == "OK"
        assert imap.subscribe("Desk/Deep")[0] == "OK"
        assert any(b"Desk/Deep" in line for line in imap.lsub()[1])
    assert home.folder("Desk/Deep") == {"seed-0": {"\\Flagged", "urgent"}, "seed-1": {"\\Seen"}, "seed-2": set()}
    assert set(home.folder("INBOX")) == {"seed-1", "seed-3", "seed-4"}
    return "append, store, copy, move, expunge, rename"


def curl(home):
    mail = home.write("mail.eml", message("uploaded").decode())
    base = f"imaps://localhost:{home.port}"
    common = ["curl", "-sS", "--max-time", "60", "--cacert", home.ca, "-u", f"{home.name}:secret"]
    run([*common, "-T", mail, f"{base}/INBOX"], env=home.env)
    run([*common, "-X", "STORE 1 +FLAGS (\\Flagged)", f"{base}/INBOX"], env=home.env)
    run([*common, "-X", "CREATE Box", f"{base}/"], env=home.env)
    plain = f"imap://localhost:{home.port}"
    assert b"uploaded" in run([*common, f"{base}/INBOX;UID=6"], env=home.env)
    run(["curl", "-sS", "--max-time", "2", "-u", f"{home.name}:secret", plain + "/"], env=home.env, status=28)  # not a word without TLS
    got = home.folder("INBOX")
    assert "uploaded" in got and "\\Flagged" in got["seed-0"], got
    return "upload over imaps, store, create"


def mbsync(home):
    mail = os.path.join(home.dir, "mail")
    os.makedirs(mail)
    rc = home.write("rc", f"""FSync no

IMAPAccount mds
Host localhost
Port {home.port}
User {home.name}
Pass secret
SSLType IMAPS
CertificateFile {home.ca}

IMAPStore far
Account mds

MaildirStore near
Path {mail}/
Inbox {mail}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Sync All
Create Both
Remove Both
Expunge Both
SyncState *
""")

    def sync():
        run(["mbsync", "-c", rc, "-a"], env=home.env)

    def near(folder="INBOX"):
        return sorted(os.path.join(d, n) for d, _, names in os.walk(os.path.join(mail, folder)) for n in names if d.endswith(("/cur", "/new")))

    sync()
    assert len(near()) == 5
    # Both sides change at once.
    first = next(f for f in near() if b"seed-0" in open(f, "rb").read())
    base, _, _ = first.partition(":2,")
    os.rename(first, base.replace("/new/", "/cur/") + ":2,FS")
    os.remove(next(f for f in near() if b"seed-1" in open(f, "rb").read()))
    with open(os.path.join(mail, "INBOX/cur", "1600000000.1_1.here:2,S"), "wb") as f:
        f.write(message("from-near").replace(b"\r\n", b"\n"))
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(mail, "Near box", sub))
    with open(os.path.join(mail, "Near box/cur", "1600000001.1_1.here:2,"), "wb") as f:
        f.write(message("in-near-box").replace(b"\r\n", b"\n"))
    with home.imap() as imap:
        imap.select("INBOX")
        assert imap.append("INBOX", None, None, message("from-far"))[0] == "OK"
        number = imap.search(None, "SUBJECT", "seed-2")[1][0].decode()
        imap.store(number, "+FLAGS", "\\Deleted")
        imap.expunge()
        number = imap.search(None, "SUBJECT", "seed-3")[1][0].decode()
        imap.store(number, "+FLAGS", "\\Answered")
    sync()
    sync()
    far = home.folder("INBOX")
    assert far == {"seed-0": {"\\Flagged", "\\Seen"}, "seed-3": {"\\Seen", "\\Answered"}, "seed-4": set(), "from-near": {"\\Seen"},
                   "from-far": set()}, far
    assert set(home.folder('"Near box"')) == {"in-near-box"}
    texts = [open(f, "rb").read() for f in near()]
    assert len(texts) == 5 and any(b"from-far" in t for t in texts)
    before = near()
    sync()
    assert near() == before and home.folder("INBOX") == far
    return "both ways: new, flags, removals, folders"


def offlineimap(home):
    mail = os.path.join(home.dir, "Mail")
    rc = home.write("rc", f"""[general]
accounts = mds
ui = basic
metadata = {home.dir}/meta

[Account mds]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {mail}

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {home.port}
remoteuser = {home.name}
remotepass = secret
ssl = yes
sslcacertfile = {home.ca}
auth_mechanisms = PLAIN
""")
    program = ["offlineimap", "-c", rc, "-o"]
    run(program, env=home.env)
    box = os.path.join(mail, "INBOX")

    def near():
        return sorted(os.path.join(d, n) for d, _, names in os.walk(box) for n in names if d.endswith(("/cur", "/new")))

    assert len(near()) == 5
    victim = next(f for f in near() if b"seed-4" in open(f, "rb").read())
    os.remove(victim)
    with open(os.path.join(box, "cur", "1600000000_0.1.here:2,FS"), "wb") as f:
        f.write(message("from-near").replace(b"\r\n", b"\n"))
    with home.imap() as imap:
        imap.append("INBOX", None, None, message("from-far"))
        imap.select("INBOX")
        imap.store("1", "+FLAGS", "\\Flagged")
    run(program, env=home.env)
    got = home.folder("INBOX")
    assert got == {"seed-0": {"\\Flagged"}, "seed-1": {"\\Seen"}, "seed-2": set(), "seed-3": {"\\Seen"}, "from-far": set(),
                   "from-near": {"\\Flagged", "\\Seen"}}, got
    assert sum(b"from-far" in open(f, "rb").read() for f in near()) == 1
    return "both ways: new, flags, removals"


def neomutt(home):
    """Opens INBOX, flags the first message, deletes the second, saves the third to another folder, quits."""
    with home.imap() as imap:
        imap.create("Saved")
    folder = f"imaps://localhost:{home.port}/INBOX"
    rc = home.write("rc", f"""set imap_user={home.name}
set imap_pass=secret
set ssl_ca_certificates_file={home.ca}
set ssl_usesystemcerts=no
set ssl_verify_host=yes
set certificate_file={home.ca}
set confirmcreate=no
set confirmappend=no
set quit=yes
set delete=yes
set move=no
set wait_key=no
set net_inc=0
set read_inc=0
set sort=mailbox-order
set resolve=no
set abort_key="\\007"
set folder="imaps://localhost:{home.port}/"
set header_cache=""
""")
    keys = "<first-entry><flag-message><next-undeleted><delete-message><next-undeleted><save-message><kill-line>=Saved<enter><sync-mailbox><quit>"
    log = os.path.join(home.dir, "screen")
    inner = f"neomutt -F {rc} -f '{folder}' -e 'push \"{keys}\"'"
    run(["script", "-qec", f"stty rows 40 cols 120; {inner}", log], env=home.env, stdin=subprocess.DEVNULL)
    got = home.folder("INBOX")
    with open(log, "rb") as f:
        screen = f.read()[-2000:]
    assert "\\Flagged" in got.get("seed-0", ()), (got, screen)
    assert "seed-1" not in got and "seed-2" not in got, (got, screen)
    assert "seed-2" in home.folder("Saved"), screen
    return "flag, delete, save to a folder"


def fetchmail(home):
    """Takes what is unseen away, into a file by an MDA, and expunges it."""
    out = os.path.join(home.dir, "out")
    deliver = home.write("deliver", f"#!/bin/sh\ncat >>{out}\n")
    os.chmod(deliver, 0o700)
    rc = home.write("rc", f"""set no bouncemail
poll localhost protocol IMAP port {home.port}
  user "{home.name}" password "secret" is nobody here
  ssl sslcertck sslcertfile {home.ca}
  fetchall no keep
  mda "{deliver}"
""")
    run(["fetchmail", "-f", rc, "-N", "--nosyslog", "--pidfile", os.path.join(home.dir, "pid")], env=dict(home.env, FETCHMAILHOME=home.dir))
    with open(out, "rb") as f:
        got = f.read()
    assert got.count(b"Message-ID: <seed-") == 5, got[:2000]
    assert home.folder("INBOX") == {}
    return "fetched five, expunged five"


def imapfilter(home):
    """A client rule moves by subject and flags."""
    rc = home.write("config.lua", f"""
options.timeout = 60
options.create = true
options.info = false
options.certificates = true
options.hostnames = true
account = IMAP {{ server = 'localhost', port = {home.port}, username = '{home.name}', password = 'secret', ssl = 'auto' }}
found = account.INBOX:contain_subject('seed-1') + account.INBOX:contain_subject('seed-3')
found:move_messages(account['Rules/Seeds'])
account.INBOX:contain_subject('seed-2'):mark_flagged()
account.INBOX:contain_subject('seed-4'):delete_messages()
""")
    run(["imapfilter", "-c", rc, "-t", home.ca], env=home.env, stdin=subprocess.DEVNULL)
    got = home.folder("INBOX")
    assert got == {"seed-0": set(), "seed-2": {"\\Flagged"}}, got
    assert set(home.folder("Rules/Seeds")) == {"seed-1", "seed-3"}
    return "search, move into a new folder, flag, delete"


CLIENTS = {"imaplib": (python_imaplib, "python3"), "curl": (curl, "curl"), "mbsync": (mbsync, "mbsync"),
           "offlineimap": (offlineimap, "offlineimap"), "neomutt": (neomutt, "neomutt"), "fetchmail": (fetchmail, "fetchmail"),
           "imapfilter": (imapfilter, "imapfilter")}


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
        make_certificate(lab.path("cert.pem"), lab.path("key.pem"))
        for name in there:
            lab.mds("archive", "add", "--store", lab.store, name)
            lab.add_user(name, name, "secret")
        with lab.serve_tls(lab.path("cert.pem"), lab.path("key.pem")) as server:
            for name in there:
                began = time.monotonic()
                print(f"{name}: {CLIENTS[name][0](Home(lab, server, name))} ({time.monotonic() - began:.1f} s)", flush=True)
        for name in there:
            lab.mds("verify", "--items", "--store", lab.store, "--archive", name)


if __name__ == "__main__":
    main()
