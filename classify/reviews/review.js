// The page of a review. It asks its own server only, and makes text of what it is told, never markup.
import { askForClass } from "./chooser.js";
import { at, bdi, curve, make, percent, plural, words } from "./make.js";
import { Tiles } from "./tiles.js";

const MANY = 9; // classes that all have a button of their own, and a key
const SOME = 120; // most images whose states are asked for at once
const PAUSE = 100; // ms without a key, after which what is not decided on is brought up to date
const ABOUT = {
  suspects: "All other images say that these labels are wrong, the least believed first. Look at the picture: on a hard image a correct label may look wrong.",
  unlabelled: "These images have no label yet. Those that teach the most come first: diverse ones at the start, later the uncertain. Each decision teaches the rest as soon as two classes have two images each.",
  uncertain: "The likeliest class of these images is their label, by the smallest lead over another one.",
  unjudged: "No label is judged yet. These images come in the order of their bytes, which is that of chance.",
  reviewed: "What you have decided, the latest first, and what was bad before. It is in the csv already.",
  all: "Every image, in the order of its bytes.",
  near_duplicates: "Pictures that show the same, perhaps cropped, mirrored, grey or brighter, beside each other. Leave out all but one of them, or give them one label.",
  outliers: "Images that resemble no other, the farthest first: pictures of something else, or broken ones.",
  like: "Images that are alike, selected: take out what is something else, then give them a class.",
};
const EMPTY = {
  suspects: "No label is doubted that you have not looked at.",
  unlabelled: "Every image has a label.",
  uncertain: "You have looked at every image.",
  reviewed: "Nothing yet. Every decision is written to the csv at once, and can be undone.",
};

const WAITS = {
  near_duplicates: "Comparing pictures. It takes a while the first time.",
  outliers: "Comparing images. It takes a while the first time.",
};

const grid = at("grid");
const dialog = at("large");
const tiles = new Tiles(grid, at("above"), at("below"), (image, old) => tile(image, old));
const known = new Map(); // image -> what the server last said of it
const wanted = new Set(); // images in sight of which nothing is known
const selected = new Set();
const skipped = new Set();
const added = []; // classes that a person has typed and that no image has yet
const recent = []; // classes that were given last, the latest first
let now = null; // the state as the server last said it
let names = []; // of the classes
let list = null;
let order = []; // images of the list, in the order in which they are shown
let fresh = new Set(); // images that joined the suspects with the latest decision
let gone = new Set(); // suspects that are no longer doubted
let current = null; // the image that the keyboard is at
let anchor = null; // that of the last click or key, from which a range is selected
let queue = Promise.resolve(); // one request after another: decisions have an order
let timer = 0;
let version = 0; // of what is decided and filtered; answers to questions of before are dropped

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

function inTurn(doing) {
  queue = queue.then(async () => {
    document.body.dataset.busy = "";
    try {
      await doing();
    } catch (error) {
      say(true, error.message);
    } finally {
      delete document.body.dataset.busy;
    }
  });
  return queue;
}

function act(path, body) {
  return inTurn(async () => {
    const start = performance.now();
    version += 1;
    const state = await ask(path, body);
    take(state);
    if (state.change) tell(state.change, performance.now() - start);
  });
}

function take(state) {
  now = state;
  names = state.classes ?? names;
  learn(state.subjects ?? {});
  const change = state.change;
  if (change) {
    for (const image of change.images) skipped.delete(image);
    if (list === "suspects") change.left.forEach((image) => gone.add(image));
    change.joined.forEach((image) => gone.delete(image));
    const marked = new Set([...fresh, ...change.joined, ...change.left, ...change.images]);
    fresh = new Set(change.joined);
    for (const image of change.images.slice(SOME)) known.delete(image);
    for (const image of marked) tiles.redraw(image);
    if (change.undone && tiles.order.includes(change.image)) go(change.image);
  }
  frame();
  if (dialog.open) enlarge(current);
  if (change) later();
}

function learn(subjects) {
  for (const [image, subject] of Object.entries(subjects)) known.set(Number(image), subject);
}

// Bring up to date what was not decided on, once no key is pressed.
function later() {
  clearTimeout(timer);
  document.body.dataset.later = "";
  timer = setTimeout(async () => {
    const asked = version;
    try {
      await refresh(() => asked === version);
    } catch (error) {
      say(true, error.message);
    }
    if (asked === version) delete document.body.dataset.later;
  }, PAUSE);
}

