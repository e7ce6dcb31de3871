// What the status page does: asks the API every two seconds and shows the answers. It changes what is there instead of
// drawing it anew, so that focus, selection and scrolling stay; and it only ever sets text and attributes.

"use strict";
const every = 2000, patience = 5000, span = 300000, pageSize = 100, soon = 21;
const view = { start: "", after: "", next: "", last: 0, failures: 0, timer: 0, running: false, again: false,
  all: { time: 0 }, tunnels: new Map(), peers: new Map() };
const byId = (id) => document.getElementById(id);
// The longest list of names that the API gives.
const mostNames = Number(byId("main").dataset.mostNames);

// Nodes

function element(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}
function drawn(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
// What others have chosen: as long as a line at most, and with a direction of writing of its own.
function name(text) {
  const node = document.createElement("bdi");
  say(node, text);
  return node;
}
function clip(text) { return text.length > 200 ? text.slice(0, 200) + "…" : text; }
function say(node, text) {
  const clipped = clip(String(text ?? ""));
  if (node.textContent !== clipped) node.textContent = clipped;
}
function mark(node, className) { if (node.className !== className) node.className = className; }
function attribute(node, key, value) { if (node.getAttribute(key) !== value) node.setAttribute(key, value); }
function show(node, shown) { if (node.hidden === shown) node.hidden = !shown; }
// Makes the children of `parent` those for `items`, keeping the nodes of keys that stay.
function sync(parent, items, key, create, update) {
  const old = parent.nodes ?? new Map(), now = new Map();
  let place = parent.firstElementChild;
  for (const item of items) {
    const id = key(item), node = old.get(id) ?? create(item);
    if (now.has(id)) continue;
    now.set(id, node);
    old.delete(id);
    if (node === place) place = place.nextElementSibling; else parent.insertBefore(node, place);
    update(node, item);
  }
  for (const node of old.values()) node.remove();
  parent.nodes = now;
}

// Words

function grouped(number) { return number.toLocaleString("en"); }
function plural(number, word) { return grouped(number) + " " + word + (number === 1 ? "" : "s"); }
function scaled(number, unit) {
  const steps = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  for (const [size, prefix] of steps) {
    if (number >= size) return (number / size).toFixed(number < 100 * size ? 1 : 0) + " " + prefix + unit;
  }
  return (number > 0 && number < 10 ? number.toFixed(1) : Math.round(number)) + " " + unit;
}
function perSecond(rate) { return rate === null ? "–" : scaled(rate, "").trim() + "/s"; }
function bits(rate) { return rate === null ? "" : scaled(8 * rate, "bit/s"); }
function duration(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [unit, size] = units[first], whole = Math.floor(seconds / size) + " " + unit;
  if (first > 1) return whole;
  const [below, part] = units[first + 1], rest = Math.floor(seconds % size / part);
  return rest ? whole + " " + rest + " " + below : whole;
}
function clock(time) { return new Date(time).toLocaleTimeString("en-GB"); }
function milliseconds(value) { return (value < 10 ? value.toFixed(1) : Math.round(value)) + " ms"; }
function words(identifier) { return identifier.replaceAll("_", " "); }
function total(counts) { return Object.values(counts ?? {}).reduce((sum, count) => sum + count, 0); }

// Rates

// Two looks at counters give a rate; one that went down belongs to something else of the same name.
function advance(track, now, values) {
  const seconds = (now - track.time) / 1000;
  const rates = track.values && seconds > 0 && seconds < 60
    ? values.map((value, index) => value < track.values[index] ? null : (value - track.values[index]) / seconds)
    : values.map(() => null);
  track.values = values;
  track.time = now;
  track.rates = rates.includes(null) ? values.map(() => null) : rates;
  return track;
}
function remember(track) {
  track.history = (track.history ?? []).filter((point) => point.time > track.time - span);
  track.history.push({ time: track.time, rates: track.rates });
}
function path(points, index, now, width, height, top, area) {
  let text = "", start = null, last = null;
  for (const point of points) {
    const rate = point.rates[index];
    if (rate === null) { start = null; continue; }
    const x = (width * (1 - (now - point.time) / span)).toFixed(1);
    const y = (height - 1 - (height - 2) * rate / top).toFixed(1);
    if (start === null) {
      if (area && last !== null) text += "V" + height + "Z";
      text += area ? "M" + x + " " + height + "V" + y : "M" + x + " " + y + "h0.1";
      start = x;
    } else text += "L" + x + " " + y;
    last = x;
  }
  return area && last !== null ? text + "V" + height + "Z" : text;
}
function peak(points, ...indices) {
  return Math.max(0, ...points.flatMap((point) => indices.map((index) => point.rates[index] ?? 0)));
}

// Parts of the page

function spark(className) {
  // So that a drop now and then does not look like a storm.
  const least = 5, line = drawn("path", { class: className });
  const node = drawn("svg", { class: "spark", viewBox: "0 0 120 26", preserveAspectRatio: "none",
    "aria-hidden": "true" }, line);
  return { node, draw(track, index) {
    const points = track.history ?? [];
    attribute(line, "d", path(points, index, track.time, 120, 26, Math.max(least, peak(points, index)), false));
  } };
}
function tile(title, className) {
  const value = element("dd"), note = element("dd", "note"), line = className ? spark(className) : null;
  const node = element("div", "", element("dt", "", title), value, note);
  if (line) node.append(line.node);
  byId("totals").append(node);
  return { value, note, line };
}
const totals = { associations: tile("Associations"), flows: tile("Flows"), out: tile("Sent", "out-line"),
  in: tile("Received", "in-line"), drops: tile("Dropped", "drop-line") };

function makeCard(tunnel) {
  const part = (kind, className) => element(kind, className);
  const card = part("article", "card"), title = part("h3", ""), state = part("span", "state");
  const area = drawn("path", { class: "out-area" }), out = drawn("path", { class: "out-line" });
  const incoming = drawn("path", { class: "in-line" });
  const chart = drawn("svg", { class: "chart", viewBox: "0 0 300 64", preserveAspectRatio: "none",
    role: "img" }, drawn("path", { class: "axis", d: "M0 63.5H300" }), area, out, incoming);
  const legend = (label, className) => {
    const value = part("span", "value"), bits = part("span", "soft");
    return { node: element("div", className, element("span", "key", label), value, bits), value, bits };
  };
  card.parts = { title: name(tunnel.name), state, chart, area, out, incoming,
    kind: part("span", "soft"), listen: name(""), forward: name(""),
    with: part("p", "with"), how: part("span", ""), whom: part("span", ""), others: part("span", ""),
    refused: part("p", "notice bad"), problem: part("p", "notice"),
    traffic: part("div", "traffic"), scale: part("span", ""), quiet: part("p", "soft"),
    sent: legend("sent to the peer", ""), received: legend("received from it", "incoming"),
    facts: part("dl", "facts"),
    drops: part("div", "drops"), dropsTitle: part("h4", ""), dropsList: part("ul", "") };
  const parts = card.parts;
  title.append(parts.title);
  parts.with.append(parts.how, parts.whom, parts.others);
  parts.traffic.append(chart, element("div", "scale", element("span", "", "5 minutes ago"), parts.scale),
    element("div", "legend", parts.sent.node, parts.received.node));
  parts.drops.append(parts.dropsTitle, parts.dropsList);
  const line = (word, node) => element("div", "", word + " ", element("b", "", node));
  card.append(element("div", "head", title, state),
    element("div", "route", parts.kind, line("from", parts.listen), line("to", parts.forward)),
    parts.with, parts.refused, parts.problem,
    parts.traffic, parts.quiet, parts.facts, parts.drops);
  return card;
}

function facts(tunnel) {
  const list = [], states = tunnel.associations ?? {}, limits = tunnel.limits;
  const known = Object.entries(states).filter(([state]) => state !== "established")
    .map(([state, count]) => count + " " + state).join(", ");
  list.push(["Associations", (states.established ?? 0) + " established" + (known ? ", " + known : ""), ""]);
  const full = limits && tunnel.flows >= 0.8 * limits.flows;
  list.push(["Flows", grouped(tunnel.flows) + (limits ? " of at most " + grouped(limits.flows) : ""),
    full ? "warn" : ""]);
  if (tunnel.handshakes || tunnel.failed_handshakes) {
    const { sum, count } = tunnel.handshake_seconds;
    const mean = count ? ", " + milliseconds(1000 * sum / count) + " each" : "";
    list.push(["Handshakes", grouped(tunnel.handshakes) + " done" + mean
      + (tunnel.failed_handshakes ? "; " + grouped(tunnel.failed_handshakes) + " failed" : ""), ""]);
  }
  if (tunnel.rtt_seconds.count) {
    list.push(["Round trip",
      milliseconds(1000 * tunnel.rtt_seconds.sum / tunnel.rtt_seconds.count) + " on average", ""]);
  }
  if (tunnel.heartbeats_lost) list.push(["Heartbeats lost", grouped(tunnel.heartbeats_lost), ""]);
  if (tunnel.evictions) list.push(["Evicted", grouped(tunnel.evictions) + " at a limit", "warn"]);
  if (tunnel.certificate) {
    const { text, level } = expiry(tunnel.certificate);
    list.push(["Certificate", tunnel.certificate.subject, ""],
      [level === "bad" ? "Expired" : "Expires", text, level]);
  }
  return list;
}
function expiry(certificate) {
  const seconds = (Date.parse(certificate.not_after) - Date.now()) / 1000;
  const date = new Date(certificate.not_after)
    .toLocaleDateString("en-GB", { year: "numeric", month: "short", day: "numeric" });
  if (seconds <= 0) return { text: "on " + date, level: "bad" };
  const days = Math.floor(seconds / 86400);
  return { text: "in " + (days ? plural(days, "day") : duration(seconds)) + ", " + date,
    level: days < soon ? "warn" : "" };
}

function updateCard(card, tunnel, index, summary, track) {
  const parts = card.parts;
  attribute(card, "id", "tunnel-" + index);
  say(parts.state, tunnel.state);
  mark(parts.state, "state " + tunnel.state);
  const mode = tunnel.mode ? ", " + tunnel.mode + " mode" : "";
  const asks = tunnel.service !== tunnel.name && tunnel.sharing !== "never";
  const service = asks ? ", service " + tunnel.service : "";
  say(parts.kind, tunnel.role + mode + service);
  say(parts.listen, tunnel.listen);
  say(parts.forward, tunnel.forward);
  updateEncryption(parts, tunnel, summary);
  show(parts.refused, Boolean(tunnel.service_refused));
  if (tunnel.service_refused) {
    say(parts.refused, "The service is refused since " + clock(tunnel.service_refused.since) + ": "
      + tunnel.service_refused.message);
  }
  show(parts.problem, Boolean(summary?.problem));
  say(parts.problem, summary?.problem);

  const points = track.history ?? [], top = peak(points, 0, 1);
  attribute(parts.area, "d", path(points, 0, track.time, 300, 64, top || 1, true));
  attribute(parts.out, "d", path(points, 0, track.time, 300, 64, top || 1, false));
  attribute(parts.incoming, "d", path(points, 1, track.time, 300, 64, top || 1, false));
  const [out, incoming, outBytes, inBytes] = track.rates;
  show(parts.traffic, top > 0);
  show(parts.quiet, !top);
  say(parts.quiet, points.length > 1 ? "No datagrams in the last five minutes." : "Measuring.");
  say(parts.scale, "peak " + perSecond(top));
  attribute(parts.chart, "aria-label", "Datagrams of the last five minutes: now " + perSecond(out) + " sent, "
    + perSecond(incoming) + " received, at most " + perSecond(top));
  say(parts.sent.value, perSecond(out));
  say(parts.sent.bits, bits(outBytes));
  say(parts.received.value, perSecond(incoming));
  say(parts.received.bits, bits(inBytes));

  const pairs = facts(tunnel).flatMap(([term, text, level]) =>
    [[term, "dt", term, ""], [term, "dd", text, level]]);
  sync(parts.facts, pairs, ([term, kind]) => kind + term, ([, kind]) => element(kind),
    (node, [, , text, level]) => { say(node, text); mark(node, level); });
  const dropped = Object.entries(tunnel.dropped ?? {}).sort((one, two) => two[1] - one[1]);
  const most = dropped.length ? dropped[0][1] : 1;
  show(parts.drops, dropped.length > 0);
  say(parts.dropsTitle, "Dropped since the start, by reason");
  sync(parts.dropsList, dropped, ([reason]) => reason, ([reason]) => {
    const fill = drawn("rect", { class: "fill", width: "0", height: "6", rx: "3" });
    const node = element("li", "", name(words(reason)), drawn("svg", { "aria-hidden": "true" },
      drawn("rect", { class: "track", width: "100%", height: "6", rx: "3" }), fill), element("span"));
    node.fill = fill;
    return node;
  }, (node, [, count]) => {
    attribute(node.fill, "width", Math.max(1.5, 100 * count / most).toFixed(1) + "%");
    say(node.lastChild, grouped(count));
  });
}
function updateEncryption(parts, tunnel, summary) {
  const secure = summary?.protocols.length > 0;
  const none = { up: "", connecting: "Nothing passes yet: no association is established.",
    idle: "Nobody has asked for an association.", down: "Nothing passes: there is no association." };
  say(parts.how, secure ? "Encrypted by " + summary.protocols.join(", ") + " with " + summary.ciphers.join(", ")
    + " to " : none[tunnel.state]);
  const names = secure ? [...summary.peer_identities] : [];
  // A peer may have several associations; a list that is not full names them all.
  const whole = names.length > 0 && names.length < mostNames;
  const others = secure && !whole ? summary.peers - names.length : 0;
  sync(parts.whom, names.map((text, index) => ({ text, comma: index > 0 })), (one) => one.comma + one.text,
    (one) => element("span", "", one.comma ? ", " : "", name(one.text)), () => {});
  const rest = names.length ? " and " + plural(others, "other") : plural(others, "peer");
  say(parts.others, others > 0 ? rest : "");
}

const labels = ["Peer", "Tunnel", "State", "Sent", "Received", "Round trip", "Path MTU", "Dropped"];
function makeRow() {
  const row = element("tr");
  row.setAttribute("role", "row");
  row.parts = labels.map((label, index) => {
    const main = index === 0 || index === 1 ? name("") : element("span"), small = element("small");
    const cell = element("td", index === 0 ? "peer" : index === 2 ? "state-cell" : index > 2 ? "number" : "",
      element("div", "", main, small));
    cell.setAttribute("role", "cell");
    cell.dataset.label = label;
    row.append(cell);
    return { main, small };
  });
  return row;
}
function updateRow(row, one) {
  const track = view.peers.get(one.id), [out, incoming, outBytes, inBytes] = track.rates;
  const identity = one.peer_identity || one.peer_address;
  const beat = one.heartbeat, mtu = one.path_mtu, dropped = total(one.dropped);
  const set = (index, main, small) => {
    say(row.parts[index].main, main);
    say(row.parts[index].small, small);
  };
  const age = one.established_at ? duration((Date.now() - Date.parse(one.established_at)) / 1000) : "";
  set(0, identity, identity === one.peer_address ? "" : one.peer_address);
  set(1, one.tunnels.join(", "), one.role + (one.mode === "shared" ? ", " + plural(one.flows, "flow") : ""));
  set(2, one.state, [one.cipher, age && "for " + age].filter(Boolean).join(", "));
  mark(row.parts[2].main, "state " + one.state);
  set(3, perSecond(out), bits(outBytes));
  set(4, perSecond(incoming), bits(inBytes));
  set(5, beat?.rtt_ms ? milliseconds(beat.rtt_ms.last) : "–",
    beat && !beat.negotiated ? "no heartbeat" : beat?.lost ? grouped(beat.lost) + " lost" : "");
  set(6, mtu ? grouped(mtu.out) : "–", mtu ? mtu.state === "complete" ? grouped(mtu.max_datagram) + " usable"
    : mtu.state : "");
  set(7, grouped(dropped), Object.keys(one.dropped).map(words).join(", "));
}

function verdict(status, tunnels) {
  const issues = [];
  tunnels.forEach((tunnel, index) => {
    const add = (level, text) => issues.push({ level, text, index, name: tunnel.name });
    const problem = status.tunnels.find((summary) => summary.name === tunnel.name)?.problem;
    if (tunnel.service_refused) add("bad", tunnel.service_refused.message);
    else if (problem) add(tunnel.state === "down" ? "bad" : "warn", problem);
    else if (tunnel.state === "down") add("bad", "Datagrams cannot pass.");
    else if (tunnel.state === "connecting") add("warn", "No association is established yet.");
    if (tunnel.certificate) {
      const { text, level } = expiry(tunnel.certificate);
      if (level) add(level, "The certificate " + (level === "bad" ? "expired " : "expires ") + text + ".");
    }
  });
  issues.sort((one, two) => (two.level === "bad") - (one.level === "bad"));
  const up = tunnels.filter((tunnel) => tunnel.state === "up").length;
  const bad = issues.some((one) => one.level === "bad");
  const idle = tunnels.filter((tunnel) => tunnel.state === "idle").length;
  const troubled = new Set(issues.map((one) => one.index)).size;
  let text = up === tunnels.length ? (up === 1 ? "The tunnel is up and encrypted"
    : "All " + up + " tunnels are up and encrypted")
    : up + " of " + plural(tunnels.length, "tunnel") + " up and encrypted";
  if (!tunnels.length) text = "There are no tunnels";
  if (idle && !troubled && up < tunnels.length) text += ", " + idle + " idle";
  if (troubled) text += ", " + troubled + (troubled === 1 ? " needs" : " need") + " attention";
  if (status.draining) text += "; the daemon is draining";
  const box = byId("verdict");
  mark(box, bad ? "bad" : issues.length || status.draining ? "warn" : "good");
  say(box.querySelector("h2"), text);
  sync(box.querySelector("ul"), issues, (one) => one.index + one.level + one.text, (one) => {
    const link = element("a", "", name(one.name));
    link.href = "#tunnel-" + one.index;
    return element("li", one.level, link, ": ", name(one.text));
  }, () => {});
}

// Asking

async function ask(address) {
  const answer = await fetch(address,
    { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(patience) });
  if (!answer.ok) throw Object.assign(new Error(), { status: answer.status });
  return answer.json();
}
function update(status, tunnels, associations) {
  const now = performance.now(), start = status.started_at + " " + status.pid;
  if (view.start !== start) {
    view.start = start;
    view.tunnels.clear();
    view.peers.clear();
    view.all = { time: 0 };
  }
  say(byId("host"), location.host);
  const sums = [0, 0, 0, 0, 0], known = new Map();
  for (const tunnel of tunnels.items) {
    const values = [tunnel.datagrams.out, tunnel.datagrams.in, tunnel.bytes.out, tunnel.bytes.in,
      total(tunnel.dropped)];
    const track = advance(view.tunnels.get(tunnel.name) ?? { time: 0 }, now, values);
    remember(track);
    known.set(tunnel.name, track);
    values.forEach((value, index) => { sums[index] += value; });
  }
  view.tunnels = known;
  const all = advance(view.all, now, sums);
  remember(all);
  verdict(status, tunnels.items);
  const established = tunnels.items.reduce((sum, one) => sum + (one.associations?.established ?? 0), 0);
  say(totals.associations.value, grouped(status.associations));
  say(totals.associations.note, grouped(established) + " established");
  say(totals.flows.value, grouped(status.flows));
  const busy = tunnels.items.filter((one) => one.flows > 0).length;
  say(totals.flows.note, status.draining ? "no new ones: draining" : "in " + plural(busy, "tunnel"));
  [[totals.out, 0, 2], [totals.in, 1, 3]].forEach(([one, count, bytes]) => {
    say(one.value, perSecond(all.rates[count]));
    say(one.note, bits(all.rates[bytes]) || "measuring");
    one.line.draw(all, count);
  });
  say(totals.drops.value, perSecond(all.rates[4]));
  say(totals.drops.note, grouped(sums[4]) + " in all");
  totals.drops.line.draw(all, 4);

  const summaries = new Map(status.tunnels.map((summary) => [summary.name, summary]));
  sync(byId("tunnels"), tunnels.items.map((tunnel, index) => ({ tunnel, index })), ({ tunnel }) => tunnel.name,
    ({ tunnel }) => makeCard(tunnel), (card, { tunnel, index }) => updateCard(card, tunnel, index,
      summaries.get(tunnel.name), known.get(tunnel.name)));
  const choices = tunnels.items.map((tunnel) => ({ name: tunnel.name, label: tunnel.name }));
  sync(byId("filter"), [{ name: "", label: "all tunnels" }, ...choices], (one) => "tunnel " + one.name,
    () => element("option"), (option, one) => { say(option, one.label); option.value = one.name; });

  const peers = new Map();
  for (const one of associations.items) {
    peers.set(one.id, advance(view.peers.get(one.id) ?? { time: 0 }, now,
      [one.datagrams.out, one.datagrams.in, one.bytes.out, one.bytes.in]));
  }
  view.peers = peers;
  sync(byId("associations"), associations.items, (one) => one.id, makeRow, updateRow);
  show(byId("none"), !associations.items.length);
  say(byId("none"), view.after ? "There are no more associations." : "There are no associations.");
  view.next = associations.next ?? "";
  show(byId("pages"), Boolean(view.next || view.after));
  byId("next").disabled = !view.next;
  byId("first").disabled = !view.after;
  say(byId("range"), grouped(associations.items.length) + " of " + grouped(associations.total));

  const memory = status.memory_bytes ? ", " + scaled(status.memory_bytes, "B") + " of memory" : "";
  say(byId("about"), "culvert " + status.version + ", " + status.openssl + ", up for "
    + duration(status.uptime_s) + ", " + plural(status.workers, "worker") + memory + ", process " + status.pid);
  byId("main").setAttribute("aria-busy", "false");
}
function answered(failure) {
  const pulse = byId("pulse"), offline = byId("offline");
  view.failures = failure ? view.failures + 1 : 0;
  if (!failure) view.last = Date.now();
  mark(pulse, failure ? "lost" : "live");
  say(pulse.lastChild, failure ? "no answer" : "live, every 2 s");
  mark(byId("main"), failure ? "stale" : "");
  show(offline, Boolean(failure));
  document.title = failure ? "no answer – culvert" : "culvert";
  if (!failure) return;
  say(offline.querySelector("strong"), failure.status ? "The daemon cannot answer."
    : "The daemon does not answer.");
  const reason = failure.status ? "Its HTTP status is " + failure.status
    : failure instanceof TypeError ? "It cannot be reached"
    : failure.name === "TimeoutError" ? "It said nothing for " + patience / 1000 + " s" : failure.message;
  const known = view.last ? "what is shown is from " + clock(view.last) : "nothing is known yet";
  say(offline.querySelector("span"), reason + "; " + known + ". This page keeps asking.");
}
async function look() {
  view.again = view.running;
  if (view.running) return;
  view.running = true;
  clearTimeout(view.timer);
  const tunnel = byId("filter").value;
  const query = "limit=" + pageSize + (tunnel ? "&tunnel=" + encodeURIComponent(tunnel) : "")
    + (view.after ? "&after=" + encodeURIComponent(view.after) : "");
  try {
    const asked = ["v1/status", "v1/tunnels?limit=1000", "v1/associations?" + query].map(ask);
    update(...await Promise.all(asked));
    answered(null);
  } catch (failure) {
    answered(failure);
  }
  view.running = false;
  if (view.again) return look();
  if (!document.hidden) view.timer = setTimeout(look, Math.min(every * (1 + view.failures), 10000));
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
byId("filter").addEventListener("change", () => { view.after = ""; look(); });
byId("first").addEventListener("click", () => { view.after = ""; look(); });
byId("next").addEventListener("click", () => { view.after = view.next; look(); });
look();
