/*
 * Criterion's runner leaks 48 bytes of its own when the machine is busy and a test has a timeout. Suppressing leaks
 * by library would hide every leak of every test, as each test is called from libcriterion too; but a test is a process of
 * its own, and only those have boxfort's variable. So the suppression holds in the runner, where no code of ours runs.
 */
#include <stdlib.h>

const char *__lsan_default_suppressions(void);

__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
    return getenv("BXFI_MAP") ? "" : "leak:libcriterion.so\n";
}
