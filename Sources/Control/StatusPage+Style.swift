// How the status page looks: one column on a phone, calm colours for light and dark, colour never the only sign.

extension StatusPage {
    /// The content of the page's only `style` element.
    static let style = #"""

        :root {
          --ground: #f4f6f4; --card: #ffffff; --line: #dfe5e1; --text: #16211f; --soft: #56645f;
          --out: #0f766e; --out-fill: #0f766e24; --in: #4263c9; --good: #0f766e; --good-fill: #e3f3ef;
          --warn: #8f4e05; --warn-fill: #fdf1dd; --bad: #b02a1e; --bad-fill: #fdeae7; --shade: 0 1px 2px #16211f14;
        }
        @media (prefers-color-scheme: dark) {
          :root {
            --ground: #0f1514; --card: #171f1d; --line: #2a3532; --text: #e4ebe8; --soft: #9aa9a4;
            --out: #4ccbb8; --out-fill: #4ccbb826; --in: #93a9ff; --good: #5fd3c0; --good-fill: #15302b;
            --warn: #f0b866; --warn-fill: #33260f; --bad: #ff9a8d; --bad-fill: #3a1a16; --shade: none;
          }
        }
        * { box-sizing: border-box; }
        [hidden] { display: none !important; }
        html { background: var(--ground); color: var(--text); -webkit-text-size-adjust: 100%; }
        body {
          margin: 0 auto; padding: 0 20px 32px; max-width: 1180px;
          font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
          font-variant-numeric: tabular-nums;
        }
        h1, h2, h3, p, ul, dl, dd { margin: 0; padding: 0; }
        h2 { font-size: 17px; font-weight: 650; letter-spacing: -0.005em; }
        a { color: inherit; text-underline-offset: 3px; text-decoration-color: var(--soft); }
        :focus-visible { outline: 2px solid var(--in); outline-offset: 2px; border-radius: 4px; }
        .skip { position: absolute; left: -9999px; }
        .skip:focus { left: 20px; top: 8px; background: var(--card); padding: 4px 10px; z-index: 1; }
        .plain, .soft { color: var(--soft); }
        .card > .soft { font-size: 14px; }
        .number { text-align: right; }
        bdi { overflow-wrap: anywhere; }

