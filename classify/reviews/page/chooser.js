// One list of all classes for all images: type some letters, take one, or make a new one.
import { at, bdi, make } from "./make.js";

const MOST = 12; // classes that are shown

const dialog = at("choosing");
const input = at("choice");
const list = at("matches");
let classes = [];
let take = () => {};
let place = 0;

function matches() {
  const typed = input.value.trim();
  const low = typed.toLocaleLowerCase();
  const rank = (name) => {
    const found = name.toLocaleLowerCase().indexOf(low);
    return name === typed ? 0 : found < 0 ? 3 : found ? 2 : 1;
  };
  const found = [[], [], []];
  for (const name of classes) found[rank(name)]?.push(name);
  const known = found.flat().slice(0, MOST).map((name) => ({ name, isNew: false }));
  const there = classes.some((name) => name.toLowerCase() === typed.toLowerCase());
  return typed && !there ? [...known, { name: typed, isNew: true }] : known;
}

function draw() {
  const found = matches();
  place = Math.max(0, Math.min(place, found.length - 1));
  list.replaceChildren(...found.map(({ name, isNew }, number) => make("li", {
    role: "option", id: `match-${number}`, "aria-selected": String(number === place), onclick: () => choose(name),
  }, isNew ? "new class " : "", bdi(name))));
  input.setAttribute("aria-activedescendant", found.length ? `match-${place}` : "");
}

function choose(name) {
  dialog.close();
  take(name);
}

// Ask for a class; `then` is called with its name.
export function askForClass(names, then) {
  [classes, take, place] = [names, then, 0];
  input.value = "";
  draw();
  dialog.showModal();
  input.focus();
}

input.addEventListener("input", () => { place = 0; draw(); });
input.addEventListener("keydown", (event) => {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (by) { place += by; draw(); event.preventDefault(); }
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault();
  const found = matches()[place];
  if (found) choose(found.name);
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
