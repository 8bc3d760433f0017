// The bars: what the network expects of each action. The maps: what it expects everywhere in Fruit.

// matplotlib's map of colours of this name, at 17 places: the larger, the brighter
const CIVIDIS = [
  [0, 34, 78], [0, 46, 106], [26, 56, 111], [50, 67, 109], [67, 78, 108], [83, 90, 109],
  [97, 101, 111], [111, 112, 115], [125, 124, 120], [140, 136, 120], [155, 148, 118],
  [171, 160, 114], [188, 174, 108], [205, 187, 99], [222, 201, 88], [240, 216, 70], [254, 232, 56],
];
const known = new Map(); // values of a row of states, by version of the weights and row
let greatest = 1; // where the bars end: more than any |Q| of this network; 1 for Fruit

function buildBars() {
  byId("bars").caption.textContent = isFruit ? "Q: the reward it expects. Q*: the exact value."
    : "Q: the rewards it expects, discounted.";
  byId("bars").classList.toggle("single", !isFruit);
  byId("bars").classList.toggle("many", ACTIONS.length > 4);
  for (const [place, name] of NAMES.entries()) {
    const row = byId("bars").tBodies[0].insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    const mark = document.createElement("span"), said = document.createElement("span");
    mark.className = "mark";
    said.className = "unseen";
    const arrow = GAME ? `${isFruit && place === 1 ? "\u2022" : ARROWS[GAME.keys[place]]} ` : "";
    head.append(mark, said, `${arrow}${name}`);
    const track = document.createElement("div");
    track.className = "track";
    row.append(head);
    row.insertCell().append(track);
    const numbers = row.insertCell();
    for (const kind of isFruit ? ["learned", "exact"] : ["learned"]) {
      const bar = document.createElement("i"), number = document.createElement("span");
      bar.className = `bar ${kind}`;
      track.append(bar);
      number.className = `number ${kind}`;
      numbers.append(number);
    }
  }
}

function showBars() {
  const { row, fruit, basket, over } = page.game, chosen = argmax(page.q);
  const largest = Math.max(...page.q.map(Math.abs).filter(Number.isFinite));
  if (!isFruit) while (greatest < largest) greatest *= 2;
  byId("bars-ends").textContent = `bars: \u2212${greatest} to ${greatest}`;
  for (const [place, line] of Array.from(byId("bars").tBodies[0].rows).entries()) {
    const isChosen = !over && place === chosen;
    line.classList.toggle("chosen", isChosen);
    line.querySelector(".mark").textContent = isChosen ? "\u25b6" : "";
    line.querySelector(".unseen").textContent = isChosen ? "chosen: " : "";
    const pairs = [["learned", "Q", page.q[place]]];
    if (isFruit) pairs.push(["exact", "Q*", over ? 0 : page.exact[row][fruit][basket - 1][place]]);
    for (const [kind, symbol, value] of pairs) {
      const shown = over ? 0 : clamp(value / greatest, -1, 1) || 0;
      const bar = line.querySelector(`.bar.${kind}`);
      bar.style.display = over ? "none" : "";
      bar.style.left = `${50 + 50 * Math.min(shown, 0)}%`;
      bar.style.width = `${50 * Math.abs(shown)}%`;
      const words = over ? "\u2013" : signed(value);
      line.querySelector(`.number.${kind}`).textContent = `${symbol} ${words}`;
    }
  }
}

// The colour of a number from 0 to 1, by a map of colours; that of NaN is the first.
function colour(map, share) {
  const at = clamp(share, 0, 1) * (map.length - 1) || 0;
  const low = Math.min(Math.floor(at), map.length - 2), next = map[low + 1];
  const mixed = map[low].map((part, i) => Math.round(part + (at - low) * (next[i] - part)));
  return `rgb(${mixed})`;
}

// A canvas of so many CSS pixels, sharp on any screen, and empty.
function prepare(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
}

// Fill a cell of a grid, with no seam to the next.
function cell(context, x, y, edge, i, j) {
  const left = Math.round(x + j * edge), top = Math.round(y + i * edge);
  const right = Math.round(x + (j + 1) * edge), bottom = Math.round(y + (i + 1) * edge);
  context.fillRect(left, top, right - left, bottom - top);
}

