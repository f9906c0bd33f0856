// The lists of images, from the first question to what is brought up to date after a decision.
import { frame } from "./frame.js";
import { at } from "./make.js";
import { ask, inTurn, say } from "./server.js";
import { dialog, enlarge, go, tiles } from "./sight.js";
import { SOME, acts, known, learn, page, selected, skipped } from "./state.js";

const PAUSE = 100; // ms without a key, after which what is not decided on is brought up to date
const AGAIN = 500; // ms until a list that is being looked for is asked for again

const wanted = new Set(); // images in sight of which nothing is known
let timer = 0;

// Bring up to date what was not decided on, once no key is pressed.
export function later(pause = PAUSE) {
  clearTimeout(timer);
  document.body.dataset.later = "";
  timer = setTimeout(async () => {
    const asked = page.version;
    const current = () => asked === page.version;
    try {
      await refresh(current);
    } catch (error) {
      say(true, error.message);
    }
    if (!current()) return;
    if (page.waits) later(AGAIN); else delete document.body.dataset.later;
  }, pause);
}

// Bring nothing up to date while a decision is on its way: both ask the same server, and draw the same tiles.
export function hold() {
  clearTimeout(timer);
}

async function refresh(current) {
  if (page.list !== "like") {
    const found = await ask(query());
    if (!current()) return;
    page.waits = found.waits ?? "";
    learnNews(found.subjects);
    const kept = page.list === "reviewed" ? [] : page.order.slice(0, tiles.seen);
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
  const asked = new URLSearchParams({ name: page.list, search: at("find").value });
  if (at("of").value) asked.set("label", at("of").value.slice(1));
  return `list?${asked}`;
}

function put(images, seen = 0) {
  page.order = images;
  if (!images.includes(page.current)) page.current = images[0] ?? null;
  tiles.set(images, seen);
  frame();
}

// Begin a list, with nothing of the one before.
function begin(name) {
  page.version += 1;
  hold();
  delete document.body.dataset.later;
  [page.list, page.waits] = [name, ""];
}

function place(images) {
  page.current = null;
  tiles.place([]);
  put(images);
}

export function show(name) {
  begin(name);
  const asked = page.version;
  return inTurn(async () => {
    if (asked !== page.version) return; // another list has been asked for
    page.fresh = new Set();
    page.gone = new Set();
    selected.clear();
    const found = await ask(query());
    page.waits = found.waits ?? "";
    learn(found.subjects);
    place(last(found.images));
    if (page.waits) later(AGAIN);
    const { offsetTop } = at("grid");
    if (scrollY > offsetTop) scrollTo({ top: 0, behavior: "instant" });
  });
}

// Show given images, selected: what looks like one, or what a lasso has caught.
function present(images, subjects) {
  begin("like");
  learn(subjects);
  selected.clear();
  images.forEach((image) => known.get(image)?.reviewed || selected.add(image));
  place(images);
}

export function moreLike(image) {
  return inTurn(async () => {
    const found = await ask(`like?image=${image}`);
    if (dialog.open) dialog.close();
    present(found.images, found.subjects);
    go(image);
  });
}

// Images as points: a lasso shows what it has caught, selected; a click shows one image large.
export async function toggleMap() {
  const open = at("map").hidden;
  at("plane").setAttribute("aria-expanded", String(open));
  at("map").hidden = !open;
  if (!open) return;
  await inTurn(async () => {
    const found = await ask("map");
    const caught = (places) => inTurn(async () => {
      const images = places.map((each) => found.images[each]);
      const { subjects } = images.length ? await ask(`subjects?images=${images.slice(0, SOME).join()}`) : { subjects: {} };
      present(images, subjects);
    });
    pointMap(at("map"), found, {
      picture: (_, each) => `thumbnails/${found.images[each]}.jpg`,
      select: caught,
      open: (each) => caught([each]).then(() => enlarge(found.images[each])),
    });
  });
}

// Ask for the states of images that have come in sight.
acts.want = (image) => {
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
};
