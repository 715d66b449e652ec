// Where the parts of the flow are drawn (decides only). A stream's width is its rate; nothing is reordered
// while it flows, so that a picture that changes stays readable.

const GAP = 14;
const BAR = 8;
const THICKEST = 64;
const FAMILIES_MAX = 24;

export function laidOut({ sources, families, sinks, streams }, width, isNarrow) {
  const [shownFamilies, named] = folded(families, streams);
  const flowing = joined(
    streams.map((stream) => ({
      ...stream,
      from: stream.way === "out" ? named(stream.from) : stream.from,
      to: stream.way === "in" ? named(stream.to) : stream.to,
    })),
  );
  const largest = Math.max(1e-9, ...[...sources, ...shownFamilies, ...sinks].map((node) => node.rate));
  const thickness = (rate) => (rate / largest) * THICKEST;
  const columns = [
    placed("source", sources, isNarrow ? 44 : 40, thickness, true),
    placed("family", shownFamilies, isNarrow ? 38 : 20, thickness, isNarrow),
    placed("sink", sinks, isNarrow ? 44 : 40, thickness, true),
  ];
  const height = Math.max(...columns.map((column) => column.height), 120);
  const lefts = [0, Math.round(width * (isNarrow ? 0.36 : 0.4)), width - BAR];
  const nodes = columns.flatMap((column, index) =>
    column.nodes.map((node) => ({
      ...node,
      x: lefts[index],
      y: node.y + (height - column.height) / 2,
      width: BAR,
      textX: index === 2 ? width - BAR - 8 : lefts[index] + BAR + 8,
      anchor: index === 2 ? "end" : "start",
    })),
  );
  for (const node of nodes) {
    const lines = (node.twoLines ? 2 : 1) + (node.word ? 1 : 0);
    node.textY = node.y + node.height / 2 - (lines * 15) / 2 + 11;
  }
  return { nodes, streams: drawn(flowing, nodes, thickness), height: Math.ceil(height) };
}

function placed(column, list, least, thickness, twoLines) {
  let y = 0;
  const nodes = list.map((node) => {
    const height = Math.max(least + (node.word ? 15 : 0), thickness(node.rate));
    const place = { ...node, column, y, height, twoLines, link: linked(column, node.name) };
    y += height + (column === "family" ? GAP / 2 : GAP);
    return place;
  });
  return { nodes, height: Math.max(0, y - GAP / 2) };
}

function linked(column, name) {
  if (column === "source") return `#/events?${new URLSearchParams({ source: name })}`;
  return column === "sink" ? `#/events?${new URLSearchParams({ sink: name })}` : undefined;
}

/** Folds the families in which the least flows, if there are many; and the name under which one is drawn. */
function folded(families, streams) {
  const counted = families.filter(({ name }) =>
    streams.some(({ from, to, way }) => (way === "in" ? to : from) === name),
  );
  if (counted.length <= FAMILIES_MAX) return [counted, (name) => name];
  const most = [...counted].sort((a, b) => b.total - a.total).slice(0, FAMILIES_MAX - 1);
  const kept = new Set(most.map(({ name }) => name));
  const rest = counted.filter(({ name }) => !kept.has(name));
  const sum = (of) => rest.reduce((all, node) => all + node[of], 0);
  const others = {
    name: `${rest.length} more families`,
    rate: sum("rate"),
    total: sum("total"),
    state: "good",
    word: "",
  };
  return [
    [...counted.filter(({ name }) => kept.has(name)), others],
    (name) => (kept.has(name) ? name : others.name),
  ];
}

function joined(streams) {
  const by = new Map();
  for (const stream of streams) {
    const key = JSON.stringify([stream.way, stream.from, stream.to]);
    const known = by.get(key);
    if (known) Object.assign(known, { rate: known.rate + stream.rate, total: known.total + stream.total });
    else by.set(key, { ...stream });
  }
  return [...by.values()];
}

function drawn(streams, nodes, thickness) {
  const find = (column, name) => nodes.find((node) => node.column === column && node.name === name);
  const used = new Map();
  const slot = (node, side, size) => {
    const key = `${node.column}${side}${node.name}`;
    const whole =
      used.get(`whole ${key}`) ??
      streams
        .filter(({ way, from, to }) =>
          side === "out"
            ? from === node.name && (way === "in") === (node.column === "source")
            : to === node.name && (way === "in") === (node.column === "family"),
        )
        .reduce((sum, { rate }) => sum + Math.max(1, thickness(rate)), 0);
    used.set(`whole ${key}`, whole);
    const before = used.get(key) ?? 0;
    used.set(key, before + size);
    return node.y + Math.max(0, (node.height - whole) / 2) + before + size / 2;
  };
  const order = [...streams].sort((a, b) => a.from.localeCompare(b.from) || a.to.localeCompare(b.to));
  return order.flatMap((stream) => {
    const isIn = stream.way === "in";
    const [from, to] = [
      find(isIn ? "source" : "family", stream.from),
      find(isIn ? "family" : "sink", stream.to),
    ];
    if (!from || !to) return [];
    const size = Math.max(1, thickness(stream.rate));
    const [y1, y2] = [slot(from, "out", size), slot(to, "in", size)];
    const [x1, x2] = [from.x + from.width, to.x];
    const bend = (x2 - x1) / 2;
    const [from1, to1] = [y1.toFixed(1), y2.toFixed(1)];
    const path = `M${x1} ${from1}C${x1 + bend} ${from1} ${x2 - bend} ${to1} ${x2} ${to1}`;
    return [{ ...stream, path, thickness: size.toFixed(1) }];
  });
}
