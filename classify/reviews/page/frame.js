// What is shown around the images: how many there are of what, the filters, and what is done with all that are selected.
import { at, bdi, curve, grouped, make, plural } from "./make.js";
import { MANY, acts, classes, page, recent, selected } from "./state.js";

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

export function frame() {
  const { now, list, order } = page;
  if (!now) return;
  const { judged } = now.agreement;
  agreement();
  const learning = now.counts.unlabelled > 0 || list === "unlabelled";
  at("curve").hidden = !learning || now.curve.length < 3;
  if (!at("curve").hidden) curve(at("curve").firstElementChild, now.curve);
  const { relabelled, bad, reviewed } = now.counts;
  at("sums").replaceChildren(
    `${plural(now.images, "image")}, ${grouped(reviewed)} reviewed, ${grouped(relabelled)} relabelled, ${grouped(bad)} bad \u00b7 `,
    now.changes ? "written to " : "decisions go to ", bdi(now.file));
  tabs();
  at("grid").setAttribute("aria-labelledby", list === "like" ? "about" : `tab-${list}`);
  at("grid").dataset.list = list;
  at("undo").disabled = !now.changes;
  at("undo").textContent = now.changes ? `Undo (${grouped(now.changes)})` : "Undo";
  const filtered = at("find").value.trim() || at("of").value;
  at("about").textContent = ABOUT[list === "uncertain" && !judged ? "unjudged" : list] + (filtered ? ` ${plural(order.length, "image")} found.` : "");
  at("empty").hidden = order.length > 0;
  at("empty").textContent = page.waits || (filtered ? "No image of this list is found." : EMPTY[list] ?? "There is none.");
  at("about").hidden = !order.length;
  filters();
  bar();
}

function agreement() {
  const { right, judged } = page.now.agreement;
  const before = page.now.change ? page.now.change.agreement_before : page.now.agreement;
  const gain = judged && before.judged ? right / judged - before.right / before.judged : 0;
  const mark = !gain ? null : make("span", { class: gain > 0 ? "up" : "down" },
    ` ${gain > 0 ? "\u25b2" : "\u25bc"}\u00a0${Math.abs(100 * gain).toFixed(1)}`);
  at("agreement").replaceChildren(...!judged ? ["No label is judged yet: label two images of two classes each."] : [
    ...[make("strong", {}, `${(100 * right / judged).toFixed(1)}\u00a0%`), mark].filter(Boolean),
    ` of labels agree with the other images (${grouped(right)} of ${grouped(judged)})`]);
}

function tabs() {
  const { suspects, unlabelled, uncertain, closed } = page.now.counts;
  const counts = { suspects, unlabelled, uncertain, reviewed: closed, all: page.now.images };
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const mine = tab.dataset.list === page.list;
    tab.setAttribute("aria-selected", String(mine));
    tab.tabIndex = mine ? 0 : -1;
    const count = tab.querySelector("span");
    if (mine && !(page.list in counts)) count.textContent = page.waits ? "" : grouped(page.order.length);
    else if (tab.dataset.list in counts) count.textContent = grouped(counts[tab.dataset.list]);
  }
}

function filters() {
  const { names } = page;
  const drawn = at("of").options;
  if (drawn.length === names.length + 1 && names.every((name, place) => drawn[place + 1].value === `=${name}`)) return;
  const kept = at("of").value;
  at("of").replaceChildren(make("option", { value: "" }, "every label"), ...names.map((name) => make("option", { value: `=${name}` }, name)));
  at("of").value = kept;
  if (at("of").selectedIndex < 0) at("of").value = "";
}

// What is done with all that are selected.
export function bar() {
  const picked = at("picked");
  picked.hidden = !selected.size;
  if (!selected.size) return;
  const labels = classes().length <= MANY ? classes() : recent.slice(0, MANY);
  picked.replaceChildren(make("b", {}, `${grouped(selected.size)} selected`), ...labels.map((name) => make("button", {
    type: "button", "data-label": name, onclick: () => acts.decide([...selected], name),
  }, bdi(name))), make("button", { type: "button", onclick: () => acts.other([...selected]) }, "another class\u2026"),
  make("button", { type: "button", "data-confirm": true, onclick: () => acts.confirm([...selected]) }, "right as they are"),
  make("button", { type: "button", class: "out", "data-bad": true, onclick: () => acts.leaveOut([...selected]) }, "bad"),
  make("button", { type: "button", "data-clear": true, onclick: acts.clear }, "clear"));
}
