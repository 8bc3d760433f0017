// What a visitor sees and does. `page` holds all that changes; `render` shows it. In the
// browser's console one can ask the network: predict(model(), draw(10, 0, 3, 5)).

const run = JSON.parse(byId("run").textContent);
const G = run.gridSize;
const EXACT = qStar(G, run.gamma);
const LAST_ROW = G - 3; // the last row of the fruit in which there is an action to choose
const CELL = 10; // of the board, in its own units
const LANE = (G + 0.4) * CELL; // where the person's basket is, below the frame
const NAMES = ["left", "stay", "right"];
const ARROWS = ["\u2190", "\u2022", "\u2192"];
const LAYERS = {
  conv2d: { title: "First convolution", reach: 3 },
  conv2d_1: { title: "Second convolution", reach: 5 },
};
// matplotlib's map of colours of this name, at 17 places: the larger, the brighter
const CIVIDIS = [
  [0, 34, 78], [0, 46, 106], [26, 56, 111], [50, 67, 109], [67, 78, 108], [83, 90, 109],
  [97, 101, 111], [111, 112, 115], [125, 124, 120], [140, 136, 120], [155, 148, 118],
  [171, 160, 114], [188, 174, 108], [205, 187, 99], [222, 201, 88], [240, 216, 70], [254, 232, 56],
];

const page = {
  moment: run.moments.length - 1, // the place of the weights that are used
  game: null, // the network's
  person: null, // the person's on the same fall, or null
  counted: true, // whether the game will count: no piece and no weights were changed in it
  playing: !matchMedia("(prefers-reduced-motion: reduce)").matches,
  unit: null, // of a feature map: {layer, map, i, j}, whose receptive field is shown
  scores: run.moments.map(() => ({ alone: [0, 0], network: 0, you: 0, duels: 0 })),
  learned: new Map(), // max Q of the states of a row, by moment and row
  outputs: null, // what every layer makes of the frame that is shown
};
const models = new Map();
const pieces = {}; // the parts of the board that move
let timer = null, drawing = null;

function byId(id) {
  return document.getElementById(id);
}

