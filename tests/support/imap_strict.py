"""A strict reader of IMAP responses: RFC 3501's grammar, and nothing else.

    from imap_strict import parse, StrictImap, Malformed
    r = parse(b'* 3 FETCH (UID 9 BODY[TEXT] {2}\r\nhi)')      # no CRLF at the end
    r.kind, r.number, r.atts["UID"], r.atts["BODY[TEXT]"]     # "FETCH", 3, 9, b"hi"

A response that the grammar does not give raises Malformed, with the place. Extensions are known by name only: ID (RFC 2971),
NAMESPACE (RFC 2342), ENABLED (RFC 5161), LIST attributes of RFC 3348, RFC 5258 and RFC 6154 with CHILDINFO and OLDNAME, response codes of
RFC 5530, RFC 4315, RFC 7162, RFC 8474, RFC 5267, RFC 9051 and RFC 9585, ESEARCH (RFC 4731, RFC 5267, RFC 7377, RFC 9394), SORT and THREAD (RFC 5256), VANISHED, MODSEQ (RFC 7162), BINARY (RFC 3516), EMAILID and THREADID
(RFC 8474), SAVEDATE (RFC 8514), PREVIEW (RFC 8970), STATUS items of RFC 8438, RFC 7889 and RFC 9051.
parse(data, utf8=True) is for a client that has enabled UTF8=ACCEPT or IMAP4rev2: quoted strings may hold UTF-8.
Strings come as bytes, NIL as None, numbers as int, lists as list.
"""
import re

from mdslab import Imap


class Malformed(AssertionError):
    pass


class Response:
    def __init__(self, kind):
        self.kind = kind      # "OK" "NO" "BAD" "BYE" "PREAUTH" "+" or the name of the data
        self.tag = None       # bytes of a tagged response
        self.number = None    # of EXISTS, RECENT, EXPUNGE, FETCH
        self.code = None      # bytes between [ and ]
        self.text = None
        self.atts = None      # FETCH: by label as sent
        self.value = None     # of the other data

    def __repr__(self):
        return f"<{self.kind} {self.number} {self.code} {self.text} {self.value or self.atts}>"


ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
ASTRING_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+")
TAG = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]+")
QUOTED = re.compile(rb'"((?:[^\x00\r\n"\\\x80-\xff]|\\["\\])*)"')
QUOTED_UTF8 = re.compile(rb'"((?:[^\x00\r\n"\\]|\\["\\])*)"')
UID_SET = re.compile(rb"[1-9]\d*(?::[1-9]\d*)?(?:,[1-9]\d*(?::[1-9]\d*)?)*")
PARTIAL = re.compile(rb"[1-9]\d*:[1-9]\d*|-[1-9]\d*:-[1-9]\d*")
OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}")
LITERAL = re.compile(rb"\{(\d{1,10})\}\r\n")
NUMBER = re.compile(rb"\d+")
TEXT = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]+")
CODE_TEXT = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x5c\x5e-\x7f]+")
DATE_TIME = re.compile(rb'"(?: \d|[0-3]\d)-(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)-\d{4} '
                       rb'(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60) [+-]\d{4}"')
