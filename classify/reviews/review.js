"use strict";
// The page of a review. It asks its own server only, and makes text of what it is told, never markup.

const MANY = 9; // classes that all have a button of their own, and a key
const ABOUT = {
  suspects: "All other images say that these labels are wrong, the least believed first. Look at the picture: on a hard image a correct label may look wrong.",
  unlabelled: "These images have no label yet. Each decision teaches the rest: as soon as two classes have two images each, the least certain come first.",
  uncertain: "The likeliest class of these images is their label, by the smallest lead over another one.",
  unjudged: "No label is judged yet. These images come in the order of their bytes, which is that of chance.",
  reviewed: "What you have decided, the latest first, and what was bad before. It is in the csv already.",
};
const EMPTY = {
  suspects: "No label is doubted that you have not looked at.",
  unlabelled: "Every image has a label.",
  uncertain: "You have looked at every image.",
  reviewed: "Nothing yet. Every decision is written to the csv at once, and can be undone.",
};

const at = (id) => document.getElementById(id);
const grid = at("grid");
const dialog = at("large");
const tiles = new Map(); // image -> its element in the grid
const known = new Map(); // image -> what the server last said of it
let now = null; // the state as the server last said it
let list = "suspects";
let order = []; // images of the list, in the order in which they are shown
let fresh = new Set(); // images that joined the list with the latest decision
let current = null; // the image that the keyboard is at
const added = []; // classes that a person has typed and that no image has yet
let queue = Promise.resolve(); // one request after another: decisions have an order

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const bdi = (text) => make("bdi", {}, text);
const percent = (share) => (share >= 0.995 && share < 1 ? ">99" : String(Math.round(100 * share))) + "\u00a0%";
const words = (decision) => (decision.bad ? "bad" : decision.label || "undecided");
const plural = (count, one) => `${count} ${one}${count === 1 ? "" : "s"}`;

// What the server says.

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, { ...options, cache: "no-store" });
  } catch {
    throw new Error("The review has ended, or cannot be reached. Everything before is in the csv.");
  }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

function act(path, body) {
  queue = queue.then(async () => {
    document.body.dataset.busy = "";
    const start = performance.now();
    try {
      take(await ask(path, body), performance.now() - start);
    } catch (error) {
      say(true, error.message);
    } finally {
      delete document.body.dataset.busy;
    }
  });
  return queue;
}

function take(state, took) {
  if (!now && !state.counts.suspects) list = ["unlabelled", "uncertain"].find((name) => state.counts[name]) ?? list;
  now = state;
  for (const [image, subject] of Object.entries(state.subjects)) known.set(Number(image), subject);
  const change = state.change;
  fresh = new Set(change ? change.joined : []);
  if (list === "reviewed" || !change) order = state.lists[list].slice();
  else order.push(...state.lists[list].filter((image) => !order.includes(image)));
  if (change) tell(change, took);
  draw();
  if (change && change.undone && tiles.has(change.image)) go(change.image);
}

function tell(change, took) {
  const subject = known.get(change.image);
  const parts = [make("b", {}, bdi(subject.paths[0])), ": "];
  if (change.undone) parts.push("undone, it is ", bdi(words(change.after)), " again.");
  else if (words(change.before) === words(change.after)) parts.push(bdi(words(change.after)), ", as it was.");
  else parts.push(bdi(words(change.before)), " \u2192 ", bdi(words(change.after)), ".");
  if (change.left.length) parts.push(` ${plural(change.left.length, "other label")} no longer doubted.`);
  if (change.joined.length) parts.push(` ${plural(change.joined.length, "other label")} now doubted.`);
  parts.push(` Fitted anew in ${Math.max(1, Math.round(1000 * change.seconds))}\u00a0ms.`);
  if (change.warning) parts.push(` ${change.warning}`);
  say(Boolean(change.warning), ...parts);
  at("said").title = `${Math.round(took)} ms with the way to the server and back`;
}

function say(wrong, ...parts) {
  at("said").classList.toggle("error", wrong);
  at("said").replaceChildren(...parts);
}

