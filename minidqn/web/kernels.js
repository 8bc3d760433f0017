// The network: forward and backward, beside minidqn/nn/kernels.py and minidqn/nn/engine.py. The
// formulas stand at the head of kernels.py. findBackground, activate and gate are line by line what
// they are there; forward, backward, multiply, addProducts, scan and turn have the same tasks.
//
// Weights are float32; a sum is done in double precision and rounded when it is stored. A browser
// multiplies one number at a time, so two things save more here than they would there:
//
// - Products with a factor of 0 are left out. ReLUs make most factors 0.
// - What a unit of a convolution makes of its window is the same wherever the window stands, and
//   in every frame. So rows of numbers belong to distinct windows, not to positions: each window
//   that occurs in a batch is computed once, and its gradient is the sum of those of all its
//   places. So are islands: pixels of a frame that no window sees together with its other pixels.
//   The first dense layer sums up each distinct island once, and a frame is a sum of islands.

// One layer's windows or, of the first dense layer, its islands: there is one node for each
// distinct list of parts. Parts are [m, node]: the node below that matrix m of the layer, a tap
// or a position, multiplies. The nodes of pixels have values instead.
class Nodes {
  constructor() {
    this.known = new Map();
    this.count = 0;
  }

  get(parts, values = null) {
    const key = values ? values.join() : parts.map(([m, { id }]) => `${m} ${id}`).join();
    if (!this.known.has(key)) {
      if (this.known.size === MOST_NODES) this.known.clear(); // the next are not found again
      this.known.set(key, { id: this.count++, parts, values, row: 0, batch: 0 });
    }
    return this.known.get(key);
  }
}

const MOST_NODES = 200_000; // of a layer, that are looked for: some 60 MB

let batches = 0; // that have been listed
let factors = new Float64Array(1024), lines = new Int32Array(1024);

// The numbers of rows that are not 0: those of row r are values[i] in column columns[i], for i
// from begin[r] to begin[r + 1] - 1. The memory of `list` is used again if it is large enough.
function nonzero(x, rows, row, list = { columns: [], values: [] }) {
  let { columns, values } = list, count = 0;
  if (values.length < rows * row) {
    columns = new Int32Array(2 * rows * row);
    values = new Float64Array(2 * rows * row);
  }
  const begin = new Int32Array(rows + 1);
  for (let r = 0; r < rows; r++) {
    for (let k = 0; k < row; k++) {
      columns[count] = k; // written in any case, and counts if it is not 0
      values[count] = x[r * row + k];
      count += (values[count] !== 0) | 0;
    }
    begin[r + 1] = count;
  }
  return { begin, columns, values };
}

// A product of matrices whose rows lie anywhere; row n of z gets the sum over the pairs e of
// group n and over the columns j of row r = rows[e] of x:
//
// z[n * row + k] += x[r, j] * w[matrix[e] + j * row + k], for k < row
function multiply({ begin, order }, groups, x, rows, w, matrix, z, row) {
  for (let n = 0; n < groups; n++) {
    let count = 0;
    for (let i = begin[n]; i < begin[n + 1]; i++) {
      const e = order[i], from = x.begin[rows[e]], to = x.begin[rows[e] + 1];
      if (count + to - from + 7 > factors.length) makeLonger(count + to - from + 7);
      for (let j = from; j < to; j++) {
        factors[count] = x.values[j];
        lines[count] = matrix[e] + x.columns[j] * row;
        count += 1;
      }
    }
    if (count === 0) continue;
    factors.fill(0, count, count + 7); // to whole eights
    lines.fill(lines[0], count, count + 7);
    addProducts(count, w, z, n * row, row);
  }
}

function makeLonger(length) {
  const [oldFactors, oldLines] = [factors, lines];
  factors = new Float64Array(2 * length);
  lines = new Int32Array(2 * length);
  factors.set(oldFactors);
  lines.set(oldLines);
}

