/*
 * goals: what this project wants to be able to show, held against what suites found.
 *
 *     GString *text = g_string_new(NULL);
 *     goals_put(text, roots, n);          roots: the JSON of suites
 *
 * Goals stand in one table (goals.c); each is computed from the numbers of the suites' files alone. One whose run is
 * not among the files, or too small to say something, is said so: nothing is reached by silence.
 */
#ifndef BENCH_GOALS_H
#define BENCH_GOALS_H

#include <glib.h>
#include <jansson.h>

/* Appends a Markdown table: goal, bound, measured, reached or not. */
void goals_put(GString *out, json_t *const *roots, size_t n);

#endif
