// The network's forward pass. Above each function its counterpart in Python is named; read
// them side by side. Here is one frame at a time, so the formulas have no n, and numbers are
// doubles.
//
// An array is {shape, data}: its numbers lie in one row, the last index the fastest, so
// that element (i, j, o) of an array of shape (H, W, F) is data[(i * W + j) * F + o].

function zeros(...shape) {
  return { shape, data: new Float64Array(shape.reduce((product, length) => product * length, 1)) };
}

// As convolve in minidqn/nn/convolution.py.
//
// y[i,j,o] = bias[o] + sum over u,v,c of x[i+u,j+v,c] * kernel[u,v,c,o]
//
// x has shape (H, W, C), channels last; kernel (kh, kw, C, F); bias (F). The kernel never
// hangs over the edge, so y has shape (H - kh + 1, W - kw + 1, F); it is not flipped.
function convolve(x, kernel, bias) {
  const [H, W, C] = x.shape;
  const [kh, kw, , F] = kernel.shape;
  const y = zeros(H - kh + 1, W - kw + 1, F);
  for (let i = 0; i < H - kh + 1; i++)
    for (let j = 0; j < W - kw + 1; j++)
      for (let o = 0; o < F; o++) {
        let sum = bias.data[o];
        for (let u = 0; u < kh; u++)
          for (let v = 0; v < kw; v++)
            for (let c = 0; c < C; c++)
              sum += x.data[((i + u) * W + (j + v)) * C + c]
                * kernel.data[((u * kw + v) * C + c) * F + o];
        y.data[(i * (W - kw + 1) + j) * F + o] = sum;
      }
  return y;
}

// As the activation "relu" in minidqn/nn/layers.py: y = max(0, x), number by number.
function relu(x) {
  return { shape: x.shape, data: x.data.map((number) => Math.max(0, number)) };
}

// As Flatten.forward in minidqn/nn/layers.py.
// All numbers of x in a row: shape (H, W, C) becomes (H * W * C).
function flatten(x) {
  return { shape: [x.data.length], data: x.data };
}

// As Dense.forward in minidqn/nn/layers.py, without the activation.
//
// y[k] = bias[k] + sum over d of x[d] * kernel[d,k]
function dense(x, kernel, bias) {
  const [D, K] = kernel.shape;
  const y = { shape: [K], data: Float64Array.from(bias.data) };
  for (let d = 0; d < D; d++)
    for (let k = 0; k < K; k++)
      y.data[k] += x.data[d] * kernel.data[d * K + k];
  return y;
}

// As Sequential.layer_outputs in minidqn/nn/models.py.
// What every layer makes of a frame S of shape (G, G, 1). The recipe is q_network in
// minidqn/recipe.py; model holds the weights under the names they have in weights.npz.
function layerOutputs(model, S) {
  const conv2d = relu(convolve(S, model["conv2d/kernel"], model["conv2d/bias"]));
  const conv2d_1 = relu(convolve(conv2d, model["conv2d_1/kernel"], model["conv2d_1/bias"]));
  const flat = flatten(conv2d_1);
  const hidden = relu(dense(flat, model["dense/kernel"], model["dense/bias"]));
  const q = dense(hidden, model["dense_1/kernel"], model["dense_1/bias"]);
  return { conv2d, conv2d_1, flatten: flat, dense: hidden, dense_1: q };
}

// As Sequential.predict in minidqn/nn/models.py.
// Q(S, a) for a = -1, 0, 1: what the network expects of left, stay and right.
function predict(model, S) {
  return Array.from(layerOutputs(model, S).dense_1.data);
}

// As numpy.argmax.
// The place of the greatest number, the first of them if there are several.
function argmax(numbers) {
  return numbers.indexOf(Math.max(...numbers));
}

// As greedy in minidqn/qlearning.py.
// The action with the greatest Q-value: -1, 0 or 1.
function greedy(q) {
  return ACTIONS[argmax(q)];
}

// As dequantized in minidqn/moments.py.
// Weights as the page carries them: base64 of little-endian float32, or of int8 that
// counts multiples of one scale an output.
function decode({ shape, float32, int8, scale }) {
  const array = zeros(...shape);
  if (float32 !== undefined) {
    const view = bytes(float32);
    array.data.forEach((_, i) => { array.data[i] = view.getFloat32(4 * i, true); });
  } else {
    const view = bytes(int8), scales = bytes(scale), outputs = shape[shape.length - 1];
    array.data.forEach((_, i) => {
      array.data[i] = view.getInt8(i) * scales.getFloat32(4 * (i % outputs), true);
    });
  }
  return array;
}

function bytes(base64) {
  const text = atob(base64);
  return new DataView(Uint8Array.from(text, (letter) => letter.charCodeAt(0)).buffer);
}
