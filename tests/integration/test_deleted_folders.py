#!/usr/bin/env python3
"""What is gone stays gone: folders that clients deleted, after a rebuild; archives that were removed, when their name is used again."""
import os
import re

from mdslab import Lab
from test_own_vault import imported, run, sound

FOLDERS = ("Sub", "Sub.K", "Lone", "Twice", "Kept")


def put(lab, folder, name, text):
    path = os.path.join(lab.vault, f".{folder}" if folder else "")
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(path, part), exist_ok=True)
    with open(os.path.join(path, "cur", f"{name}:2,"), "wb") as f:
        f.write(f"Subject: {text}\n\n{text}\n".encode())


def listed(lab, archive):
    """Folder name to number of messages; None for a level."""
    found = {}
    for line in run(lab, "dump", archive=archive).splitlines():
        if line.startswith("folder "):
            name = re.search(r'name="(.*?)"', line).group(1)
            found[name] = int(re.search(r"exists=(\d+)", line).group(1)) if "selectable=1" in line else None
    return found


def kept(lab, archive):
    return sorted(re.sub(r" (modseq|item)=\d+", "", line) for line in run(lab, "undelete", "--list", archive=archive).splitlines())


def check(lab, archive):
    lab.add_user(archive, f"ann-{archive}", "secret")
    with lab.serve() as server, server.login(f"ann-{archive}", "secret") as imap:
        for name in ("Lone", "Twice"):  # nothing is left of them then, not even a name
            imap.command(f"UNSUBSCRIBE {name}")
        for name in ("Sub", "Lone", "Twice"):
            imap.command(f"DELETE {name}")
        imap.command("CREATE Twice")
        imap.command("APPEND Twice {17+}\r\nSubject: second\r\n")
        imap.command("SELECT Kept")
        imap.command("UID STORE 1 +FLAGS (\\Deleted)")
        imap.command("EXPUNGE")
    folders, aside = listed(lab, archive), kept(lab, archive)
    assert len(aside) == 10 and folders == {"INBOX": 0, "Sub": None, "Sub/K": 3, "Twice": 1, "Kept": 2}, (folders, aside)
    for _ in range(2):
        run(lab, "rebuild", "--progress", "none", archive=archive)
        sound(lab, archive)
        assert listed(lab, archive) == folders, (listed(lab, archive), folders)
        assert kept(lab, archive) == aside, (kept(lab, archive), aside)
    again = ("import" if archive == "copied" else "build", "--from", f"maildir++:{lab.vault}", "--progress", "none")
    run(lab, *again, archive=archive)
    assert listed(lab, archive) == folders and kept(lab, archive) == aside
    run(lab, "undelete", archive=archive)
    assert listed(lab, archive) == {"INBOX": 0, "Sub": 3, "Sub/K": 3, "Lone": 3, "Twice": 4, "Kept": 3}, listed(lab, archive)
    sound(lab, archive)


def check_new_mail(lab):
    """A folder that was deleted comes back for mail that is new, with a UIDVALIDITY of its own."""
    lab.build("new", f"maildir++:{lab.vault}")
    lab.add_user("new", "bob", "secret")
    numbers = lambda: dict((name, int(number)) for number, name in
                           re.findall(r'^folder .*? uidvalidity=(\d+).*? name="(.*?)"', re.sub(r'( name="[^"]*")(.*)', r"\2\1", run(lab, "dump", archive="new")), re.M))
    was = numbers()
    with lab.serve() as server, server.login("bob", "secret") as imap:
        imap.command("DELETE Sub")
        imap.command("DELETE Lone")
    for name in ("Sub", "Lone"):
        put(lab, name, "900.new", f"{name} new")
    run(lab, "rebuild", "--progress", "none", archive="new")
    sound(lab, "new")
    assert listed(lab, "new") == {"INBOX": 0, "Sub": 1, "Sub/K": 3, "Lone": 1, "Twice": 3, "Kept": 3}, listed(lab, "new")
    assert len(kept(lab, "new")) == 6
    now = numbers()
    assert now["Sub"] > was["Sub"] and now["Lone"] > was["Lone"] and now["Kept"] == was["Kept"], (was, now)


def identities(lab, archive):
    lines = run(lab, "dump", archive=archive).splitlines()
    return {field: {re.search(rf" {field}=(\S+)", line).group(1) for line in lines if line.startswith("folder ")} for field in ("uidvalidity", "object")}


def removed(lab, archive):
    for verb in ("disable", "remove"):
        lab.mds("archive", verb, "--store", lab.store, archive)


def check_name_again(lab):
    """However it is made again, an archive has nothing that clients know of the removed one."""
    source = f"maildir++:{lab.vault}"
    makers = {
        "add": lambda: lab.mds("archive", "add", "--store", lab.store, "again"),
        "import": lambda: imported(lab, source, "again"),
        "build": lambda: lab.build("again", source),
        "restore": lambda: run(lab, "restore", "--from", lab.path("backup"), archive="again"),
        "lost": lambda: lab.build("again", source),
    }
    lab.build("again", source)
    first = lab.dump("again")
    run(lab, "backup", "--to", lab.path("backup"), archive="again")
    was = identities(lab, "again")
    for maker, make in makers.items():
        if maker == "lost":
            with open(os.path.join(lab.store, "archives", sorted(os.listdir(os.path.join(lab.store, "archives")))[-1], "data.mdb"), "wb"):
                pass
        removed(lab, "again")
        make()
        sound(lab, "again")
        now = identities(lab, "again")
        assert min(map(int, now["uidvalidity"])) > max(map(int, was["uidvalidity"])), (maker, was, now)
        assert maker == "restore" or not now["object"] & was["object"], (maker, was, now)
        was = {field: was[field] | now[field] for field in was}
    lab.store = lab.path("other")
    lab.build("again", source)
    assert lab.dump("again") == first  # by names alone, where there was none


def check_damaged_backup(lab):
    data = lab.path("backup", "data.mdb")
    with open(data, "r+b") as f:
        f.seek(5000)
        f.write(b"damage")
    before = lab.mds("archive", "list", "--store", lab.store).stdout
    run(lab, "restore", "--from", lab.path("backup"), archive="own", status=3)
    assert lab.mds("archive", "list", "--store", lab.store).stdout == before


def main():
    with Lab() as lab:
        for folder in FOLDERS:
            for i in range(3):
                put(lab, folder, f"{100 + i}.{folder}", f"{folder} {i}")
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(lab.vault, part), exist_ok=True)
        lab.build("read", f"maildir++:{lab.vault}")
        check(lab, "read")
        imported(lab, f"maildir++:{lab.vault}", "copied")
        check(lab, "copied")
        check_new_mail(lab)
        check_name_again(lab)
        check_damaged_backup(lab)


if __name__ == "__main__":
    main()
