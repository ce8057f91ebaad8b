"""SEARCH's content keys, naively: an independent reading of mail and an evaluator that looks at every text.

Nothing here knows of the program's code: mail is taken apart by Python's email package, decoded by its codecs, casemapped by
unicodedata (RFC 5051: simple titlecase, then full decomposition), and searched by bytes.find.

    texts = read_message(raw)                  # [(kind, name, text)], or None: broken mail, where tastes differ
    corpus = Corpus([(uid, texts), ...])
    corpus.find("BODY", None, "needle")        # set of UIDs
"""
import email
import email.policy
import re
import unicodedata
from email.parser import BytesParser

TRACE = re.compile(
    r"(?:received|x-received|dkim-signature|domainkey-signature|x-google-dkim-signature|x-developer-signature|arc-.*|autocrypt|face|x-face|"
    r"authentication-results|x-authentication-results|received-spf|x-ms-exchange-.*|x-microsoft-antispam.*|x-forefront-antispam.*|"
    r"x-forefront-prvs|x-exchange-antispam.*|x-gm-.*|x-google-smtp-source|x-forwarded-encrypted|x-spam.*|x-barracuda-.*|x-brightmail-.*|"
    r"x-proofpoint-.*|x-ironport-.*|ironport-.*|x-ymail-.*|x-mailman-rule-misses|x-policyd-weight|x-cse-.*|x-mimecast-.*|x-ses-.*)\Z", re.I | re.S)

SEPARATOR = b"\xff\n"  # stands in no casemapped text and in no needle


class Broken(Exception):
    """Mail whose reading is a matter of taste."""


# ---- casemap -------------------------------------------------------------------------------------------

SIMPLE_TITLE = {}
for first in (0x1F80, 0x1F90, 0x1FA0):
    SIMPLE_TITLE.update({chr(c): chr(c + 8) for c in range(first, first + 8)})
SIMPLE_TITLE.update({"\u1fb3": "\u1fbc", "\u1fc3": "\u1fcc", "\u1ff3": "\u1ffc"})


def decompose(c):
    parts = unicodedata.decomposition(c).split()
    if parts and parts[0].startswith("<"):
        parts = parts[1:]
    return "".join(decompose(chr(int(p, 16))) for p in parts) if parts else c


class Mapped(dict):
    def __missing__(self, code):
        c = chr(code)
        title = SIMPLE_TITLE.get(c, c.title())
        self[code] = decompose(title if len(title) == 1 else c)
        return self[code]


MAPPED = Mapped()


def casemap(text):
    return text.translate(MAPPED)


# ---- decoding ------------------------------------------------------------------------------------------

