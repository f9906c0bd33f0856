"use strict";
// The marks of a map: a colour and a shape for each class, and rings.
const mapMarks = (() => {
  const COLOURS = ["#0077bb", "#ee7733", "#009988", "#ee3377", "#33bbee", "#cc3311"]; // told apart with any colour vision
  const SHAPES = ["circle", "square", "triangle", "diamond"];
  const LEGEND = COLOURS.length * SHAPES.length; // classes that look different
  const NONE = 65535; // the label of an image without one
  const outline = (on, shape, at, bt, r) => {
    if (shape === 0) on.arc(at, bt, r, 0, 2 * Math.PI);
    else if (shape === 1) on.rect(at - 0.9 * r, bt - 0.9 * r, 1.8 * r, 1.8 * r);
    else {
      const corners = shape === 2 ? [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]] : [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]];
      corners.forEach(([a, b], place) => (place ? on.lineTo(at + a * r, bt + b * r) : on.moveTo(at + a * r, bt + b * r)));
      on.closePath();
    }
  };
  // Every look is painted once; its pixels are copied for each image, which is many times as fast as drawing.
  const stamp = (shape, r, ratio, ink, thick, fill) => {
    const made = document.createElement("canvas");
    made.width = made.height = Math.ceil((2.6 * r + 2) * ratio);
    const on = made.getContext("2d", { willReadFrequently: true });
    on.scale(ratio, ratio);
    on.beginPath();
    const middle = made.width / ratio / 2;
    outline(on, shape, middle, middle, r);
    on.fillStyle = fill ?? "transparent";
    on.fill();
    on.strokeStyle = ink;
    on.lineWidth = thick;
    on.stroke();
    const size = made.width;
    const pixels = new Uint32Array(on.getImageData(0, 0, size, size).data.buffer);
    // Only what is at least half covered: pixels are copied, not mixed.
    const [at, colour] = [[], []];
    pixels.forEach((pixel, place) => {
      if (pixel >>> 24 < 128) return;
      at.push([place % size, Math.floor(place / size)]);
      colour.push(pixel | 0xff000000);
    });
    return { size, dx: Int16Array.from(at, ([dx]) => dx), dy: Int16Array.from(at, ([, dy]) => dy), colour: Uint32Array.from(colour) };
  };
  const kind = (code) => (code === NONE ? LEGEND : code % LEGEND);
  const shape = (code) => (code === NONE ? 0 : Math.floor(kind(code) / COLOURS.length));
  return {
    LEGEND,
    NONE,
    kind, // what a class looks like, as a number
    look: (code, r, ratio, card, grey) => stamp(shape(code), r, ratio, card, 0.7, code === NONE ? grey : COLOURS[kind(code) % COLOURS.length]),
    ring: (r, ratio, ink, thick) => stamp(0, r, ratio, ink, thick),
    swatch: (code) => (code === NONE ? ["", "var(--soft)"] : [SHAPES[shape(code)], COLOURS[kind(code) % COLOURS.length]]),
  };
})();
