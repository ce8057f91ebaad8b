#!/usr/bin/env python3
"""mds archive: archives made, listed, disabled and removed by the real program."""
import os

from mdslab import Lab


def main():
    with Lab() as lab:
        def archive(*args, status=0):
            done = lab.mds("archive", *args, "--store", lab.store, check=False)
            assert done.returncode == status, (args, done)
            return done.stdout.decode()

        archive("list", status=3)
        archive("add", "bob")
        archive("add", "ann")
        archive("add", "ann", status=3)
        archive("add", "a/b", status=2)
        assert archive("list") == "ann\tenabled\nbob\tenabled\n", archive("list")

        # Empty, with INBOX, and what an import files in it is its own.
        assert lab.mds("ls", "--store", lab.store, "--archive", "ann").stdout.split() == [b"0", b"INBOX"]
        lab.generate(messages=20)
        lab.mds("import", "--store", lab.store, "--archive", "ann", "--from", f"auto:{lab.vault}", "--progress", "none")
        lab.add_user("ann", "ann", "secret")

        archive("remove", "ann", status=2)  # not while it is enabled
        archive("disable", "ann")
        assert archive("list") == "ann\tdisabled\nbob\tenabled\n"
        assert lab.mds("ls", "--store", lab.store, "--archive", "ann", check=False).returncode != 0
        with lab.serve() as server, server.connect() as imap:
            imap.command("LOGIN ann secret", status=b"NO")
            archive("enable", "ann")
            imap.command("LOGIN ann secret")
            assert b"* 20 EXISTS" in imap.command("SELECT INBOX")
        archive("disable", "ann")
        archive("remove", "ann")
        assert archive("list") == "bob\tenabled\n"
        assert len(os.listdir(os.path.join(lab.store, "archives"))) == 1
        archive("remove", "ann", status=1)
        archive("enable", "nobody", status=1)
        archive("frobnicate", "ann", status=2)
        archive("add", status=2)


if __name__ == "__main__":
    main()
