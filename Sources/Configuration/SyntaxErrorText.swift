// Puts the messages of the TOML parser into words for the person who wrote the file. A key given twice is a mistake of
// syntax in TOML, so it comes through here when both stand in one file.

extension TOMLSyntaxError {
    /// What to report, given what stands in the lines before the mistake.
    func diagnostic(after members: [TOMLNode.Member]) -> (message: String, location: SourceLocation) {
        let prefix = "Error while parsing "
        let text = message.hasPrefix(prefix) ? "in \(message.dropFirst(prefix.count))" : message
        if let (name, first) = redefinition(in: members) {
            return ("\(name) is given twice; the first is at \(first)", location)
        }
        let hint = text.hasSuffix("could not determine value type") ? "; a string needs quotes" : ""
        return ("not valid TOML: \(text.unicodeScalars.map(escaped).joined())\(hint)", location)
    }

    /// The key or table that the parser refuses to define again, and where it was defined.
    private func redefinition(in members: [TOMLNode.Member]) -> (name: String, first: SourceLocation)? {
        let form = #/.* cannot redefine existing [a-z-]+ '([\w.-]+)'/#
        guard let match = message.wholeMatch(of: form) else { return nil }
        let path = match.1.split(separator: ".").map(String.init)
        guard message.contains("parsing table header") else {
            // The table that is being filled is the one with the latest key.
            guard let key = path.last, let place = latest(key, in: members) else { return nil }
            return ("'\(key)'", place)
        }
        var inner = members
        var place: SourceLocation?
        for part in path {
            guard let member = inner.first(where: { $0.key == part }) else { return nil }
            place = member.location
            inner = member.value.latestMembers
        }
        return place.map { ("[\(match.1)]", $0) }
    }

    private func latest(_ key: String, in members: [TOMLNode.Member]) -> SourceLocation? {
        var places: [SourceLocation] = []
        for member in members {
            if member.key == key { places.append(member.location) }
            if let inner = latest(key, in: member.value.latestMembers) { places.append(inner) }
        }
        return places.max { ($0.line, $0.column) < ($1.line, $1.column) }
    }
}

extension TOMLNode {
    /// The members of a table, or of the last table of an array; none of anything else.
    fileprivate var latestMembers: [Member] {
        switch content {
        case .table(let members): members
        case .array(let elements): elements.last?.latestMembers ?? []
        default: []
        }
    }
}
