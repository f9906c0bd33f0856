"use strict";
// A scatter of images on a canvas: zoom, pan, a thumbnail under the pointer, and a lasso. It needs no other script.
const pointMap = (() => {
  const { LEGEND, NONE, kind, look, ring, swatch } = mapMarks;
  const QUICK = 12; // ms that may be spent on each picture of a movement
  const REST = 120; // ms without a movement, after which a slow picture is painted
  const MANY = 5000; // images that are drawn at a lower resolution
  const element = (tag, kind, ...content) => {
    const made = document.createElement(tag);
    made.className = kind;
    made.append(...content);
    return made;
  };
  const numbers = (text, Kind) => new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  // Draws a map into an element. `data` is what fc7.classify.pages.point_map makes; `hooks` may have
  //   picture(path, place): the address of a thumbnail, or nothing;  open(place): an image was clicked;
  //   select(places): images were chosen by the lasso, or one by the space bar.
  // Returns mark(places), which outlines images, relabel(labels, classes), words(place), and screen(place) in pixels.
  return (host, data, hooks = {}) => {
    const [x, y] = [numbers(data.x, Uint16Array), numbers(data.y, Uint16Array)];
    const [other, n] = [numbers(data.other, Uint16Array), x.length];
    let [label, classes] = [numbers(data.label, Uint16Array), data.classes];
    const [base, over] = [element("canvas", "points"), element("canvas", "over")];
    const tip = element("div", "tip");
    const said = element("output", "aloud");
    const box = element("div", "box", base, over, tip);
    const tools = element("div", "tools");
    const legend = element("ul", "legend");
    host.replaceChildren(tools, box, legend, said);
    tip.hidden = true;
    over.tabIndex = 0;
    over.setAttribute("role", "application");
    over.setAttribute("aria-label", `Map of ${n} images. Arrow keys go from image to image, + and - zoom, 0 shows all${hooks.open ? ", Enter opens" : ""}${hooks.select ? ", Space selects" : ""}.`);
    let [width, height, ratio, zoom, cx, cy, unit, frame] = [1, 1, 1, 1, 0, 0, 1, 0];
    let [under, only, lasso, path, picture] = [-1, -1, false, null, null];
    let [painted, cost, rest] = [null, 0, 0]; // the view that was painted last, how many ms that took, and a timer
    let marked = new Set();
    let low = [65535, 65535];
    let high = [0, 0];
    for (let i = 0; i < n; i++) {
      low = [Math.min(low[0], x[i]), Math.min(low[1], y[i])];
      high = [Math.max(high[0], x[i]), Math.max(high[1], y[i])];
    }
    // A grid finds the images near a place: the places of each cell stand together, one cell after the other.
    const CELLS = 128;
    const cell = (i) => (x[i] >> 9) * CELLS + (y[i] >> 9);
    const starts = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < n; i++) starts[cell(i) + 1]++;
    for (let c = 0; c < CELLS * CELLS; c++) starts[c + 1] += starts[c];
    const sorted = new Uint32Array(n);
    const filled = starts.slice();
    for (let i = 0; i < n; i++) sorted[filled[cell(i)]++] = i;

    const scale = () => unit * zoom;
    const screenX = (i) => (x[i] - cx) * scale() + width / 2;
    const screenY = (i) => (cy - y[i]) * scale() + height / 2;
    const radius = () => Math.min(2, Math.sqrt(zoom)) * (n < 500 ? 4.5 : n < 5000 ? 3.5 : 2.5);
    const near = (px, py, reach) => {
      const [dx, dy, r] = [(px - width / 2) / scale() + cx, cy - (py - height / 2) / scale(), reach / scale()];
      const limit = (value) => Math.max(0, Math.min(CELLS - 1, Math.floor(value / 512)));
      let [best, least] = [-1, r * r];
      for (let column = limit(dx - r); column <= limit(dx + r); column++) {
        for (let row = limit(dy - r); row <= limit(dy + r); row++) {
          const here = column * CELLS + row;
          for (let at = starts[here]; at < starts[here + 1]; at++) {
            const i = sorted[at];
            const distance = (x[i] - dx) ** 2 + (y[i] - dy) ** 2;
            if (distance <= least && (only < 0 || label[i] === only)) [best, least] = [i, distance];
          }
        }
      }
      return best;
    };
    const fit = () => {
      [zoom, cx, cy] = [1, (low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
      unit = Math.min((width - 32) / Math.max(high[0] - low[0], 1), (height - 32) / Math.max(high[1] - low[1], 1));
      if (high[0] === low[0] && high[1] === low[1]) unit = 1;
      touch();
    };
    const touch = () => {
      // One finger scrolls the page until something is seen closely.
      over.style.touchAction = lasso || zoom > 1.01 ? "none" : "pan-y";
      move();
    };
    // Another view: painted at once where that is quick, else the picture of before is moved, and painted at rest.
    const move = () => {
      if (!painted || cost < QUICK) return draw();
      base.style.transform = `translate(${(painted.cx - cx) * scale()}px, ${(cy - painted.cy) * scale()}px) scale(${scale() / painted.scale})`;
      clearTimeout(rest);
      rest = setTimeout(draw, REST);
    };
    const colour = (name) => getComputedStyle(host).getPropertyValue(name).trim();
    const paint = () => {
      frame = 0;
      clearTimeout(rest);
      const began = performance.now();
      const on = base.getContext("2d");
      const r = radius();
      const [card, grey, ink, head] = ["--card", "--soft", "--ink", "--focus"].map(colour);
      const stamps = [];
      const wrong = [];
      const [wide, high] = [base.width, base.height];
      if (picture?.width !== wide || picture.height !== high) picture = on.createImageData(wide, high);
      const pixels = new Uint32Array(picture.data.buffer);
      pixels.fill(0);
      const put = (i, { size, dx, dy, colour }, front = true) => {
        const [px, py] = [screenX(i), screenY(i)];
        if (px < -9 || py < -9 || px > width + 9 || py > height + 9) return;
        const [left, top] = [Math.round(px * ratio - size / 2), Math.round(py * ratio - size / 2)];
        for (let k = 0; k < colour.length; k++) {
          const [at, bt] = [left + dx[k], top + dy[k]];
          if (at >= 0 && at < wide && bt >= 0 && bt < high) pixels[bt * wide + at] = front ? colour[k] : (colour[k] & 0xffffff) | 0x24000000;
        }
      };
      for (const front of only < 0 ? [true] : [false, true]) {
        for (let i = 0; i < n; i++) {
          if (only >= 0 && (label[i] === only) !== front) continue;
          put(i, (stamps[kind(label[i])] ??= look(label[i], r, ratio, card, grey)), front);
          if (front && other[i] !== NONE && other[i] !== label[i]) wrong.push(i);
        }
      }
      for (const [chosen, mark] of [[wrong, ring(r + 2.5, ratio, ink, 1.6)], [marked, ring(r + 3, ratio, head, 2.5)]]) {
        for (const i of chosen) put(i, mark);
      }
      on.putImageData(picture, 0, 0);
      base.style.transform = "";
      [painted, cost] = [{ cx, cy, scale: scale() }, performance.now() - began];
      trace();
    };
    const draw = () => (frame ||= requestAnimationFrame(paint));
    const trace = () => {
      const on = over.getContext("2d");
      on.setTransform(ratio, 0, 0, ratio, 0, 0);
      on.clearRect(0, 0, width, height);
      const [head, ink] = ["--focus", "--ink"].map(colour);
      if (under >= 0) {
        on.beginPath();
        on.arc(screenX(under), screenY(under), radius() + 4, 0, 2 * Math.PI);
        on.strokeStyle = ink;
        on.lineWidth = 2;
        on.stroke();
      }
      if (path) {
        on.beginPath();
        path.forEach(([px, py], place) => (place ? on.lineTo(px, py) : on.moveTo(px, py)));
        on.closePath();
        on.strokeStyle = head;
        on.lineWidth = 2.5;
        on.stroke();
        on.globalAlpha = 0.12;
        on.fillStyle = head;
        on.fill();
        on.globalAlpha = 1;
      }
    };
    const words = (i) => {
      const own = label[i] === NONE ? "no label" : classes[label[i]];
      return other[i] !== NONE && other[i] !== label[i] ? `${own}, ${data.before} ${classes[other[i]]}` : own;
    };
    const point = (i, aloud) => {
      if (i === under && !aloud) return;
      under = i;
      tip.hidden = i < 0;
      over.style.cursor = i >= 0 && hooks.open ? "pointer" : lasso ? "crosshair" : "grab";
      if (i >= 0) {
        const source = hooks.picture?.(data.paths[i], i);
        tip.replaceChildren();
        if (source) {
          const image = element("img", "");
          image.alt = "";
          image.src = source;
          tip.append(image);
        }
        tip.append(element("strong", "", element("bdi", "", words(i))), element("bdi", "where", data.paths[i]));
        const [left, top] = [screenX(i), screenY(i)];
        tip.style.left = `${Math.max(0, Math.min(left + 14, width - tip.offsetWidth - 2))}px`;
        tip.style.top = `${top + 14 + tip.offsetHeight > height ? Math.max(0, top - tip.offsetHeight - 14) : top + 14}px`;
        if (aloud) said.textContent = `${data.paths[i]}: ${words(i)}`;
      }
      trace();
    };
    const zoomAt = (factor, px = width / 2, py = height / 2) => {
      const after = Math.max(1, Math.min(400, zoom * factor));
      const [dx, dy] = [(px - width / 2) / unit, (py - height / 2) / unit];
      [cx, cy] = [cx + dx / zoom - dx / after, cy - dy / zoom + dy / after];
      zoom = after;
      if (zoom === 1) return fit();
      point(-1);
      touch();
    };
    const pan = (dx, dy) => {
      [cx, cy] = [cx - dx / scale(), cy + dy / scale()];
      point(-1);
      move();
    };
    const inside = () => {
      const found = [];
      for (let i = 0; i < n; i++) {
        if (only >= 0 && label[i] !== only) continue;
        const [px, py] = [screenX(i), screenY(i)];
        let odd = false;
        for (let a = 0, b = path.length - 1; a < path.length; b = a++) {
          const [[ax, ay], [bx, by]] = [path[a], path[b]];
          if (ay > py !== by > py && px < ((bx - ax) * (py - ay)) / (by - ay) + ax) odd = !odd;
        }
        if (odd) found.push(i);
      }
      return found;
    };
    const pointers = new Map();
    const where = (event) => [event.offsetX, event.offsetY];
    let moved = 0;
    over.addEventListener("pointerdown", (event) => {
      over.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, where(event));
      moved = pointers.size > 1 ? 99 : 0;
      path = hooks.select && pointers.size === 1 && (lasso || event.shiftKey) ? [where(event)] : null;
    });
    over.addEventListener("pointermove", (event) => {
      const [px, py] = where(event);
      const before = pointers.get(event.pointerId);
      if (!before) return point(near(px, py, 12));
      moved += Math.abs(px - before[0]) + Math.abs(py - before[1]);
      if (path) {
        if (Math.hypot(px - path.at(-1)[0], py - path.at(-1)[1]) > 2) path.push([px, py]);
        trace();
      } else if (pointers.size > 1) {
        const still = [...pointers].find(([id]) => id !== event.pointerId)[1];
        const spread = (at) => Math.hypot(at[0] - still[0], at[1] - still[1]) || 1;
        zoomAt(spread([px, py]) / spread(before), (px + still[0]) / 2, (py + still[1]) / 2);
      } else if (moved > 4) pan(px - before[0], py - before[1]);
      pointers.set(event.pointerId, [px, py]);
    });
    const end = (event) => {
      if (!pointers.delete(event.pointerId)) return;
      if (path && event.type === "pointerup" && path.length > 2) select(inside());
      else if (event.type === "pointerup" && moved <= 4) {
        point(near(...where(event), 14), true);
        if (under >= 0) hooks.open?.(under);
      }
      path = null;
      trace();
    };
    over.addEventListener("pointerup", end);
    over.addEventListener("pointercancel", end);
    over.addEventListener("pointerleave", () => pointers.size || point(-1));
    over.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && document.activeElement !== over) return; // the page scrolls until the map is clicked
        event.preventDefault();
        zoomAt(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), ...where(event));
      },
      { passive: false },
    );
    const select = (places) => {
      marked = new Set(places);
      said.textContent = `${places.length.toLocaleString("en")} image${places.length === 1 ? "" : "s"} selected`;
      hooks.select(places);
      draw();
    };
    const step = (dx, dy) => {
      if (under < 0) {
        const middle = near(width / 2, height / 2, width + height);
        return middle < 0 || point(middle, true);
      }
      let [best, least] = [-1, Infinity];
      const [fx, fy] = [screenX(under), screenY(under)];
      for (let i = 0; i < n; i++) {
        if (only >= 0 && label[i] !== only) continue;
        const [ax, ay] = [screenX(i) - fx, screenY(i) - fy];
        const [along, aside] = [ax * dx + ay * dy, Math.abs(ax * dy) + Math.abs(ay * dx)];
        const cost = along + 2 * aside;
        if (along > 0.5 && cost < least) [best, least] = [i, cost];
      }
      if (best < 0) return;
      const [px, py] = [screenX(best), screenY(best)];
      if (px < 0 || py < 0 || px > width || py > height) pan(width / 2 - px, height / 2 - py);
      point(best, true);
    };
    const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    over.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const arrow = ARROWS[event.key];
      if (arrow && event.shiftKey) pan(-60 * arrow[0], -60 * arrow[1]);
      else if (arrow) step(...arrow);
      else if (event.key === "+" || event.key === "=") zoomAt(1.5);
      else if (event.key === "-") zoomAt(1 / 1.5);
      else if (event.key === "0") fit();
      else if (event.key === "Enter" && under >= 0 && hooks.open) hooks.open(under);
      else if (event.key === " " && under >= 0 && hooks.select) select([under]);
      else if (event.key === "Escape" && (under >= 0 || path)) {
        path = null;
        point(-1);
      } else return;
      event.preventDefault();
      event.stopPropagation();
    });
    const button = (text, title, act) => {
      const made = element("button", "", text);
      made.type = "button";
      made.title = title;
      made.setAttribute("aria-label", title);
      made.addEventListener("click", () => act(made));
      tools.append(made);
    };
    button("+", "Zoom in", () => zoomAt(1.5));
    button("\u2212", "Zoom out", () => zoomAt(1 / 1.5));
    button("Show all", "Show all", fit);
    if (hooks.select) {
      button("Lasso", "Lasso: select images by drawing around them", (made) => {
        lasso = !lasso;
        made.setAttribute("aria-pressed", String(lasso));
        touch();
      });
    }
    const pick = element("select", "");
    const picking = element("label", "", "Class ", pick);
    tools.append(picking);
    const choose = (code) => {
      only = code;
      pick.value = String(code);
      for (const entry of legend.querySelectorAll("button")) entry.setAttribute("aria-pressed", String(Number(entry.value) === only));
      point(-1);
      draw();
    };
    pick.addEventListener("change", () => choose(Number(pick.value)));
    const name = () => {
      const counts = new Map();
      for (const code of label) counts.set(code, (counts.get(code) ?? 0) + 1);
      const used = [...counts.keys()].sort((a, b) => a - b);
      const text = (code) => (code === NONE ? "no label" : classes[code]);
      const all = element("option", "", "all");
      all.value = "-1";
      pick.replaceChildren(all);
      legend.replaceChildren();
      for (const code of used) {
        const entry = element("option", "", `${text(code)} (${counts.get(code)})`);
        entry.value = String(code);
        pick.append(entry);
        if (used.length > LEGEND) continue;
        const [shape, colour] = swatch(code);
        const square = element("span", `swatch ${shape}`);
        square.style.background = colour;
        const made = element("button", "", square, element("bdi", "", text(code)), element("span", "soft", ` ${counts.get(code)}`));
        made.type = "button";
        made.value = String(code);
        made.addEventListener("click", () => choose(only === code ? -1 : code));
        legend.append(element("li", "", made));
      }
      picking.hidden = used.length <= 8;
      choose(counts.has(only) ? only : -1);
    };
    new ResizeObserver(() => {
      const [wide, high] = [box.clientWidth, box.clientHeight];
      if (!wide || !high) return;
      const first = width === 1;
      painted = null; // a canvas of another size is empty
      [width, height, ratio] = [wide, high, Math.min(window.devicePixelRatio || 1, n > MANY ? 1.5 : 2)];
      for (const canvas of [base, over]) [canvas.width, canvas.height] = [width * ratio, height * ratio];
      if (first || zoom === 1) fit();
      else draw();
    }).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    name();
    return {
      mark(places) {
        marked = new Set(places);
        draw();
      },
      relabel(labels, names = classes) {
        [label, classes] = [Uint16Array.from(labels), names];
        name();
      },
      screen: (i) => [screenX(i), screenY(i)],
      words,
    };
  };
})();
