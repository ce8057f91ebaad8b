#!/usr/bin/env python3
"""mds.conf: the manual agrees with the program, wrong files are refused with words that help, and a server does what a file says: listeners with rules of
their own, SCRAM with and without channel binding by a client of our own, archives named by logins, masks, SIGHUP, logs, audit, metrics."""
import base64
import fcntl
import hashlib
import hmac
import imaplib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

from mdslab import bin_dir, source_dir

MDS = os.path.join(bin_dir(), "mds")
F_OFD_SETLK = 37  # fcntl has it from Python 3.9 on some systems only
MESSAGE = b"From: Ann <ann@example.org>\nSubject: one\nDate: Mon, 2 Jan 2023 03:04:05 +0000\n\nHello, this is the body.\n"


def run(*args, **more):
    return subprocess.run([MDS, *args], capture_output=True, text=True, timeout=60, **more)


# ---- the manual -------------------------------------------------------------------------------

def check_manual():
    with open(os.path.join(source_dir(), "docs/mds.conf.5"), encoding="utf-8") as f:
        manual = f.read()
    described, group = {}, None
    for line in manual.split(".Sh EXAMPLES")[0].splitlines():
        if line.startswith(".Ss ["):
            group = line[5:].rstrip("]")
        elif line.startswith(".It Ic "):
            key, _, initial = line[7:].partition(" = ")
            assert (group, key) not in described, (group, key)
            described[group, key] = initial or "-"
    known, allowed = {}, {}
    for line in run("serve", "--show-settings").stdout.splitlines():
        group, key, what, initial = line.split("\t")
        known[group, key] = initial
        allowed[group, key] = what
    assert len(known) > 40
    assert described == known, {k: (described.get(k), known.get(k)) for k in set(described) | set(known) if described.get(k) != known.get(k)}
    for (group, key), what in allowed.items():
        if not what.startswith("one of "):
            continue
        text = re.search(rf"^\.It Ic {key}\b.*?(?=^\.It|^\.El)", manual[manual.index(f".Ss [{group}]"):], re.M | re.S).group(0)
        for word in what[7:].split(", "):
            assert word in text, f"mds.conf(5) does not say that {key} of [{group}] may be {word}"
    print(f"manual: {len(known)} settings agree")


# ---- files that are refused -------------------------------------------------------------------------

GOOD = "[store]\npath = {store}\n[listener a]\naddress = 127.0.0.1:0\n"
REFUSED = [
    ("unknown group", GOOD + "[stor]\n", ["[stor]", "known are", "[store]", "[listener NAME]"]),
    ("group without a name", GOOD + "[listener]\naddress = 127.0.0.1:0\n", ["[listener]", "[listener NAME]"]),
    ("name where there is none", GOOD + "[store x]\n", ["[store x]"]),
    ("unknown key", GOOD + "[login]\nremeber = 1m\n", ["[login]", "remeber", "remember, max-delay"]),
    ("number", GOOD + "[server]\nloops = 65\n", ["[server] loops", "'65'", "from 0 to 64"]),
    ("no number", GOOD + "[server]\nloops = -1\n", ["'-1'"]),
    ("unit", GOOD + "[limits]\nidle-timeout = 30 minutes\n", ["idle-timeout", "'30 minutes'", "m, h or d"]),
    ("size", GOOD + "[limits]\nappend-size = 2G\n", ["append-size", "1073741824"]),
    ("too large to count", GOOD + "[limits]\nappend-size = 99999999999999999999G\n", ["append-size"]),
    ("choice", GOOD + "durability = strict\nmode = ssl\n", ["durability"]),
    ("choice of a listener", GOOD + "mode = ssl\n", ["mode", "'ssl'", "starttls, tls, plain"]),
    ("switch", GOOD + "passwords = no\n", ["passwords", "true or false"]),
    ("address", GOOD.replace("127.0.0.1:0", "127.0.0.1"), ["address", "HOST:PORT"]),
    ("network", GOOD + "clear-networks = 10.0.0.0/40\n", ["clear-networks", "10.0.0.0/40"]),
    ("no address", "[store]\npath = {store}\n[listener a]\n", ["[listener a] has no address"]),
    ("no certificate of that name", GOOD + "certificates = main\n", ["there is no [certificate main]"]),
    ("TLS without one", GOOD + "mode = tls\n", ["tls needs certificates"]),
    ("certificate that is not there", GOOD + "certificates = main\n[certificate main]\ncertificate = none.pem\n", ["none.pem"]),
    ("client certificates of nobody", GOOD + "client-certificates = optional\n", ["needs client-ca"]),
    ("mask of nobody", GOOD + "[mask m]\nhide = IDLE\n", ["[mask m] needs hide"]),
    ("no listener", "[store]\npath = {store}\n", ["no [listener NAME]"]),
    ("no store", "[listener a]\naddress = 127.0.0.1:0\n", ["--store is missing"]),
    ("no key file", "path = x\n", ["conf"]),
    ("mechanism", GOOD + "mechanisms = PLAIN, SCRAM-SHA256\n", ["listener a", "SCRAM-SHA256"]),
    ("capability", GOOD + "[mask x]\naccounts = *\nhide = IDLE QRSYNC\n", ["[mask x] hide", "QRSYNC"]),
    ("key twice", GOOD + "mode = plain\n mode=starttls\n", ["[listener a] mode", "twice"]),
    ("group twice", GOOD + "[listener b]\naddress = 127.0.0.1:0\n[listener a]\nmode = plain\n", ["[listener a]", "twice"]),
    ("user", GOOD + "[server]\nuser = no such user\n", ["no such user"]),
    ("group", GOOD + "[server]\nuser = nobody\ngroup = no such group\n", ["no such group"]),
    ("a group alone", GOOD + "[server]\ngroup = nogroup\n", ["group without a user"]),
    ("an address twice", GOOD + "[listener b]\naddress = 127.0.0.1:1143\n[listener c]\naddress = localhost:1143\npasswords = false\n",
     ["two listeners", "localhost:1143"]),
    ("no UTF-8", GOOD + "[login]\ndomains = \udcff\udcfe\n", ["conf"]),
]


