#!/usr/bin/env python3
"""Reaching the server safely: implicit TLS and STARTTLS, names, tickets, new certificates and settings on SIGHUP, an ordinary user after the ports are
bound, compression, limits, networks, and clients that go away. Certificates are made here with the openssl program; clients are Python's ssl,
openssl s_client and curl."""
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import zlib

from mdslab import Closed, Imap, Lab, bin_dir

PASSWORD = "sEcret-5b1a"


def shell(command, cwd):
    subprocess.run(command, shell=True, cwd=cwd, check=True, stderr=subprocess.DEVNULL)


def make_certificate(where, name, *hosts):
    names = ",".join(f"DNS:{h}" for h in hosts)
    shell(f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key -out {name}.pem -days 30 "
          f"-subj /CN={hosts[0]} -addext subjectAltName={names},IP:127.0.0.1", where)


class Served:
    """mds serve with a configuration: [certificate NAME] for each of certificates, then what `text` says."""

    def __init__(self, lab, text, listeners, certificates=("one",), become=None):
        self.conf = lab.path("mds.conf")
        self.lab = lab
        self.listeners = listeners
        self.certificates = certificates
        self.write(text)
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([os.path.join(bin_dir(), "mds"), "serve", "--config", self.conf], stdout=subprocess.PIPE,
                                        stderr=self.log)
        self.ports = []
        for line in self.process.stdout:
            found = re.search(rb"(?:127\.0\.0\.1|0\.0\.0\.0):(\d+)", line)
            if found:
                self.ports.append(int(found.group(1)))
            if len(self.ports) == len(listeners):
                return
        raise AssertionError("mds serve did not listen: " + self.logged())

    def write(self, text):
        groups = [f"[store]\npath = {self.lab.store}\n"]
        groups += [f"[certificate {c}]\ncertificate = {self.lab.path(c + '.pem')}\nkey = {self.lab.path(c + '.key')}\n"
                   for c in self.certificates]
        for i, rules in enumerate(self.listeners):
            groups.append(f"[listener l{i}]\naddress = 127.0.0.1:0\n" + rules + "\n")
        with open(self.conf, "w") as f:
            f.write("\n".join(groups) + "\n" + text + "\n")

    def reload(self, text="", listeners=None, certificates=None):
        self.listeners = listeners or self.listeners
        self.certificates = certificates or self.certificates
        self.write(text)
        self.process.send_signal(signal.SIGHUP)

    def logged(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            if self.process.poll() is None:
                self.process.kill()
        self.process.stdout.close()
        if kind is None and self.process.returncode != 0:
            raise AssertionError(f"mds serve ended with {self.process.returncode}: {self.logged()}")


def context(lab, ca="one", version=None):
    c = ssl.create_default_context(cafile=lab.path(ca + ".pem"))
    if version:
        c.minimum_version = c.maximum_version = version
    return c


class TlsImap(Imap):
    def __init__(self, port, ctx, name="one.example.org", session=None, starttls=False):
        self.tags = 0
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        if starttls:
            self.file = self.socket.makefile("rb")
            self.greeting = self.response()
            self.command("STARTTLS")
        self.socket = ctx.wrap_socket(self.socket, server_hostname=name, session=session)
        self.file = self.socket.makefile("rb", 1 << 16)
        if not starttls:
            self.greeting = self.response()

    def login(self):
        self.command(f"LOGIN ann {PASSWORD}")
        return self


class Deflated(Imap):
    """Takes over a connection whose COMPRESS was answered."""

    def __init__(self, imap):
        self.below, self.socket, self.tags = imap.socket, self, imap.tags
        self.to, self.of = zlib.compressobj(6, zlib.DEFLATED, -15), zlib.decompressobj(-15)
        self.file, self.have = self, b""

    def sendall(self, data):
        self.below.sendall(self.to.compress(data) + self.to.flush(zlib.Z_SYNC_FLUSH))

    def more(self):
        got = self.below.recv(65536)
        if not got:
            raise Closed(self.have)
        self.have += self.of.decompress(got)

    def readline(self):
        while b"\n" not in self.have:
            self.more()
        line, self.have = self.have.split(b"\n", 1)
        return line + b"\n"

    def read(self, n):
        while len(self.have) < n:
            self.more()
        out, self.have = self.have[:n], self.have[n:]
        return out

    def close(self):
        self.below.close()


VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def clients(lab):
    """Three TLS libraries' clients, both ways to TLS, both versions."""
    with Served(lab, "", ["mode = tls\ncertificates = one", "mode = starttls\ncertificates = one"]) as server:
        for version in VERSIONS:
            for i in range(2):
                with TlsImap(server.ports[i], context(lab, version=version), starttls=i == 1) as imap:
                    assert imap.socket.version() == {VERSIONS[0]: "TLSv1.2", VERSIONS[1]: "TLSv1.3"}[version]
                    assert b"STARTTLS" not in imap.command("CAPABILITY")[0]
                    imap.login().command("SELECT INBOX")
                    assert len(imap.command("FETCH 1:* (FLAGS)")) >= lab.items
                    sizes = [int(re.search(rb"\{(\d+)\}", r).group(1)) for r in imap.command("FETCH 1:* (BODY.PEEK[])") if b"BODY[]" in r]
                    assert len(sizes) == lab.items
                    imap.command("STARTTLS", b"BAD")
                    imap.command("LOGOUT")
                    assert imap.socket.recv(10) == b"", "close_notify"
        for args in (f"-connect 127.0.0.1:{server.ports[0]}", f"-starttls imap -connect 127.0.0.1:{server.ports[1]}"):
            done = subprocess.run(["openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", lab.path("one.pem"), *args.split()],
                                  input=f"a LOGIN ann {PASSWORD}\r\nb STATUS INBOX (MESSAGES)\r\nc LOGOUT\r\n".encode(), capture_output=True,
                                  timeout=60)
            assert b"MESSAGES %d" % lab.items in done.stdout and b"c OK" in done.stdout, done
        if shutil.which("curl"):
            for scheme, port, more in (("imaps", server.ports[0], []), ("imap", server.ports[1], ["--ssl-reqd"])):
                done = subprocess.run(["curl", "-sS", "--cacert", lab.path("one.pem"), *more, "-u", f"ann:{PASSWORD}",
                                       f"{scheme}://127.0.0.1:{port}/INBOX;MAILINDEX=1"], capture_output=True, timeout=60)
                assert done.returncode == 0 and b"Subject" in done.stdout, done


def injection(lab):
    """What somebody put behind STARTTLS in clear is not taken for the client's (CVE-2011-0411)."""
    with Served(lab, "", ["mode = starttls\ncertificates = one"]) as server:
        for extra in (b"b NOOP\r\n", f"b LOGIN ann {PASSWORD}\r\n".encode(), b"b NO", b"b LOGIN {3}\r\nann"):
            s = socket.create_connection(("127.0.0.1", server.ports[0]), 30)
            s.recv(4096)
            s.sendall(b"a STARTTLS\r\n" + extra)
            got = b""
            while b"\r\n" not in got:
                got += s.recv(4096)
            assert got.startswith(b"a OK") and b"b " not in got, got
            try:
                s = context(lab).wrap_socket(s, server_hostname="one.example.org")
            except (ssl.SSLError, OSError):
                continue  # what had not been read yet when TLS began is no handshake: the connection ends, which is safe too
            s.sendall(b"c NOOP\r\nd SELECT INBOX\r\n")
            got = b""
            while b"d " not in got:
                got += s.recv(4096)
            assert b"b " not in got and b"c OK" in got and b"d BAD" in got, got
            s.close()
        # Refused where there is none to be had, and twice.
        with Served(lab, "", ["mode = plain"]) as plain, Imap(("127.0.0.1", plain.ports[0])) as imap:
            assert b"STARTTLS" not in imap.greeting
            imap.command("STARTTLS", b"BAD")


def names_and_tickets(lab):
    both = ["mode = tls\ncertificates = one two", "mode = tls\ncertificates = two"]
    with Served(lab, "", both, certificates=("one", "two")) as server:
        for port, name, ca in ((0, "one.example.org", "one"), (0, "two.example.org", "two"), (1, "two.example.org", "two")):
            with TlsImap(server.ports[port], context(lab, ca), name) as imap:
                imap.login()
        for version in VERSIONS:
            ctx = context(lab, version=version)
            with TlsImap(server.ports[0], ctx) as imap:
                assert not imap.socket.session_reused
                imap.login()
                session = imap.socket.session
            server.reload()  # the keys of tickets outlive it
            time.sleep(0.5)
            with TlsImap(server.ports[0], ctx, session=session) as imap:
                assert imap.socket.session_reused, version
                imap.login()


def reloading(lab):
    with Served(lab, "", ["mode = tls\ncertificates = now"], certificates=("now",)) as server:
        def serial():
            s = ssl.create_default_context()
            s.check_hostname, s.verify_mode = False, ssl.CERT_NONE
            with s.wrap_socket(socket.create_connection(("127.0.0.1", server.ports[0]), 30)) as c:
                return c.getpeercert(True)

        def becomes(wanted):
            for _ in range(100):
                if (serial() != first) == wanted:
                    return True
                time.sleep(0.05)
            return False

        first = serial()
        imap = TlsImap(server.ports[0], context(lab, "now"), "now.example.org").login()
        imap.command("SELECT INBOX")
        # A key that does not fit: the old pair stays.
        shutil.copy(lab.path("now.key"), lab.path("old.key"))
        shutil.copy(lab.path("one.key"), lab.path("now.key"))
        server.reload()
        time.sleep(0.6)
        assert serial() == first
        assert "not reloaded" in server.logged(), server.logged()
        # Nonsense in the file.
        shutil.copy(lab.path("old.key"), lab.path("now.key"))
        server.reload("[nonsense]\na = b\n")
        time.sleep(0.6)
        assert serial() == first
        # A new pair.
        make_certificate(lab.path(""), "now", "now.example.org")
        server.reload()
        assert becomes(True)
        # Settings of the listener too, for who comes now; who was there is not touched.
        server.reload(listeners=["mode = tls\ncertificates = now\nmax-connections = 1"])
        for _ in range(100):
            try:
                serial()
            except (ssl.SSLError, OSError):
                break
            time.sleep(0.05)
        else:
            raise AssertionError("max-connections was not reloaded")
        imap.command("FETCH 1:* (FLAGS)")
        imap.command("LOGOUT")


def coming_and_going(lab):
    """A listener that is gone from the file takes nobody in; a new one waits for the next start; all else is taken over."""
    tls, plain = "mode = tls\ncertificates = one", "mode = plain"
    with Served(lab, "", [tls, plain]) as server:
        def greeting():
            with socket.create_connection(("127.0.0.1", server.ports[1]), 30) as s:
                return s.recv(4096)

        def limit():
            with TlsImap(server.ports[0], context(lab)) as imap:
                return re.search(rb"APPENDLIMIT=(\d+)", imap.login().command("CAPABILITY")[0]).group(1)

        def becomes(what, wanted):
            for _ in range(100):
                if what() == wanted:
                    return
                time.sleep(0.05)
            raise AssertionError(f"{what()} is not {wanted}: {server.logged()}")

        hello = greeting()[:4]
        assert hello == b"* OK"
        imap = Imap(("127.0.0.1", server.ports[1]))
        for listeners, append, first in (([tls, plain, plain], b"1024", b"* OK"), ([tls], b"2048", b"* BY"), ([tls], b"4096", b"* BY"),
                                         ([tls, plain], b"8192", b"* OK")):
            server.reload(f"[limits]\nappend-size = {append.decode()}\n", listeners=listeners)
            becomes(limit, append)
            becomes(lambda: greeting()[:4], first)
            imap.command("NOOP")
        imap.command("LOGOUT")
        for words in ("listener is new, it waits for the next start: listener=l2", "listener is gone, it takes nobody in any more: listener=l1"):
            assert server.logged().count(words) == 1, server.logged()


def privileges(lab):
    """Bound as root, served as nobody; a key that its group may read is taken after the drop, one that it may not is refused."""
    if os.geteuid() != 0:
        print("note: not root, giving up privileges is not tested")
        return
    nobody = pwd.getpwnam("nobody")
    for root, dirs, files in os.walk(lab.store):
        for each in [root] + [os.path.join(root, f) for f in dirs + files]:
            os.chown(each, nobody.pw_uid, nobody.pw_gid)
    home, mode = os.path.dirname(lab.store), os.stat(os.path.dirname(lab.store)).st_mode
    os.chmod(home, 0o755)

    def allow(gid, bits):
        os.chown(lab.path("now.key"), 0, gid)
        os.chmod(lab.path("now.key"), bits)

    def certificate(port):
        ctx = ssl.create_default_context()
        ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
        with ctx.wrap_socket(socket.create_connection(("127.0.0.1", port), 30)) as c:
            return c.getpeercert(True)

    try:
        make_certificate(lab.path(""), "now", "now.example.org")
        allow(nobody.pw_gid, 0o640)
        with Served(lab, "[server]\nuser = nobody\n", ["mode = tls\ncertificates = now"], certificates=("now",)) as server:
            with open(f"/proc/{server.process.pid}/status") as f:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
            assert status["Uid"].split() == [str(nobody.pw_uid)] * 4, status["Uid"]
            assert status["Gid"].split() == [str(nobody.pw_gid)] * 4, status["Gid"]
            assert "0" not in status["Groups"].split(), status["Groups"]
            assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0 and status["NoNewPrivs"].strip() == "1"
            first = certificate(server.ports[0])
            imap = TlsImap(server.ports[0], context(lab, "now"), "now.example.org").login()
            # A new key that only root may read.
            make_certificate(lab.path(""), "now", "now.example.org")
            allow(0, 0o600)
            server.reload("[server]\nuser = nobody\n")
            time.sleep(0.6)
            assert certificate(server.ports[0]) == first and "Permission denied" in server.logged(), server.logged()
            allow(nobody.pw_gid, 0o640)
            server.reload("[server]\nuser = nobody\n")
            for _ in range(100):
                if certificate(server.ports[0]) != first:
                    break
                time.sleep(0.05)
            else:
                raise AssertionError("the new certificate was not taken: " + server.logged())
            imap.command("SELECT INBOX")
            imap.command("LOGOUT")
        # A user that is a number only.
        for root, dirs, files in os.walk(lab.store):
            for each in [root] + [os.path.join(root, f) for f in dirs + files]:
                os.chown(each, 54321, 54321)
        allow(54321, 0o640)
        with Served(lab, "[server]\nuser = 54321\n", ["mode = tls\ncertificates = now"], certificates=("now",)) as server:
            with open(f"/proc/{server.process.pid}/status") as f:
                assert "\nGroups:\t54321 \n" in f.read()
            TlsImap(server.ports[0], context(lab, "now"), "now.example.org").login().command("LOGOUT")
    finally:
        os.chmod(home, mode)
        for root, dirs, files in os.walk(lab.store):
            for each in [root] + [os.path.join(root, f) for f in dirs + files]:
                os.chown(each, 0, 0)


def compression(lab):
    with Served(lab, "", ["mode = tls\ncertificates = one", "mode = plain", "mode = plain\ncompress = false"]) as server:
        for tls in (True, False):
            imap = TlsImap(server.ports[0], context(lab)) if tls else Imap(("127.0.0.1", server.ports[1]))
            assert b"COMPRESS" not in imap.greeting
            imap.command("COMPRESS DEFLATE", b"BAD")
            imap.command(f"LOGIN ann {PASSWORD}")
            assert b" COMPRESS=DEFLATE" in imap.command("CAPABILITY")[0]
            imap.command("SELECT INBOX")
            plain = imap.command("FETCH 1:* (UID FLAGS BODY.PEEK[])")
            imap.command("COMPRESS LZMA", b"BAD")
            imap.command("COMPRESS DEFLATE")
            packed = Deflated(imap)
            assert b"COMPRESS" not in packed.command("CAPABILITY")[0]
            packed.command("COMPRESS DEFLATE", b"NO")
            assert b"[COMPRESSIONACTIVE]" in packed.tagged
            assert packed.command("FETCH 1:* (UID FLAGS BODY.PEEK[])") == plain
            # Pipelined, in one flush.
            packed.sendall(b"".join(b"p%d NOOP\r\n" % i for i in range(200)))
            for i in range(200):
                assert packed.response().startswith(b"p%d OK" % i)
            # After a rest, in which the server gives its memory back.
            time.sleep(11 if tls else 0)
            assert packed.command("FETCH 1:20 (UID FLAGS BODY.PEEK[])") == plain[:20]
            packed.command("LOGOUT")
            packed.close()
        # Two hundred megabytes in two hundred kilobytes: one line that is too long, and little memory.
        imap = Imap(("127.0.0.1", server.ports[1]))
        imap.command(f"LOGIN ann {PASSWORD}")
        imap.command("COMPRESS DEFLATE")
        bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
        data = b"".join(bomb.compress(b"a" * (1 << 20)) for _ in range(200)) 
        data += bomb.compress(b"\r\nz NOOP\r\n") + bomb.flush(zlib.Z_SYNC_FLUSH)
        before = memory_kb(server.process.pid)
        of, got = zlib.decompressobj(-15), b""
        imap.socket.sendall(data)
        while b"BYE" not in got and b"z OK" not in got:
            more = imap.socket.recv(65536)
            assert more, got
            got += of.decompress(more)
        assert got.startswith(b"* BAD") or b"BYE" in got, got
        assert memory_kb(server.process.pid) - before < 20000 or sanitized(server.process.pid), (before, memory_kb(server.process.pid))
        # What is no DEFLATE ends the connection.
        imap = Imap(("127.0.0.1", server.ports[1]))
        imap.command(f"LOGIN ann {PASSWORD}")
        imap.command("COMPRESS DEFLATE")
        imap.socket.sendall(b"b NOOP\r\n" * 10)
        assert b"b OK" not in read_all(imap.socket)
        with Imap(("127.0.0.1", server.ports[2])) as imap:
            imap.command(f"LOGIN ann {PASSWORD}")
            assert b"COMPRESS" not in imap.command("CAPABILITY")[0]
            imap.command("COMPRESS DEFLATE", b"NO")


def memory_kb(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1))


