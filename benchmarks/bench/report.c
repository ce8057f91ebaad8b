/* report: see report.h. */
#include "report.h"

#include "goals.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct page {
    const char *dir;
    GString *text;
    bool gnuplot;
};

static double number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static const char *word(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value ? value : "";
}

/* Three digits that mean something. */
static void put_number(GString *out, double v)
{
    const double size = fabs(v);
    if (size == 0)
        g_string_append(out, "0");
    else if (size >= 100 || v == floor(v))
        g_string_append_printf(out, "%.0f", v);
    else if (size >= 10)
        g_string_append_printf(out, "%.1f", v);
    else if (size >= 1)
        g_string_append_printf(out, "%.2f", v);
    else
        g_string_append_printf(out, "%.3g", v);
}

/* A bar would end the cell. */
static void put_text(GString *out, const char *text)
{
    for (; *text; text++)
        g_string_append_printf(out, *text == '|' ? "\\%c" : "%c", *text);
}

static void put_rule(GString *out, size_t columns)
{
    g_string_append(out, "\n|---|");
    for (size_t i = 1; i < columns; i++)
        g_string_append(out, "---:|");
    g_string_append_c(out, '\n');
}

/* ---- plots ------------------------------------------------------------------------------------------------ */

/* Bars of how many times longer each peer takes than the first side, from `data`: lines of a quoted name and numbers.
 */
static void plot(struct page *page, const char *name, const char *title, const GPtrArray *sides, const GString *data)
{
    char *file = g_strconcat(name, ".svg", NULL), *path = g_build_filename(page->dir, file, NULL);
    char *script = g_build_filename(page->dir, ".plot", NULL), *argv[] = {(char[]){"gnuplot"}, script, NULL};
    GString *text = g_string_new(NULL);
    gint status = 0;
    g_string_append_printf(
        text,
        "set terminal svg size 1100,480 font 'sans,11' background 'white'\nset output '%s'\n"
        "set title '%s' noenhanced\nset style data histograms\nset style fill solid 0.8 border -1\n"
        "set logscale y\nset grid ytics\nset ylabel 'times as long as mds'\n"
        "set xtics rotate by -35 noenhanced\nset key top left noenhanced\n$data << EOD\n%sEOD\nplot 1 "
        "with lines lc 'black' notitle",
        path, title, data->str);
    for (guint k = 1; k < sides->len; k++)
        g_string_append_printf(text, ", $data using %u:xtic(1) title '%s'", k + 1,
                               (const char *)g_ptr_array_index(sides, k));
    g_string_append_c(text, '\n');
    if (page->gnuplot && sides->len > 1 && data->len > 0 && g_file_set_contents(script, text->str, -1, NULL) &&
        g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, NULL, NULL,
                     &status, NULL) &&
        status == 0)
        g_string_append_printf(page->text, "\n![%s](%s)\n", title, file);
    g_unlink(script);
    g_string_free(text, TRUE);
    g_free(script);
    g_free(path);
    g_free(file);
}

/* ---- suites of rows and sides ------------------------------------------------------------------------------ */

static void put_cell(GString *out, const json_t *cell, double first)
{
    const double p50 = number(cell, "p50_ms");
    if (number(cell, "n") == 0) {
        put_text(out, word(cell, "note"));
        return;
    }
    put_number(out, p50);
    g_string_append(out, " (");
    put_number(out, number(cell, "p99_ms"));
    g_string_append(out, ")");
    if (first > 0) {
        g_string_append(out, ", ");
        put_number(out, p50 / first);
        g_string_append(out, " x");
    }
    if (json_is_true(json_object_get(cell, "wrong")))
        g_string_append(out, " **wrong**");
    if (json_is_true(json_object_get(cell, "differs")))
        g_string_append(out, " (differs)");
}

/* Sides that never ran have no column: the list above the table says why. */
static bool ran(const json_t *sides, size_t k)
{
    return !*word(json_array_get(sides, k), "note");
}

static void put_row(struct page *page, const json_t *row, const json_t *sides, GString *data)
{
    const json_t *cells = json_object_get(row, "cells");
    const double first = number(json_array_get(cells, 0), "p50_ms"), floor_ms = number(row, "floor_ms");
    g_string_append(page->text, "| ");
    put_text(page->text, word(row, "name"));
    g_string_append(page->text, " | ");
    if (json_object_get(row, "messages"))
        put_number(page->text, number(row, "messages"));
    if (first > 0)
        g_string_append_printf(data, "\"%s\"", word(row, "name"));
    for (size_t k = 0; k < json_array_size(sides); k++) {
        const json_t *cell = json_array_get(cells, k);
        const double ratio = first > 0 && k > 0 ? number(cell, "p50_ms") / first : 0;
        if (!ran(sides, k))
            continue;
        g_string_append(page->text, " | ");
        put_cell(page->text, cell, k > 0 ? first : 0);
        if (first > 0 && k > 0)
            g_string_append_printf(data, ratio > 0 ? " %.3f" : " -", ratio);
    }
    if (first > 0)
        g_string_append_c(data, '\n');
    g_string_append(page->text, " | ");
    if (floor_ms > 0)
        put_number(page->text, floor_ms);
    g_string_append(page->text, " |\n");
}

