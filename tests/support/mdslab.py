"""A laboratory for integration tests: the real `mds`, in temporary stores, on loopback.

    with Lab() as lab:
        lab.generate(messages=200)                      # benchmarks' generator -> lab.vault
        lab.build("mail", f"maildir++:{lab.vault}")
        lab.add_user("mail", "ann", "secret")
        with lab.serve() as server, server.login("ann", "secret") as imap:
            imap.command("SELECT INBOX")

MDS_BIN_DIR names the programs' folder (ctest sets it). Everything lives in a temporary
directory that goes with the Lab; processes are ended by their own pids.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

SKIP = 77


def bin_dir():
    return os.environ.get("MDS_BIN_DIR") or os.path.join(source_dir(), "build/release/bin")


def source_dir():
    return os.environ.get("MDS_SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def corpus_dir():
    """The folder of real mail beside the project, or None."""
    path = os.environ.get("MDS_CORPUS") or os.path.join(source_dir(), "..", "shared", "corpus")
    return path if os.path.isdir(path) else None


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIP)


class Closed(Exception):
    """The server closed the connection."""


class Lab:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="mdslab.")
        self.store = os.path.join(self.dir, "store")
        self.vault = os.path.join(self.dir, "vault")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def mds(self, *args, check=True, **kw):
        done = subprocess.run([os.path.join(bin_dir(), "mds"), *args], capture_output=True, **kw)
        if check and done.returncode != 0:
            raise AssertionError(f"mds {' '.join(args)}: status {done.returncode}\n{done.stderr.decode(errors='replace')[-4000:]}")
        return done

    def build_args(self, archive, *sources):
        args = ["build", "--store", self.store, "--archive", archive, "--progress", "none"]
        for source in sources:
            args += ["--from", source]
        return args

    def build(self, archive, *sources, extra=(), check=True):
        return self.mds(*self.build_args(archive, *sources), *extra, check=check)

    def dump(self, archive):
        return self.mds("dump", "--store", self.store, "--archive", archive).stdout

    def generate(self, out=None, messages=1000, kind="maildir", **options):
        args = [os.path.join(bin_dir(), "mds-gen"), "--out", out or self.vault, "--kind", kind, "--messages", str(messages)]
        for name, value in options.items():
            args += ["--" + name.replace("_", "-"), str(value)]
        subprocess.run(args, check=True, capture_output=True)

    def add_user(self, archive, user, password):
        self.mds("user", "add", "--store", self.store, "--archive", archive, user, input=password.encode() + b"\n")

    def serve(self, *args):
        return Server(("--store", self.store, "--listen", "127.0.0.1:0", *args))

    def serve_tls(self, certificate, key):
        """TLS from the first byte, and nothing else."""
        with open(self.path("tls.conf"), "w", encoding="utf-8") as f:
            f.write(f"[store]\npath = {self.store}\n[certificate one]\ncertificate = {certificate}\nkey = {key}\n"
                    "[listener imaps]\naddress = 127.0.0.1:0\nmode = tls\ncertificates = one\n")
        return Server(("--config", self.path("tls.conf")))


def make_certificate(certificate, key):
    """Self-signed, for localhost and 127.0.0.1."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
                    "-out", certificate, "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                   check=True, capture_output=True)


class Server:
    def __init__(self, args):
        self.process = subprocess.Popen(
            [os.path.join(bin_dir(), "mds"), "serve", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.address = None
        seen = []
        for line in self.process.stdout:
            seen.append(line.decode(errors="replace"))
            found = re.search(r"127\.0\.0\.1:(\d+)", seen[-1])
            if found:
                self.address = ("127.0.0.1", int(found.group(1)))
                break
        if not self.address:
            self.process.wait()
            raise AssertionError("mds serve did not listen:\n" + "".join(seen))

    @property
    def port(self):
        return self.address[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        status = self.stop()
        if _[0] is None and status != 0:
            raise AssertionError(f"mds serve ended with {status}")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        return self.process.returncode

    def connect(self):
        return Imap(self.address)

    def login(self, user, password):
        imap = self.connect()
        imap.command(f"LOGIN {user} {password}")
        return imap


class Imap:
    """A client that keeps bytes: a response is its line with the literals in place, CRLF taken off."""

    def __init__(self, address, timeout=60):
        self.socket = socket.create_connection(address, timeout)
        self.file = self.socket.makefile("rb", 1 << 16)
        self.tags = 0
        self.greeting = self.response()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def response(self):
        whole = bytearray()
        while True:
            line = self.file.readline()
            if not line.endswith(b"\r\n"):
                raise Closed(bytes(whole) + line)
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if not literal:
                return bytes(whole) + line[:-2]
            size = int(literal.group(1))
            whole += line
            body = self.file.read(size)
            if len(body) != size:
                raise Closed(bytes(whole) + body)
            whole += body

    def send(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())

    def responses(self, text):
        """Sends one command; yields its untagged responses, then the tagged one."""
        self.tags += 1
        tag = b"a%d" % self.tags
        self.send(tag + b" " + (text if isinstance(text, bytes) else text.encode()) + b"\r\n")
        while True:
            response = self.response()
            yield response
            if response.startswith(tag + b" "):
                return

    def command(self, text, status=b"OK"):
        """The untagged responses; the tagged one must have the status (None: any) and is kept in .tagged."""
        got = list(self.responses(text))
        self.tagged = got.pop()
        if status is not None and self.tagged.split(b" ")[1] != status:
            raise AssertionError(f"{text!r}: {self.tagged!r}")
        return got