GUESS = {"", "us-ascii", "ascii", "ansi_x3.4-1968", "unknown-8bit", "x-unknown"}
LATIN = {"iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "windows-1252", "cp1252"}
# Names that mailers give in a wider sense than their codecs.
WIDER = {"gb2312": "gb18030", "gb_2312-80": "gb18030", "gbk": "gb18030", "ks_c_5601-1987": "cp949", "euc-kr": "cp949", "shift_jis": "cp932",
         "iso-8859-8-i": "iso-8859-8", "iso-8859-11": "tis-620", "utf8": "utf-8"}
KNOWN = {"utf-8", "iso-8859-2", "iso-8859-3", "iso-8859-4", "iso-8859-5", "iso-8859-7", "iso-8859-8", "iso-8859-9", "iso-8859-13", "iso-8859-15", "koi8-r",
         "koi8-u", "windows-1250", "windows-1251", "windows-1253", "windows-1254", "windows-1255", "windows-1256", "windows-1257", "gb18030", "cp949",
         "big5", "iso-2022-jp", "euc-jp", "cp932", "utf-16", "utf-7"}
TASTE = {"big5", "utf-16", "utf-7", "cp932", "iso-2022-jp", "euc-jp", "cp949", "gb18030"}  # tables differ in rare characters


def latin(data):
    return "".join(bytes([b]).decode("cp1252", "ignore") or chr(b) for b in data)


def decode_charset(data, charset):
    charset = charset.strip().lower()
    charset = WIDER.get(charset, charset)
    if charset in LATIN:
        return latin(data)
    if charset in GUESS or charset == "utf-8":
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            if charset == "utf-8":
                raise Broken("utf-8") from None
            return latin(data)
    if charset not in KNOWN:
        raise Broken(charset)
    try:
        text = data.decode(charset)
    except (UnicodeDecodeError, LookupError):
        raise Broken(charset) from None
    if charset in TASTE and any(0xE000 <= ord(c) <= 0xF8FF or c in "\u301c\uff5e\u2016\u2225\u2212\uff0d\u00a5\u203e\u2015\u2014\u00b7\u30fb\u2022\u00a2\u00a3\u00ac\uffe0\uffe1\uffe2\\~" for c in text):
        raise Broken(charset)
    return text


def decode_base64(data):
    out = []
    for run in re.sub(rb"[^A-Za-z0-9+/=]", b"", data).split(b"="):
        run = run[:-1] if len(run) % 4 == 1 else run
        out.append(__import__("binascii").a2b_base64(run + b"=" * (-len(run) % 4)))
    return b"".join(out)


def decode_qp(data):
    lines = data.split(b"\n")
    out = []
    for i, line in enumerate(lines):
        is_last = i == len(lines) - 1
        end = b"" if is_last else b"\r\n"
        line = line[:-1] if not is_last and line.endswith(b"\r") else line
        line = line.rstrip(b" \t")
        if line.endswith(b"="):
            line, end = line[:-1], b""
        out.append(re.sub(rb"=([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), line) + end)
    return b"".join(out)


def decode_transfer(data, encoding):
    encoding = encoding.strip().lower()
    if encoding == "base64":
        return decode_base64(data)
    if encoding == "quoted-printable":
        return decode_qp(data)
    if encoding == "binary":
        return data
    if encoding in ("", "7bit", "8bit"):
        return re.sub(rb"(?<!\r)\n", b"\r\n", data)
    raise Broken(encoding)


WORD = re.compile(rb"=\?([!-~]+?)(?:\*[!-~]*)?\?([bBqQ])\?([^?]*)\?=")


def decode_words(value):
    """RFC 2047: blanks between two words vanish; neighbours of one charset are one text."""
    out, at, run, charset = [], 0, b"", None

    def flush():
        nonlocal run, charset
        if charset is not None:
            out.append(decode_charset(run, charset))
        run, charset = b"", None

    for m in WORD.finditer(value):
        between = value[at:m.start()]
        if charset is None or between.strip(b" \t\r\n"):
            flush()
            out.append(decode_charset(between, ""))
        if charset is not None and (m[1].lower() != charset.encode().lower() or not re.fullmatch(rb"[ \t]*", between)):
            flush()
        charset = m[1].decode()
        run += decode_base64(m[3]) if m[2] in b"bB" else re.sub(rb"=([0-9A-Fa-f]{2})", lambda h: bytes([int(h[1], 16)]), m[3].replace(b"_", b" "))
        at = m.end()
    flush()
    rest = value[at:]
    if re.search(rb"=\?", rest) or (b"=?" in WORD.sub(b"", value)):
        raise Broken("encoded word")
    out.append(decode_charset(rest, ""))
    return "".join(out)


def flat(text):
    return text.replace("\r\n", " ").replace("\n", " ")


# ---- taking a message apart -----------------------------------------------------------------------------

def raw_bytes(text):
    return text.encode("ascii", "surrogateescape")


def field(kind, name, value):
    name, value = raw_bytes(name), raw_bytes(value)
    if b"\0" in value or not re.fullmatch(rb"[!-9;-~]+", name):
        raise Broken("field")
    value = re.sub(rb"\r?\n[ \t]?", b" ", value).strip(b" \t\r\n")
    return kind, name.decode(), casemap(decode_words(value))


def walk(message, kind, out, in_digest=False):
    if message.defects:
        raise Broken(str(message.defects))
    for name, value in message.raw_items():
        out.append(field(kind, name, value))
    types = message.get_all("content-type", [])
    if len(types) > 1 or len(message.get_all("content-transfer-encoding", [])) > 1:
        raise Broken("doubled")
    if types and not re.match(r"\s*[\w.+-]+/[\w.+-]+\s*(;|$|\()", str(types[0])):
        raise Broken("type")
    type_ = message.get_content_type() if types or not in_digest else "message/rfc822"
    encoding = str(message.get("content-transfer-encoding", "")).strip().lower()
    if type_.startswith("multipart/"):
        if encoding not in ("", "7bit", "8bit", "binary") or not message.is_multipart() or not message.get_payload():
            raise Broken("multipart")
        for part in message.get_payload():
            if not part.is_multipart() and not part._payload:
                raise Broken("a part without a body, perhaps without a blank line")
            walk(part, "part", out, type_ == "multipart/digest")
    elif type_ in ("message/rfc822", "message/global"):
        if encoding not in ("", "7bit", "8bit", "binary") or not message.is_multipart():
            raise Broken("message")
        walk(message.get_payload()[0], "attached", out)
    elif message.is_multipart():
        pass  # message/delivery-status and its like: a leaf to us
    elif type_.startswith("text/"):
        charset = message.get_param("charset", "")
        if isinstance(charset, tuple):
            raise Broken("charset")
        text = decode_charset(decode_transfer(raw_bytes(message._payload or ""), encoding), charset)  # get_payload would decode
        out.append(("body", "", casemap(flat(text))))
    return out


def read_message(raw):
    """Texts of well-formed mail; None if it is not."""
    head = re.split(rb"\r?\n\r?\n", raw, maxsplit=1)[0]
    if not re.fullmatch(rb"(?:[!-9;-~]+:[^\r\n\0]*(?:\r?\n[ \t][^\r\n\0]*)*(?:\r?\n|\Z))+", head) or re.search(rb"\r(?!\n)", raw):
        return None
    try:
        return walk(BytesParser(policy=email.policy.compat32).parsebytes(raw), "own", [])
    except (Broken, ValueError, LookupError, AttributeError, TypeError, UnicodeError):
        return None


def bare(text):
    """An address field without its comments, and without blanks around "@" and "."."""
    out, depth, quoted, i = [], 0, False, 0
    while i < len(text):
        c = text[i]
        if c == "\\" and (quoted or depth) and i + 1 < len(text):
            i += 2
            if not depth:
                out += text[i - 2:i]
            continue
        if c == '"' and not depth:
            quoted = not quoted
        if not quoted and c == "(":
            depth += 1
        elif depth:
            depth -= c == ")"
        elif not quoted and c == " " and out and out[-1] in "@. ":
            pass
        else:
            while not quoted and c in "@." and out and out[-1] == " ":
                out.pop()
            out.append(c)
        i += 1
    return "".join(out)


def unescape(data):
    return re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), data)


def told_texts(output):
    """`mds explain --texts`: UID -> [(kind, name, text as bytes)]."""
    texts = {}
    for line in output.split(b"\n")[:-1]:
        uid, kind, name, text = line.split(b"\t")
        texts.setdefault(int(uid), []).append((kind.decode(), unescape(name), unescape(text)))
    return texts


# ---- the evaluator -------------------------------------------------------------------------------------

ADDRESS = {"FROM", "TO", "CC", "BCC"}


def encode(texts):
    return [(kind, name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name,
             text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text) for kind, name, text in texts]


def casemap_bytes(data):
    """Of names as stored: bytes that are no UTF-8 stand for themselves."""
    try:
        return casemap(data.decode("utf-8")).encode()
    except UnicodeDecodeError:
        return data.upper()


class Texts:
    """What the keys see of one message."""

    def __init__(self, texts, literal=False):
        self.fields = {}
        body, rest = [], []
        for kind, name, text in encode(texts):
            whole = casemap_bytes(name) + b": " + text
            if kind == "own":
                key = name.lower()
                own = self.fields.setdefault(key, ([], []))
                own[0].append(text)
                own[1].append(bare(text.decode("latin-1")).encode("latin-1"))
                trace = TRACE.match(name.decode("latin-1")) and not literal
                rest.append(casemap_bytes(name) + b": " if trace else whole)
            elif kind == "part":
                rest.append(whole)
            elif kind == "attached":
                body.append(whole)
            elif kind == "body":
                body.append(text)
        self.body = SEPARATOR.join(body)
        self.text = SEPARATOR.join(body + rest)

    def field(self, name, with_bare):
        values = self.fields.get(name.lower().encode())
        return None if values is None else SEPARATOR.join(values[0] + (values[1] if with_bare else []))


class Corpus:
    """Messages side by side: each key is one search through one long string."""

    def __init__(self, messages):
        self.messages = messages  # [(uid, Texts)]
        self.joined = {}

    def strings(self, key, name):
        at = (key, name)
        if at not in self.joined:
            pieces, uids, starts, pos = [], [], [], 0
            for uid, texts in self.messages:
                piece = (texts.body if key == "BODY" else texts.text if key == "TEXT" else texts.field(name, key in ADDRESS))
                if piece is None:
                    continue
                pieces.append(piece)
                uids.append(uid)
                starts.append(pos)
                pos += len(piece) + 2
            if len(self.joined) > 40:
                self.joined.pop(next(k for k in self.joined if k[0] == "HEADER"), None)
            self.joined[at] = (SEPARATOR.join(pieces), uids, starts)
        return self.joined[at]

    def find(self, key, name, needle):
        import bisect
        if key in ("BODY", "TEXT") and not needle:
            return {uid for uid, _ in self.messages}
        whole, uids, starts = self.strings(key, name or key)
        wanted = casemap(flat(needle)).encode()
        if not wanted:
            return set(uids)
        found, at = set(), 0
        while (at := whole.find(wanted, at)) >= 0:
            i = bisect.bisect_right(starts, at) - 1
            found.add(uids[i])
            at = starts[i + 1] if i + 1 < len(starts) else len(whole)
        return found
