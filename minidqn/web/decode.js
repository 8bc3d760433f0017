// What the page carries as text, back as numbers.

// As dequantized in minidqn/moments.py.
// An array as _packed in minidqn/page.py has it: float32, or whole numbers of 8 or 16 bits that
// count multiples of one scale an output.
async function decode({ shape, type, data, scale }) {
  const view = await inflate(data), scales = scale && await inflate(scale);
  const read = {
    float32: (i) => view.getFloat32(4 * i, true),
    int16: (i) => view.getInt16(2 * i, true),
    int8: (i) => view.getInt8(i),
  }[type];
  const outputs = shape[shape.length - 1];
  const array = new Float32Array(shape.reduce((product, length) => product * length, 1));
  for (let i = 0; i < array.length; i++)
    array[i] = scales ? read(i) * scales.getFloat32(4 * (i % outputs), true) : read(i);
  return { shape, data: array };
}

// The bytes that _base64 in minidqn/page.py has compressed, as a DataView.
async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new DataView(await new Response(stream).arrayBuffer());
}
