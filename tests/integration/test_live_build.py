#!/usr/bin/env python3
"""A client that polls an archive while it is being built.

EXISTS only grows, every UID keeps its bytes, and what is served at the end is the whole vault. A second build
started meanwhile is refused with a message that names the first.
MDS_LIVE_ITEMS sets the size (20,000; 100,000 for the full demonstration).
"""
import hashlib
import os
import random
import re
import subprocess
import sys
import time

from mdslab import Lab, bin_dir

ITEMS = int(os.environ.get("MDS_LIVE_ITEMS", "20000"))
SEED = int(os.environ.get("SEED", "1"))


def exists_of(responses):
    found = [int(m.group(1)) for m in (re.match(rb"\* (\d+) EXISTS", r) for r in responses) if m]
    return found[-1] if found else None


def ask(imap, text, seen):
    """Any command may tell of new messages, not NOOP alone."""
    responses = imap.command(text)
    count = exists_of(responses)
    if count is not None:
        assert count > seen[-1], f"EXISTS went from {seen[-1]} to {count}"
        seen.append(count)
    return responses


def body_hash(imap, uid, seen):
    for response in ask(imap, f"UID FETCH {uid} (UID BODY.PEEK[])", seen):
        if b"UID %d" % uid in response and b"BODY[]" in response:
            return hashlib.sha256(response.split(b"BODY[]", 1)[1]).digest()
    raise AssertionError(f"UID {uid} was not served")


def main():
    rng = random.Random(SEED)
    print(f"SEED={SEED} items={ITEMS}")
    with Lab() as lab:
        lab.generate(messages=ITEMS)
        # An archive must exist before somebody can log in to it: build an empty Maildir first.
        empty = lab.path("empty")
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(empty, sub))
        lab.build("mail", f"maildir:{empty}")
        lab.add_user("mail", "ann", "secret")
        with lab.serve() as server, server.login("ann", "secret") as imap:
            seen, hashes = [exists_of(imap.command("EXAMINE INBOX"))], {}
            assert seen == [0], seen
            source = f"maildir++:{lab.vault}"
            # Slowed so that there is something to watch, whatever the machine.
            build = subprocess.Popen([os.path.join(bin_dir(), "mds"), *lab.build_args("mail", source), "--max-rate", str(ITEMS // 8)],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            refused = None
            while build.poll() is None:
                ask(imap, "NOOP", seen)
                if seen[-1] and refused is None:
                    refused = lab.build("mail", source, check=False)
                for uid in rng.sample(range(1, seen[-1] + 1), min(5, seen[-1])):
                    hashes.setdefault(uid, body_hash(imap, uid, seen))
                for uid in rng.sample(sorted(hashes), min(5, len(hashes))):
                    assert body_hash(imap, uid, seen) == hashes[uid], f"UID {uid} changed its bytes"
                time.sleep(0.05)
            out, errors = build.communicate()
            assert build.returncode == 0, errors.decode()
            ask(imap, "NOOP", seen)
            print(f"EXISTS was seen at {len(set(seen))} values, the last {seen[-1]}; {len(hashes)} UIDs watched")
            assert seen[-1] == ITEMS, (seen[-1], ITEMS)
            assert len(set(seen)) >= 4, f"EXISTS did not grow while the build ran: {seen}"
            assert refused is not None and refused.returncode == 3, refused
            assert str(build.pid) in refused.stderr.decode(), refused.stderr
            for uid, digest in hashes.items():
                assert body_hash(imap, uid, seen) == digest, f"UID {uid} changed its bytes"
        # What was built in view of a client equals what is built alone.
        alone = Lab()
        with alone:
            alone.build("mail", f"maildir:{empty}")
            alone.build("mail", source)
            assert alone.dump("mail") == lab.dump("mail"), "the watched build differs from an undisturbed one"


if __name__ == "__main__":
    sys.exit(main())
