"""What golden_mime.py and rewrite_mime.py share: the fixtures and their summaries."""
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
DUMP = os.path.join(os.environ.get("MDS_BIN_DIR", "build/dev/bin"), "stress_mime_parsers")
LONG = 4000
# Met with small limits, so that the fixtures stay small.
LIMITS = ("header-too-long", "too-many-parts", "too-deep", "too-many-addresses")
# Indexed as after a crash of the parser.
OPAQUE = ("opaque", "parser-crashed", "parser-hung")


def fixtures():
    for folder in ("defects", "mime"):
        path = os.path.join(HERE, folder)
        for name in sorted(os.listdir(path)):
            if name.endswith(".eml"):
                yield os.path.join(path, name)


def shorten(line):
    """Hostile fixtures have summaries of megabytes: the head and the length of a line are enough to read."""
    return line if len(line) <= LONG else f"{line[:200]} ... {len(line)} characters"


def summary(path):
    name = os.path.basename(path)[:-4]
    how = "--dump-small" if name in LIMITS else "--dump-opaque" if name in OPAQUE else "--dump"
    out = subprocess.run([DUMP, how, path], stdout=subprocess.PIPE, check=True).stdout.decode("ascii")
    lines = [shorten(line) for line in out.rstrip("\n").split("\n")[1:]]
    if len(lines) > 150:
        lines = lines[:60] + [f"... {len(lines) - 80} lines ..."] + lines[-20:]
    return "\n".join(lines) + "\n"
