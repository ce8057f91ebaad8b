"""SORT and THREAD as RFC 5256 and RFC 5957 say, naively: written from their text alone, for comparison.

    messages = [Message(uid, data, internal_date, size), ...]       # in the order of the mailbox
    sort(messages, [("SUBJECT", False), ("DATE", True)])            # UIDs in order
    thread(messages, "REFERENCES")                                  # the text of a THREAD response

Header fields are read from the message's own bytes. `Message.plain` says whether they are such that every reader
must read the same out of them, and `.plain_addresses` of its addresses; broken ones are the business of other tests.
"""
import base64
import binascii
import calendar
import re
import unicodedata

# ---- texts ------------------------------------------------------------------------------------------


def casemap(text):
    """i;unicode-casemap (RFC 5051): simple titlecase, then decomposition; as UTF-8, which compares by octets."""
    out = []
    for char in text:
        title = char.title()
        char = title if len(title) == 1 else char
        out.append(char if "\uac00" <= char <= "\ud7a3" else unicodedata.normalize("NFKD", char))
    return "".join(out).encode("utf-8", "surrogatepass")


BLOB = r"\[[^\[\]]*\][ \t]*"
REFWD = rf"(?:re|fwd?)[ \t]*(?:{BLOB})?:"
LEADER = re.compile(rf"(?:(?:{BLOB})*{REFWD}|[ \t])", re.I)
TRAILER = re.compile(r"(?:\(fwd\)|[ \t])\Z", re.I)
FIRST_BLOB = re.compile(BLOB)


def base_subject(subject):
    """Section 2.1, step by step: (text, is it a reply or forward)."""
    changed = False
    subject = re.sub(r"[ \t\r\n]+", " ", subject)                       # (1)
    while True:
        while True:                                                     # (2)
            match = TRAILER.search(subject)
            if not match:
                break
            changed |= match.group().strip() != ""
            subject = subject[:match.start()]
        while True:                                                     # (3), (4), (5)
            match = LEADER.match(subject)
            if match:
                changed |= match.group().strip() != ""
                subject = subject[match.end():]
                continue
            match = FIRST_BLOB.match(subject)
            if match and subject[match.end():]:
                subject = subject[match.end():]
                continue
            break
        if len(subject) >= 6 and subject[:5].lower() == "[fwd:" and subject[-1] == "]":     # (6)
            subject = subject[5:-1]
            changed = True
            continue
        return subject, changed                                         # (7)


# ---- fields -----------------------------------------------------------------------------------------

WORD = re.compile(rb"=\?([A-Za-z0-9_-]+)\?([BbQq])\?([!->@-~]*)\?=")
CHARSETS = {b"us-ascii", b"utf-8", b"iso-8859-1", b"iso-8859-15", b"iso-8859-2", b"koi8-r", b"iso-2022-jp", b"windows-1252"}


def decode_word(match):
    if match.group(1).lower() not in CHARSETS:
        return None
    text = match.group(3)
    try:
        if match.group(2) in b"Bb":
            raw = base64.b64decode(text, validate=True)
        elif re.fullmatch(rb"(?:=[0-9A-Fa-f]{2}|[^=])*", text):
            raw = re.sub(rb"=([0-9A-Fa-f]{2})", lambda m: bytes([int(m.group(1), 16)]), text.replace(b"_", b" "))
        else:
            return None
        decoded = raw.decode(match.group(1).decode())
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return decoded if decoded.isprintable() else None


def decode_words(raw):
    """RFC 2047: (text, well-formed). White space between two encoded words goes."""
    out, at, after_word = [], 0, False
    for match in WORD.finditer(raw):
        between = raw[at:match.start()]
        decoded = decode_word(match)
        alone = (not between or between[-1:] in b" \t\r\n") and (match.end() == len(raw) or raw[match.end():match.end() + 1] in b" \t\r\n")
        if decoded is None or not alone:
            return "", False
        if not (after_word and not between.strip()):
            out.append(between.decode("latin-1"))
        out.append(decoded)
        at, after_word = match.end(), True
    out.append(raw[at:].decode("latin-1"))
    text = "".join(out)
    return text, b"=?" not in WORD.sub(b"", raw)


ID = re.compile(rb"<([^<>\s\"\\()\x00-\x20\x7f-\xff@]+|\"[^<>\s\"\\()\x00-\x20\x7f-\xff]+\")@([^<>\s\"\\()\x00-\x20\x7f-\xff@]+)>")
DATE = re.compile(rb"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), +)?(\d{1,2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{4}) "
                  rb"(\d\d):(\d\d):(\d\d) ([+-])(\d\d)([0-5]\d)(?: \([A-Za-z ]+\))?")
MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
# RFC 2047 section 5 (3): in a phrase an encoded word has fewer characters.
PHRASE_WORD = rb"(?:%s|=\?[A-Za-z0-9-]+\?[BbQq]\?[A-Za-z0-9!*+/=_-]*\?=)" % ATOM
ADDRESS = re.compile(rb"\s*(?:(?:\"([^\"\\\r\n]*)\"|(%s(?: %s)*))\s*<(%s(?:\.%s)*)@(%s(?:\.%s)*)>|(%s(?:\.%s)*)@(%s(?:\.%s)*))\s*(?:,|\Z)"
                     % ((PHRASE_WORD,) * 2 + (ATOM,) * 8))


class Message:
    def __init__(self, uid, data, internal_date, size):
        self.uid, self.internal_date, self.size = uid, internal_date, size
        self.plain = self.plain_addresses = True
        header = re.split(rb"\r?\n\r?\n", data, maxsplit=1)[0] if not re.match(rb"\r?\n", data) else b""
        fields = {}
        for line in re.findall(rb"[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)", header):
            if not line:
                continue
            match = re.match(rb"([!-9;-~]+):([^\0]*)\Z", line.rstrip(b"\r\n"))
            if not match:
                self.plain = False
                continue
            fields.setdefault(match.group(1).lower(), []).append(match.group(2))
        self.fields = fields
        for name in (b"subject", b"message-id", b"references", b"in-reply-to", b"date", b"from", b"to", b"cc"):
            values = fields.get(name, [])
            if len(values) > 1 or not all(v.isascii() and not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)", v) for v in values):
                self.plain_addresses = False
                self.plain &= name in (b"from", b"to", b"cc")
        self.read_subject()
        self.read_ids()
        self.read_date()
        self.sort_from, self.display_from = self.read_address(b"from")
        self.sort_to, self.display_to = self.read_address(b"to")
        self.sort_cc, _ = self.read_address(b"cc")

    def value(self, name):
        values = self.fields.get(name)
        return re.sub(rb"\r?\n", b"", values[0]).strip() if values else b""

    def read_subject(self):
        text, good = decode_words(self.value(b"subject"))
        self.plain &= good
        self.subject, self.is_reply = base_subject(text)
        self.plain &= len(self.subject.encode("utf-8", "replace")) <= 150
        self.subject_key = casemap(self.subject)

    def ids(self, name):
        value = self.value(name)
        self.plain &= not ID.sub(b"", value).strip()
        return [match.group(1).strip(b"\"") + b"@" + match.group(2) for match in ID.finditer(value)]

    def read_ids(self):
        own = self.ids(b"message-id")
        self.plain &= len(own) <= 1
        self.id = own[0] if own else None
        self.references = self.ids(b"references") or self.ids(b"in-reply-to")[:1]
        self.plain &= len(self.references) <= 100

    def read_date(self):
        value = self.value(b"date")
        match = DATE.fullmatch(value)
        if not match:
            self.plain &= not value
            self.sent = self.internal_date
            return
        day, month, year, hour, minute, second = (match.group(1), MONTHS.index(match.group(2)) + 1) + match.group(3, 4, 5, 6)
        zone = (int(match.group(8)) * 60 + int(match.group(9))) * (-1 if match.group(7) == b"-" else 1)
        self.plain &= 1 <= int(day) <= calendar.monthrange(max(1, int(year)), month)[1] and int(year) >= 1900
        self.plain &= int(hour) < 24 and int(minute) < 60 and int(second) < 60 and abs(zone) < 24 * 60
        self.sent = calendar.timegm((int(year), month, min(int(day), 28), int(hour), int(minute), int(second))) - zone * 60
        self.sent += (int(day) - min(int(day), 28)) * 86400

    def read_address(self, name):
        """(mailbox, display name or address) of the first address."""
        value = self.value(name)
        if not value:
            return b"", b""
        match = ADDRESS.match(value)
        if not match:
            self.plain_addresses = False
            return b"", b""
        quoted, words, local, host, bare, bare_host = match.group(1, 2, 3, 4, 5, 6)
        local, host = local or bare, host or bare_host
        name = quoted if quoted is not None else words
        if name is not None and b"=?" in name and quoted is not None:
            self.plain_addresses = False
        text, good = decode_words(name) if name else ("", True)
        self.plain_addresses &= good and text == text.strip()
        shown = text or (local + b"@" + host).decode()
        return casemap(local.decode()), casemap(shown)


# ---- SORT -------------------------------------------------------------------------------------------

KEYS = {
    "ARRIVAL": lambda m: m.internal_date, "DATE": lambda m: m.sent, "SIZE": lambda m: m.size, "SUBJECT": lambda m: m.subject_key,
    "FROM": lambda m: m.sort_from, "TO": lambda m: m.sort_to, "CC": lambda m: m.sort_cc,
    "DISPLAYFROM": lambda m: m.display_from, "DISPLAYTO": lambda m: m.display_to,
}