        header { display: flex; align-items: center; gap: 6px 14px; padding: 22px 0 18px; flex-wrap: wrap; }
        h1 { display: flex; align-items: center; gap: 10px; font-size: 21px; font-weight: 700;
          letter-spacing: -0.02em; }
        .arch-ground { fill: var(--out); }
        .arch { fill: var(--ground); }
        #host { color: var(--soft); overflow-wrap: anywhere; }
        #pulse { margin-left: auto; display: flex; align-items: center; gap: 8px; color: var(--soft); font-size: 14px; }
        #pulse i { width: 9px; height: 9px; border-radius: 50%; background: var(--soft); }
        #pulse.live i { background: var(--good); animation: breathe 2.4s ease-in-out infinite; }
        #pulse.lost { color: var(--bad); font-weight: 600; }
        #pulse.lost i { background: var(--bad); border-radius: 2px; }
        @keyframes breathe { 50% { opacity: 0.35; } }
        @media (prefers-reduced-motion: reduce) { #pulse.live i { animation: none; } }

        main { display: grid; gap: 26px; }
        main > section { min-width: 0; }
        main.stale > section { opacity: 0.55; }
        #offline { padding: 12px 16px; border-radius: 10px; background: var(--bad-fill); color: var(--bad);
          border: 1px solid var(--bad); }
        #verdict { padding: 16px 18px; border-radius: 12px; background: var(--card); border: 1px solid var(--line);
          border-left: 5px solid var(--soft); box-shadow: var(--shade); }
        #verdict.good { border-left-color: var(--good); }
        #verdict.warn { border-left-color: var(--warn); }
        #verdict.bad { border-left-color: var(--bad); }
        #verdict h2 { font-size: 19px; letter-spacing: -0.01em; }
        #verdict ul { list-style: none; }
        #verdict li { margin-top: 6px; padding-left: 18px; position: relative; overflow-wrap: anywhere; }
        #verdict li::before { content: ""; position: absolute; left: 2px; top: 8px; width: 7px; height: 7px;
          border-radius: 50%; background: var(--warn); }
        #verdict li.bad::before { background: var(--bad); border-radius: 1px; }

        #totals { display: grid; grid-template-columns: repeat(5, 1fr); gap: 12px; }
        #totals > div, .card, .sheet { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
          box-shadow: var(--shade); }
        #totals > div { padding: 12px 14px 10px; min-width: 0; display: flex; flex-direction: column; }
        #totals dt { color: var(--soft); font-size: 13px; }
        #totals dd { font-size: 23px; font-weight: 650; letter-spacing: -0.02em; line-height: 1.3; }
        #totals dd.note { font-size: 13px; font-weight: 400; letter-spacing: 0; color: var(--soft); }

        #tunnels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 350px), 1fr)); gap: 14px;
          margin-top: 12px; }
        .card { padding: 16px 18px; min-width: 0; display: grid; gap: 12px; align-content: start; }
        .card:target { border-color: var(--in); }
        .head { display: flex; gap: 10px; align-items: baseline; justify-content: space-between; }
        h3 { font-size: 17px; font-weight: 650; min-width: 0; }
        .state { flex: none; display: inline-flex; align-items: center; gap: 6px; padding: 1px 10px 1px 8px;
          border-radius: 99px; font-size: 13px; font-weight: 600; color: var(--soft); border: 1px solid var(--line); }
        .state::before { content: ""; width: 8px; height: 8px; border-radius: 50%; border: 2px solid currentColor; }
        .state.up, .state.established { color: var(--good); background: var(--good-fill); border-color: transparent; }
        .state.up::before, .state.established::before { background: currentColor; }
        .state.down { color: var(--bad); background: var(--bad-fill); border-color: transparent; }
        .state.down::before { border-radius: 1px; background: currentColor; }
        .state.connecting, .state.handshaking, .state.resolving, .state.reconnecting {
          color: var(--warn); background: var(--warn-fill); border-color: transparent; }
        .route { font-size: 13.5px; color: var(--soft); display: grid; gap: 1px; }
        .route b { font-weight: 500; color: var(--text); overflow-wrap: anywhere; }
        .with { font-size: 14px; overflow-wrap: anywhere; }
        .notice { padding: 8px 12px; border-radius: 8px; background: var(--warn-fill); color: var(--warn);
          font-size: 14px; overflow-wrap: anywhere; }
        .notice.bad { background: var(--bad-fill); color: var(--bad); }

        .chart { display: block; width: 100%; height: 64px; overflow: visible; }
        .spark { display: block; width: 100%; height: 26px; margin-top: auto; }
        .out-area { fill: var(--out-fill); }
        .out-line, .in-line, .drop-line { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke;
          stroke-linejoin: round; stroke-linecap: round; }
        .out-line { stroke: var(--out); }
        .in-line { stroke: var(--in); }
        .drop-line { stroke: var(--warn); }
        .axis { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
        .scale { display: flex; justify-content: space-between; color: var(--soft); font-size: 12px; }
        .legend { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; font-size: 14px;
          margin-top: 8px; }
        .legend span { display: block; }
        .legend .key { font-size: 13px; color: var(--soft); }
        .legend .key::before { content: ""; display: inline-block; width: 14px; height: 3px; border-radius: 2px;
          margin-right: 7px; vertical-align: middle; background: var(--out); }
        .legend .incoming .key::before { background: var(--in); }
        .legend .value { font-weight: 600; }

        .facts { display: grid; grid-template-columns: auto 1fr; gap: 2px 14px; font-size: 14px; }
        .facts dt { color: var(--soft); }
        .facts dd { text-align: right; min-width: 0; overflow-wrap: anywhere; }
        .facts .warn, .warn-text { color: var(--warn); font-weight: 600; }
        .facts .bad, .bad-text { color: var(--bad); font-weight: 600; }
        .drops { font-size: 13.5px; display: grid; gap: 3px; }
        .drops h4 { margin: 0; font-size: 13px; font-weight: 500; color: var(--soft); }
        .drops ul { list-style: none; display: grid; gap: 3px; }
        .drops li { display: grid; grid-template-columns: minmax(0, 9.5em) 1fr auto; gap: 10px; align-items: center; }
        .drops svg { display: block; width: 100%; height: 6px; }
        .drops .track { fill: var(--line); }
        .drops .fill { fill: var(--warn); }

        .bar { display: flex; gap: 12px; align-items: baseline; flex-wrap: wrap; margin-bottom: 12px; }
        select, button { font: inherit; font-size: 14px; color: inherit; background: var(--card); padding: 3px 10px;
          border: 1px solid var(--line); border-radius: 8px; max-width: 100%; }
        button:enabled { cursor: pointer; }
        button:disabled { opacity: 0.5; }
        label { color: var(--soft); font-size: 14px; }
        label select { color: var(--text); }
        nav { margin-top: 12px; display: flex; gap: 10px; align-items: center; flex-wrap: wrap; color: var(--soft); }
        .sheet { overflow: hidden; }
        .sheet > p { padding: 14px 18px; }
        table { border-collapse: collapse; width: 100%; font-size: 14px; }
        th, td { text-align: left; padding: 9px 12px; vertical-align: top; }
        th:first-child, td:first-child { padding-left: 18px; }
        th:last-child, td:last-child { padding-right: 18px; }
        th { color: var(--soft); font-weight: 500; font-size: 13px; white-space: nowrap; }
        th.number, td.number { text-align: right; white-space: nowrap; }
        tbody tr { border-top: 1px solid var(--line); }
        td small { display: block; color: var(--soft); font-size: 13px; overflow-wrap: anywhere; white-space: normal; }
        td.number:not(:last-child) small { white-space: nowrap; }
        td.peer { width: 25%; }
        td:last-child small { min-width: 8em; max-width: 11em; margin-left: auto; }
        td.state-cell small { margin-top: 2px; }

        footer { margin-top: 28px; color: var(--soft); font-size: 13px; }

        @media (max-width: 900px) { #totals { grid-template-columns: repeat(6, 1fr); }
          #totals > div { grid-column: span 2; } #totals > div:nth-child(n + 4) { grid-column: span 3; } }
        @media (max-width: 760px) {
          table, tbody, tr, td { display: block; }
          thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
          tbody tr { padding: 12px 16px; }
          tbody tr:first-child { border-top: 0; }
          td, td:first-child, td:last-child { padding: 2px 0; }
          td.peer { width: auto; padding-bottom: 4px; }
          td:not(.peer), td.number { display: flex; justify-content: space-between; gap: 14px; text-align: right; }
          td:not(.peer)::before { content: attr(data-label); color: var(--soft); flex: none; }
        }
        @media (max-width: 520px) {
          body { padding: 0 12px 24px; }
          header { padding: 16px 2px 14px; }
          main { gap: 20px; }
          #totals { gap: 8px; grid-template-columns: 1fr 1fr; }
          #totals > div, #totals > div:nth-child(n + 4) { grid-column: auto; padding: 10px 12px; }
          #totals > div:last-child { grid-column: 1 / -1; }
          .card { padding: 14px; }
        }

        """#
}