static void put_sides(struct page *page, const json_t *sides)
{
    size_t k;
    json_t *side;
    json_array_foreach(sides, k, side)
    {
        g_string_append_printf(page->text, "* %s %s", word(side, "name"), word(side, "version"));
        if (*word(side, "note"))
            g_string_append_printf(page->text, " (%s)\n", word(side, "note"));
        else
            g_string_append_printf(page->text, ": ready in %.1f s (CPU %.1f s), %.1f MB\n", number(side, "prepared_s"),
                                   number(side, "prepared_cpu_s"), number(side, "disk_bytes") / 1e6);
    }
}

static void put_suite_run(struct page *page, const char *name, const json_t *run)
{
    const json_t *sides = json_object_get(run, "sides"), *rows = json_object_get(run, "rows");
    GPtrArray *names = g_ptr_array_new();
    GString *data = g_string_new(NULL);
    char *title = g_strdup_printf("%s, %.0f messages of %.0f bytes", word(run, "command"), number(run, "messages"),
                                  number(run, "mean_bytes"));
    char *file = g_strdup_printf("%s-%.0f-%.0f", name, number(run, "messages"), number(run, "mean_bytes"));
    size_t i;
    json_t *each;
    g_string_append_printf(page->text, "\n### %s\n\n", title);
    put_sides(page, sides);
    g_string_append(page->text, "\nMedian ms (p99), and how many times the first side's; cache ");
    g_string_append_printf(page->text, "%s.\n\n| | messages", word(run, "cache"));
    json_array_foreach(sides, i, each) if (ran(sides, i))
    {
        g_ptr_array_add(names, (void *)(uintptr_t)word(each, "name"));
        g_string_append_printf(page->text, " | %s", word(each, "name"));
    }
    g_string_append(page->text, " | floor |");
    put_rule(page->text, names->len + 3);
    json_array_foreach(rows, i, each) put_row(page, each, sides, data);
    plot(page, file, title, names, data);
    g_free(file);
    g_free(title);
    g_string_free(data, TRUE);
    g_ptr_array_free(names, TRUE);
}

/* ---- builds beside peers ----------------------------------------------------------------------------------- */

static void put_peers_run(struct page *page, const json_t *run)
{
    const double items = number(run, "items");
    size_t k;
    json_t *side;
    g_string_append_printf(
        page->text,
        "\n%.0f messages, %s, %.1f MB\n\n| | items/s | wall s | min | max | CPU s | peak MiB | bytes/item "
        "| search ms | hits |",
        items, word(run, "mail"), number(run, "bytes") / 1e6);
    put_rule(page->text, 10);
    json_array_foreach(json_object_get(run, "sides"), k, side)
    {
        const json_t *builds = json_object_get(side, "builds");
        const size_t n = json_array_size(builds);
        const json_t *middle = json_array_get(builds, n / 2);
        g_string_append_printf(page->text, "| %s %s | ", word(side, "name"), word(side, "version"));
        if (n == 0) {
            g_string_append_printf(page->text, "%s | | | | | | | | |\n", word(side, "note"));
            continue;
        }
        const double values[] = {number(side, "items_per_s"),
                                 number(middle, "wall_s"),
                                 number(json_array_get(builds, 0), "wall_s"),
                                 number(json_array_get(builds, n - 1), "wall_s"),
                                 number(middle, "cpu_s"),
                                 number(middle, "peak_bytes") / 1048576,
                                 number(middle, "disk_bytes") / items,
                                 number(side, "search_ms"),
                                 number(side, "hits")};
        for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
            put_number(page->text, values[i]);
            g_string_append(page->text, " | ");
        }
        g_string_append_c(page->text, '\n');
    }
    json_array_foreach(json_object_get(run, "ratios"), k, side)
    {
        g_string_append(page->text, k == 0 ? "\n* " : "* ");
        g_string_append_printf(page->text, "%s than %s: %.2f x in wall time, %.2f x per CPU second\n", word(side, "of"),
                               word(side, "than"), number(side, "wall"), number(side, "cpu"));
    }
}

/* ---- all others: rows of plain values ---------------------------------------------------------------------- */

static void put_value(GString *out, const json_t *value)
{
    if (json_is_string(value))
        put_text(out, json_string_value(value));
    else if (json_is_number(value))
        put_number(out, json_number_value(value));
    else if (json_is_boolean(value))
        g_string_append(out, json_is_true(value) ? "yes" : "no");
}

static bool is_plain(const json_t *value)
{
    return json_is_string(value) || json_is_number(value);
}

static void put_plain_rows(struct page *page, const json_t *rows)
{
    const json_t *first = json_array_get(rows, 0);
    const char *key;
    json_t *value, *row;
    size_t columns = 0, i;
    if (!first)
        return;
    g_string_append(page->text, "\n|");
    json_object_foreach((json_t *)(uintptr_t)first, key, value) if (is_plain(value))
    {
        g_string_append_printf(page->text, " %s |", key);
        columns++;
    }
    put_rule(page->text, columns);
    json_array_foreach(rows, i, row)
    {
        g_string_append_c(page->text, '|');
        json_object_foreach((json_t *)(uintptr_t)first, key, value) if (is_plain(value))
        {
            g_string_append_c(page->text, ' ');
            put_value(page->text, json_object_get(row, key));
            g_string_append(page->text, " |");
        }
        g_string_append_c(page->text, '\n');
    }
}