async function refresh(current) {
  if (list !== "like") {
    const found = await ask(query());
    if (!current()) return;
    learnNews(found.subjects);
    const kept = list === "reviewed" ? [] : order.slice(0, tiles.seen);
    const stay = new Set(kept);
    put([...kept, ...last(found.images).filter((image) => !stay.has(image))], kept.length);
  }
  const images = [...tiles.drawn.keys()].slice(0, SOME);
  const found = images.length ? await ask(`subjects?images=${images.join()}`) : { subjects: {} };
  if (current()) learnNews(found.subjects);
}

function learnNews(subjects) {
  for (const [image, subject] of Object.entries(subjects)) {
    const same = JSON.stringify(known.get(Number(image))) === JSON.stringify(subject);
    known.set(Number(image), subject);
    if (!same) tiles.redraw(Number(image));
  }
}

const last = (images) => [...images.filter((image) => !skipped.has(image)), ...images.filter((image) => skipped.has(image))];

function query() {
  const asked = new URLSearchParams({ name: list, search: at("find").value });
  if (at("of").value) asked.set("label", at("of").value.slice(1));
  return `list?${asked}`;
}

function put(images, seen = 0) {
  order = images;
  if (!order.includes(current)) current = order[0] ?? null;
  tiles.set(order, seen);
  frame();
}

function show(name) {
  version += 1;
  const asked = version;
  clearTimeout(timer);
  delete document.body.dataset.later;
  list = name;
  return inTurn(async () => {
    if (asked !== version) return; // another list has been asked for
    fresh = new Set();
    gone = new Set();
    selected.clear();
    if (list in WAITS) say(false, WAITS[list]);
    const found = await ask(query());
    if (list in WAITS) say(false);
    learn(found.subjects);
    current = null;
    tiles.place([]);
    put(last(found.images));
    if (scrollY > grid.offsetTop) scrollTo({ top: 0, behavior: "instant" });
  });
}

// Show given images, selected: what looks like one, or what a lasso has caught.
export function present(images, subjects) {
  version += 1;
  list = "like";
  learn(subjects);
  selected.clear();
  images.forEach((image) => known.get(image)?.reviewed || selected.add(image));
  current = null;
  tiles.place([]);
  put(images);
}

function moreLike(image) {
  return inTurn(async () => {
    const found = await ask(`like?image=${image}`);
    if (dialog.open) dialog.close();
    present(found.images, found.subjects);
    go(image);
  });
}

// Images as points: a lasso shows what it has caught, selected; a click shows one image large.
async function toggleMap() {
  const open = at("map").hidden;
  at("plane").setAttribute("aria-expanded", String(open));
  at("map").hidden = !open;
  if (!open) return;
  await inTurn(async () => {
    const found = await ask("map");
    const place = new Map(found.paths.map((path, number) => [path, found.images[number]]));
    const caught = (places) => inTurn(async () => {
      const images = places.map((number) => found.images[number]);
      const { subjects } = images.length ? await ask(`subjects?images=${images.slice(0, SOME).join()}`) : { subjects: {} };
      present(images, subjects);
    });
    pointMap(at("map"), found, {
      picture: (path) => `thumbnails/${place.get(path)}.jpg`,
      select: caught,
      open: (number) => caught([number]).then(() => enlarge(found.images[number])),
    });
  });
}

// Ask for the states of images that have come in sight.
function want(image) {
  if (!wanted.size) setTimeout(async () => {
    const images = [...wanted].slice(0, SOME);
    wanted.clear();
    try {
      learnNews((await ask(`subjects?images=${images.join()}`)).subjects);
      tiles.show();
    } catch (error) {
      say(true, error.message);
    }
  });
  wanted.add(image);
}