def sanitized(pid):
    """ASan keeps what was freed."""
    with open(f"/proc/{pid}/maps", "rb") as f:
        return b"asan" in f.read()


def read_all(s):
    out = b""
    try:
        while got := s.recv(65536):
            out += got
    except ConnectionResetError:
        pass
    return out


def handshakes(lab):
    with Served(lab, "[limits]\nhandshake-timeout = 1s\n", ["mode = tls\ncertificates = one", "mode = starttls\ncertificates = one"]) as server:
        for half in (b"", b"\x16\x03\x01\x02\x00\x01"):
            s = socket.create_connection(("127.0.0.1", server.ports[0]), 20)
            s.sendall(half)
            began = time.monotonic()
            read_all(s)
            assert 0.5 < time.monotonic() - began < 10, half
        s = socket.create_connection(("127.0.0.1", server.ports[1]), 20)
        s.recv(4096)
        s.sendall(b"a STARTTLS\r\n")
        assert s.recv(4096).startswith(b"a OK")
        began = time.monotonic()
        read_all(s)
        assert 0.5 < time.monotonic() - began < 10
        # Plain text where TLS is expected: no answer in clear.
        s = socket.create_connection(("127.0.0.1", server.ports[0]), 20)
        s.sendall(b"a CAPABILITY\r\n")
        assert b"IMAP" not in read_all(s)