def check_refused(folder, store):
    path = os.path.join(folder, "bad.conf")
    for name, text, words in REFUSED:
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as f:
            f.write(text.format(store=store))
        done = run("serve", "--config", path, "--check")
        assert done.returncode in (2, 3) and done.stdout == "", (name, done)
        for word in words:
            assert word in done.stderr, (name, word, done.stderr)
        assert done.stderr.count("\n") == 1, (name, done.stderr)
    for options, words in [(["--listen", "nonsense"], ["nonsense", "HOST:PORT"]), (["--durability", "none"], ["strict or relaxed", "none"]),
                           (["--config", os.path.join(folder, "none.conf")], ["none.conf"]), (["--loops", "x"], ["x"])]:
        done = run("serve", "--store", store, *options)
        assert done.returncode in (2, 3), done
        assert all(word in done.stderr for word in words), (options, done.stderr)
    done = run("serve", "--config", write_conf(folder, store, GOOD), "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done
    print(f"refused: {len(REFUSED)} files")


def check_example(folder, store):
    """examples/mds.conf with paths of this machine."""
    with open(os.path.join(source_dir(), "examples/mds.conf"), encoding="utf-8") as f:
        text = f.read()
    for name in ("mail", "archive"):
        certificate, key = make_certificate(folder, f"{name}.example.org")
        text = text.replace(f"/etc/mds/tls/{name}.example.org.pem", certificate).replace(f"/etc/mds/tls/{name}.example.org.key", key)
    text = text.replace("/var/lib/mds", store).replace("/var/log/mds", folder).replace("user = mds", "user = nobody")
    path = os.path.join(folder, "example.conf")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    done = run("serve", "--config", path, "--check")
    assert done.returncode == 0, done.stderr
    print("example: checked")


# ---- a world -----------------------------------------------------------------------------------------------

def make_certificate(folder, name):
    certificate, key = os.path.join(folder, f"{name}.pem"), os.path.join(folder, f"{name}.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def server_certificate(folder):
    certificate, key = make_certificate(folder, "server.test")
    os.rename(certificate, os.path.join(folder, "server.pem"))
    os.rename(key, os.path.join(folder, "server.key"))


def make_store(folder):
    store = os.path.join(folder, "store")
    for archive in ("ann", "shared"):
        maildir = os.path.join(folder, archive)
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(maildir, sub))
        with open(os.path.join(maildir, "cur", "1.a:2,"), "wb") as f:
            f.write(MESSAGE.replace(b"one", archive.encode()))
        done = run("build", "--store", store, "--archive", archive, "--from", f"maildir:{maildir}")
        assert done.returncode == 0, done
    for args in (["add", "--archive", "ann", "ann"], ["grant", "--archive", "shared", "ann"], ["add", "--archive", "ann", "eve"]):
        done = run("user", "--store", store, *args, input="secret\n")
        assert done.returncode == 0, done
    listed = run("user", "--store", store, "list").stdout
    assert listed == "ann\tann,shared\tyescrypt,scram-sha-256\neve\tann\tyescrypt,scram-sha-256\n", listed
    return store


def write_conf(folder, store, text, name="mds.conf"):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text.format(store=store, folder=folder))
    return path