def sort(messages, criteria):
    out = list(messages)
    for key, reverse in reversed(criteria):
        out.sort(key=KEYS[key], reverse=reverse)  # stable both ways
    return [m.uid for m in out]


# ---- THREAD -----------------------------------------------------------------------------------------


class Node:
    def __init__(self, message=None):
        self.message, self.parent, self.children = message, None, []

    def adopt(self, child):
        if child.parent:
            child.parent.children.remove(child)
        child.parent = self
        self.children.append(child)

    def leave(self):
        self.parent.children.remove(self)
        self.parent = None

    def is_below(self, other):
        node = self
        while node:
            if node is other:
                return True
            node = node.parent
        return False

    def all(self):
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children)


def link(messages):
    """Step 1."""
    nodes, table = [], {}
    for position, message in enumerate(messages):
        node = Node(message)
        message.position = position
        nodes.append(node)
        if message.id and message.id not in table:
            table[message.id] = node
    for node in nodes:
        before = None
        for reference in node.message.references:
            other = table.get(reference)
            if other is None:
                other = table[reference] = Node()
            if before and other.parent is None and not before.is_below(other):
                before.adopt(other)
            before = other
        if node.parent:
            node.leave()
        if before and not before.is_below(node):
            before.adopt(node)
    return list(dict.fromkeys(list(table.values()) + nodes))


def prune(root):
    """Step 3, from the leaves upwards."""
    order = list(root.all())
    for node in reversed(order):
        if node is root or node.message:
            continue
        parent = node.parent
        if parent is root and len(node.children) > 1:
            continue
        children, at = list(node.children), parent.children.index(node)
        parent.children[at:at + 1] = children
        node.parent, node.children = None, []
        for child in children:
            child.parent = parent


def date_key(node):
    message = node.message or min((child.message for child in node.children), key=lambda m: (m.sent, m.position))
    return message.sent, message.position


def sort_children(node):
    node.children.sort(key=date_key)


def thread_subject(node):
    return (node.message or node.children[0].message).subject_key


def is_reply(node):
    return bool(node.message and node.message.is_reply)


def join_subjects(root):
    """Step 5."""
    table = {}
    for node in root.children:
        subject = thread_subject(node)
        if not subject:
            continue
        there = table.get(subject)
        if there is None or (there.message and (not node.message or (is_reply(there) and not is_reply(node)))):
            table[subject] = node
    for node in list(root.children):
        if node.parent is not root:
            continue
        subject = thread_subject(node)
        there = table.get(subject) if subject else node
        if there is node:
            continue
        if not there.message and not node.message:
            for child in list(node.children):
                there.adopt(child)
            node.leave()
        elif not there.message or (is_reply(node) and not is_reply(there)):
            there.adopt(node)
        else:
            dummy = Node()
            root.adopt(dummy)
            dummy.adopt(node)
            dummy.adopt(there)
            table[subject] = dummy


def references(messages, algorithm):
    root = Node()
    for node in link(messages):
        if node.parent is None:
            root.adopt(node)                                            # (2)
    prune(root)                                                         # (3)
    if algorithm == "REFERENCES":
        for node in root.children:
            if not node.message:
                sort_children(node)
        sort_children(root)                                             # (4)
        join_subjects(root)                                             # (5)
    for node in reversed(list(root.all())):
        sort_children(node)                                             # (6)
    if algorithm == "REFS":
        root.children.sort(key=lambda node: max((n.message.sent, n.message.position) for n in node.all() if n.message))
    return root


def ordered_subject(messages):
    root, threads = Node(), {}
    ordered = sorted(messages, key=lambda m: (m.subject_key, m.sent, m.position))
    for message in ordered:
        node = Node(message)
        threads.setdefault(message.subject_key, root).adopt(node)
        if threads[message.subject_key] is root:
            threads[message.subject_key] = node
    sort_children(root)
    return root


def tell(root):
    out = []

    def one(node):
        """thread-list of a node, without recursion for chains."""
        parts = []
        while True:
            if node.message:
                parts.append(str(node.message.uid))
            if len(node.children) != 1:
                break
            node = node.children[0]
        nested = "".join(one(child) for child in node.children)
        return "(" + " ".join(parts + ([nested] if nested else [])) + ")"

    for child in root.children:
        out.append(one(child))
    return "".join(out)


def thread(messages, algorithm):
    for position, message in enumerate(messages):
        message.position = position
    return tell(ordered_subject(messages) if algorithm == "ORDEREDSUBJECT" else references(messages, algorithm))