def rules(lab):
    """Who may log in how."""
    with Served(lab, "", ["mode = starttls\ncertificates = one\ntls-networks = 127.0.0.0/8", "mode = plain\npasswords = false",
                          "mode = tls\ncertificates = one\npasswords = false"]) as server:
        with Imap(("127.0.0.1", server.ports[0])) as imap:
            assert b"LOGINDISABLED" in imap.greeting and b"AUTH=" not in imap.greeting
            imap.command(f"LOGIN ann {PASSWORD}", b"NO")
            assert b"[PRIVACYREQUIRED]" in imap.tagged
            imap.command("AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=", b"NO")
        with TlsImap(server.ports[0], context(lab), starttls=True) as imap:
            imap.login()
        for imap in (Imap(("127.0.0.1", server.ports[1])), TlsImap(server.ports[2], context(lab))):
            assert b"LOGINDISABLED" in imap.greeting and b"AUTH=PLAIN" not in imap.greeting, imap.greeting
            imap.command(f"LOGIN ann {PASSWORD}", b"NO")


def limits(lab):
    text = "[limits]\nconnections-per-account = 2\ncommands-per-second = 20\nburst = 1s\n"
    with Served(lab, text, ["mode = plain", "mode = plain\nmax-connections = 1"]) as server:
        held = [Imap(("127.0.0.1", server.ports[0])) for _ in range(3)]
        for imap in held[:2]:
            imap.command(f"LOGIN ann {PASSWORD}")
        held[2].command(f"LOGIN ann {PASSWORD}", b"NO")
        assert b"[LIMIT]" in held[2].tagged, held[2].tagged
        held[0].command("LOGOUT")
        for _ in range(100):
            again = Imap(("127.0.0.1", server.ports[0]))
            if list(again.responses(f"LOGIN ann {PASSWORD}"))[-1].split()[1] == b"OK":
                break
            again.socket.close()
            time.sleep(0.1)
        else:
            raise AssertionError("no room after a logout")
        # Delayed, not dropped.
        began = time.monotonic()
        for _ in range(60):
            again.command("NOOP")
        took = time.monotonic() - began
        assert 1.2 < took < 15, took
        with Imap(("127.0.0.1", server.ports[1])):
            other = socket.create_connection(("127.0.0.1", server.ports[1]), 20)
            assert read_all(other).startswith(b"* BYE")