class Server:
    def __init__(self, path, listeners, metrics=True):
        self.process = subprocess.Popen([MDS, "serve", "--config", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.ports, self.metrics = [], None
        for _ in range(listeners + metrics):
            line = self.process.stdout.readline()
            found = re.search(r"(listening on .*:|metrics on port )(\d+)$", line)
            assert found, (line, self.process.poll() is not None and self.process.stderr.read())
            if found.group(1).startswith("metrics"):
                self.metrics = int(found.group(2))
            else:
                self.ports.append(int(found.group(2)))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, err
        return err


def wait_for(what, why):
    for _ in range(400):
        if what():
            return
        time.sleep(0.025)
    raise AssertionError(why)


# ---- a SCRAM client of our own (RFC 5802, 7677, 9266) ---------------------------------------------------------

def scram(client, user, password, binding=None, flag="n"):
    """Through imaplib's authenticate; binding: channel binding data. Verifies the server's signature."""
    header = "p=tls-exporter,," if binding is not None else f"{flag},,"
    nonce = secrets.token_urlsafe(12)
    bare = f"n={user},r={nonce}"
    state = {"step": 0}

    def answer(challenge):
        state["step"] += 1
        if state["step"] == 1:
            return (header + bare).encode()
        if state["step"] == 2:
            server = challenge.decode()
            parts = dict(p.split("=", 1) for p in server.split(","))
            assert parts["r"].startswith(nonce) and len(parts["r"]) > len(nonce)
            salt = base64.b64decode(parts["s"])
            state["salt"] = salt
            salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, int(parts["i"]))
            key = hmac.digest(salted, b"Client Key", "sha256")
            without = f"c={base64.b64encode(header.encode() + (binding or b'')).decode()},r={parts['r']}"
            message = f"{bare},{server},{without}".encode()
            proof = bytes(a ^ b for a, b in zip(key, hmac.digest(hashlib.sha256(key).digest(), message, "sha256")))
            state["signature"] = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
            return f"{without},p={base64.b64encode(proof).decode()}".encode()
        assert challenge == b"v=" + base64.b64encode(state["signature"]), "the server knows the password too"
        state["verified"] = True
        return b""

    mechanism = "SCRAM-SHA-256-PLUS" if binding is not None else "SCRAM-SHA-256"
    client.authenticate(mechanism, answer)
    assert state.get("verified")
    return state["salt"]


def refused(call, word):
    try:
        call()
    except imaplib.IMAP4.error as e:
        assert word in str(e), (word, str(e))
        return
    raise AssertionError(f"let in, where {word} was expected")


CONF = """
[store]
path = {store}
[certificate main]
certificate = {folder}/server.pem
key = {folder}/server.key
[listener tls]
address = 127.0.0.1:0
mode = tls
certificates = main
[listener scram]
address = 127.0.0.1:0
mode = plain
passwords = false
[listener forced]
address = 127.0.0.1:0
mode = starttls
certificates = main
tls-networks = 127.0.0.0/8
[limits]
connections-per-account = 3
[login]
domains = EXAMPLE
[log]
format = json
level = debug
file = {folder}/mds.log
audit = {folder}/audit.log
[metrics]
enabled = true
listen = 127.0.0.1:0
[mask eve]
accounts = e?e
hide = NAMESPACE
[mask strange]
clients = strange client*
hide = ENABLE UNSELECT
"""


def capabilities(client):
    return client.capability()[1][0].decode().split()


def check_listeners(server, context):
    tls, plain, forced = server.ports
    with imaplib.IMAP4_SSL("127.0.0.1", tls, ssl_context=context) as client:
        offered = capabilities(client)
        assert {"AUTH=PLAIN", "AUTH=LOGIN", "AUTH=SCRAM-SHA-256", "AUTH=SCRAM-SHA-256-PLUS"} <= set(offered), offered
        assert "LOGINDISABLED" not in offered and "STARTTLS" not in offered
        client.login("ann", "secret")
        client.select("INBOX")
        assert b"Subject: ann" in client.fetch("1", "(BODY[])")[1][0][1]
        assert client.store("1", "+FLAGS", "\\Flagged")[0] == "OK"
    with imaplib.IMAP4("127.0.0.1", plain) as client:
        offered = capabilities(client)
        assert "AUTH=SCRAM-SHA-256" in offered and "LOGINDISABLED" in offered and "AUTH=PLAIN" not in offered, offered
        refused(lambda: client.login("ann", "secret"), "PRIVACYREQUIRED")
        refused(lambda: client.authenticate("PLAIN", lambda _: b"\0ann\0secret"), "PRIVACYREQUIRED")
        scram(client, "ann", "secret")
        assert client.select("INBOX")[0] == "OK"
    with imaplib.IMAP4("127.0.0.1", forced) as client:
        assert "STARTTLS" in capabilities(client) and not [c for c in capabilities(client) if c.startswith("AUTH=")], capabilities(client)
        refused(lambda: client.authenticate("SCRAM-SHA-256", lambda _: b"n,,n=ann,r=abc"), "PRIVACYREQUIRED")
        client.starttls(context)
        client.login("ann", "secret")
    print("listeners: each by its rules")


def check_logins(server, context):
    tls, plain, _ = server.ports
    for user, subject in [("ann", b"ann"), ("ann\\\\shared", b"shared"), ("EXAMPLE\\\\ann\\\\shared", b"shared"), ("ann@example", b"ann"), ("example\\\\ann", b"ann")]:
        with imaplib.IMAP4_SSL("127.0.0.1", tls, ssl_context=context) as client:
            client._simple_command("LOGIN", f'"{user}"', '"secret"')  # imaplib quotes backslashes wrongly
            client.state = "AUTH"
            client.select("INBOX")
            assert b"Subject: " + subject in client.fetch("1", "(BODY[HEADER])")[1][0][1], user
    with imaplib.IMAP4("127.0.0.1", plain) as client:
        scram(client, "ann\\shared", "secret")
        client.select("INBOX")
        assert b"shared" in client.fetch("1", "(BODY[HEADER])")[1][0][1]
    words = set()
    for user, password in [("ann", "wrong"), ("nobody", "secret"), ("ann\\shared\\x", "secret"), ("eve\\shared", "secret")]:
        with imaplib.IMAP4("127.0.0.1", plain) as client:
            try:
                scram(client, user, password)
            except imaplib.IMAP4.error as e:
                words.add(str(e))
    assert len(words) == 1 and "AUTHENTICATIONFAILED" in words.pop(), words
    print("logins: archives by name, one word for all failures")


class Openssl:
    """Python cannot export keying material, openssl's client can: a session of it, with what scram() asks of imaplib."""

    def __init__(self, port, folder):
        self.process = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-ign_eof", "-CAfile", os.path.join(folder, "server.pem"),
                                         "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        self.binding = bytes.fromhex(self.until(rb"Keying material: ([0-9A-F]{64})\n").group(1).decode())
        self.until(rb"\* OK .*\r\n")

    def until(self, pattern):
        got = b""
        while True:
            piece = self.process.stdout.read(1)
            assert piece, got
            got += piece
            if piece == b"\n" and (found := re.search(pattern, got)):
                return found

    def authenticate(self, mechanism, answer):
        self.process.stdin.write(f"a AUTHENTICATE {mechanism}\r\n".encode())
        while True:
            found = self.until(rb"(?:^|\n)(\+ |a )(.*)\r\n")
            if found.group(1) == b"a ":
                if not found.group(2).startswith(b"OK"):
                    raise imaplib.IMAP4.error(found.group(2).decode())
                return
            self.process.stdin.write(base64.b64encode(answer(base64.b64decode(found.group(2)))) + b"\r\n")

    def close(self):
        self.process.kill()
        self.process.communicate()


def check_plus(server, folder, context):
    for binding, password, word in [(None, "secret", None), (b"\0" * 32, "secret", "AUTHENTICATIONFAILED"), (None, "wrong", "AUTHENTICATIONFAILED")]:
        client = Openssl(server.ports[0], folder)
        try:
            call = lambda: scram(client, "ann", password, binding or client.binding)
            if word:
                refused(call, word)
            else:
                call()
        finally:
            client.close()
    with imaplib.IMAP4_SSL("127.0.0.1", server.ports[0], ssl_context=context) as client:
        refused(lambda: scram(client, "ann", "secret", flag="y"), "AUTHENTICATIONFAILED")
    print("SCRAM-SHA-256-PLUS: bound to its channel")


def main():
    if not shutil.which("openssl"):
        print("skipped: no openssl")
        return 77
    check_manual()
    folder = tempfile.mkdtemp(prefix="mdslab.conf.")
    try:
        store = make_store(folder)
        check_refused(folder, store)
        check_example(folder, store)
        check_external(folder, store)
        check_server(folder, store)
    finally:
        shutil.rmtree(folder)
    return 0


# ---- SIGHUP, logs, metrics ---------------------------------------------------------------------------------------

def read_json(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def check_masks(server, context):
    with imaplib.IMAP4_SSL("127.0.0.1", server.ports[0], ssl_context=context) as client:
        assert "NAMESPACE" in capabilities(client)
        client.login("eve", "secret")
        assert "NAMESPACE" not in capabilities(client) and "ENABLE" in capabilities(client)
        client.xatom("ID", '("name" "Strange Client" "version" "1.0")')
        got = capabilities(client)
        assert "NAMESPACE" not in got and "ENABLE" not in got and "UNSELECT" not in got, got
    print("masks: by account and client")


def check_external(folder, store):
    """Client certificates of a CA of our own, and of one that nobody knows: who they are, which archive, and what is refused."""
    here = os.path.join(folder, "clients")
    os.mkdir(here)
    server_certificate(folder)

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=here, check=True, capture_output=True)

    def authority(name):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")

    def client_certificate(name, ca, subject, names=None):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        with open(os.path.join(here, "x.cnf"), "w", encoding="ascii") as f:
            f.write("extendedKeyUsage = clientAuth\n" + (f"subjectAltName = {names}\n" if names else ""))
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "2", "-extfile", "x.cnf", "-out", f"{name}.pem")

    authority("ours")
    authority("theirs")
    client_certificate("ann", "ours", "/O=Test/CN=ann")
    client_certificate("mail", "ours", "/CN=Somebody Else", "email:eve")
    client_certificate("zoe", "ours", "/CN=zoe")
    client_certificate("stranger", "theirs", "/CN=ann")
    listener = "[listener {name}]\naddress = 127.0.0.1:0\nmode = tls\ncertificates = main\nclient-ca = {{folder}}/clients/ours.pem\nclient-certificates = {how}\n"
    conf = CONF.split("[listener")[0] + listener.format(name="asks", how="optional") + listener.format(name="needs", how="required") + \
        "[log]\naudit = {folder}/external.log\nformat = json\nlevel = error\n"
    server = Server(write_conf(folder, store, conf, "external.conf"), 2, metrics=False)

    def connect(name, port=0):
        context = ssl.create_default_context(cafile=os.path.join(folder, "server.pem"))
        context.check_hostname = False
        if name:
            context.load_cert_chain(os.path.join(here, f"{name}.pem"), os.path.join(here, f"{name}.key"))
        return imaplib.IMAP4_SSL("127.0.0.1", server.ports[port], ssl_context=context)

    def subject_of(client):
        assert client.select("INBOX", readonly=True)[0] == "OK"
        return client.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1].split()[1]

    try:
        for name, identity, subject in [("ann", b"", b"ann"), ("ann", b"ann", b"ann"), ("ann", b"ann\\shared", b"shared"), ("ann", b"CN=ann,O=Test", None),
                                        ("ann", b"eve", None), ("ann", b"ann\\none", None), ("ann", b"annabel", None), ("zoe", b"", None), ("mail", b"eve", None),
                                        ("mail", b"", None)]:
            with connect(name, 1) as client:
                assert "AUTH=EXTERNAL" in capabilities(client)
                call = lambda: client.authenticate("EXTERNAL", lambda _: identity)
                if subject:
                    call()
                    assert subject_of(client) == subject, (name, identity)
                elif (name, identity) in (("mail", b"eve"), ("mail", b"")):
                    call()  # its mail address, not its common name
                    client.select("INBOX", readonly=True)
                else:
                    refused(call, "AUTHENTICATIONFAILED")
        with connect("ann") as client:  # in one line, RFC 4959
            tag = client._new_tag().decode()
            client.send(f"{tag} AUTHENTICATE EXTERNAL =\r\n".encode())
            assert client.readline().startswith(f"{tag} OK".encode())
        with connect(None) as client:  # the password is still good where none is needed, and there is nothing to be external
            assert "AUTH=EXTERNAL" not in capabilities(client)
            refused(lambda: client.authenticate("EXTERNAL", lambda _: b"ann"), "")
        with connect(None) as client:
            client.login("ann", "secret")
        for name, port in (("stranger", 0), ("stranger", 1), (None, 1)):
            try:
                connect(name, port)
            except (ssl.SSLError, OSError, imaplib.IMAP4.abort):
                continue
            raise AssertionError(f"{name} was let in on port {port}")
    finally:
        err = server.stop()
    assert err == "", err
    audit = [e for e in read_json(os.path.join(folder, "external.log")) if e.get("mechanism") == "EXTERNAL"]
    assert {e["account"] for e in audit if e["event"] == "audit: login"} == {"ann", "eve"}, audit
    assert len([e for e in audit if e["event"] == "audit: login failed"]) == 5, audit
    print("EXTERNAL: certificates name accounts")


