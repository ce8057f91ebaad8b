"""An independent reader of MIME structure, for tests: where each part's header and body lie.

A splitter of RFC 2046 written apart from the project's own and the other way round: from the outside in, by ranges, with
regular expressions; header values are read by Python's email package.
"""
import email
import email.message
import email.policy
import re

FIELD = re.compile(rb"[^\x00-\x20:\x7f]+[ \t]*:")
IDENTITY = ("", "7bit", "8bit", "binary")
MAX_DEPTH = 100


def header_end(data, start, end, is_root):
    """Offset of the body of the entity in data[start:end]."""
    pos = start
    while is_root and re.compile(rb">?From ").match(data, pos, end):
        line = data.find(b"\n", pos, end)
        pos = end if line < 0 else line + 1
    if pos == end:
        return end
    first = data[pos:end].split(b"\n", 1)[0]
    if first.rstrip(b"\r") and not FIELD.match(first):
        return pos
    blank = re.compile(rb"^\r?\n", re.M).search(data, pos, end)
    return blank.end() if blank else end


def clean_header(raw):
    """Without the lines at which Python's parser stops: those that are no field and no fold."""
    kept, in_field = [], False
    for line in raw.split(b"\n"):
        if line[:1] in (b" ", b"\t"):
            if in_field:
                kept.append(line)
        else:
            in_field = bool(re.match(rb"[^\x00-\x20:\x7f]+:", line)) and line.isascii()
            if in_field:
                kept.append(line)
    return b"\n".join(kept) + b"\n\n"


def value_of(header, name, default=""):
    values = header.get_all(name)
    return str(values[0]) if values else default


class Entity:
    def __init__(self, data, start, end, is_root, digest=False, depth=0, header_limit=0):
        # The empty line that ends a header may be the line end before a boundary at the same time.
        self.body = header_end(data, start, max(end, header_limit), is_root)
        self.start, self.end, self.children = start, max(end, self.body), []
        header = email.message_from_bytes(clean_header(data[start:self.body]), policy=email.policy.compat32)
        ctype = value_of(header, "content-type", "message/rfc822" if digest else "text/plain")
        one = email.message.Message()
        one["content-type"] = re.sub(r"[\r\n]", "", ctype)
        match = re.match(r"\s*([^\s;/()<>@,:\\\"\[\]?=]+)\s*/\s*([^\s;/()<>@,:\\\"\[\]?=]+)", ctype)
        main, sub = (match.group(1).lower(), match.group(2).lower()) if match else ("text", "plain")
        token = re.search(r"[^\s()<>@,;:\\\"/\[\]?=]+", re.sub(r"\([^)]*\)", "", value_of(header, "content-transfer-encoding")))
        encoding = token.group(0).lower() if token else ""
        encoded = encoding in ("base64", "quoted-printable", "x-uuencode", "uuencode", "x-uue")
        self.kind = "leaf"
        if main == "multipart" and depth < MAX_DEPTH:
            boundary = one.get_param("boundary")
            if isinstance(boundary, tuple):
                boundary = boundary[2]
            if not boundary:  # a forgotten semicolon
                loose = re.search(r'\bboundary\s*=\s*"([^"]*)"', ctype, re.I)
                boundary = loose.group(1) if loose else None
            if boundary and boundary.rstrip():
                self.split(data, boundary.rstrip().encode("latin-1", "surrogateescape"), sub == "digest", depth)
        elif main == "message" and sub == "rfc822" and not encoded and depth < MAX_DEPTH:
            self.kind = "message"
            self.children = [Entity(data, self.body, self.end, True, depth=depth + 1)]

    def split(self, data, boundary, digest, depth):
        self.kind = "multipart"
        # A line ends before its LF; a CR directly before that is part of the line end.
        delimiter = re.compile(rb"(?:\A|(?<=\n))--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?\n|\r?\Z)")
        at, start = self.body, None
        view = data[:self.end]
        while True:
            found = delimiter.search(view, at) if at <= self.end else None
            if not found:
                if start is not None:
                    self.children.append(Entity(data, start, self.end, False, digest, depth + 1))
                break
            if found.start() > self.body and view[found.start() - 1:found.start()] != b"\n":
                at = found.start() + 1
                continue
            if start is not None:
                stop = found.start()
                if view[stop - 1:stop] == b"\n":
                    stop -= 2 if view[stop - 2:stop] == b"\r\n" else 1
                self.children.append(Entity(data, start, max(start, stop), False, digest, depth + 1, found.start()))
                start = None
            if found.group(1):
                break
            start = at = found.end()
        if not self.children:
            self.kind = "empty"


def expected(data):
    root = Entity(data, 0, len(data), True)
    rows = []

    def message(entity, path):
        if entity.kind in ("multipart", "empty"):
            part_children(entity, path)
        elif entity.kind == "message":
            rows.append((path + ".1" if path else "1", entity.start, entity.body, entity.end))
            message(entity.children[0], path + ".1" if path else "1")
        else:
            rows.append((path + ".1" if path else "1", entity.start, entity.body, entity.end))

    def part_children(entity, path):
        for number, child in enumerate(entity.children, 1):
            name = f"{path}.{number}" if path else str(number)
            rows.append((name, child.start, child.body, child.end))
            if child.kind == "message":
                message(child.children[0], name)
            elif child.kind == "multipart":
                part_children(child, name)

    message(root, "")
    return rows, root


def has_empty(entity):
    return entity.kind == "empty" or any(has_empty(child) for child in entity.children)