function tell(change, took) {
  const parts = change.images.length > 1 ? [make("b", {}, plural(change.images.length, "image")), ": "] :
    [make("b", {}, bdi(known.get(change.image).paths[0])), ": "];
  if (change.undone) parts.push("undone", ...(change.images.length > 1 ? ["."] : [", it is ", bdi(words(change.after)), " again."]));
  else if (change.images.length > 1) parts.push(bdi(words(change.after)), ".");
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

// What is shown around the images.

function frame() {
  if (!now) return;
  const { right, judged } = now.agreement;
  const before = now.change ? now.change.agreement_before : now.agreement;
  const gain = judged && before.judged ? right / judged - before.right / before.judged : 0;
  const mark = !gain ? null : make("span", { class: gain > 0 ? "up" : "down" },
    ` ${gain > 0 ? "\u25b2" : "\u25bc"}\u00a0${Math.abs(100 * gain).toFixed(1)}`);
  at("agreement").replaceChildren(...!judged ? ["No label is judged yet: label two images of two classes each."] : [
    ...[make("strong", {}, `${(100 * right / judged).toFixed(1)}\u00a0%`), mark].filter(Boolean),
    ` of labels agree with the other images (${right} of ${judged})`]);
  const learning = now.counts.unlabelled > 0 || list === "unlabelled";
  at("curve").hidden = !learning || now.curve.length < 3;
  if (!at("curve").hidden) curve(at("curve").firstElementChild, now.curve);
  const { relabelled, bad, reviewed, suspects, unlabelled, uncertain, closed } = now.counts;
  at("sums").replaceChildren(
    `${plural(now.images, "image")}, ${reviewed} reviewed, ${relabelled} relabelled, ${bad} bad \u00b7 `,
    now.changes ? "written to " : "decisions go to ", bdi(now.file));
  const counts = { suspects, unlabelled, uncertain, reviewed: closed, all: now.images };
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const mine = tab.dataset.list === list;
    tab.setAttribute("aria-selected", String(mine));
    tab.tabIndex = mine ? 0 : -1;
    const count = tab.querySelector("span");
    if (mine && !(list in counts)) count.textContent = order.length;
    else if (tab.dataset.list in counts) count.textContent = counts[tab.dataset.list];
  }
  grid.setAttribute("aria-labelledby", list === "like" ? "about" : `tab-${list}`);
  grid.dataset.list = list;
  at("undo").disabled = !now.changes;
  at("undo").textContent = now.changes ? `Undo (${now.changes})` : "Undo";
  const filtered = at("find").value.trim() || at("of").value;
  at("about").textContent = ABOUT[list === "uncertain" && !judged ? "unjudged" : list] + (filtered ? ` ${plural(order.length, "image")} found.` : "");
  at("empty").hidden = order.length > 0;
  at("empty").textContent = filtered ? "No image of this list is found." : EMPTY[list] ?? "There is none.";
  at("about").hidden = !order.length;
  filters();
  bar();
}

function filters() {
  const drawn = at("of").options;
  if (drawn.length === names.length + 1 && names.every((name, place) => drawn[place + 1].value === `=${name}`)) return;
  const kept = at("of").value;
  at("of").replaceChildren(make("option", { value: "" }, "every label"), ...names.map((name) => make("option", { value: `=${name}` }, name)));
  at("of").value = kept;
  if (at("of").selectedIndex < 0) at("of").value = "";
}

// What is done with all that are selected.
function bar() {
  const picked = at("picked");
  picked.hidden = !selected.size;
  if (!selected.size) return;
  const labels = classes().length <= MANY ? classes() : recent.slice(0, MANY);
  picked.replaceChildren(make("b", {}, `${selected.size} selected`), ...labels.map((name) => make("button", {
    type: "button", "data-label": name, onclick: () => decide([...selected], name),
  }, bdi(name))), make("button", { type: "button", onclick: () => other([...selected]) }, "another class\u2026"),
  make("button", { type: "button", "data-confirm": true, onclick: () => confirm([...selected]) }, "right as they are"),
  make("button", { type: "button", class: "out", "data-bad": true, onclick: () => leaveOut([...selected]) }, "bad"),
  make("button", { type: "button", "data-clear": true, onclick: clear }, "clear"));
}

