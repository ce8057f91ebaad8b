/* machine: what a number was measured on, so that it can be read later. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <jansson.h>

/* Processor, kernel, memory, load, file system of `dir`, time: an object, owned by the caller. */
json_t *machine_json(const char *dir);
/* The same as one line of text, to standard output. */
void machine_print(const json_t *machine);
/* The first line that a program prints, for its version; NULL if it cannot be run. Owned by the caller: g_free. */
char *machine_version(char *program, char *option);
/* All the CPU seconds of this process so far. */
double machine_own_cpu_s(void);

#endif