// Eight products at once, so that a number of z is read and written once for all of them. "| 0"
// spares the browser a look whether a sum of indices is still a small number.
function addProducts(count, w, z, t, row) {
  for (let n = 0; n < count; n += 8) {
    const x0 = factors[n], x1 = factors[n + 1], x2 = factors[n + 2], x3 = factors[n + 3];
    const x4 = factors[n + 4], x5 = factors[n + 5], x6 = factors[n + 6], x7 = factors[n + 7];
    const a = lines[n], b = lines[n + 1], c = lines[n + 2], d = lines[n + 3];
    const e = lines[n + 4], f = lines[n + 5], g = lines[n + 6], h = lines[n + 7];
    for (let k = 0; k < row; k++)
      z[(t + k) | 0]
        += x0 * w[(a + k) | 0] + x1 * w[(b + k) | 0] + x2 * w[(c + k) | 0] + x3 * w[(d + k) | 0]
        + (x4 * w[(e + k) | 0] + x5 * w[(f + k) | 0] + x6 * w[(g + k) | 0] + x7 * w[(h + k) | 0]);
  }
}

// The outer products of rows, which are a kernel's gradient; for each pair e, q = input[e] and
// p = target[e]:
//
// dw[matrix[e] + c * row + k] += x[q, c] * g[p, k]
function addOuter({ learned, input, target, matrix }, x, g, dw, row) {
  const { columns, values } = g;
  for (let e = 0; e < learned; e++) {
    const from = g.begin[target[e]], to = g.begin[target[e] + 1];
    for (let i = x.begin[input[e]]; i < x.begin[input[e] + 1]; i++) {
      const at = matrix[e] + x.columns[i] * row, factor = x.values[i];
      for (let j = from; j < to; j++) dw[(at + columns[j]) | 0] += factor * values[j];
    }
  }
}

// Pairs in groups: those with the key n are order[begin[n]] to order[begin[n + 1] - 1].
function sorted(keys, count, groups) {
  const begin = new Int32Array(groups + 2), order = new Int32Array(count);
  for (let e = 0; e < count; e++) begin[keys[e] + 2]++;
  for (let n = 2; n < begin.length; n++) begin[n] += begin[n - 1];
  for (let e = 0; e < count; e++) order[begin[keys[e] + 1]++] = e;
  return { begin, order };
}

// A network of convolutions and dense layers, as Engine in minidqn/nn/engine.py. `layers` lists
// them as {name, kernel, relu}, with the kernel's shape, (kh, kw, C, F) or (D, K); `shape` is
// that of a frame, (C, H, W). All weights lie in one array, each kernel before its bias, under
// the names that they have in weights.npz; and so do their gradients.
class Engine {
  constructor(layers, shape) {
    let [channels, height, width] = shape, size = 0;
    this.shape = shape;
    this.reach = 1; // rows and columns that a window of the last convolution sees
    this.layers = [];
    for (const { name, kernel, relu } of layers) {
      const convolution = kernel.length === 4, row = kernel[kernel.length - 1];
      const [kh, kw] = convolution ? kernel : [height, width], groups = kh * kw;
      if (convolution) this.reach += Math.max(kh, kw) - 1;
      [height, width] = convolution ? [height - kh + 1, width - kw + 1] : [1, 1];
      const bias = size + groups * channels * row;
      const layer = {
        name, shape: kernel, convolution, relu, channels, groups, kh, kw, height, width, row,
        kernel: size, bias, nodes: new Nodes(), below: this.layers.at(-1),
        turned: new Float32Array(bias - size), S: new Float32Array(channels * row),
        z0: new Float32Array(row), B: new Float32Array(row), dB: new Float32Array(row),
      };
      layer.ofIslands = !convolution && !(layer.below && !layer.below.convolution);
      this.layers.push(layer);
      size = bias + row;
      channels = row;
    }
    this.pixels = new Nodes();
    this.frames = new Nodes();
    this.parameters = new Float32Array(size);
    this.gradients = new Float32Array(size);
  }

  // The weights by name, as Sequential.named_weights in minidqn/nn/models.py: parts of `array`.
  named(array = this.parameters) {
    return Object.fromEntries(this.layers.flatMap(({ name, shape, kernel, bias, row }) => [
      [`${name}/kernel`, { shape, data: array.subarray(kernel, bias) }],
      [`${name}/bias`, { shape: [row], data: array.subarray(bias, bias + row) }],
    ]));
  }