// What is shown.

function draw() {
  const { right, judged } = now.agreement;
  const before = now.change ? now.change.agreement_before : now.agreement;
  const gain = judged && before.judged ? right / judged - before.right / before.judged : 0;
  const mark = !gain ? null : make("span", { class: gain > 0 ? "up" : "down" },
    ` ${gain > 0 ? "\u25b2" : "\u25bc"}\u00a0${Math.abs(100 * gain).toFixed(1)}`);
  at("agreement").replaceChildren(...!judged ? ["No label is judged yet: label two images of two classes each."] : [
    ...[make("strong", {}, `${(100 * right / judged).toFixed(1)}\u00a0%`), mark].filter(Boolean),
    ` of labels agree with the other images (${right} of ${judged})`]);
  const { relabelled, bad, reviewed } = now.counts;
  at("sums").replaceChildren(
    `${plural(now.images, "image")}, ${reviewed} reviewed, ${relabelled} relabelled, ${bad} bad \u00b7 `,
    now.changes ? "written to " : "decisions go to ", bdi(now.file));
  const counts = { suspects: now.counts.suspects, unlabelled: now.counts.unlabelled, uncertain: now.counts.uncertain, reviewed: now.counts.closed };
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const mine = tab.dataset.list === list;
    tab.setAttribute("aria-selected", String(mine));
    tab.tabIndex = mine ? 0 : -1;
    tab.querySelector("span").textContent = counts[tab.dataset.list];
  }
  grid.setAttribute("aria-labelledby", `tab-${list}`);
  grid.dataset.list = list;
  at("undo").disabled = !now.changes;
  at("undo").textContent = now.changes ? `Undo (${now.changes})` : "Undo";
  const more = list === "reviewed" ? 0 : counts[list] - now.lists[list].length;
  at("about").textContent = ABOUT[list === "uncertain" && !now.agreement.judged ? "unjudged" : list] + (more > 0 ? ` The first ${now.lists[list].length} of ${counts[list]}.` : "");
  at("empty").hidden = order.length > 0;
  at("empty").textContent = EMPTY[list];
  at("about").hidden = !order.length;
  if (!order.includes(current)) current = order[0] ?? null;
  const focused = grid.contains(document.activeElement);
  for (const [image, element] of tiles) {
    if (order.includes(image)) continue;
    element.remove();
    tiles.delete(image);
  }
  order.forEach((image, place) => {
    const old = tiles.get(image);
    const element = tile(image, old);
    tiles.set(image, element);
    if (grid.children[place] !== element) grid.insertBefore(element, grid.children[place] ?? null);
  });
  if (focused && current !== null) tiles.get(current).focus({ preventScroll: true });
  if (dialog.open) enlarge(current);
}

function flags(image, subject) {
  if (subject.decision.bad) return make("span", { class: "flag bad" }, "bad");
  if (subject.reviewed) {
    const { label } = subject.given;
    const first = !label && !subject.contradicted;
    return make("span", { class: "flag good" }, first ? "labelled" : subject.decision.label === label ? "kept" : "relabelled");
  }
  if (fresh.has(image)) return make("span", { class: "flag new" }, "new");
  if (list === "suspects" && !now.lists.suspects.includes(image)) {
    return make("span", { class: "flag" }, now.lists.suspects.length ? "no longer doubted" : "believed");
  }
  return null;
}

