#include "ingest_private.h"

#include <criterion/criterion.h>

Test(blame, each_mode_bears_what_the_contract_says)
{
    static const struct {
        const char *name;
        uint8_t mode;
        enum item_death how;
        uint8_t deaths; /* until the mode changes */
        uint8_t next;
    } rows[] = {
        {"a crash is repeated once", MODE_NORMAL, DEATH_CRASHED, 2, MODE_OPAQUE_CRASHED},
        {"a kill is repeated three times", MODE_NORMAL, DEATH_KILLED, 4, MODE_OPAQUE_CRASHED},
        {"a hang is not repeated", MODE_NORMAL, DEATH_HUNG, 1, MODE_OPAQUE_HUNG},
        {"slow reading fails", MODE_NORMAL, DEATH_STALLED, 1, MODE_FAIL_HUNG},
        {"a shrunk file fails", MODE_NORMAL, DEATH_SHRANK, 1, MODE_FAIL_SHRANK},
        {"opaque crashes once", MODE_OPAQUE_CRASHED, DEATH_CRASHED, 1, MODE_FAIL_DIED},
        {"opaque is killed", MODE_OPAQUE_CRASHED, DEATH_KILLED, 4, MODE_FAIL_DIED},
        {"opaque hangs", MODE_OPAQUE_CRASHED, DEATH_HUNG, 1, MODE_FAIL_HUNG},
        {"hung, then crashes", MODE_OPAQUE_HUNG, DEATH_CRASHED, 1, MODE_FAIL_DIED},
        {"hung, then shrinks", MODE_OPAQUE_HUNG, DEATH_SHRANK, 1, MODE_FAIL_SHRANK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t mode = rows[i].mode, tries = 0;
        for (uint8_t d = 1; d < rows[i].deaths; d++) {
            ingest_blame(&mode, &tries, rows[i].how);
            cr_expect_eq(mode, rows[i].mode, "%s: death %u", rows[i].name, d);
        }
        ingest_blame(&mode, &tries, rows[i].how);
        cr_expect_eq(mode, rows[i].next, "%s: %u", rows[i].name, mode);
        cr_expect_eq(tries, 0, "%s", rows[i].name);
    }
}

Test(blame, what_failed_stays_failed)
{
    static const enum item_death hows[] = {DEATH_CRASHED, DEATH_KILLED, DEATH_HUNG, DEATH_STALLED, DEATH_SHRANK};
    for (uint8_t mode = MODE_FAIL_DIED; mode <= MODE_FAIL_SHRANK; mode++)
        for (size_t i = 0; i < sizeof hows / sizeof hows[0]; i++) {
            uint8_t now = mode, tries = 0;
            for (int d = 0; d < 300; d++)
                ingest_blame(&now, &tries, hows[i]);
            cr_expect_eq(now, mode, "mode %u, death %u", mode, hows[i]);
        }
}
