// The board: Fruit with pieces that can be dragged, any other game as coloured cells.

const CELL = 10; // of the board, in its own units
const pieces = {}; // the parts of the board that move
// As CHANNELS and BACKGROUND in minidqn/pictures.py: the colour of a frame's first channel, ...
const CHANNELS = [
  [230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [213, 94, 0], [204, 121, 167],
];
const BACKGROUND = [18, 28, 46];

function svg(name, attributes, parent, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

function buildBoard() {
  const board = byId("board"), width = WIDTH * CELL, height = HEIGHT * CELL;
  // Of Fruit: where the person's basket is, below the frame.
  const lane = height + 0.4 * CELL, laneHeight = Math.max(CELL, 0.1 * width);
  const tall = (isFruit ? lane + laneHeight : height) + 2;
  board.setAttribute("viewBox", `-1 -1 ${width + 2} ${tall}`);
  board.style.setProperty("--tall", Math.max(1, tall / (width + 2) / 1.14)); // of a grid of 10: 1
  const hatch = svg("pattern", {
    id: "hatch", width: 2.4, height: 2.4, patternUnits: "userSpaceOnUse",
    patternTransform: "rotate(45)",
  }, svg("defs", {}, board));
  svg("rect", { width: 2.4, height: 2.4, class: "hatch-ground" }, hatch);
  svg("rect", { width: 1, height: 2.4, class: "hatch-line" }, hatch);
  svg("rect", { width, height, class: "ground" }, board);
  if (Math.max(WIDTH, HEIGHT) <= 40) {
    for (let line = 1; line < HEIGHT; line++)
      svg("path", { d: `M0 ${line * CELL}H${width}`, class: "line" }, board);
    for (let line = 1; line < WIDTH; line++)
      svg("path", { d: `M${line * CELL} 0V${height}`, class: "line" }, board);
  }
  if (isFruit) {
    pieces.lane = lane;
    svg("rect", { y: lane, width, height: laneHeight, class: "lane" }, board);
    pieces.hint = svg("text", { x: width / 2, y: lane + 0.66 * laneHeight, class: "hint" }, board);
    pieces.hint.style.fontSize = `${0.052 * width}px`;
    pieces.fruit = piece(board, 1, "fruit", "Fruit", true);
    pieces.basket = piece(board, 3, "basket", "Basket of the network", true);
    pieces.you = piece(board, 3, "you", "Your basket", false);
  } else pieces.cells = svg("g", {}, board);
  pieces.field = svg("rect", { class: "field", rx: 0.8 }, board);
  pieces.fieldEdge = svg("rect", { class: "field edge", rx: 0.8 }, board);
}

// A piece so many cells wide; one that can be dragged has a grip, and is a slider for those who
// use keys.
function piece(board, cells, name, label, draggable) {
  const group = svg("g", { id: name, class: "piece" }, board);
  svg("rect", { x: 0.6, y: 0.6, width: cells * CELL - 1.2, height: CELL - 1.2, rx: 1.6 }, group);
  if (cells > 1) svg("text", { x: cells * CELL / 2, y: 6.7 }, group);
  if (!draggable) return group;
  const grip = svg("g", { class: "grip" }, group), middle = cells * CELL / 2;
  for (const x of cells > 1 ? [2, 3.6, 2 * middle - 3.6, 2 * middle - 2] : [middle - 1, middle + 1])
    for (const y of [-2, 0, 2]) svg("circle", { cx: x, cy: CELL / 2 + y, r: 0.5 }, grip);
  const [least, most] = name === "basket" ? [1, G - 2] : [0, G - 1];
  const place = {
    tabindex: 0, role: "slider", "aria-label": label, "aria-valuemin": least, "aria-valuemax": most,
  };
  for (const [key, value] of Object.entries(place)) group.setAttribute(key, value);
  svg("title", {}, group, `${label}: drag it, or reach it by Tab and use the arrow keys`);
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
    movePieceTo(name, column, row);
  };
  group.onpointerup = group.onpointercancel = () => {
    group.onpointermove = null;
    group.blur(); // arrows move it only if it was reached by Tab
  };
}

function movePieceTo(name, column, row) {
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
  movePieceTo(name, (name === "fruit" ? fruit : basket) + across, row + down);
}

function showBoard() {
  if (!isFruit) {
    showCells();
    return;
  }
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
  const press = TOUCH ? "tap" : "press";
  pieces.hint.textContent = duel ? "" : `drag a piece, or ${press} \u2190 \u2192 to play`;
  if (duel) {
    put(pieces.you, page.person.basket - 1, pieces.lane);
    pieces.you.querySelector("text").textContent = "you";
  }
}

// As cell_colours in minidqn/pictures.py: the colour of a cell of a frame.
function cellColour({ shape: [channels], data }, p, most) {
  let colour = BACKGROUND;
  for (let c = channels - 1; c >= 0; c--) {
    const share = Math.max(0, data[c * HEIGHT * WIDTH + p]) / most;
    colour = colour.map((part, i) => part + share * (CHANNELS[c % CHANNELS.length][i] - part));
  }
  return colour.map(Math.round);
}

// The cells of a frame, those of one colour as one path.
function showCells() {
  const { S, picture } = page.game, paths = new Map();
  const most = S.data.reduce((a, b) => Math.max(a, b), 1);
  for (let p = 0; p < HEIGHT * WIDTH; p++) {
    const colour = String(picture ? picture.subarray(3 * p, 3 * p + 3) : cellColour(S, p, most));
    if (colour === String(BACKGROUND)) continue;
    const gap = Math.max(WIDTH, HEIGHT) <= 40 ? 0.4 : 0, side = CELL - 2 * gap;
    const x = p % WIDTH * CELL + gap, y = Math.floor(p / WIDTH) * CELL + gap;
    paths.set(colour, `${paths.get(colour) ?? ""}M${x} ${y}h${side}v${side}h${-side}z`);
  }
  pieces.cells.replaceChildren();
  for (const [colour, d] of paths) svg("path", { d, fill: `rgb(${colour})` }, pieces.cells);
}
