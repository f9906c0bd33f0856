// What a person decides, and what the server says of it.
import { askForClass } from "./chooser.js";
import { frame } from "./frame.js";
import { hold, later } from "./lists.js";
import { at, bdi, make, plural, words } from "./make.js";
import { ask, inTurn, refused, say } from "./server.js";
import { dialog, enlarge, go, select, step, tiles } from "./sight.js";
import { SOME, acts, classes, known, learn, page, recent, selected, skipped } from "./state.js";

// Ask for a decision, or for the state alone; what another tab has decided since then is never overwritten.
export function act(path, body) {
  return inTurn(async () => {
    const start = performance.now();
    if (body !== undefined) {
      page.version += 1;
      hold();
    }
    try {
      const state = await ask(path, body && { ...body, seen: page.now.version });
      take(state);
      if (state.change) tell(state.change, performance.now() - start);
    } catch (error) {
      say(true, error.message);
      if (body === undefined) return;
      const state = await ask("state").catch(() => null);
      if (state) take(state);
      later();
    }
  });
}

function take(state) {
  const news = page.now && state.version !== page.now.version + (state.change ? 1 : 0); // of another tab
  if (page.now && !news && !state.change) return; // a button that is drawn anew under a finger would not be pressed
  page.now = state;
  page.names = state.classes ?? page.names;
  learn(state.subjects ?? {});
  const { change } = state;
  if (change) {
    for (const image of change.images) skipped.delete(image);
    if (page.list === "suspects") change.left.forEach((image) => page.gone.add(image));
    change.joined.forEach((image) => page.gone.delete(image));
    const marked = new Set([...page.fresh, ...change.joined, ...change.left, ...change.images]);
    page.fresh = new Set(change.joined);
    for (const image of change.images.slice(SOME)) known.delete(image);
    for (const image of marked) tiles.redraw(image);
    if (change.undone && tiles.order.includes(change.image)) go(change.image);
  }
  frame();
  if (dialog.open) enlarge(page.current);
  if (change || (news && page.list)) later();
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

export async function decide(images, label) {
  if (recent.includes(label)) recent.splice(recent.indexOf(label), 1);
  recent.unshift(label);
  return done(images, act("decide", { images, label, bad: false, new: !page.names.includes(label) }));
}

export function confirm(images) {
  const held = images.filter((image) => known.get(image)?.decision.label !== "");
  return held.length ? done(held, act("decide", { images: held, label: null })) : undefined;
}

export function leaveOut(images) {
  const back = images.every((image) => known.get(image)?.decision.bad);
  return done(images, act("decide", { images, label: null, bad: !back }));
}

// What is decided on is no longer selected, unless it was refused.
async function done(images, doing) {
  await doing;
  if (!refused()) select(images, false);
}

export function other(images) {
  askForClass(classes(), (name) => {
    const single = images.length === 1 && images[0] === page.current;
    if (single) decideAndGoOn(decide(images, name)); else decide(images, name);
  });
}

async function decideAndGoOn(doing) {
  const image = page.current;
  await doing;
  if (!refused() && image === page.current && page.list !== "reviewed") step(1);
}

// A decision by key: on what is selected, or on the image that the keyboard is at.
export function byKey(doing) {
  if (selected.size && !dialog.open) doing([...selected]);
  else decideAndGoOn(doing([page.current]));
}

Object.assign(acts, { decide, confirm, leaveOut, other });
