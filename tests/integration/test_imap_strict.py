#!/usr/bin/env python3
"""The strict reader is strict: what it must take and what it must not (a reader that takes all proves nothing)."""
import sys

from imap_strict import Malformed, parse

GOOD = [
    b"* OK [CAPABILITY IMAP4rev1 X] hi", b"* 3 EXISTS", b"* 0 RECENT", b"* FLAGS (\\Seen a)", b"* FLAGS ()", b"+ ", b"+ OK",
    b"* LIST (\\Noselect) \"/\" \"\"", b"* LIST () NIL INBOX", b"* LSUB () \"/\" {3}\r\na b", b"* SEARCH", b"* SEARCH 1 2",
    b"* STATUS \"a b\" (MESSAGES 3 UNSEEN 0)", b"a1 OK done", b"a NO [BADCHARSET (UTF-8)] no", b"* BYE bye",
    b"* 1 FETCH (FLAGS () UID 3 RFC822.SIZE 5)", b"* 1 FETCH (BODY[] NIL)", b"* 1 FETCH (BODY[1.2.MIME]<0> {2}\r\nab)",
    b"* 1 FETCH (BODY[HEADER.FIELDS (A \"b c\")] \"\")", b"* 1 FETCH (INTERNALDATE \" 1-Jan-2004 00:35:13 +0000\")",
    b"* 1 FETCH (ENVELOPE (NIL \"s\" ((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL NIL {1}\r\nx))",
    b"* 1 FETCH (ENVELOPE (NIL NIL ((NIL NIL \"g\" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL NIL NIL NIL))",
    b"* 1 FETCH (BODY (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 7 1))",
    b"* 1 FETCH (BODYSTRUCTURE (\"IMAGE\" \"GIF\" (\"NAME\" \"x\") NIL NIL \"BASE64\" 7 NIL (\"INLINE\" NIL) (\"en\" \"de\") NIL))",
    b"* 1 FETCH (BODYSTRUCTURE ((\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 7 1 NIL NIL NIL NIL) \"MIXED\" (\"B\" \"x\") NIL NIL NIL))",
    b"* 1 FETCH (BODY (\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 7 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
    b" (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 7 1) 3))",
]
BAD = [
    b"", b"*", b"* ", b"+OK", b"* OK", b"* OK ", b"* OK [X", b"* OK [FROB] x", b"* OK [UIDNEXT 0] x", b"* OK [CAPABILITY X] x", b"* 3 EXIST",
    b"* 3  EXISTS", b"* 03 EXISTS", b"* 4294967296 EXISTS", b"* 0 FETCH (UID 1)", b"* 1 FETCH ()", b"* 1 FETCH (UID 0)", b"* 1 FETCH (UID 1 )",
    b"* 1 FETCH (UID 1) ", b"* 1 FETCH (UID 1", b"* 1 FETCH (FLAGS (\\Seen \\Seen))", b"* 1 FETCH (FLAGS (a  b))", b"* 1 FETCH (BODY[] {3}\r\nab)",
    b"* 1 FETCH (BODY[] {3}\r\na\0b)", b"* 1 FETCH (BODY[] \"\xc3\xa9\")", b"* 1 FETCH (BODY[] \"a\rb\")", b"* 1 FETCH (BODY[] abc)",
    b"* 1 FETCH (BODY[0] NIL)", b"* 1 FETCH (BODY[MIME] NIL)", b"* 1 FETCH (BODY[1TEXT] NIL)", b"* 1 FETCH (BODY[1.] NIL)", b"* 1 FETCH (BODY[HEADER.FIELDS] NIL)",
    b"* 1 FETCH (BODY[HEADER.FIELDS ()] NIL)", b"* 1 FETCH (INTERNALDATE \"1-Jan-2004 00:35:13 +0000\")",
    b"* 1 FETCH (ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL))", b"* 1 FETCH (ENVELOPE (NIL NIL () NIL NIL NIL NIL NIL NIL NIL))",
    b"* 1 FETCH (ENVELOPE (NIL NIL ((NIL NIL \"a\" \"b\") (NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL NIL NIL))",
    b"* 1 FETCH (ENVELOPE (NIL NIL ((NIL NIL \"g\" NIL)) NIL NIL NIL NIL NIL NIL NIL))",
    b"* 1 FETCH (BODY (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 7))", b"* 1 FETCH (BODY (\"IMAGE\" \"GIF\" NIL NIL NIL \"7BIT\" 7 1))",
    b"* 1 FETCH (BODY (\"TEXT\" \"PLAIN\" () NIL NIL \"7BIT\" 7 1))", b"* 1 FETCH (BODY (\"TEXT\" \"PLAIN\" (\"A\") NIL NIL \"7BIT\" 7 1))",
    b"* 1 FETCH (BODY (\"TEXT\" \"PLAIN\" NIL NIL NIL NIL 7 1))", b"* 1 FETCH (BODY (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 7 1 NIL))",
    b"* 1 FETCH (BODY (\"MIXED\"))", b"* 1 FETCH (BODY ({4}\r\nTEXT \"PLAIN\" NIL NIL NIL \"7BIT\" 7 1))",
    b"* LIST (\\Noselect \\Marked) \"/\" a", b"* LIST () \"//\" a", b"* LIST () \"/\" a b", b"* LIST () / a", b"* SEARCH 0", b"* SEARCH 1 ", b"* STATUS a (FROB 1)",
    b"* FROB", b"a OKAY x", b"a BYE x", b"a+b OK x", b"* OK \xc3\xa9",
]


def main():
    for data in GOOD:
        parse(data)
    for data in BAD:
        try:
            parse(data)
        except Malformed:
            continue
        sys.exit(f"taken, but no grammar: {data!r}")
    print(f"{len(GOOD)} good, {len(BAD)} bad responses told apart")


main()
