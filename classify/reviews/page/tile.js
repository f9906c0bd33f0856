// The tile of an image: its picture, what is known of it, and a button for each class that it may have.
import { bdi, make, percent, plural, words } from "./make.js";
import { MANY, acts, added, classes, known, page, recent, selected, skipped, some } from "./state.js";

function flags(image, subject) {
  if (subject.decision.bad) return make("span", { class: "flag bad" }, "bad");
  if (subject.reviewed) {
    const { label } = subject.given;
    const first = !label && !subject.contradicted;
    return make("span", { class: "flag good" }, first ? "labelled" : subject.decision.label === label ? "kept" : "relabelled");
  }
  if (skipped.has(image)) return make("span", { class: "flag" }, "skipped");
  if (page.fresh.has(image)) return make("span", { class: "flag new" }, "new");
  if (page.gone.has(image)) return make("span", { class: "flag" }, page.now.counts.suspects ? "no longer doubted" : "believed");
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

// The classes that have a button on an image, in the order of their keys.
function buttons(subject) {
  if (!some()) return classes();
  const found = subject.likely.map(([name]) => name);
  if (subject.decision.label) found.push(subject.decision.label);
  const { judged } = page.now.agreement;
  const more = judged ? recent : [...recent, ...page.names, ...added]; // nothing is likely yet
  return [...new Set([...found, ...more])].slice(0, judged ? Math.max(5, found.length) : MANY);
}

function choices(image, subject) {
  const { label, bad } = subject.decision;
  const found = buttons(subject).map((name, place) => make("button", {
    type: "button", tabindex: "-1", class: name === label && !bad ? "holds" : "", "aria-pressed": String(name === label && !bad),
    "data-label": name, onclick: () => acts.decide(acts.those(image), name),
  }, make("small", { "aria-hidden": "true" }, String(place + 1)), bdi(name)));
  const key = (letter) => make("small", { "aria-hidden": "true" }, letter);
  found.push(make("button", {
    type: "button", tabindex: "-1", class: bad ? "out holds" : "out", "aria-pressed": String(bad), "data-bad": true,
    title: "Leave this image out of everything", onclick: () => acts.leaveOut(acts.those(image)),
  }, key("b"), "bad"));
  if (some() || !classes().length) {
    found.push(make("button", { type: "button", tabindex: "-1", "data-other": true, onclick: () => acts.other(acts.those(image)) }, key("c"), "class\u2026"));
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
export function tile(image, old, size = "thumbnails", click = (event) => acts.press(event, image)) {
  const subject = known.get(image);
  const element = old ?? make("li", { class: "tile", "data-image": image });
  const path = () => known.get(image)?.paths[0] ?? "image";
  const shown = picture(image, path, size, old, click);
  element.tabIndex = image === page.current ? 0 : -1;
  if (!subject) { // it is asked for, and takes about as much room
    acts.want(image);
    element.className = "tile";
    element.replaceChildren(shown, make("div", { class: "facts unknown" }));
    return element;
  }
  const likeliest = subject.likely.length ? subject.likely[0][0] : "";
  const doubted = !subject.reviewed && subject.decision.label && likeliest && likeliest !== subject.decision.label;
  const soft = !subject.reviewed && (page.gone.has(image) || skipped.has(image));
  element.className = ["tile", subject.reviewed && "decided", subject.decision.bad && "out-of-all", doubted && "doubted",
    soft && "gone", selected.has(image) && "selected"].filter(Boolean).join(" ");
  element.setAttribute("aria-label", `${subject.paths[0]}: ${words(subject.decision)}${likeliest && `, looks like ${likeliest}`}${selected.has(image) ? ", selected" : ""}`);
  const pick = make("button", { type: "button", class: "pick", tabindex: "-1", "aria-pressed": String(selected.has(image)), "aria-label": "Select", onclick: (event) => acts.press(event, image, true) }, "\u2713");
  const head = make("div", { class: "head" }, shown, ...[flags(image, subject), size === "thumbnails" ? pick : null].filter(Boolean));
  element.replaceChildren(head, facts(subject), choices(image, subject));
  return element;
}
