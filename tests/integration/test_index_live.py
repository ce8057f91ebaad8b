#!/usr/bin/env python3
"""The index of a living server, beside what takes archives away from under it: mds restore --replace, mds archive disable and remove, and a
reload of its settings. Nothing of it may fail, an archive that left is let go of, and the answers stay those of the items."""
import json
import os
import random
import re
import signal
import subprocess
import time
import urllib.request

from mdslab import Lab, bin_dir

MAILS = 400
SLOW = 20  # items a second: far from done when the archive goes


def wait_for(what, check, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


class Indexing:
    """A server whose index's process can be looked at."""

    def __init__(self, lab):
        self.lab = lab
        self.configure(rate=SLOW)
        self.process = subprocess.Popen([os.path.join(bin_dir(), "mds"), "serve", "--config", lab.path("conf")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.metrics = None
        while not self.metrics:
            line = self.process.stdout.readline().decode()
            assert line, "mds serve ended"
            found = re.search(r"metrics on port (\d+)", line)
            self.metrics = found and found[1]

    def configure(self, rate=0, index=True, trace=None):
        with open(self.lab.path("conf"), "w", encoding="utf-8") as f:
            f.write(f"[store]\npath = {self.lab.store}\n[metrics]\nenabled = true\nlisten = 127.0.0.1:0\n[log]\nlevel = warn\nfile = {self.lab.path('log')}\n"
                    f"[search]\nrate = {rate}\nindex = {'true' if index else 'false'}\n" + (f"trace-fields = {trace}\n" if trace else "") +
                    "[listener one]\naddress = 127.0.0.1:0\nmode = plain\n")

    def reload(self, **settings):
        self.configure(**settings)
        self.process.send_signal(signal.SIGHUP)

    def counter(self, name):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=30).read().decode()
        return int(re.search(rf"^{re.escape(name)} (\d+)", text, re.M)[1])

    def log(self):
        with open(self.lab.path("log"), encoding="utf-8") as f:
            return f.read()

    def child(self):
        out = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)], capture_output=True, text=True).stdout
        found = [int(line.split()[0]) for line in out.splitlines() if " index " in line]
        return found[0] if found else None

    def open_files(self):
        """Of the index's process, as far as they are the store's; those that were removed end in " (deleted)"."""
        pid, names = self.child(), []
        try:
            for fd in os.listdir(f"/proc/{pid}/fd") if pid else []:
                try:
                    names.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
                except FileNotFoundError:
                    pass
        except FileNotFoundError:
            pass
        return [n for n in names if n.startswith(self.lab.store)]

    def indexes(self, directory):
        return os.path.join(directory, "text", "data.mdb") in self.open_files()

    def holds_removed(self):
        return any(n.endswith(" (deleted)") for n in self.open_files())

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        self.process.stdout.close()


def directories(lab):
    base = os.path.join(lab.store, "archives")
    return sorted(os.path.join(base, name) for name in os.listdir(base))


def search(lab, archive, *keys, extra=()):
    return lab.mds("search", "--store", lab.store, "--archive", archive, *extra, "INBOX", *keys).stdout.split()[2:]


def is_indexed(lab, archive):
    now = json.loads(lab.mds("stat", "--json", "--store", lab.store, "--archive", archive).stdout)
    return now["index"] and now["index"]["indexed"] == now["items"]


def expect_right(lab, archive):
    """The index is whole, and its answers are those of the items."""
    wait_for(f"the index of {archive}", lambda: is_indexed(lab, archive))
    lab.mds("verify", "--text", "--store", lab.store, "--archive", archive, "--progress", "none")
    for keys in (("BODY", "the"), ("BODY", "laterword"), ("BODY", "thirdword"), ("SUBJECT", "re"), ("TEXT", "example")):
        assert search(lab, archive, *keys) == search(lab, archive, *keys, extra=["--no-index"]), keys


def add_mail(lab, archive, word, n):
    vault = lab.path(word)
    os.makedirs(vault)
    for i in range(n):
        with open(os.path.join(vault, f"{i:03}.eml"), "w", encoding="ascii") as f:
            f.write(f"Subject: {word} {i}\n\n{word} number{i}\n")
    lab.mds("import", "--store", lab.store, "--archive", archive, "--from", f"eml-tree:{vault}", "--progress", "none")


