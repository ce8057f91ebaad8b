/*
 * crash_build: `mds build` with its parses counted, for the kill tests: a killed process makes no report, but the
 * counter lies in a mapped file that the parse workers share.
 *
 *     crash_build STORE ARCHIVE SOURCE JOBS BATCH MAX-RATE COUNTER-FILE
 */
#include "base/bytes.h"
#include "indexer/indexer.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic uint64_t *counter;

static void parse_counted(struct mime_parser *p, struct bytes item, struct mime_record *out)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed); /* nothing hangs on its order */
    mime_parse(p, item, out);
}

static _Atomic uint64_t *counter_map(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(uint64_t)) < 0)
        return NULL;
    void *p = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return p == MAP_FAILED ? NULL : p;
}

int main(int argc, char **argv)
{
    struct vault_spec spec = {0};
    struct indexer_report report;
    struct error err = {0};
    if (argc != 8)
        return 2;
    counter = counter_map(argv[7]);
    if (!counter || vault_spec_parse(argv[3], &spec, &err) < 0)
        return 2;
    struct indexer_build build = {
        .store_dir = argv[1],
        .archive = argv[2],
        .sources = &spec,
        .sources_n = 1,
        .jobs = (unsigned)atoi(argv[4]),
        .batch_items = (uint32_t)atoi(argv[5]),
        .max_rate = atof(argv[6]),
        .parse = parse_counted,
    };
    int rc = indexer_build(&build, &report, &err);
    if (rc < 0)
        fprintf(stderr, "%s\n", err.text);
    vault_spec_release(&spec);
    return rc < 0 ? 3 : report.failed || report.removals_refused ? 1 : 0;
}