function flags(image, subject) {
  if (subject.decision.bad) return make("span", { class: "flag bad" }, "bad");
  if (subject.reviewed) {
    const { label } = subject.given;
    const first = !label && !subject.contradicted;
    return make("span", { class: "flag good" }, first ? "labelled" : subject.decision.label === label ? "kept" : "relabelled");
  }
  if (skipped.has(image)) return make("span", { class: "flag" }, "skipped");
  if (fresh.has(image)) return make("span", { class: "flag new" }, "new");
  if (gone.has(image)) return make("span", { class: "flag" }, now.counts.suspects ? "no longer doubted" : "believed");
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

const classes = () => [...names, ...added.filter((name) => !names.includes(name))];

function buttons(subject) {
  if (names.length + added.length <= MANY) return classes();
  const found = subject.likely.map(([name]) => name);
  if (subject.decision.label) found.push(subject.decision.label);
  const more = now.agreement.judged ? recent : [...recent, ...names, ...added]; // nothing is likely yet
  return [...new Set([...found, ...more])].slice(0, now.agreement.judged ? Math.max(5, found.length) : MANY);
}

function choices(image, subject) {
  const { label, bad } = subject.decision;
  const found = buttons(subject).map((name, place) => make("button", {
    type: "button", tabindex: "-1", class: name === label && !bad ? "holds" : "", "aria-pressed": String(name === label && !bad),
    "data-label": name, onclick: () => decide(those(image), name),
  }, make("small", { "aria-hidden": "true" }, String(place + 1)), bdi(name)));
  const key = (letter) => make("small", { "aria-hidden": "true" }, letter);
  found.push(make("button", {
    type: "button", tabindex: "-1", class: bad ? "out holds" : "out", "aria-pressed": String(bad), "data-bad": true,
    title: "Leave this image out of everything", onclick: () => leaveOut(those(image)),
  }, key("b"), "bad"));
  if (names.length + added.length > MANY || names.length + added.length === 0) {
    found.push(make("button", { type: "button", tabindex: "-1", "data-other": true, onclick: () => other(those(image)) }, key("c"), "class\u2026"));
  }
  return make("div", { class: "choices", role: "group", "aria-label": "Label" }, ...found);
}

function picture(image, path, size, old, act) {
  const kept = old?.querySelector(".picture > :is(img, .missing)");
  const shown = kept ?? make("img", { src: `${size}/${image}.jpg`, alt: "", decoding: "async" });
  if (!kept) {
    shown.addEventListener("error", () => shown.replaceWith(make("span", { class: "missing" }, bdi(path()), " cannot be shown")));
  }
  return make("button", { type: "button", class: "picture", tabindex: "-1", "aria-label": `See ${path()} large`, onclick: act }, shown);
}

// An element stays the same for as long as its image is shown, so that neither the focus nor the picture is lost.
function tile(image, old, size = "thumbnails", click = (event) => press(event, image)) {
  const subject = known.get(image);
  const element = old ?? make("li", { class: "tile", "data-image": image });
  const path = () => known.get(image)?.paths[0] ?? "image";
  const shown = picture(image, path, size, old, click);
  element.tabIndex = image === current ? 0 : -1;
  if (!subject) { // it is asked for, and takes about as much room
    want(image);
    element.className = "tile";
    element.replaceChildren(shown, make("div", { class: "facts unknown" }));
    return element;
  }
  const likeliest = subject.likely.length ? subject.likely[0][0] : "";
  const doubted = !subject.reviewed && subject.decision.label && likeliest && likeliest !== subject.decision.label;
  element.className = ["tile", subject.reviewed && "decided", subject.decision.bad && "out-of-all", doubted && "doubted",
    !subject.reviewed && (gone.has(image) || skipped.has(image)) && "gone", selected.has(image) && "selected"].filter(Boolean).join(" ");
  element.setAttribute("aria-label", `${subject.paths[0]}: ${words(subject.decision)}${likeliest && `, looks like ${likeliest}`}${selected.has(image) ? ", selected" : ""}`);
  const pick = make("button", { type: "button", class: "pick", tabindex: "-1", "aria-pressed": String(selected.has(image)), "aria-label": "Select", onclick: (event) => press(event, image, true) }, "\u2713");
  const head = make("div", { class: "head" }, shown, ...[flags(image, subject), size === "thumbnails" ? pick : null].filter(Boolean));
  element.replaceChildren(head, facts(subject), choices(image, subject));
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

const those = (image) => (selected.has(image) && !dialog.open ? [...selected] : [image]);

function given(name) {
  if (recent.includes(name)) recent.splice(recent.indexOf(name), 1);
  recent.unshift(name);
}

async function decide(images, label) {
  given(label);
  return done(images, act("decide", { images, label, bad: false, new: !names.includes(label) }));
}

function confirm(images) {
  const held = images.filter((image) => known.get(image)?.decision.label !== "");
  return held.length ? done(held, act("decide", { images: held, label: null })) : undefined;
}

function leaveOut(images) {
  const back = images.every((image) => known.get(image)?.decision.bad);
  return done(images, act("decide", { images, label: null, bad: !back }));
}

// What is decided on is no longer selected, unless it was refused.
async function done(images, doing) {
  await doing;
  if (!at("said").classList.contains("error")) select(images, false);
}

function other(images) {
  askForClass(classes(), (name) => {
    const single = images.length === 1 && images[0] === current;
    if (single) decideAndGoOn(decide(images, name)); else decide(images, name);
  });
}

function select(images, on) {
  for (const image of images) {
    if (selected.has(image) === on) continue;
    if (on) selected.add(image); else selected.delete(image);
    tiles.redraw(image);
  }
  bar();
}

function clear() {
  select([...selected], false);
}

function press(event, image, picking = false) {
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

function go(image) {
  if (current !== null && tiles.drawn.has(current)) tiles.drawn.get(current).tabIndex = -1;
  current = anchor = image;
  const element = tiles.reach(image);
  element.tabIndex = 0;
  element.focus();
  if (dialog.open) enlarge(image);
}

function step(by) {
  const place = order.indexOf(current) + by;
  if (place >= 0 && place < order.length) go(order[place]);
}

async function decideAndGoOn(doing) {
  const image = current;
  await doing;
  if (!at("said").classList.contains("error") && image === current && list !== "reviewed") step(1);
}

// A decision by key: on what is selected, or on the image that the keyboard is at.
function byKey(doing) {
  if (selected.size && !dialog.open) doing([...selected]);
  else decideAndGoOn(doing([current]));
}

function skip() {
  skipped.add(current);
  tiles.redraw(current);
  step(1);
}

const KEYS = {
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  ArrowUp: () => step(-tiles.columns),
  ArrowDown: () => step(tiles.columns),
  Home: () => go(order[0]),
  End: () => go(order.at(-1)),
  Enter: () => (selected.size || known.get(current).decision.label) && byKey(confirm),
  " ": () => (dialog.open ? dialog.close() : enlarge(current)),
  b: () => byKey(leaveOut),
  c: () => other(selected.size && !dialog.open ? [...selected] : [current]),
  m: () => moreLike(current),
  s: skip,
  x: () => select([current], !selected.has(current)),
  a: () => select(order, true),
  Escape: () => !dialog.open && clear(),
};

document.addEventListener("keydown", (event) => {
  const within = event.target.closest("button, select, input, a");
  if (!now || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input, #map")) return;
  if (event.key === "u") { event.preventDefault(); if (now.changes) act("undo", {}); return; }
  if (event.key === "r") { event.preventDefault(); if (list !== "like") show(list); return; }
  if (event.key === "/") { event.preventDefault(); at("find").focus(); return; }
  if (event.key === "?") { event.preventDefault(); at("keys").click(); return; }
  if (event.target.closest("[role=tab]") && event.key.startsWith("Arrow")) return;
  if (within && (event.key === "Enter" || event.key === " ")) return; // they press what has the focus
  if (current === null || !known.has(current) || (dialog.open && event.key === "Escape")) return;
  const label = /^[1-9]$/.test(event.key) ? buttons(known.get(current))[Number(event.key) - 1] : undefined;
  if (label !== undefined) byKey((images) => decide(images, label));
  else if (Object.hasOwn(KEYS, event.key)) KEYS[event.key]();
  else return;
  event.preventDefault();
});

grid.addEventListener("focusin", (event) => {
  const element = event.target.closest(".tile");
  if (!element || Number(element.dataset.image) === current) return;
  if (tiles.drawn.has(current)) tiles.drawn.get(current).tabIndex = -1;
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
  for (const image of tiles.drawn.keys()) tiles.redraw(image);
  bar();
});
let typing = 0;
at("find").addEventListener("input", () => {
  document.body.dataset.later = "";
  clearTimeout(typing);
  typing = setTimeout(() => show(list === "like" ? "all" : list), PAUSE);
});
at("find").addEventListener("keydown", (event) => {
  if (event.key === "Escape") { at("find").value = ""; show(list); event.target.blur(); }
});
at("of").addEventListener("change", () => show(list === "like" ? "all" : list));
at("undo").addEventListener("click", () => act("undo", {}));
at("rank").addEventListener("click", () => now && list !== "like" && show(list));
at("plane").addEventListener("click", () => now && toggleMap());
at("keys").addEventListener("click", () => {
  at("help").hidden = !at("help").hidden;
  at("keys").setAttribute("aria-expanded", String(!at("help").hidden));
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
// The browser has just given the focus back to the image that the dialog was opened with.
dialog.addEventListener("close", () => {
  const image = Number(dialog.firstElementChild.dataset.image);
  dialog.replaceChildren();
  if (order.includes(image)) go(image);
});
// Another tab may have decided meanwhile.
document.addEventListener("visibilitychange", () => {
  if (now && !document.hidden) act("state").then(later);
});

await act("state");
if (now) await show(["suspects", "unlabelled", "uncertain"].find((name) => now.counts[name]) ?? "suspects");
