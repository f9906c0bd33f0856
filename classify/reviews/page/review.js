// The page of a review: its keys and buttons. It asks its own server only, and makes text of what it is told, never markup.
import { act, byKey, confirm, decide, leaveOut, other } from "./decisions.js";
import { bar } from "./frame.js";
import { moreLike, show, toggleMap } from "./lists.js";
import { at, bdi } from "./make.js";
import { refused, say } from "./server.js";
import { clear, dialog, enlarge, go, select, skip, step, tiles } from "./sight.js";
import { added, classes, known, page, selected, twin } from "./state.js";

const PAUSE = 100; // ms without a letter, after which it is searched

const KEYS = {
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  ArrowUp: () => step(-tiles.columns),
  ArrowDown: () => step(tiles.columns),
  Home: () => go(page.order[0]),
  End: () => go(page.order.at(-1)),
  Enter: () => (selected.size || known.get(page.current).decision.label) && byKey(confirm),
  " ": () => (dialog.open ? dialog.close() : enlarge(page.current)),
  b: () => byKey(leaveOut),
  c: () => other(selected.size && !dialog.open ? [...selected] : [page.current]),
  m: () => moreLike(page.current),
  s: skip,
  x: () => select([page.current], !selected.has(page.current)),
  a: () => select(page.order, true),
  Escape: () => !dialog.open && clear(),
};
// These need no image.
const ALWAYS = {
  u: () => page.now.changes && act("undo", {}),
  r: () => page.list !== "like" && show(page.list),
  "/": () => at("find").focus(),
  "?": () => at("keys").click(),
};

document.addEventListener("keydown", (event) => {
  const within = event.target.closest("button, select, input, a");
  if (!page.now || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input, #map")) return;
  if (Object.hasOwn(ALWAYS, event.key)) {
    event.preventDefault();
    ALWAYS[event.key]();
    return;
  }
  if (event.target.closest("[role=tab]") && event.key.startsWith("Arrow")) return;
  if (within && (event.key === "Enter" || event.key === " ")) return; // they press what has the focus
  if (page.current === null || !known.has(page.current) || (dialog.open && event.key === "Escape")) return;
  const shown = dialog.open ? dialog.firstElementChild : tiles.drawn.get(page.current); // a key gives what it shows
  const label = /^[1-9]$/.test(event.key) ? shown?.querySelectorAll("[data-label]")[event.key - 1]?.dataset.label : undefined;
  if (label !== undefined) byKey((images) => decide(images, label));
  else if (Object.hasOwn(KEYS, event.key)) KEYS[event.key]();
  else return;
  event.preventDefault();
});

document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || !page.now) return;
  const next = tabs[(tabs.indexOf(event.target) + by + tabs.length) % tabs.length];
  show(next.dataset.list);
  next.focus();
  event.preventDefault();
});
for (const tab of document.querySelectorAll("[role=tab]")) tab.addEventListener("click", () => page.now && show(tab.dataset.list));
at("adding").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = at("class").value.trim();
  if (!page.now || !name) return;
  if (!classes().includes(name)) {
    if (twin(name)) return say(true, "There is a class ", bdi(twin(name)), " already; ", bdi(name), " differs from it in case only.");
    added.push(name);
  }
  if (refused()) say(false);
  at("class").value = "";
  for (const image of tiles.drawn.keys()) tiles.redraw(image);
  bar();
});
const again = () => show(page.list === "like" ? "all" : page.list);
let typing = 0;
at("find").addEventListener("input", () => {
  document.body.dataset.later = "";
  clearTimeout(typing);
  typing = setTimeout(again, PAUSE);
});
at("find").addEventListener("keydown", (event) => {
  if (event.key === "Escape") { at("find").value = ""; show(page.list); event.target.blur(); }
});
at("of").addEventListener("change", again);
at("undo").addEventListener("click", () => act("undo", {}));
at("rank").addEventListener("click", () => page.now && page.list !== "like" && show(page.list));
at("plane").addEventListener("click", () => page.now && toggleMap());
at("keys").addEventListener("click", () => {
  at("help").hidden = !at("help").hidden;
  at("keys").setAttribute("aria-expanded", String(!at("help").hidden));
});
// Another tab may have decided meanwhile.
const look = () => page.now && !document.hidden && act("state");
document.addEventListener("visibilitychange", look);
addEventListener("focus", look);

await act("state");
if (page.now) await show(["suspects", "unlabelled", "uncertain"].find((name) => page.now.counts[name]) ?? "suspects");