  // A frame, {shape: [C, H, W], data}, as a node, whose parts are the pixels that are not 0.
  scan({ shape: [C, H, W], data }) {
    const parts = [];
    for (let p = 0; p < H * W; p++) {
      let active = false;
      for (let c = 0; c < C; c++) active ||= data[c * H * W + p] !== 0;
      if (!active) continue;
      const values = Array.from({ length: C }, (_, c) => data[c * H * W + p]);
      parts.push([p, this.pixels.get([], values)]);
    }
    const frame = this.frames.get(parts);
    frame.islands ??= this.islands(frame.parts, W);
    return frame;
  }

  // The islands of some pixels, as nodes of the first dense layer.
  islands(pixels, W) {
    const left = [...pixels], islands = [];
    const near = ([p], [q]) => Math.abs(p % W - q % W) < this.reach
      && Math.abs(Math.floor(p / W) - Math.floor(q / W)) < this.reach;
    while (left.length > 0) {
      let parts = [left.shift()], width = W;
      for (const one of parts) // which grows on the way
        for (let n = left.length - 1; n >= 0; n--)
          if (near(one, left[n])) parts.push(...left.splice(n, 1));
      for (const layer of this.layers) {
        if (layer.convolution) parts = windows(layer, parts, width);
        else {
          if (parts.length > 0) islands.push(layer.nodes.get(parts.sort(([p], [q]) => p - q)));
          break;
        }
        ({ width } = layer);
      }
    }
    return islands;
  }

  // Outputs for frames from `scan`, one row for each distinct frame, which is frame.row. Backward
  // may follow for the first of them.
  forward(frames, learned = 0) {
    this.listRows(frames, learned);
    let x = nonzero(this.values, this.values.length / this.shape[0], this.shape[0]);
    for (const layer of this.layers) {
      const { row, pairs } = layer, D = layer.D.fill(0, 0, layer.rows * row);
      findBackground(layer, this.parameters);
      layer.x = x;
      const byTarget = sorted(pairs.target, pairs.count, layer.rows);
      multiply(byTarget, layer.rows, x, pairs.input, this.parameters, pairs.matrix, D, row);
      if (layer.ofIslands) this.sumIslands(layer);
      activate(layer);
      x = layer.y = nonzero(D, layer.rows, row, layer.y);
    }
    const { D, rows, row } = this.layers.at(-1);
    return D.subarray(0, rows * row);
  }

  // As Sequential.predict in minidqn/nn/models.py: Q(S, a) of each frame, a list for each.
  predict(frames) {
    const q = this.forward(frames), { row } = this.layers.at(-1);
    return frames.map((frame) => Array.from(q.subarray(frame.row * row, (frame.row + 1) * row)));
  }

  // Give each node that occurs in the frames a row of its layer, and list the pairs of rows. The
  // rows and pairs of the frames that are learned from come first.
  listRows(frames, learned) {
    batches += 1;
    const distinct = [], islands = [], members = [], begin = [0];
    let learnedIslands = 0;
    for (const [s, frame] of frames.entries()) {
      if (rowOf(frame, distinct) === begin.length - 1) {
        for (const island of frame.islands) members.push(rowOf(island, islands));
        begin.push(members.length);
      }
      if (s === learned - 1) [this.learned, learnedIslands] = [distinct.length, islands.length];
    }
    if (learned === 0) this.learned = 0;
    Object.assign(this, { count: distinct.length, islandCount: islands.length });
    Object.assign(this, { members, begin, learnedIslands });
    let n = this.layers.findIndex(({ ofIslands }) => ofIslands);
    for (const layer of this.layers.slice(n + 1)) { // one frame, one row
      makeRoom(layer, this.count, this.count);
      for (let s = 0; s < this.count; s++) addPair(layer, s, s, 0);
      Object.assign(layer, { rows: this.count, learned: this.learned });
      layer.pairs.learned = this.learned;
    }
    let nodes = islands, learnedNodes = learnedIslands;
    for (; n >= 0; n--) {
      const layer = this.layers[n], below = [];
      let most = 0, learnedBelow = 0;
      for (const { parts } of nodes) most += parts.length;
      makeRoom(layer, most, Math.max(nodes.length, layer.ofIslands ? this.count : 0));
      for (const [r, { parts }] of nodes.entries()) {
        for (const [m, node] of parts) addPair(layer, rowOf(node, below), r, m);
        if (r >= learnedNodes) continue;
        [layer.pairs.learned, learnedBelow] = [layer.pairs.count, below.length];
      }
      Object.assign(layer, { rows: nodes.length, learned: learnedNodes });
      [nodes, learnedNodes] = [below, learnedBelow];
    }
    this.values = Float32Array.from(nodes.flatMap(({ values }) => values));
  }

