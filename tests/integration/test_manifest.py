#!/usr/bin/env python3
"""mds build --manifest: many archives, one pool of workers, one report; each archive is as if it had been built alone."""
import json
import os
import signal
import subprocess
import time

from mdslab import Lab, bin_dir

ARCHIVES = 30
BAD = 7  # its source is not there
SHARED = range(5)  # mails that stand in every third archive


def maildir(path, mails):
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(path, sub), exist_ok=True)
    for name, body in mails:
        with open(os.path.join(path, "cur", f"{1000 + name}.m{name}.host:2,"), "w") as f:
            f.write(f"From: a@example.org\nSubject: {body}\nMessage-ID: <{body}@x>\n\nbody {body}\n")
        os.utime(f.name, (1000 + name, 1000 + name))
    return path


def mails(i, n):
    return [(k, f"shared-{k}") for k in SHARED if i % 3 == 0] + [(100 + k, f"own-{i}-{k}") for k in range(n)]


def write_manifest(lab, name, rows):
    with open(lab.path(name), "w") as f:
        f.write("".join(f"{archive}\t{source}\n" for archive, source in rows))
    return lab.path(name)


def vaults(lab, label, count, n):
    """(archive, source) of each, one source missing."""
    rows = []
    for i in range(count):
        path = lab.path(label, str(i))
        rows.append((f"{label}{i}", "maildir:" + (path if i == BAD else maildir(path, mails(i, n)))))
    return rows


def command(lab, manifest, *extra):
    return [os.path.join(bin_dir(), "mds"), "build", "--store", lab.store, "--manifest", manifest, "--progress", "none", *extra]


def nurseries_of(pid):
    """Its children that fork workers; a sanitizer has others."""
    found = []
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            for child in f.read().split():
                with open(f"/proc/{child}/comm") as comm:
                    if comm.read() == "mds-nursery\n":
                        found.append(int(child))
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def dump(store, archive):
    return subprocess.run([os.path.join(bin_dir(), "mds"), "dump", "--store", store, "--archive", archive],
                          check=True, capture_output=True).stdout


def expect_alone(lab, rows, label):
    """Each archive's dump is that of a build of its own in another store."""
    for i, (archive, source) in enumerate(rows):
        if i == BAD:
            continue
        store = lab.path("alone-" + label)
        subprocess.run([os.path.join(bin_dir(), "mds"), "build", "--store", store, "--archive", archive, "--from", source,
                        "--progress", "none"], check=True, capture_output=True)
        together, alone = dump(lab.store, archive).splitlines(), dump(store, archive).splitlines()
        assert together == alone, (archive, sorted(set(together) ^ set(alone))[:10])


def watched(args):
    """Runs it; also gives the nurseries that it had at any time."""
    build = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    nurseries = set()
    while build.poll() is None:
        nurseries.update(nurseries_of(build.pid))
        time.sleep(0.002)
    out, err = build.communicate()
    return build.returncode, out, err, nurseries