function facts(subject) {
  const held = subject.decision.label;
  const found = [];
  if (subject.reviewed && held !== subject.given.label) {
    found.push(make("p", {}, bdi(subject.given.label || "undecided"), " \u2192 ", make("strong", {}, bdi(held))));
  } else if (!held) {
    found.push(subject.contradicted ? make("p", { class: "doubt" }, "Copies under different labels") : make("p", { class: "soft" }, "no label yet"));
  } else {
    const where = subject.splits.length ? make("span", { class: "soft" }, ` in ${subject.splits.join(" and ")}`) : null;
    found.push(make("p", {}, "labelled ", make("strong", {}, bdi(held)), where));
  }
  for (const [first, surely] of subject.likely.slice(0, 1)) {
    found.push(make("p", { class: held && first !== held && !subject.reviewed ? "doubt" : "soft" }, "looks like ", bdi(first), ` ${percent(surely)}`));
    const bar = make("div", { class: "track" }, make("i"));
    bar.firstChild.style.width = `${100 * surely}%`;
    found.push(bar);
  }
  const copies = subject.paths.length > 1 ? ` and ${plural(subject.paths.length - 1, "copy").replace("copys", "copies")}` : "";
  found.push(make("p", { class: "where", title: subject.paths.join("\n") }, bdi(subject.paths[0]), copies));
  return make("div", { class: "facts" }, ...found);
}

const classes = () => [...now.classes, ...added.filter((name) => !now.classes.includes(name))];

function buttons(subject) {
  if (classes().length <= MANY) return classes();
  const found = subject.likely.map(([name]) => name);
  if (subject.decision.label && !found.includes(subject.decision.label)) found.push(subject.decision.label);
  return now.agreement.judged ? found : classes().slice(0, MANY); // nothing is likely yet
}

function choices(image, subject) {
  const { label, bad } = subject.decision;
  const found = buttons(subject).map((name, place) => make("button", {
    type: "button", tabindex: "-1", class: name === label && !bad ? "holds" : "", "aria-pressed": String(name === label && !bad),
    "data-label": name, onclick: () => decide(image, name),
  }, make("small", { "aria-hidden": "true" }, String(place + 1)), bdi(name)));
  found.push(make("button", {
    type: "button", tabindex: "-1", class: bad ? "out holds" : "out", "aria-pressed": String(bad), "data-bad": true,
    title: "Leave this image out of everything", onclick: () => leaveOut(image),
  }, make("small", { "aria-hidden": "true" }, "b"), "bad"));
  if (classes().length > MANY) {
    const options = classes().map((name) => make("option", { value: name }, name));
    const select = make("select", { "aria-label": "Another class", tabindex: "-1" }, make("option", { value: "" }, "another class\u2026"), ...options);
    select.addEventListener("change", () => select.value && decide(image, select.value));
    found.push(select);
  }
  return make("div", { class: "choices", role: "group", "aria-label": "Label" }, ...found);
}

function picture(image, subject, size, old, act) {
  const kept = old?.querySelector(".picture > :is(img, .missing)");
  const shown = kept ?? make("img", { src: `${size}/${image}.jpg`, alt: "", decoding: "async" });
  if (!kept) {
    shown.addEventListener("error", () => shown.replaceWith(make("span", { class: "missing" }, bdi(subject.paths[0]), " cannot be shown")));
  }
  const found = make("button", { type: "button", class: "picture", tabindex: "-1", "aria-label": `See ${subject.paths[0]} large`, onclick: act }, shown);
  const flag = flags(image, subject);
  if (flag) found.append(flag);
  return found;
}

// An element stays the same for as long as its image is shown, so that neither the focus nor the picture is lost.
function tile(image, old, size = "thumbnails", click = () => { go(image); enlarge(image); }) {
  const subject = known.get(image);
  const element = old ?? make("li", { class: "tile", "data-image": image });
  const likeliest = subject.likely.length ? subject.likely[0][0] : "";
  const doubted = !subject.reviewed && subject.decision.label && likeliest && likeliest !== subject.decision.label;
  element.className = ["tile", subject.reviewed && "decided", subject.decision.bad && "out-of-all", doubted && "doubted",
    list === "suspects" && !subject.reviewed && !now.lists.suspects.includes(image) && "gone"].filter(Boolean).join(" ");
  element.tabIndex = image === current ? 0 : -1;
  element.setAttribute("aria-label", `${subject.paths[0]}: ${words(subject.decision)}${likeliest && `, looks like ${likeliest}`}`);
  element.replaceChildren(picture(image, subject, size, old, click), facts(subject), choices(image, subject));
  return element;
}

