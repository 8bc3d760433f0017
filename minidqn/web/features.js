// The filters of the first convolution, and the feature maps of all.

// matplotlib's map of this name, at 9 places: red for weights below 0, white for 0, blue above
const RDBU = [
  [103, 0, 31], [187, 42, 52], [229, 131, 104], [251, 206, 183], [246, 247, 247],
  [192, 220, 235], [104, 171, 208], [40, 112, 177], [5, 48, 97],
];
const ORDINALS = ["First", "Second", "Third", "Fourth"];

function buildFeatures() {
  byId("features").hidden = CONVOLUTIONS.length === 0;
  CONVOLUTIONS.forEach((layer, n) => {
    const title = document.createElement("h3"), range = document.createElement("small");
    const name = `${ORDINALS[n] ?? `${n + 1}th`} convolution`;
    range.id = `${layer}-range`;
    title.append(`${name} `, range);
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { id: layer, className: "maps", tabIndex: 0 });
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-describedby", "features-help");
    canvas.setAttribute("aria-label", `${name}: feature maps; the arrow keys choose a unit`);
    byId("maps").append(title, canvas);
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "touch") choose(unitAt(layer, event));
    });
    canvas.addEventListener("pointerdown", (event) => {
      // No focus: arrows belong to it only if it was reached by Tab.
      if (event.pointerType !== "touch") event.preventDefault();
    });
    canvas.addEventListener("click", (event) => choose(unitAt(layer, event)));
    canvas.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch" && document.activeElement !== canvas) choose(null);
    });
    canvas.addEventListener("focus", () => {
      const byKey = canvas.matches(":focus-visible");
      if (byKey && page.unit?.layer !== layer) choose({ layer, map: 0, i: 0, j: 0 });
    });
    canvas.addEventListener("blur", () => choose(null));
    canvas.addEventListener("keydown", (event) => moveUnit(event, layer));
  });
}

// Each filter as a tile, its channels one below the other.
function showFilters() {
  if (CONVOLUTIONS.length === 0) return;
  const { shape: [kh, kw, C, F], data } = page.engine.named()[`${CONVOLUTIONS[0]}/kernel`];
  const canvas = byId("filters"), width = canvas.clientWidth, gap = 6;
  const wideTiles = width < 420 || (!isFruit && innerHeight > 680);
  const columns = Math.min(F, wideTiles ? 8 : 16);
  const edge = Math.min(12, (width - gap * (columns - 1)) / columns / kw);
  const high = edge * kh * C + gap;
  const left = width - edge * kw * columns; // for the space between tiles
  const wide = edge * kw + Math.min(40, left / Math.max(1, columns - 1));
  const context = prepare(canvas, width, high * Math.ceil(F / columns) - gap);
  const most = data.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  for (let f = 0; f < F; f++) {
    const x = f % columns * wide, y = Math.floor(f / columns) * high;
    for (let c = 0; c < C; c++)
      for (let u = 0; u < kh; u++)
        for (let v = 0; v < kw; v++) {
          const weight = data[((u * kw + v) * C + c) * F + f];
          context.fillStyle = colour(RDBU, 0.5 + 0.5 * weight / (most || 1));
          cell(context, x, y, edge, c * kh + u, v);
        }
  }
  const below = C > 1 ? `${C} channels one below the other; ` : "";
  byId("filters-range").textContent = `${below}red: ${signed(-most)}, blue: ${signed(most)}`;
  canvas.setAttribute("aria-label",
    `${F} filters of ${kh} by ${kw} weights, from ${signed(-most)} to ${signed(most)}`);
}

// Where a layer's maps lie on its canvas: side by side, in rows of 8 or, where there is less room,
// of 4; of 16 in a window that is wide and low.
function mosaic(layer) {
  const [rows, across, maps] = page.outputs[layer].shape;
  const width = byId(layer).clientWidth, gap = 6, low = width > 420 && innerHeight <= 680;
  const columns = low ? 16 : width < 300 ? 4 : 8;
  const size = Math.floor((width - gap * (columns - 1)) / columns), edge = size / across;
  const lines = Math.ceil(maps / columns), high = edge * rows, height = lines * (high + gap) - gap;
  return { rows, across, maps, columns, lines, gap, size, edge, high, width, height };
}