  // From the first dense layer's sums for islands to those for frames.
  sumIslands(layer) {
    const { members, begin, count, islandCount } = this, { D, row } = layer;
    const sums = D.slice(0, islandCount * row);
    D.fill(0, 0, count * row);
    for (let s = 0; s < count; s++)
      for (let i = begin[s]; i < begin[s + 1]; i++) {
        const from = members[i] * row, to = s * row;
        for (let k = 0; k < row; k++) D[to + k] += sums[from + k];
      }
    Object.assign(layer, { rows: count, learned: this.learned });
  }

  // And back: an island's gradient is the sum of those of the frames that have it.
  sumFrames({ G, row }) {
    const { members, begin, learnedIslands } = this, sums = new Float32Array(learnedIslands * row);
    for (let s = 0; s < this.learned; s++)
      for (let i = begin[s]; i < begin[s + 1]; i++) {
        const from = s * row, to = members[i] * row;
        for (let k = 0; k < row; k++) sums[to + k] += G[from + k];
      }
    G.set(sums);
  }

  // Every weight's gradient, from that by the outputs of the distinct frames that are learned
  // from.
  backward(gradient) {
    const { gradients } = this;
    this.layers.at(-1).G.set(gradient);
    for (let n = this.layers.length - 1; n >= 0; n--) {
      const layer = this.layers[n], { below, row, channels, kernel, pairs, x } = layer;
      gate(layer, gradients);
      if (layer.ofIslands) this.sumFrames(layer);
      const rows = layer.ofIslands ? this.learnedIslands : layer.learned;
      const g = layer.g = nonzero(layer.G, rows, row, layer.g);
      // dw[m] = outer(B, dz0) + sum over the pairs of m of outer(D[q], g[p])
      const dz0 = gradients.subarray(layer.bias, layer.bias + row);
      gradients.fill(0, kernel, layer.bias);
      for (let c = 0; c < channels && below?.convolution; c++) {
        if (below.B[c] === 0) continue;
        for (let w = kernel + c * row; w < layer.bias; w += channels * row)
          for (let k = 0; k < row; k++) gradients[w + k] = below.B[c] * dz0[k];
      }
      addOuter(pairs, x, g, gradients, row);
      if (!below) continue;
      // dD[q] = sum over the pairs of q of w[m] g[p]
      turn(layer, this.parameters);
      below.G.fill(0, 0, below.learned * channels);
      const bySource = sorted(pairs.input, pairs.learned, below.learned);
      const { turned } = layer;
      multiply(bySource, below.learned, g, pairs.target, turned, pairs.turned, below.G, channels);
      for (let c = 0; c < channels && below.convolution; c++) {
        let dB = 0; // dB = S dz0
        for (let k = 0; k < row; k++) dB += layer.S[c * row + k] * dz0[k];
        below.dB[c] = dB;
      }
    }
  }

  // What each layer makes of a frame, past its activation, as in minidqn/nn/engine.py: arrays of
  // shape (H, W, F) or (K).
  layerOutputs(frame) {
    const { islands } = this.scan(frame);
    this.forward([this.scan(frame)]);
    const outputs = []; // from the last layer down
    let places = islands.flatMap(({ parts }) => parts); // of the last convolution
    for (const layer of [...this.layers].reverse()) {
      const { name, convolution, height, width, kw, row, D, B } = layer;
      const data = convolution ? new Float32Array(height * width * row) : D.slice(0, row);
      const shape = convolution ? [height, width, row] : [row];
      outputs.unshift([name, { shape, data }]);
      if (!convolution) continue;
      for (let i = 0; i < data.length; i++) data[i] = B[i % row];
      for (const [p, node] of places)
        for (let k = 0; k < row; k++) data[p * row + k] = D[node.row * row + k] + B[k];
      const wide = width + kw - 1;
      places = places.flatMap(([p, { parts }]) => parts.map(([m, node]) => [
        (Math.floor(p / width) + Math.floor(m / kw)) * wide + p % width + m % kw, node]));
    }
    return Object.fromEntries(outputs);
  }
}

