// How the control API writes and reads JSON: keys sorted, so that two answers can be compared as text, and instants as
// RFC 3339 in UTC with milliseconds.

internal import FoundationEssentials

extension JSONEncoder {
    static var control: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var container = encoder.singleValueContainer()
            try container.encode(date.formatted(rfc3339))
        }
        return encoder
    }
}

extension JSONDecoder {
    static var control: JSONDecoder {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .custom { decoder in
            try Date(decoder.singleValueContainer().decode(String.self), strategy: rfc3339)
        }
        return decoder
    }
}

private let rfc3339 = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
