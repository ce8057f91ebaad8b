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
    b"* ESEARCH", b"* ESEARCH (TAG \"a\") UID MIN 2 MAX 9 COUNT 3 MODSEQ 9223372036854775807 ALL 2,4:9", b"* ESEARCH (TAG \"a\") COUNT 0",
    b"* SEARCH 1 2 (MODSEQ 7)", b"* VANISHED 1:3,9", b"* VANISHED (EARLIER) 4", b"* OK [CLOSED] x", b"* OK [HIGHESTMODSEQ 4294967296] x",
    b"* OK [MAILBOXID (Fab-_9)] x", b"a OK [MODIFIED 7,9] x", b"a OK [COPYUID 1 2:3 4:5] x", b"a OK [APPENDUID 1 2] x", b"a NO [UNKNOWN-CTE] x",
    b"a NO [BADEVENT (MessageNew FlagChange)] x", b"* STATUS a (SIZE 4294967296 DELETED 1 HIGHESTMODSEQ 9 MAILBOXID (F1) APPENDLIMIT 5)",
    b"* LIST (\\NonExistent \\Subscribed) \"/\" a", b"* LIST () \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))", b"* LIST () \"/\" a (\"OLDNAME\" (b))",
    b"* 1 FETCH (MODSEQ (12) EMAILID (M1) THREADID (T1) SAVEDATE \" 1-Jan-2004 00:35:13 +0000\" PREVIEW {2}\r\n\xc3\xa9)",
    b"* 1 FETCH (THREADID NIL SAVEDATE NIL PREVIEW NIL)", b"* 1 FETCH (BINARY[1.2]<7> ~{3}\r\na\0b BINARY.SIZE[] 4294967296 BINARY[3] \"\")",
    b"* 1 FETCH (BODY (\"IMAGE\" \"GIF\" NIL NIL NIL \"7BIT\" 4294967296))",
    b"* ESEARCH (TAG \"a\" MAILBOX \"a b\" UIDVALIDITY 7) UID ALL 1", b"* ESEARCH (TAG \"a\") PARTIAL (1:2 4:5)", b"* ESEARCH (TAG \"a\") PARTIAL (-1:-9 NIL)",
    b"* ESEARCH (TAG \"a\") UID ADDTO (0 1:2)", b"* ESEARCH (TAG \"a\") REMOVEFROM (1 4 7 2,1) ADDTO (1 2733 1 2732)", b"* NO [NOUPDATE \"a\"] x",
    b"* ESEARCH (TAG \"a\") ALL 1,5,10 RELEVANCY (4 99 42)", b"* ESEARCH (TAG \"a\") RELEVANCY ()",
    b"* THREAD", b"* THREAD (2)(3 6 (4 23)(44 7 96))", b"* THREAD ((3)(5))", b"* THREAD ((1 2 (3)(4))(5))(6)",
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
    b"* SEARCH (MODSEQ 7)", b"* SEARCH 1 (MODSEQ 0)", b"* SEARCH 1 (MODSEQ 7) 2", b"* ESEARCH UID UID", b"* ESEARCH MIN 0", b"* ESEARCH ALL", b"* ESEARCH ALL 0",
    b"* ESEARCH (TAG a)", b"* ESEARCH COUNT 1 COUNT 1", b"* VANISHED", b"* VANISHED (EARLIER)", b"* VANISHED 0", b"* VANISHED 1,", b"* VANISHED (LATER) 1",
    b"* OK [HIGHESTMODSEQ 0] x", b"* OK [HIGHESTMODSEQ 9223372036854775808] x", b"* OK [MAILBOXID F] x", b"* OK [MAILBOXID (F.)] x", b"a OK [COPYUID 1 2] x",
    b"* STATUS a (MAILBOXID 7)", b"* STATUS a (SIZE -1)", b"* LIST () \"/\" a (\"OLDNAME\" (b c))", b"* LIST () \"/\" a ()", b"* LIST () \"/\" a (\"FROB\" (b))",
    b"* 1 FETCH (MODSEQ 12)", b"* 1 FETCH (MODSEQ (0))", b"* 1 FETCH (EMAILID NI)", b"* 1 FETCH (PREVIEW abc)", b"* 1 FETCH (PREVIEW \"\xc3\xa9\")",
    b"* 1 FETCH (BINARY[TEXT] NIL)", b"* 1 FETCH (BINARY.SIZE[1]<0> 4)", b"* 1 FETCH (BINARY[1] ~{3}\r\nab)", b"* 1 FETCH (BODY[] ~{1}\r\na)",
    b"* ESEARCH (TAG \"a\" TAG \"b\")", b"* ESEARCH (TAG \"a\" MAILBOX)", b"* ESEARCH (UIDVALIDITY 0)", b"* ESEARCH ()", b"* ESEARCH PARTIAL (1:-2 3)",
    b"* ESEARCH PARTIAL (0:2 3)", b"* ESEARCH PARTIAL (1:2)", b"* ESEARCH PARTIAL 1:2", b"* ESEARCH (TAG \"a\") ADDTO ()", b"* ESEARCH (TAG \"a\") ADDTO (1)",
    b"* ESEARCH ADDTO (0 1)", b"* ESEARCH (TAG \"a\") ADDTO (0 1 2)", b"* ESEARCH ALL 1 PARTIAL (1:2 1)", b"* NO [NOUPDATE a] x", b"* NO [NOUPDATE] x",
    b"* ESEARCH RELEVANCY (0)", b"* ESEARCH RELEVANCY (101)", b"* ESEARCH RELEVANCY 4", b"* ESEARCH RELEVANCY (4 )",
    b"* THREAD ", b"* THREAD ()", b"* THREAD (2) (3)", b"* THREAD (2 (3))", b"* THREAD ((3))", b"* THREAD (2(3)(4))", b"* THREAD (2 )", b"* THREAD (0)",
    b"* THREAD (2", b"* THREAD (2))", b"* THREAD (2 (3)(4)5)", b"* THREAD 2", b"* THREAD ((2)(3) )",
    b"* LIST () \"/\" \"\xc3\xa9\"", b"* FROB", b"a OKAY x", b"a BYE x", b"a+b OK x", b"* OK \xc3\xa9",
]


def main():
    for data in GOOD:
        parse(data)
    parse(b"* LIST () \"/\" \"\xc3\xa9\"", utf8=True)
    try:
        parse(b"* LIST () \"/\" \"\xc3\"", utf8=True)
        sys.exit("taken, but no UTF-8")
    except Malformed:
        pass
    for data in BAD:
        try:
            parse(data)
        except Malformed:
            continue
        sys.exit(f"taken, but no grammar: {data!r}")
    print(f"{len(GOOD)} good, {len(BAD)} bad responses told apart")


main()