CHANGES = [  # commands, and what the audit says of them: action, folder, to, uids, count
    ('CREATE Work', ("create", "Work", None, None, 0)),
    ('CREATE "Ablage &APw-ber"', ("create", "Ablage über", None, None, 0)),
    ('CREATE Work', None),
    ('COPY 1 Work', ("copy", "INBOX", "Work", "1", 1)),
    ('COPY 1 Nowhere', None),
    ('APPEND INBOX "17-Jul-1996 02:44:25 -0700" {3+}\r\nx\r\n', ("append", "INBOX", None, "2", 1)),
    ('MOVE 2 "Ablage &APw-ber"', ("move", "INBOX", "Ablage über", "2", 1)),
    ('RENAME Work Done', ("rename", "Work", "Done", None, 0)),
    ('DELETE "Ablage &APw-ber"', ("delete", "Ablage über", None, None, 0)),
    ('STORE 1 +FLAGS (\\Deleted)', None),
    ('EXPUNGE', ("expunge", "INBOX", None, "1", 1)),
    ('EXPUNGE', None),
    ('REPLACE 1 INBOX {3+}\r\nx\r\n', None),
]


def check_audit(server, folder, store, context):
    """Who changes what, line by line; then what the operator does with the same configuration."""
    before = len(read_json(os.path.join(folder, "audit.log")))
    with imaplib.IMAP4_SSL("127.0.0.1", server.ports[0], ssl_context=context) as client:
        client.login("eve", "secret")
        client.select("INBOX")
        for n, (command, _) in enumerate(CHANGES):
            client.send(f"x{n} {command}\r\n".encode())
            while not (line := client.readline()).startswith(f"x{n} ".encode()):
                assert line, command
    got = [e for e in read_json(os.path.join(folder, "audit.log"))[before:] if e["event"] != "audit: login"]
    assert all(e["account"] == "eve" and e["archive"] == "ann" and e["peer"] == "127.0.0.1" for e in got), got
    got = [(e["event"].removeprefix("audit: "), e.get("folder"), e.get("to"), e.get("uids"), e["count"]) for e in got]
    assert got == [what for _, what in CHANGES if what], got

    def last(n):
        return [(e["event"].removeprefix("audit: "), e["archive"], e.get("to"), e.get("count")) for e in read_json(os.path.join(folder, "audit.log"))[-n:]]

    conf, mbox = os.path.join(folder, "mds.conf"), f"mbox:{folder}/out"
    done = run("export", "--config", conf, "--archive", "ann", "--to", mbox)
    assert done.returncode == 0 and last(2) == [("export", "ann", mbox, None), ("exported", "ann", mbox, 1)], (done, last(2))
    kept = run("compact", "--config", conf, "--archive", "ann")
    assert kept.returncode == 0 and " 0 expunged messages let go" in kept.stdout and last(2)[1] == ("compacted", "ann", None, 0), (kept, last(2))
    at_once = write_conf(folder, store, CONF.replace("[store]", "[store]\ngrace = 0"), "at_once.conf")
    gone = run("compact", "--config", at_once, "--archive", "ann")
    assert gone.returncode == 0 and " 0 expunged" not in gone.stdout and last(2)[1][3] >= 1, (gone, last(2))
    assert run("archive", "--config", conf, "remove", "shared").returncode != 0, "it is enabled"
    assert last(1) == [("archive remove", "shared", None, None)], last(1)
    nowhere = write_conf(folder, store, CONF.replace("audit.log", "none/audit.log"), "nowhere.conf")
    done = run("export", "--config", nowhere, "--archive", "ann", "--to", f"eml:{folder}/out2")
    assert done.returncode == 3 and "none/audit.log" in done.stderr and not os.path.exists(os.path.join(folder, "out2")), done
    operators = {e["operator"] for e in read_json(os.path.join(folder, "audit.log")) if "operator" in e}
    assert len(operators) == 1 and operators != {""}, operators
    print(f"audit: {len(got)} changes, export, compact, remove")


