// Sources, families and sinks, and how much goes from one to the other.

import { badge, fill, h, nothing, say, svg, table } from "./dom.js";
import { count, period, rate } from "./format.js";
import { laidOut } from "./flow_layout.js";
import { plots } from "./history.js";
import { Rates, metrics } from "./metrics.js";

const EVERY_SECONDS = 2;
const LATE_SECONDS = 60;

export const title = "Flow";

export function mount(root, context) {
  const rates = new Rates();
  const drawing = h("div.panel", {}, h("p.quiet", {}, "Counting …"));
  const rows = h("div.panel", {});
  const details = h("details", {}, h("summary", {}, "The same as a table"), rows);
  root.append(drawing, details);
  plots(root, context, ["verdicts", "ack", "end_to_end"]);
  let newest = null;
  const draw = () => newest && show(newest, drawing, rows, context);
  const resized = new ResizeObserver(draw);
  resized.observe(drawing);
  context.every(EVERY_SECONDS, async () => {
    try {
      const read = await metrics({ signal: context.signal });
      rates.take(counters(read));
      newest = flow(read, rates, context.status.newest);
      draw();
    } catch (error) {
      if (!context.signal.aborted && !newest) fill(drawing, nothing("The flow is not shown.", error.message));
    }
  });
  return () => resized.disconnect();
}

const key = (...parts) => parts.join("\u0000");

/** What is counted, by the two ends of a stream. */
function counters(read) {
  const counted = new Map();
  const add = (name, value) => counted.set(name, (counted.get(name) ?? 0) + value);
  for (const { labels, value } of read.events_total ?? []) {
    add(key("in", labels.source, labels.family, labels.verdict), value);
  }
  for (const { labels, value } of read.delivered_total ?? [])
    add(key("out", labels.family, labels.sink), value);
  for (const { labels, value } of read.refused_total ?? []) add(key("refused", labels.source), value);
  return counted;
}

/** Nodes and streams of now: of what was ever counted, and of every source and sink (decides only). */
export function flow(read, rates, status) {
  const counted = counters(read);
  const [sources, families, sinks, streams] = [new Map(), new Map(), new Map(), []];
  const node = (nodes, name) =>
    nodes.get(name) ?? nodes.set(name, { name, rate: 0, total: 0, state: "good", word: "" }).get(name);
  for (const { name, degraded_because: because } of status?.sources ?? []) {
    if (because) Object.assign(node(sources, name), { state: "bad", word: "cannot receive" });
    else node(sources, name);
  }
  for (const sink of status?.sinks ?? []) Object.assign(node(sinks, sink.name), stateOf(sink));
  for (const [name, total] of counted) {
    const [way, from, to, verdict] = name.split("\u0000");
    const speed = rates.of(name) ?? 0;
    if (way === "refused" && speed > 0) {
      const source = node(sources, from || "no source");
      if (source.state === "good") Object.assign(source, { state: "warn", word: "refusing" });
    }
    if (way === "in") {
      const [source, family] = [node(sources, from), node(families, to)];
      family.seen = true;
      if (verdict === "quarantined" && speed > 0)
        Object.assign(family, { state: "bad", word: "quarantined" });
      if (verdict !== "accepted") continue;
      for (const part of [source, family])
        Object.assign(part, { rate: part.rate + speed, total: part.total + total });
      streams.push({ from, to, way, rate: speed, total, state: "good" });
    } else if (way === "out") {
      const sink = node(sinks, to);
      node(families, from);
      Object.assign(sink, { rate: sink.rate + speed, total: sink.total + total });
      streams.push({ from, to, way, rate: speed, total, state: sink.state });
    }
  }
  const byName = (nodes) => [...nodes.values()].sort((a, b) => a.name.localeCompare(b.name));
  return { sources: byName(sources), families: byName(families), sinks: byName(sinks), streams };
}

function stateOf(sink) {
  if (sink.degraded_because) return { state: "bad", word: "in trouble" };
  if (sink.paused) return { state: "warn", word: "paused" };
  if (sink.oldest_pending_seconds >= LATE_SECONDS) {
    return { state: "warn", word: `${period(sink.oldest_pending_seconds)} behind` };
  }
  return { state: "good", word: "" };
}

