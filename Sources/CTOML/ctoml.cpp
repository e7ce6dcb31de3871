// The C view of toml++. It must never let an exception out, nor run toml++ on a text that makes it recurse deeply.

#include "ctoml.h"

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// A broken assumption inside the parser becomes an exception that ends here, instead of undefined behaviour.
#undef NDEBUG
#define TOML_ASSERT(expression) ((expression) ? static_cast<void>(0) : throw std::logic_error("parser: " #expression))
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 1
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ENABLE_UNRELEASED_FEATURES 0
#define TOML_MAX_NESTED_VALUES 16
#include <toml++/toml.h>

struct ctoml_document {
    toml::table root;
    std::vector<ctoml_node> nodes;
    std::string error;
    ctoml_position error_position{0, 0};
};

namespace {

constexpr int maximum_key_parts = 32;

/// Walks over a text and finds a dotted key of too many parts. toml++ bounds nested values only, and each part of a key
/// is a table in a table, whose destructor recurses. It tells strings and comments apart as TOML does; after a syntax
/// error its view may be wrong, which does not matter, because the parser stops there.
class KeyDepthScan {
public:
    explicit KeyDepthScan(std::string_view text) : text_(text) {}

    /// Whether all keys are short enough; if not, `position` tells where the first long one goes too far.
    bool passes(ctoml_position &position) {
        int dots = 0;
        while (offset_ < text_.size()) {
            const char byte = text_[offset_];
            switch (byte) {
            case '#': skip_comment(); continue;
            case '"':
            case '\'': skip_string(byte); continue;
            case '.':
                if (++dots >= maximum_key_parts) {
                    position = current_position();
                    return false;
                }
                break;
            case '\n': case '=': case ',': case '[': case ']': case '{': case '}': dots = 0; break;
            default: break;
            }
            ++offset_;
        }
        return true;
    }

private:
    void skip_comment() {
        while (offset_ < text_.size() && text_[offset_] != '\n') ++offset_;
    }

    void skip_string(char quote) {
        const std::string triple(3, quote);
        const bool multi_line = text_.compare(offset_, 3, triple) == 0;
        offset_ += multi_line ? 3 : 1;
        while (offset_ < text_.size()) {
            const char byte = text_[offset_];
            if (quote == '"' && byte == '\\') {
                offset_ += 2;
            } else if (multi_line && text_.compare(offset_, 3, triple) == 0) {
                // One or two more quotes may belong to the string; they would not open another one.
                while (offset_ < text_.size() && text_[offset_] == quote) ++offset_;
                return;
            } else if (!multi_line && (byte == quote || byte == '\n')) {
                offset_ += byte == quote ? 1 : 0;
                return;
            } else {
                ++offset_;
            }
        }
    }

    ctoml_position current_position() const {
        ctoml_position position{1, 1};
        for (size_t i = 0; i < offset_; ++i) {
            if (text_[i] == '\n') {
                ++position.line;
                position.column = 1;
            } else if ((static_cast<unsigned char>(text_[i]) & 0xc0) != 0x80) {
                ++position.column;
            }
        }
        return position;
    }

    std::string_view text_;
    size_t offset_ = 0;
};

ctoml_position position_of(const toml::source_position &position) {
    return {position.line, position.column};
}

ctoml_type type_of(const toml::node &node) {
    switch (node.type()) {
    case toml::node_type::table: return CTOML_TABLE;
    case toml::node_type::array: return CTOML_ARRAY;
    case toml::node_type::string: return CTOML_STRING;
    case toml::node_type::integer: return CTOML_INTEGER;
    case toml::node_type::floating_point: return CTOML_FLOAT;
    case toml::node_type::boolean: return CTOML_BOOLEAN;
    default: return CTOML_DATE_TIME;
    }
}

void flatten(std::vector<ctoml_node> &nodes, const toml::key *key, const toml::node &node) {
    ctoml_node flat{};
    flat.type = type_of(node);
    flat.value_position = position_of(node.source().begin);
    if (key != nullptr) {
        flat.key = key->data();
        flat.key_length = key->length();
        flat.key_position = position_of(key->source().begin);
    }
    if (const auto *text = node.as_string()) {
        flat.text = text->get().data();
        flat.text_length = text->get().length();
    } else if (const auto *integer = node.as_integer()) {
        flat.integer = integer->get();
    } else if (const auto *boolean = node.as_boolean()) {
        flat.integer = boolean->get() ? 1 : 0;
    }
    const auto *table = node.as_table();
    const auto *array = node.as_array();
    flat.child_count = static_cast<uint32_t>(table ? table->size() : array ? array->size() : 0);
    nodes.push_back(flat);
    if (table != nullptr) {
        for (const auto &[child_key, child] : *table) flatten(nodes, &child_key, child);
    } else if (array != nullptr) {
        for (const auto &child : *array) flatten(nodes, nullptr, child);
    }
}

void parse(ctoml_document &document, std::string_view text) {
    if (text.size() > CTOML_MAXIMUM_LENGTH) {
        document.error = "the text is longer than 1 MiB";
        return;
    }
    if (!KeyDepthScan(text).passes(document.error_position)) {
        document.error = "a dotted key has more than 32 parts";
        return;
    }
    try {
        document.root = toml::parse(text);
        flatten(document.nodes, nullptr, document.root);
    } catch (const toml::parse_error &error) {
        document.error = error.description();
        document.error_position = position_of(error.source().begin);
    }
}

}  // namespace

struct ctoml_document *ctoml_parse(const uint8_t *bytes, size_t length) {
    ctoml_document *document = nullptr;
    try {
        document = new ctoml_document;
        parse(*document, std::string_view(reinterpret_cast<const char *>(bytes), bytes == nullptr ? 0 : length));
        return document;
    } catch (const std::logic_error &error) {
        try {
            document->nodes.clear();
            document->error = error.what();
            return document;
        } catch (...) {
        }
    } catch (...) {
    }
    delete document;
    return nullptr;
}

void ctoml_free(struct ctoml_document *document) { delete document; }

const struct ctoml_node *ctoml_nodes(const struct ctoml_document *document) { return document->nodes.data(); }

size_t ctoml_node_count(const struct ctoml_document *document) { return document->nodes.size(); }

const char *ctoml_error(const struct ctoml_document *document) {
    return document->error.empty() ? nullptr : document->error.c_str();
}

struct ctoml_position ctoml_error_position(const struct ctoml_document *document) { return document->error_position; }
