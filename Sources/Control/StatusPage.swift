// The status page that a browser shows: one document that needs nothing but the read-only API beside it. It must never
// turn data into markup: names come from peers' certificates. Three things see to that: the script only sets text, the
// policy runs no script but the one whose hash it names, and it requires trusted types wherever text could become
// markup, of which there are none.

/// The page at `/`.
public enum StatusPage {
    /// The whole document.
    public static let html = """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <meta name="robots" content="noindex">
        <title>culvert</title>
        <link rel="icon" href="data:image/svg+xml,\(icon)">
        <style>
        \(style)</style>
        </head>
        \(body)
        <script>
        \(script)</script>
        </html>

        """

    /// What the page may do, for the `Content-Security-Policy` field of its answer.
    public static let contentSecurityPolicy = """
        default-src 'none'; script-src '\(scriptHash)'; style-src '\(styleHash)'; connect-src 'self'; img-src data:; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
        trusted-types 'none'
        """

    // The files of Resources are compiled into the program: nothing has to be found when it runs.

    /// The content of the page's only `script` element, but for a line break before it.
    static let script = String(decoding: PackageResources.StatusPage_js, as: UTF8.self)
    /// The content of the page's only `style` element, but for a line break before it.
    static let style = String(decoding: PackageResources.StatusPage_css, as: UTF8.self)

    // A test computes these and says what they have to be when the script or the style has changed.
    static let scriptHash = "sha256-F1wzN7s+E8/nfU9PjBSgpcVxF9ewB7pgR0pfhdl9Es0="
    static let styleHash = "sha256-nMI3ONW3ZxU/f3TgQBhsDj9AYod011rGT0aF4OJQmIA="

    /// A culvert: water under an arch.
    private static let icon = """
        %3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E\
        %3Crect width='32' height='32' rx='7' fill='%230f766e'/%3E\
        %3Cpath d='M5 24v-5a11 11 0 0 1 22 0v5h-5v-5a6 6 0 0 0-12 0v5z' fill='%23fff'/%3E%3C/svg%3E
        """

    private static let body = """
        <body>
        <a class="skip" href="#main">Skip to the content</a>
        <header>
        <h1><svg viewBox="0 0 32 32" width="30" height="30" aria-hidden="true"><rect class="arch-ground" width="32" \
        height="32" rx="7"/><path class="arch" d="M5 24v-5a11 11 0 0 1 22 0v5h-5v-5a6 6 0 0 0-12 0v5z"/></svg>\
        culvert</h1>
        <p id="host"></p>
        <p id="pulse"><i aria-hidden="true"></i><span>connecting</span></p>
        </header>
        <main id="main" aria-busy="true" data-most-names="\(DaemonStatus.Summary.longestIdentityList)">
        <div id="offline" role="alert" hidden><strong></strong> <span></span></div>
        <noscript><p class="plain">This page draws itself with a script. Without one, see
        <a href="v1/status">/v1/status</a> and <a href="v1/tunnels">/v1/tunnels</a>.</p></noscript>
        <section id="verdict" role="status" aria-label="Summary"><h2>Asking the daemon</h2><ul></ul></section>
        <section aria-label="Totals"><dl id="totals"></dl></section>
        <section aria-labelledby="tunnels-title"><h2 id="tunnels-title">Tunnels</h2><div id="tunnels"></div></section>
        <section aria-labelledby="associations-title">
        <div class="bar"><h2 id="associations-title">Associations</h2>
        <label>of <select id="filter"><option value="">all tunnels</option></select></label></div>
        <div class="sheet"><table role="table">
        <thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">Peer</th>
        <th role="columnheader" scope="col">Tunnel</th><th role="columnheader" scope="col">State</th>
        <th role="columnheader" scope="col" class="number">Sent</th>
        <th role="columnheader" scope="col" class="number">Received</th>
        <th role="columnheader" scope="col" class="number">Round trip</th>
        <th role="columnheader" scope="col" class="number">Path MTU</th>
        <th role="columnheader" scope="col" class="number">Dropped</th></tr></thead>
        <tbody role="rowgroup" id="associations"></tbody></table>
        <p id="none" class="plain" hidden></p></div>
        <nav aria-label="Pages of associations" id="pages" hidden><button type="button" id="first">First page</button>
        <button type="button" id="next">Next page</button> <span id="range"></span></nav>
        </section>
        </main>
        <footer><p id="about"></p></footer>
        </body>
        """
}