def one_pool(lab):
    rows = vaults(lab, "a", ARCHIVES, 12)
    manifest = write_manifest(lab, "manifest", rows)
    status, out, err, nurseries = watched(command(lab, manifest, "--json", "--jobs", "2"))
    reports = [json.loads(line) for line in out.splitlines()]
    total = reports.pop()
    assert status == 3 and f"archive a{BAD}" in err, (status, err)
    assert [r["archive"] for r in reports] == [name for name, _ in rows]
    assert [r["status"] for r in reports] == [3 if i == BAD else 0 for i in range(ARCHIVES)], out
    assert reports[BAD]["error"] and not reports[BAD]["messages_added"], reports[BAD]
    for i, r in enumerate(reports):
        want = 0 if i == BAD else len(mails(i, 12))
        assert (r["messages_added"], r["items_added"], r["parsed"]) == (want, want, want), (i, r)
    assert total["archive"] is None and total["event"] == "total" and total["status"] == 3 and total["error"] is None, total
    assert (total["archives"], total["archives_built"], total["archives_failed"]) == (ARCHIVES, ARCHIVES - 1, 1), total
    for name in ("messages_added", "parsed", "containers", "bytes"):
        assert total[name] == sum(r[name] for r in reports) > 0, name
    assert total["pools"] == 1 and len(nurseries) == 1, (total["pools"], nurseries)
    expect_alone(lab, rows, "new")

    # Incremental: what is known in one archive is not known in another.
    for i in (3, 4, 5):
        maildir(lab.path("a", str(i)), [(500, "own-3-0"), (501, "shared-0"), (502, f"later-{i}")])
    again = subprocess.run(command(lab, manifest), capture_output=True, text=True)
    lines = again.stdout.splitlines()
    assert again.returncode == 3 and len(lines) == ARCHIVES, again.stdout
    for i, want in ((3, "a3: 3 messages added, 2 share"), (4, "a4: 3 messages added;"), (5, "a5: 3 messages added;")):
        assert any(line.startswith(want) for line in lines), (i, lines)
    assert lines[-1].startswith(f"{ARCHIVES} archives, {ARCHIVES - 1} built, 1 failed: 9 messages added, 2 share"), lines[-1]
    expect_alone(lab, rows[:7], "new")


def header_lists(lab):
    """An archive with a header list of its own gets workers of its own, and keeps its list."""
    rows = [(f"h{i}", "maildir:" + maildir(lab.path("h", str(i)), mails(i, 3))) for i in range(5)]
    lab.build("h2", rows[2][1], extra=["--headers", "all"])
    for i in range(5):
        maildir(lab.path("h", str(i)), [(900, "new")])
    done = subprocess.run(command(lab, write_manifest(lab, "headers", rows), "--json"), capture_output=True, text=True)
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and reports[-1]["pools"] == 3, done.stdout + done.stderr
    for name, _ in rows:
        lab.mds("verify", "--store", lab.store, "--archive", name, "--items", "--progress", "none")


def interrupted(lab):
    """SIGINT in the middle: a clean end that says how many are done; the same command goes on."""
    rows = vaults(lab, "i", 12, 60)
    manifest = write_manifest(lab, "interrupted", rows)
    build = subprocess.Popen(command(lab, manifest, "--json", "--max-rate", "120"), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    first = json.loads(build.stdout.readline())
    assert first["archive"] == "i0" and first["status"] == 0, first
    time.sleep(0.2)
    build.send_signal(signal.SIGINT)
    out, err = build.communicate(timeout=30)
    reports = [json.loads(line) for line in out.splitlines()]
    assert build.returncode == 3 and "same command" in err and "of 12 archives are done" in err, (build.returncode, err)
    assert reports[-1]["archive"] is None and reports[-1]["status"] == 3 and "same command" in reports[-1]["error"], reports
    assert 1 <= reports[-1]["archives_built"] < 12, reports[-1]
    assert subprocess.run(command(lab, manifest), capture_output=True).returncode == 3  # the one that is not there
    expect_alone(lab, rows, "interrupted")


def nursery_killed(lab):
    """The archive at hand fails; the others get new workers; the next run is whole."""
    rows = vaults(lab, "k", 6, 60)
    manifest = write_manifest(lab, "killed", rows)
    build = subprocess.Popen(command(lab, manifest, "--json", "--max-rate", "200"), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    assert json.loads(build.stdout.readline())["archive"] == "k0"
    time.sleep(0.1)
    for nursery in nurseries_of(build.pid):
        os.kill(nursery, signal.SIGKILL)
    out, err = build.communicate(timeout=60)
    *reports, total = [json.loads(line) for line in out.splitlines()]
    failed = [r["archive"] for r in reports if r["status"] == 3]
    assert build.returncode == 3 and len(failed) == 1 and total["archives_failed"] == 1, (out, err)
    assert total["archives_built"] == 5 and total["pools"] == 2, total
    again = subprocess.run(command(lab, manifest), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    expect_alone(lab, rows, "killed")


def main():
    with Lab() as lab:
        for check in (one_pool, header_lists, interrupted, nursery_killed):
            check(lab)
            print(f"{check.__name__}: ok", flush=True)


main()