def check_limit(server, context):
    clients = [imaplib.IMAP4_SSL("127.0.0.1", server.ports[0], ssl_context=context) for _ in range(4)]
    for client in clients[:3]:
        client.login("ann", "secret")
    refused(lambda: clients[3].login("ann", "secret"), "LIMIT")
    for client in clients:
        client.logout()


def check_reload(server, folder, store, context):
    with imaplib.IMAP4_SSL("127.0.0.1", server.ports[0], ssl_context=context) as client:
        client.login("ann", "secret")
        os.rename(os.path.join(folder, "mds.log"), os.path.join(folder, "mds.log.1"))
        shutil.move(make_certificate(folder, "other.test")[0], os.path.join(folder, "server.pem"))
        shutil.move(os.path.join(folder, "other.test.key"), os.path.join(folder, "server.key"))
        write_conf(folder, store, CONF.replace("hide = NAMESPACE", "hide = IDLE"))
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: os.path.exists(os.path.join(folder, "mds.log")) and "configuration read" in open(os.path.join(folder, "mds.log")).read(),
                 "the configuration is not read again")
        assert client.select("INBOX")[0] == "OK", "the session went on"
        fresh = ssl.create_default_context(cafile=os.path.join(folder, "server.pem"))
        with socket.create_connection(("127.0.0.1", server.ports[0])) as raw, fresh.wrap_socket(raw, server_hostname="other.test"):
            pass
    write_conf(folder, store, CONF + "[nonsense]\n")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "not known" in open(os.path.join(folder, "mds.log")).read(), "a wrong configuration is not complained of")
    fresh.check_hostname = False
    with imaplib.IMAP4_SSL("127.0.0.1", server.ports[0], ssl_context=fresh) as client:
        client.login("eve", "secret")
        assert "NAMESPACE" in capabilities(client), "the mask of the last good file"
    print("SIGHUP: new key, new masks, the session went on")


