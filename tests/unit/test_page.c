/* The web page inside the program: every file that the page names is there, whole, and described
 * rightly. What the page does is for tests/page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/sha256.h"
#include "server/page.h"

#define MAX_PAGE_BYTES 150000

static void only_exact_paths_are_found(void **state)
{
    (void)state;
    assert_non_null(hd_page_find(HD_STR("/")));
    assert_non_null(hd_page_find(HD_STR("/page/app.js")));
    static const char *const strange[] = {"",
                                          "/page",
                                          "/page/",
                                          "/index.html",
                                          "/page/index.html",
                                          "/page/app.js/",
                                          "page/app.js",
                                          "/page/../page/app.js",
                                          "/page/app.j",
                                          "/PAGE/app.js",
                                          "//",
                                          "/page/app.js\n"};
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        assert_null(hd_page_find(hd_str_from(strange[i])));
    }
    assert_null(hd_page_find((hd_str){NULL, 0}));
    assert_null(hd_page_find(HD_STR("/page/app.js\0")));
}

static const char *type_of(hd_str path)
{
    if (hd_str_eqz(path, "/")) return "text/html; charset=utf-8";
    if (hd_str_ends(path, HD_STR(".css"))) return "text/css; charset=utf-8";
    if (hd_str_ends(path, HD_STR(".js"))) return "text/javascript; charset=utf-8";
    return "image/svg+xml";
}

static void files_are_described(void **state)
{
    (void)state;
    size_t total = 0;
    for (size_t i = 0; i < hd_page_n_files; i++) {
        const hd_page_file *f = &hd_page_files[i];
        assert_ptr_equal(hd_page_find(f->path), f); /* no path is there twice */
        assert_true(f->body.len > 0 && f->body.ptr[f->body.len - 1] == '\n');
        assert_string_equal(f->content_type, type_of(f->path));
        total += f->body.len;

        hd_sha256 sha;
        uint8_t digest[HD_SHA256_BYTES];
        char tag[24];
        hd_sha256_init(&sha);
        hd_sha256_add(&sha, f->body.ptr, f->body.len);
        hd_sha256_end(&sha, digest);
        int n = snprintf(tag, sizeof tag, "\"");
        for (int b = 0; b < 8; b++)
            n += snprintf(tag + n, sizeof tag - (size_t)n, "%02x", digest[b]);
        snprintf(tag + n, sizeof tag - (size_t)n, "\"");
        assert_string_equal(f->etag, tag);
    }
    assert_true(total < MAX_PAGE_BYTES);
}

/* Each string after `before`, up to the next quote of kind `quote`, is a file below /page/. */
static size_t check_names(hd_str text, const char *before, char quote)
{
    size_t n = 0;
    hd_str mark = hd_str_from(before);
    for (size_t at = hd_str_find(text, mark, 0); at < text.len;
         at = hd_str_find(text, mark, at + 1)) {
        hd_str rest = hd_str_skip(text, at + mark.len);
        size_t len = hd_str_find(rest, (hd_str){&quote, 1}, 0);
        char path[64];
        snprintf(path, sizeof path, "/page/%.*s", (int)len, rest.ptr);
        if (!hd_page_find(hd_str_from(path))) fail_msg("'%s' is named but not there", path);
        n++;
    }
    return n;
}

static void all_that_is_named_is_there(void **state)
{
    (void)state;
    hd_str html = hd_page_find(HD_STR("/"))->body;
    assert_true(hd_str_starts(html, HD_STR("<!doctype html>")));
    assert_true(check_names(html, "=\"page/", '"') >= 4); /* icon, style, two scripts */
    size_t imports = 0;
    for (size_t i = 0; i < hd_page_n_files; i++) {
        if (hd_str_ends(hd_page_files[i].path, HD_STR(".js"))) {
            imports += check_names(hd_page_files[i].body, "from './", '\'');
        }
    }
    assert_true(imports > 10);
}

/* Nothing in the files works around the policy, and the policy allows nothing but the server. */
static void the_policy_is_strict(void **state)
{
    (void)state;
    const char *policy = NULL;
    for (size_t i = 0; i < hd_page_n_headers; i++) {
        if (strcmp(hd_page_headers[i].name, "Content-Security-Policy") == 0) {
            policy = hd_page_headers[i].value;
        }
    }
    assert_non_null(policy);
    assert_ptr_equal(strstr(policy, "default-src 'none';"), policy);
    assert_null(strstr(policy, "unsafe"));
    assert_null(strstr(policy, "http"));
    assert_null(strchr(policy, '*'));
    assert_non_null(strstr(policy, "frame-ancestors 'none'"));

    static const char *const banned[] = {"innerHTML", "outerHTML", "insertAdjacentHTML",
                                         "eval(",     " style=\"", "document.write"};
    for (size_t i = 0; i < hd_page_n_files; i++) {
        hd_str body = hd_page_files[i].body;
        for (size_t b = 0; b < sizeof banned / sizeof *banned; b++) {
            size_t at = hd_str_find(body, hd_str_from(banned[b]), 0);
            if (at < body.len) fail_msg("%s uses %s", hd_page_files[i].path.ptr, banned[b]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_exact_paths_are_found),
        cmocka_unit_test(files_are_described),
        cmocka_unit_test(all_that_is_named_is_there),
        cmocka_unit_test(the_policy_is_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
