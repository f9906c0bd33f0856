"use strict";
// Sorting and filtering of tables and galleries that can be read without it. Nothing here makes markup from data.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    const number = text === "" ? NaN : Number(text);
    return Number.isNaN(number) ? text.toLocaleLowerCase() : number;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  heads.forEach((head, column) => {
    if (head.dataset.fixed !== undefined) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("figure") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort((a, b) => sign * compare(value(a, column), value(b, column)));
      body.append(...rows);
    });
  });
}
for (const filter of document.querySelectorAll(".filter")) {
  const section = filter.closest("section");
  const rows = [...section.querySelectorAll("tbody tr")];
  const matching = section.querySelector("output");
  filter.closest(".tools").hidden = rows.length < 2;
  filter.addEventListener("input", () => {
    const words = filter.value.toLocaleLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLocaleLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const left = rows.filter((row) => !row.hidden).length;
    matching.textContent = left === rows.length ? "" : `${left.toLocaleString("en")} of ${rows.length.toLocaleString("en")} runs`;
  });
}
const WINDOW = 96; // tiles of a gallery that are drawn at a time
const element = (tag, kind, ...content) => {
  const made = document.createElement(tag);
  made.className = kind;
  made.append(...content);
  return made;
};
const isolated = (text) => element("bdi", "", text);
const [pictureOf, largeOf] = [new Map(), new Map()]; // addresses of the pictures of the page, by path
const COLUMNS = 6; // of an image in a row: folder, name, label, note, thumbnail, larger picture
for (const holder of document.querySelectorAll("[data-gallery]")) {
  const { words, rows, before, marks, beside, large, pictures } = JSON.parse(holder.querySelector("script").textContent);
  const [list, tools, said] = ["ul", ".tools", "output"].map((name) => holder.querySelector(name));
  const [search, classes, mark, order] = tools.querySelectorAll("input, select");
  const [back, next] = ["‹ Before", "Next ›"].map((text) => element("button", "", text));
  said.before(back);
  said.after(next);
  const images = (row) => Array.from({ length: (row.length - 3) / COLUMNS }, (_, place) => row.slice(3 + COLUMNS * place, 3 + COLUMNS * (place + 1)));
  const path = ([folder, name]) => words[folder] + name;
  // Pictures of the first tiles are in the markup only.
  [...list.children].forEach((tile, number) => {
    tile.querySelectorAll(".image").forEach((image, place) => {
      rows[number][7 + COLUMNS * place] = image.querySelector("img")?.getAttribute("src") ?? "";
    });
  });
  const address = (source, folder) => (!source || /^data:|\//.test(source) ? source : folder + source);
  // Two images that are shown under one path are told apart here, and on a map have no picture.
  const remember = (known, place, folder) => {
    const mine = new Map();
    for (const image of rows.flatMap(images)) {
      const source = address(image[place], folder);
      if (source) mine.set(path(image), (mine.get(path(image)) ?? source) === source ? source : "");
    }
    for (const [name, source] of mine) if (!known.has(name)) known.set(name, source);
  };
  remember(pictureOf, 4, beside);
  remember(largeOf, 5, large);
  const picture = (image) => {
    const missing = element("span", "missing", isolated(path(image)));
    if (!image[4]) return missing;
    const shown = element("img", "");
    shown.alt = `${path(image)}: ${words[image[2]]} ${words[image[3]]}`;
    shown.decoding = "async";
    shown.addEventListener("error", () => shown.replaceWith(missing));
    shown.src = address(image[4], beside);
    return shown;
  };
  const draw = (row) => {
    const all = images(row);
    const asked = words[all[0][2]];
    const tile = element("li", words[row[0]], element("div", "images"));
    tile.title = all.map(path).join(" = ");
    for (const image of all) {
      const [label, note] = [words[image[2]], words[image[3]]];
      const differs = list.classList.contains("rows") && asked && label && label !== asked;
      const box = element("div", differs ? "image other" : "image");
      box.tabIndex = 0;
      box.sources = [address(image[5], large), address(image[4], beside)];
      if (pictures) box.append(picture(image));
      if (label || note) box.append(element("span", "answer", isolated(label), " ", element("span", "note", note)));
      box.append(element("span", "where", isolated(path(image))));
      tile.firstChild.append(box);
    }
    if (words[row[1]]) tile.append(element("span", "truth", `${before} `, isolated(words[row[1]])));
    if (words[row[2]]) tile.append(element("span", "line", words[row[2]]));
    return tile;
  };
  let chosen = rows;
  let start = 0;
  const show = (from) => {
    start = from;
    list.replaceChildren(...chosen.slice(start, start + WINDOW).map(draw));
    const end = Math.min(start + WINDOW, chosen.length);
    const of = chosen.length === rows.length ? "" : `, of ${rows.length.toLocaleString("en")}`;
    said.textContent = chosen.length ? `${(start + 1).toLocaleString("en")} to ${end.toLocaleString("en")} of ${chosen.length.toLocaleString("en")}${of}` : "nothing like this";
    back.hidden = next.hidden = chosen.length <= WINDOW;
    [back.disabled, next.disabled] = [start === 0, end === chosen.length];
  };
  const number = (row) => {
    const note = words[row[6]] ?? "";
    return Number.parseFloat(note.replace(">", "")) + (note.startsWith(">") ? 0.5 : 0) || 0;
  };
  const choose = () => {
    const sought = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [theClass, theMark, by] = [classes, mark, order].map((list) => list.value);
    const low = words.map((word) => word.toLowerCase());
    const says = (row) => {
      let text = `${low[row[1]]} ${low[row[2]]}`;
      for (let at = 3; at < row.length; at += COLUMNS) text += ` ${low[row[at]]}${row[at + 1].toLowerCase()} ${low[row[at + 2]]}`;
      return text;
    };
    chosen = rows.filter(
      (row) =>
        (!theMark || words[row[0]] === theMark) &&
        (!theClass || words[row[1]] === theClass || images(row).some((image) => words[image[2]] === theClass)) &&
        (!sought.length || sought.every((word) => says(row).includes(word))),
    );
    if (by === "name") {
      const names = new Map(chosen.map((row) => [row, path(row.slice(3))]));
      chosen.sort((a, b) => (names.get(a) < names.get(b) ? -1 : 1));
    } else if (by) chosen.sort((a, b) => Number(by) * (number(a) - number(b)));
    show(0);
  };
  const option = (value, text) => {
    const made = element("option", "", text);
    made.value = value;
    return made;
  };
  const used = new Set();
  for (const row of rows) {
    used.add(row[1]);
    for (let at = 5; at < row.length; at += COLUMNS) used.add(row[at]);
  }
  const labels = new Set([...used].map((word) => words[word]).filter(Boolean));
  classes.append(...[...labels].sort().map((label) => option(label, label)));
  mark.append(...marks.map(([value, text]) => option(value, text)));
  classes.parentElement.hidden = labels.size < 2;
  mark.parentElement.hidden = marks.length < 2;
  order.parentElement.hidden = !rows.some(number);
  tools.hidden = rows.length <= 12;
  search.addEventListener("input", choose);
  for (const list of [classes, mark, order]) list.addEventListener("change", choose);
  for (const [button, step] of [[back, -WINDOW], [next, WINDOW]]) {
    button.addEventListener("click", () => {
      show(start + step);
      holder.scrollIntoView();
    });
  }
  show(0);
}