def parse_openmetrics(text):
    """A strict reader of the exposition: families in one piece, types, units, suffixes, histograms that add up. {name: {labels: value}}"""
    lines = text.split("\n")
    assert lines[-1] == "" and lines[-2] == "# EOF" and text.count("# EOF") == 1
    families, samples, current = {}, {}, None
    for line in lines[:-2]:
        if line.startswith("# "):
            kind, name, rest = re.fullmatch(r"# (TYPE|UNIT|HELP) ([a-z_]+) (.+)", line).groups()
            if kind == "TYPE":
                assert name not in families and rest in ("counter", "gauge", "histogram", "summary"), line
                families[name], current = rest, name
            assert name == current, f"{line}: not in one piece"
            if kind == "UNIT":
                assert name.endswith("_" + rest), line
            continue
        found = re.fullmatch(r'([a-z_]+)(?:\{((?:[a-z_]+="[^"\\]*")(?:,[a-z_]+="[^"\\]*")*)\})? (\d+(?:\.\d+)?)', line)
        assert found, line
        name, labels, value = found.groups()
        suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"], "summary": ["_count", "_sum"]}[families[current]]
        assert name in [current + s for s in suffixes], line
        assert labels not in samples.setdefault(name, {}), f"twice: {line}"
        samples[name][labels] = float(value)
    for name, kind in families.items():
        if kind != "histogram":
            continue
        for labels, count in samples.get(name + "_count", {}).items():
            buckets = [(key, value) for key, value in samples[name + "_bucket"].items() if key.startswith(labels + ",le=" if labels else "le=")]
            values = [value for _, value in buckets]
            assert values == sorted(values) and values[-1] == count and buckets[-1][0].endswith('le="+Inf"'), labels
            bounds = [float(re.search(r'le="(.*)"', key).group(1)) for key, _ in buckets]
            assert bounds == sorted(set(bounds))
    return samples