function corner(layer, map) {
  const { columns, size, high, gap } = mosaic(layer);
  return [(map % columns) * (size + gap), Math.floor(map / columns) * (high + gap)];
}

function showFeatures(layer) {
  const { rows, across, maps, edge, width, height } = mosaic(layer), { data } = page.outputs[layer];
  const context = prepare(byId(layer), width, height);
  const most = data.reduce((a, b) => Math.max(a, b), 0);
  for (let map = 0; map < maps; map++) {
    const [x, y] = corner(layer, map);
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < across; j++) {
        const value = data[(i * across + j) * maps + map];
        context.fillStyle = colour(CIVIDIS, most > 0 ? value / most : 0);
        cell(context, x, y, edge, i, j);
      }
  }
  byId(`${layer}-range`).textContent = most > 0 ? `dark: 0, bright: ${signed(most)}`
    : "no unit is active";
  if (page.unit?.layer === layer) {
    const [x, y] = corner(layer, page.unit.map);
    outline(context, x + page.unit.j * edge, y + page.unit.i * edge, edge, edge);
  }
}

// The unit under the pointer, or null between maps.
function unitAt(layer, event) {
  const { rows, across, maps, columns, size, high, edge, gap } = mosaic(layer);
  const box = byId(layer).getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  const column = Math.floor(x / (size + gap)), line = Math.floor(y / (high + gap));
  const map = line * columns + column;
  const j = Math.floor((x - column * (size + gap)) / edge);
  const i = Math.floor((y - line * (high + gap)) / edge);
  const within = (number, end) => number >= 0 && number < end;
  const onMap = within(column, columns) && within(map, maps);
  return onMap && within(i, rows) && within(j, across) ? { layer, map, i, j } : null;
}

function choose(unit) {
  if (!unit && !page.unit) return;
  page.unit = unit;
  for (const layer of CONVOLUTIONS) showFeatures(layer);
  showUnit();
}

// A step through a layer's units; at a map's edge it goes on into the next map.
function moveUnit(event, layer) {
  const right = { ArrowLeft: -1, ArrowRight: 1 }[event.key] || 0;
  const down = { ArrowUp: -1, ArrowDown: 1 }[event.key] || 0;
  if (!right && !down) return;
  event.preventDefault();
  event.stopPropagation();
  const { rows, across, columns, lines, maps } = mosaic(layer), { map, i, j } = page.unit;
  const x = clamp((map % columns) * across + j + right, 0, columns * across - 1);
  const y = clamp(Math.floor(map / columns) * rows + i + down, 0, lines * rows - 1);
  const next = Math.floor(y / rows) * columns + Math.floor(x / across);
  if (next < maps) choose({ layer, map: next, i: y % rows, j: x % across });
  byId("unit-said").textContent = byId("unit").textContent;
}

// What a unit sees: it is a rectangle on the frame, as many cells wide as kernels reach.
function receptiveField({ layer, i, j }) {
  const kernels = LAYERS.slice(0, LAYERS.findIndex(({ name }) => name === layer) + 1);
  const [high, wide] = [0, 1].map((axis) =>
    kernels.reduce((sum, { kernel }) => sum + kernel[axis] - 1, 1));
  return { top: i, left: j, bottom: i + high - 1, right: j + wide - 1 };
}

function showUnit() {
  for (const rect of [pieces.field, pieces.fieldEdge]) rect.style.display = page.unit ? "" : "none";
  if (!page.unit) {
    byId("unit").textContent = TOUCH ? "Tap a unit, a small square, to see what it sees."
      : "Point at a unit, or choose one by keys, to see what it sees.";
    return;
  }
  const { layer, map, i, j } = page.unit, { top, left, bottom, right } = receptiveField(page.unit);
  const [, across, maps] = page.outputs[layer].shape;
  const value = page.outputs[layer].data[(i * across + j) * maps + map];
  for (const rect of [pieces.field, pieces.fieldEdge]) {
    const box = { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
    for (const [key, cells] of Object.entries(box)) rect.setAttribute(key, cells * CELL);
  }
  byId("unit").textContent = `Map ${map}, unit (${i}, ${j}): ${value.toFixed(3)}. `
    + `It sees rows ${top} to ${bottom}, columns ${left} to ${right}.`;
}