def cpu(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def gone(lab):
    """A client that goes away while its SEARCH works: the work ends with it."""
    keys = " ".join(f"OR BODY nowhere{i} BODY nothing{i}" for i in range(400)) + " BODY x BODY y"
    with Served(lab, "", ["mode = plain", "mode = tls\ncertificates = one"]) as server:
        for tls in (False, True):
            for hard in (False, True):
                imap = TlsImap(server.ports[1], context(lab)) if tls else Imap(("127.0.0.1", server.ports[0]))
                imap.command(f"LOGIN ann {PASSWORD}")
                imap.command("SELECT INBOX")
                for i in range(30):
                    imap.send(f"s{i} SEARCH {keys}\r\n")
                time.sleep(0.3)
                if hard:
                    imap.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                imap.file.close()
                imap.socket.close()
                began = time.monotonic()
                while time.monotonic() - began < 30:
                    before = cpu(server.process.pid)
                    time.sleep(1)
                    if cpu(server.process.pid) - before < 0.05:
                        break
                else:
                    raise AssertionError(f"still at work 30 s after the client went (tls {tls}, reset {hard})")
                print(f"  tls {tls}, reset {hard}: quiet after {time.monotonic() - began - 1:.1f} s")


def main():
    help_text = subprocess.run([os.path.join(bin_dir(), "mds"), "serve", "--help"], capture_output=True, timeout=60).stdout
    if b"--config" not in help_text:
        print("note: this mds reads no configuration")
        return 77
    with Lab() as lab:
        lab.items = 200
        lab.generate(messages=lab.items, mean_size=20000)
        lab.build("mail", f"maildir++:{lab.vault}")
        lab.add_user("mail", "ann", PASSWORD)
        for name in ("one", "two", "now"):
            make_certificate(lab.path(""), name, f"{name}.example.org")
        for check in (clients, injection, names_and_tickets, reloading, coming_and_going, compression, handshakes, rules, limits, gone, privileges):
            began = time.monotonic()
            check(lab)
            print(f"{check.__name__}: ok ({time.monotonic() - began:.1f} s)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