// A frame that is seen on dark and on bright: black around, white inside.
function outline(context, x, y, width, height) {
  context.lineWidth = 4;
  context.strokeStyle = "#000";
  context.strokeRect(x, y, width, height);
  context.lineWidth = 2;
  context.strokeStyle = "#fff";
  context.strokeRect(x, y, width, height);
}

function rowOfMaps() {
  const chosen = byId("map-row").value;
  return chosen === "game" ? Math.min(page.game.row, LAST_ROW) : Number(chosen);
}

// max Q of every (fruit, basket) of a row.
function learnedValues(row) {
  const key = `${page.version}/${row}`;
  if (!known.has(key)) {
    if (known.size > 100) known.clear();
    const best = qTable(page.engine, G, row).map((baskets) => baskets.map((q) => Math.max(...q)));
    known.set(key, best);
  }
  return known.get(key);
}

function showMaps() {
  if (!isFruit) return;
  const row = rowOfMaps(), learned = learnedValues(row);
  const exact = page.exact[row].map((baskets) => baskets.map((q) => Math.max(...q)));
  const error = learned.map((baskets, fruit) =>
    baskets.map((value, place) => Math.abs(value - exact[fruit][place])));
  drawMap("map-learned", learned, -1, "Learned values", row);
  drawMap("map-exact", exact, -1, "Exact values", row);
  drawMap("map-error", error, 0, "Errors", row);
}

// One map: fruit's column across, basket's column upwards, and a scale of colours from least to 1.
function drawMap(id, values, least, title, row) {
  const canvas = byId(id), width = canvas.clientWidth, left = 36, top = 2;
  const edge = (width - left - 2) * Math.min(1 / G, 0.8 / (G - 2)), bottom = top + (G - 2) * edge;
  const context = prepare(canvas, width, bottom + 60);
  for (let fruit = 0; fruit < G; fruit++)
    for (let place = 0; place < G - 2; place++) {
      context.fillStyle = colour(CIVIDIS, (values[fruit][place] - least) / (1 - least));
      cell(context, left, top, edge, G - 3 - place, fruit);
    }
  const { fruit: across, basket: up } = page.game;
  if (row === page.game.row)
    outline(context, left + across * edge + 1, top + (G - 2 - up) * edge + 1, edge - 2, edge - 2);
  drawAxes(context, left, top, edge, bottom);
  drawScale(context, left, width - 2, bottom + 38, least);
  const all = values.flat();
  const average = signed(all.reduce((sum, value) => sum + value, 0) / all.length);
  const ends = [Math.min(...all), Math.max(...all)].map((end) => signed(end)).join(" to ");
  canvas.setAttribute("aria-label", `${title} by fruit column and basket, fruit in row ${row}: `
    + `from ${ends}, mean ${average}`);
}

function drawAxes(context, left, top, edge, bottom) {
  context.fillStyle = getComputedStyle(document.body).color;
  context.font = `${getComputedStyle(byId("unit")).fontSize} system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.fillText(G - 2, left - 4, top + Math.max(edge / 2 + 2, 7));
  if (G > 3) context.fillText(1, left - 4, bottom - edge / 2 - 1);
  context.textAlign = "right";
  const last = context.measureText(G - 1).width;
  context.fillText(G - 1, left + Math.min((G - 0.5) * edge + last / 2, G * edge), bottom + 11);
  context.textAlign = "center";
  context.fillText(0, left + edge / 2, bottom + 11);
  if (G * edge >= 80) context.fillText("fruit", left + G * edge / 2, bottom + 11);
  context.save();
  context.translate(9, (top + bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.fillText("basket", 0, 0);
  context.restore();
}

function drawScale(context, left, right, y, least) {
  const steps = 64, edge = (right - left) / steps;
  context.fillStyle = getComputedStyle(document.body).color;
  context.textBaseline = "middle";
  const labels = [
    [least, left, "left"], [(1 + least) / 2, (left + right) / 2, "center"], [1, right, "right"],
  ];
  for (const [value, x, align] of labels) {
    if (align === "center" && right - left < 80) continue;
    context.textAlign = align;
    context.fillText(String(value).replace("-", "\u2212"), x, y + 11);
  }
  for (let k = 0; k < steps; k++) {
    context.fillStyle = colour(CIVIDIS, k / (steps - 1));
    const x = Math.round(left + k * edge);
    context.fillRect(x, y - 10, Math.round(left + (k + 1) * edge) - x, 10);
  }
}
