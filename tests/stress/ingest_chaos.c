/*
 * ingest_chaos: the pipeline under everything at once: parsers that die and hang, workers killed at random, a planner
 * and a writer that dawdle, flush and cancel at random, records from nothing to megabytes, and the known set growing
 * meanwhile.
 *
 *     stress_ingest_chaos [rounds]        SEED= repeats
 *
 * A plain main, so that it runs under TSan too. Checks: each result in its place and of its task, each good item
 * complete (unless its worker was killed over and over), the end reached or the reason clear, no process and no
 * descriptor left, memory in its bound.
 */
#include "ingest/ingest.h"
#include "ingest/ingest_private.h"
#include "test_support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 300, TASKS_MAX = 4000, KILLS_MAX = 60, BOUND_KIB = 160 * 1024, HEAVY_BOUND_KIB = 120 * 1024 };

#define CHECK(c, ...)                                                                                                  \
    do {                                                                                                               \
        if (!(c)) {                                                                                                    \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #c);                                                    \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* What file i does, by its first byte. */
enum act { ACT_GOOD = 'g', ACT_ABORT = 'a', ACT_LOOP = 'l', ACT_RECORD = 'r', ACT_SLOW = 's', ACT_GONE = 'x' };

struct chaos {
    /* of the round */
    struct ingest *ing;
    const enum act *act; /* [FILES] */
    uint32_t tasks;
    unsigned workers;
    bool kills, cancels, dawdles;
    uint64_t seed;
    struct ingest_known *known;
    /* shared */
    _Atomic bool is_over;
    _Atomic uint32_t killed;
};

static void sleep_us(long us)
{
    struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    nanosleep(&t, NULL);
}

static void chaos_parse(struct mime_parser *p, struct bytes item, struct mime_record *out)
{
    static uint8_t *big;
    char act = item.n ? (char)item.p[0] : ACT_GOOD;
    if (act == ACT_ABORT) {
        signal(SIGABRT, SIG_DFL);
        kill(getpid(), SIGABRT);
    }
    if (act == ACT_LOOP)
        for (volatile int on = 1; on;)
            ;
    if (act == ACT_SLOW)
        sleep_us(2000);
    mime_parse_opaque(p, item, 0, out); /* the real parser is not what is under stress here */
    if (act == ACT_RECORD) {
        size_t n = strtoul((const char *)item.p + 1, NULL, 10);
        free(big);
        big = calloc(1, n);
        out->headers = bytes_of(big, n);
    }
}

static const char *name_of(uint32_t file)
{
    static _Thread_local char name[16];
    snprintf(name, sizeof name, "%u.eml", file);
    return name;
}

static uint32_t file_of(const struct chaos *c, uint32_t task)
{
    struct rng rng = rng_of(c->seed * 1000003 + task);
    return (uint32_t)rng_below(&rng, FILES);
}

static struct vault *open_vault(const char *dir)
{
    struct vault_spec spec = {0};
    struct vault *vault = NULL;
    struct error err = {0};
    CHECK(vault_spec_parse(textf("eml-tree:%s", dir), &spec, &err) == BASE_OK, "%s", err.text);
    CHECK(vault_open(&spec, &vault, &err) == BASE_OK, "%s", err.text);
    vault_spec_release(&spec);
    return vault;
}

static void make_files(const char *dir, enum act *act, struct rng *rng)
{
    for (uint32_t i = 0; i < FILES; i++) {
        static const char acts[] = "gggggggggggggggggggggggggggggggggggrrsax";
        act[i] = i == 17 ? ACT_LOOP : (enum act)acts[rng_below(rng, sizeof acts - 1)];
        size_t bytes = rng_below(rng, rng_once_in(rng, 20) ? 3000000 : 4000);
        size_t record = rng_below(rng, rng_once_in(rng, 10) ? 3000000 : 60000);
        struct buf b = {0};
        buf_printf(&b, "%c%zu \n\n", (char)act[i], record);
        memset(buf_reserve(&b, bytes), 'x', bytes);
        b.n += bytes;
        if (act[i] != ACT_GONE)
            write_file(path_join(dir, name_of(i)), buf_bytes(&b));
        buf_release(&b);
    }
}

static void *plan(void *arg)
{
    struct chaos *c = arg;
    struct rng rng = rng_of(c->seed ^ 1);
    for (uint32_t i = 0; i < c->tasks; i++) {
        const char *name = name_of(file_of(c, i));
        struct ingest_task t = {.locator.name = bytes_str(name), .tag = bytes_of(&i, sizeof i), .date_from_file = true};
        int rc = ingest_submit(c->ing, &t, NULL);
        if (rc == BASE_OK && rng_once_in(&rng, 100))
            rc = ingest_flush(c->ing, NULL);
        if (rc != BASE_OK) {
            CHECK(c->cancels && rc == BASE_ERR_CANCELLED, "submit says %d", rc);
            break;
        }
        if (c->dawdles && rng_once_in(&rng, 50))
            sleep_us((long)rng_below(&rng, 3000));
    }
    ingest_close(c->ing);
    return NULL;
}

static void *disturb(void *arg)
{
    struct chaos *c = arg;
    struct rng rng = rng_of(c->seed ^ 2);
    uint32_t turns = 0;
    while (!c->is_over) {
        sleep_us((1000 + (long)rng_below(&rng, 20000)) * (INGEST_SANITIZED ? 5 : 1));
        if (c->kills && c->killed < KILLS_MAX) {
            pid_t pid = ingest_worker_pid(c->ing, (uint32_t)rng_below(&rng, c->workers));
            if (pid > 0 && kill(pid, SIGKILL) == 0)
                c->killed++;
        }
        if (c->cancels && ++turns > 20)
            ingest_cancel(c->ing);
    }
    return NULL;
}

static uint64_t status_kib(pid_t pid)
{
    char line[256];
    uint64_t sum = 0;
    FILE *f = fopen(textf("/proc/%d/status", (int)pid), "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "RssAnon:", 8) == 0 || strncmp(line, "RssShmem:", 9) == 0)
            sum += strtoull(strchr(line, ':') + 1, NULL, 10);
    if (f)
        fclose(f);
    return sum;
}

static uint64_t memory_kib(const struct chaos *c)
{
    uint64_t sum = status_kib(getpid()) + status_kib(ingest_nursery_pid(c->ing));
    for (uint32_t w = 0; w < c->workers; w++)
        sum += status_kib(ingest_worker_pid(c->ing, w));
    return sum;
}

static void check_result(const struct chaos *c, const struct ingest_result *r, uint32_t i)
{
    const uint64_t died = MIME_DEFECT(PARSER_CRASHED) | MIME_DEFECT(PARSER_HUNG);
    uint32_t index, file = file_of(c, i);
    CHECK(r->tag.n == sizeof index, "tag of %zu bytes", r->tag.n);
    memcpy(&index, r->tag.p, sizeof index);
    CHECK(index == i, "result %u stands at %u", index, i);
    CHECK(bytes_equal(r->locator.name, bytes_str(name_of(file))), "result %u has another name", i);
    enum act act = c->act[file];
    if (act == ACT_GONE) {
        CHECK(r->status == INGEST_FAILED && r->reason.code == BASE_ERR_GONE, "a missing file has status %d", r->status);
        return;
    }
    if (r->status == INGEST_KNOWN)
        return;
    bool may_die = c->kills || act == ACT_ABORT || act == ACT_LOOP;
    CHECK(r->status == INGEST_PARSED || (c->kills && r->status == INGEST_FAILED), "item %u (%c) has status %d: %s", i,
          (char)act, r->status, r->reason.text);
    if (r->status != INGEST_PARSED)
        return;
    CHECK(may_die || !(r->record.defects & died), "good item %u (%c) has defects %llx", i, (char)act,
          (unsigned long long)r->record.defects);
    CHECK(c->kills || act != ACT_ABORT || (r->record.defects & MIME_DEFECT(PARSER_CRASHED)), "item %u did not crash",
          i);
    CHECK(act != ACT_LOOP || (r->record.defects & died), "item %u did not hang", i);
}

static void take_all(struct chaos *c, uint64_t *peak_kib)
{
    struct rng rng = rng_of(c->seed ^ 3);
    struct ingest_result r;
    struct error err = {0};
    uint32_t i = 0;
    int rc;
    for (;;) {
        rc = 1;
        if (rng_once_in(&rng, 4))
            while ((rc = ingest_ready(c->ing, 3, &err)) == 0)
                ;
        if (rc < 0 || (rc = ingest_next(c->ing, &r, &err)) <= 0)
            break;
        check_result(c, &r, i);
        if (r.status == INGEST_PARSED)
            CHECK(ingest_known_add(c->known, &r.hash, i, NULL) == BASE_OK, "add");
        else if (r.status == INGEST_KNOWN && rng_once_in(&rng, 20)) {
            CHECK(ingest_redo(c->ing, &r, &err) == INGEST_MORE || c->cancels, "redo: %s", err.text);
        }
        i++;
        if (c->dawdles && rng_once_in(&rng, 200))
            sleep_us((long)rng_below(&rng, 20000));
        if (i % 32 == 0) {
            uint64_t kib = memory_kib(c);
            *peak_kib = kib > *peak_kib ? kib : *peak_kib;
        }
    }
    if (c->cancels)
        CHECK(rc == INGEST_DONE || rc == BASE_ERR_CANCELLED, "end %d: %s", rc, err.text);
    else
        CHECK(rc == INGEST_DONE && i == c->tasks, "end %d after %u of %u: %s", rc, i, c->tasks, err.text);
}

/* Records of up to a megabyte each, and a writer that never catches up: the case that the memory bound is for. */
static void run_heavy(struct rng *rng)
{
    static enum act act[FILES];
    const char *dir = TEMP_DIR();
    for (uint32_t i = 0; i < FILES; i++) {
        act[i] = ACT_RECORD;
        write_text(path_join(dir, name_of(i)),
                   textf("r%llu \n\nbody\n", 100000 + (unsigned long long)rng_below(rng, 1200000)));
    }
    struct vault *vault = open_vault(dir);
    struct chaos c = {.act = act, .tasks = 1200, .workers = 2, .dawdles = true, .seed = rng_u64(rng)};
    struct ingest_settings s = {.workers = c.workers, .vaults = &vault, .vaults_n = 1, .parse = chaos_parse};
    struct error err = {0};
    uint64_t peak_kib = 0;
    pthread_t planner;
    CHECK(ingest_known_new(dir, &c.known, &err) == BASE_OK, "%s", err.text);
    CHECK(ingest_open(&s, &c.ing, &err) == BASE_OK, "%s", err.text);
    pthread_create(&planner, NULL, plan, &c);
    take_all(&c, &peak_kib);
    pthread_join(planner, NULL);
    ingest_free(&c.ing);
    ingest_known_free(&c.known);
    vault_close(&vault);
    CHECK(INGEST_SANITIZED || peak_kib < HEAVY_BOUND_KIB, "%llu KiB", (unsigned long long)peak_kib);
    printf("heavy: peak_kib=%llu\n", (unsigned long long)peak_kib);
}

static void run_round(struct vault *vault, const enum act *act, const char *dir, struct rng *rng, uint32_t round)
{
    struct chaos c = {
        .act = act,
        .tasks = (uint32_t)rng_below(rng, TASKS_MAX),
        .workers = 1 + (unsigned)rng_below(rng, 4),
        .kills = rng_once_in(rng, 2),
        .cancels = rng_once_in(rng, 5),
        .dawdles = rng_once_in(rng, 2),
        .seed = rng_u64(rng),
    };
    pthread_t planner, disturber;
    uint64_t peak_kib = 0;
    struct error err = {0};
    CHECK(ingest_known_new(dir, &c.known, &err) == BASE_OK, "%s", err.text);
    struct ingest_settings s = {.workers = c.workers,
                                .slots = (uint32_t)rng_below(rng, 12),
                                .vaults = &vault,
                                .vaults_n = 1,
                                .known = c.known,
                                .item_ms = INGEST_SANITIZED ? 1000 : 200,
                                .parse = chaos_parse};
    CHECK(ingest_open(&s, &c.ing, &err) == BASE_OK, "%s", err.text);
    pthread_create(&planner, NULL, plan, &c);
    pthread_create(&disturber, NULL, disturb, &c);
    take_all(&c, &peak_kib);
    c.is_over = true;
    pthread_join(planner, NULL);
    pthread_join(disturber, NULL);
    struct ingest_stats stats;
    ingest_get_stats(c.ing, &stats);
    ingest_free(&c.ing);
    ingest_known_free(&c.known);
    CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "a child is left");
    CHECK(INGEST_SANITIZED || peak_kib < BOUND_KIB, "%llu KiB", (unsigned long long)peak_kib);
    printf("round %u: workers=%u delivered=%llu parsed=%llu known=%llu failed=%llu crashed=%llu hung=%llu killed=%u "
           "peak_kib=%llu%s\n",
           round, c.workers, (unsigned long long)stats.delivered, (unsigned long long)stats.parsed,
           (unsigned long long)stats.known, (unsigned long long)stats.failed, (unsigned long long)stats.crashed,
           (unsigned long long)stats.hung, (unsigned)c.killed, (unsigned long long)peak_kib,
           c.cancels ? " cancelled" : "");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static enum act act[FILES];
    uint32_t rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : INGEST_SANITIZED ? 8 : 20;
    struct rng rng = rng_start("ingest_chaos");
    const char *dir = TEMP_DIR(), *scratch = TEMP_DIR();
    make_files(dir, act, &rng);
    struct vault *vault = open_vault(dir);
    for (uint32_t r = 0; r < rounds; r++)
        run_round(vault, act, scratch, &rng, r);
    vault_close(&vault);
    run_heavy(&rng);
    return 0;
}