function enlarge(image) {
  const old = dialog.firstElementChild?.dataset.image === String(image) ? dialog.firstElementChild : null;
  const element = tile(image, old ?? make("div", { class: "tile", "data-image": image }), "images", () => dialog.close());
  element.tabIndex = -1;
  if (dialog.firstElementChild !== element) dialog.replaceChildren(element);
  if (!dialog.open) dialog.showModal();
}

// What a person does.

function decide(image, label) {
  return act("decide", { image, label, bad: false, new: !now.classes.includes(label) });
}

function leaveOut(image) {
  const { label, bad } = known.get(image).decision;
  return act("decide", { image, label: label || null, bad: !bad });
}

function go(image) {
  if (current !== null && tiles.has(current)) tiles.get(current).tabIndex = -1;
  current = image;
  const element = tiles.get(image);
  element.tabIndex = 0;
  element.focus();
  if (dialog.open) enlarge(image);
}

function step(by) {
  const place = order.indexOf(current) + by;
  if (place >= 0 && place < order.length) go(order[place]);
}

function columns() {
  return getComputedStyle(grid).gridTemplateColumns.split(" ").length;
}

async function decideAndGoOn(doing) {
  const image = current;
  await doing;
  if (!at("said").classList.contains("error") && image === current && list !== "reviewed") step(1);
}

function show(name) {
  list = name;
  order = now.lists[name].slice();
  current = order[0] ?? null;
  fresh = new Set();
  draw();
}

const KEYS = {
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  ArrowUp: () => step(-columns()),
  ArrowDown: () => step(columns()),
  Enter: () => known.get(current).decision.label && decideAndGoOn(decide(current, known.get(current).decision.label)),
  " ": () => (dialog.open ? dialog.close() : enlarge(current)),
  b: () => decideAndGoOn(leaveOut(current)),
};

document.addEventListener("keydown", (event) => {
  const within = event.target.closest("button, select, input, a");
  if (!now || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input")) return;
  if (event.key === "u") { event.preventDefault(); if (now.changes) act("undo", {}); return; }
  if (event.key === "r") { event.preventDefault(); show(list); return; }
  if (event.key === "?") { event.preventDefault(); at("keys").click(); return; }
  if (event.target.closest("[role=tab]") && event.key.startsWith("Arrow")) return;
  if (within && (event.key === "Enter" || event.key === " ")) return; // they press what has the focus
  if (current === null) return;
  const label = /^[1-9]$/.test(event.key) ? buttons(known.get(current))[Number(event.key) - 1] : undefined;
  if (label !== undefined) decideAndGoOn(decide(current, label));
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});

grid.addEventListener("focusin", (event) => {
  const element = event.target.closest(".tile");
  if (!element || Number(element.dataset.image) === current) return;
  if (tiles.has(current)) tiles.get(current).tabIndex = -1;
  current = Number(element.dataset.image);
  element.tabIndex = 0;
});

document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || !now) return;
  const next = tabs[(tabs.indexOf(event.target) + by + tabs.length) % tabs.length];
  show(next.dataset.list);
  next.focus();
  event.preventDefault();
});
for (const tab of document.querySelectorAll("[role=tab]")) tab.addEventListener("click", () => now && show(tab.dataset.list));
at("adding").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = at("class").value.trim();
  if (!now || !name) return;
  if (!classes().includes(name)) added.push(name);
  at("class").value = "";
  draw();
});
at("undo").addEventListener("click", () => act("undo", {}));
at("rank").addEventListener("click", () => now && show(list));
at("keys").addEventListener("click", () => {
  at("help").hidden = !at("help").hidden;
  at("keys").setAttribute("aria-expanded", String(!at("help").hidden));
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
// The browser has just given the focus back to the image that the dialog was opened with.
dialog.addEventListener("close", () => {
  const image = Number(dialog.firstElementChild.dataset.image);
  dialog.replaceChildren();
  if (tiles.has(image)) go(image);
});

act("state");
