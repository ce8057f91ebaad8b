"""A disk that loses power. Plays the log of power/recorder.c up to a point and makes the tree that may be found after a power cut there.

What counts as kept: pages of a file (and its size) as they stood at its last fsync, fdatasync or synchronous write; names in a directory as they
stood at the directory's last fsync. Of everything later a random part is kept too: pages in any version since, some torn between two versions at a
sector's edge, sizes likewise, names up to a random operation, of all directories or of each by itself. A synced file without a synced name is lost.

Syncs have a kind (what file, or a directory) and a place (where in the code: power_places_lib.py).
"""
import copy
import os
import struct

HEAD = struct.Struct("<IIQQIIQ")
CREATE, MKDIR, WRITE, SIZE, RENAME, UNLINK, LINK, SYNC = range(1, 9)
PAGE = 4096
SECTOR = 512
ZEROS = bytes(PAGE)


def records(path):
    """(position behind the record, type, flags, inode, a, path, second path, data)"""
    with open(path, "rb") as f:
        at = 0
        while True:
            head = f.read(HEAD.size)
            if len(head) < HEAD.size:
                return
            kind, flags, inode, a, path_n, second_n, data_n = HEAD.unpack(head)
            name, second, data = f.read(path_n).decode(), f.read(second_n).decode(), f.read(data_n)
            at += HEAD.size + path_n + second_n + data_n
            yield at, kind, flags, inode, a, name, second, data


class File:
    """Versions since the last sync: self.pages[n] = [(position, bytes), ...], the first one is what is kept for sure."""

    def __init__(self):
        self.pages = {}
        self.sizes = [(0, 0)]

    def copy(self):
        other = File()
        other.pages = {page: list(versions) for page, versions in self.pages.items()}
        other.sizes = list(self.sizes)
        return other

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
    """`place_of` says from a sync's callers where in the code it stands; `ignored` whether it is left out."""

    def __init__(self, root, place_of=lambda callers: callers, ignored=lambda kind, place: False):
        self.root = root
        self.place_of = place_of
        self.ignored = ignored
        self.numbers = {}    # inode -> our number of the file, as inodes are used again
        self.count = 0
        self.files = {}
        self.dirs = {0: {}}  # as the program sees them; 0 is the root
        self.kept = {0: {}}
        self.pending = []    # (position, directories concerned, change)
        self.syncs = []      # (position, kind, place)

    def copy(self, ignored):
        """The same disk; from now on other syncs are left out."""
        other = Disk(self.root, self.place_of, ignored)
        other.numbers, other.count = dict(self.numbers), self.count
        other.files = {inode: file.copy() for inode, file in self.files.items()}
        other.dirs, other.kept = copy.deepcopy(self.dirs), copy.deepcopy(self.kept)
        other.pending = list(self.pending)
        return other

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

    def forget(self, inode):
        """The inode without a name may be the next file's."""
        if not any(inode in names.values() for names in self.dirs.values()):
            self.numbers = {real: number for real, number in self.numbers.items() if number != inode}

    def play(self, record):
        at, kind, flags, inode, a, path, second, data = record
        if kind in (CREATE, MKDIR):
            self.count += 1
            self.numbers[inode] = self.count
        inode = self.numbers.get(inode)
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
                what = (kind_of(self.path_of(inode), True), "")
                self.syncs.append((at, *what))
                if not self.ignored(*what):
                    self.files[inode].sync_range(at, a, len(data))
        elif kind == SIZE:
            if inode in self.files and not (flags & 1 and self.files[inode].sizes[-1][1] >= a):
                self.files[inode].resize(at, a)
        elif kind == UNLINK:
            where, name = self.parent(path)
            gone = self.dirs[where].get(name)
            self.change(at, {where}, lambda tree: tree[where].pop(name, None))
            self.forget(gone)
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
            self.forget(other)
        elif kind == SYNC:
            self.sync(flags, inode, a, path, second)

    def sync(self, flags, inode, until, path, callers):
        what = (kind_of(os.path.relpath(path, self.root), False), self.place_of(callers))
        self.syncs.append((until, *what))
        if self.ignored(*what):
            return
        whole = bool(flags & 2)
        for file in self.files.values() if whole else [self.files[inode]] if inode in self.files else []:
            file.sync(until)
        if flags & 1:
            where = self.resolve(path)
            rest = []
            for change in self.pending:
                if change[0] <= until and (whole or where in change[1]):
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
            for what in self.lucky(rng):
                what(tree)
        self._write(tree, 0, where, rng)

    def lucky(self, rng):
        """Changes of names that no sync covered and that lasted all the same: in order, of all directories or of each by itself."""
        mood = rng.random()
        last = self.pending[-1][0] if self.pending else 0
        if mood < 0.4:
            return []
        if mood < 0.55:
            return [what for _, _, what in self.pending]
        if mood < 0.7:
            return [what for _, _, what in self.pending[:rng.randrange(len(self.pending) + 1)]]
        until = {where: rng.choice((0, last, rng.randrange(last + 1))) for _, dirs, _ in self.pending for where in sorted(dirs)}
        return [what for at, dirs, what in self.pending if all(at <= until[where] for where in dirs)]

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
