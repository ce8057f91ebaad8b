"""A disk that loses power. Plays the log of power/recorder.c up to a point and makes the tree that may be found after a power cut there.

What counts as kept: pages of a file (and its size) as they stood at its last fsync, fdatasync or synchronous write; names in a directory as they
stood at the directory's last fsync. Of everything later a random part is kept too: pages in any version since, some torn between two versions at a
sector's edge, sizes likewise, names up to a random operation. A synced file without a synced name is lost.
"""
import os
import struct

HEAD = struct.Struct("<IIQQQQIIQ")
CREATE, MKDIR, WRITE, SIZE, RENAME, UNLINK, LINK, SYNC = range(1, 9)
PAGE = 4096
SECTOR = 512
ZEROS = bytes(PAGE)


def records(path):
    """(position behind the record, type, flags, inode, a, site, path, second path, data)"""
    with open(path, "rb") as f:
        at = 0
        while True:
            head = f.read(HEAD.size)
            if len(head) < HEAD.size:
                return
            kind, flags, inode, a, _, site, path_n, second_n, data_n = HEAD.unpack(head)
            name, second, data = f.read(path_n).decode(), f.read(second_n).decode(), f.read(data_n)
            at += HEAD.size + path_n + second_n + data_n
            yield at, kind, flags, inode, a, site, name, second, data


class File:
    """Versions since the last sync: self.pages[n] = [(position, bytes), ...], the first one is what is kept for sure."""

    def __init__(self):
        self.pages = {}
        self.sizes = [(0, 0)]

    def write(self, at, off, data):
        done = 0
        while done < len(data):
            page, begin = divmod(off + done, PAGE)
            n = min(PAGE - begin, len(data) - done)
            versions = self.pages.setdefault(page, [(0, ZEROS)])
            old = versions[-1][1]
            versions.append((at, old[:begin] + data[done:done + n] + old[begin + n:]))
            done += n
        if off + len(data) > self.sizes[-1][1]:
            self.sizes.append((at, off + len(data)))

    def resize(self, at, size):
        for page, versions in self.pages.items():
            keep = min(max(size - page * PAGE, 0), PAGE)
            if keep < PAGE:
                versions.append((at, versions[-1][1][:keep] + bytes(PAGE - keep)))
        self.sizes.append((at, size))

    @staticmethod
    def _settle(versions, until):
        while len(versions) > 1 and versions[1][0] <= until:
            versions.pop(0)

    def sync(self, until):
        for versions in self.pages.values():
            self._settle(versions, until)
        self._settle(self.sizes, until)

    def sync_range(self, at, off, n):
        for page in range(off // PAGE, (off + max(n, 1) - 1) // PAGE + 1):
            self._settle(self.pages.get(page, [(0, ZEROS)]), at)
        self._settle(self.sizes, at)

    def content(self, rng):
        """rng None: as the program sees it."""
        mood = rng.random() if rng else 1

        def pick(versions):
            if mood > 0.75:
                return versions[-1][1]
            return versions[0][1] if mood < 0.35 else rng.choice(versions)[1]

        size = pick(self.sizes)
        out = bytearray(size)
        for page, versions in self.pages.items():
            data = pick(versions)
            if 0.35 <= mood <= 0.75 and len(versions) > 1 and rng.random() < 0.1:
                tear = rng.randrange(1, PAGE // SECTOR) * SECTOR
                data = data[:tear] + pick(versions)[tear:]
            begin = page * PAGE
            if begin < size:
                out[begin:min(begin + PAGE, size)] = data[:size - begin]
        return bytes(out)


class Disk:
    def __init__(self, root, ignored=lambda kind, site: False):
        self.root = root
        self.ignored = ignored
        self.files = {}
        self.dirs = {0: {}}  # as the program sees them; 0 is the root
        self.kept = {0: {}}
        self.pending = []    # (position, directories concerned, change)
        self.syncs = set()   # (kind, site)

    def resolve(self, path):
        inode = 0
        for part in os.path.relpath(path, self.root).split("/"):
            if part != ".":
                inode = self.dirs[inode][part]
        return inode

    def parent(self, path):
        return self.resolve(os.path.dirname(path)), os.path.basename(path)

    def change(self, at, dirs, what):
        what(self.dirs)
        self.pending.append((at, dirs, what))

    def play(self, record):
        at, kind, flags, inode, a, site, path, second, data = record
        if kind in (CREATE, MKDIR):
            where, name = self.parent(path)
            if kind == MKDIR:
                self.dirs[inode] = {}
                self.kept[inode] = {}
            else:
                self.files[inode] = File()
            self.change(at, {where}, lambda tree: tree[where].__setitem__(name, inode))
        elif kind == WRITE:
            if inode not in self.files:
                return  # unlinked, or never had a name
            self.files[inode].write(at, a, data)
            if flags & 1:
                what = (kind_of(self.path_of(inode), True), 0)
                self.syncs.add(what)
                if not self.ignored(*what):
                    self.files[inode].sync_range(at, a, len(data))
        elif kind == SIZE:
            if inode in self.files and not (flags & 1 and self.files[inode].sizes[-1][1] >= a):
                self.files[inode].resize(at, a)
        elif kind == UNLINK:
            where, name = self.parent(path)
            self.change(at, {where}, lambda tree: tree[where].pop(name, None))
        elif kind == LINK:
            where, name = self.parent(second)
            self.change(at, {where}, lambda tree: tree[where].__setitem__(name, inode))
        elif kind == RENAME:
            source, target = self.parent(path), self.parent(second)
            moved = self.dirs[source[0]][source[1]]
            other = self.dirs[target[0]].get(target[1])

            def rename(tree):
                tree[source[0]].pop(source[1], None)
                tree[target[0]][target[1]] = moved
                if flags & 1:
                    tree[source[0]][source[1]] = other

            self.change(at, {source[0], target[0]}, rename)
        elif kind == SYNC:
            what = (kind_of(os.path.relpath(path, self.root), False), site)
            self.syncs.add(what)
            if self.ignored(*what):
                return
            if not flags & 1:
                if inode in self.files:
                    self.files[inode].sync(a)
                return
            where = self.resolve(path)
            rest = []
            for change in self.pending:
                if change[0] <= a and where in change[1]:
                    change[2](self.kept)
                else:
                    rest.append(change)
            self.pending = rest

    def path_of(self, inode):
        def find(where, path):
            for name, child in self.dirs[where].items():
                if child == inode:
                    return path + name
                if child in self.dirs:
                    found = find(child, path + name + "/")
                    if found:
                        return found
            return None
        return find(0, "") or "?"

    def write_tree(self, where, rng):
        """rng None: as the program sees it."""
        tree = self.dirs
        if rng:
            tree = {inode: dict(names) for inode, names in self.kept.items()}
            mood = rng.random()
            count = 0 if mood < 0.5 else len(self.pending) if mood > 0.8 else rng.randrange(len(self.pending) + 1)
            for _, _, what in self.pending[:count]:
                what(tree)
        self._write(tree, 0, where, rng)

    def _write(self, tree, inode, where, rng):
        os.makedirs(where, exist_ok=True)
        for name, child in sorted(tree[inode].items()):
            path = os.path.join(where, name)
            if child in self.dirs:
                self._write(tree, child, path, rng)
            else:
                with open(path, "wb") as f:
                    f.write(self.files[child].content(rng))


def kind_of(path, is_write):
    """Files of one kind have one name: numbers are left out."""
    kind = "".join("#" if c.isdigit() else c for c in path)
    while "##" in kind:
        kind = kind.replace("##", "#")
    return kind + (" (O_DSYNC)" if is_write else "")