def replaced(lab, server):
    """mds restore --replace while the old archive is being indexed: more mail than the backup has, and later the new one gets other mail under the same ids."""
    [place] = directories(lab)
    wait_for("the process at work", lambda: server.indexes(place))
    starts = server.counter("mds_index_starts_total")
    lab.mds("restore", "--store", lab.store, "--archive", "mail", "--from", lab.path("backup"), "--replace")
    assert directories(lab) == [place], directories(lab)
    add_mail(lab, "mail", "thirdword", 60)
    wait_for("the old archive let go of", lambda: not server.holds_removed())
    wait_for("the new one at work", lambda: server.indexes(place))
    assert not is_indexed(lab, "mail"), "it was too fast to be seen"
    assert server.counter("mds_index_starts_total") == starts

    # What it is told by a reload it does.
    server.reload(rate=0)
    expect_right(lab, "mail")
    assert search(lab, "mail", "BODY", "laterword") == [] and len(search(lab, "mail", "BODY", "thirdword")) == 60


def reloaded(lab, server):
    server.reload(index=False)
    wait_for("no process", lambda: server.child() is None)
    add_mail(lab, "mail", "offword", 3)
    time.sleep(3)
    assert server.child() is None and not is_indexed(lab, "mail") and len(search(lab, "mail", "BODY", "offword")) == 3
    assert "trace-fields are taken at the next start" not in server.log()
    server.reload(index=True, trace="X-Mine")
    wait_for("its index", lambda: is_indexed(lab, "mail"))  # by the list of the start
    assert "trace-fields are taken at the next start" in server.log()
    server.reload(rate=SLOW)


def removed(lab, server):
    """Disabled, then removed, while it is being indexed; the next one is gone on with."""
    lab.build("gone", f"eml-tree:{lab.vault}")
    gone = directories(lab)[-1]
    wait_for("the process at work", lambda: server.indexes(gone))
    starts = server.counter("mds_index_starts_total")
    lab.mds("archive", "disable", "--store", lab.store, "gone")
    wait_for("the disabled one let go of", lambda: not server.indexes(gone))
    lab.mds("archive", "enable", "--store", lab.store, "gone")
    wait_for("the enabled one at work", lambda: server.indexes(gone))
    lab.mds("archive", "disable", "--store", lab.store, "gone")
    lab.mds("archive", "remove", "--store", lab.store, "gone")
    assert not os.path.exists(gone)
    wait_for("the removed one let go of", lambda: not server.holds_removed())
    assert not os.path.exists(gone)

    # Another one of that name is another archive.
    lab.build("gone", f"eml-tree:{lab.vault}")
    assert directories(lab)[-1] != gone
    wait_for("its index", lambda: server.indexes(directories(lab)[-1]))
    assert server.counter("mds_index_starts_total") == starts
    server.reload(rate=0)
    expect_right(lab, "gone")
    assert "index: archive=" not in server.log() and "index: the process ended" not in server.log(), server.log()


def removed_by_hand(lab):
    """Removed at any moment of an mds index: never half, and that one ends by itself."""
    codes = set()
    for i in range(16):
        lab.mds("archive", "add", "--store", lab.store, "short")
        lab.mds("import", "--store", lab.store, "--archive", "short", "--from", f"eml-tree:{lab.path('offword')}", "--progress", "none")
        place = directories(lab)[-1]
        run = subprocess.Popen([os.path.join(bin_dir(), "mds"), "index", "--store", lab.store, "--archive", "short", "--progress", "none"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        lab.mds("archive", "disable", "--store", lab.store, "short")
        if i % 3:
            time.sleep(random.uniform(0, 0.15))
        lab.mds("archive", "remove", "--store", lab.store, "short")
        assert not os.path.exists(place), os.listdir(place)
        said = run.communicate(timeout=60)[1].decode()
        assert run.returncode in (0, 3), (run.returncode, said)
        assert not os.path.exists(place), os.listdir(place)
        codes.add(run.returncode)
    print(f"removed beside mds index: its ends {sorted(codes)}")


def main():
    with Lab() as lab:
        lab.generate(messages=MAILS, kind="eml")
        lab.build("mail", f"eml-tree:{lab.vault}")
        lab.mds("index", "--store", lab.store, "--archive", "mail", "--progress", "none")  # the backup has its number
        lab.mds("backup", "--store", lab.store, "--archive", "mail", "--to", lab.path("backup"))
        add_mail(lab, "mail", "laterword", 60)
        lab.mds("index", "--store", lab.store, "--archive", "mail", "--progress", "none", "--rebuild", "--max-rate", "100000")
        lab.mds("archive", "disable", "--store", lab.store, "mail")  # it is to be found unindexed
        for name in os.listdir(os.path.join(directories(lab)[0], "text")):
            os.unlink(os.path.join(directories(lab)[0], "text", name))
        os.rmdir(os.path.join(directories(lab)[0], "text"))
        lab.mds("archive", "enable", "--store", lab.store, "mail")
        server = Indexing(lab)
        try:
            replaced(lab, server)
            reloaded(lab, server)
            removed(lab, server)
        except AssertionError:
            print(server.log())
            raise
        finally:
            server.end()
        removed_by_hand(lab)


if __name__ == "__main__":
    main()
