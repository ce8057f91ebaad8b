/*
 * blame: what to do next with an item during which a worker died.
 */
#include "ingest_private.h"

/* Deaths of each kind that a mode bears, and where it leads when they are spent. */
struct blame_step {
    uint8_t crashes, crashed_to;
    uint8_t kills, killed_to;
    uint8_t hung_to;
};

static const struct blame_step steps[] = {
    [MODE_NORMAL] = {1, MODE_OPAQUE_CRASHED, 3, MODE_OPAQUE_CRASHED, MODE_OPAQUE_HUNG},
    [MODE_OPAQUE_CRASHED] = {0, MODE_FAIL_DIED, 3, MODE_FAIL_DIED, MODE_FAIL_HUNG},
    [MODE_OPAQUE_HUNG] = {0, MODE_FAIL_DIED, 3, MODE_FAIL_DIED, MODE_FAIL_HUNG},
};

void ingest_blame(uint8_t *mode, uint8_t *tries, enum item_death how)
{
    if (*mode >= MODE_FAIL_DIED)
        return; /* it is not touched any more, so it was not the item */
    uint8_t next = *mode;
    const struct blame_step *s = &steps[*mode];
    if (how == DEATH_SHRANK)
        next = MODE_FAIL_SHRANK;
    else if (how == DEATH_STALLED)
        next = MODE_FAIL_HUNG;
    else if (how == DEATH_HUNG)
        next = s->hung_to;
    else if (how == DEATH_KILLED)
        next = *tries >= s->kills ? s->killed_to : next;
    else
        next = *tries >= s->crashes ? s->crashed_to : next;
    *tries = next == *mode ? (uint8_t)(*tries + 1) : 0;
    *mode = next;
}
