// A C view of a parsed TOML text: the whole tree as one flat array, with the position of every key and value.
//
// The parser behind it is toml++ (C++17, header only). No exception and no C++ type crosses this header.
// Bounds: at most CTOML_MAXIMUM_LENGTH bytes, 16 nested arrays and inline tables, 32 parts in a dotted key; a text
// beyond them is reported like a syntax error. So neither parsing nor freeing can exhaust the stack.

#ifndef CTOML_H
#define CTOML_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { CTOML_MAXIMUM_LENGTH = 1024 * 1024 };

/// What a node is. A date, a time and a date with a time are one kind here.
enum ctoml_type {
    CTOML_TABLE,
    CTOML_ARRAY,
    CTOML_STRING,
    CTOML_INTEGER,
    CTOML_FLOAT,
    CTOML_BOOLEAN,
    CTOML_DATE_TIME,
};

/// Line and column, both from 1; a column is one code point.
struct ctoml_position {
    uint32_t line;
    uint32_t column;
};

/// One value. Its children follow it directly, each with its own children behind it (pre-order).
struct ctoml_node {
    enum ctoml_type type;
    /// How many children a table or an array has.
    uint32_t child_count;
    /// The key in UTF-8, not terminated; null for an array's element and for the root.
    const char *key;
    size_t key_length;
    struct ctoml_position key_position;
    struct ctoml_position value_position;
    /// The text of a string in UTF-8, not terminated.
    const char *text;
    size_t text_length;
    /// The value of an integer; 0 or 1 for a boolean.
    int64_t integer;
};

struct ctoml_document;

/// Parses `length` bytes of TOML 1.0. Returns null only when memory is short. The result does not refer to `bytes`;
/// the caller frees it with ctoml_free.
struct ctoml_document *ctoml_parse(const uint8_t *bytes, size_t length);

/// Frees the document and all that was read from it; null is fine.
void ctoml_free(struct ctoml_document *document);

/// The nodes, the root table first; valid until ctoml_free. There are none after a syntax error.
const struct ctoml_node *ctoml_nodes(const struct ctoml_document *document);
size_t ctoml_node_count(const struct ctoml_document *document);

/// The first syntax error, terminated; null when there was none. Valid until ctoml_free.
const char *ctoml_error(const struct ctoml_document *document);
struct ctoml_position ctoml_error_position(const struct ctoml_document *document);

#ifdef __cplusplus
}
#endif

#endif
