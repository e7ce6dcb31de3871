// A list of several pages as one, without reading what its elements are.

import Testing

@testable import Control

@Suite struct ListJSONTests {
    @Test func `the items of a page are found, whatever is in their texts`() {
        let items = #"{"a":"]}\"]\\","b":[1,[2]],"c":{"d":[]}},{"e":"\\\\"}"#
        #expect(
            jsonItems(of: Array("{\"items\":[\(items)],\"next\":\"x]\",\"total\":2}".utf8)) == Array(items.utf8)[...])
        #expect(jsonItems(of: Array(#"{"items":[],"total":0}"#.utf8)) == [])
    }

    @Test(arguments: [
        "", "{}", "[]", #"{"total":0,"items":[]}"#, #"{"items":["#, #"{"items":[{"a":"]}"#, #"{"items":[}"#,
    ])
    func `what is no page has none`(page: String) {
        #expect(jsonItems(of: Array(page.utf8)) == nil)
    }

    @Test func `random bytes after the beginning do no harm`() {
        var generator = SystemRandomNumberGenerator()
        for length in 0..<2_000 {
            let tail = (0..<length % 40).map { _ in Array(#"[]{}"\,a"#.utf8).randomElement(using: &generator) ?? 0 }
            let page = Array(#"{"items":["#.utf8) + tail
            if let items = jsonItems(of: page) { #expect(page[items.endIndex] == UInt8(ascii: "]")) }
        }
    }
}