static void put_settings(struct page *page, const json_t *root)
{
    const char *key;
    json_t *value;
    g_string_append(page->text, "\n");
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
    {
        if (strcmp(key, "command") == 0 || (!is_plain(value) && !json_is_boolean(value)))
            continue;
        g_string_append_printf(page->text, "%s ", key);
        put_value(page->text, value);
        g_string_append(page->text, "; ");
    }
    g_string_append(page->text, "\n");
}

/* ---- the page ---------------------------------------------------------------------------------------------- */

static void put_machine(struct page *page, const json_t *machine)
{
    if (json_is_object(machine))
        g_string_append_printf(page->text, "\n%.0f x %s, %s, %.1f GB, %s, load %.2f, %s\n",
                               number(machine, "processors"), word(machine, "cpu"), word(machine, "kernel"),
                               number(machine, "memory_bytes") / 1e9, word(machine, "file_system"),
                               number(machine, "load"), word(machine, "time"));
}

static json_t *load(const char *file, struct error *err)
{
    json_error_t why;
    json_t *root = json_load_file(file, 0, &why);
    if (!root) {
        error_set(err, BASE_ERR_FORMAT, 0, "%s: %s", file, why.text);
    } else if (!*word(root, "command")) {
        error_set(err, BASE_ERR_FORMAT, 0, "%s: not written by a suite", file);
        json_decref(root);
        root = NULL;
    }
    return root;
}

static void put_file(struct page *page, const char *file, const json_t *root)
{
    const json_t *runs = json_object_get(root, "runs");
    char *base = g_path_get_basename(file), *name = g_strndup(base, strcspn(base, "."));
    size_t i;
    json_t *run;
    g_string_append_printf(page->text, "\n## %s\n", name);
    put_machine(page, json_object_get(root, "machine"));
    put_settings(page, root);
    json_array_foreach(runs, i, run)
    {
        if (json_object_get(run, "rows"))
            put_suite_run(page, name, run);
        else
            put_peers_run(page, run);
    }
    put_plain_rows(page, json_object_get(root, "totals"));
    put_plain_rows(page, json_object_get(root, "rows"));
    g_free(name);
    g_free(base);
}

int report_write(const char *dir, char *const *files, size_t n, struct error *err)
{
    char *gnuplot = g_find_program_in_path("gnuplot"), *path = g_build_filename(dir, "README.md", NULL);
    struct page page = {.dir = dir, .text = g_string_new("# Measured\n"), .gnuplot = gnuplot != NULL};
    json_t **roots = g_new0(json_t *, MAX(n, 1u));
    GError *why = NULL;
    int rc = g_mkdir_with_parents(dir, 0777) == 0 ? 0 : error_errno(err, "cannot make %s", dir);
    for (size_t i = 0; i < n && rc == 0; i++)
        if ((roots[i] = load(files[i], err)) == NULL)
            rc = BASE_ERR_FORMAT;
    if (!gnuplot)
        g_string_append(page.text, "\nNo plots: gnuplot is not installed.\n");
    if (rc == 0)
        goals_put(page.text, roots, n);
    for (size_t i = 0; i < n && rc == 0; i++)
        put_file(&page, files[i], roots[i]);
    if (rc == 0 && !g_file_set_contents(path, page.text->str, -1, &why))
        rc = error_set(err, BASE_ERR_IO, 0, "%s", why->message);
    for (size_t i = 0; i < n; i++)
        json_decref(roots[i]);
    g_clear_error(&why);
    g_free(roots);
    g_string_free(page.text, TRUE);
    g_free(path);
    g_free(gnuplot);
    return rc;
}

bool report_main(int argc, char **argv, int *status_out)
{
    char *dir = NULL;
    GOptionEntry entries[] = {{"out", 0, 0, G_OPTION_ARG_FILENAME, &dir, "where page and plots go", "DIR"}, {0}};
    GError *gerror = NULL;
    struct error err = {0};
    if (argc < 2 || strcmp(argv[1], "report") != 0)
        return false;
    GOptionContext *context = g_option_context_new("report FILE.json... - a page of what suites found");
    g_option_context_add_main_entries(context, entries, NULL);
    const bool parsed = g_option_context_parse(context, &argc, &argv, &gerror) && argc > 2 && dir;
    g_option_context_free(context);
    *status_out = 0;
    if (!parsed) {
        fprintf(stderr, "mds-bench: %s (see --help)\n",
                gerror ? gerror->message : "--out DIR and files of suites, please");
        *status_out = 2;
    } else if (report_write(dir, argv + 2, (size_t)argc - 2, &err) != 0) {
        fprintf(stderr, "mds-bench: %s\n", err.text);
        *status_out = 3;
    }
    g_clear_error(&gerror);
    g_free(dir);
    return true;
}
