/* Heads of DSML tags: see dsml_tag.h. */
#include "text/dsml_tag.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_space(hd_str s, size_t at)
{
    while (at < s.len && is_space(s.ptr[at])) at++;
    return at;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c >= '0' && c <= '9');
}

/* Is `want` at `at`? 1 yes, 0 no, -1 the text ends before that can be told. */
static int look_for(hd_str s, size_t at, hd_str want)
{
    hd_str rest = hd_str_skip(s, at);
    if (hd_str_starts(rest, want)) return 1;
    return rest.len < want.len && hd_str_starts(want, rest) ? -1 : 0;
}

/* The closing quote of a parameter's name: one that white space follows, because names may hold
 * quotes themselves. s.len if there is none. */
static size_t end_of_key(hd_str s, size_t at)
{
    for (; at + 1 < s.len; at++)
        if (s.ptr[at] == '"' && is_space(s.ptr[at + 1])) return at;
    return s.len;
}

/* The attribute `string`, anywhere behind the name; false if it is not there yet. */
static bool find_string_attribute(hd_str s, size_t at, bool *is_string, size_t *end)
{
    for (; at + 1 < s.len; at++) {
        if (!is_space(s.ptr[at])) continue;
        *is_string = look_for(s, at + 1, HD_STR("string=\"true\"")) == 1;
        if (!*is_string && look_for(s, at + 1, HD_STR("string=\"false\"")) != 1) continue;
        *end = at + 1 + (*is_string ? sizeof "string=\"true\"" : sizeof "string=\"false\"") - 1;
        return true;
    }
    return false;
}

static hd_dsml_tag read_parameter(hd_str head, size_t at)
{
    hd_dsml_tag tag = {.kind = HD_TAG_MORE};
    size_t key_end = end_of_key(head, at), end;
    if (key_end == head.len) return tag;
    if (!find_string_attribute(head, key_end + 1, &tag.is_string, &end)) return tag;
    size_t close = hd_str_find(head, HD_STR(">"), end);
    if (close == head.len) return tag;
    tag.kind = HD_TAG_PARAMETER;
    tag.name = (hd_str){head.ptr + at, key_end - at};
    tag.len = close + 1;
    return tag;
}

static hd_dsml_tag read_invoke(hd_str head, size_t at)
{
    size_t end = hd_str_find(head, HD_STR("\""), at);
    if (end == head.len) return (hd_dsml_tag){.kind = HD_TAG_MORE};
    return (hd_dsml_tag){.kind = HD_TAG_INVOKE, .name = {head.ptr + at, end - at}, .len = end + 1};
}

/* The word of the tag; its end is head.len when more of it may come. */
static hd_str tag_word(hd_str head, size_t *end)
{
    size_t begin = skip_space(head, 0), at = begin;
    while (at < head.len && is_word(head.ptr[at])) at++;
    *end = at;
    return (hd_str){head.ptr + begin, at - begin};
}

hd_dsml_tag hd_dsml_read_tag(hd_str head)
{
    size_t end;
    hd_str word = tag_word(head, &end);
    if (end == head.len) return (hd_dsml_tag){.kind = HD_TAG_MORE};
    bool is_invoke = hd_str_eqz(word, "invoke"), is_parameter = hd_str_eqz(word, "parameter");
    if ((!is_invoke && !is_parameter) || !is_space(head.ptr[end]))
        return (hd_dsml_tag){.kind = HD_TAG_OTHER, .len = end};
    size_t at = skip_space(head, end);
    int has_name = look_for(head, at, HD_STR("name=\""));
    if (has_name < 0) return (hd_dsml_tag){.kind = HD_TAG_MORE};
    if (!has_name)
        return (hd_dsml_tag){.kind = is_invoke ? HD_TAG_OTHER : HD_TAG_BAD_PARAMETER, .len = at};
    at += sizeof "name=\"" - 1;
    return is_invoke ? read_invoke(head, at) : read_parameter(head, at);
}

bool hd_dsml_cut_parameter(hd_str head, hd_str *name, bool *is_quoted, bool *is_closed)
{
    size_t end;
    if (!hd_str_eqz(tag_word(head, &end), "parameter") || end == head.len) return false;
    size_t at = skip_space(head, end);
    if (at == end || look_for(head, at, HD_STR("name=")) != 1) return false;
    at += sizeof "name=" - 1;
    *name = (hd_str){0};
    *is_quoted = at < head.len && head.ptr[at] == '"';
    *is_closed = false;
    if (!*is_quoted) return true;
    size_t close = end_of_key(head, at + 1);
    if (close == head.len && head.len > at + 1 && head.ptr[head.len - 1] == '"')
        close = head.len - 1;
    *is_closed = close < head.len;
    *name = (hd_str){head.ptr + at + 1, close - at - 1};
    return true;
}