function svg(name, attributes, parent, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

function clamp(number, least, most) {
  return Math.min(Math.max(number, least), most);
}

// The weights of the moment that is chosen, decoded when they are first needed.
function model() {
  if (!models.has(page.moment)) {
    const weights = Object.entries(run.moments[page.moment].weights);
    models.set(page.moment, Object.fromEntries(weights.map(([name, w]) => [name, decode(w)])));
  }
  return models.get(page.moment);
}

// The game

// A game that has come to some row of the fruit, and what it is like there.
class Game {
  constructor([fruit, basket], row = 0) {
    this.fruit = fruit;
    this.basket = basket;
    this.row = 0;
    this.ep = episode(G, [fruit, basket]);
    [this.S, this.reward] = this.ep.next().value;
    while (this.row < row) this.step(0);
  }

  step(action) {
    [this.S, this.reward] = this.ep.next(action).value;
    this.row += 1;
    this.basket = moved(G, this.basket, action);
  }
}

function randomStart() {
  return [Math.floor(Math.random() * G), 1 + Math.floor(Math.random() * (G - 2))];
}

// Begin a game; against a person, both begin at the same place.
function newGame(start = randomStart(), duel = page.person !== null) {
  page.game = new Game(start);
  page.person = duel ? new Game(start) : null;
  page.counted = true;
  say(duel ? "Your move: \u2190 \u2193 \u2192" : "");
  render();
}

// One step of the network and, in a duel, of the person on the same fall.
function step(personAction = 0) {
  page.game.step(greedy(predict(model(), page.game.S)));
  if (page.person) page.person.step(personAction);
  if (page.game.reward !== 0) finish();
  else if (page.person) sayPlaces();
  render();
}

function sayPlaces() {
  const { row, fruit, basket } = page.game;
  say(`Row ${row}: fruit column ${fruit}, you ${page.person.basket}, network ${basket}.`);
}

// A game has ended: count it, and say how.
function finish() {
  const score = page.scores[page.moment], caught = page.game.reward > 0;
  const did = (won) => (won ? "caught" : "missed");
  let words = caught ? "Caught." : "Missed.";
  if (page.person) {
    const youCaught = page.person.reward > 0;
    words = `You ${did(youCaught)} it; the network ${did(caught)} it.`;
    if (page.counted) {
      score.network += caught;
      score.you += youCaught;
      score.duels += 1;
    }
  } else if (page.counted) {
    score.alone[0] += caught;
    score.alone[1] += 1;
  }
  say(page.counted ? words : `${words} Not counted, as something was changed.`);
}

function say(words) {
  byId("result").textContent = words;
}

// Put the pieces somewhere; the game goes on from there, but does not count.
function place(fruit, row, basket) {
  setPlaying(false);
  row = clamp(row, 0, LAST_ROW);
  const other = page.person && page.person.basket;
  page.game = new Game([clamp(fruit, 0, G - 1), clamp(basket, 1, G - 2)], row);
  if (page.person) page.person = new Game([page.game.fruit, other], row);
  page.counted = false;
  say("");
  render();
}

// A move of the person. The first begins a game against the network; so does one after
// a game's end, so that the fall is seen before the first move.
function personMoves(action) {
  setPlaying(false);
  if (!page.person || page.game.reward !== 0) newGame(randomStart(), true);
  else step(action);
}

// What the clock does, or the button Step: the network plays alone. A person who was
// playing leaves, and the game that two had begun is counted for neither.
function networkMoves() {
  const left = page.person !== null && page.game.reward === 0;
  page.person = null;
  if (left) {
    page.counted = false;
    say("You left; this game is not counted.");
  }
  if (page.game.reward !== 0) newGame();
  else step();
}

function setPlaying(playing) {
  page.playing = playing;
  clearTimeout(timer);
  byId("play").textContent = playing ? "Pause" : "Play";
  if (playing) schedule();
}

function showSpeed() {
  const steps = byId("speed").valueAsNumber;
  const words = `${steps} step${steps === 1 ? "" : "s"} a second`;
  byId("speed").setAttribute("aria-valuetext", words);
}

function schedule() {
  const interval = 1000 / byId("speed").valueAsNumber;
  const held = page.game.reward !== 0 ? 3 : 1; // the end of a game is shown longer
  timer = setTimeout(() => {
    networkMoves();
    schedule();
  }, held * interval);
}

// What is shown

function render() {
  page.outputs = layerOutputs(model(), page.game.S);
  showBoard();
  showBars();
  for (const layer of Object.keys(LAYERS)) showFeatures(layer);
  showUnit();
  showScores();
  showMaps();
}

function buildBoard() {
  const board = byId("board"), side = G * CELL;
  board.setAttribute("viewBox", `-1 -1 ${side + 2} ${LANE + CELL + 2}`);
  const hatch = svg("pattern", {
    id: "hatch", width: 2.4, height: 2.4, patternUnits: "userSpaceOnUse",
    patternTransform: "rotate(45)",
  }, svg("defs", {}, board));
  svg("rect", { width: 2.4, height: 2.4, class: "hatch-ground" }, hatch);
  svg("rect", { width: 1, height: 2.4, class: "hatch-line" }, hatch);
  svg("rect", { width: side, height: side, class: "ground" }, board);
  for (let line = 1; line < G; line++) {
    svg("path", { d: `M${line * CELL} 0V${side}M0 ${line * CELL}H${side}`, class: "line" }, board);
  }
  svg("rect", { y: LANE, width: side, height: CELL, class: "lane" }, board);
  pieces.hint = svg("text", { x: side / 2, y: LANE + 6.6, class: "hint" }, board);
  pieces.fruit = piece(board, 1, "fruit", "Fruit", true);
  pieces.basket = piece(board, 3, "basket", "Basket of the network", true);
  pieces.you = piece(board, 3, "you", "Your basket", false);
  pieces.field = svg("rect", { class: "field", rx: 0.8 }, board);
  pieces.fieldEdge = svg("rect", { class: "field edge", rx: 0.8 }, board);
}

// A piece so many cells wide; one that can be dragged is a slider for those who use keys.
function piece(board, cells, name, label, draggable) {
  const group = svg("g", { id: name, class: "piece" }, board);
  svg("rect", { x: 0.6, y: 0.6, width: cells * CELL - 1.2, height: CELL - 1.2, rx: 1.6 }, group);
  if (cells > 1) svg("text", { x: cells * CELL / 2, y: 6.7 }, group);
  if (!draggable) return group;
  const [least, most] = name === "basket" ? [1, G - 2] : [0, G - 1];
  const place = {
    tabindex: 0, role: "slider", "aria-label": label, "aria-valuemin": least, "aria-valuemax": most,
  };
  for (const [key, value] of Object.entries(place)) group.setAttribute(key, value);
  svg("title", {}, group, `${label}: drag it, or move it with the arrow keys`);
  group.addEventListener("pointerdown", (event) => startDrag(event, name));
  group.addEventListener("keydown", (event) => movePiece(event, name));
  return group;
}

function startDrag(event, name) {
  event.preventDefault();
  const group = pieces[name];
  group.focus({ preventScroll: true });
  group.setPointerCapture(event.pointerId);
  group.onpointermove = (move) => {
    const box = byId("board").getBoundingClientRect(), unit = box.width / (G * CELL + 2);
    const column = Math.floor(((move.clientX - box.left) / unit - 1) / CELL);
    const row = Math.floor(((move.clientY - box.top) / unit - 1) / CELL);
    moveTo(name, column, row);
  };
  group.onpointerup = group.onpointercancel = () => {
    group.onpointermove = null;
    group.blur(); // arrows move it only if it was reached by Tab
  };
}

function moveTo(name, column, row) {
  const { fruit, row: fruitRow, basket } = page.game;
  if (name === "fruit") place(column, row, basket);
  else place(fruit, fruitRow, column);
}

function movePiece(event, name) {
  const across = { ArrowLeft: -1, ArrowRight: 1, Home: -G, End: G }[event.key] || 0;
  const down = { ArrowUp: -1, ArrowDown: 1, PageUp: -G, PageDown: G }[event.key] || 0;
  if (!across && !down) return;
  event.preventDefault();
  event.stopPropagation(); // these arrows are not moves of the person
  const { fruit, row, basket } = page.game;
  moveTo(name, (name === "fruit" ? fruit : basket) + across, row + down);
}

function showBoard() {
  const { fruit, row, basket } = page.game, duel = page.person !== null;
  const put = (group, column, y) =>
    group.setAttribute("transform", `translate(${column * CELL} ${y})`);
  put(pieces.fruit, fruit, row * CELL);
  put(pieces.basket, basket - 1, (G - 1) * CELL);
  pieces.fruit.setAttribute("aria-valuenow", fruit);
  pieces.fruit.setAttribute("aria-valuetext", `row ${row}, column ${fruit}`);
  pieces.basket.setAttribute("aria-valuenow", basket);
  pieces.basket.setAttribute("aria-valuetext", `around column ${basket}`);
  pieces.basket.querySelector("text").textContent = duel ? "network" : "";
  pieces.you.style.display = duel ? "" : "none";
  pieces.hint.textContent = duel ? "" : "press \u2190 or \u2192 to play against it";
  if (duel) {
    put(pieces.you, page.person.basket - 1, LANE);
    pieces.you.querySelector("text").textContent = "you";
  }
}

function buildBars() {
  for (const [place, name] of NAMES.entries()) {
    const row = byId("bars").tBodies[0].insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    const mark = document.createElement("span"), said = document.createElement("span");
    mark.className = "mark";
    said.className = "unseen";
    head.append(mark, said, `${ARROWS[place]} ${name}`);
    const track = document.createElement("div");
    track.className = "track";
    for (const kind of ["learned", "exact"]) {
      const bar = document.createElement("i");
      bar.className = `bar ${kind}`;
      track.append(bar);
    }
    row.append(head);
    row.insertCell().append(track);
    const numbers = row.insertCell();
    for (const kind of ["learned", "exact"]) {
      const number = document.createElement("span");
      number.className = `number ${kind}`;
      numbers.append(number);
    }
  }
}

function showBars() {
  const { row, fruit, basket, reward } = page.game, over = reward !== 0;
  const q = Array.from(page.outputs.dense_1.data), chosen = argmax(q);
  for (const [place, line] of Array.from(byId("bars").tBodies[0].rows).entries()) {
    const isChosen = !over && place === chosen;
    line.classList.toggle("chosen", isChosen);
    line.querySelector(".mark").textContent = isChosen ? "\u25b6" : "";
    line.querySelector(".unseen").textContent = isChosen ? "chosen: " : "";
    const exact = over ? 0 : EXACT[row][fruit][basket - 1][place];
    for (const [kind, symbol, value] of [["learned", "Q", q[place]], ["exact", "Q*", exact]]) {
      const shown = over ? 0 : clamp(value, -1, 1), bar = line.querySelector(`.bar.${kind}`);
      bar.style.display = over ? "none" : "";
      bar.style.left = `${50 + 50 * Math.min(shown, 0)}%`;
      bar.style.width = `${50 * Math.abs(shown)}%`;
      const words = over ? "\u2013" : signed(value);
      line.querySelector(`.number.${kind}`).textContent = `${symbol} ${words}`;
    }
  }
}

function signed(number) {
  const words = Math.abs(number) > 1e4 ? number.toPrecision(3) : number.toFixed(2);
  return words.replace("-", "\u2212");
}

function showScores() {
  const { alone, network, you, duels } = page.scores[page.moment];
  byId("score-alone").textContent = `${alone[0]} of ${alone[1]}`;
  byId("score-network").textContent = `${network} of ${duels}`;
  byId("score-you").textContent = `${you} of ${duels}`;
}

// The feature maps

function cividis(share) {
  const at = clamp(share, 0, 1) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(at), CIVIDIS.length - 2), next = CIVIDIS[low + 1];
  const mixed = CIVIDIS[low].map((part, i) => Math.round(part + (at - low) * (next[i] - part)));
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

// Where a layer's maps lie on its canvas: side by side, in rows of 8 or, on a phone, of 4.
function mosaic(layer) {
  const [side, , maps] = page.outputs[layer].shape;
  const width = byId(layer).clientWidth, columns = width < 420 ? 4 : 8, gap = 6;
  const size = Math.floor((width - gap * (columns - 1)) / columns);
  const rows = Math.ceil(maps / columns);
  return { side, maps, columns, rows, gap, size, width, height: rows * (size + gap) - gap };
}

function corner(layer, map) {
  const { columns, size, gap } = mosaic(layer);
  return [(map % columns) * (size + gap), Math.floor(map / columns) * (size + gap)];
}

function showFeatures(layer) {
  const { side, maps, size, width, height } = mosaic(layer), { data } = page.outputs[layer];
  const context = prepare(byId(layer), width, height), most = Math.max(...data);
  for (let map = 0; map < maps; map++) {
    const [x, y] = corner(layer, map);
    for (let i = 0; i < side; i++)
      for (let j = 0; j < side; j++) {
        const value = data[(i * side + j) * maps + map];
        context.fillStyle = cividis(most > 0 ? value / most : 0);
        cell(context, x, y, size / side, i, j);
      }
  }
  byId(`${layer}-range`).textContent = `dark: 0, bright: ${signed(most)}`;
  if (page.unit?.layer === layer) markUnit(context, layer);
}

// Fill a cell of a grid, with no seam to the next.
function cell(context, x, y, edge, i, j) {
  const left = Math.round(x + j * edge), top = Math.round(y + i * edge);
  const right = Math.round(x + (j + 1) * edge), bottom = Math.round(y + (i + 1) * edge);
  context.fillRect(left, top, right - left, bottom - top);
}

function markUnit(context, layer) {
  const { map, i, j } = page.unit, { side, size } = mosaic(layer), [x, y] = corner(layer, map);
  const edge = size / side;
  outline(context, x + j * edge, y + i * edge, edge, edge);
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

// The unit under the pointer, or null between maps.
function unitAt(layer, event) {
  const { side, maps, columns, size, gap } = mosaic(layer);
  const box = byId(layer).getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  const column = Math.floor(x / (size + gap)), row = Math.floor(y / (size + gap));
  const map = row * columns + column;
  const j = Math.floor((x - column * (size + gap)) * side / size);
  const i = Math.floor((y - row * (size + gap)) * side / size);
  const within = (number, end) => number >= 0 && number < end;
  const inside = within(column, columns) && within(map, maps) && within(i, side) && within(j, side);
  return inside ? { layer, map, i, j } : null;
}

function choose(unit) {
  if (!unit && !page.unit) return;
  page.unit = unit;
  for (const layer of Object.keys(LAYERS)) showFeatures(layer);
  showUnit();
}

// A step through a layer's units; at a map's edge it goes on into the next map.
function moveUnit(event, layer) {
  const across = { ArrowLeft: -1, ArrowRight: 1 }[event.key] || 0;
  const down = { ArrowUp: -1, ArrowDown: 1 }[event.key] || 0;
  if (!across && !down) return;
  event.preventDefault();
  event.stopPropagation();
  const { side, columns, rows } = mosaic(layer), { map, i, j } = page.unit;
  const x = clamp((map % columns) * side + j + across, 0, columns * side - 1);
  const y = clamp(Math.floor(map / columns) * side + i + down, 0, rows * side - 1);
  const next = Math.floor(y / side) * columns + Math.floor(x / side);
  choose({ layer, map: next, i: y % side, j: x % side });
  byId("unit-said").textContent = byId("unit").textContent;
}

// What a unit sees: it is a rectangle on the frame, as many cells wide as kernels reach.
function receptiveField({ layer, i, j }) {
  const { reach } = LAYERS[layer];
  return { top: i, left: j, bottom: i + reach - 1, right: j + reach - 1 };
}

function showUnit() {
  for (const rect of [pieces.field, pieces.fieldEdge]) rect.style.display = page.unit ? "" : "none";
  if (!page.unit) {
    byId("unit").textContent = "Point at a unit, or choose one by keys, to see what it sees.";
    return;
  }
  const { layer, map, i, j } = page.unit, { top, left, bottom, right } = receptiveField(page.unit);
  const [side, , maps] = page.outputs[layer].shape;
  const value = page.outputs[layer].data[(i * side + j) * maps + map];
  for (const rect of [pieces.field, pieces.fieldEdge]) {
    const box = { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
    for (const [key, cells] of Object.entries(box)) rect.setAttribute(key, cells * CELL);
  }
  byId("unit").textContent = `Map ${map}, unit (${i}, ${j}): ${value.toFixed(3)}. `
    + `It sees rows ${top} to ${bottom}, columns ${left} to ${right}.`;
}

// The maps of values

// max Q of every (fruit, basket) of a row: what is known so far. A large grid takes many
// forward passes, so they are done a little at a time.
function learnedValues(row) {
  const key = `${page.moment}/${row}`;
  if (!page.learned.has(key)) page.learned.set(key, table(G, () => null));
  const values = page.learned.get(key), until = performance.now() + 60;
  let complete = true;
  for (let fruit = 0; fruit < G; fruit++)
    for (let basket = 1; basket <= G - 2; basket++) {
      if (values[fruit][basket - 1] !== null) continue;
      complete = complete && performance.now() < until;
      if (!complete) continue;
      values[fruit][basket - 1] = Math.max(...predict(model(), draw(G, row, fruit, basket)));
    }
  return { values, complete };
}

function rowOfMaps() {
  const chosen = byId("map-row").value;
  return chosen === "game" ? Math.min(page.game.row, LAST_ROW) : Number(chosen);
}

function showMaps() {
  clearTimeout(drawing);
  const row = rowOfMaps(), { values: learned, complete } = learnedValues(row);
  const exact = table(G, (fruit, basket) => Math.max(...EXACT[row][fruit][basket - 1]));
  const error = table(G, (fruit, basket) => {
    const value = learned[fruit][basket - 1];
    return value === null ? null : Math.abs(value - exact[fruit][basket - 1]);
  });
  drawMap("map-learned", learned, -1, "Learned values", row);
  drawMap("map-exact", exact, -1, "Exact values", row);
  drawMap("map-error", error, 0, "Errors", row);
  if (!complete) drawing = setTimeout(showMaps);
}

// One map: fruit's column across, basket's column upwards, and a scale of colours from least to 1.
function drawMap(id, values, least, title, row) {
  const canvas = byId(id), width = canvas.clientWidth, left = 36, top = 2;
  const edge = (width - left - 2) / G, bottom = top + (G - 2) * edge;
  const context = prepare(canvas, width, bottom + 64);
  for (let fruit = 0; fruit < G; fruit++)
    for (let place = 0; place < G - 2; place++) {
      if (values[fruit][place] === null) continue;
      context.fillStyle = cividis((values[fruit][place] - least) / (1 - least));
      cell(context, left, top, edge, G - 3 - place, fruit);
    }
  const { fruit: across, basket: up } = page.game;
  if (row === page.game.row)
    outline(context, left + across * edge + 1, top + (G - 2 - up) * edge + 1, edge - 2, edge - 2);
  drawAxes(context, left, top, edge, bottom);
  drawScale(context, left, width - 2, bottom + 40, least);
  const known = values.flat().filter((value) => value !== null);
  const average = signed(known.reduce((sum, value) => sum + value, 0) / known.length);
  const ends = [Math.min(...known), Math.max(...known)].map(signed).join(" to ");
  canvas.setAttribute("aria-label", `${title} by fruit column and basket, fruit in row ${row}: `
    + `from ${ends}, mean ${average}`);
}

function drawAxes(context, left, top, edge, bottom) {
  context.fillStyle = getComputedStyle(document.body).color;
  context.font = `${getComputedStyle(byId("unit")).fontSize} system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.fillText(G - 2, left - 4, top + edge / 2 + 2);
  context.fillText(1, left - 4, bottom - edge / 2 - 1);
  context.textAlign = "right";
  const last = context.measureText(G - 1).width;
  context.fillText(G - 1, left + Math.min((G - 0.5) * edge + last / 2, G * edge), bottom + 11);
  context.textAlign = "center";
  context.fillText(0, left + edge / 2, bottom + 11);
  context.fillText("fruit", left + G * edge / 2, bottom + 11);
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
    context.textAlign = align;
    context.fillText(String(value).replace("-", "\u2212"), x, y + 11);
  }
  for (let k = 0; k < steps; k++) {
    context.fillStyle = cividis(k / (steps - 1));
    const x = Math.round(left + k * edge);
    context.fillRect(x, y - 10, Math.round(left + (k + 1) * edge) - x, 10);
  }
}

// The training

function setMoment(place) {
  page.moment = place;
  page.counted = false;
  showMoment();
  render();
}

function showMoment() {
  const { epoch, wins, qError } = run.moments[page.moment];
  let words = `epoch ${epoch} of ${run.epochs}`;
  if (epoch === 0) words = "untrained";
  const learned = run.updates > 0 ? "trained" : "not trained yet";
  if (epoch === run.epochs) words = `epoch ${epoch}, ${learned}`;
  const error = qError === null ? "is no number" : qError.toFixed(3);
  byId("moment-name").textContent = words;
  byId("moment").setAttribute("aria-valuetext", words);
  byId("moment-facts").textContent =
    `Wins ${wins} of ${run.starts} starts; mean |Q \u2212 Q*| ${error}`;
  showCurve();
}

// The learning curve, in pixels of its own size so that letters are not stretched.
function showCurve() {
  const curve = byId("curve"), width = curve.clientWidth, height = curve.clientHeight;
  const left = 34, right = width - 14, top = 10, bottom = height - 42;
  const x = (epoch) => left + (right - left) * epoch / run.epochs;
  const y = (share) => bottom - (bottom - top) * clamp(share, 0, 1);
  curve.replaceChildren();
  curve.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const share of [0, 0.5, 1]) {
    svg("path", { d: `M${left} ${y(share)}H${right}`, class: "grid" }, curve);
    svg("text", { x: left - 6, y: y(share) + 5, class: "tick end" }, curve, share);
  }
  const half = Math.round(run.epochs / 2);
  const ticks = [
    [0, left, "middle"], ["epoch", x(run.epochs * 0.75), "middle"], [run.epochs, right + 12, "end"],
  ];
  if (half > 0 && half < run.epochs) ticks.splice(1, 0, [half, x(half), "middle"]);
  for (const [words, at, side] of ticks)
    svg("text", { x: at, y: bottom + 24, class: `tick ${side}` }, curve, words);
  const first = run.moments[0];
  const points = first.epoch === 0 ? [[0, first.wins, first.qError], ...run.curve] : run.curve;
  const line = (value) => points.filter((point) => value(point) !== null)
    .map((point) => `${x(point[0])},${y(value(point))}`).join(" ");
  svg("polyline", { points: line(([, wins]) => wins / run.starts), class: "wins" }, curve);
  svg("polyline", { points: line(([, , error]) => error), class: "error" }, curve);
  run.moments.forEach(({ epoch }, place) => {
    const now = place === page.moment, at = x(epoch);
    if (now) svg("path", { d: `M${at} ${top}V${bottom}`, class: "now" }, curve);
    const kind = now ? "moment now" : "moment";
    svg("path", { d: `M${at} ${bottom + 1}l-5 9h10z`, class: kind }, curve);
  });
  const { epoch, wins, qError } = run.moments[page.moment];
  svg("circle", { cx: x(epoch), cy: y(wins / run.starts), r: 5, class: "wins" }, curve);
  if (qError !== null) {
    const square = { x: x(epoch) - 4.5, y: y(qError) - 4.5, width: 9, height: 9 };
    svg("rect", { ...square, class: "error" }, curve);
  }
  curve.setAttribute("aria-label", `Learning curve over ${run.epochs} epochs: share of starts won, `
    + `and mean distance from the exact values. Now at epoch ${epoch}.`);
}

// Whoever visits

const PERSON = { ArrowLeft: -1, ArrowDown: 0, ArrowRight: 1 };

function keyPressed(event) {
  const action = PERSON[event.key];
  const withOthers = event.ctrlKey || event.altKey || event.metaKey;
  if (action === undefined || withOthers || event.target.closest("input, select")) return;
  const onControl = event.target !== document.body;
  if (event.key === "ArrowDown" && !page.person && onControl) return; // there it scrolls
  event.preventDefault();
  personMoves(action);
}

function listen() {
  byId("play").addEventListener("click", () => setPlaying(!page.playing));
  byId("step").addEventListener("click", () => { setPlaying(false); networkMoves(); });
  byId("new").addEventListener("click", () => newGame());
  byId("speed").addEventListener("input", () => { showSpeed(); setPlaying(page.playing); });
  for (const button of document.querySelectorAll(".move"))
    button.addEventListener("click", () => personMoves(Number(button.dataset.action)));
  document.addEventListener("keydown", keyPressed);
  byId("moment").addEventListener("input", (event) => setMoment(event.target.valueAsNumber));
  byId("map-row").addEventListener("input", showMaps);
  for (const layer of Object.keys(LAYERS)) {
    const canvas = byId(layer);
    canvas.addEventListener("pointermove", (event) => choose(unitAt(layer, event)));
    canvas.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // no focus: arrows belong to it only if it was reached by Tab
      choose(unitAt(layer, event));
    });
    canvas.addEventListener("pointerleave", () => {
      if (document.activeElement !== canvas) choose(null);
    });
    canvas.addEventListener("focus", () => {
      if (page.unit?.layer !== layer) choose({ layer, map: 0, i: 0, j: 0 });
    });
    canvas.addEventListener("blur", () => choose(null));
    canvas.addEventListener("keydown", (event) => moveUnit(event, layer));
  }
  const redraw = () => { showMoment(); render(); };
  addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

function begin() {
  byId("run-name").textContent = run.name;
  if (run.updates === 0) document.querySelector("h1").textContent = "A network that plays";
  byId("about").textContent =
    `\u00b7 ${G} \u00d7 ${G} grid, ${run.epochs} epoch${run.epochs === 1 ? "" : "s"}, \u03b3 = ${run.gamma}`;
  byId("moment").max = run.moments.length - 1;
  byId("moment").value = page.moment;
  const rows = ["game", ...Array(G - 2).keys()];
  for (const row of rows) {
    const words = row === "game" ? "the game's row" : `row ${row}`;
    byId("map-row").append(new Option(words, row));
  }
  for (const [layer, { title }] of Object.entries(LAYERS))
    byId(layer).setAttribute("aria-label", `${title}: feature maps; the arrow keys choose a unit`);
  buildBoard();
  buildBars();
  newGame();
  showMoment();
  showSpeed();
  listen();
  setPlaying(page.playing);
}

begin();
