/*
 * Python's mailbox module as an independent writer, and as an independent reader of where items begin and end. Its mbox is mboxo with
 * every line "From " taken for a separator, so bodies here hold none unquoted.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "scan_text.h"
#include "test_support.h"

static const char writer[] =
    "import mailbox, sys, os\n"
    "root = sys.argv[1]\n"
    "def text(i): return b'Subject: m%d\\nX: y\\n\\nbody %d\\n\\nFrom here on\\n>From there\\n' % (i, i)\n"
    "md = mailbox.Maildir(root + '/maildir')\n"
    "for box, i, flags in ((md, 1, ''), (md, 2, 'S'), (md.add_folder('Sub.Deep'), 3, 'DFPRST')):\n"
    "    m = mailbox.MaildirMessage(text(i))\n"
    "    m.set_flags(flags)\n"
    "    m.set_subdir('cur' if flags else 'new')\n"
    "    box.add(m)\n"
    "mh = mailbox.MH(root + '/mh')\n"
    "for i in range(1, 13): mh.add(text(i))\n"
    "mh.set_sequences({'unseen': [1, 2, 3, 9], 'flagged': [2, 12], 'replied': [10], 'mine': [1]})\n"
    "mh.add_folder('lists').add(text(13))\n"
    "mb = mailbox.mbox(root + '/mbox')\n"
    "for i, flags in ((1, ''), (2, 'RO'), (3, 'ADFRO')):\n"
    "    m = mailbox.mboxMessage(text(i))\n"
    "    m.set_flags(flags)\n"
    "    m.set_from('ann@example.org', (2002, 1, i, 0, 0, 0, 0, 0, 0))\n"
    "    mb.add(m)\n"
    "mb.flush()\n"
    "mb = mailbox.mbox(root + '/mbox')\n"
    "mb.keys()\n"
    "raw = open(root + '/mbox', 'rb').read()\n"
    "with open(root + '/toc', 'w') as toc:\n"
    "    for start, end in (mb._toc[k] for k in sorted(mb._toc)):\n"
    "        at = raw.index(b'\\n', start) + 1\n"
    "        toc.write('%d+%d\\n' % (at, end - at))\n";

static const char *write_by_python(void)
{
    const char *dir = TEMP_DIR();
    const char *script = path_join(dir, "writer.py");

    write_text(script, writer);
    const int rc = system(textf("python3 %s %s", script, dir));

    cr_assert(WIFEXITED(rc) && WEXITSTATUS(rc) == 0, "python3 failed: %d", rc);
    return dir;
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

#define BODY(i) ": Subject: m" #i "|X: y||body " #i "||From here on|>From there|\n"
#define QUOTED(i) ": Subject: m" #i "|X: y||body " #i "||>From here on|>From there|\n"

Test(python, its_maildir_is_read)
{
    const char *got = scan_text(textf("auto:%s/maildir", write_by_python()));

    cr_expect_eq(count(got, "== "), 2, "%s", got);
    cr_expect_eq(count(got, "<>" BODY(1)), 1, "%s", got);
    cr_expect_eq(count(got, "<R>" BODY(2)), 1, "%s", got);
    cr_expect(strstr(got, "== Sub/Deep\n") && strstr(got, "<RAFDTP>" BODY(3)), "%s", got);
}

Test(python, its_mh_is_read)
{
    const char *got = scan_text(textf("auto:%s/mh", write_by_python()));

    cr_expect_str_eq(got, "== INBOX\n1 <>" BODY(1) "2 <F>" BODY(2) "3 <>" BODY(3) "4 <R>" BODY(4) "5 <R>" BODY(5) "6 <R>" BODY(6) "7 <R>" BODY(7)
                          "8 <R>" BODY(8) "9 <>" BODY(9) "10 <RA>" BODY(10) "11 <R>" BODY(11) "12 <RF>" BODY(12) "== lists\n1 <R>" BODY(13), "%s", got);
}

Test(python, its_mbox_is_read_and_split_alike)
{
    const char *dir = write_by_python();
    const char *got = scan_text(textf("auto:%s/mbox", dir));
    struct vault_spec spec;
    struct vault *v = NULL;
    struct vault_scan *scan = NULL;
    struct vault_container c;
    struct vault_item item;
    struct buf toc = {0};

    cr_expect_str_eq(got, "== INBOX\n# <> @1009843200" QUOTED(1) "# <R> @1009929600" QUOTED(2) "# <RAFD> @1010016000" QUOTED(3), "%s", got);
    cr_assert_eq(vault_spec_parse(textf("mbox:%s/mbox", dir), &spec, NULL), BASE_OK);
    cr_assert_eq(vault_open(&spec, &v, NULL), BASE_OK);
    cr_assert_eq(vault_scan_new(v, "/tmp", &scan, NULL), BASE_OK);
    cr_assert_eq(vault_scan_next_container(scan, &c, NULL), VAULT_MORE);
    while (vault_scan_next_item(scan, &item, NULL) == VAULT_MORE)
        buf_printf(&toc, "%llu+%llu\n", (unsigned long long)item.locator.offset, (unsigned long long)item.locator.length);
    cr_expect(bytes_equal(buf_bytes(&toc), read_file(path_join(dir, "toc"))), "%.*s", (int)toc.n, (char *)toc.p);
    buf_release(&toc);
    vault_scan_free(&scan);
    vault_close(&v);
    vault_spec_release(&spec);
}