// The windows of a convolution in which there is something of an island, as [position, node].
function windows({ nodes, kh, kw, height, width }, parts, wide) {
  const found = new Map();
  for (const [p, node] of parts)
    for (let u = 0; u < kh; u++)
      for (let v = 0; v < kw; v++) {
        const i = Math.floor(p / wide) - u, j = p % wide - v;
        if (i < 0 || i >= height || j < 0 || j >= width) continue;
        const place = i * width + j;
        if (!found.has(place)) found.set(place, []);
        found.get(place).push([u * kw + v, node]);
      }
  return Array.from(found, ([p, seen]) => [p, nodes.get(seen.sort(([m], [n]) => m - n))]);
}

// The row of a node in this batch; a new one is put behind the others.
function rowOf(node, nodes) {
  if (node.batch !== batches) {
    node.batch = batches;
    node.row = nodes.push(node) - 1;
  }
  return node.row;
}

// Room for so many pairs and rows in a layer; it grows, and keeps nothing.
function makeRoom(layer, pairs, rows) {
  if ((layer.pairs?.room ?? -1) < pairs) {
    layer.pairs = { room: 2 * pairs };
    for (const name of ["input", "target", "matrix", "turned"])
      layer.pairs[name] = new Int32Array(2 * pairs);
  }
  if ((layer.D?.length ?? -1) < rows * layer.row)
    for (const name of ["D", "G"]) layer[name] = new Float32Array(2 * rows * layer.row);
  layer.pairs.count = layer.pairs.learned = 0;
}

// A pair of rows, the input's and the output's, and the matrix between them, number m.
function addPair({ pairs, channels, row, kernel }, input, target, m) {
  const e = pairs.count++;
  pairs.input[e] = input;
  pairs.target[e] = target;
  pairs.matrix[e] = kernel + m * channels * row;
  pairs.turned[e] = m * channels * row;
}

// z0 = b + B S and, of a convolution, B' = relu(z0). No background comes from the frames or
// from a dense layer.
function findBackground(layer, w) {
  const { below, z0, B, S, kernel, bias, channels, groups, row, convolution, relu } = layer;
  z0.set(w.subarray(bias, bias + row));
  if (below?.convolution) {
    const size = channels * row;
    S.fill(0);
    for (let m = 0; m < groups; m++)
      for (let i = 0; i < size; i++) S[i] += w[kernel + m * size + i];
    for (let c = 0; c < channels; c++)
      for (let k = 0; k < row; k++) z0[k] += below.B[c] * S[c * row + k];
  }
  if (convolution)
    for (let k = 0; k < row; k++) B[k] = relu && z0[k] < 0 ? 0 : z0[k];
}

// From the sums over pairs to D': relu(z0 + sum) - B'.
function activate({ D, rows, row, relu, z0, B }) {
  const floor = relu ? 0 : -Infinity;
  for (let r = 0; r < rows * row; r += row)
    for (let k = 0; k < row; k++) D[r + k] = Math.max(D[r + k] + z0[k], floor) - B[k];
}

// From dD' to the gradient past the ReLU, in place, and from dB' to that by z0, which is the
// bias's.
function gate({ D, G, B, z0, dB, learned, row, bias, relu, convolution }, gradients) {
  const total = new Float64Array(row), dz0 = new Float64Array(row);
  for (let r = 0; r < learned * row; r += row)
    for (let k = 0; k < row; k++) {
      total[k] += G[r + k];
      if (relu) G[r + k] *= (D[r + k] > -B[k]) | 0; // no branch: it would be guessed wrong
      dz0[k] += G[r + k];
    }
  for (let k = 0; k < row; k++) {
    if (convolution && !(relu && z0[k] <= 0)) dz0[k] += dB[k] - total[k];
    gradients[bias + k] = dz0[k];
  }
}

// Each matrix turned, which is what a gradient goes back through.
function turn({ turned, kernel, groups, channels, row }, w) {
  for (let m = 0; m < groups * channels * row; m += channels * row)
    for (let c = 0; c < channels; c++)
      for (let k = 0; k < row; k++) turned[m + k * channels + c] = w[kernel + m + c * row + k];
}
