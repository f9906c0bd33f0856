// What is in sight: the grid, the image that the keyboard is at, what is selected, and one image by itself.
import { bar } from "./frame.js";
import { at, make } from "./make.js";
import { acts, page, selected, skipped } from "./state.js";
import { tile } from "./tile.js";
import { Tiles } from "./tiles.js";

const grid = at("grid");
export const dialog = at("large");
export const tiles = new Tiles(grid, at("above"), at("below"), (image, old) => tile(image, old));

export function enlarge(image) {
  const old = dialog.firstElementChild?.dataset.image === String(image) ? dialog.firstElementChild : null;
  const element = tile(image, old ?? make("div", { class: "tile", "data-image": image }), "images", () => dialog.close());
  element.tabIndex = -1;
  if (dialog.firstElementChild !== element) dialog.replaceChildren(element);
  if (!dialog.open) dialog.showModal();
}

export function go(image) {
  if (page.current !== null && tiles.drawn.has(page.current)) tiles.drawn.get(page.current).tabIndex = -1;
  page.current = page.anchor = image;
  const element = tiles.reach(image);
  element.tabIndex = 0;
  element.focus();
  if (dialog.open) enlarge(image);
}

export function step(by) {
  const place = page.order.indexOf(page.current) + by;
  if (place >= 0 && place < page.order.length) go(page.order[place]);
}

export function skip() {
  skipped.add(page.current);
  tiles.redraw(page.current);
  step(1);
}

export function select(images, on) {
  for (const image of images) {
    if (selected.has(image) === on) continue;
    if (on) selected.add(image); else selected.delete(image);
    tiles.redraw(image);
  }
  bar();
}

export function clear() {
  select([...selected], false);
}

function press(event, image, picking = false) {
  const { anchor, order } = page;
  const range = event.shiftKey && order.includes(anchor);
  if (range) {
    const [from, to] = [order.indexOf(anchor), order.indexOf(image)].sort((one, other) => one - other);
    select(order.slice(from, to + 1), true);
  } else if (picking || event.ctrlKey || event.metaKey) {
    select([image], !selected.has(image));
  }
  go(image);
  if (!range && !picking && !event.ctrlKey && !event.metaKey) enlarge(image);
}

// What a decision on an image is about.
const those = (image) => (selected.has(image) && !dialog.open ? [...selected] : [image]);

Object.assign(acts, { clear, press, those });

grid.addEventListener("focusin", (event) => {
  const element = event.target.closest(".tile");
  if (!element || Number(element.dataset.image) === page.current) return;
  if (tiles.drawn.has(page.current)) tiles.drawn.get(page.current).tabIndex = -1;
  page.current = Number(element.dataset.image);
  element.tabIndex = 0;
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
// The browser has just given the focus back to the image that the dialog was opened with.
dialog.addEventListener("close", () => {
  const image = Number(dialog.firstElementChild.dataset.image);
  dialog.replaceChildren();
  if (page.order.includes(image)) go(image);
});