function show(flowing, drawing, rows, context) {
  if (flowing.streams.length === 0) {
    const names = (nodes) => nodes.map(({ name }) => name).join(", ");
    const ways = flowing.sources.length > 0 ? `${names(flowing.sources)} → ${names(flowing.sinks)}` : "";
    fill(
      drawing,
      nothing(
        "Nothing has flowed yet.",
        ways,
        h("br", {}),
        "Send an event: ",
        h("code", {}, "fanbridge send SOURCE TYPE"),
      ),
    );
  } else {
    draw(flowing, drawing, context);
  }
  list(flowing, rows);
}

function draw(flowing, drawing, context) {
  const width = Math.max(280, drawing.clientWidth - 34);
  const layout = laidOut(flowing, width, context.isNarrow());
  const focused = document.activeElement?.dataset?.node;
  const streams = layout.streams.map(({ path, thickness, state, rate: speed, from, to }) =>
    svg(
      `path.stream.${speed > 0 ? state : "still"}`,
      { d: path, "stroke-width": thickness },
      svg("title", {}, `${from} → ${to}: ${rate(speed)}`),
    ),
  );
  const nodes = layout.nodes.map((node) => drawNode(node));
  const total = flowing.sources.reduce((sum, node) => sum + node.rate, 0);
  const out = flowing.sinks.reduce((sum, node) => sum + node.rate, 0);
  fill(
    drawing,
    h(
      "div.panel-head",
      {},
      h("p", {}, h("strong", {}, rate(total)), " accepted, ", h("strong", {}, rate(out)), " delivered"),
      h(
        "p.legend",
        {},
        badge("good", "well"),
        badge("warn", "late, paused or refusing"),
        badge("bad", "in trouble"),
        h("span", {}, "pale: nothing in the last 10 s"),
      ),
    ),
    svg(
      "svg.flow-drawing",
      {
        viewBox: `0 0 ${width} ${layout.height}`,
        width,
        height: layout.height,
        role: "group",
        "aria-label": "Flow from sources over families to sinks",
      },
      streams,
      nodes,
    ),
  );
  if (focused) drawing.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus();
}

function drawNode(node) {
  const text = (label, line, className) =>
    svg(
      `text${className}`,
      {
        x: node.textX,
        y: node.textY + line * 15,
        "text-anchor": node.anchor,
      },
      label,
    );
  const glyph = { good: "", warn: "▲ ", bad: "✕ " }[node.state];
  const second = node.twoLines ? text(rate(node.rate), 1, ".flow-quiet") : "";
  const word = node.word ? text(`${glyph}${node.word}`, node.twoLines ? 2 : 1, `.word-${node.state}`) : "";
  const label = node.twoLines ? node.name : `${node.name}  ${rate(node.rate)}`;
  const parts = [
    svg(`rect.bar-of.${node.state}`, { x: node.x, y: node.y, width: node.width, height: node.height, rx: 2 }),
    text(label, 0, ""),
    second,
    word,
  ];
  const more = node.word ? `, ${node.word}` : "";
  const said = `${node.name} ${rate(node.rate)}, ${count(node.total)} in all${more}`;
  if (!node.link) return svg("g", { role: "img", "aria-label": said }, parts);
  // The texts are its name; spaces keep them apart.
  const spaced = parts.flatMap((part) => [part, " "]);
  const title = svg("title", {}, said);
  return svg("a", { href: node.link, "data-node": `${node.column}-${node.name}` }, title, spaced);
}

function list(flowing, rows) {
  const ways = flowing.streams
    .filter(({ total }) => total > 0)
    .sort((a, b) => b.rate - a.rate || b.total - a.total);
  if (ways.length === 0) {
    say(rows, "Nothing has flowed yet.");
    return;
  }
  fill(
    rows,
    table(
      "Streams",
      [
        { title: "From", cell: ({ from }) => from },
        { title: "To", cell: ({ to }) => to },
        { title: "What", cell: ({ way }) => (way === "in" ? "accepted" : "delivered") },
        { title: "Now", number: true, cell: (stream) => rate(stream.rate) },
        { title: "Since the start", number: true, cell: ({ total }) => count(total) },
      ],
      ways,
    ),
  );
}