def http(port, request):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        s.sendall(request)
        got = b""
        while piece := s.recv(65536):
            got += piece
    return got


def scrape(server):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics}/metrics", timeout=20) as answer:
        assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        return parse_openmetrics(answer.read().decode())


def check_gauges(server, folder, store, context):
    """What lives: sessions by what they are at, bytes of connections that are open, a build of another process."""
    states = lambda: [int(scrape(server)["mds_sessions"][f'state="{s}"']) for s in ("nonauthenticated", "authenticated", "selected", "idle")]
    wait_for(lambda: states() == [0, 0, 0, 0], f"sessions that are gone are counted: {states()}")
    before = scrape(server)["mds_network_bytes_total"]
    clients = [imaplib.IMAP4_SSL("127.0.0.1", server.ports[0], ssl_context=context) for _ in range(4)]
    for client in clients[1:]:
        client.login("ann", "secret")
    for client in clients[2:]:
        client.select("INBOX")
    clients[3].send(b"x IDLE\r\n")
    assert clients[3].readline().startswith(b"+")
    wait_for(lambda: states() == [1, 1, 1, 1], f"sessions by state: {states()}")
    after = scrape(server)["mds_network_bytes_total"]
    assert all(after[key] > before[key] + 100 for key in before), (before, after)
    clients[3].send(b"DONE\r\n")
    wait_for(lambda: states() == [1, 1, 2, 0], f"after DONE: {states()}")
    for client in clients:
        client.shutdown()
    wait_for(lambda: states() == [0, 0, 0, 0], f"after the end: {states()}")
    with open(os.path.join(store, "archives", os.listdir(os.path.join(store, "archives"))[0], "build.lock"), "r+b") as lock:
        assert scrape(server)["mds_builds"][None] == 0
        fcntl.fcntl(lock, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
        assert scrape(server)["mds_builds"][None] == 1
    assert scrape(server)["mds_builds"][None] == 0
    print("gauges: sessions, bytes, builds")


def check_metrics(server):
    m = scrape(server)
    assert m["mds_logins_total"]['mechanism="LOGIN",result="ok"'] >= 5, m["mds_logins_total"]
    assert m["mds_logins_total"]['mechanism="SCRAM-SHA-256",result="ok"'] >= 2
    assert m["mds_logins_total"]['mechanism="SCRAM-SHA-256",result="failed"'] >= 4
    assert m["mds_logins_remembered_total"][None] >= 1
    assert m["mds_commands_total"]['command="SELECT",status="ok"'] >= 3
    assert m["mds_command_duration_seconds_count"]['command="SELECT"'] == m["mds_commands_total"]['command="SELECT",status="ok"']
    assert m["mds_connections_refused_total"]['limit="account"'] >= 1
    assert m["mds_network_bytes_total"]['direction="out"'] > 1000
    assert m["mds_commit_duration_seconds_count"][None] >= 1 and m["mds_changes_total"][None] >= 1
    assert m["mds_commit_duration_seconds_sum"][None] > 0
    assert m["mds_archives"]['state="open"'] == m["mds_archives"]['state="all"'] == 2, m["mds_archives"]
    assert 0 < m["mds_map_bytes"]['part="used"'] < m["mds_map_bytes"]['part="all"'], m["mds_map_bytes"]
    assert m["mds_login_cache_total"]['result="hit"'] >= m["mds_logins_remembered_total"][None] >= 1
    assert m["mds_login_cache_total"]['result="miss"'] >= 1
    for request, status in [(b"GET / HTTP/1.1\r\n\r\n", b"404"), (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"), (b"nonsense\r\n\r\n", b"400"),
                            (b"GET /metrics HTTP/1.1\r\nx: " + b"x" * 5000, b"431"), (b"HEAD /metrics HTTP/1.0\r\n\r\n", b"200")]:
        assert http(server.metrics, request).startswith(b"HTTP/1.1 " + status), request[:30]
    print("metrics: a strict reader takes them")


def check_logs(folder):
    logged = read_json(os.path.join(folder, "mds.log.1")) + read_json(os.path.join(folder, "mds.log"))
    audit = read_json(os.path.join(folder, "audit.log"))
    events = {e["event"] for e in logged}
    assert {"imap: login", "imap: login failed", "imap: connected", "imap: disconnected", "imap: command"} <= events, events
    assert any(e["event"] == "audit: login" and e["account"] == "ann" and e["archive"] == "shared" for e in audit)
    assert any(e["event"] == "audit: login failed" and e["account"] == "nobody" for e in audit)
    reads = [e for e in audit if e["event"] == "audit: read"]
    assert [(e["account"], e["archive"], e["folder"], e["uids"], e["count"]) for e in reads] == [("ann", "ann", "INBOX", "1", 1)], reads
    for name in ("mds.log", "mds.log.1", "audit.log"):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            text = f.read()
        assert "secret" not in text and "Hello" not in text, name
    print(f"logs: {len(logged)} lines, {len(audit)} of the audit, no secret")


def check_server(folder, store):
    server_certificate(folder)
    context = ssl.create_default_context(cafile=os.path.join(folder, "server.pem"))
    context.check_hostname = False
    server = Server(write_conf(folder, store, CONF), 3)
    try:
        check_listeners(server, context)
        check_logins(server, context)
        check_plus(server, folder, context)
        check_masks(server, context)
        check_limit(server, context)
        check_metrics(server)
        check_gauges(server, folder, store, context)
        check_audit(server, folder, store, context)
        check_reload(server, folder, store, context)
    finally:
        err = server.stop()
    assert err == "", err
    check_logs(folder)


if __name__ == "__main__":
    sys.exit(main())
