/*
 * Replays seed corpora through a fuzzer's entry point, so that every former finding stays an ordinary test.
 *
 *     fuzz_wire DIR-OR-FILE...      each regular file, in order of its name
 *
 * Each input is copied to a block of exactly its size: ASan then sees an overrun by one byte. A corpus that is missing
 * or empty is an error, as a replay of nothing proves nothing.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static const char *current;

static void say_current(void)
{
    if (current)
        fprintf(stderr, "replay: exit while running %s\n", current);
}

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || stat(path, &st) != 0) {
        perror(path);
        if (f)
            fclose(f);
        return 0;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);
    size_t got = data ? fread(data, 1, size, f) : 0;
    fclose(f);
    if (!data || got != size) {
        fprintf(stderr, "replay: cannot read %s\n", path);
        free(data);
        return 0;
    }
    current = path;
    LLVMFuzzerTestOneInput(data, size);
    current = NULL;
    free(data);
    return 1;
}

static int visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        return 0;
    }
    if (!S_ISDIR(st.st_mode))
        return replay_file(path);
    struct dirent **names = NULL;
    int n = scandir(path, &names, visible, alphasort), done = 0;
    for (int i = 0; i < n; i++) {
        char *child = malloc(strlen(path) + strlen(names[i]->d_name) + 2);
        if (child) {
            sprintf(child, "%s/%s", path, names[i]->d_name);
            done += replay(child);
            free(child);
        }
        free(names[i]);
    }
    free(names);
    return done;
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    atexit(say_current);
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int done = replay(argv[i]);
        printf("replay: %s: %d inputs\n", argv[i], done);
        if (done == 0) {
            fprintf(stderr, "replay: nothing to run in %s\n", argv[i]);
            return 1;
        }
        total += done;
    }
    return total > 0 ? 0 : 1;
}