SECTION = re.compile(rb"(?:[1-9]\d*(?:\.[1-9]\d*)*)?(\.?)(HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME)?")
ORIGIN = re.compile(rb"<\d+>")
FLAG = re.compile(rb"\\?[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
CODES = {b"ALERT", b"PARSE", b"READ-ONLY", b"READ-WRITE", b"TRYCREATE", b"UNAVAILABLE", b"AUTHENTICATIONFAILED",
         b"AUTHORIZATIONFAILED", b"PRIVACYREQUIRED", b"NOPERM", b"INUSE", b"EXPUNGEISSUED", b"CORRUPTION", b"CANNOT", b"LIMIT",
         b"NONEXISTENT", b"TOOBIG", b"CLOSED", b"NOMODSEQ", b"UNKNOWN-CTE", b"NOTIFICATIONOVERFLOW", b"ALREADYEXISTS", b"OVERQUOTA", b"HASCHILDREN",
         b"CLIENTBUG", b"SERVERBUG", b"CONTACTADMIN", b"EXPIRED", b"UIDNOTSTICKY", b"NOTSAVED", b"COMPRESSIONACTIVE", b"USEATTR"}
NUMBER_CODES = {b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN"}
STATUS_ITEMS = {b"MESSAGES": 32, b"RECENT": 32, b"UIDNEXT": 32, b"UIDVALIDITY": 32, b"UNSEEN": 32, b"DELETED": 32, b"SIZE": 63,
                b"HIGHESTMODSEQ": 63, b"APPENDLIMIT": 32}


class Reader:
    def __init__(self, data, utf8=False):
        self.data = data
        self.at = 0
        self.quoted = QUOTED_UTF8 if utf8 else QUOTED

    def fail(self, why):
        raise Malformed(f"{why} at {self.at}: {self.data[max(0, self.at - 60):self.at]!r} >>> {self.data[self.at:self.at + 80]!r}")

    def match(self, pattern, why):
        found = pattern.match(self.data, self.at)
        if not found:
            self.fail(why)
        self.at = found.end()
        return found

    def has(self, text):
        return self.data.startswith(text, self.at)

    def eat(self, text):
        if not self.has(text):
            self.fail(f"expected {text!r}")
        self.at += len(text)

    def opt(self, text):
        if self.has(text):
            self.at += len(text)
            return True
        return False

    def end(self):
        if self.at != len(self.data):
            self.fail("text after the end")

    def number(self, nz=False, bits=32):
        text = self.match(NUMBER, "number").group(0)
        value = int(text)
        if value >= 1 << bits or (nz and value == 0) or (len(text) > 1 and text[0:1] == b"0"):
            self.fail(f"bad number {text!r}")
        return value

    def string(self):
        if self.has(b"{"):
            size = int(self.match(LITERAL, "literal").group(1))
            value = self.data[self.at:self.at + size]
            if len(value) != size:
                self.fail("literal runs out")
            if b"\0" in value:
                self.fail("NUL in a literal")
            self.at += size
            return value
        value = re.sub(rb"\\(.)", rb"\1", self.match(self.quoted, "string").group(1))
        try:
            value.decode()
        except UnicodeDecodeError:
            self.fail("quoted string is no UTF-8")
        return value

    def literal8(self):
        """A string, or "~{n}" with any bytes."""
        if not self.opt(b"~"):
            return self.nstring()
        size = int(self.match(LITERAL, "literal8").group(1))
        value = self.data[self.at:self.at + size]
        if len(value) != size:
            self.fail("literal runs out")
        self.at += size
        return value

    def nstring(self):
        if self.has(b"NIL"):
            self.at += 3
            return None
        return self.string()

    def astring(self):
        if self.has(b'"') or self.has(b"{"):
            return self.string()
        return self.match(ASTRING_ATOM, "astring").group(0)

    def atom(self):
        return self.match(ATOM, "atom").group(0)

    # ---- envelope ------------------------------------------------------------------

    def address(self):
        self.eat(b"(")
        parts = []
        for i in range(4):
            if i:
                self.eat(b" ")
            parts.append(self.nstring())
        self.eat(b")")
        return parts

    def addresses(self):
        if self.opt(b"NIL"):
            return None
        self.eat(b"(")
        found = [self.address()]
        while not self.has(b")"):
            found.append(self.address())
        self.eat(b")")
        return found

    def envelope(self):
        self.eat(b"(")
        got = []
        for i in range(10):
            if i:
                self.eat(b" ")
            got.append(self.addresses() if 2 <= i <= 7 else self.nstring())
        self.eat(b")")
        for groups in got[2:8]:
            depth = 0
            for _, route, mailbox, host in groups or []:
                if host is None:
                    depth += 1 if mailbox is not None else -1
                    if depth not in (0, 1):
                        self.fail("group syntax does not pair")
            if depth:
                self.fail("group without an end")
        return got

    # ---- body ---------------------------------------------------------------------

    def params(self):
        if self.opt(b"NIL"):
            return None
        self.eat(b"(")
        got = []
        while True:
            name = self.string()
            self.eat(b" ")
            got.append((name, self.string()))
            if not self.opt(b" "):
                break
        self.eat(b")")
        return got

    def disposition(self):
        if self.opt(b"NIL"):
            return None
        self.eat(b"(")
        kind = self.string()
        self.eat(b" ")
        params = self.params()
        self.eat(b")")
        return kind, params

    def language(self):
        if not self.opt(b"("):
            return self.nstring()
        got = [self.string()]
        while self.opt(b" "):
            got.append(self.string())
        self.eat(b")")
        return got

    def extension(self, part, first):
        """body-ext-1part or -mpart; RFC 3501 forbids a server more than the four."""
        names = (first, "disposition", "language", "location")
        readers = (self.nstring if first == "md5" else self.params, self.disposition, self.language, self.nstring)
        for name, read in zip(names, readers):
            if not self.opt(b" "):
                return
            part[name] = read()

    def body(self, extensible):
        self.eat(b"(")
        part = {"parts": None}
        if self.has(b"("):
            part["parts"] = [self.body(extensible)]
            while self.has(b"("):
                part["parts"].append(self.body(extensible))
            self.eat(b" ")
            part["type"] = (b"MULTIPART", self.string().upper())
            first = "params"
        else:
            self.one_part(part, extensible)
            first = "md5"
        if extensible:
            self.extension(part, first)
        self.eat(b")")
        return part

    def one_part(self, part, extensible):
        start = self.at
        kind = self.string().upper()
        quoted = self.data[start:start + 1] == b'"'
        self.eat(b" ")
        sub = self.string().upper()
        part["type"] = (kind, sub)
        if kind in (b"TEXT", b"MESSAGE") and not quoted:
            self.fail("media type as a literal")
        self.eat(b" ")
        part["params"] = self.params()
        for name in ("id", "description"):
            self.eat(b" ")
            part[name] = self.nstring()
        self.eat(b" ")
        part["encoding"] = self.string()
        self.eat(b" ")
        part["octets"] = self.number(bits=63)  # a mail of more than 4 GiB is told as it is
        if (kind, sub) == (b"MESSAGE", b"RFC822"):
            self.eat(b" ")
            part["envelope"] = self.envelope()
            self.eat(b" ")
            part["body"] = self.body(extensible)
        if kind == b"TEXT" or (kind, sub) == (b"MESSAGE", b"RFC822"):
            self.eat(b" ")
            part["lines"] = self.number()

    # ---- FETCH ------------------------------------------------------------------------

    def flags(self, perm=False):
        self.eat(b"(")
        got = []
        while not self.has(b")"):
            if got:
                self.eat(b" ")
            if perm and self.opt(b"\\*"):
                got.append(b"\\*")
                continue
            got.append(self.match(FLAG, "flag").group(0))
        self.eat(b")")
        if len(set(f.lower() for f in got)) != len(got):
            self.fail("a flag twice")
        return got

    def section_label(self):
        start = self.at
        self.eat(b"[")
        found = self.match(SECTION, "section")
        text, parts = found.group(2), found.group(0)[:1].isdigit()
        if bool(found.group(1)) != bool(parts and text) or (text == b"MIME" and not parts):
            self.fail("bad section")
        if text and text.startswith(b"HEADER.FIELDS"):
            self.eat(b" (")
            self.astring()
            while self.opt(b" "):
                self.astring()
            self.eat(b")")
        self.eat(b"]")
        if self.has(b"<"):
            self.match(ORIGIN, "origin")
        return self.data[start:self.at]

    def attribute(self):
        for name, read in ((b"FLAGS", self.flags), (b"ENVELOPE", self.envelope), (b"BODYSTRUCTURE", lambda: self.body(True)),
                           (b"RFC822.SIZE", lambda: self.number(bits=63)), (b"RFC822.HEADER", self.nstring),
                           (b"RFC822.TEXT", self.nstring), (b"RFC822", self.nstring), (b"BODY", lambda: self.body(False)),
                           (b"UID", lambda: self.number(nz=True))):
            if self.opt(name + b" "):
                return name, read()
        if self.opt(b"INTERNALDATE "):
            return b"INTERNALDATE", self.match(DATE_TIME, "date-time").group(0)
        if self.opt(b"SAVEDATE "):
            return b"SAVEDATE", None if self.opt(b"NIL") else self.match(DATE_TIME, "date-time").group(0)
        if self.opt(b"PREVIEW "):
            return b"PREVIEW", self.nstring()
        if self.opt(b"MODSEQ "):
            return b"MODSEQ", self.paren(lambda: self.number(nz=True, bits=63))
        for name in (b"EMAILID", b"THREADID"):
            if self.opt(name + b" "):
                return name, None if self.opt(b"NIL") else self.paren(lambda: self.match(OBJECT_ID, "object id").group(0))
        for name in (b"BINARY.SIZE", b"BINARY"):
            if not self.opt(name):
                continue
            label = self.section_label()
            if not re.fullmatch(rb"\[(?:[1-9]\d*(?:\.[1-9]\d*)*)?\](?:<\d+>)?", label) or (b"SIZE" in name and label.endswith(b">")):
                self.fail("bad binary section")
            self.eat(b" ")
            return name + label, self.number(bits=63) if b"SIZE" in name else self.literal8()
        self.eat(b"BODY")
        label = self.section_label()
        self.eat(b" ")
        return b"BODY" + label, self.nstring()

    def paren(self, read):
        self.eat(b"(")
        value = read()
        self.eat(b")")
        return value

    def fetch(self):
        atts = {}
        self.eat(b"(")
        while True:
            name, value = self.attribute()
            if name in atts and atts[name] != value:
                self.fail(f"{name!r} twice")
            atts[name] = value
            if not self.opt(b" "):
                break
        self.eat(b")")
        return {name.decode("latin-1"): value for name, value in atts.items()}

    # ---- the rest -------------------------------------------------------------------------

    def capabilities(self):
        got = []
        while self.opt(b" "):
            got.append(self.atom())
        if b"IMAP4rev1" not in got:
            self.fail("no IMAP4rev1")
        return got

    def resp_text(self, r):
        if self.opt(b"["):
            start = self.at
            name = self.atom()
            if name == b"CAPABILITY":
                r.value = self.capabilities()
            elif name == b"PERMANENTFLAGS":
                self.eat(b" ")
                r.value = self.flags(perm=True)
            elif name in NUMBER_CODES:
                self.eat(b" ")
                r.value = self.number(nz=True)
            elif name == b"BADCHARSET":
                if self.opt(b" ("):
                    self.astring()
                    while self.opt(b" "):
                        self.astring()
                    self.eat(b")")
            elif name == b"HIGHESTMODSEQ":
                self.eat(b" ")
                r.value = self.number(nz=True, bits=63)
            elif name == b"MAILBOXID":
                self.eat(b" ")
                r.value = self.paren(lambda: self.match(OBJECT_ID, "object id").group(0))
            elif name == b"MODIFIED":
                self.eat(b" ")
                r.value = self.match(UID_SET, "set").group(0)
            elif name in (b"APPENDUID", b"COPYUID"):
                self.eat(b" ")
                r.value = [self.number(nz=True)]
                for _ in range(1 if name == b"APPENDUID" else 2):
                    self.eat(b" ")
                    r.value.append(self.match(UID_SET, "set").group(0))
            elif name == b"NOUPDATE":
                self.eat(b" ")
                r.value = self.match(QUOTED, "quoted").group(1)
            elif name == b"BADEVENT":
                self.eat(b" (")
                self.atom()
                while self.opt(b" "):
                    self.atom()
                self.eat(b")")
            elif name == b"INPROGRESS":  # RFC 9585
                if self.opt(b" ("):
                    self.string() if not self.opt(b"NIL") else None
                    self.eat(b" ")
                    if self.opt(b"NIL"):
                        self.eat(b" NIL")
                    else:
                        done = self.number()
                        self.eat(b" ")
                        if not self.opt(b"NIL") and self.number() <= done:
                            self.fail("INPROGRESS beyond its goal")
                    self.eat(b")")
            elif name == b"BADURL":
                self.eat(b" ")
                self.match(CODE_TEXT, "URL")
            elif name not in CODES:
                self.fail(f"unknown response code {name!r}")
            r.code = self.data[start:self.at]
            self.eat(b"] ")
        r.text = self.match(TEXT, "text").group(0)

    def list(self, r):
        flags = self.flags()
        if sum(f.lower() in (b"\\noselect", b"\\marked", b"\\unmarked") for f in flags) > 1:
            self.fail("two selectability flags")
        self.eat(b" ")
        delimiter = self.nstring()
        if delimiter is not None and len(delimiter) != 1:
            self.fail("delimiter")
        self.eat(b" ")
        name = self.astring()
        if self.opt(b" ("):
            r.extended = {}
            while True:
                item = self.string().upper()
                self.eat(b" (")
                values = [self.astring()]
                while self.opt(b" "):
                    values.append(self.astring())
                self.eat(b")")
                if item not in (b"CHILDINFO", b"OLDNAME") or item in r.extended or (item == b"OLDNAME" and len(values) != 1):
                    self.fail("extended data item")
                r.extended[item] = values
                if not self.opt(b" "):
                    break
            self.eat(b")")
        r.value = (flags, delimiter, name)

    def correlators(self, r):
        """search-correlator (RFC 7377): each at most once."""
        while True:
            name = self.atom().decode()
            if name in r.value:
                self.fail("correlator twice")
            self.eat(b" ")
            if name == "TAG":
                r.value[name] = self.string()
            elif name == "MAILBOX":
                r.value[name] = self.astring()
            elif name == "UIDVALIDITY":
                r.value[name] = self.number(nz=True)
            else:
                self.fail("correlator")
            if not self.opt(b" "):
                return self.eat(b")")

    def places(self):
        """Pairs of a context position and a set (RFC 5267)."""
        self.eat(b"(")
        pairs = []
        while True:
            place = self.number()
            self.eat(b" ")
            pairs.append((place, self.match(UID_SET, "set").group(0)))
            if not self.opt(b" "):
                self.eat(b")")
                return pairs

    def esearch(self, r):
        r.value = {}
        r.updates = []
        if self.opt(b" ("):
            self.correlators(r)
        if self.opt(b" UID"):
            r.value["UID"] = True
        while self.opt(b" "):
            name = self.atom().decode()
            if name in r.value or name not in ("MIN", "MAX", "COUNT", "ALL", "MODSEQ", "PARTIAL", "ADDTO", "REMOVEFROM", "RELEVANCY"):
                self.fail("search return")
            self.eat(b" ")
            if name == "ALL":
                r.value[name] = self.match(UID_SET, "set").group(0)
            elif name == "PARTIAL":
                self.eat(b"(")
                found = self.match(PARTIAL, "partial range")
                self.eat(b" ")
                r.value[name] = found.group(0), None if self.opt(b"NIL") else self.match(UID_SET, "set").group(0)
                self.eat(b")")
                if "ALL" in r.value:
                    self.fail("ALL and PARTIAL")
            elif name == "RELEVANCY":
                self.eat(b"(")
                r.value[name] = []
                while not self.opt(b")"):
                    if r.value[name]:
                        self.eat(b" ")
                    r.value[name].append(self.number(nz=True))
                    if r.value[name][-1] > 100:
                        self.fail("score")
            elif name in ("ADDTO", "REMOVEFROM"):
                r.updates.append((name, self.places()))
            else:
                r.value[name] = self.number(nz=name != "COUNT", bits=63 if name == "MODSEQ" else 32)
        if r.updates and "TAG" not in r.value:
            self.fail("an update of no search")

    def thread(self, r):
        """thread-data = "THREAD" [SP 1*thread-list], without recursion."""
        r.value = b""
        if self.at == len(self.data):
            return
        self.eat(b" ")
        begin, open_lists = self.at, []
        while True:
            self.eat(b"(")
            open_lists.append([self.thread_members(), 0])  # has members, lists within
            while open_lists and not self.has(b"("):
                members, lists = open_lists[-1]
                self.eat(b")")
                if lists == 1 or (not members and lists == 0):
                    self.fail("a thread of one thread")
                open_lists.pop()
                if open_lists:
                    open_lists[-1][1] += 1
                elif self.at == len(self.data):
                    r.value = self.data[begin:]
                    return
                else:
                    break

    def thread_members(self):
        """nz-number *(SP nz-number) and the SP before a nested list; False: none."""
        if self.has(b"("):
            return False
        self.number(nz=True)
        while self.opt(b" "):
            if self.has(b"("):
                return True
            self.number(nz=True)
        if not self.has(b")"):
            self.fail("thread members")
        return True

    def vanished(self, r):
        r.earlier = self.opt(b" (EARLIER)")
        self.eat(b" ")
        r.value = self.match(UID_SET, "UIDs").group(0)

    def status(self, r):
        mailbox = self.astring()
        self.eat(b" (")
        got = {}
        while not self.has(b")"):
            if got:
                self.eat(b" ")
            name = self.atom()
            if name not in STATUS_ITEMS and name != b"MAILBOXID":
                self.fail("status item")
            self.eat(b" ")
            if name == b"MAILBOXID":
                got["MAILBOXID"] = self.paren(lambda: self.match(OBJECT_ID, "object id").group(0))
            else:
                got[name.decode()] = self.number(bits=STATUS_ITEMS[name])
        self.eat(b")")
        r.value = (mailbox, got)

    def id(self, r):
        if self.opt(b"NIL"):
            return
        self.eat(b"(")
        r.value = {}
        while not self.has(b")"):
            if r.value:
                self.eat(b" ")
            name = self.string()
            self.eat(b" ")
            r.value[name] = self.nstring()
        self.eat(b")")

    def namespaces(self, r):
        for i in range(3):
            if i:
                self.eat(b" ")
            if self.opt(b"NIL"):
                continue
            self.eat(b"(")
            while not self.has(b")"):
                self.eat(b"(")
                self.string()
                self.eat(b" ")
                self.nstring()
                self.eat(b")")
            self.eat(b")")

    def untagged(self):
        if self.data[self.at:self.at + 1].isdigit():
            number = self.number()
            self.eat(b" ")
            for kind in ("EXISTS", "RECENT", "EXPUNGE", "FETCH"):
                if not self.opt(kind.encode()):
                    continue
                r = Response(kind)
                r.number = number
                if kind in ("EXPUNGE", "FETCH") and number == 0:
                    self.fail("message number 0")
                if kind == "FETCH":
                    self.eat(b" ")
                    r.atts = self.fetch()
                return r
            self.fail("numbered data")
        kind = self.atom().decode()
        r = Response(kind)
        if kind in ("OK", "NO", "BAD", "BYE", "PREAUTH"):
            self.eat(b" ")
            self.resp_text(r)
        elif kind == "CAPABILITY":
            r.value = self.capabilities()
        elif kind == "FLAGS":
            self.eat(b" ")
            r.value = self.flags()
        elif kind in ("LIST", "LSUB"):
            self.eat(b" ")
            self.list(r)
        elif kind in ("SEARCH", "SORT"):
            r.value = []
            while self.opt(b" "):
                if r.value and self.opt(b"(MODSEQ "):
                    r.modseq = self.number(nz=True, bits=63)
                    self.eat(b")")
                    break
                r.value.append(self.number(nz=True))
        elif kind == "ESEARCH":
            self.esearch(r)
        elif kind == "THREAD":
            self.thread(r)
        elif kind == "VANISHED":
            self.vanished(r)
        elif kind == "ENABLED":
            r.value = []
            while self.opt(b" "):
                r.value.append(self.atom())
        elif kind in ("STATUS", "ID", "NAMESPACE"):
            self.eat(b" ")
            {"STATUS": self.status, "ID": self.id, "NAMESPACE": self.namespaces}[kind](r)
        else:
            self.fail("unknown response")
        return r


def parse(data, utf8=False):
    """One response without its CRLF, literals in place."""
    reader = Reader(data, utf8)
    if reader.opt(b"+ "):
        r = Response("+")
        r.text = data[2:]
        if not re.fullmatch(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]*", r.text):
            reader.fail("continuation")
        return r
    if reader.opt(b"* "):
        r = reader.untagged()
    else:
        tag = reader.match(TAG, "tag").group(0)
        reader.eat(b" ")
        kind = reader.atom().decode()
        if kind not in ("OK", "NO", "BAD"):
            reader.fail("tagged response")
        r = Response(kind)
        r.tag = tag
        reader.eat(b" ")
        reader.resp_text(r)
    reader.end()
    return r


class StrictImap(Imap):
    """mdslab's client, each response parsed; ask() also watches the order of things that RFC 3501 7.4.1 and 5.2 prescribe."""

    def __init__(self, address, timeout=60):
        self.exists = None
        super().__init__(address, timeout)
        self.greeting = parse(self.greeting)

    def ask(self, command, status="OK"):
        """Untagged responses of a command, parsed; .tagged is the last. status None: any."""
        got = [parse(data) for data in self.responses(command)]
        self.tagged = got.pop()
        name = (command if isinstance(command, str) else command.decode("latin-1")).split(" ")[0].upper()
        for r in got:
            if r.kind == "EXISTS":
                if name not in ("SELECT", "EXAMINE") and self.exists is not None and r.number < self.exists:
                    raise Malformed(f"EXISTS went from {self.exists} to {r.number}")
                self.exists = r.number
            elif r.kind == "EXPUNGE":
                if name in ("FETCH", "STORE", "SEARCH", "SORT"):
                    raise Malformed(f"EXPUNGE during {name}")
                if self.exists is not None:
                    if r.number > self.exists:
                        raise Malformed(f"EXPUNGE {r.number} of {self.exists}")
                    self.exists -= 1
        if status is not None and self.tagged.kind != status:
            raise AssertionError(f"{command!r}: {self.tagged}")
        return got
